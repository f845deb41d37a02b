"""Headers of audio files: what they say about lengths, and where they are not to be believed."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path
from typing import IO, Any, NamedTuple

_PROMISE = re.compile(  # what libsndfile notes of a WAV, AIFF, AU, W64 or RF64 file that was cut
    r"^ *(?:data|SSND|Data Size|riff|Riff size) *: (\d+) \(should be (\d+)\)$", re.MULTILINE
)
_FLAC_TOTAL = 21  # bytes from "fLaC" to the five whose last 36 bits count the samples
_TOTAL_BYTES = 5


def native(path: str | Path) -> Any:
    """A path as soundfile takes it: names need not be UTF-8.

    Args:
        path: of a file.

    Returns:
        Bytes, as the file system has them; text on Windows.
    """
    return str(path) if os.name == "nt" else os.fsencode(path)


def cut_off(path: Path, log: str) -> str:
    """Truncation of a file, by libsndfile's log of its header; empty if it was not cut.

    libsndfile reads what is left of a cut file and at most notes it there.

    Args:
        path: of the file.
        log: ``extra_info`` of soundfile.

    Returns:
        "truncated: ...", or "".
    """
    for found in _PROMISE.finditer(log):
        promised, present = int(found[1]), int(found[2])
        # Programs that write to a pipe cannot know the size and put almost 2 or 4 GB.
        is_known = promised < 0x7FFF0000 or 0x80000000 <= promised < 0xFFFF0000
        if is_known and promised > present:
            return f"truncated: its header promises {promised} bytes, {present} are there"
    if "Ogg stream data" in log and _ends_within_page(path):
        return "truncated: its last Ogg page is cut off"
    return ""


def _ends_within_page(path: Path) -> bool:
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - (1 << 17)))  # pages have less than 64 kB
        tail = file.read()
    # A page: 26 bytes, the number of segments, their sizes, and as many bytes as these sum to.
    page = tail[max(0, tail.rfind(b"OggS")) :]
    if len(page) < 27 or len(page) < 27 + page[26]:
        return True
    return len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]])


def states_length(path: Path) -> bool:
    """Whether an MP3 has a Xing or Info header; without one libsndfile guesses the length.

    Args:
        path: of an MP3.

    Returns:
        Whether one of them is within the first 4 kB behind an ID3 tag.
    """
    with open(path, "rb") as file:
        _skip_tag(file)
        first_frame = file.read(4096)
    return b"Xing" in first_frame or b"Info" in first_frame


def _skip_tag(file: IO[bytes]) -> int:
    """Goes behind an ID3 tag: a size of seven bits in each of four bytes; returns the place."""
    head = file.read(10)
    if not head.startswith(b"ID3"):
        return file.seek(0)
    return file.seek(10 + sum((byte & 127) << (21 - 7 * i) for i, byte in enumerate(head[6:])))


class FlacLength(NamedTuple):
    """Sample count of a FLAC file and its place; 0 if it was unknown."""

    place: int
    num_samples: int


def flac_length(path: Path) -> FlacLength | None:
    """Sample count that a FLAC file states; None if it does not begin like one.

    Args:
        path: of any file.

    Returns:
        The count's place, in bytes, and its 36 bits.
    """
    with open(path, "rb") as file:
        start = _skip_tag(file)
        head = file.read(_FLAC_TOTAL + _TOTAL_BYTES)
    if not head.startswith(b"fLaC") or len(head) < _FLAC_TOTAL + _TOTAL_BYTES:
        return None
    count = int.from_bytes(head[_FLAC_TOTAL:], "big") & (1 << 36) - 1
    return FlacLength(start + _FLAC_TOTAL, count)


class LengthlessFlac(io.RawIOBase):
    """A FLAC file that does not say how long it is, so that libsndfile reads it to its end."""

    def __init__(self, path: Path, length: FlacLength) -> None:
        self._file = open(path, "rb")  # noqa: SIM115 - closed with this one
        self._place = length.place

    def readable(self) -> bool:
        """Whether it can be read: it can.

        Returns:
            True.
        """
        return True

    def seekable(self) -> bool:
        """Whether it can be positioned: it can.

        Returns:
            True.
        """
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Moves to a position of the file.

        Args:
            offset: bytes.
            whence: 0 from the beginning, 1 from here, 2 from the end.

        Returns:
            The new position.
        """
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Position in the file.

        Returns:
            The position, bytes.
        """
        return self._file.tell()

    def readinto(self, buffer: bytearray, /) -> int:  # type: ignore[override]
        """Reads bytes of the file, the 36 bits of its sample count as 0.

        Args:
            buffer: takes the bytes.

        Returns:
            How many were read.
        """
        view, start = memoryview(buffer).cast("B"), self._file.tell()
        count = self._file.readinto(view)
        for index in range(_TOTAL_BYTES):
            at = self._place + index - start
            if 0 <= at < count:
                view[at] &= 0xF0 if index == 0 else 0
        return count

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
        super().close()
