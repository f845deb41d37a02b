"""Strided correlation with overlapping frames in fewer products than the direct sum.

Frames of ``K`` hops that lie one hop apart are a convolution over the blocks of one hop,
``y[t] = sum_b x[t + b] W[b]`` with blocks ``x`` and matrices ``W``. Even and odd blocks share
products as in fast finite-impulse-response filters: with ``E[s] = x[2 s]``, ``O[s] = x[2 s + 1]``,
``A[j] = W[2 j]``, ``B[j] = W[2 j + 1]`` and ``*`` for the sum over j,

    y[2 s]     = O * (A + B) + (E[s] - O[s]) * A
    y[2 s + 1] = O * (A + B) + (E[s + 1] - O[s]) * B,

three filters of half the length at half the rate instead of four; each is divided in the same way
until one matrix is left. Frames of four hops need 9/16 of the products of the direct sum. Only
differences of neighbouring blocks and sums of matrices occur, so float32 loses less than a digit.

References:
    S. Winograd, "Arithmetic complexity of computations", SIAM, 1980, chapter 5.
    Z.-J. Mou and P. Duhamel, "Short-length FIR filters and their use in fast nonrecursive
        filtering", IEEE Trans. Signal Processing 39, 1991, section 2.
        https://doi.org/10.1109/78.136539
"""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Float

from isincnet_jax.dsp import framing
from isincnet_jax.typing import Array

# Every division makes 3/4 of the products and half as much again of intermediate results.
_MOST_DIVISIONS = 3
# Groups of clips follow each other through the same memory, which is thus in the cache and paged in
# (measured: two thirds of the time of all clips at once, gradients included). Each group adds to
# the gradients of the matrices, so that many small groups take longer again.
_GROUP_VALUES = 1 << 21
_MOST_GROUPS = 4
# Below so many samples per block the sums take as long as the products that they spare.
_LEAST_BLOCK = 64


def correlate_frames(
    padded: Float[Array, "... padded"],
    kernels: Float[Array, "channels taps"],
    *,
    hop_length: int,
    precision: lax.PrecisionLike = lax.Precision.HIGHEST,
) -> Float[Array, "... frames channels"]:
    """Strided correlation with shared products on CPUs, where products are dear.

    The values of :func:`.framing.correlate_frames`. Elsewhere, and for frames of one hop or short
    hops, it is :func:`.framing.correlate_blocks`.
    The gradients share their products in the same way. Equal to the direct sum but for rounding:
    a relative error of 4e-7 instead of 2e-7 in float32 for frames of four hops.

    Args:
        padded: [..., padded], the first sample belongs to the first tap of frame 0.
        kernels: [channels, taps].
        hop_length: samples between frames.
        precision: of the products on accelerators.

    Returns:
        [..., (padded - taps) // hop + 1, channels].
    """

    def direct(signal: jax.Array, weights: jax.Array) -> jax.Array:
        # Blocks of a hop as input channels: a plain convolution, which GPUs do well.
        return jnp.asarray(
            framing.correlate_blocks(signal, weights, hop_length=hop_length, precision=precision)
        )

    def shared(signal: jax.Array, weights: jax.Array) -> jax.Array:
        return correlate_shared(signal, weights, hop_length=hop_length, precision=precision)

    arrays = jnp.asarray(padded), jnp.asarray(kernels)
    if hop_length < _LEAST_BLOCK or kernels.shape[-1] <= hop_length:
        return direct(*arrays)
    return lax.platform_dependent(*arrays, cpu=shared, default=direct)


