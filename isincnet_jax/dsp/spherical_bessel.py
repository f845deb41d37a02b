"""Spherical Bessel functions of order 0 and 1, whose gradients are right at and around 0.

``numpy.sinc`` takes care of 0 itself, but its derivative in JAX is infinite for arguments below
1e-20, where the cosine and the sine over x cancel.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

_SERIES_BELOW = 0.3


def sinc(x: Any, xp: ModuleType) -> Any:
    """Normalised sinc ``sin(pi x) / (pi x)``, the spherical Bessel function j0(pi x).

    Args:
        x: floating, any shape.
        xp: ``numpy`` or ``jax.numpy``.

    Returns:
        In the shape of x; 1 at 0.
    """
    angle = float(np.pi) * x
    small = xp.abs(angle) < _SERIES_BELOW
    safe = xp.where(small, 1.0, angle)
    squared = xp.where(small, angle, 0.0) ** 2
    # 1 - a^2 / 6 + a^4 / 120 - ...: the first omitted term is 1e-15 at 0.3.
    series = 1.0 - squared / 6.0 * (
        1.0 - squared / 20.0 * (1.0 - squared / 42.0 * (1.0 - squared / 72.0))
    )
    return xp.where(small, series, xp.sin(safe) / safe)


def spherical_bessel(x: Any, xp: ModuleType) -> Any:
    """Spherical Bessel function of order 1, ``j1(x) = (sin x - x cos x) / x^2``.

    Args:
        x: floating, any shape.
        xp: ``numpy`` or ``jax.numpy``.

    Returns:
        In the shape of x; 0 at 0.
    """
    small = xp.abs(x) < _SERIES_BELOW
    safe = xp.where(small, 1.0, x)
    direct = (xp.sin(safe) - safe * xp.cos(safe)) / safe**2
    squared = xp.where(small, x, 0.0) ** 2
    # x / 3 (1 - x^2 / 10 + x^4 / 280 - ...): the first omitted term is 1e-14 at 0.3.
    series = 1.0 - squared / 10.0 * (
        1.0 - squared / 28.0 * (1.0 - squared / 54.0 * (1.0 - squared / 88.0))
    )
    return xp.where(small, x / 3.0 * series, direct)
