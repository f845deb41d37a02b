"""Audio files in and out: any format, in blocks, with errors that name the file.

Reading goes through soundfile (WAV, FLAC, OGG, MP3, AIFF, ...) and, for what it does not know,
through librosa; resampling through soxr's streaming resampler. Writing goes to a temporary file
beside the target, which is renamed when everything is written.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr

_BLOCK_SAMPLES = 1 << 18


class AudioError(ValueError):
    """An audio file that cannot be read or written; the message names the file and the reason."""


class AudioInfo(NamedTuple):
    """What a file says about itself.

    Attributes:
        sample_rate: Hz.
        num_channels: audio channels.
        num_samples: samples per channel.
        subtype: sample format, "PCM_16" for instance; empty if unknown.
    """

    sample_rate: int
    num_channels: int
    num_samples: int
    subtype: str


def _readable(path: Path) -> Path:
    if not path.exists():
        raise AudioError(f"{path}: no such file")
    if path.is_dir():
        raise AudioError(f"{path}: a directory, not an audio file")
    if path.stat().st_size == 0:
        raise AudioError(f"{path}: an empty file")
    return path


def _reason(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[-1].removeprefix("Error : ").rstrip(".") if text else type(error).__name__


def audio_info(path: str | Path) -> AudioInfo:
    """Reads the header of an audio file.

    Raises:
        AudioError: if it is missing, no audio, or has no samples.
    """
    path = _readable(Path(path))
    try:
        info = soundfile.info(str(path), verbose=True)
    except soundfile.LibsndfileError:
        samples, sample_rate = _read_with_librosa(path)
        return AudioInfo(sample_rate, samples.shape[1], len(samples), "")
    if info.frames == 0:
        raise AudioError(f"{path}: holds no samples")
    _check_not_truncated(path, info.extra_info)
    return AudioInfo(info.samplerate, info.channels, info.frames, info.subtype)


def _check_not_truncated(path: Path, log: str) -> None:
    """libsndfile reads what is left of a cut WAV and only notes it in its log."""
    for line in log.splitlines():
        name, _, rest = line.partition(":")
        if name.strip() == "data" and "should be" in rest:
            promised = int(rest.split("(")[0])
            if 0 < promised < 0xFFFFFFFF - (1 << 16):  # programs that write to a pipe put ~ 4 GB
                raise AudioError(
                    f"{path}: truncated: its header promises {promised} bytes of samples, "
                    f"{rest.split('should be')[1].strip(' )')} are there"
                )


def _read_with_librosa(path: Path) -> tuple[np.ndarray, int]:
    import warnings

    import librosa

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            samples, sample_rate = librosa.load(path, sr=None, mono=False)
    except Exception as error:  # audioread's backends raise anything
        raise AudioError(f"{path}: no audio that soundfile or librosa can read") from error
    if samples.size == 0:
        raise AudioError(f"{path}: holds no samples")
    return np.atleast_2d(samples).T, int(sample_rate)


def resample_blocks(
    blocks: Iterable[np.ndarray], *, source_rate: int, target_rate: int
) -> Iterator[np.ndarray]:
    """Resamples a sequence of blocks as one signal, in constant memory.

    Args:
        blocks: float32 [time, channels].
        source_rate: Hz.
        target_rate: Hz.

    Yields:
        float32 [time, channels].
    """
    if source_rate == target_rate:
        yield from blocks
        return
    stream: soxr.ResampleStream | None = None
    pending: np.ndarray | None = None
    for block in blocks:
        if stream is None or pending is None:
            stream = soxr.ResampleStream(
                source_rate, target_rate, block.shape[1], dtype="float32", quality="VHQ"
            )
        else:
            resampled = stream.resample_chunk(pending)
            if len(resampled):
                yield resampled
        pending = block
    if stream is not None and pending is not None:
        # The last call must say that it is the last, which is known one block late.
        resampled = stream.resample_chunk(pending, last=True)
        if len(resampled):
            yield resampled


def read_blocks(
    path: str | Path, *, sample_rate: int | None = None, block_samples: int = _BLOCK_SAMPLES
) -> Iterator[np.ndarray]:
    """Yields the samples of a file in blocks, resampled on the way.

    Memory stays constant whatever the length, but for formats that only librosa can read.

    Args:
        path: an audio file.
        sample_rate: Hz to resample to; the file's own if None.
        block_samples: samples per block read from the file.

    Yields:
        float32 [time, channels]; every block but the last has samples.

    Raises:
        AudioError: if the file cannot be read to its end, or holds NaN or infinite samples.
    """
    path = Path(path)
    info = audio_info(path)
    yield from resample_blocks(
        _own_rate_blocks(path, info, block_samples),
        source_rate=info.sample_rate,
        target_rate=sample_rate or info.sample_rate,
    )


def _own_rate_blocks(path: Path, info: AudioInfo, block_samples: int) -> Iterator[np.ndarray]:
    position = 0
    try:
        source = soundfile.SoundFile(str(path)) if info.subtype else None
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{path}: {_reason(error)}") from error
    with source or contextlib.nullcontext():
        for block in _raw_blocks(path, source, block_samples):
            bad = np.flatnonzero(~np.isfinite(block).all(axis=1))
            if len(bad):
                at_s = (position + int(bad[0])) / info.sample_rate
                raise AudioError(f"{path}: NaN or infinite samples at {at_s:.3f} s")
            position += len(block)
            yield block
    if position == 0:
        raise AudioError(f"{path}: holds no samples")
    if source is not None and position < source.frames and source.format != "MP3":
        raise AudioError(f"{path}: truncated: {position} of {source.frames} samples could be read")


def _raw_blocks(
    path: Path, source: soundfile.SoundFile | None, block_samples: int
) -> Iterator[np.ndarray]:
    if source is None:
        samples, _ = _read_with_librosa(path)
        for start in range(0, len(samples), block_samples):
            yield samples[start : start + block_samples].astype(np.float32)
        return
    while True:
        try:
            block = source.read(block_samples, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise AudioError(f"{path}: {_reason(error)}") from error
        if not len(block):
            return
        yield block


def read_audio(
    path: str | Path, *, sample_rate: int | None = None, max_duration_s: float | None = None
) -> tuple[np.ndarray, int]:
    """Reads a file into memory.

    Args:
        path: an audio file.
        sample_rate: Hz to resample to; the file's own if None.
        max_duration_s: read no more than the beginning.

    Returns:
        float32 [channels, time] and the rate in Hz.

    Raises:
        AudioError: as :func:`read_blocks`.
    """
    rate = sample_rate or audio_info(path).sample_rate
    limit = None if max_duration_s is None else max(1, round(max_duration_s * rate))
    parts, total = [], 0
    for block in read_blocks(path, sample_rate=sample_rate):
        parts.append(block)
        total += len(block)
        if limit is not None and total >= limit:
            break
    return np.ascontiguousarray(np.concatenate(parts)[:limit].T), rate


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place if the block ends well.

    Raises:
        AudioError: if the folder is missing or cannot be written.
    """
    path = Path(path)
    if path.is_dir():
        raise AudioError(f"{path}: a directory, not a file to write")
    try:
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix
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
    finally:
        temporary.unlink(missing_ok=True)


