"""Noise shape of a recording: its step indices, which follow it, stay the same, or are given."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from isincnet_jax.tokens import band_steps, block_coder
from isincnet_jax.tokens.block_coder import Layout
from isincnet_jax.tokens.step_search import Block
from isincnet_jax.tokens.token_header import CURVE, UNIFORM, TokenHeader


class Like(NamedTuple):
    """A token file whose quantiser another recording gets.

    Attributes:
        header: of the file.
        layouts: of its blocks.
    """

    header: TokenHeader
    layouts: list[Layout]

    def layout(self, index: int) -> Layout:
        """Layout whose bands and indices a block gets: that of the same place, or of the last one.

        Args:
            index: of the block.

        Returns:
            A layout.
        """
        return self.layouts[min(index, len(self.layouts) - 1)]


def describe(header: TokenHeader) -> str:
    """What fixes the steps of a file.

    Args:
        header: of the file.

    Returns:
        "step 0.0156", or the quality and what its steps follow.
    """
    if header.mode == UNIFORM:
        return f"step {header.step:.4g}"
    quality = f"quality {band_steps.step_quality(header.step):.2f}"
    if header.mode == CURVE:
        return f"{quality}, one curve"
    return f"{quality}, bands anew every {header.num_shared} superframes"


def check_like(path: Path, header: TokenHeader) -> None:
    """Refuses token files whose quantiser belongs to their recording only.

    Args:
        path: of the file.
        header: of it.

    Raises:
        ValueError: for frames or steps that follow their recording.
    """
    if header.mode not in (UNIFORM, CURVE) or header.smallest < header.largest:
        what = "frames" if header.smallest < header.largest else "steps"
        raise ValueError(
            f"like={path}: its {what} follow its own recording; make it with curve= or step="
        )


def with_indices(
    blocks: Iterable[Block], header: TokenHeader, like: Like | None = None
) -> Iterator[Block]:
    """Blocks of a recording with the step indices that the header's step and mode ask for.

    Args:
        blocks: of the recording; gone through twice for a curve.
        header: of its file.
        like: file whose indices they get.

    Yields:
        The blocks.
    """
    curve = _curve(blocks, header) if header.mode == CURVE and like is None else None
    for number, block in enumerate(blocks):
        if header.mode == UNIFORM:
            yield block
            continue
        if like is not None:
            indices = like.layout(number).indices
        else:
            indices = [curve] if curve is not None else _following(block, header)
        yield block._replace(layout=block.layout._replace(indices=indices))


def block_factors(block: Block, header: TokenHeader) -> np.ndarray | None:
    """Factors of the step of a block's coefficients.

    Args:
        block: with its indices.
        header: of the file.

    Returns:
        float32 [codes, audio channels], as the values; None where all are 1.
    """
    if header.mode == UNIFORM:
        return None
    return np.concatenate(frame_factors(block.layout, block.lengths, header)).astype(np.float32)


def frame_factors(layout: Layout, lengths: Iterable[int], header: TokenHeader) -> list[np.ndarray]:
    """Factors of the step of the coefficients of each frame of a block.

    Args:
        layout: of the block.
        lengths: of its frames.
        header: of the file.

    Returns:
        float64 [size, audio channels] each.
    """
    rate = header.spec.sample_rate
    found: dict[tuple[int, int], np.ndarray] = {}
    for group, length in (keys := list(zip(layout.groups(header.every), lengths, strict=True))):
        if (group, length) not in found:
            indices = layout.indices[group]
            found[group, length] = band_steps.step_factors(indices, length, rate)
    return [found[key] for key in keys]


def _curve(blocks: Iterable[Block], header: TokenHeader) -> np.ndarray:
    rate = header.spec.sample_rate
    energies = sum(band_steps.band_energies(_frames(block), rate) for block in blocks)
    return _indices(np.asarray(energies), header, None)


def _following(block: Block, header: TokenHeader) -> list[np.ndarray]:
    frames, groups = _frames(block), np.array(block.layout.groups(header.every))
    found: list[np.ndarray] = []
    for group in range(groups[-1] + 1):
        first, end = np.searchsorted(groups, [group, group + 1])
        energies = band_steps.band_energies(frames[first:end], header.spec.sample_rate)
        found.append(_indices(energies, header, found[-1] if found else None))
    return found


def _indices(energies: np.ndarray, header: TokenHeader, before: np.ndarray | None) -> np.ndarray:
    return band_steps.choose_indices(
        energies,
        step=header.step,
        size=header.spec.hop_length,
        sample_rate=header.spec.sample_rate,
        before=before,
    )


def _frames(block: Block) -> list[np.ndarray]:
    """Coefficients whose levels steps follow; of middle and side, those of the two ears' mean.

    Noise of a side that is much softer than the middle is not heard beside that.
    """
    frames = np.split(block.values, np.cumsum(block.lengths)[:-1])
    sides = block.layout.sides
    if sides is None:
        return frames
    found = []
    for frame in frames:
        mean = np.sqrt(np.mean(np.square(frame), axis=1, keepdims=True))
        found.append(np.where(block_coder.side_bins(sides, len(frame))[:, None], mean, frame))
    return found
