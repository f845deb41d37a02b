"""Inspection of an audio file: whether it is one, what it holds, its samples as they are stored."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import soundfile

from isincnet_jax.data import audio_headers
from isincnet_jax.data.audio_errors import AudioError
from isincnet_jax.files import first_line

Truncated: TypeAlias = Literal["refuse", "keep"]
"""What is done with a file that is damaged or ends early."""

_BLOCK_SAMPLES = 1 << 18
MOST_NUMBERS = 1 << 23
"""Of all channels of a block, before and after resampling: 32 MB."""

_CAREFUL_SAMPLES = 1 << 11  # a block in which libsndfile finds an error is lost
_UNKNOWN_LENGTH = 1 << 62  # and more: what libsndfile says of a FLAC file from a pipe
_TAG_BYTES = 1 << 12  # tags may follow the last frame of an MP3

_CLEARER = {  # libsndfile's words for a failed write, and for an MP3 without a single frame
    "System error": "System error; is the disk full?",
    "File does not exist or is not a regular file (possibly a pipe?)": "Format not recognised",
    "SF_INFO struct incomplete": "its header has an impossible sample rate or number of channels",
}

_MAGIC = {".au": (b".snd", b"dns.")}  # without it libsndfile reads mu-law noise at 8 kHz
_KNOWN_BEST = (b"caff",)  # what libsndfile cannot read of these is damaged: others would guess
_NOT_KNOWN = (  # what libsndfile says of what it does not know; all else is damage
    "Format not recognised",
    "File contains data in an unimplemented format",
    "Unspecified internal error",  # of an Ogg file with another codec
)
_OF_FFMPEG = (".m4a", ".mp4", ".aac", ".wma", ".mka", ".webm", ".ac3", ".spx", ".ape", ".wv")


class AudioInfo(NamedTuple):
    """Header of an audio file: what it says about itself.

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


def check_truncated(truncated: str) -> None:
    """Refuses what is no :data:`Truncated`.

    Args:
        truncated: as a user gave it.

    Raises:
        ValueError: if it is neither "refuse" nor "keep".
    """
    if truncated not in get_args(Truncated):
        raise ValueError(f"truncated={truncated!r}: use 'refuse' or 'keep'")


def _readable(path: Path) -> Path:
    """Refuses what is no regular file, without opening it: a pipe would wait for ever."""
    try:
        state = path.stat()
    except FileNotFoundError:
        reason = "a link to a file that is missing" if path.is_symlink() else "no such file"
        raise AudioError(f"{path}: {reason}") from None
    except (OSError, ValueError) as error:  # a loop of links, a null byte
        raise AudioError(f"{path}: cannot be read: {first_line(error)}") from error
    if stat.S_ISDIR(state.st_mode):
        raise AudioError(f"{path}: a directory, not an audio file")
    if not stat.S_ISREG(state.st_mode):
        raise AudioError(f"{path}: a pipe or device; write it to a file first")
    if state.st_size == 0:
        raise AudioError(f"{path}: an empty file")
    try:
        with open(path, "rb") as file:
            head = file.read(4)
    except OSError as error:
        raise AudioError(f"{path}: cannot be read: {first_line(error)}") from error
    if head not in _MAGIC.get(path.suffix.lower(), (head,)):
        raise AudioError(f"{path}: no {path.suffix} file: its header is missing")
    return path


