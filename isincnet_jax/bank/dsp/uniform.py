"""Uniform banks: every filter the same window at frequencies 0 .. Nyquist, equally spaced.

With ``num_bins`` centres from 0 to the Nyquist frequency the filters sit at multiples of
``1 / N`` cycles per sample, N = 2 (num_bins - 1). Such a bank is a windowed real DFT of
length N of a frame that may be longer than N, and the same structure holds for the inverse,
whose only unknown is a dual *window*. Here are its design and the choice of the DFT;
:mod:`.uniform_analysis` and :mod:`.uniform_synthesis` apply it.

References:
    J. Wexler and S. Raz, "Discrete Gabor expansions", Signal Processing 21, 1990.
    R. Crochiere and L. Rabiner, "Multirate Digital Signal Processing", 1983, section 7.2.5
        (weighted overlap-add, the folding of long windows).
"""

from __future__ import annotations

import functools
import math
from typing import Any, Literal, TypeAlias

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from isincnet_jax.bank.dsp.decoders import SynthesisKernels
from isincnet_jax.dsp.settling import settles

Method: TypeAlias = Literal["folded", "mirrored", "fft"]
"""How the DFT of a frame is computed. "folded": its even and its odd part times a cosine and a sine
matrix, ``2 num_bins^2`` products. "mirrored": these once more split, by the mirror image of the
frequencies, ``num_bins^2``; for synthesis only. "fft": a fast transform."""

_FEWEST_TRANSFORMED = 257
_HARDEST_PERIOD = 100
_FLOAT_BITS = 32


def choose_method(
    num_bins: int,
    *,
    operation: Literal["analysis", "synthesis"],
    dtype: Any = np.float32,
    real: bool = False,
) -> Method:
    """Fastest method of a DFT on CPUs, as measured by ``benchmarks/algorithms.py``.

    A fast transform takes time in proportion to N times the sum of the prime factors of N =
    2 (num_bins - 1), but to 100 N at most, since large primes are transformed as convolutions.

    * Analysis: "fft" if that is at most ``num_bins^2``, else "folded". The products of a real bank
      are half as many, so that it is at most ``num_bins^2 / 2``.
    * Synthesis: "fft" from 257 bins on if that is at most ``num_bins^2 / 2``, else "mirrored",
      since synthesis passes over its coefficients anyway. (An analysis so split was no faster than
      "folded" below 256 bins, by one more pass over the frames, and slower than "fft" above.)

    Numbers narrower than float32 have no FFT. All methods keep a sharded batch where it is under
    plain ``jax.jit``: XLA splits matrix products by itself, and FFTs as :mod:`.batched_fft` states.

    Args:
        num_bins: bins, 2 or more; N = 2 (num_bins - 1).
        operation: "analysis" or "synthesis".
        dtype: of the numbers that are transformed.
        real: whether the bank has cosine channels only.

    Returns:
        "folded", "mirrored" (synthesis only) or "fft".

    Example:
        >>> [choose_method(bins, operation="analysis") for bins in (128, 257, 512)]
        ['folded', 'fft', 'fft']
        >>> [choose_method(bins, operation="synthesis") for bins in (128, 257, 258)]
        ['mirrored', 'fft', 'mirrored']
    """
    period = 2 * (num_bins - 1)
    # N times 2 per factor of 2, 3 per factor of 3, ..., and 100 N at most
    transform: float = period * min(_sum_of_factors(period), _HARDEST_PERIOD)
    if jnp.finfo(dtype).bits < _FLOAT_BITS:
        transform = math.inf
    if operation == "analysis":
        return "fft" if (1 + real) * transform <= num_bins**2 else "folded"
    fast = num_bins >= _FEWEST_TRANSFORMED and 2 * transform <= num_bins**2
    return "fft" if fast else "mirrored"


def _sum_of_factors(number: int) -> int:
    """The sum of the prime factors of a number above 1, each as often as it occurs."""
    total, factor = 0, 2
    while factor * factor <= number:
        while number % factor == 0:
            number, total = number // factor, total + factor
        factor += 1
    return total + (number if number > 1 else 0)


