"""Analysis by a uniform bank: the windowed frame, folded modulo N, and its DFT.

The folded frame is split into its even and its odd part, which meet a cosine and a sine matrix of
half the size: eight times less arithmetic than the direct sum for a window of 2 N taps. For many
bins, and where N has small factors, an FFT takes their place. A real bank has the even part only,
and so half of everything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

from isincnet_jax.bank.dsp import uniform
from isincnet_jax.dsp import frame_mapping, framing
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
    if chosen == "fft":
        # Stretches of one period that cover the taps -lead .. trail; a DFT of length N folds them.
        starts = range((-lead // period) * period, trail + 1, period)
        # Frames begin at a common offset -reach, so that every slice has a fixed place.
        reach = max(-starts[0], starts[-1] + period - 1)
        weights = _centred(window, reach)
        fold = _folding(weights, starts, reach, period)
    else:
        shifts = _overlapping_shifts(lead, trail, num_bins)
        reach = max(max(abs(shift), abs(shift + last)) for shift in shifts)
        weights = _centred(window, reach)
        fold = _splitting(weights, shifts, reach, num_bins, lead=lead, trail=trail, real=real)
    padded = framing.pad_for_frames(
        waveform,
        grid=grid,
        hop_length=hop_length,
        lead=reach,
        trail=reach,
        padding=padding,
        least=frame_mapping.mapped_length(
            grid.num_frames, taps=2 * reach + 1, hop_length=hop_length
        ),
    )
    parts: Any = frame_mapping.map_frames(
        fold,
        padded,
        num_frames=grid.num_frames,
        taps=2 * reach + 1,
        hop_length=hop_length,
    )
    if chosen == "fft":
        # rfft has exp(-2 pi i b n / N); the bank's sine channels have the opposite sign.
        spectrum = jnp.fft.rfft(parts[0])
        if gains is not None:
            return jnp.real(spectrum) * match_rank(jnp.asarray(gains, waveform.dtype), spectrum)
        return jnp.concatenate([jnp.real(spectrum), -jnp.imag(spectrum)], axis=-1)
    # C[b] = sum_m even[m] cos(2 pi m b / N), S[b] = sum_m odd[m] sin(2 pi m b / N), m = 0 .. N / 2
    matrices = uniform.dft_matrices(num_bins, 0, last)
    if gains is not None:
        matrices = (matrices[0] * gains,)
    # Offsets 0 and N/2 are their own mirror images and were counted twice.
    ends = np.ones((num_bins, 1))
    ends[[0, -1]] = 0.5
    products = [
        jnp.matmul(part, jnp.asarray(ends * matrix, part.dtype), precision=precision)
        for part, matrix in zip(parts, matrices, strict=True)
    ]
    return products[0] if real else jnp.concatenate(products, axis=-1)


def _centred(window: Array, reach: int) -> jax.Array:
    """The window at offsets -reach .. reach, zeros where it has no taps."""
    extra = reach - window.shape[0] // 2
    extended = jnp.pad(window, (max(extra, 0), max(extra, 0)))
    return extended[max(-extra, 0) :][: 2 * reach + 1]


def _windowed(frames: Array, weights: Array) -> Array:
    return frames * match_rank(weights, frames)


def _folding(
    weights: Array, starts: range, reach: int, period: int
) -> Callable[[Array], tuple[Array, ...]]:
    """Windows frames and sums the stretches of one period that begin at the offsets ``starts``."""

    def fold(frames: Array) -> tuple[Array, ...]:
        stretches = [slice(reach + start, reach + start + period) for start in starts]
        return (_total([_windowed(frames[..., part], weights[part]) for part in stretches]),)

    return fold


def _splitting(
    weights: Array,
    shifts: list[int],
    reach: int,
    num_bins: int,
    *,
    lead: int,
    trail: int,
    real: bool,
) -> Callable[[Array], tuple[Array, ...]]:
    """Windows and folds frames, and splits them into even and odd parts at offsets 0 .. N / 2.

    Of a real bank the even part is all there is.
    """
    last = num_bins - 1

    def split(frames: Array) -> tuple[Array, ...]:
        later, earlier = [], []
        for shift in shifts:
            # Offsets s + m, m = 0 .. N / 2, and their mirror images -s - m, read backwards: sum and
            # difference are the even and the odd part.
            right = slice(reach + shift, reach + shift + num_bins)
            left = slice(reach - shift - last, reach - shift + 1)
            # A causal window has taps on one side only.
            if -lead <= shift + last and shift <= trail:
                later.append(_windowed(frames[..., right], weights[right]))
            if -lead <= -shift and -shift - last <= trail:
                earlier.append(jnp.flip(_windowed(frames[..., left], weights[left]), axis=-1))
        if real:
            return (_total([_total(each) for each in (later, earlier) if each]),)
        if not earlier:
            return _total(later), _total(later)
        if not later:
            return _total(earlier), -_total(earlier)
        # Sum by sum: the even part and the odd part are separate loops over the frames.
        return _total(later) + _total(earlier), _total(later) - _total(earlier)

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
