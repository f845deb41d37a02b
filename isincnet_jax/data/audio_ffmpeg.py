"""Audio through ffmpeg: what libsndfile does not know, and single streams of containers."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np

from isincnet_jax.data.audio_errors import AudioError


def is_installed() -> bool:
    """Whether ffmpeg and ffprobe are installed.

    Returns:
        Whether both are on the path.
    """
    return shutil.which("ffmpeg") is not None and shutil.which("ffprobe") is not None


def read_stream(file: Path, stream_index: int = 0) -> tuple[np.ndarray, int]:
    """Decodes one audio stream of a container.

    Args:
        file: of any format that ffmpeg knows.
        stream_index: among the audio streams, from 0.

    Returns:
        float32 [channels, time] and the rate in Hz.

    Raises:
        AudioError: without ffmpeg, or if the stream is missing or damaged.
    """
    if not is_installed():
        raise AudioError(f"{file}: needs ffmpeg and ffprobe, which are not installed")
    choose, name = f"a:{stream_index}", f"file:{file}"  # a name may look like an option or address
    probe = ["ffprobe", "-v", "error", "-select_streams", choose]
    probe += ["-show_entries", "stream=sample_rate,channels", "-of", "json", name]
    streams = json.loads(_run(probe, file) or b"{}").get("streams", [])
    if not streams:
        raise AudioError(f"{file}: has no audio stream {stream_index}")
    rate, channels = int(streams[0]["sample_rate"]), int(streams[0]["channels"])
    decode = ["ffmpeg", "-v", "error", "-xerror", "-nostdin", "-i", name]
    decode += ["-map", f"0:{choose}", "-f", "f32le", "-"]
    samples = np.frombuffer(_run(decode, file), dtype="<f4").astype(np.float32)
    if rate < 1 or channels < 1 or len(samples) == 0 or not np.isfinite(samples).all():
        raise AudioError(f"{file}: audio stream {stream_index} has no samples, or not finite ones")
    return np.ascontiguousarray(samples.reshape(-1, channels).T), rate


def _run(command: list[str], file: Path) -> bytes:
    done = subprocess.run(command, capture_output=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["unknown error"]
        reason = re.sub(r"\[[^]]* @ 0x[0-9a-f]+\] *", "", lines[-1]).rpartition(f"{file.name}: ")[2]
        raise AudioError(f"{file}: {command[0]}: {reason}")
    return done.stdout
