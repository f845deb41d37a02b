"""Time stamps and serial numbers of finished audio files, settled: the same sound, the same bytes.

libsndfile writes the second of writing into the PEAK chunk of floating-point WAV and AIFF files,
and gives every Ogg stream a random serial number. No public name of soundfile turns these off, so
that they are overwritten where they stand. The other containers (FLAC, MP3, CAF, W64, RF64, AU)
hold neither.

References:
    RFC 3533, "The Ogg Encapsulation Format Version 0", 2003, section 6 (pages and their
        checksums), https://www.rfc-editor.org/rfc/rfc3533
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

_STAMP = 12  # of a PEAK chunk: name, size, version, and then the time
_SERIAL, _CHECKSUM, _PAGE_HEADER = 14, 22, 27
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def settle(path: str | Path) -> None:
    """Overwrites what depends on when, and how often, the file was written; no sample changes.

    The time of a PEAK chunk becomes 0. The serial number of an Ogg stream becomes the CRC-32 of
    its packets: the same for the same sound, another for another, so that files can still be
    chained.

    Args:
        path: a finished file, of any kind; what is neither WAV, AIFF nor Ogg is left alone.

    Raises:
        OSError: if the file cannot be read or written.
    """
    with open(path, "r+b") as file:
        kind = file.read(4)
        if kind in (b"RIFF", b"FORM"):
            _settle_peak(file, "little" if kind == b"RIFF" else "big")
        elif kind == b"OggS":
            _settle_serial(file)


def _settle_peak(file: BinaryIO, byte_order: Literal["little", "big"]) -> None:
    # Chunks from behind RIFF or FORM, size and type on: name, size, and content of even length.
    start = 12
    while len(head := _read(file, start, 8)) == 8:
        if head[:4] == b"PEAK":
            _write(file, start + _STAMP, bytes(4))
        size = int.from_bytes(head[4:], byte_order)
        start += 8 + size + size % 2


def _settle_serial(file: BinaryIO) -> None:
    serial = 0
    for _, page, header in _pages(file):
        serial = zlib.crc32(page[header:], serial)
    for start, page, _ in _pages(file):
        page[_SERIAL : _SERIAL + 4] = serial.to_bytes(4, "little")
        page[_CHECKSUM : _CHECKSUM + 4] = bytes(4)  # which the checksum counts as 0
        page[_CHECKSUM : _CHECKSUM + 4] = _checksum(page).to_bytes(4, "little")
        _write(file, start, page)


def _pages(file: BinaryIO) -> Iterator[tuple[int, bytearray, int]]:
    """Where each whole page begins, its bytes, and how many of them are its header."""
    start = 0
    while len(head := _read(file, start, _PAGE_HEADER + 255)) >= _PAGE_HEADER:
        header = _PAGE_HEADER + head[_PAGE_HEADER - 1]
        page = bytearray(_read(file, start, header + sum(head[_PAGE_HEADER:header])))
        if page[:4] != b"OggS" or len(page) < header:
            return
        yield start, page, header
        start += len(page)


def _checksum(page: bytearray) -> int:
    """CRC-32 of polynomial 0x04c11db7, from 0, highest bit first: zlib's, mirrored."""
    value = zlib.crc32(page.translate(_MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{value:032b}"[::-1], 2)


def _read(file: BinaryIO, start: int, size: int) -> bytes:
    file.seek(start)
    return file.read(size)


def _write(file: BinaryIO, start: int, data: bytes | bytearray) -> None:
    file.seek(start)
    file.write(data)
