"""Audio files in: any format, in blocks, with errors that name the file.

Reading goes through soundfile (WAV, FLAC, OGG, MP3, AIFF, ...) and, for what it does not know,
through librosa; resampling through soxr's streaming resampler.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr

_BLOCK_SAMPLES = 1 << 18
_TAG_BYTES = 1 << 12  # tags may follow the last frame of an MP3
_MP3_SLACK = 2 * 1152  # encoders differ in whether they count the header's own frame

_CLEARER = {  # libsndfile's words for a failed write, and for an MP3 without a single frame
    "System error": "System error; is the disk full?",
    "File does not exist or is not a regular file (possibly a pipe?)": "Format not recognised",
}

_MAGIC = {".au": (b".snd", b"dns.")}  # without it libsndfile reads mu-law noise at 8 kHz
_KNOWN_BEST = (b"caff",)  # what libsndfile cannot read of these is damaged: others would guess

_PROMISE = re.compile(  # what libsndfile notes of a WAV, AIFF, AU, W64 or RF64 file that was cut
    r"^ *(?:data|SSND|Data Size|riff|Riff size) *: (\d+) \(should be (\d+)\)$", re.MULTILINE
)


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
    if path.suffix.lower() in _MAGIC:
        with open(path, "rb") as file:
            if file.read(4) not in _MAGIC[path.suffix.lower()]:
                raise AudioError(f"{path}: no {path.suffix} file: its header is missing")
    return path


def reason_of(error: Exception) -> str:
    """What libsndfile or the system says, in a few words."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(error).strip().splitlines()
    reason = text[-1].rpartition(": ")[2].rstrip(".") if text else type(error).__name__
    return _CLEARER.get(reason, reason)


def audio_info(path: str | Path) -> AudioInfo:
    """Reads the header of an audio file.

    Raises:
        AudioError: if it is missing, no audio, truncated, or has no samples.
    """
    path = _readable(Path(path))
    try:
        info = soundfile.info(str(path), verbose=True)
    except (soundfile.LibsndfileError, TypeError) as error:  # TypeError: raw, without a header
        samples, sample_rate = _read_with_librosa(path, reason_of(error))
        return AudioInfo(sample_rate, samples.shape[1], len(samples), "")
    if info.frames == 0:
        raise AudioError(f"{path}: holds no samples")
    _check_not_truncated(path, info.extra_info)
    num_samples = info.frames
    if info.format == "MP3" and not _states_length(path):
        num_samples = _counted_samples(path)
    return AudioInfo(info.samplerate, info.channels, num_samples, info.subtype)


def _check_not_truncated(path: Path, log: str) -> None:
    """libsndfile reads what is left of a cut file and at most notes it in its log."""
    for found in _PROMISE.finditer(log):
        promised, present = int(found[1]), int(found[2])
        # Programs that write to a pipe cannot know the size and put almost 2 or 4 GB.
        is_known = promised < 0x7FFF0000 or 0x80000000 <= promised < 0xFFFF0000
        if is_known and promised > present:
            raise AudioError(
                f"{path}: truncated: its header promises {promised} bytes, {present} are there"
            )
    if "Ogg stream data" in log and _ends_within_page(path):
        raise AudioError(f"{path}: truncated: its last Ogg page is cut off")


def _ends_within_page(path: Path) -> bool:
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - (1 << 17)))  # pages have less than 64 kB
        tail = file.read()
    page = tail[max(0, tail.rfind(b"OggS")) :]
    if len(page) < 27 or len(page) < 27 + page[26]:
        return True
    return len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]])


def _states_length(path: Path) -> bool:
    """Whether an MP3 has a Xing or Info header; without one libsndfile guesses the length."""
    with open(path, "rb") as file:
        head = file.read(10)
        if head.startswith(b"ID3"):  # a tag of so many bytes, seven bits in each of four
            file.seek(10 + sum((byte & 127) << (21 - 7 * i) for i, byte in enumerate(head[6:])))
        else:
            file.seek(0)
        first_frame = file.read(4096)
    return b"Xing" in first_frame or b"Info" in first_frame


def _counted_samples(path: Path) -> int:
    """Decodes an MP3 whose length is a guess; libsndfile stops at the guess if it is too small."""
    with open(path, "rb") as file, soundfile.SoundFile(file) as source:
        count = sum(len(block) for block in _raw_blocks(path, source, _BLOCK_SAMPLES))
        left = path.stat().st_size - file.tell()
    if left > _TAG_BYTES:
        raise AudioError(
            f"{path}: an MP3 of variable bit rate without a length in its header: {left} bytes "
            "would be left out; rewrite it, for instance by ffmpeg -i IN.mp3 -c copy OUT.mp3"
        )
    return count


def _read_with_librosa(path: Path, reason: str) -> tuple[np.ndarray, int]:
    import warnings

    import librosa

    with open(path, "rb") as file:
        if file.read(4) in _KNOWN_BEST:
            raise AudioError(f"{path}: damaged ({reason})")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            samples, sample_rate = librosa.load(path, sr=None, mono=False)
    except Exception as error:  # audioread's backends raise anything
        raise AudioError(
            f"{path}: no audio that soundfile or librosa can read ({reason})"
        ) from error
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
        AudioError: if the file cannot be read to its end, holds NaN or infinite samples, or is
            too short to have a sample at the new rate.
    """
    path = Path(path)
    info = audio_info(path)
    rate = sample_rate or info.sample_rate
    is_empty = True
    own = _own_rate_blocks(path, info, block_samples)
    for block in resample_blocks(own, source_rate=info.sample_rate, target_rate=rate):
        is_empty = False
        yield block
    if is_empty:
        raise AudioError(
            f"{path}: too short: of {info.num_samples} samples at {info.sample_rate} Hz none is "
            f"left at {rate} Hz"
        )


def _own_rate_blocks(path: Path, info: AudioInfo, block_samples: int) -> Iterator[np.ndarray]:
    position = 0
    try:
        source = soundfile.SoundFile(str(path)) if info.subtype else None
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{path}: {reason_of(error)}") from error
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
    slack = _MP3_SLACK if info.subtype.startswith("MPEG") else 0
    if position + slack < info.num_samples:
        raise AudioError(
            f"{path}: truncated: {position} of {info.num_samples} samples could be read"
        )


def _raw_blocks(
    path: Path, source: soundfile.SoundFile | None, block_samples: int
) -> Iterator[np.ndarray]:
    if source is None:
        samples, _ = _read_with_librosa(path, "not known to libsndfile")
        for start in range(0, len(samples), block_samples):
            yield samples[start : start + block_samples].astype(np.float32)
        return
    while True:
        try:
            block = source.read(block_samples, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise AudioError(f"{path}: {reason_of(error)}") from error
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
