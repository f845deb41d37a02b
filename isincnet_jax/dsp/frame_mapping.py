"""Overlapping frames, mapped by a function without being gathered."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

from isincnet_jax.typing import Array

_MOST_SLICES = 32


def map_frames(
    function: Callable[[Array], tuple[Array, ...]],
    padded: Float[Array, "... padded"],
    *,
    num_frames: int,
    taps: int,
    hop_length: int,
) -> tuple[Array, ...]:
    """Overlapping frames, mapped by a function without a gather.

    Frames that lie a whole number of frame lengths apart tile the signal, so all frames with
    the same index modulo ``ceil(taps / hop)`` are one reshaped slice. The function runs on
    each slice, where compilers turn it into one loop over contiguous memory; the results are
    interleaved. Frames that overlap more than 32-fold are gathered instead.

    Args:
        function: frames [..., n, taps] to arrays [..., n, any]; acts on each frame alone.
        padded: the signal; frame t starts at sample ``t * hop_length``.
        num_frames: frames.
        taps: samples per frame.
        hop_length: samples between frames.

    Returns:
        The function's arrays for all frames, [..., num_frames, any].
    """
    *batch, length = padded.shape
    phases, per_phase, needed = _phases(num_frames, taps=taps, hop_length=hop_length)
    if phases > _MOST_SLICES:
        # Sample t hop + n of frame t and tap n, [frames, taps].
        index = np.arange(num_frames)[:, None] * hop_length + np.arange(taps)
        return function(jnp.take(padded, jnp.asarray(index), axis=-1, mode="clip"))
    # Frames t = phase + j phases, j = 0, 1, ...: samples t hop .. t hop + row - 1 tile the signal.
    row = phases * hop_length
    extended = padded
    if needed > length:
        extended = jnp.pad(padded, [*[(0, 0)] * len(batch), (0, needed - length)])
    # The barriers keep the padding out of the loops over frames, and those out of the products.
    extended = lax.optimization_barrier(extended)
    results = []
    for phase in range(phases):
        start = phase * hop_length
        rows = extended[..., start : start + per_phase * row]
        results.append(function(rows.reshape((*batch, per_phase, row))[..., :taps]))
    # [..., j, phase, any] to [..., j phases + phase, any]: the frames in their order.
    stacked = [
        jnp.stack(parts, axis=-2).reshape((*batch, per_phase * phases, parts[0].shape[-1]))[
            ..., :num_frames, :
        ]
        for parts in zip(*results, strict=True)
    ]
    return tuple(lax.optimization_barrier(stacked))


def mapped_length(num_frames: int, *, taps: int, hop_length: int) -> int:
    """Samples that :func:`map_frames` reads; a shorter signal is extended by zeros first.

    Args:
        num_frames: frames.
        taps: samples per frame.
        hop_length: samples between frames.

    Returns:
        Samples, those that complete the last row of every phase included.
    """
    return _phases(num_frames, taps=taps, hop_length=hop_length)[2]


def _phases(num_frames: int, *, taps: int, hop_length: int) -> tuple[int, int, int]:
    """Frames that overlap, rows of every phase, and the samples of all rows."""
    phases = -(-taps // hop_length)
    per_phase = -(-num_frames // phases)
    return phases, per_phase, (phases - 1 + per_phase * phases) * hop_length
