"""Chunks of a stream, in both directions: all that are pending, and where a signal ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from isincnet_jax.dsp import streams


def advance_all(
    advance: Callable[[Any, Any], tuple[jax.Array, jax.Array]],
    context: jax.Array,
    pending: np.ndarray,
    *,
    hop_length: int,
    channels: int,
    ahead: int = 0,
) -> tuple[jax.Array, np.ndarray, np.ndarray]:
    """Steps of an encoder through all whole blocks that are pending.

    Args:
        advance: inner step, of a context and blocks.
        context: before them.
        pending: [..., time].
        hop_length: samples of a block.
        channels: of a frame.
        ahead: samples that must be pending behind a block.

    Returns:
        The context behind them, the samples that are left, and frames [..., frames, channels].
    """
    start, parts = 0, []
    blocks = max(pending.shape[-1] - ahead, 0) // hop_length
    for size in streams.power_of_two_sizes(blocks, largest=streams.LARGEST_STEP):
        context, frames = advance(context, pending[..., start : start + size * hop_length])
        parts.append(frames)
        start += size * hop_length
    empty = (*pending.shape[:-1], 0, channels)
    joined = streams.joined_on_host(parts, axis=-2, empty=empty, like=pending)
    return context, pending[..., start:], joined


def settled_length(
    given: int | None,
    told: int | None,
    *,
    count: int,
    longest: int,
    num_frames: Callable[[int], int],
    hop_length: int,
) -> int:
    """Length of a signal at its end.

    Args:
        given: to ``finish``, or None.
        told: to ``init``, or None.
        count: frames of the signal.
        longest: samples of the longest signal that has so many frames.
        num_frames: of a signal of a length.
        hop_length: samples between frames.

    Returns:
        Samples.

    Raises:
        ValueError: for two lengths, or one of other frames.
    """
    known = told if given is None else given
    if known is None:
        return longest
    if told not in (None, known):
        raise ValueError(f"length={known}, but init was told length={told}")
    expected = num_frames(known)
    if expected != count:
        raise ValueError(
            f"length={known} has {expected} frames of hop_length={hop_length}, but {count} were "
            "given"
        )
    return known
