"""Analysis with a uniform bank: the windowed frame, folded modulo N, and its DFT.

The folded frame is split into its even and its odd part, which meet a cosine and a sine matrix of
half the size: eight times less arithmetic than the direct sum for a window of 2 N taps. Mirroring
time once more around N / 4, ``m -> N / 2 - m``, changes the sign of every second frequency, so
that sums and differences of a part and its mirror image meet matrices of a quarter of the size.
Where N has small factors, an FFT takes their place.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

from isincnet_jax.dsp import framing, uniform
from isincnet_jax.dsp.stored import with_stored
from isincnet_jax.typing import Array


def uniform_analysis(
    waveform: Float[Array, "... time"],
    window: Float[Array, " taps"],
    *,
    num_bins: int,
    hop_length: int,
    grid: framing.FrameGrid,
    lead: int,
    trail: int,
    padding: framing.Padding,
    method: uniform.Method | None = None,
    precision: lax.PrecisionLike = lax.Precision.HIGHEST,
) -> Float[Array, "... frames channels"]:
    """Analysis with a uniform bank.

    Equal to :func:`.framing.correlate_frames` with ``window * exp(2 pi i b n / N)``.

    Args:
        waveform: [..., time].
        window: [taps], an odd number, centred at tap ``taps // 2``.
        num_bins: bins; the result has ``2 * num_bins`` channels.
        hop_length: samples between frames.
        grid: the frames, see :func:`.framing.frame_grid`.
        lead: samples that the non-zero taps reach before a frame's position.
        trail: samples that they reach after it.
        padding: how the waveform continues beyond its ends.
        method: of the DFT; if None that of :func:`.uniform.choose_method`, with "folded" for
            "mirrored" on accelerators, where a pass over the frames costs more than products.
        precision: of the matrix products on accelerators.
    """
    chosen = method or uniform.choose_method(num_bins, operation="analysis")
    last, period = num_bins - 1, 2 * (num_bins - 1)
    if chosen == "fft":
        starts = range((-lead // period) * period, trail + 1, period)
        reach = max(-starts[0], starts[-1] + period - 1)
        weights = _centred(window, reach)
        fold = _folding(weights, starts, reach, period)
    else:
        shifts = _overlapping_shifts(lead, trail, num_bins)
        reach = max(max(abs(shift), abs(shift + last)) for shift in shifts)
        weights = _centred(window, reach)
        fold = _splitting(weights, shifts, reach, num_bins)
    padded = framing.pad_for_frames(
        waveform, grid=grid, hop_length=hop_length, lead=reach, trail=reach, padding=padding
    )
    parts: Any = framing.map_frames(
        fold,
        padded,
        num_frames=grid.num_frames,
        taps=weights.shape[0],
        hop_length=hop_length,
    )
    if chosen == "fft":
        spectrum = jnp.fft.rfft(parts[0])
        return jnp.concatenate([jnp.real(spectrum), -jnp.imag(spectrum)], axis=-1)
    witness = weights[reach]
    folded = functools.partial(_two_products, num_bins=num_bins, precision=precision)
    mirrored = functools.partial(_four_products, num_bins=num_bins, precision=precision)
    if chosen == "folded":
        return folded(*parts, witness=witness)
    if method == "mirrored":
        return mirrored(*parts, witness=witness)
    return lax.platform_dependent(*parts, witness, cpu=mirrored, default=folded)


def _centred(window: Array, reach: int) -> jax.Array:
    """The window at offsets -reach .. reach, zeros where it has no taps."""
    extra = reach - window.shape[0] // 2
    extended = jnp.pad(window, (max(extra, 0), max(extra, 0)))
    return extended[max(-extra, 0) :][: 2 * reach + 1]


def _folding(
    weights: Array, starts: range, reach: int, period: int
) -> Callable[[Array], tuple[Array, ...]]:
    """Windows frames and sums the stretches of one period that begin at the offsets ``starts``."""

    def fold(frames: Array) -> tuple[Array, ...]:
        stretches = [slice(reach + start, reach + start + period) for start in starts]
        return (_total([frames[..., part] * weights[part] for part in stretches]),)

    return fold


def _splitting(
    weights: Array, shifts: list[int], reach: int, num_bins: int
) -> Callable[[Array], tuple[Array, ...]]:
    """Windows and folds frames, and splits them into even and odd parts at offsets 0 .. N / 2."""
    last = num_bins - 1
    # Offsets 0 and N/2 are their own mirror images and would be counted twice.
    ends = np.ones(num_bins)
    ends[[0, -1]] = 0.5
    halved = jnp.asarray(ends, weights.dtype)

    def split(frames: Array) -> tuple[Array, ...]:
        even, odd = [], []
        for shift in shifts:
            right = slice(reach + shift, reach + shift + num_bins)
            left = slice(reach - shift - last, reach - shift + 1)
            later = frames[..., right] * (weights[right] * halved)
            earlier = jnp.flip(frames[..., left], axis=-1) * (jnp.flip(weights[left]) * halved)
            even.append(later + earlier)
            odd.append(later - earlier)
        return _total(even), _total(odd)

    return split


def _overlapping_shifts(lead: int, trail: int, num_bins: int) -> list[int]:
    """Multiples s of N for which the offsets s + m or -s - m, m = 0 .. N/2, meet the window."""
    period, reach = 2 * (num_bins - 1), max(lead, trail)
    most = reach // period + 1
    shifts = [period * fold for fold in range(-most, most + 1)]
    return [s for s in shifts if s <= reach and s + num_bins - 1 >= -reach]


def _total(parts: list[Array]) -> Array:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _two_products(
    even: Any, odd: Any, witness: Any, *, num_bins: int, precision: lax.PrecisionLike
) -> jax.Array:
    """Cosines of the even part, then sines of the odd one."""
    del witness
    matrices = uniform.dft_matrices(num_bins, 0, num_bins - 1)
    parts = [
        jnp.matmul(part, jnp.asarray(matrix, part.dtype), precision=precision)
        for part, matrix in zip((even, odd), matrices, strict=True)
    ]
    return jnp.concatenate(parts, axis=-1)


def _four_products(
    even: Any, odd: Any, witness: Any, *, num_bins: int, precision: lax.PrecisionLike
) -> jax.Array:
    """Sums and differences with the mirror image ``m -> N / 2 - m``, each for every second bin."""
    half = -(-num_bins // 2)

    def mirror(even: Array, odd: Array) -> tuple[Array, ...]:
        even_back, odd_back = jnp.flip(even, axis=-1), jnp.flip(odd, axis=-1)
        pairs = (even + even_back, even - even_back, odd - odd_back, odd + odd_back)
        return tuple(pair[..., :half] for pair in pairs)

    rows = [jnp.reshape(part, (-1, num_bins)) for part in (even, odd)]
    parts = with_stored(mirror, *rows, witness=witness)
    cosine, sine = (np.array(m) for m in uniform.dft_matrices(num_bins, 0, half - 1))
    if num_bins % 2:  # the middle is its own mirror image
        cosine[-1] *= 0.5
        sine[-1] *= 0.5
    matrices = (cosine[:, 0::2], cosine[:, 1::2], sine[:, 0::2], sine[:, 1::2])
    products = [
        jnp.matmul(part, jnp.asarray(matrix, part.dtype), precision=precision)
        for part, matrix in zip(parts, matrices, strict=True)
    ]
    halves = [
        uniform.interleave(products[first], products[first + 1], num_bins) for first in (0, 2)
    ]
    return jnp.reshape(jnp.concatenate(halves, axis=-1), (*even.shape[:-1], 2 * num_bins))
