"""Uniform banks: every filter the same window at frequencies 0 .. Nyquist, equally spaced.

With ``num_bins`` centres from 0 to the Nyquist frequency the filters sit at multiples of
``1 / N`` cycles per sample, N = 2 (num_bins - 1). Such a bank is a windowed real DFT of
length N of a frame that may be longer than N: the windowed frame is folded modulo N, split
into its even and odd parts, and multiplied by a cosine and a sine matrix of half the size.
Eight times less arithmetic than the direct sum for a kernel of 4 N / 2 taps, and the same
structure holds for the inverse, whose only unknown is a dual *window*.

References:
    J. Wexler and S. Raz, "Discrete Gabor expansions", Signal Processing 21, 1990.
    R. Crochiere and L. Rabiner, "Multirate Digital Signal Processing", 1983, section 7.2.5
        (weighted overlap-add, the folding of long windows).
"""

from __future__ import annotations

import functools

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

from isincnet_jax.dsp import framing
from isincnet_jax.dsp.decoders import SynthesisKernels
from isincnet_jax.typing import Array

_FEW_FRAMES = 16
_BINS_PER_GROUP = 32


def _window_at(window: np.ndarray, center: int, offset: np.ndarray) -> np.ndarray:
    """Values of a window at offsets from its centre tap, 0 outside."""
    inside = (offset >= -center) & (offset < len(window) - center)
    return np.where(inside, window[np.clip(offset + center, 0, len(window) - 1)], 0.0)


