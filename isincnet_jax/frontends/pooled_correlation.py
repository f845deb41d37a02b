"""Pooled correlation: the largest magnitudes of filters' outputs, which are not stored themselves.

SincNet's first block filters at every sample, rectifies and keeps the maximum of every three. A row
of frames (:mod:`.symmetric_correlation`) has the outputs ``f_d + s_d`` and, mirrored, ``f_d -
s_d``, from one product of matrices with its even part and one with its odd part. With products of
their own for the first, second and third of each three, the maximum is one over arrays of the
same shape, and the derivative needs which of the three it was, not the outputs.

Measured on two cores of a Xeon (128 chunks of 3200 samples, 80 filters of 251 taps, pools of 3,
processor time): 70 ms forward and 0.3 s with both gradients, where the convolution, its magnitude,
``reduce_window`` and their gradients took 0.24 and 1.12 s. XLA turns the gradient of
``reduce_window`` into a scatter, and the 121 MB of outputs were written and read several times.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Float

from isincnet_jax.frontends import symmetric_correlation
from isincnet_jax.frontends.symmetric_correlation import Rows
from isincnet_jax.nets import pooling
from isincnet_jax.typing import Array

_ROW_FRAMES = 24  # of a row, about
_GROUP_VALUES = 1 << 19  # of the products of a group of clips, 2 MiB in float32


def correlate_pooled(
    padded: Float[Array, "... padded"],
    kernels: Float[Array, "channels taps"],
    *,
    pool_size: int,
    symmetry: symmetric_correlation.Symmetry = "none",
    precision: lax.PrecisionLike = lax.Precision.HIGHEST,
) -> Float[jax.Array, "... pooled channels"]:
    """Pooled magnitudes ``max_i |sum_k h_c[k] x[t pool + i + k]|``, i from 0 to below the pool.

    On CPUs, symmetric filters for which :func:`.symmetric_correlation.correlate` folds at every
    sample go through folded products here too; all else is its output, pooled. The derivative is
    that of the first of equal maxima, and 0 where all are 0.

    Args:
        padded: [..., padded], floating.
        kernels: [channels, taps], the dtype of the signal.
        pool_size: frames of a pool, 1 or more; frames left over at the end are dropped.
        symmetry: of the kernels, taken on trust as there.
        precision: of the products on accelerators.

    Returns:
        [..., (padded - taps + 1) // pool_size, channels].

    Raises:
        ValueError: if the signal is shorter than a filter.
    """
    channels, taps = kernels.shape
    clips = jnp.reshape(jnp.asarray(padded), (-1, padded.shape[-1]))

    def direct(clips: jax.Array, kernels: jax.Array) -> jax.Array:
        frames = symmetric_correlation.correlate(
            clips, kernels, hop_length=1, symmetry=symmetry, precision=precision
        )
        return pooling.max_pool(jnp.abs(frames), pool_size)

    def folded(clips: jax.Array, kernels: jax.Array) -> jax.Array:
        return _fold_and_pool(clips, kernels, pool_size=pool_size, precision=precision)

    fits = clips.shape[-1] - taps + 1 >= pool_size
    if fits and symmetric_correlation.folds(channels, taps, hop_length=1, symmetry=symmetry):
        pooled = lax.platform_dependent(clips, jnp.asarray(kernels), cpu=folded, default=direct)
    else:
        pooled = direct(clips, jnp.asarray(kernels))
    return jnp.reshape(pooled, (*padded.shape[:-1], *pooled.shape[1:]))


def _fold_and_pool(
    clips: jax.Array, kernels: jax.Array, *, pool_size: int, precision: Any
) -> jax.Array:
    """Rows of 2 p pools: those of the first half and, mirrored, those of the second."""
    channels, taps = kernels.shape
    pools = max(1, round(_ROW_FRAMES / (2 * pool_size)))  # p
    frames = 2 * pools * pool_size
    rows = Rows(frames, frames, taps + frames - 1)
    count = (clips.shape[-1] - taps + 1) // pool_size
    num_rows = -(-count // (2 * pools))
    # [R / 2, p pool, channels] to a matrix for each place in a pool, [pool][R / 2, p channels]
    weights = [
        [_columns(part[:, place::pool_size]) for place in range(pool_size)]
        for part in symmetric_correlation.fold_kernels(kernels, hop=1, rows=rows)
    ]

    # Groups of clips whose products stay in the cache; a last one is filled with silence.
    fitting = _GROUP_VALUES // (num_rows * pools * pool_size * channels)
    size = max(1, min(len(clips), fitting))
    groups = -(-len(clips) // size)
    whole = jnp.pad(clips, ((0, groups * size - len(clips)), (0, 0)))

    def one_group(clips: jax.Array) -> jax.Array:
        parts = symmetric_correlation.fold(clips, rows=rows, count=num_rows)
        # One axis of rows: of several, the gradients of the weights would be transposed first.
        flat = lax.optimization_barrier([lax.collapse(part, 0, 2) for part in parts])
        first, second = (
            [jnp.matmul(part, matrix, precision=precision) for matrix in matrices]
            for part, matrices in zip(flat, weights, strict=True)
        )
        # Odd filters have the opposite sign in the second half, which magnitudes do not tell.
        halves = (
            _largest([plus(f, s) for f, s in zip(first, second, strict=True)])
            for plus in (jnp.add, jnp.subtract)
        )
        before, after = (jnp.reshape(half, (size, num_rows, pools, channels)) for half in halves)
        pooled = jnp.concatenate([before, jnp.flip(after, axis=2)], axis=2)
        return lax.collapse(pooled, 1, 3)[:, :count]

    found = lax.map(one_group, jnp.reshape(whole, (groups, size, whole.shape[1])))
    return lax.collapse(found, 0, 2)[: len(clips)]


def _columns(weights: jax.Array) -> jax.Array:
    return lax.optimization_barrier(jnp.reshape(weights, (len(weights), -1)))


def _largest(outputs: list[jax.Array]) -> jax.Array:
    """Largest magnitude; comparisons are all that the derivative keeps."""
    best = outputs[0]
    for other in outputs[1:]:
        best = jnp.where(jnp.abs(other) > jnp.abs(best), other, best)
    # |x| with derivative 0 at 0; NaN stays NaN
    return jnp.where(best < 0, -best, jnp.where(best > 0, best, lax.stop_gradient(best)))
