"""Token files, ``.isn``: the entropy-coded codes of a recording's lapped frames.

A file of blocks, see :mod:`.block_file`, of version 2. Its header are 77 bytes: bank, lengths,
rates, quantiser, samples, see :mod:`.token_header`; payloads are those of :mod:`.block_coder`.

In a lossless file another block follows each of these, in the same form: the residual of the
samples that the codes so far complete, see :mod:`.residual_coder`. In its checksum 2^31 is added to
the index, and whoever wants the codes alone skips it by its size.

What a block holds follows from the header, and each can be decoded alone. A file ends with its
last block. Blocks make the memory used independent of the length of the recording.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from isincnet_jax.tokens import (
    block_coder,
    integer_synthesis,
    lapped_frames,
    noise_shape,
    pcm,
    residual_coder,
)
from isincnet_jax.tokens.block_coder import Layout
from isincnet_jax.tokens.block_file import BLOCK, RESIDUAL, BlockFile
from isincnet_jax.tokens.noise_shape import Like
from isincnet_jax.tokens.token_header import (
    TokenHeader,
)

VERSION = 2


def _count_blocks(header: TokenHeader) -> int:
    return block_coder.count_blocks(header.tiling, header.length, header.audio_channels)


def base_samples(
    blocks: Iterable[tuple[Layout, list[np.ndarray]]], header: TokenHeader
) -> Iterator[np.ndarray]:
    """Samples of the base layer of a lossless file.

    Args:
        blocks: layout and codes of each.
        header: of the file.

    Yields:
        int64 [time, audio channels] for each block: what the codes so far complete.
    """
    step = integer_synthesis.quantiser_step(header.step, header.bits)
    return integer_synthesis.synthesise(
        blocks, num_blocks=_count_blocks(header), step=step, bits=header.bits
    )


class TokenReader(BlockFile):
    """An open token file: its header, its codes in blocks, and its samples.

    Attributes:
        path: of the file.
        header: what the file says about its recording.

    Raises:
        TokenFileError: if the file is no intact token file (what is wrong with a block is
            found when it is read).
    """

    VERSION = VERSION

    def _read_header(self, prefix: bytes) -> None:
        header = TokenHeader.unpack(self._take_checked(prefix, TokenHeader.SIZE))
        # Every block takes some bytes: a length that the file cannot hold is not believed.
        if self._left < BLOCK.size * _count_blocks(header) * (2 if header.bits else 1):
            raise ValueError("it ends early")
        self.header = header

    def blocks(self) -> Iterator[tuple[Layout, list[np.ndarray]]]:
        """Codes block by block; can be called once.

        Yields:
            Layout of the block, and int64 [size, audio channels] of each of its frames.

        Raises:
            TokenFileError: if they are damaged or do not fit the header.
        """
        for index, block in enumerate(self._base_blocks()):
            if self.header.bits:
                with self._named_errors():
                    self._skip_block(index | RESIDUAL)
            yield block
        self._check_end()

    def _base_blocks(self) -> Iterator[tuple[Layout, list[np.ndarray]]]:
        """Blocks of codes, each of which must be followed by reading or skipping its residual."""
        header = self.header
        plans = block_coder.plan_blocks(header.tiling, header.length, header.audio_channels)
        for index, plan in enumerate(plans):
            with self._named_errors():
                payload = self._read_block(index)
                block = block_coder.decode_block(
                    payload, plan, header.tiling, header.audio_channels, every=header.every
                )
            yield block

    def codes(self) -> np.ndarray:
        """All codes, in the order of the coefficients; can be called once, instead of the others.

        Middle and side stay as they are coded.

        Returns:
            int32 [audio channels, length]; for frames of one size, what
            ``quantizer.encode(bank.encode(waveform))`` holds in front of its zeros.
        """
        frames = [frame for _, block in self.blocks() for frame in block]
        return np.concatenate(frames).T.astype(np.int32)

    def samples(self) -> Iterator[np.ndarray]:
        """Samples of the codes; can be called once, instead of the others.

        Of a lossless file these are the base layer, and what else it holds is not read.

        Yields:
            float32 [time, audio channels], as many as the header says in all.

        Raises:
            TokenFileError: if the codes are damaged.
        """
        header = self.header
        offsets = np.array([0.0, *header.offsets])

        def frames() -> Iterator[lapped_frames.Frame]:
            for layout, codes in self.blocks():
                # step (m + offset of m) with the sign of the code
                values = [
                    header.step * (code + np.sign(code) * offsets[np.minimum(np.abs(code), 3)])
                    for code in codes
                ]
                if header.every:
                    factors = noise_shape.frame_factors(layout, map(len, codes), header)
                    values = [value * factor for value, factor in zip(values, factors, strict=True)]
                yield from block_coder.as_frames(layout, values)

        for block in lapped_frames.synthesise(frames(), header.spec):
            yield block.astype(np.float32)

    def pcm(self) -> Iterator[np.ndarray]:
        """Samples of the recording that a lossless file holds; can be called once.

        Yields:
            int64 [time, audio channels], integers of ``header.bits`` bits, as many as the header
            says in all.

        Raises:
            TokenFileError: if the file is damaged, also where only the MD5 of the samples tells,
                behind the last of them.
            ValueError: if it holds codes alone.
        """
        header = self.header
        if not header.bits:
            raise ValueError(f"{self.path}: holds codes alone; use samples()")
        checksum, top = pcm.Checksum(header.bits), 1 << (header.bits - 1)
        for index, base in enumerate(base_samples(self._base_blocks(), header)):
            with self._named_errors():
                payload = self._read_block(index | RESIDUAL)
                block = base + residual_coder.decode_residual(payload, base, bits=header.bits)
                if block.size and not -top <= block.min() <= block.max() < top:
                    raise ValueError(f"block {index}: samples of more than {header.bits} bits")
            checksum.update(block)
            yield block
        self._check_end()
        with self._named_errors():
            if checksum.digest() != header.md5:
                raise ValueError("the MD5 of its samples is not that of the recording's")


def read_like(path: str | Path) -> Like:
    """The quantiser of a token file, for another recording or its own decoded one.

    Args:
        path: of the file; its frames have one size, and its steps do not follow its recording.

    Returns:
        Its header, and the layouts of its blocks.

    Raises:
        TokenFileError: if it is no intact token file.
        ValueError: if frames or steps follow its recording.
    """
    with TokenReader(path) as reader:
        noise_shape.check_like(reader.path, reader.header)
        return Like(reader.header, [layout for layout, _ in reader.blocks()])
