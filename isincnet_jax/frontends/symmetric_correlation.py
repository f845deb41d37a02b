"""Symmetric strided correlation: filters that are even or odd around their centre tap.

Take rows of a signal that start g hops apart and reach over g frames, ``R = K + (g - 1) hop``
samples. With ``T_d`` the filter moved by d hops in such a row, frame d of row a is ``a . T_d``.
Mirroring an even filter within the row turns ``T_d`` into ``T_(g-1-d)``, so with the even part e
and the odd part o of a row,

    ``y_d = e . T_d + o . T_d``,   ``y_(g-1-d) = +-(e . T_d - o . T_d)``,

plus for even and minus for odd filters. An even row meets a filter with R / 2 products, so a frame
costs R / 2 of them where the direct sum takes K, and they are plain products of matrices, which run
at a processor's full speed. One frame per row (g = 1) is the usual folding of a symmetric filter.

Measured on two cores of a Xeon (16 clips of 160,000 samples, 80 filters of 251 taps, medians of
benchmarks/sincconv.py beside PyTorch's direct convolution): 1.4 to 1.6 times less processor time
at hop 1 and 1.2 to 1.5 times at hop 160. Writing the result, page faults included, costs at hop 1
as much as the products.
Spectra of overlapping blocks (4096 samples) take far fewer operations and were no faster than the
direct convolution at hop 1: an inverse transform per filter runs at a tenth of the speed.
"""

from __future__ import annotations

import functools
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

from isincnet_jax.dsp.ranks import match_rank
from isincnet_jax.typing import Array

Symmetry: TypeAlias = Literal["even", "even_odd", "none"]

_ROW_STEP = 32  # samples between rows of several frames, about
_LONGEST_STACKED_HOP = _ROW_STEP // 2
_FEWEST_TAPS = 64  # smaller filters and banks go through the direct convolution
_FEWEST_CHANNELS = 16
_BLOCK_VALUES = 1 << 18  # of a block's result per part, 1 MiB in float32


class Rows(NamedTuple):
    """How frames are grouped.

    Attributes:
        frames: g of one row.
        step: samples between rows.
        reach: R, samples of a row.
    """

    frames: int
    step: int
    reach: int


