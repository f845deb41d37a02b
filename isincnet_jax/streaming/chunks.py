"""Chunks of a stream, in both directions: their axes, checks and the sizes of steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from isincnet_jax.dsp import checks
from isincnet_jax.streaming import framing

LARGEST_STEP = 64
"""Blocks of one hop in the largest compiled step."""

NUM_COMPILED_SHAPES = LARGEST_STEP.bit_length()
"""Steps of 1, 2, 4, ... 64 blocks: all that is compiled per direction and batch."""

Batch: TypeAlias = int | tuple[int, ...]


def axes_of(batch: Batch) -> tuple[int, ...]:
    """Leading axes of a stream.

    Args:
        batch: () for one stream, a number of streams, or several axes.

    Returns:
        The axes as Python's integers, each 1 or more.

    Raises:
        ValueError: for sizes below 1.
    """
    shape = (batch,) if isinstance(batch, (int, np.integer)) else tuple(batch)
    if not all(isinstance(size, (int, np.integer)) and size >= 1 for size in shape):
        raise ValueError(f"batch={batch!r}: give (), a number of streams or several, each >= 1")
    return tuple(int(size) for size in shape)


def checked(
    values: Any, batch: tuple[int, ...], dtype: Any, what: str, channels: int | None = None
) -> np.ndarray:
    """Chunk on the host, in the stream's dtype and axes.

    Args:
        values: anything.
        batch: leading axes of the stream.
        dtype: of the stream.
        what: what messages call the values.
        channels: of frames [..., frames, channels]; None for samples [..., time].

    Returns:
        NumPy, a copy only where the dtype differs.

    Raises:
        TypeError: unless they are floating.
        ValueError: for other axes.
    """
    checks.check_array(values, what)
    array = np.asarray(values)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(
            f"{what}.dtype={array.dtype}: a stream takes floating values; scale integer samples "
            "first, e.g. pcm16 / 32768.0, and decode codes with their quantizer"
        )
    inner = () if channels is None else (channels,)
    axes = len(batch) + 1 + len(inner)
    fits = array.ndim == axes and array.shape[: len(batch)] == batch
    if not fits or (channels is not None and array.shape[-1] != channels):
        wanted = ", ".join(map(str, [*batch, "any number", *inner]))
        raise ValueError(f"{what}.shape={array.shape}: this stream takes [{wanted}]")
    return array.astype(dtype, copy=False)


def joined_on_host(parts: list[Any], *, axis: int, empty: tuple[int, ...], like: Any) -> np.ndarray:
    """Joined device arrays, put end to end on the host, where that compiles nothing.

    Args:
        parts: arrays that follow each other.
        axis: along which they do.
        empty: the shape of the result for no parts.
        like: an array of the dtype that it then has.

    Returns:
        NumPy.
    """
    if not parts:
        return np.zeros(empty, like.dtype)
    if len(parts) == 1:
        return np.asarray(parts[0])
    return np.concatenate([np.asarray(part) for part in parts], axis=axis)


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
    for size in framing.power_of_two_sizes(blocks, largest=LARGEST_STEP):
        context, frames = advance(context, pending[..., start : start + size * hop_length])
        parts.append(frames)
        start += size * hop_length
    empty = (*pending.shape[:-1], 0, channels)
    joined = joined_on_host(parts, axis=-2, empty=empty, like=pending)
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
