"""Spectral shapes of a band, as the envelopes of their impulse responses.

A filter is ``exp(i omega n)`` times an envelope times a window (Pariente et al., 2020,
section 2.1). The envelope is the inverse Fourier transform of the band's shape around 0 Hz,
scaled to 1 at the centre tap. Every shape is defined by its full width at half maximum, the
bandwidth, so that shapes can be exchanged without touching the scale.

Adding a shape is one function of (time in seconds, bandwidth in Hz) and one entry in
:data:`ENVELOPES`; it must use the array functions of ``xp`` only, so that the same code
designs in float64 NumPy and learns in JAX.

References:
    M. Pariente et al., "Filterbank design for end-to-end speech separation", ICASSP 2020,
        section 2.1. https://arxiv.org/abs/1910.10400
    M. Ravanelli and Y. Bengio, "Speaker recognition from raw waveform with SincNet", SLT
        2018, equation 4 (the rectangle, whose transform is the sinc).
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

Envelope = Callable[[Any, Any, ModuleType], Any]


def _ones(time_s: Any, bandwidth_hz: Any, xp: ModuleType) -> Any:
    """No envelope: the window alone shapes the filter."""
    return xp.ones_like(time_s * bandwidth_hz)


def _rectangle(time_s: Any, bandwidth_hz: Any, xp: ModuleType) -> Any:
    """Rectangle of width B: sin(pi B t) / (pi B t)."""
    return xp.sinc(bandwidth_hz * time_s)


def _gauss(time_s: Any, bandwidth_hz: Any, xp: ModuleType) -> Any:
    """Gauss with standard deviation B / (2 sqrt(2 ln 2)): a Gauss in time too."""
    sigma_hz = bandwidth_hz / (2.0 * float(np.sqrt(2.0 * np.log(2.0))))
    return xp.exp(-2.0 * (float(np.pi) * sigma_hz * time_s) ** 2)


def _triangle(time_s: Any, bandwidth_hz: Any, xp: ModuleType) -> Any:
    """Triangle with a base of 2 B: the rectangle convolved with itself."""
    return xp.sinc(bandwidth_hz * time_s) ** 2


def _raised_cosine(time_s: Any, bandwidth_hz: Any, xp: ModuleType) -> Any:
    """(1 + cos(pi f / B)) / 2 on |f| < B, as a sum of three sincs (no removable pole)."""
    scaled = 2.0 * bandwidth_hz * time_s
    return xp.sinc(scaled) + 0.5 * (xp.sinc(scaled - 1.0) + xp.sinc(scaled + 1.0))


ENVELOPES: dict[str, Envelope] = {
    "none": _ones,
    "sinc": _rectangle,
    "gauss": _gauss,
    "triangle": _triangle,
    "raised_cosine": _raised_cosine,
}
"""Envelope functions by the name of their spectral shape."""


def envelope(time_s: Any, bandwidth_hz: Any, *, shape: str, xp: ModuleType = np) -> Any:
    """Evaluates the impulse-response envelope of a spectral shape.

    Args:
        time_s: time in seconds, broadcast against ``bandwidth_hz``.
        bandwidth_hz: full width at half maximum of the band, in Hz. Any pair of units whose
            product is dimensionless serves as well.
        shape: a name in :data:`ENVELOPES`.
        xp: ``numpy`` (design) or ``jax.numpy`` (learning).

    Returns:
        The envelope, 1 at time 0, in the broadcast shape.

    Raises:
        ValueError: for an unknown shape.
    """
    if shape not in ENVELOPES:
        raise ValueError(f"shape={shape!r} is unknown; use one of {', '.join(ENVELOPES)}")
    return ENVELOPES[shape](time_s, bandwidth_hz, xp)
