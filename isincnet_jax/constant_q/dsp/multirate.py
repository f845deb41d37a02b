"""Multirate kernels: long narrow-band kernels as short ones for a signal of a lower rate.

A kernel ``w`` whose spectrum ends well below the Nyquist frequency is, to a tolerance that is
known when it is designed, a short kernel ``v`` seen through a low-pass filter,

    w[n] ~ sum_m v[m] h[n - D m],    so that    <x, w> ~ sum_m (h * x)[D m] conj(v[m]),

and the filtered signal is needed at every D-th sample only. ``h`` is a cascade of one symmetric
half-band filter of odd length (no delay at all), D a power of two. Given ``h``, the best ``v``
solves banded normal equations, whose residue is the relative error of the kernel.

A hop that D does not divide needs samples in between: the signal then keeps the lowest rate whose
step divides the hop, later filters are spread by zeros (algorithme a trous), and frames that fall
on the same residue are taken together. Every hop is exact in this sense.

This file designs, in float64 NumPy; :mod:`.multirate_analysis` applies.

References:
    R. E. Crochiere and L. R. Rabiner, "Multirate Digital Signal Processing", Prentice-Hall, 1983,
        sections 2.7 (half-band filters) and 5.2 (narrow-band filters by decimation).
    M. Vetterli and J. Kovacevic, "Wavelets and Subband Coding", 1995, section 5.2 (projections).
    M. J. Shensa, "The discrete wavelet transform: wedding the a trous and Mallat algorithms",
        IEEE Trans. Signal Processing 40, 1992. https://doi.org/10.1109/78.157290
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.linalg
from jaxtyping import Complex, Float

_MOST_LEVELS = 12
_EXTRA_TAPS = 3  # of a fit beyond the kernel's own support, on either side
_PRODUCTS_PER_SHIFT = 3.0  # measured cost of a shifted sum of the low-pass


class Kernel(NamedTuple):
    """Kernel ``w[n]``, complex, ``n = first, first + 1, ...`` relative to a frame's position."""

    first: int
    taps: Complex[np.ndarray, " taps"]


class KernelGroup(NamedTuple):
    """Kernel group: neighbouring bins that run together, at the rate ``sample_rate / 2^level``.

    Attributes:
        level: halvings of the rate.
        first: index of the first tap relative to the frame's position, in steps of ``2^level``.
        taps: [bins, taps] complex128, zero-padded to a common support.
    """

    level: int
    first: int
    taps: Complex[np.ndarray, "bins taps"]


@functools.lru_cache(maxsize=8)
def halfband(tolerance: float) -> Float[np.ndarray, " taps"]:
    """Half-band low-pass filter of odd length and gain 1 at 0 Hz: a sinc under a Kaiser window.

    Even taps but the middle one (1/2) are 0. 55 taps (110 dB) serve tolerances below 1e-4, 31
    taps (80 dB) the others; the kernels behind the filter undo its passband ripple, so that only
    its attenuation of images counts.

    Args:
        tolerance: largest relative error of the kernels behind it.

    Returns:
        Taps in float64, symmetric around the middle, of sum 1.
    """
    reach, beta = (27, 11.0) if tolerance < 1e-4 else (15, 8.0)
    n = np.arange(-reach, reach + 1)
    odd = n % 2 != 0
    taps = np.where(odd, np.sinc(n / 2) * np.kaiser(len(n), beta), 0.0)
    taps *= 0.5 / taps.sum()
    taps[reach] = 0.5
    return taps


