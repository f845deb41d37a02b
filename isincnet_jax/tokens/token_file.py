"""Token files, ``.isn``: the entropy-coded codes of one recording.

All numbers are little-endian::

    8 bytes   magic: 89 "ISN" 0D 0A 1A 0A (damaged by any text-mode transfer)
    u32       format version, 1
    u32 u32   sizes of the two parts of the header
    u32       CRC-32 of all bytes before it and of the header
    ...       header: JSON, deflated: spec and its digest, model, lengths, rates, quantiser
    ...       tables, deflated: turns per frame of every bin (u16, second differences), scales
              of the quantiser (f32)
    blocks, each
    u32 u32   frames, bytes of the payload
    u32       CRC-32 of the block's index (u32), the two numbers above and the payload
    ...       payload: the words of a range coder, see :mod:`.entropy`

A file ends with its last block. Every byte is under a checksum that is verified before
anything is decoded, every size is bounded before anything is allocated, and blocks make the
memory used independent of the length of the recording.
"""

from __future__ import annotations

import dataclasses
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from isincnet_jax.dsp import meanings
from isincnet_jax.tokens import entropy
from isincnet_jax.tokens.archive import ArchiveError
from isincnet_jax.tokens.token_header import TokenHeader, TokenQuantizer

MAGIC = b"\x89ISN\r\n\x1a\n"
_VERSION = 1
_PREFIX = struct.Struct("<8sIII")
_CRC = struct.Struct("<I")
_BLOCK = struct.Struct("<II")
_LARGEST_HEADER = 1 << 24
_LARGEST_PAYLOAD = 1 << 28
_BLOCK_SYMBOLS = 1 << 22
_BLOCK_FRAMES = 1024
_COPY_BYTES = 1 << 20


class TokenFileError(ArchiveError):
    """A file that is no intact token file; the message names it and the reason."""


class Written(NamedTuple):
    """Size of a file that was written.

    Attributes:
        num_frames: frames.
        num_bytes: of the whole file.
        model_bits: what the probability model says that the codes need.
    """

    num_frames: int
    num_bytes: int
    model_bits: float


