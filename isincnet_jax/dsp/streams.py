"""Streams of all kinds: the axes of what comes in pieces, checks of a piece, sizes of steps.

Pieces wait on the host until they make whole blocks; blocks go through compiled steps in powers of
two, so that whatever the pieces are, few shapes are compiled.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import jax.numpy as jnp
import numpy as np

from isincnet_jax.dsp import checks

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


def check_length(length: int | None) -> None:
    """Refuses a length that no signal has.

    Args:
        length: samples of a stream's signal; None if they are not known yet.

    Raises:
        ValueError: for a length below 1.
    """
    if length is not None and length < 1:
        raise ValueError(f"length={length} must be at least 1; use None if it is not known yet")


def check_emitted(length: int, emitted: int, *, remedy: str) -> None:
    """Refuses a length shorter than what a stream has given out.

    Args:
        length: samples of its signal.
        emitted: samples that were given out.
        remedy: what to do instead: "hand the length to init".

    Raises:
        ValueError: if it is shorter.
    """
    if emitted > length:
        raise ValueError(f"length={length}, but {emitted} samples were given out already: {remedy}")


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
    array = checks.on_host(values, what, instead="use advance, the inner step, there")
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


def power_of_two_sizes(count: int, *, largest: int) -> list[int]:
    """Powers of two up to ``largest``, itself one, that add up to ``count``; large ones first.

    Args:
        count: 0 or more.
        largest: a power of two.

    Returns:
        The sizes; none for 0.

    Example:
        >>> power_of_two_sizes(21, largest=8)
        [8, 8, 4, 1]
    """
    whole, rest = divmod(count, largest)
    bits = reversed(range(rest.bit_length()))
    return [largest] * whole + [1 << bit for bit in bits if rest >> bit & 1]
