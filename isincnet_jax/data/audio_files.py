"""Audio files in: any format, in blocks, with errors that name the file.

Reading goes through soundfile (WAV, FLAC, OGG, MP3, AIFF, ...) and, for what it does not know (AAC
in .m4a, ...), through ffmpeg; resampling through soxr's streaming resampler.

What a damaged file is worth is for its user to say: by default it is refused whole, and with
``truncated="keep"`` what can be read of it is used, and a warning logged. Also refused is a FLAC
file that holds more samples than its header says, for its end would be lost without a word.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import soxr

from isincnet_jax.data.audio_inspection import (
    MOST_NUMBERS,
    AudioError,
    AudioInfo,
    DecodingError,
    Inspected,
    Truncated,
    bounded_block,
    check_truncated,
    inspect_file,
    raw_blocks,
    reason_of,
)
from isincnet_jax.files import first_line

__all__ = [
    "AudioError",
    "AudioInfo",
    "Truncated",
    "audio_info",
    "read_audio",
    "read_blocks",
    "reason_of",
    "resample_blocks",
]

_LOG = logging.getLogger(__name__)
_BLOCK_SAMPLES = 1 << 18
_MP3_SLACK = 2 * 1152  # encoders differ in whether they count the header's own frame


def audio_info(path: str | Path, *, truncated: Truncated = "refuse") -> AudioInfo:
    """Reads the header of an audio file.

    Args:
        path: an audio file.
        truncated: "keep" counts the samples that can be read, by decoding them.

    Returns:
        Rate in Hz, channels, samples per channel, and sample format.

    Raises:
        AudioError: if it is missing, no audio, truncated, or has no samples.
    """
    return inspect_file(Path(path), truncated).info


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
    path: str | Path,
    *,
    sample_rate: int | None = None,
    block_samples: int = _BLOCK_SAMPLES,
    truncated: Truncated = "refuse",
) -> Iterator[np.ndarray]:
    """Yields the samples of a file in blocks, resampled on the way.

    Memory stays constant whatever the length, but for formats that only ffmpeg can read.

    Args:
        path: an audio file.
        sample_rate: Hz to resample to; the file's own if None.
        block_samples: samples per block read from the file; fewer if it has very many channels,
            or if very many samples are made of one.
        truncated: "keep" uses what can be read of a damaged file, and logs a warning.

    Yields:
        float32 [time, channels]; every block but the last has samples.

    Raises:
        AudioError: if the file cannot be read to its end, holds NaN or infinite samples, or is
            too short to have a sample at the new rate.
        ValueError: at once, for a rate or a size that is none.
    """
    rate = _checked_rate(sample_rate)
    if block_samples < 1:
        raise ValueError(f"block_samples={block_samples}: must be at least 1")
    check_truncated(truncated)
    return _resampled_blocks(Path(path), rate, block_samples, truncated)


def _checked_rate(sample_rate: float | None) -> int | None:
    """A rate to resample to as an int; None for the file's own.

    Raises:
        ValueError: for what is no whole number of hertz from 1 on.
    """
    if sample_rate is None:
        return None
    is_whole = not isinstance(sample_rate, bool) and sample_rate == sample_rate // 1
    if not (is_whole and 1 <= sample_rate < math.inf):
        raise ValueError(
            f"sample_rate={sample_rate!r}: must be a whole number of Hz, at least 1; leave it out "
            "for the file's own"
        )
    return int(sample_rate)


def _resampled_blocks(
    path: Path, sample_rate: int | None, block_samples: int, truncated: Truncated
) -> Iterator[np.ndarray]:
    seen = inspect_file(path, truncated)
    info = seen.info
    rate = sample_rate or info.sample_rate
    size = bounded_block(seen, block_samples, truncated)
    if rate > info.sample_rate:
        size = max(1, min(size, MOST_NUMBERS * info.sample_rate // (rate * info.num_channels)))
    is_empty = True
    own = _own_rate_blocks(path, seen, size, truncated)
    try:
        for block in resample_blocks(own, source_rate=info.sample_rate, target_rate=rate):
            is_empty = False
            yield block
    except (ValueError, RuntimeError) as error:
        if isinstance(error, AudioError):
            raise
        raise AudioError(
            f"{path}: cannot be resampled from {info.sample_rate} to {rate} Hz: {first_line(error)}"
        ) from error
    if is_empty:
        raise AudioError(
            f"{path}: too short: of {info.num_samples} samples at {info.sample_rate} Hz none is "
            f"left at {rate} Hz"
        )


def _own_rate_blocks(
    path: Path, seen: Inspected, block_samples: int, truncated: Truncated
) -> Iterator[np.ndarray]:
    info, position, problem = seen.info, 0, seen.problem
    try:
        for block in raw_blocks(path, seen, block_samples, truncated):
            bad = np.flatnonzero(~np.isfinite(block).all(axis=1))
            if len(bad):
                at_s = (position + int(bad[0])) / info.sample_rate
                raise AudioError(f"{path}: NaN or infinite samples at {at_s:.3f} s")
            position += len(block)
            yield block
    except DecodingError as error:
        if truncated == "refuse":
            raise
        problem = problem or str(error).removeprefix(f"{path}: ")
    if position == 0:
        raise AudioError(f"{path}: holds no samples")
    slack = _MP3_SLACK if info.subtype.startswith("MPEG") else 0
    if not problem and position + slack < seen.stated:
        problem = f"truncated: {position} of {seen.stated} samples could be read"
    if not problem and seen.format == "FLAC" and position > seen.stated:
        problem = f"its header states {seen.stated} samples, and it holds {position}"
    if problem and truncated == "refuse":
        raise AudioError(f"{path}: {problem}")
    if problem:
        seconds = position / info.sample_rate
        _LOG.warning("%s: the %.3f s that could be read are used: %s", path, seconds, problem)


def read_audio(
    path: str | Path,
    *,
    sample_rate: int | None = None,
    max_duration_s: float | None = None,
    truncated: Truncated = "refuse",
) -> tuple[np.ndarray, int]:
    """Reads a file into memory.

    Args:
        path: an audio file.
        sample_rate: Hz to resample to; the file's own if None.
        max_duration_s: read no more than the beginning; all of it if None.
        truncated: "keep" uses what can be read of a damaged file, and logs a warning.

    Returns:
        float32 [channels, time] and the rate in Hz.

    Raises:
        AudioError: as :func:`read_blocks`.
        ValueError: for a rate or a duration that is none.
    """
    if max_duration_s is not None and not 0 < max_duration_s < math.inf:
        raise ValueError(
            f"max_duration_s={max_duration_s!r}: must be positive and finite; leave it out to read "
            "all"
        )
    blocks = read_blocks(path, sample_rate=sample_rate, truncated=truncated)
    rate = _checked_rate(sample_rate) or audio_info(path, truncated=truncated).sample_rate
    limit = None if max_duration_s is None else max(1, round(max_duration_s * rate))
    parts, total = [], 0
    for block in blocks:
        parts.append(block)
        total += len(block)
        if limit is not None and total >= limit:
            break
    return np.ascontiguousarray(np.concatenate(parts)[:limit].T), rate