def correlate_shared(
    padded: Float[Array, "... padded"],
    kernels: Float[Array, "channels taps"],
    *,
    hop_length: int,
    precision: lax.PrecisionLike = lax.Precision.HIGHEST,
) -> Float[jax.Array, "... frames channels"]:
    """:func:`correlate_frames` with shared products, on any platform and for any geometry.

    Args:
        padded: [..., padded], the first sample belongs to the first tap of frame 0.
        kernels: [channels, taps], the dtype of the signal.
        hop_length: samples between frames.
        precision: of the products on accelerators.

    Returns:
        [..., (padded - taps) // hop + 1, channels].
    """
    channels, taps = kernels.shape
    num_frames = (padded.shape[-1] - taps) // hop_length + 1
    # y[t] = sum_b x[t + b] W[b], b < ceil(taps / hop): blocks [..., rows, hop] of the signal,
    # matrices [channels, steps, hop] of the kernels, both zero-padded to whole hops.
    steps = -(-taps // hop_length)
    rows = num_frames + steps - 1
    keep = [(0, 0, 0)] * (padded.ndim - 1)
    zero = jnp.zeros((), padded.dtype)
    whole = lax.pad(padded, zero, [*keep, (0, rows * hop_length - padded.shape[-1], 0)])
    blocks = jnp.reshape(whole, (*padded.shape[:-1], rows, hop_length))
    taps_padded = jnp.pad(kernels, ((0, 0), (0, steps * hop_length - taps)))
    matrices = jnp.reshape(taps_padded, (channels, steps, hop_length))
    clips = jnp.reshape(blocks, (-1, rows, hop_length))
    groups = min(_MOST_GROUPS, len(clips), 1 + len(clips) * num_frames * channels // _GROUP_VALUES)
    bounds = [len(clips) * group // groups for group in range(groups + 1)]
    found = [
        _convolve(clips[first:last], matrices, _MOST_DIVISIONS, precision)
        for first, last in itertools.pairwise(bounds)
    ]
    return jnp.reshape(jnp.concatenate(found), (*padded.shape[:-1], num_frames, channels))


def _convolve(blocks: Any, matrices: Any, divisions: int, precision: lax.PrecisionLike) -> Any:
    """``y[t] = sum_b x[t + b] W[b]`` of [..., rows, in] and [out, steps, in]."""
    steps = matrices.shape[1]
    frames = blocks.shape[-2] - steps + 1
    if steps == 1:
        return _product(blocks, matrices[:, 0], precision=precision)
    if not divisions:
        # The direct sum, one product for each step.
        parts = [
            _product(blocks[..., step : step + frames, :], matrices[:, step], precision=precision)
            for step in range(steps)
        ]
        return sum(parts[1:], parts[0])
    # An even number of matrices, and of frames: zeros fill both up, and the last frame is cut off.
    matrices = jnp.pad(matrices, ((0, 0), (0, steps % 2), (0, 0)))
    pairs = -(-frames // 2)
    rows = 2 * pairs + matrices.shape[1]
    keep = [(0, 0)] * (blocks.ndim - 2)
    blocks = jnp.pad(blocks, [*keep, (0, rows - blocks.shape[-2]), (0, 0)])
    both = jnp.reshape(blocks, (*blocks.shape[:-2], rows // 2, 2, blocks.shape[-1]))
    # E has one row more than O, for E[s + 1].
    even, odd = both[..., 0, :], both[..., :-1, 1, :]
    first, second = matrices[:, 0::2], matrices[:, 1::2]  # A and B
    common = _convolve(odd, first + second, divisions - 1, precision)
    ahead = _convolve(even[..., :-1, :] - odd, first, divisions - 1, precision)
    behind = _convolve(even[..., 1:, :] - odd, second, divisions - 1, precision)
    # y[2 s] and y[2 s + 1] side by side, [..., pairs, 2, out], are y in order.
    joined = jnp.stack([common + ahead, common + behind], axis=-2)
    return jnp.reshape(joined, (*joined.shape[:-3], 2 * pairs, joined.shape[-1]))[..., :frames, :]


def _product(rows: Any, matrix: Any, *, precision: lax.PrecisionLike) -> Any:
    """[..., rows, in] times the transpose of [out, in]."""
    return jnp.einsum("...i,oi->...o", rows, matrix, precision=precision)
