"""Block of a token file: the codes of a few superframes, coded alone.

A block says first which bands of two audio channels are coded as middle and side,
``(left + right, left - right) / sqrt(2)``, a rotation, so that nothing else changes; then, for each
superframe, how it is cut, and its frames. Where bands have steps of their own, their indices (see
:mod:`.band_steps`) stand before every so many superframes. The coder begins afresh in every block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from isincnet_jax.tokens import band_steps
from isincnet_jax.tokens.frame_coder import FrameCoder
from isincnet_jax.tokens.lapped_frames import Frame, Tiling

_BAND_EDGES = np.array([0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128]) / 128
NUM_BANDS = len(_BAND_EDGES) - 1
_SIDES = 32
"""Context of the flags of middle and side; those of the sizes are below."""
_BLOCK_CODES, _BLOCK_FRAMES = 1 << 20, 1 << 14


class Layout(NamedTuple):
    """What a block has to code.

    Attributes:
        sides: bands of middle and side, bool [bands]; None unless there are two audio channels.
        sizes: nominal sizes of the frames of each superframe.
        tail: sizes of the frames behind the last superframe.
        rest: samples that lengthen the last frame.
        indices: step indices, int64 [audio channels, bands] of each group of superframes, to which
            the tail belongs as one more; none where all bands have one step.
    """

    sides: np.ndarray | None
    sizes: list[list[int]]
    tail: list[int]
    rest: int
    indices: Sequence[np.ndarray] = ()

    @property
    def frames(self) -> list[int]:
        """Nominal sizes of all frames."""
        return [size for frame in self.sizes for size in frame] + self.tail

    def groups(self, every: int) -> list[int]:
        """Which indices each frame has.

        Args:
            every: superframes of a group, 1 or more.

        Returns:
            Index of its group for each frame.
        """
        cut = [*self.sizes, self.tail] if self.tail else self.sizes
        return [index // every for index, sizes in enumerate(cut) for _ in sizes]


def block_superframes(tiling: Tiling, num_audio: int) -> int:
    """Superframes of a block: some million codes, and not too many frames.

    Args:
        tiling: of the frames.
        num_audio: audio channels.

    Returns:
        1 or more.
    """
    by_codes = _BLOCK_CODES // (tiling.largest * num_audio)
    by_frames = _BLOCK_FRAMES * tiling.smallest // tiling.largest
    return max(1, min(by_codes, by_frames))


def count_blocks(tiling: Tiling, length: int, num_audio: int) -> int:
    """Blocks of a recording.

    Args:
        tiling: of its frames.
        length: samples.
        num_audio: audio channels.

    Returns:
        1 or more.
    """
    return max(1, -(-(length // tiling.largest) // block_superframes(tiling, num_audio)))


def plan_blocks(
    tiling: Tiling, length: int, num_audio: int
) -> Iterator[tuple[int, list[int], int]]:
    """Content of the blocks of a recording.

    Args:
        tiling: of its frames.
        length: samples.
        num_audio: audio channels.

    Yields:
        For each block its superframes, the sizes of its tail, and its rest. Only the last block has
        a tail.
    """
    each = block_superframes(tiling, num_audio)
    left = length // tiling.largest
    while left > each:
        yield each, [], 0
        left -= each
    tail, rest = tiling.tail(length)
    yield left, tail, rest


def choose_sides(frames: Sequence[np.ndarray]) -> np.ndarray:
    """Bands in which middle and side have the smaller sum of magnitudes.

    Args:
        frames: coefficients [size, 2] each.

    Returns:
        bool [bands].
    """
    sums = np.zeros((2, NUM_BANDS))
    for frame in frames:
        edges = _edges(len(frame))
        for row, values in enumerate((frame, _rotate(frame))):
            total = np.concatenate([[0.0], np.cumsum(np.abs(values).sum(axis=1))])
            sums[row] += total[edges[1:]] - total[edges[:-1]]
    return sums[1] < sums[0]


def turn_sides(frame: np.ndarray, sides: np.ndarray | None) -> np.ndarray:
    """Left and right to middle and side in some bands, or back: the rotation is its own inverse.

    Args:
        frame: [size, audio channels].
        sides: bool [bands], or None to do nothing.

    Returns:
        The same shape.
    """
    if sides is None or not sides.any():
        return frame
    return np.where(side_bins(sides, len(frame))[:, None], _rotate(frame), frame)


def side_bins(sides: np.ndarray | None, size: int) -> np.ndarray:
    """Bins of middle and side.

    Args:
        sides: bool [bands], or None for no bin.
        size: of the frame.

    Returns:
        bool [size].
    """
    if sides is None:
        return np.zeros(size, bool)
    return np.repeat(sides, np.diff(_edges(size)))


def _edges(size: int) -> np.ndarray:
    return np.floor(_BAND_EDGES * size + 0.5).astype(np.int64)


def _rotate(frame: np.ndarray) -> np.ndarray:
    left, right = frame[:, 0], frame[:, 1]
    return np.stack([left + right, left - right], axis=1) * 0.5**0.5


def encode_block(
    layout: Layout,
    frames: Sequence[np.ndarray],
    tiling: Tiling,
    *,
    every: int = 0,
    ratios: Sequence[np.ndarray] | None = None,
    trade: float = 0.0,
) -> tuple[bytes, list[np.ndarray]]:
    """Encodes a block.

    Args:
        layout: of its frames.
        frames: codes, integers [size, audio channels] each.
        tiling: largest and smallest size.
        every: superframes that share step indices; 0 where there are none.
        ratios: as of :meth:`.FrameCoder.encode`, [size, audio channels] each.
        trade: as there.

    Returns:
        Its bytes, and the codes that they hold.

    Raises:
        ValueError: for codes beyond plus and minus 2^20.
    """
    coder = FrameCoder(frames[0].shape[1])
    for flag in () if layout.sides is None else layout.sides:
        coder.flag(_SIDES, int(flag))
    coded, index = [], 0
    before = None
    for number, sizes in enumerate([*layout.sizes, None] if layout.tail else layout.sizes):
        if every and number % every == 0:
            indices = layout.indices[number // every]
            before = band_steps.code_indices(coder, indices, before, indices.shape)
        if sizes is not None:
            _code_sizes(coder, tiling.sizes(), list(sizes))
        for _ in layout.tail if sizes is None else sizes:
            ratio = None if ratios is None else np.ascontiguousarray(ratios[index].T)
            codes = np.ascontiguousarray(frames[index].T)
            coded.append(coder.encode(codes, ratios=ratio, trade=trade).T)
            index += 1
    return coder.finish(), coded


def decode_block(
    data: bytes,
    plan: tuple[int, list[int], int],
    tiling: Tiling,
    num_audio: int,
    *,
    every: int = 0,
) -> tuple[Layout, list[np.ndarray]]:
    """Decodes a block.

    Args:
        data: of :func:`encode_block`.
        plan: of :func:`plan_blocks`.
        tiling: largest and smallest size.
        num_audio: audio channels.
        every: superframes that share step indices; 0 where there are none.

    Returns:
        Its layout, and codes, int64 [size, audio channels] of each frame.

    Raises:
        ValueError: for bytes that no encoder writes; not all of those are found.
    """
    superframes, tail, rest = plan
    coder = FrameCoder(num_audio, data=data)
    sides = None
    if num_audio == 2:
        sides = np.array([coder.flag(_SIDES) for _ in range(NUM_BANDS)], bool)
    sizes, codes, indices = [], [], []
    shape = num_audio, band_steps.count_bands(tiling.spec.sample_rate)
    groups = superframes + bool(tail)
    for index in range(groups):
        if every and index % every == 0:
            before = indices[-1] if indices else None
            indices.append(band_steps.code_indices(coder, None, before, shape))
        found = tail
        if index < superframes:
            found = _code_sizes(coder, tiling.sizes(), None)
            sizes.append(found)
        totals = list(found)
        totals[-1] += rest if index == groups - 1 else 0
        codes += [coder.decode(total).T for total in totals]
    return Layout(sides, sizes, tail, rest, indices), codes


def _code_sizes(
    coder: FrameCoder, allowed: Sequence[int], sizes: list[int] | None, depth: int = 0
) -> list[int]:
    """Codes how a superframe is cut: whether it is split, then its halves; returns the sizes.

    To encode them, ``sizes`` are taken from the front of the list.
    """
    if len(allowed) == 1 or not coder.flag(depth, int(sizes is not None and sizes[0] < allowed[0])):
        return [sizes.pop(0) if sizes else allowed[0]]
    halves = (_code_sizes(coder, allowed[1:], sizes, depth + 1) for _ in range(2))
    return [size for half in halves for size in half]


def as_frames(layout: Layout, values: Sequence[np.ndarray]) -> list[Frame]:
    """Frames of a block for the inverse transform.

    Args:
        layout: of the block.
        values: coefficients [size, audio channels] of each.

    Returns:
        The frames with their nominal sizes.
    """
    sized = zip(layout.frames, values, strict=True)
    return [Frame(size, turn_sides(value, layout.sides)) for size, value in sized]
