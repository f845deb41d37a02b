"""Audio files out, whole or not at all, and nothing in them that is no sound."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import soundfile

from isincnet_jax.data import audio_stamps
from isincnet_jax.data.audio_headers import native
from isincnet_jax.data.audio_inspection import AudioError, reason_of
from isincnet_jax.files import FileError, replacing

_WRITE_SAMPLES = 1 << 16  # libsndfile's Vorbis encoder overflows its stack on millions at once

_CONTAINERS = {
    ".wav": "WAV",
    ".flac": "FLAC",
    ".ogg": "OGG",
    ".oga": "OGG",
    ".opus": "OGG",
    ".mp3": "MP3",
    ".aiff": "AIFF",
    ".aif": "AIFF",
    ".au": "AU",
    ".caf": "CAF",
    ".w64": "W64",
    ".rf64": "RF64",
}


def output_subtype(path: str | Path, wanted: str) -> str:
    """The sample format to write: the wanted one if the container knows it, else its default.

    Lossy formats are not handed on: a decoded MP3 becomes a WAV of PCM, not one of MP3 frames.

    Args:
        path: of the file to write; its extension names the container.
        wanted: soundfile's name, "PCM_24", or that of the file the samples are from; may be empty.

    Returns:
        soundfile's name.

    Raises:
        AudioError: for a file name whose extension names no container.
    """
    container = _container(Path(path))
    if Path(path).suffix.lower() == ".opus":
        return "OPUS"
    plain = wanted.startswith("PCM_") or wanted in ("FLOAT", "DOUBLE")
    if plain and soundfile.check_format(container, wanted):
        return wanted
    return soundfile.default_subtype(container) or "PCM_16"


def _container(path: Path) -> str:
    container = _CONTAINERS.get(path.suffix.lower(), "")
    if container not in soundfile.available_formats():
        raise AudioError(
            f"{path}: unknown extension {path.suffix!r}; use .wav, .flac, .ogg, .mp3 or .aiff"
        )
    return container


def write_blocks(
    path: str | Path,
    blocks: Iterable[np.ndarray],
    *,
    sample_rate: int,
    num_channels: int,
    subtype: str = "",
) -> int:
    """Writes blocks to a file that appears whole or not at all; the same blocks, the same bytes.

    Args:
        path: where to; the extension names the container.
        blocks: float [time, channels], or [time] for one channel; samples beyond [-1, 1] are
            clipped by integer formats.
        sample_rate: Hz.
        num_channels: audio channels.
        subtype: sample format, see :func:`output_subtype`.

    Returns:
        Samples per channel written.

    Raises:
        AudioError: if the file cannot be written, a full disk included, or the samples are no
            floats, of other channels, NaN or infinite; an existing file is then as it was.
    """
    path = Path(path)
    chosen = output_subtype(path, subtype)
    if sample_rate < 1 or sample_rate != sample_rate // 1 or num_channels < 1:
        raise AudioError(
            f"{path}: sample_rate={sample_rate}, num_channels={num_channels}: use whole numbers "
            "from 1 on"
        )
    written = 0
    try:
        with replacing(path) as temporary:
            sink = _open_sink(path, temporary, int(sample_rate), num_channels, chosen)
            try:
                with sink:
                    for block in blocks:
                        samples = _checked(path, block, sink, written)
                        _write(sink, samples)
                        written += len(samples)
                    sink.flush()
                audio_stamps.settle(temporary)
                _check_written(temporary, written)
            except (soundfile.LibsndfileError, OSError) as error:
                raise AudioError(f"{path}: cannot be written: {reason_of(error)}") from error
    except FileError as error:
        raise AudioError(str(error)) from error
    return written


def _checked(path: Path, block: np.ndarray, sink: soundfile.SoundFile, start: int) -> np.ndarray:
    """The samples in a type that libsndfile takes: float64 as it is, other floats as float32."""
    samples = np.asarray(block)
    if samples.dtype.kind != "f":
        raise AudioError(
            f"{path}: samples of type {samples.dtype}: floats in [-1, 1] are written; use "
            "pcm / 32768.0 for int16"
        )
    if samples.ndim == 1:
        samples = samples[:, None]
    if samples.ndim != 2 or samples.shape[1] != sink.channels:
        raise AudioError(f"{path}: samples of shape {block.shape}, not [time, {sink.channels}]")
    # In float32 files larger numbers would be infinite.
    is_double = samples.dtype.itemsize > 4 and sink.subtype != "FLOAT"
    with np.errstate(over="ignore"):
        samples = samples.astype(np.float64 if is_double else np.float32, copy=False)
    bad = np.flatnonzero(~np.isfinite(samples).all(axis=1))
    if len(bad):
        at_s = (start + int(bad[0])) / sink.samplerate
        raise AudioError(f"{path}: NaN or infinite samples at {at_s:.3f} s are not written")
    return samples


def _open_sink(
    path: Path, temporary: Path, sample_rate: int, num_channels: int, subtype: str
) -> soundfile.SoundFile:
    container = _container(path)
    problem = f"{container} ({subtype}) cannot hold {num_channels} channels at {sample_rate} Hz"
    if container == "OGG" and (num_channels > 255 or sample_rate > 200_000):
        raise AudioError(f"{path}: {problem}")  # libvorbis crashes instead of refusing
    try:
        return soundfile.SoundFile(
            native(temporary), "w", sample_rate, num_channels, subtype, format=container
        )
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{path}: {problem} ({reason_of(error)})") from error


def _write(sink: soundfile.SoundFile, block: np.ndarray) -> None:
    for start in range(0, len(block), _WRITE_SAMPLES):
        try:
            sink.write(block[start : start + _WRITE_SAMPLES])
        except AssertionError as error:  # soundfile asserts that every sample went out
            raise OSError("not all samples were taken; is the disk full?") from error


def _check_written(path: Path, written: int) -> None:
    """libsndfile reports a full disk late or never: count what arrived."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
    info = soundfile.info(native(path))
    if info.frames < written and info.format != "MP3":
        raise OSError(f"only {info.frames} of {written} samples arrived; is the disk full?")
