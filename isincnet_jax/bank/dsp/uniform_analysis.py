"""Analysis by a uniform bank: the windowed frame, folded modulo N, and its DFT.

The folded frame is split into its even and its odd part, which meet a cosine and a sine matrix of
half the size: eight times less arithmetic than the direct sum for a window of 2 N taps. For many
bins, and where N has small factors, an FFT takes their place. A real bank has the even part only,
and so half of everything.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

from isincnet_jax.bank.dsp import uniform
from isincnet_jax.dsp import batched_fft, frame_groups, frame_mapping, framing
from isincnet_jax.dsp.ranks import match_rank
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
    gains: Float[np.ndarray, " bins"] | None = None,
    method: Literal["folded", "fft"] | None = None,
    precision: lax.PrecisionLike = lax.Precision.HIGHEST,
) -> Float[Array, "... frames channels"]:
    """Analysis by a uniform bank.

    Equal to :func:`.framing.correlate_frames` with ``window * exp(2 pi i b n / N)``, or with
    :func:`.uniform.cosine_channels` for a real bank.

    Args:
        waveform: [..., time].
        window: [taps], an odd number, centred at tap ``taps // 2``.
        num_bins: bins; the result has ``2 * num_bins`` channels, of a real bank ``num_bins``.
        hop_length: samples between frames.
        grid: the frames, see :func:`.framing.frame_grid`.
        lead: samples that the non-zero taps reach before a frame's position.
        trail: samples that they reach after it.
        padding: how the waveform continues beyond its ends.
        gains: of the cosine channels of a real bank; None for a complex one, which has none.
        method: "folded" or "fft"; if None as :func:`.uniform.choose_method` says.
        precision: of the matrix products on accelerators.

    Returns:
        [..., frames, 2 num_bins], cosine channels before sine channels; of a real bank [...,
        frames, num_bins].
    """
    real = gains is not None
    chosen = method or uniform.choose_method(
        num_bins, operation="analysis", dtype=waveform.dtype, real=real
    )
    last, period = num_bins - 1, 2 * (num_bins - 1)
    fold_by: Callable[[Array], Callable[[Array], tuple[Array, ...]]]
    if chosen == "fft":
        # Stretches of one period that cover the taps -lead .. trail; a DFT of length N folds them.
        starts = range((-lead // period) * period, trail + 1, period)
        low, high = starts[0], starts[-1] + period - 1
        places = [start - low for start in starts]
        fold_by = functools.partial(_folding, starts=places, period=period)
        transform = functools.partial(_dft, gains=gains)
    else:
        stretches = _stretches(lead, trail, last)
        low = min(each.start for each in stretches)
        high = max(each.start for each in stretches) + last
        fold_by = functools.partial(
            _splitting, stretches=stretches, low=low, num_bins=num_bins, real=real
        )
        transform = functools.partial(
            _products, num_bins=num_bins, gains=gains, precision=precision
        )
    mapped = {"taps": high - low + 1, "hop_length": hop_length}

    def transformed(stretch: Array, num_frames: int, window: Array) -> jax.Array:
        fold = fold_by(_between(window, low, high))
        return transform(frame_mapping.map_frames(fold, stretch, num_frames=num_frames, **mapped))

    line, first = framing.frame_line(
        waveform, grid=grid, hop_length=hop_length, lead=-low, trail=high, padding=padding
    )
    # The folded frames, and the samples that they take from the waveform.
    frame_values = (2 - real) * num_bins + hop_length
    plan = frame_groups.GroupPlan(
        num_items=grid.num_frames,
        stride=hop_length,
        axis=-1,
        first=first,
        width=lambda number: frame_mapping.mapped_length(number, **mapped),
        item_bytes=frame_values * math.prod(waveform.shape[:-1]) * waveform.dtype.itemsize,
        multiple=-(-mapped["taps"] // hop_length),
    )
    return frame_groups.in_groups(transformed, plan, line, window)


def _dft(parts: Sequence[Array], gains: np.ndarray | None) -> jax.Array:
    """Channels of folded frames, one part [..., frames, N], by an FFT."""
    (frames,) = parts
    # rfft has exp(-2 pi i b n / N); the bank's sine channels have the opposite sign.
    spectrum = batched_fft.rfft(frames)
    if gains is not None:
        return jnp.real(spectrum) * match_rank(jnp.asarray(gains, frames.dtype), spectrum)
    return jnp.concatenate([jnp.real(spectrum), -jnp.imag(spectrum)], axis=-1)


def _products(
    parts: Sequence[Array], num_bins: int, gains: np.ndarray | None, precision: lax.PrecisionLike
) -> jax.Array:
    """Channels of even and odd parts [..., frames, bins] by matrices of cosines and sines."""
    # C[b] = sum_m even[m] cos(2 pi m b / N), S[b] = sum_m odd[m] sin(2 pi m b / N), m = 0 .. N / 2
    matrices = uniform.dft_matrices(num_bins, 0, num_bins - 1)
    if gains is not None:
        matrices = (matrices[0] * gains,)
    products = [
        jnp.matmul(part, jnp.asarray(matrix, part.dtype), precision=precision)
        for part, matrix in zip(parts, matrices, strict=True)
    ]
    return products[0] if gains is not None else jnp.concatenate(products, axis=-1)


class _Stretch(NamedTuple):
    """Offsets ``start .. start + N / 2`` of a frame: one period's half, or its mirror image.

    ``ends`` are the factors of the first and the last offset: 1/2 where a neighbour has it, too.
    """

    start: int
    mirrored: bool
    ends: tuple[float, float]


def _stretches(lead: int, trail: int, last: int) -> list[_Stretch]:
    """Half periods that the taps -lead .. trail meet, from the first to the last.

    Multiples of N / 2 are the ends of two half periods each; one that has no other tap is left out.
    """
    starts = list(range((-lead // last) * last, trail + 1, last))
    starts = [s for s in starts if min(trail, s + last) > max(-lead, s)] or starts[:1]
    return [
        _Stretch(
            start,
            start // last % 2 == 1,
            (0.5 if start - last in starts else 1.0, 0.5 if start + last in starts else 1.0),
        )
        for start in starts
    ]


def _between(window: Array, low: int, high: int) -> jax.Array:
    """The window at offsets low .. high, zeros where it has no taps."""
    center = window.shape[0] // 2
    before, after = -low - center, high - (window.shape[0] - 1 - center)
    extended = jnp.pad(window, (max(before, 0), max(after, 0)))
    return extended[max(-before, 0) :][: high - low + 1]


def _windowed(frames: Array, weights: Array) -> Array:
    return frames * match_rank(weights, frames)


def _folding(
    weights: Array, starts: list[int], period: int
) -> Callable[[Array], tuple[Array, ...]]:
    """Windows frames and sums the stretches of one period that begin at the taps ``starts``."""

    def fold(frames: Array) -> tuple[Array, ...]:
        stretches = [slice(start, start + period) for start in starts]
        return (_total([_windowed(frames[..., part], weights[part]) for part in stretches]),)

    return fold


def _splitting(
    weights: Array, stretches: list[_Stretch], low: int, num_bins: int, *, real: bool
) -> Callable[[Array], tuple[Array, ...]]:
    """Windows and folds frames, and splits them into even and odd parts at offsets 0 .. N / 2.

    Of a real bank the even part is all there is.
    """

    def split(frames: Array) -> tuple[Array, ...]:
        later, earlier = [], []
        for start, mirrored, ends in stretches:
            # Offsets s + m, m = 0 .. N / 2, and their mirror images -s - m, read backwards: sum and
            # difference are the even and the odd part.
            part = slice(start - low, start - low + num_bins)
            factor = np.ones(num_bins, weights.dtype)
            factor[[0, -1]] = ends
            found = _windowed(frames[..., part], weights[part] * factor)
            if mirrored:
                earlier.append(jnp.flip(found, axis=-1))
            else:
                later.append(found)
        if real:
            return (_total([_total(each) for each in (later, earlier) if each]),)
        if not earlier:
            return _total(later), _total(later)
        if not later:
            return _total(earlier), -_total(earlier)
        # Sum by sum: the even part and the odd part are separate loops over the frames.
        return _total(later) + _total(earlier), _total(later) - _total(earlier)

    return split


def _total(parts: list[Array]) -> Array:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total