def dual_window(
    window: Float[np.ndarray, " taps"],
    *,
    hop_length: int,
    num_bins: int,
    reach: int,
    reach_ahead: int | None = None,
) -> tuple[Float[np.ndarray, " dual_taps"], float]:
    """The dual window of least energy with a given support, from the Wexler-Raz conditions.

    ``sum_t window[n - tM + lN] dual[n - tM] = 1/N if l = 0 else 0`` for every residue n of the
    hop and every l for which the windows overlap: a handful of equations each.

    Args:
        window: analysis window, centred at tap ``taps // 2``.
        hop_length: M.
        num_bins: of the bank; N = 2 (num_bins - 1).
        reach: samples that the dual reaches before its centre.
        reach_ahead: samples after it; ``reach`` if None.

    Returns:
        The dual window, float64 [reach + reach_ahead + 1], centred at tap ``reach``, and the
        largest violation of the conditions (relative to 1/N): rounding if the bank and the
        support admit an exact inverse.
    """
    after = reach if reach_ahead is None else reach_ahead
    period = 2 * (num_bins - 1)
    center = len(window) // 2
    dual = np.zeros(reach + after + 1)
    worst = 0.0
    folds = np.arange(-((reach + after + len(window)) // period) - 1, 0)
    folds = np.concatenate([folds, [0], -folds[::-1]])
    for residue in range(hop_length):
        first = -((after - residue) // hop_length)
        last = (residue + reach) // hop_length
        position = residue - hop_length * np.arange(first, last + 1)
        if len(position) == 0:
            return dual, 1.0
        system = _window_at(window, center, position[None, :] + period * folds[:, None])
        wanted = (folds == 0) / period
        solution = np.linalg.lstsq(system, wanted, rcond=1e-12)[0]
        worst = max(worst, float(np.max(np.abs(system @ solution - wanted)) * period))
        dual[position + reach] = solution
    return dual, worst


def synthesis_kernels(
    dual: Float[np.ndarray, " dual_taps"], *, num_bins: int, lead: int, hop_length: int
) -> SynthesisKernels:
    """The dense synthesis kernels that a dual window stands for: the oracle of the fast path.

    Returns:
        Kernels [2 num_bins, dual_taps]: cosine channels, then sine channels.
    """
    period = 2 * (num_bins - 1)
    offset = np.arange(len(dual)) - lead
    phase = 2 * np.pi * ((np.arange(num_bins)[:, None] * offset) % period) / period
    weight = np.where((np.arange(num_bins) == 0) | (np.arange(num_bins) == num_bins - 1), 1.0, 2.0)
    kernels = np.concatenate([np.cos(phase), np.sin(phase)]) * np.tile(weight, 2)[:, None] * dual
    gain = float(np.sqrt(np.sum(kernels**2) / hop_length))
    return SynthesisKernels(kernels, lead, 0.0, gain)


@functools.lru_cache(maxsize=16)
def _dft_matrices(num_bins: int, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
    """cos and sin of 2 pi m b / N for m = first .. last, float64 [m, bins]; exact by reduction."""
    period = 2 * (num_bins - 1)
    phase = np.outer(np.arange(first, last + 1), np.arange(num_bins)) % period
    turns = 2 * np.pi * phase / period
    sine = np.sin(turns)
    sine[2 * phase % period == 0] = 0.0
    return np.cos(turns), sine


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
    precision: lax.PrecisionLike = lax.Precision.HIGHEST,
) -> Float[Array, "... frames channels"]:
    """Analysis with a uniform bank: window, fold, split into even and odd, two DFT matrices.

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
        precision: of the matrix products on accelerators.
    """
    last = num_bins - 1
    shifts = _overlapping_shifts(lead, trail, num_bins)
    reach = max(max(abs(shift), abs(shift + last)) for shift in shifts)
    padded = framing.pad_for_frames(
        waveform, grid=grid, hop_length=hop_length, lead=reach, trail=reach, padding=padding
    )
    extra = reach - window.shape[0] // 2
    weights = jnp.pad(window, (max(extra, 0), max(extra, 0)))
    weights = weights[max(-extra, 0) :][: 2 * reach + 1]
    # Offsets 0 and N/2 are their own mirror images and would be counted twice.
    ends = np.ones(num_bins)
    ends[[0, -1]] = 0.5
    halved = jnp.asarray(ends, window.dtype)

    def fold(frames: Array) -> tuple[Array, Array]:
        even, odd = [], []
        for shift in shifts:
            right = slice(reach + shift, reach + shift + num_bins)
            left = slice(reach - shift - last, reach - shift + 1)
            later = frames[..., right] * (weights[right] * halved)
            earlier = jnp.flip(frames[..., left], axis=-1) * (jnp.flip(weights[left]) * halved)
            even.append(later + earlier)
            odd.append(later - earlier)
        return _total(even), _total(odd)

    even, odd = framing.map_frames(
        fold, padded, num_frames=grid.num_frames, taps=2 * reach + 1, hop_length=hop_length
    )
    cosine, sine = _dft_matrices(num_bins, 0, last)
    parts = [
        jnp.matmul(part, jnp.asarray(matrix, waveform.dtype), precision=precision)
        for part, matrix in ((even, cosine), (odd, sine))
    ]
    return jnp.concatenate(parts, axis=-1)


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


def uniform_synthesis(
    spectrogram: Float[Array, "... frames channels"],
    dual: Float[Array, " dual_taps"],
    *,
    num_bins: int,
    hop_length: int,
    lead: int,
    first_frame: int,
    length: int,
    precision: lax.PrecisionLike = lax.Precision.HIGHEST,
) -> Float[Array, "... time"]:
    """Synthesis with a dual window: inverse DFT, periodic continuation, window, overlap-add.

    Equal to :func:`.framing.synthesize_frames` with :func:`synthesis_kernels`, cut to the clip.
    Every block of ``hop`` output samples sees, of each frame near it, one stretch of the
    inverse DFT; a stretch or its mirror image lies almost within half a period, which is all
    that is computed.

    Args:
        spectrogram: [..., frames, channels].
        dual: dual window, a whole number of hops long.
        num_bins: bins.
        hop_length: samples between frames.
        lead: taps of the dual before a frame's position, a whole number of hops.
        first_frame: index of the first frame.
        length: samples of the clip.
        precision: of the matrix products on accelerators.

    Returns:
        [..., length].

    Raises:
        ValueError: if the dual window or its lead is no whole number of hops.
    """
    steps = framing.block_steps(dual.shape[0], lead=lead, hop_length=hop_length)
    stretches = [_best_stretch(step * hop_length, hop_length, num_bins) for step in steps]
    low = min(start for start, _ in stretches)
    high = max(start for start, _ in stretches) + hop_length - 1
    blocks = -(-length // hop_length)
    rows_by_step = framing.rows_for_blocks(
        spectrogram, steps=steps, first_frame=first_frame, num_blocks=blocks
    )
    even, odd = _half_periods(rows_by_step, num_bins, low, high, precision)
    total = jnp.zeros((*spectrogram.shape[:-2], blocks, hop_length), spectrogram.dtype)
    for index, (step, (start, mirrored)) in enumerate(zip(steps, stretches, strict=True)):
        rows = slice(steps[-1] - step, steps[-1] - step + blocks)
        columns = slice(start - low, start - low + hop_length)
        window = dual[index * hop_length : (index + 1) * hop_length]
        if mirrored:
            part = jnp.flip(even[..., rows, columns] - odd[..., rows, columns], axis=-1)
        else:
            part = even[..., rows, columns] + odd[..., rows, columns]
        total = total + part * window
    return total.reshape((*spectrogram.shape[:-2], -1))[..., :length]


def _best_stretch(offset: int, size: int, num_bins: int) -> tuple[int, bool]:
    """Where ``size`` offsets from ``offset`` on lie, modulo N and up to mirroring.

    Returns:
        The start of the stretch that sticks out of 0 .. N/2 the least, and whether it is the
        mirror image (offsets negated, order reversed).
    """
    period = 2 * (num_bins - 1)
    candidates = [
        (base % period - period * wrap, mirrored)
        for base, mirrored in ((offset, False), (-offset - size + 1, True))
        for wrap in (0, 1)
    ]
    return min(
        candidates,
        key=lambda item: max(0, -item[0]) + max(0, item[0] + size - num_bins),
    )


def _half_periods(
    spectrogram: Array, num_bins: int, low: int, high: int, precision: lax.PrecisionLike
) -> tuple[Array, Array]:
    """Even and odd parts of the inverse DFT (without 1/N) at offsets low .. high.

    A clip of a sample or two turns into sums of equal terms, whose rounding errors all point the
    same way (116 dB for 256 bins). Sums over few frames are therefore taken in groups of bins.
    """
    weight = np.full(num_bins, 2.0)
    weight[[0, -1]] = 1.0
    matrices = [(matrix * weight).T for matrix in _dft_matrices(num_bins, low, high)]
    size = _BINS_PER_GROUP if spectrogram.shape[-2] <= _FEW_FRAMES else num_bins
    groups = [slice(start, start + size) for start in range(0, num_bins, size)]
    halves = lax.optimization_barrier((spectrogram[..., :num_bins], spectrogram[..., num_bins:]))
    even, odd = (
        _total(
            [
                jnp.matmul(
                    half[..., group], jnp.asarray(matrix[group], half.dtype), precision=precision
                )
                for group in groups
            ]
        )
        for half, matrix in zip(halves, matrices, strict=True)
    )
    return lax.optimization_barrier((even, odd))
