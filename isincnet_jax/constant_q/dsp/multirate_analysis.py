"""Multirate correlation: frames of a signal times kernels that live at lower rates.

The signals of all rates are made once, by half-band filters, and every group of kernels is a
strided convolution with the signal of its rate (see :mod:`.multirate`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Complex, Float

from isincnet_jax.constant_q.dsp.multirate import KernelGroup, band_step, halfband
from isincnet_jax.dsp import framing
from isincnet_jax.typing import Array

_LONG_TAPS = 1024  # longer kernels go in blocks, if the stride is long, too
_LONG_STRIDE = 16
_BLOCK = 32  # outputs of a filter that one product gives


class _Band(NamedTuple):
    """A signal of a lower rate; ``samples[..., i]`` stands at step ``low + i``."""

    samples: jax.Array
    low: int


def _ranges(
    groups: Sequence[KernelGroup], *, hop_length: int, num_frames: int, reach: int
) -> list[tuple[int, int]]:
    """First and last sample that is needed of the signal of every level, relative to frame 0."""
    highest = max(group.level for group in groups)
    ranges: list[tuple[int, int]] = []
    for level in reversed(range(highest + 1)):
        # The signal of a level has a sample every ``step``; its kernels' taps lie ``spread``
        # samples of it apart.
        step = band_step(hop_length, level)
        spread = 2**level // step
        needed = [
            (
                group.first * spread,
                (num_frames - 1) * (hop_length // step)
                + (group.first + group.taps.shape[-1] - 1) * spread,
            )
            for group in groups
            if group.level == level
        ]
        if ranges:
            # Output m of the next filter reads ratio m - reach spread to ratio m + reach spread.
            low, high = ranges[-1]
            ratio = band_step(hop_length, level + 1) // step
            needed.append((ratio * low - reach * spread, ratio * high + reach * spread + 1))
        ranges.append((min(low for low, _ in needed), max(high for _, high in needed)))
    return ranges[::-1]


def _filter_band(
    band: _Band,
    filter_taps: np.ndarray,
    *,
    ratio: int,
    spread: int,
    low: int,
    high: int,
    precision: lax.PrecisionLike,
) -> _Band:
    """Applies a half-band filter: ``y[m] = sum_j h[j] x[ratio m + spread j]`` from low to high.

    A block of 32 outputs is a product of a banded matrix and two blocks of input: several times
    the products of a sum of shifted slices and as fast, and never recomputed by a compiler that
    fuses the sum into everything that reads it (XLA on CPUs does). A spread filter, which keeps
    the rate, runs on the planes of every ``spread``-th sample.
    """
    reach = len(filter_taps) // 2
    count = high - low + 1
    start = ratio * low - reach * spread - band.low
    # Outputs per plane, in whole blocks, and the samples of a plane that they read.
    rows = -(-count // (spread * _BLOCK)) * _BLOCK
    width = ratio * (rows - 1) + len(filter_taps)
    samples = _pad_end(band.samples[..., start : start + width * spread], width * spread)
    if spread > 1:
        # [..., spread, width]: a plane for each residue of the index modulo ``spread``.
        samples = jnp.swapaxes(samples.reshape((*samples.shape[:-1], width, spread)), -1, -2)
    # Row m of the block's matrix has the filter from sample ratio m on.
    matrix = np.zeros((_BLOCK, ratio * (_BLOCK - 1) + len(filter_taps)))
    for output in range(_BLOCK):
        matrix[output, ratio * output : ratio * output + len(filter_taps)] = filter_taps
    blocks = framing.correlate_blocks(
        samples,
        jnp.asarray(matrix, samples.dtype),
        hop_length=ratio * _BLOCK,
        precision=precision,
    )
    filtered = jnp.reshape(blocks, (*blocks.shape[:-2], rows))  # from [..., blocks, 32]
    if spread > 1:
        filtered = jnp.swapaxes(filtered, -1, -2).reshape((*filtered.shape[:-2], rows * spread))
    return _Band(filtered[..., :count], low)


def _pad_end(samples: jax.Array, length: int) -> jax.Array:
    """Zero-extends the last axis."""
    edges = [(0, 0)] * (samples.ndim - 1) + [(0, length - samples.shape[-1])]
    return jnp.pad(samples, edges)


def _correlate(
    signal: jax.Array, kernels: jax.Array, *, stride: int, precision: lax.PrecisionLike
) -> jax.Array:
    """Strided correlation; long kernels in blocks, whose gradients are 20 times faster."""
    long = kernels.shape[-1] > _LONG_TAPS and stride > _LONG_STRIDE
    correlate = framing.correlate_blocks if long else framing.correlate_frames
    return jnp.asarray(correlate(signal, kernels, hop_length=stride, precision=precision))


def _correlate_band(
    band: _Band,
    group: KernelGroup,
    kernels: jax.Array,
    *,
    hop_length: int,
    num_frames: int,
    precision: lax.PrecisionLike,
) -> jax.Array:
    """Frames of one group, [..., frames, 2 bins]."""
    step = band_step(hop_length, group.level)
    spread, stride = 2**group.level // step, hop_length // step
    taps = kernels.shape[-1]
    start = group.first * spread - band.low
    if spread == 1:
        # Taps are neighbours: y[t] = sum_k w[k] x[start + t stride + k].
        stop = start + (num_frames - 1) * stride + taps
        return _correlate(
            band.samples[..., start:stop], kernels, stride=stride, precision=precision
        )
    # Frame t begins at start + t stride. Since stride is odd, frames with the same t modulo
    # spread share a residue: on the plane of every spread-th sample they are stride apart.
    phases = min(spread, num_frames)
    per_phase = -(-num_frames // phases)
    begin = start + np.arange(phases)[:, None] * stride
    index = begin + spread * np.arange((per_phase - 1) * stride + taps)
    planes = jnp.take(band.samples, jnp.asarray(index, jnp.int32), axis=-1, mode="clip")
    frames = _correlate(planes, kernels, stride=stride, precision=precision)
    # [..., phases, per phase, channels]: frame t is number t // phases of phase t % phases.
    frames = jnp.swapaxes(frames, -3, -2)
    merged = frames.reshape((*frames.shape[:-3], per_phase * phases, frames.shape[-1]))
    return merged[..., :num_frames, :]


def correlate_multirate(
    padded: Float[Array, "... padded"],
    groups: Sequence[KernelGroup],
    *,
    position: int,
    hop_length: int,
    num_frames: int,
    tolerance: float,
    kernels: Sequence[tuple[Any, Any]] | None = None,
    precision: lax.PrecisionLike = lax.Precision.HIGHEST,
) -> tuple[Float[Array, "... frames bins"], Float[Array, "... frames bins"]]:
    """Multirate correlation: inner products of frames with the conjugate kernels of all groups.

    Args:
        padded: [..., padded]; zeros beyond its ends.
        groups: the geometry of the kernels, and their taps.
        position: index of the sample at which frame 0 stands.
        hop_length: samples between frames.
        num_frames: frames.
        tolerance: chooses the filter, as when the groups were made.
        kernels: real and imaginary taps [bins, taps] of every group to use instead of the
            groups' own, for instance parameters.
        precision: of the products on accelerators.

    Returns:
        Real and imaginary parts, [..., frames, bins] each.
    """
    filter_taps = halfband(tolerance)
    ranges = _ranges(
        groups, hop_length=hop_length, num_frames=num_frames, reach=len(filter_taps) // 2
    )
    # The full-rate signal from sample ``low`` to ``high`` relative to frame 0, cut or zero-padded.
    low, high = ranges[0]
    edges = (-low - position, high + 1 + position - padded.shape[-1], 0)
    zero = jnp.zeros((), padded.dtype)
    samples = lax.pad(jnp.asarray(padded), zero, [(0, 0, 0)] * (padded.ndim - 1) + [edges])
    bands = [_Band(jnp.asarray(samples), low)]
    # Each level filters the one before; where the hop forbids halving, ratio is 1 and the
    # filter's taps are spread instead.
    for level, (low, high) in enumerate(ranges[1:], start=1):
        before = band_step(hop_length, level - 1)
        bands.append(
            _filter_band(
                bands[-1],
                filter_taps,
                ratio=band_step(hop_length, level) // before,
                spread=2 ** (level - 1) // before,
                low=low,
                high=high,
                precision=precision,
            )
        )
    real, imag = [], []
    for index, group in enumerate(groups):
        taps = (np.real(group.taps), np.imag(group.taps)) if kernels is None else kernels[index]
        # x (a - i b) for real x: one real correlation with a and -b, [2 bins, taps].
        parts = jnp.concatenate(
            [jnp.asarray(taps[0], padded.dtype), -jnp.asarray(taps[1], padded.dtype)]
        )
        frames = _correlate_band(
            bands[group.level],
            group,
            parts,
            hop_length=hop_length,
            num_frames=num_frames,
            precision=precision,
        )
        bins = group.taps.shape[0]
        real.append(frames[..., :bins])
        imag.append(frames[..., bins:])
    return jnp.concatenate(real, axis=-1), jnp.concatenate(imag, axis=-1)


def expand_kernels(
    kernels: Complex[Array, "bins taps"], *, first: int, level: int, tolerance: float
) -> tuple[int, Complex[Array, "bins longer"]]:
    """Full-rate kernels that short ones stand for, ``w[n] = sum_m v[m] h[n - 2^level m]``.

    Args:
        kernels: v at the lower rate, complex [bins, taps].
        first: index of the first tap relative to a frame's position, in steps of ``2^level``.
        level: halvings of the rate.
        tolerance: chooses the filter, as when the kernels were fitted.

    Returns:
        Index of the first tap relative to a frame's position in samples, and the kernels, complex
        [bins, longer].
    """
    taps = halfband(tolerance)
    reach = len(taps) // 2
    parts = jnp.concatenate([jnp.real(kernels), jnp.imag(kernels)])[:, None, :]
    response = jnp.asarray(taps, parts.dtype)[None, None, :]
    for _ in range(level):
        # Zeros between the taps (lhs_dilation), then the symmetric filter over all that it meets.
        parts = lax.conv_general_dilated(
            parts,
            response,
            window_strides=(1,),
            padding=[(2 * reach, 2 * reach)],
            lhs_dilation=(2,),
            precision=lax.Precision.HIGHEST,
        )
        first = 2 * first - reach
    bins = kernels.shape[0]
    return first, lax.complex(parts[:bins, 0], parts[bins:, 0])