def _block_frames(num_symbols: int) -> int:
    """Frames per block, at most, when a frame has so many codes."""
    return max(1, min(_BLOCK_FRAMES, _BLOCK_SYMBOLS // max(num_symbols, 1)))


def write_token_file(
    path: str | Path,
    chunks: Iterable[np.ndarray],
    *,
    header: TokenHeader,
    length: Callable[[], int] | None = None,
    scales: np.ndarray | None = None,
) -> Written:
    """Writes a token file at ``path`` (not atomic: give a temporary path and rename).

    Args:
        path: where to.
        chunks: codes as the quantizer makes them, [frames, audio channels, channels], in chunks
            of any sizes.
        header: what to write; its length may be any if ``length`` is given.
        length: called when all codes have passed by, when the length is known.
        scales: of the quantizer, float32, broadcasting against
            [audio channels, frames, channels]; the weights of a uniform quantizer.

    Returns:
        Frames, bytes and the entropy of the codes by the model.

    Raises:
        ValueError: if there are no codes, or they do not fit the header.
        ImportError: without constriction.
    """
    path = Path(path)
    turns = entropy.frame_turns(header.spec)
    coder = entropy.RowEncoder(
        num_audio=header.audio_channels, num_parts=header.num_parts, turns=turns
    )
    tables = _pack_tables(turns, header.shaped_scales(scales))
    most = _block_frames(header.audio_channels * header.spec.num_channels)
    frames = index = 0
    with tempfile.TemporaryFile(dir=path.parent) as spool:
        for rows in _recut(chunks, most):
            # One block: its frames, its size, its checksum, then the words of the range coder.
            payload = coder.encode(header.signed(rows))
            spool.write(_block_head(index, len(rows), payload) + payload)
            frames, index = frames + len(rows), index + 1
        if length is not None:
            header = dataclasses.replace(header, length=length())
        expected = header.spec.bank.frame_grid(header.length).num_frames
        if frames != expected:
            raise ValueError(f"{frames} frames, but {header.length} samples have {expected}")
        spool.seek(0)
        with path.open("wb") as out:
            out.write(_pack_header(header, tables))
            while data := spool.read(_COPY_BYTES):
                out.write(data)
            size = out.tell()
    return Written(frames, size, coder.model_bits)


def _recut(chunks: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """The same rows in pieces of ``size``, the last one shorter."""
    held: list[np.ndarray] = []
    count = 0
    for chunk in chunks:
        held.append(chunk)
        count += len(chunk)
        while count >= size:
            rows = np.concatenate(held)
            yield rows[:size]
            held, count = [rows[size:]], count - size
    if count:
        yield np.concatenate(held)


def _block_head(index: int, num_frames: int, payload: bytes) -> bytes:
    # The index is under the checksum, not in the file: blocks that change places are found.
    head = _BLOCK.pack(num_frames, len(payload))
    return head + _CRC.pack(zlib.crc32(payload, zlib.crc32(_CRC.pack(index) + head)))


def _pack_header(header: TokenHeader, tables: bytes) -> bytes:
    text = zlib.compress(header.to_json().encode(), 9)
    prefix = _PREFIX.pack(MAGIC, _VERSION, len(text), len(tables))
    return prefix + _CRC.pack(zlib.crc32(prefix + text + tables)) + text + tables


def _pack_tables(turns: np.ndarray, scales: np.ndarray | None) -> bytes:
    # Turns of evenly spaced centres have second differences of 0, which deflate to nothing.
    second = np.diff(turns, n=2, prepend=np.zeros(2, np.int64)) & 65535
    content = second.astype("<u2").tobytes()
    if scales is not None:
        content += scales.astype("<f4").tobytes()
    return zlib.compress(content, 9)


def _inflate(data: bytes, limit: int) -> bytes:
    """The content of a deflated part, never more than ``limit`` bytes of it."""
    inflater = zlib.decompressobj()
    content = inflater.decompress(data, limit + 1)
    if len(content) > limit or not inflater.eof or inflater.unused_data:
        raise ValueError("a header of the wrong size")
    return content


class TokenReader:
    """An open token file: header, quantizer, and its codes in blocks.

    Attributes:
        path: of the file.
        header: what the file says about its recording.
        scales: float32 [audio channels or 1, 1, channels or 1], or None.

    Raises:
        TokenFileError: if the file is no intact token file (what is wrong with a block is
            found when it is read).
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            reason = "not a file" if self.path.exists() else "no such file"
            raise TokenFileError(f"{path}: {reason}")
        self._file: IO[bytes] = self.path.open("rb")
        try:
            self._left = self.path.stat().st_size
            self.header, self.turns, self.scales = self._read_header()
        except BaseException as error:
            self._file.close()
            if isinstance(error, meanings.MeaningError):  # the file is as it was written
                raise TokenFileError(f"{path}: {error}") from error
            if isinstance(error, Exception):  # struct, zlib and JSON each raise their own
                reason = " ".join(str(error).split()) or type(error).__name__
                raise TokenFileError(f"{path}: no token file ({reason})") from error
            raise

    def __enter__(self) -> TokenReader:
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self._file.close()

    def _take(self, count: int) -> bytes:
        """The next bytes; the size is checked against the file before it is believed."""
        if count > self._left:
            raise ValueError("it ends early")
        data = self._file.read(count)
        self._left -= count
        if len(data) != count:
            raise ValueError("it ends early")
        return data

    def _read_header(self) -> tuple[TokenHeader, np.ndarray, np.ndarray | None]:
        prefix = self._take(_PREFIX.size)
        magic, version, text_size, tables_size = _PREFIX.unpack(prefix)
        if magic != MAGIC:
            raise ValueError("it does not begin like one")
        if version != _VERSION:
            raise ValueError(f"format {version}, this version reads {_VERSION}")
        (checksum,) = _CRC.unpack(self._take(_CRC.size))
        if max(text_size, tables_size) > _LARGEST_HEADER:
            raise ValueError("a header of the wrong size")
        text, tables = self._take(text_size), self._take(tables_size)
        if zlib.crc32(prefix + text + tables) != checksum:
            raise ValueError("the checksum of its header is wrong")
        header = TokenHeader.from_json(_inflate(text, _LARGEST_HEADER).decode())
        content = _inflate(tables, header.tables_size)
        if len(content) != header.tables_size:
            raise ValueError("tables of the wrong size")
        num_bins = header.spec.num_bins
        second = np.frombuffer(content, "<u2", num_bins).astype(np.int64)
        # The inverse of second differences modulo 2^16, which are nearly 0 for even spacing.
        turns = np.cumsum(np.cumsum(second) & 65535) & 65535
        if header.scales_shape is None:
            return header, turns, None
        scales = np.frombuffer(content, "<f4", offset=2 * num_bins).astype(np.float32)
        return header, turns, header.shaped_scales(scales.reshape(header.scales_shape))

    def quantizer(self) -> TokenQuantizer:
        """Quantizer of the codes.

        Returns:
            The quantizer with its scales or weights.
        """
        return self.header.quantizer(self.scales)

    def rows(self) -> Iterator[np.ndarray]:
        """Codes block by block, as the quantizer made them; can be called once.

        Yields:
            [frames, audio channels, channels]: uint8 or uint16, int32 for the uniform code.

        Raises:
            TokenFileError: if they are damaged or do not fit the header.
            ImportError: without constriction.
        """
        header = self.header
        total = header.spec.bank.frame_grid(header.length).num_frames
        most = _block_frames(header.audio_channels * header.spec.num_channels)
        decoder = entropy.RowDecoder(
            num_audio=header.audio_channels, num_parts=header.num_parts, turns=self.turns
        )
        frames = index = 0
        try:
            while frames < total:
                count, payload = self._read_block(index, min(most, total - frames))
                yield header.unsigned(decoder.decode(payload, count))
                frames, index = frames + count, index + 1
            if self._left:
                raise ValueError("it has bytes beyond its end")
        except (ValueError, struct.error) as error:
            raise TokenFileError(f"{self.path}: damaged ({error})") from error

    def _read_block(self, index: int, most: int) -> tuple[int, bytes]:
        head = self._take(_BLOCK.size)
        count, size = _BLOCK.unpack(head)
        (checksum,) = _CRC.unpack(self._take(_CRC.size))
        if size > _LARGEST_PAYLOAD:
            raise ValueError(f"block {index} of {size} bytes")
        payload = self._take(size)
        if zlib.crc32(payload, zlib.crc32(_CRC.pack(index) + head)) != checksum:
            raise ValueError(f"the checksum of block {index} is wrong")
        # Checked after the checksum, before anything of that size is made.
        if not 1 <= count <= most:
            raise ValueError(f"block {index} has {count} frames")
        return count, payload
