"""Hops of the ragged layout: bands of like width share an array, and few arrays result.

A band of support s Hz may have any hop up to ``sample_rate / s`` samples. All hops divide one
*unit*, of which padded lengths and half slices are multiples, so that every array has whole frames.

==========  ========================================================================================
by octave   hops ``hop 2^j``: arrays of about an octave each. Bands of half-overlapping windows,
            which need 2 real numbers a sample, get 2.8 where all widths are as frequent
by divisor  hops are divisors of a unit of many divisors (:func:`divisor_hops`). Neighbours share
            the shorter of two hops wherever that costs least, up to a total of 12 % above what the
            supports need: about 2.3 numbers a sample
==========  ========================================================================================
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import scipy.fft
from jaxtyping import Float, Int

_MOST_HALVINGS = 6  # of the frame rate, by octave
_UNIT = 2.0  # most of the unit, over the longest hop
_NEGLIGIBLE = 0.0025  # of the numbers a sample: units that save less are not worth their length
_MOST_RATIO = 256  # of a hop and the shortest: narrower bands are few frames anyway
_MOST_FRAMES = 1.12  # over what the supports need: up to where bands are joined


def next_smooth(number: int) -> int:
    """Smooth number: the least from ``number`` on without prime factors but 2, 3 and 5.

    Args:
        number: 1 or more.

    Returns:
        At least ``number``, of fast FFTs.
    """
    found: Any = scipy.fft.next_fast_len(number, real=True)
    return int(found)


def octave_hops(
    hop: int, longest: Float[np.ndarray, " bands"]
) -> tuple[int, Int[np.ndarray, " bands"]]:
    """Hops by octave: the largest ``hop 2^j``, j up to 6, that each band allows.

    Args:
        hop: of the broadest bands, samples.
        longest: samples; how long a hop each band allows, [bands].

    Returns:
        Unit and hops in samples; the unit is even.

    Example:
        >>> unit, hops = octave_hops(10, np.array([100.0, 50.0, 25.0, 12.0]))
        >>> unit, hops.tolist()
        (80, [80, 40, 20, 10])
    """
    halvings = np.clip(np.floor(np.log2(longest / hop) + 1e-9).astype(int), 0, _MOST_HALVINGS)
    hops = hop << halvings
    return _even(int(hops.max())), hops


def choose_unit(longest: Float[np.ndarray, " bands"], *, hop_length: int | None = None) -> int:
    """Unit of many divisors, for :func:`divisor_hops`.

    Of the even numbers without prime factors but 2, 3 and 5, up to twice the longest hop, the one
    with which bands that take the largest divisor they allow have the fewest frames; the smallest
    of those that are as good to 0.0025 frames a sample.

    Args:
        longest: samples; how long a hop each band allows, [bands].
        hop_length: what must divide the unit too, which is then a multiple of it; None: nothing.

    Returns:
        Samples.

    Example:
        >>> choose_unit(np.array([100.0, 90.0, 61.0, 60.0, 31.0, 12.0]))
        180
    """
    longest = _capped(longest)
    factor = 1 if hop_length is None else hop_length
    most = max(int(_UNIT * longest.max()) // factor, 2)
    # All smooth numbers up to there, one after the other.
    smooth = [1]
    while smooth[-1] < most:
        smooth.append(next_smooth(smooth[-1] + 1))
    units = sorted({_even(factor * k) for k in smooth if k <= most})
    frames = [float(np.sum(1 / _largest_divisors(unit, longest))) for unit in units]
    least = min(frames) + _NEGLIGIBLE
    return next(unit for unit, one in zip(units, frames, strict=True) if one <= least)


def divisor_hops(unit: int, longest: Float[np.ndarray, " bands"]) -> Int[np.ndarray, " bands"]:
    """Hops that divide a unit: few different ones, and few more frames than the bands need.

    Bands begin with the largest divisor that they allow. Then the two neighbouring groups whose
    common hop costs least become one, again and again.

    Args:
        unit: of :func:`choose_unit`.
        longest: samples; how long a hop each band allows, [bands], by frequency.

    Returns:
        Hops in samples.

    Example:
        >>> divisor_hops(180, np.array([100.0, 90.0, 61.0, 60.0, 31.0, 12.0])).tolist()
        [60, 60, 60, 60, 30, 12]
    """
    longest = _capped(longest)
    hops = _largest_divisors(unit, longest)
    # (bands, hop) of neighbours of one hop.
    edges = [0, *(np.flatnonzero(np.diff(hops)) + 1).tolist(), len(hops)]
    groups = [(stop - start, int(hops[start])) for start, stop in itertools.pairwise(edges)]
    spare = _MOST_FRAMES * np.sum(1 / longest) - np.sum(1 / hops)
    while len(groups) > 1:
        joined = [(a + b, min(p, q)) for (a, p), (b, q) in itertools.pairwise(groups)]
        costs = [
            whole / shorter - a / p - b / q
            for (whole, shorter), ((a, p), (b, q)) in zip(
                joined, itertools.pairwise(groups), strict=True
            )
        ]
        cheapest = int(np.argmin(costs))
        if costs[cheapest] > spare:
            break
        spare -= costs[cheapest]
        groups[cheapest : cheapest + 2] = [joined[cheapest]]
    numbers, shared = zip(*groups, strict=True)
    return np.repeat(shared, numbers)


def largest_divisor(unit: int, most: float) -> int:
    """Largest divisor of a unit up to a limit, which it may miss by rounding.

    Args:
        unit: an integer.
        most: at least 1.

    Returns:
        The divisor.

    Example:
        >>> largest_divisor(180, 19.0)
        18
    """
    return int(_largest_divisors(unit, np.array([most * (1 + 1e-9)]))[0])


def _largest_divisors(unit: int, longest: np.ndarray) -> np.ndarray:
    small = np.arange(1, math.isqrt(unit) + 1)
    small = small[unit % small == 0]
    divisors = np.union1d(small, unit // small)
    return divisors[np.searchsorted(divisors, longest, side="right") - 1]


def _capped(longest: np.ndarray) -> np.ndarray:
    """Longest hops that count, against rounding a little longer."""
    longest = longest * (1 + 1e-9)
    return np.minimum(longest, _MOST_RATIO * longest.min())


def _even(unit: int) -> int:
    return unit * (1 + unit % 2)