def output_subtype(path: str | Path, wanted: str) -> str:
    """The sample format to write: the wanted one if the container knows it, else its default.

    Raises:
        AudioError: for a file name whose extension names no container.
    """
    path = Path(path)
    container = path.suffix.removeprefix(".").upper()
    container = {"AIF": "AIFF", "OGA": "OGG", "OPUS": "OGG"}.get(container, container)
    if container not in soundfile.available_formats():
        raise AudioError(
            f"{path}: unknown extension {path.suffix!r}; use .wav, .flac, .ogg, .mp3 or .aiff"
        )
    if wanted and soundfile.check_format(container, wanted):
        return wanted
    default = soundfile.default_subtype(container)
    return default or "PCM_16"


def write_blocks(
    path: str | Path,
    blocks: Iterable[np.ndarray],
    *,
    sample_rate: int,
    num_channels: int,
    subtype: str = "",
) -> int:
    """Writes blocks to a file that appears whole or not at all.

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
        try:
            with soundfile.SoundFile(
                str(temporary), "w", samplerate=sample_rate, channels=num_channels, subtype=chosen
            ) as sink:
                for block in blocks:
                    sink.write(block)
                    written += len(block)
                sink.flush()
            _check_written(temporary, written)
        except (soundfile.LibsndfileError, OSError, ValueError) as error:
            if isinstance(error, AudioError):
                raise
            raise AudioError(f"{path}: cannot be written: {_reason(error)}") from error
    return written


def _check_written(path: Path, written: int) -> None:
    """libsndfile reports a full disk late or never: count what arrived."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
    info = soundfile.info(str(path))
    if info.frames < written and info.format != "MP3":
        raise OSError(f"only {info.frames} of {written} samples arrived; is the disk full?")