def _group(hop_length: int, taps: int) -> Rows:
    """Rows of about 32 samples' step for short hops, single frames for long ones."""
    frames = 2 * (_LONGEST_STACKED_HOP // hop_length) or 1
    return Rows(frames, frames * hop_length, taps + (frames - 1) * hop_length)


def folds(channels: int, taps: int, *, hop_length: int, symmetry: Symmetry) -> bool:
    """Whether folding is the faster way on CPUs; see :func:`correlate`.

    Args:
        channels: of the bank.
        taps: of a filter.
        hop_length: samples between frames.
        symmetry: of the filters.

    Returns:
        Whether.
    """
    # Short hops stack several frames in a row; hops above half a filter fold single frames, which
    # overlap by less than half.
    short, long = hop_length <= _LONGEST_STACKED_HOP, 2 * hop_length > taps
    large = taps >= _FEWEST_TAPS and channels >= _FEWEST_CHANNELS
    return symmetry != "none" and large and (short or long)


def correlate(
    padded: Float[Array, "... padded"],
    kernels: Float[Array, "channels taps"],
    *,
    hop_length: int,
    symmetry: Symmetry = "none",
    dilation: int = 1,
    precision: lax.PrecisionLike = lax.Precision.HIGHEST,
) -> Float[jax.Array, "... frames channels"]:
    """Correlation ``y[t, c] = sum_k h_c[k] x[t hop + k dilation]``, the way measured fastest.

    On CPUs, symmetric filters of 64 taps and 16 channels or more go through folded matrix products
    where the hop is at most 16 samples or at least half the filter; everything else, dilated and
    asymmetric filters and other devices, is one strided convolution. The choice depends on
    shapes and the device only. Both are differentiable any number of times, forward and reverse.

    Args:
        padded: [..., padded], floating.
        kernels: [channels, taps], the dtype of the signal; ``taps`` odd for symmetric ones.
        hop_length: samples between frames.
        symmetry: "even" if every kernel is even around its middle, "even_odd" if the first half
            of the channels is even and the second odd, else "none". It is taken on trust, and
            gradients are right for whatever keeps the symmetry, not for single taps.
        dilation: samples between taps.
        precision: of the products on accelerators.

    Returns:
        [..., (padded - (taps - 1) dilation - 1) // hop + 1, channels].

    Raises:
        ValueError: if the signal is shorter than a filter.
    """
    channels, taps = kernels.shape
    reach = (taps - 1) * dilation + 1
    if padded.shape[-1] < reach:
        raise ValueError(
            f"{padded.shape[-1]} samples are fewer than the {reach} that a filter reaches over; "
            "pad the signal, or use a longer one"
        )
    signal, filters = jnp.asarray(padded), jnp.asarray(kernels)
    clips = jnp.reshape(signal, (-1, signal.shape[-1]))

    def direct(clips: jax.Array, filters: jax.Array) -> jax.Array:
        return _convolve(clips, filters, hop_length, dilation, precision)

    def folded(clips: jax.Array, filters: jax.Array) -> jax.Array:
        return correlate_folded(
            clips, filters, hop_length=hop_length, symmetry=symmetry, precision=precision
        )

    if dilation == 1 and folds(channels, taps, hop_length=hop_length, symmetry=symmetry):
        frames = lax.platform_dependent(clips, filters, cpu=folded, default=direct)
    else:
        frames = direct(clips, filters)
    return jnp.reshape(frames, (*signal.shape[:-1], *frames.shape[1:]))


def _convolve(
    clips: jax.Array, kernels: jax.Array, hop: int, dilation: int, precision: lax.PrecisionLike
) -> jax.Array:
    return lax.conv_general_dilated(
        clips[..., None],
        jnp.transpose(kernels)[:, None, :],
        window_strides=(hop,),
        padding="VALID",
        rhs_dilation=(dilation,),
        dimension_numbers=("NWC", "WIO", "NWC"),
        precision=precision,
    )


def correlate_folded(
    clips: Float[jax.Array, "clips padded"],
    kernels: Float[jax.Array, "channels taps"],
    *,
    hop_length: int,
    symmetry: Symmetry,
    precision: lax.PrecisionLike = lax.Precision.HIGHEST,
) -> Float[jax.Array, "clips frames channels"]:
    """:func:`correlate` by folded products wherever it runs, block by block if they are many.

    Args:
        clips: [clips, padded].
        kernels: [channels, taps].
        hop_length: samples between frames.
        symmetry: "even" or "even_odd", as there.
        precision: of the products on accelerators.

    Returns:
        [clips, (padded - taps) // hop + 1, channels].
    """
    channels, taps = kernels.shape
    count = (clips.shape[-1] - taps) // hop_length + 1
    group = _group(hop_length, taps)
    rows = max(_BLOCK_VALUES // (-(-group.frames // 2) * channels), 1)
    if group.frames == 1 or count <= rows * group.frames:
        return _fold_at_once(clips, kernels, hop_length, symmetry, precision)
    return _fold_in_blocks(clips, kernels, hop_length, symmetry, precision)


def _rows_of(signal: jax.Array, *, step: int, width: int, count: int) -> jax.Array:
    """Rows [..., count, width] that start ``step`` samples apart; zeros beyond the end."""
    tiles = -(-width // step)
    total = (count + tiles - 1) * step
    keep = [(0, 0, 0)] * (signal.ndim - 1)
    zero = jnp.zeros((), signal.dtype)
    whole = lax.pad(signal, zero, [*keep, (0, total - signal.shape[-1], 0)])
    blocks = jnp.reshape(whole, (*signal.shape[:-1], count + tiles - 1, step))
    if tiles == 1:
        return blocks[..., :width]
    parts = [blocks[..., first : first + count, :] for first in range(tiles)]
    return jnp.concatenate(parts, axis=-1)[..., :width]


def fold(signal: jax.Array, *, rows: Rows, count: int) -> tuple[jax.Array, jax.Array]:
    """Folds the rows of a signal around their middles.

    Args:
        signal: [..., time].
        rows: their step and reach.
        count: of rows, the first from the first sample on; zeros beyond the end.

    Returns:
        Twice the even parts, [..., count, (R + 1) // 2], and the odd parts, [..., count, R // 2].
    """
    total = (count - 1) * rows.step + rows.reach
    keep = [(0, 0, 0)] * (signal.ndim - 1)
    zero = jnp.zeros((), signal.dtype)
    used = lax.pad(signal, zero, [*keep, (0, total - signal.shape[-1], 0)])
    half = rows.reach // 2
    width = rows.reach - half
    forward = _rows_of(used, step=rows.step, width=width, count=count)
    # The mirrored rows are rows of the mirrored signal, read from its end.
    mirrored = _rows_of(jnp.flip(used, axis=-1), step=rows.step, width=width, count=count)
    backward = jnp.flip(mirrored, axis=-2)
    return forward + backward, forward[..., :half] - backward[..., :half]


def _moved_kernels(kernels: jax.Array, *, hop: int, rows: Rows) -> jax.Array:
    """T_d of the first half of a row's frames: [R, (g + 1) // 2, channels]."""
    channels, taps = kernels.shape
    reach, frames = rows.reach, -(-rows.frames // 2)
    # Rows of R + hop, repeated and read again as rows of R, move by one hop each.
    wide = jnp.pad(kernels, ((0, 0), (0, reach + hop - taps)))
    wide = jnp.broadcast_to(wide[:, None], (channels, frames, reach + hop))
    moved = jnp.reshape(wide, (channels, -1))[:, : frames * reach]
    return jnp.transpose(jnp.reshape(moved, (channels, frames, reach)), (2, 1, 0))


def fold_kernels(kernels: jax.Array, *, hop: int, rows: Rows) -> tuple[jax.Array, jax.Array]:
    """Folds filters as :func:`fold` does rows.

    Args:
        kernels: [channels, taps].
        hop: samples between frames.
        rows: frames of a row, and their reach.

    Returns:
        What the even parts meet in the first half of a row's frames, [(R + 1) // 2, (g + 1) // 2,
        channels], and what the odd parts meet, [R // 2, (g + 1) // 2, channels].
    """
    moved = _moved_kernels(kernels, hop=hop, rows=rows)
    half = rows.reach // 2
    weight = np.full((rows.reach - half, 1, 1), 0.5)
    if rows.reach % 2:
        weight[-1] = 0.25  # the middle tap is its own mirror image
    mirrored = jnp.flip(moved, axis=0)
    even = (moved + mirrored)[: rows.reach - half] * jnp.asarray(weight, kernels.dtype)
    return lax.optimization_barrier((even, 0.5 * (moved - mirrored)[:half]))


def _times(rows: jax.Array, weights: jax.Array, precision: Any) -> jax.Array:
    """[..., count, n] times [n, d, channels]: [..., count, d, channels]."""
    count, taps = rows.shape[-2:]
    # The barrier keeps the folding out of the product's loops.
    flat = lax.optimization_barrier(jnp.reshape(rows, (-1, taps)))
    product = jnp.matmul(flat, jnp.reshape(weights, (taps, -1)), precision=precision)
    return jnp.reshape(product, (*rows.shape[:-2], count, *weights.shape[1:]))


def _frames(
    signal: jax.Array,
    weights: tuple[jax.Array, jax.Array],
    *,
    rows: Rows,
    count: int,
    symmetry: Symmetry,
    precision: Any,
) -> jax.Array:
    """The frames of ``count`` rows from the first sample on, [..., count g, channels]."""
    even, odd = fold(signal, rows=rows, count=count)  # [..., count, about R / 2] each
    channels = weights[0].shape[-1]
    evens = channels if symmetry == "even" else channels // 2
    if rows.frames == 1:
        # The odd part of a row meets an even filter with 0, and the even part an odd one.
        parts = [_times(even, weights[0][..., :evens], precision)]
        if evens < channels:
            parts.append(_times(odd, weights[1][..., evens:], precision))
        frames = jnp.concatenate(parts, axis=-1)
    else:
        # y_d = e . T_d + o . T_d and y_(g-1-d) = +-(e . T_d - o . T_d), d < g / 2.
        first = _times(even, weights[0], precision)
        second = _times(odd, weights[1], precision)
        sign = np.where(np.arange(channels) < evens, 1.0, -1.0)
        mirrored = jnp.flip(first - second, axis=-2)
        if evens < channels:
            mirrored = mirrored * match_rank(jnp.asarray(sign, first.dtype), mirrored)
        frames = jnp.concatenate([first + second, mirrored], axis=-2)
    return lax.collapse(frames, signal.ndim - 1, frames.ndim - 1)


def _fold_at_once(
    clips: jax.Array, kernels: jax.Array, hop: int, symmetry: Symmetry, precision: Any
) -> jax.Array:
    """All frames of all clips in one go; linear in either argument and plainly so."""
    taps = kernels.shape[-1]
    count = (clips.shape[-1] - taps) // hop + 1
    rows = _group(hop, taps)
    frames = _frames(
        clips,
        fold_kernels(kernels, hop=hop, rows=rows),
        rows=rows,
        count=-(-count // rows.frames),
        symmetry=symmetry,
        precision=precision,
    )
    return frames[..., :count, :]


@functools.partial(jax.custom_jvp, nondiff_argnums=(2, 3, 4))
def _fold_in_blocks(
    clips: jax.Array, kernels: jax.Array, hop: int, symmetry: Symmetry, precision: Any
) -> jax.Array:
    """Blocks that stay in the cache, written into the result one after the other.

    The last block of a clip starts early enough to end with the clip and computes some frames
    again, so that the result needs no cut, which would be a copy of it all.
    """
    channels, taps = kernels.shape
    count = (clips.shape[-1] - taps) // hop + 1
    rows = _group(hop, taps)
    in_block = _BLOCK_VALUES // (rows.frames // 2 * channels)
    block = in_block * rows.frames
    per_clip = -(-count // block)
    weights = fold_kernels(kernels, hop=hop, rows=rows)
    # Samples that a block of frames reaches over.
    length = (block - 1) * hop + taps

    def step(index: Any, frames: Any) -> Any:
        clip = index // per_clip
        first = jnp.minimum(index % per_clip * block, count - block)
        samples = lax.dynamic_slice(clips, (clip, first * hop), (1, length))
        found = _frames(
            samples, weights, rows=rows, count=in_block, symmetry=symmetry, precision=precision
        )
        return lax.dynamic_update_slice(frames, found, (clip, first, jnp.zeros_like(clip)))

    empty = lax.empty((clips.shape[0], count, channels), clips.dtype)
    return lax.fori_loop(0, clips.shape[0] * per_clip, step, empty)


def _differentiate_blocks(
    hop: int, symmetry: Symmetry, precision: Any, primals: Any, tangents: Any
) -> tuple[jax.Array, Any]:
    """The derivative, clip by clip: the loop above has no cheap transpose, a map over clips has."""
    clips, kernels = primals

    def by_clip(clips: jax.Array, kernels: jax.Array) -> jax.Array:
        return lax.map(lambda one: _fold_at_once(one, kernels, hop, symmetry, precision), clips)

    value = _fold_in_blocks(clips, kernels, hop, symmetry, precision)
    zero = jax.custom_derivatives.SymbolicZero
    moved_clips, moved_kernels = tangents
    parts = []
    if not isinstance(moved_clips, zero):
        parts.append(by_clip(moved_clips, kernels))
    if not isinstance(moved_kernels, zero):
        parts.append(by_clip(clips, moved_kernels))
    return value, functools.reduce(jnp.add, parts)


_fold_in_blocks.defjvp(_differentiate_blocks, symbolic_zeros=True)