def reason_of(error: Exception) -> str:
    """Reason of an error in a few words, libsndfile's or the system's.

    Args:
        error: of libsndfile or the system.

    Returns:
        Without the file's name.
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(error).strip().splitlines()
    reason = text[-1].rpartition(": ")[2].rstrip(".") if text else type(error).__name__
    return _CLEARER.get(reason, reason)


class Inspected(NamedTuple):
    """An :class:`AudioInfo` that can be relied on, and what else is known of a file.

    ``format`` is libsndfile's, empty if it cannot read the file; ``stated`` samples are those of
    its header; ``problem`` says what is wrong with a file that is used all the same.
    """

    info: AudioInfo
    format: str
    stated: int
    problem: str


def inspect_file(path: Path, truncated: Truncated) -> Inspected:
    """Reads the header of a file, and counts its samples where that is not to be trusted.

    Args:
        path: of the file.
        truncated: "keep" counts the samples that can be read, by decoding them.

    Returns:
        What is known of it.

    Raises:
        AudioError: see :func:`.audio_files.audio_info`.
    """
    check_truncated(truncated)
    path = _readable(path)
    try:
        info = soundfile.info(audio_headers.native(path), verbose=True)
    except (soundfile.LibsndfileError, TypeError) as error:  # TypeError: raw, without a header
        samples, sample_rate = _read_with_ffmpeg(path, reason_of(error))
        return Inspected(
            AudioInfo(sample_rate, samples.shape[1], len(samples), ""), "", len(samples), ""
        )
    if info.samplerate < 1 or info.channels < 1:
        raise AudioError(f"{path}: {_CLEARER['SF_INFO struct incomplete']}")
    problem = audio_headers.cut_off(path, info.extra_info)
    if truncated == "refuse" and (problem or info.frames == 0):
        raise AudioError(f"{path}: {problem or 'holds no samples'}")
    found = AudioInfo(info.samplerate, info.channels, info.frames, info.subtype)
    seen = Inspected(found, info.format, info.frames, problem)
    is_stated = info.frames < _UNKNOWN_LENGTH
    if info.format == "MP3":
        is_stated = audio_headers.states_length(path)
    if truncated == "refuse" and is_stated:
        return seen
    count, problem = _counted_samples(path, seen, truncated)
    return seen._replace(
        info=found._replace(num_samples=count),
        stated=info.frames if is_stated else count,
        problem=seen.problem or problem,
    )


def _counted_samples(path: Path, seen: Inspected, truncated: Truncated) -> tuple[int, str]:
    """Decodes a file whose length is a guess, or that is damaged; also what is wrong with it."""
    count, problem = 0, ""
    size = bounded_block(seen, _BLOCK_SAMPLES, truncated)
    try:
        for block in raw_blocks(path, seen, size, truncated):
            count += len(block)
    except DecodingError as error:
        problem = str(error).removeprefix(f"{path}: ")
    if count == 0:
        raise AudioError(f"{path}: holds no samples that can be read ({problem or 'empty'})")
    if seen.format == "MP3" and not problem and not audio_headers.states_length(path):
        problem = _unread_rest(path, seen)
    if problem and truncated == "refuse":
        raise AudioError(f"{path}: {problem}")
    return count, problem


def _unread_rest(path: Path, seen: Inspected) -> str:
    """Says whether libsndfile stops at its guess of the length of an MP3, which is too small."""
    with _open_source(path, seen, "refuse") as source:
        for _ in _blocks_of(path, source, _BLOCK_SAMPLES):
            pass
        left = source.num_left()
    if left <= _TAG_BYTES:
        return ""
    return (
        f"an MP3 of variable bit rate without a length in its header: {left} bytes would be left "
        "out; rewrite it, for instance by ffmpeg -i IN.mp3 -c copy OUT.mp3"
    )


class _Source:
    """An open file: its samples until its end, whatever the header of a FLAC file says."""

    def __init__(self, path: Path, file_format: str, truncated: Truncated) -> None:
        length = audio_headers.flac_length(path) if file_format == "FLAC" else None
        self._path = path
        self._file: Any = None
        if length is not None:
            self._file = audio_headers.LengthlessFlac(path, length)
        elif file_format == "MP3":
            self._file = open(path, "rb")  # noqa: SIM115 - closed with this one
        try:
            self.sound = soundfile.SoundFile(self._file or audio_headers.native(path))
        except BaseException:
            if self._file is not None:
                self._file.close()
            raise
        if length is not None or truncated == "keep":
            # soundfile seeks behind every block: in vain at an unknown end, and libsndfile makes
            # silence of what follows in a cut MP3 or Ogg file.
            self.sound.seekable = lambda: False  # type: ignore[method-assign]

    def __enter__(self) -> _Source:
        return self

    def __exit__(self, *_: object) -> None:
        self.sound.close()
        if self._file is not None:
            self._file.close()

    def num_left(self) -> int:
        """Bytes that were not read; of MP3 files only."""
        return self._path.stat().st_size - self._file.tell()


def _open_source(path: Path, seen: Inspected, truncated: Truncated) -> _Source:
    try:
        return _Source(path, seen.format, truncated)
    except (soundfile.LibsndfileError, OSError) as error:
        raise AudioError(f"{path}: {reason_of(error)}") from error


def bounded_block(seen: Inspected, wanted: int, truncated: Truncated) -> int:
    """Samples of a block, so that a file of a thousand channels takes no gigabytes.

    Args:
        seen: of the file.
        wanted: samples per channel.
        truncated: "keep" makes blocks small: one in which the decoder fails is lost.

    Returns:
        Samples per channel, at least 1.
    """
    most = min(wanted, max(1, MOST_NUMBERS // seen.info.num_channels))
    return min(most, _CAREFUL_SAMPLES) if truncated == "keep" else most


def _read_with_ffmpeg(path: Path, reason: str) -> tuple[np.ndarray, int]:
    """All samples, float32 [time, channels], of a file that libsndfile cannot read."""
    from isincnet_jax.data import audio_ffmpeg

    with open(path, "rb") as file:
        head = file.read(12)
    if head.startswith(_KNOWN_BEST):
        raise AudioError(f"{path}: damaged ({reason})")
    is_known = reason not in _NOT_KNOWN[: 3 if head.startswith(b"OggS") else 2]
    if is_known:
        raise AudioError(f"{path}: no audio that soundfile can read ({reason})")
    if not audio_ffmpeg.is_installed():
        if path.suffix.lower() in _OF_FFMPEG or head[4:8] == b"ftyp":
            raise AudioError(
                f"{path}: {path.suffix or 'MP4'} files need ffmpeg and ffprobe, which are not "
                "installed; install them, or convert it to .wav or .flac"
            )
        raise AudioError(
            f"{path}: no audio that soundfile can read ({reason}), and ffmpeg, which reads more "
            "formats, is not installed"
        )
    try:
        samples, sample_rate = audio_ffmpeg.read_stream(path)
    except AudioError as error:
        raise AudioError(
            f"{path}: no audio that soundfile or ffmpeg can read ({reason}; "
            f"{str(error).removeprefix(f'{path}: ')})"
        ) from error
    return np.ascontiguousarray(samples.T), sample_rate


def raw_blocks(
    path: Path, seen: Inspected, block_samples: int, truncated: Truncated
) -> Iterator[np.ndarray]:
    """Yields all samples that a file holds, float32 [time, channels], at its own rate.

    Args:
        path: of the file.
        seen: of the same file.
        block_samples: samples per channel of a block.
        truncated: "keep" never seeks: libsndfile makes silence of what follows in a cut file.

    Yields:
        Every block but the last has ``block_samples``, unless the decoder gives fewer.

    Raises:
        DecodingError: where libsndfile stops; what came before has been yielded.
    """
    if seen.format:
        with _open_source(path, seen, truncated) as source:
            yield from _blocks_of(path, source, block_samples)
        return
    samples, _ = _read_with_ffmpeg(path, _NOT_KNOWN[0])
    for start in range(0, len(samples), block_samples):
        yield samples[start : start + block_samples]


class DecodingError(AudioError):
    """libsndfile stopped within the samples."""


def _blocks_of(path: Path, source: _Source, block_samples: int) -> Iterator[np.ndarray]:
    while True:
        try:
            block = source.sound.read(block_samples, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise DecodingError(f"{path}: {reason_of(error)}") from error
        if not len(block):
            return
        yield block
