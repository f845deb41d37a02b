"""Token files of ragged codes, ``.isn`` version 3: arrays of frames, each at a rate of its own.

A file of blocks, see :mod:`.block_file`. The header is JSON, behind its size (u32): the bank, of
which this module knows nothing, the shape of every array, lengths, rates and step. Then every array
stands for itself, in blocks of some million codes, frame after frame under the coder of
:mod:`.frame_coder`, which begins afresh in each; audio channels are coded beside each other.
"""

from __future__ import annotations

import dataclasses
import json
import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from isincnet_jax.tokens.block_file import BLOCK, CRC, MAGIC, BlockFile, packed_block
from isincnet_jax.tokens.frame_coder import FrameCoder
from isincnet_jax.tokens.token_header import MOST_AUDIO

VERSION = 3
_SIZE = struct.Struct("<I")
_LARGEST_HEADER = 1 << 20  # bytes
_BLOCK_CODES = 1 << 20
_MOST_ARRAYS, _MOST_VALUES = 1 << 12, 1 << 20
_LONGEST = 1 << 27
"""Samples: arrays are whole recordings. 50 minutes at 44.1 kHz."""


@dataclasses.dataclass(frozen=True)
class RaggedHeader:
    """Header of a file of ragged codes.

    Attributes:
        bank: JSON values, fields of its spec.
        arrays: (frames, codes per frame) of each.
        audio_channels: 1 to 64.
        length: samples per audio channel at the bank's rate.
        original_length: samples of the recording at its own rate.
        original_rate: Hz, of the recording.
        step: of the uniform quantiser, a positive float32.

    Raises:
        ValueError: at construction, for values that no recording has.
    """

    bank: dict[str, Any]
    arrays: tuple[tuple[int, int], ...]
    audio_channels: int
    length: int
    original_length: int
    original_rate: int
    step: float

    def __post_init__(self) -> None:
        arrays = tuple(map(tuple, self.arrays))
        object.__setattr__(self, "arrays", arrays)
        whole = [self.audio_channels, self.length, self.original_length, self.original_rate]
        whole += [number for shape in arrays for number in shape]
        if not all(type(number) is int and number >= 1 for number in whole):
            raise ValueError("sizes, lengths and rates must be positive integers")
        if not isinstance(self.bank, dict):
            raise ValueError(f"bank={self.bank!r}: the fields of a spec are needed")
        if self.audio_channels > MOST_AUDIO:
            raise ValueError(f"{self.audio_channels} audio channels: use 1 to {MOST_AUDIO}")
        if self.length > _LONGEST:
            raise ValueError(
                f"length={self.length}: ragged codes are of whole recordings, at most {_LONGEST} "
                "samples; use a lapped bank"
            )
        if not 1 <= len(arrays) <= _MOST_ARRAYS or any(len(shape) != 2 for shape in arrays):
            raise ValueError(f"{len(arrays)} arrays: use 1 to {_MOST_ARRAYS}, of two sizes each")
        if sum(values for _, values in arrays) > _MOST_VALUES:
            raise ValueError(f"more than {_MOST_VALUES} codes in a frame of all arrays")
        step = self.step
        if type(step) is not float or not (0 < step < math.inf and float(np.float32(step)) == step):
            raise ValueError(f"step={step!r} must be a positive float32")

    @property
    def num_codes(self) -> int:
        """Codes of an audio channel."""
        return sum(frames * values for frames, values in self.arrays)

    def blocks(self) -> Iterator[tuple[int, int]]:
        """Which frames stand in which block.

        Yields:
            Index of the array and number of frames, block after block.
        """
        for index, (frames, values) in enumerate(self.arrays):
            each = max(1, _BLOCK_CODES // (values * self.audio_channels))
            for start in range(0, frames, each):
                yield index, min(each, frames - start)

    def count_blocks(self) -> int:
        """Blocks of the file.

        Returns:
            1 or more.
        """
        each = (
            (frames, max(1, _BLOCK_CODES // (values * self.audio_channels)))
            for frames, values in self.arrays
        )
        return sum(-(-frames // most) for frames, most in each)

    def pack(self) -> bytes:
        """The header as bytes.

        Returns:
            The size of the JSON text, and the text.
        """
        text = json.dumps(dataclasses.asdict(self), sort_keys=True, allow_nan=False).encode()
        return _SIZE.pack(len(text)) + text


def write_ragged_file(path: str | Path, header: RaggedHeader, codes: Sequence[np.ndarray]) -> int:
    """Writes a file of ragged codes at ``path`` (not atomic: give a temporary path and rename).

    Args:
        path: where to.
        header: of the file.
        codes: integers [audio channels, frames, codes per frame] of every array.

    Returns:
        Bytes of the file.

    Raises:
        ValueError: for codes of other shapes than the header's, and beyond plus and minus 2^20.
    """
    shapes = [np.shape(array) for array in codes]
    if shapes != [(header.audio_channels, *shape) for shape in header.arrays]:
        raise ValueError(f"codes of shapes {shapes}; the header has {header.arrays}")
    with Path(path).open("wb") as out:
        head = MAGIC + bytes([VERSION]) + header.pack()
        out.write(head + CRC.pack(zlib.crc32(head)))
        starts = [0] * len(codes)
        for number, (index, frames) in enumerate(header.blocks()):
            start = starts[index]
            starts[index] += frames
            coder = FrameCoder(header.audio_channels)
            block = np.asarray(codes[index])[:, start : start + frames]
            for frame in np.moveaxis(block, 1, 0):
                coder.encode(np.ascontiguousarray(frame))
            out.write(packed_block(number, coder.finish()))
        return out.tell()


class RaggedReader(BlockFile):
    """An open file of ragged codes.

    Attributes:
        path: of the file.
        header: what the file says about its recording.

    Raises:
        TokenFileError: if the file is no intact file of this kind (what is wrong with a block is
            found when it is read).
    """

    VERSION = VERSION

    def _read_header(self, prefix: bytes) -> None:
        start = self._take(_SIZE.size)
        (size,) = _SIZE.unpack(start)
        if size > _LARGEST_HEADER:
            raise ValueError(f"a header of {size} bytes")
        values = json.loads(self._take_checked(prefix + start, size))
        names = {field.name for field in dataclasses.fields(RaggedHeader)}
        if not isinstance(values, dict) or set(values) != names:
            raise ValueError("the fields of its header are not those of this version")
        header = RaggedHeader(**values)
        # Every block takes some bytes: sizes that the file cannot hold are not believed.
        if self._left < BLOCK.size * header.count_blocks():
            raise ValueError("it ends early")
        self.header = header

    def codes(self) -> list[np.ndarray]:
        """All codes; can be called once.

        Returns:
            int32 [audio channels, frames, codes per frame] of every array.

        Raises:
            TokenFileError: if they are damaged or do not fit the header.
        """
        header = self.header
        found: list[list[np.ndarray]] = [[] for _ in header.arrays]
        for number, (index, frames) in enumerate(header.blocks()):
            with self._named_errors():
                coder = FrameCoder(header.audio_channels, data=self._read_block(number))
                values = header.arrays[index][1]
                block = [coder.decode(values).astype(np.int32) for _ in range(frames)]
            found[index].append(np.stack(block, axis=1))
        self._check_end()
        return [np.concatenate(blocks, axis=1) for blocks in found]
