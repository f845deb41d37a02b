"""File of checked blocks: what all kinds of token files share.

Every byte is under a checksum that is verified before anything is decoded, and every size is held
against the file before anything is allocated. All numbers are little-endian::

    8 bytes   magic: 89 "ISN" 0D 0A 1A 0A (damaged by any text-mode transfer)
    u8        format version
    ...       header, with a CRC-32 of all bytes before that
    blocks, each
    u32       bytes of the payload
    u32       CRC-32 of the block's index (u32), the number above and the payload
    ...       payload
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from isincnet_jax.tokens.archive import ArchiveError

MAGIC = b"\x89ISN\r\n\x1a\n"
PREFIX = len(MAGIC) + 1
CRC = struct.Struct("<I")
BLOCK = struct.Struct("<II")
RESIDUAL = 1 << 31
"""Added to the index of a block of residuals in its checksum."""
_LARGEST_PAYLOAD = 1 << 27


class TokenFileError(ArchiveError):
    """A file that is no intact token file; the message names it and the reason."""


def block_checksum(index: int, payload: bytes) -> int:
    """Checksum of a block.

    Args:
        index: of the block; :data:`RESIDUAL` more for residuals.
        payload: its bytes.

    Returns:
        CRC-32.
    """
    # The index is under the checksum, not in the file: blocks that change places are found.
    return zlib.crc32(payload, zlib.crc32(CRC.pack(index) + CRC.pack(len(payload))))


def packed_block(index: int, payload: bytes) -> bytes:
    """A block as it stands in a file.

    Args:
        index: of the block; :data:`RESIDUAL` more for residuals.
        payload: its bytes.

    Returns:
        Size, checksum and payload.
    """
    return BLOCK.pack(len(payload), block_checksum(index, payload)) + payload


def read_version(path: str | Path) -> int:
    """Format version of a token file.

    Args:
        path: of the file.

    Returns:
        The byte behind the magic; 0 for what is no token file, which its reader will say.
    """
    path = Path(path)
    if not path.is_file():
        return 0
    with path.open("rb") as file:
        prefix = file.read(PREFIX)
    return prefix[-1] if len(prefix) == PREFIX and prefix.startswith(MAGIC) else 0


class BlockFile:
    """An open file of blocks.

    Subclasses say which version they read and take their header apart.

    Attributes:
        path: of the file.

    Raises:
        TokenFileError: if the file is no intact token file (what is wrong with a block is
            found when it is read).
    """

    VERSION: int

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            reason = "not a file" if self.path.exists() else "no such file"
            raise TokenFileError(f"{path}: {reason}")
        self._file: IO[bytes] = self.path.open("rb")
        try:
            self._left = self.path.stat().st_size
            self._read_header(self._read_prefix())
        except BaseException as error:
            self._file.close()
            if isinstance(error, Exception):
                raise TokenFileError(f"{path}: no token file ({error})") from error
            raise

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self._file.close()

    def _read_header(self, prefix: bytes) -> None:
        raise NotImplementedError

    def _read_prefix(self) -> bytes:
        prefix = self._take(PREFIX)
        if prefix[: len(MAGIC)] != MAGIC:
            raise ValueError("it does not begin like one")
        if prefix[-1] != self.VERSION:
            raise ValueError(
                f"format {prefix[-1]}, this version reads {self.VERSION}: encode the recording "
                "again"
            )
        return prefix

    def _take(self, count: int) -> bytes:
        """The next bytes; the size is checked against the file before it is believed."""
        if count > self._left:
            raise ValueError("it ends early")
        data = self._file.read(count)
        self._left -= count
        if len(data) != count:
            raise ValueError("it ends early")
        return data

    def _take_checked(self, before: bytes, count: int) -> bytes:
        """The next bytes and the checksum behind them, which is of the bytes before, too."""
        content = self._take(count)
        (checksum,) = CRC.unpack(self._take(CRC.size))
        if zlib.crc32(before + content) != checksum:
            raise ValueError("the checksum of its header is wrong")
        return content

    @contextlib.contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except (ValueError, struct.error) as error:
            raise TokenFileError(f"{self.path}: damaged ({error})") from error

    def _check_end(self) -> None:
        with self._named_errors():
            if self._left:
                raise ValueError("it has bytes beyond its end")

    def _read_block(self, index: int) -> bytes:
        size, checksum = self._read_block_head(index)
        payload = self._take(size)
        if block_checksum(index, payload) != checksum:
            raise ValueError(f"the checksum of {_block_name(index)} is wrong")
        return payload

    def _skip_block(self, index: int) -> None:
        size, _ = self._read_block_head(index)
        if size > self._left:
            raise ValueError("it ends early")
        self._file.seek(size, os.SEEK_CUR)
        self._left -= size

    def _read_block_head(self, index: int) -> tuple[int, int]:
        size, checksum = BLOCK.unpack(self._take(BLOCK.size))
        if size > _LARGEST_PAYLOAD:
            raise ValueError(f"{_block_name(index)} of {size} bytes")
        return size, checksum


def _block_name(index: int) -> str:
    return f"residual {index - RESIDUAL}" if index >= RESIDUAL else f"block {index}"