def products_per_frame(num_bins: int, method: Method, *, real: bool = False) -> int:
    """Multiply-adds of one frame's DFT; half a real FFT's ``2.5 N log2 N`` operations.

    Args:
        num_bins: bins.
        method: of :func:`choose_method`.
        real: whether the bank has cosine channels only; "fft" computes the sines all the same.

    Returns:
        Products; windowing and overlap-add not counted.
    """
    period = 2 * (num_bins - 1)
    if method == "fft":
        return round(1.25 * period * np.log2(period))
    half = -(-num_bins // 2)
    if real:
        return num_bins**2
    return 2 * num_bins**2 if method == "folded" else 2 * half * num_bins


def _window_at(window: np.ndarray, center: int, offset: np.ndarray) -> np.ndarray:
    """Values of a window at offsets from its centre tap, 0 outside."""
    inside = (offset >= -center) & (offset < len(window) - center)
    return np.where(inside, window[np.clip(offset + center, 0, len(window) - 1)], 0.0)


@settles
def dual_window(
    window: Float[np.ndarray, " taps"],
    *,
    hop_length: int,
    num_bins: int,
    reach: int,
    reach_ahead: int | None = None,
) -> tuple[Float[np.ndarray, " dual_taps"], float]:
    """Dual window of least energy with a given support, from the Wexler-Raz conditions.

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
    # The l whose stretches n - tM + lN may meet the window: negative ones, 0, and their opposites.
    folds = np.arange(-((reach + after + len(window)) // period) - 1, 0)
    folds = np.concatenate([folds, [0], -folds[::-1]])
    for residue in range(hop_length):
        # Frames t whose dual reaches residue n: -reach <= n - tM <= after
        first = -((after - residue) // hop_length)
        last = (residue + reach) // hop_length
        position = residue - hop_length * np.arange(first, last + 1)
        if len(position) == 0:
            return dual, 1.0
        # A[l, t] = window[n - tM + lN], b[l] = [l = 0] / N; lstsq gives the least energy.
        system = _window_at(window, center, position[None, :] + period * folds[:, None])
        wanted = (folds == 0) / period
        solution = np.linalg.lstsq(system, wanted, rcond=1e-12)[0]
        worst = max(worst, float(np.max(np.abs(system @ solution - wanted)) * period))
        dual[position + reach] = solution
    return dual, worst


@settles
def written_out(
    window: Float[np.ndarray, " taps"], *, num_bins: int, lead: int, inner: float = 1.0
) -> Float[np.ndarray, "channels taps"]:
    """Kernels that a window stands for, bins between 0 and Nyquist ``inner`` times.

    Args:
        window: [taps].
        num_bins: bins; N = 2 (num_bins - 1).
        lead: taps before the frame's position, where all phases are 0.
        inner: factor of bins that are neither 0 nor Nyquist: 1 for analysis, 2 for synthesis.

    Returns:
        Kernels [2 num_bins, taps]: cosine channels, then sine channels.
    """
    period = 2 * (num_bins - 1)
    offset = np.arange(len(window)) - lead
    # cos and sin of 2 pi b n / N; b n reduced modulo N in integers keeps all digits.
    phase = 2 * np.pi * ((np.arange(num_bins)[:, None] * offset) % period) / period
    weight = np.where(np.arange(num_bins) % (num_bins - 1) == 0, 1.0, inner)
    return np.concatenate([np.cos(phase), np.sin(phase)]) * np.tile(weight, 2)[:, None] * window


def cosine_channels(
    window: Float[np.ndarray, " taps"], *, gains: Float[np.ndarray, " bins"]
) -> Float[np.ndarray, "bins taps"]:
    """Kernels of a real uniform bank, ``g_k w[n] cos(2 pi k n / N)``.

    Args:
        window: w [taps], centred at ``taps // 2``.
        gains: g of every bin.

    Returns:
        float64 [bins, taps].
    """
    cosine = written_out(window, num_bins=len(gains), lead=len(window) // 2)[: len(gains)]
    return gains[:, None] * cosine


def cosine_gains(
    kernels: Float[np.ndarray, "bins taps"], *, tolerance: float = 1e-12
) -> Float[np.ndarray, " bins"] | None:
    """Gains of a real uniform bank: how it is told from other banks, by its kernels alone.

    Args:
        kernels: real channels, float64, centred at ``taps // 2``.
        tolerance: largest difference from :func:`cosine_channels`, relative to the largest tap.

    Returns:
        Gains of the bins relative to bin 0, whose kernel is the window; None for kernels that are
        no window at multiples of ``1 / N``, N = 2 (bins - 1), an even number of taps included.
    """
    if len(kernels) < 2 or kernels.shape[1] % 2 == 0:
        return None
    plain = cosine_channels(kernels[0], gains=np.ones(len(kernels)))
    energy = np.sum(plain**2, axis=1)
    if not np.all(energy > 0.0):
        return None
    # the least-squares gain of every channel
    gains = np.sum(kernels * plain, axis=1) / energy
    error = np.max(np.abs(kernels - gains[:, None] * plain))
    return gains if error <= tolerance * np.max(np.abs(kernels)) and np.all(gains) else None


@settles
def synthesis_kernels(
    dual: Float[np.ndarray, " dual_taps"], *, num_bins: int, lead: int, hop_length: int
) -> SynthesisKernels:
    """Synthesis kernels, dense, that a dual window stands for: the oracle of the fast path.

    Args:
        dual: dual window [dual_taps], a whole number of hops long.
        num_bins: bins.
        lead: taps before the frame's position.
        hop_length: samples between frames.

    Returns:
        Kernels [2 num_bins, dual_taps] with their noise gain; the residual is 0: not measured.
    """
    kernels = written_out(dual, num_bins=num_bins, lead=lead, inner=2.0)
    gain = float(np.sqrt(np.sum(kernels**2) / hop_length))
    return SynthesisKernels(kernels, lead, 0.0, gain)


@functools.lru_cache(maxsize=16)
def dft_matrices(num_bins: int, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
    """DFT matrices: cos and sin of 2 pi m b / N, exact by reduction of m b modulo N.

    Args:
        num_bins: bins b = 0 .. num_bins - 1; N = 2 (num_bins - 1).
        first: smallest offset m.
        last: largest one.

    Returns:
        Cosines and sines, float64 [last - first + 1, num_bins].
    """
    period = 2 * (num_bins - 1)
    phase = np.outer(np.arange(first, last + 1), np.arange(num_bins)) % period
    turns = 2 * np.pi * phase / period
    sine = np.sin(turns)
    # In floating point sin(pi) is not 0: here it is, where m b is a multiple of N / 2.
    sine[2 * phase % period == 0] = 0.0
    return np.cos(turns), sine


def inverse_dft_matrices(num_bins: int, first: int, last: int) -> list[np.ndarray]:
    """Inverse DFT matrices without 1 / N: :func:`dft_matrices` with inner bins counted twice.

    Args:
        num_bins: bins.
        first: smallest offset m.
        last: largest one.

    Returns:
        Cosines and sines times 1 for 0 and Nyquist, 2 between them, float64 [offsets, bins].
    """
    weight = np.full(num_bins, 2.0)
    weight[[0, -1]] = 1.0
    return [matrix * weight for matrix in dft_matrices(num_bins, first, last)]
