"""Constant-Q bands octave by octave, each with its own number of bands: centres, widths, slopes.

Octave o of b_o bands has the centres ``f = fmin 2^(o + i / b_o)``, i = 0 .. b_o - 1, and the half
widths ``w = alpha f + gamma`` with ``alpha = (r - 1 / r) / 2``, ``r = 2^(1 / b_o)``: with gamma = 0
a band ends near the centres of its neighbours. Where the number changes, the broader one of the
two neighbours gives way: it is flat up to where the narrower one's slope stands, and has that slope
and ends at its neighbour's centre. So with gamma = 0 two windows overlap everywhere as they do
within an octave, and the frame is conditioned as well (Hann: 2, where symmetric windows from 8 to
32 bands have 100).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from isincnet_jax.dsp import settling


class PlacedBands(NamedTuple):
    """Bands that settings place, without the extra ones, by increasing centre; float64 [bands], Hz.

    Attributes:
        center: centres f.
        spacing: mean distance to the neighbours; of constant-Q bands ``alpha f``.
        width: half of the support.
        lower: where the window begins.
        upper: where it ends.
        rise: width of the rising slope.
        fall: width of the falling slope; between the slopes the window is flat.
        gain: height of the window, without unit: ``sqrt(spacing / slope)``.
        margin: how far inside of the first and of the last centre bands reach full density.
    """

    center: Float[np.ndarray, " bands"]
    spacing: Float[np.ndarray, " bands"]
    width: Float[np.ndarray, " bands"]
    lower: Float[np.ndarray, " bands"]
    upper: Float[np.ndarray, " bands"]
    rise: Float[np.ndarray, " bands"]
    fall: Float[np.ndarray, " bands"]
    gain: Float[np.ndarray, " bands"]
    margin: tuple[float, float]


def settled_bins_per_octave(value: object) -> int | tuple[int, ...]:
    """Bins per octave: one integer for all octaves, or a tuple of them from the lowest on.

    Args:
        value: an integer, or a list, tuple or array of integers.

    Returns:
        ``int``, or a tuple of them.

    Raises:
        SettingError: for what is no integer.
        ValueError: for numbers below 1, or none.

    Example:
        >>> settled_bins_per_octave([8, 8, 16])
        (8, 8, 16)
    """
    several = isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim > 0)
    values = tuple(value) if several else (value,)  # type: ignore[arg-type]
    numbers = tuple(settling.settled_integer("bins_per_octave", number) for number in values)
    if not numbers or min(numbers) < 1:
        raise ValueError(
            f"bins_per_octave={value!r} must be an integer >= 1, or one for every octave from the "
            "lowest on, e.g. (12, 24, 24)"
        )
    return numbers if several else numbers[0]


def place_bands(
    octaves: tuple[int, ...], *, fmin: float, gamma: float, most: int | None = None
) -> PlacedBands:
    """Bands of octaves of the given numbers of bands.

    Args:
        octaves: bands of every octave, from ``fmin`` on.
        fmin: the first centre in Hz.
        gamma: what is added to every half width, in Hz.
        most: how many bands to keep, all if None.

    Returns:
        The bands.

    Example:
        >>> place_bands((2, 3), fmin=100.0, gamma=0.0).center.round(1).tolist()
        [100.0, 141.4, 200.0, 252.0, 317.5]
    """
    per_octave = np.repeat(octaves, octaves)[:most]
    # (o b + i) / b: the exponents of b bands in every octave are the same as those of one number.
    position = np.concatenate([o * b + np.arange(b) for o, b in enumerate(octaves)])[:most]
    center = fmin * 2.0 ** (position / per_octave)
    spacing = np.array([_alpha(int(b)) for b in per_octave]) * center
    slope = spacing + gamma
    lower, upper = center - slope, center + slope
    rise, fall, width = slope.copy(), slope.copy(), slope.copy()
    for low in np.flatnonzero(np.diff(per_octave)):
        high = low + 1
        distance = center[high] - center[low]
        if per_octave[low] < per_octave[high]:
            upper[low], fall[low] = center[high], min(slope[high], distance)
        else:
            lower[high], rise[high] = center[low], min(slope[low], distance)
        width[low], width[high] = (upper - lower)[[low, high]] / 2
    # Bands of gamma > 0 are many deep: gamma = 0 has gain 1, and full density at its ends.
    gain, margin = np.sqrt(spacing / slope), (gamma, gamma)
    return PlacedBands(center, spacing, width, lower, upper, rise, fall, gain, margin)


def count_below(octaves: tuple[int, ...], *, fmin: float, limit: float, reach: bool) -> int:
    """Number of bands, from the first on, that do not exceed a limit.

    Args:
        octaves: bands of every octave, from ``fmin`` on.
        fmin: the first centre in Hz.
        limit: Hz.
        reach: whether the symmetric window, ``f (1 + alpha)``, must not exceed it, or the centre.

    Returns:
        Bands; one that lies at the limit but for rounding counts.
    """
    total = 0
    for octave, bands in enumerate(octaves):
        highest = limit / (1 + _alpha(bands)) if reach else limit
        if highest < fmin:
            break
        # Positions o b .. o b + b - 1 of this octave, against that of the limit.
        position = math.floor(bands * math.log2(highest / fmin) + 1e-9)
        total += min(max(position - octave * bands + 1, 0), bands)
        if position < (octave + 1) * bands - 1:
            break
    return total


def _alpha(bins_per_octave: int) -> float:
    """Half width of a band relative to its centre; its inverse is the Q."""
    ratio = 2 ** (1 / bins_per_octave)
    return (ratio - 1 / ratio) / 2
