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


def divisor_hops(
    hop: int, longest: Float[np.ndarray, " bands"]
) -> tuple[int, Int[np.ndarray, " bands"]]:
    """Hops that divide a unit: few different ones, and few more frames than the bands need.

    The unit is ``hop k`` with k of the prime factors 2, 3 and 5, up to twice the longest hop: the
    one with which bands that take the largest divisor they allow have the fewest frames. Then the
    two neighbouring groups whose common hop costs least become one, again and again.

    Args:
        hop: of the matrix layout, samples, which divides the unit.
        longest: samples; how long a hop each band allows, [bands], by frequency.

    Returns:
        Unit and hops in samples; the unit is even.

    Example:
        >>> unit, hops = divisor_hops(12, np.array([100.0, 90.0, 61.0, 60.0, 31.0, 12.0]))
        >>> unit, hops.tolist()
        (180, [60, 60, 60, 60, 30, 12])
    """
    longest = np.minimum(longest * (1 + 1e-9), _MOST_RATIO * hop)
    most = max(int(_UNIT * longest.max()) // hop, 2)
    units = sorted({_even(hop * k) for k in range(1, most + 1) if next_smooth(k) == k})
    found = {unit: _largest_divisors(unit, longest) for unit in units}
    least = min(np.sum(1 / hops) for hops in found.values())
    unit = next(u for u in units if np.sum(1 / found[u]) <= least + _NEGLIGIBLE)
    hops = found[unit]
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
    return unit, np.repeat(shared, numbers)


def _largest_divisors(unit: int, longest: np.ndarray) -> np.ndarray:
    divisors = np.flatnonzero(unit % np.arange(1, unit + 1) == 0) + 1
    return divisors[np.searchsorted(divisors, longest, side="right") - 1]


def _even(unit: int) -> int:
    return unit * (1 + unit % 2)