def _halve(kernel: Kernel, filter_taps: Float[np.ndarray, " filter"]) -> Kernel:
    """Correlates with the half-band filter at every second sample: ``sum_n w[n] h[n - 2 m]``."""
    reach = len(filter_taps) // 2
    low = -((reach - kernel.first) // 2)
    high = (kernel.first + len(kernel.taps) - 1 + reach) // 2
    padded = np.zeros(2 * (high - low) + len(filter_taps), kernel.taps.dtype)
    offset = kernel.first - (2 * low - reach)
    padded[offset : offset + len(kernel.taps)] = kernel.taps
    return Kernel(low, np.convolve(padded, filter_taps, mode="valid")[::2])


@functools.lru_cache(maxsize=64)
def _gram(tolerance: float, level: int) -> Float[np.ndarray, " lags"]:
    """Inner products of the cascade with itself, moved by ``0, 1, 2 ...`` steps of ``2^level``."""
    if level == 0:
        return np.ones(1)
    taps = halfband(tolerance)
    before = _gram(tolerance, level - 1)
    # <H', H' moved by 2 k> = sum_j a[j] G[2 k - j], with a the filter's autocorrelation.
    both_sides = Kernel(1 - len(before), np.concatenate([before[:0:-1], before]))
    lags = _halve(both_sides, np.convolve(taps, taps[::-1]))
    return lags.taps[-lags.first :]


def support(kernel: Kernel, level: int) -> tuple[int, int]:
    """Support of a kernel's fit in steps of ``2^level``: 3 taps more at either end.

    Args:
        kernel: at the full rate.
        level: halvings of the rate; 0 keeps the kernel's own support.

    Returns:
        Indices of the first and the last tap, relative to the frame's position.
    """
    if level == 0:
        return kernel.first, kernel.first + len(kernel.taps) - 1
    step = 2**level
    first = -(-kernel.first // step) - _EXTRA_TAPS
    return first, (kernel.first + len(kernel.taps) - 1) // step + _EXTRA_TAPS


def fit_kernel(
    kernel: Kernel,
    *,
    level: int,
    tolerance: float,
    span: tuple[int, int] | None = None,
) -> tuple[Kernel, float]:
    """Least-squares fit of a kernel by a short one behind ``level`` half-band filters.

    Args:
        kernel: at the full rate.
        level: halvings.
        tolerance: chooses the filter, see :func:`halfband`.
        span: first and last tap of the result; :func:`support` if None.

    Returns:
        The kernel at the lower rate, and the error ``||w - w_fit|| / ||w||``.
    """
    first, last = support(kernel, level) if span is None else span
    # Normal equations G v = b of min_v ||w - sum_m v[m] h_m||, h_m the cascade moved by m steps:
    # b[m] = <h_m, w>, filtering and halving again and again; G[m, n] = <h_m, h_n> = gram[m - n].
    moments = kernel
    for _ in range(level):
        moments = _halve(moments, halfband(tolerance))
    target = np.zeros(last - first + 1, np.complex128)
    start = max(first, moments.first)
    stop = min(last + 1, moments.first + len(moments.taps))
    if stop > start:
        target[start - first : stop - first] = moments.taps[
            start - moments.first : stop - moments.first
        ]
    # solveh_banded wants the diagonals of the lower half as rows.
    gram = _gram(tolerance, level)[: len(target)]
    banded = np.repeat(gram[:, None], len(target), axis=1)
    parts = np.stack([np.real(target), np.imag(target)], axis=1)
    solved = scipy.linalg.solveh_banded(banded, parts, lower=True)
    taps = solved[:, 0] + 1j * solved[:, 1]
    # At the minimum ||w - fit||^2 = ||w||^2 - <b, v>, 0 or more but for rounding.
    energy = np.sum(np.abs(kernel.taps) ** 2)
    residue = max(energy - np.vdot(target, taps).real, 0.0)
    return Kernel(first, taps), float(np.sqrt(residue / energy))


def band_step(hop_length: int, level: int) -> int:
    """Step of the signal of a level: the largest power of 2 that divides hop and ``2^level``.

    Args:
        hop_length: samples between frames.
        level: halvings of the rate that the kernels have.

    Returns:
        Samples of the full rate between neighbouring samples of the signal.
    """
    return int(np.gcd(hop_length, 2**level))


def choose_levels(
    kernels: Sequence[Kernel],
    *,
    hop_length: int,
    tolerance: float,
) -> list[int]:
    """Rate levels of all kernels: as many halvings as the tolerance allows, if they pay.

    Walking from the last bin (the shortest kernel) to the first, the level rises as long as the
    fit stays within the tolerance. The highest level of all is then the one with the least work
    per frame, a kernel of n taps counting as 2 n products and every shift of the elementwise
    low-pass as 3 (its measured cost); a hop that is not divisible by ``2^level`` makes
    filtering dearer, and fewer levels are used.

    Args:
        kernels: by ascending frequency.
        hop_length: samples between frames.
        tolerance: largest relative error of a kernel; 0 keeps all at the full rate.

    Returns:
        The level of every kernel.
    """
    levels = [0] * len(kernels)
    if tolerance <= 0:
        return levels
    level = 0
    for index in reversed(range(len(kernels))):
        # Longer kernels have lower bands: the level of the last one is where to start.
        while level and fit_kernel(kernels[index], level=level, tolerance=tolerance)[1] > tolerance:
            level -= 1
        # No kernel is left with less than 4 taps of its own at the lower rate.
        while level < _MOST_LEVELS and len(kernels[index].taps) >= 2 ** (level + 3):
            error = fit_kernel(kernels[index], level=level + 1, tolerance=tolerance)[1]
            if error > tolerance:
                break
            level += 1
        levels[index] = level

    def work(highest: int) -> float:
        total = 0.0
        for kernel, level in zip(kernels, levels, strict=True):
            first, last = support(kernel, min(level, highest))
            total += 2 * (last - first + 1)
        # So many taps of the filter are not 0; a stage gives hop / step samples per frame.
        shifts = len(halfband(tolerance)) // 2 + 2
        for stage in range(1, highest + 1):
            total += _PRODUCTS_PER_SHIFT * shifts * hop_length / band_step(hop_length, stage)
        return total

    highest = min(range(max(levels) + 1), key=work)
    return [min(level, highest) for level in levels]


def group_kernels(
    kernels: Sequence[Kernel],
    *,
    levels: Sequence[int],
    tolerance: float,
    longest_ratio: float = 2.1,
) -> tuple[KernelGroup, ...]:
    """Kernel groups: fits at the chosen levels, neighbours of similar length together.

    Args:
        kernels: by ascending frequency.
        levels: of :func:`choose_levels`.
        tolerance: as there.
        longest_ratio: largest ratio of the lengths within a group. About an octave is fastest:
            convolutions of few channels waste more than the zeros of shorter kernels.

    Returns:
        Groups by ascending frequency; their bins together are all bins.
    """
    groups: list[KernelGroup] = []
    # From the highest bin, the shortest kernel, down: a group ends where the level changes or
    # lengths exceed ``longest_ratio`` times its shortest.
    stop = len(kernels)
    while stop:
        level = levels[stop - 1]
        spans = [support(kernels[stop - 1], level)]
        shortest = spans[0][1] - spans[0][0] + 1
        start = stop - 1
        while start and levels[start - 1] == level:
            low, high = support(kernels[start - 1], level)
            if high - low + 1 > longest_ratio * shortest:
                break
            spans.append((low, high))
            start -= 1
        # The union of the supports holds all; shorter kernels are padded with zeros.
        span = (min(low for low, _ in spans), max(high for _, high in spans))
        rows = [place_kernel(kernel, level, tolerance, span) for kernel in kernels[start:stop]]
        groups.append(KernelGroup(level, span[0], np.stack(rows)))
        stop = start
    return tuple(reversed(groups))


def place_kernel(
    kernel: Kernel, level: int, tolerance: float, span: tuple[int, int]
) -> Complex[np.ndarray, " taps"]:
    """Kernel fit on its own support, zero-padded to a common one; the kernel itself at level 0.

    Args:
        kernel: at the full rate.
        level: halvings of the rate.
        tolerance: chooses the filter, see :func:`halfband`.
        span: first and last tap of the result, which contain the fit's.

    Returns:
        Complex128 [last - first + 1].
    """
    short = kernel if level == 0 else fit_kernel(kernel, level=level, tolerance=tolerance)[0]
    row = np.zeros(span[1] - span[0] + 1, np.complex128)
    offset = short.first - span[0]
    row[offset : offset + len(short.taps)] = short.taps
    return row
