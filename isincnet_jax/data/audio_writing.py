"""Audio files out, whole or not at all.

Writing goes to a temporary file beside the target, which is renamed when everything is written.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import soundfile

from isincnet_jax.data import audio_stamps
from isincnet_jax.data.audio_files import AudioError, reason_of

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


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place if the block ends well.

    Raises:
        AudioError: if the folder is missing, cannot be written, or the disk is full.
    """
    path = Path(path)
    if path.is_dir():
        raise AudioError(f"{path}: a directory, not a file to write")
    try:
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.stem[:40]}-", suffix=path.suffix
        )
        os.close(handle)
    except OSError as error:
        raise AudioError(f"{path}: cannot be written: {error.strerror or error}") from error
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes private files; give the result the permissions of any new file.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        os.replace(temporary, path)
    except OSError as error:
        raise AudioError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def output_subtype(path: str | Path, wanted: str) -> str:
    """The sample format to write: the wanted one if the container knows it, else its default.

    Lossy formats are not handed on: a decoded MP3 becomes a WAV of PCM, not one of MP3 frames.

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
        blocks: float [time, channels]; samples beyond [-1, 1] are clipped by integer formats.
        sample_rate: Hz.
        num_channels: audio channels.
        subtype: sample format, see :func:`output_subtype`.

    Returns:
        Samples per channel written.

    Raises:
        AudioError: if the file cannot be written, a full disk included; an existing file is
            then as it was.
    """
    path = Path(path)
    chosen = output_subtype(path, subtype)
    written = 0
    with replacing(path) as temporary:
        sink = _open_sink(path, temporary, sample_rate, num_channels, chosen)
        try:
            with sink:
                for block in blocks:
                    _write(sink, block)
                    written += len(block)
                sink.flush()
            audio_stamps.settle(temporary)
            _check_written(temporary, written)
        except (soundfile.LibsndfileError, OSError) as error:
            raise AudioError(f"{path}: cannot be written: {reason_of(error)}") from error
    return written


def _open_sink(
    path: Path, temporary: Path, sample_rate: int, num_channels: int, subtype: str
) -> soundfile.SoundFile:
    container = _container(path)
    problem = f"{container} ({subtype}) cannot hold {num_channels} channels at {sample_rate} Hz"
    if container == "OGG" and (num_channels > 255 or sample_rate > 200_000):
        raise AudioError(f"{path}: {problem}")  # libvorbis crashes instead of refusing
    try:
        return soundfile.SoundFile(
            str(temporary), "w", sample_rate, num_channels, subtype, format=container
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
    info = soundfile.info(str(path))
    if info.frames < written and info.format != "MP3":
        raise OSError(f"only {info.frames} of {written} samples arrived; is the disk full?")
