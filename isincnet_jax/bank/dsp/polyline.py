"""Polyline shapes (PF-Net): bands whose spectral shape is a polyline through learned points.

Between two breakpoints ``c - w / 2`` and ``c + w / 2`` with amplitudes A and B the spectrum is a
line, and its share of the impulse response at time t is, with x = pi w t,

    ``w [(A + B) / 2 sin(x) / x + i (B - A) / 2 j1(x)] exp(2 pi i c t)``,

j1 the spherical Bessel function: a mean and a slope, each smooth at x = 0. The published form takes
differences of cosines over t^2 and loses three digits of float32 where w t is small.

The breakpoints lie inside the band, at its ends and in between; their distances are a softmax, so
that they stay in order whatever is learned. Amplitudes are ``|p / 2 + 1|``, of which the ratios
count. A ten-millionth of the largest is added to all, so that a band is left where breakpoints
coincide or amplitudes are 0; if all are 0, it is the rectangle.

References:
    W. Zhu et al., "PF-Net: personalized filter for speaker recognition from raw waveform", 2021,
        section 2. https://arxiv.org/abs/2105.14826
    Departure: the paper draws p from U(-1/2, 1/2); here all start at 0, where the shape is the
    rectangle, so that a bank and its exact inverse agree before training.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from isincnet_jax.dsp import spherical_bessel

NUM_POINTS = 5

_FLOOR = 1e-7


def initial_parameters(bins: int) -> dict[str, np.ndarray]:
    """Initial parameters: equidistant breakpoints of equal amplitudes.

    Args:
        bins: filters.

    Returns:
        ``heights`` p, float64 [bins, 5], and ``gaps``, logarithms of the distances between the
        breakpoints up to a constant, [bins, 4].
    """
    return {"heights": np.zeros((bins, NUM_POINTS)), "gaps": np.zeros((bins, NUM_POINTS - 1))}


def points(heights: Any, gaps: Any, xp: ModuleType) -> tuple[Any, Any]:
    """Breakpoints of the polyline, and their amplitudes.

    Args:
        heights: p, [..., P].
        gaps: logarithms of the distances up to a constant, [..., P - 1].
        xp: ``numpy`` or ``jax.numpy``.

    Returns:
        Amplitudes ``|p / 2 + 1|`` [..., P], and places as fractions of the band, 0 to 1, [..., P].
    """
    weights = xp.exp(gaps - xp.max(gaps, axis=-1, keepdims=True))
    shares = weights / xp.sum(weights, axis=-1, keepdims=True)
    ends = xp.cumsum(shares, axis=-1)
    places = xp.concatenate([xp.zeros_like(ends[..., :1]), ends], axis=-1)
    return xp.abs(0.5 * heights + 1.0), places


def envelope(
    time_s: Any, bandwidth_hz: Any, xp: ModuleType, *, heights: Any, gaps: Any
) -> tuple[Any, Any]:
    """Envelope of a polyline over the band, divided by its area: 1 at time 0.

    Args:
        time_s: seconds, broadcast against ``bandwidth_hz``.
        bandwidth_hz: width of the band, [bins, 1].
        xp: ``numpy`` or ``jax.numpy``.
        heights: p, [bins, 1, P].
        gaps: [bins, 1, P - 1].

    Returns:
        Real and imaginary part, [bins, time].
    """
    amplitudes, places = points(heights, gaps, xp)
    largest = xp.max(amplitudes, axis=-1, keepdims=True)
    amplitudes = amplitudes / xp.where(largest > 0, largest, 1.0) + _FLOOR
    # Widths w of the segments as fractions of the band, (A + B) / 2 and (B - A) / 2 of each
    shares = places[..., 1:] - places[..., :-1]
    means = 0.5 * (amplitudes[..., 1:] + amplitudes[..., :-1])
    slopes = 0.5 * (amplitudes[..., 1:] - amplitudes[..., :-1])
    area = xp.sum(shares * means, axis=-1)
    # B t, [bins, time, 1]; the segments' middles lie at the fractions c of the band, from -1/2 on
    cycles = (bandwidth_hz * time_s)[..., None]
    offset = 2.0 * float(np.pi) * cycles * (0.5 * (places[..., 1:] + places[..., :-1]) - 0.5)
    # w [(A + B) / 2 sin(x) / x + i (B - A) / 2 j1(x)] exp(2 pi i c B t), x = pi w B t
    even = shares * means * spherical_bessel.sinc(cycles * shares, xp)
    odd = shares * slopes * spherical_bessel.spherical_bessel(float(np.pi) * cycles * shares, xp)
    cosine, sine = xp.cos(offset), xp.sin(offset)
    real = xp.sum(even * cosine - odd * sine, axis=-1) / area
    imag = xp.sum(even * sine + odd * cosine, axis=-1) / area
    return real, imag
