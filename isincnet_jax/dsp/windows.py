"""Windows by their names in SciPy, the common ones without SciPy's signal package.

Importing :mod:`scipy.signal` takes longer than all else that a first encoding needs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

# a_k of w[n] = sum_k a_k cos(k t_n), t from -pi to pi
_COSINE_SERIES = {
    "hann": (0.5, 0.5),
    "hamming": (0.54, 1.0 - 0.54),
    "blackman": (0.42, 0.50, 0.08),
    "boxcar": (1.0,),
}


def get_window(window: Any, length: int, *, fftbins: bool) -> Float[np.ndarray, " length"]:
    """Window, bit by bit that of :func:`scipy.signal.get_window`.

    Args:
        window: name, or what else that function takes.
        length: samples, 1 or more.
        fftbins: periodic, as for a DFT; symmetric if not.

    Returns:
        float64 [length].

    Raises:
        ValueError: for what SciPy does not know.

    Example:
        >>> get_window("hann", 4, fftbins=True)
        array([0. , 0.5, 1. , 0.5])
    """
    series = _COSINE_SERIES.get(window) if isinstance(window, str) else None
    if series is None or length < 2:
        import scipy.signal  # noqa: PLC0415  (half a second; only here)

        return np.asarray(scipy.signal.get_window(window, length, fftbins=fftbins), np.float64)
    turns = np.linspace(-np.pi, np.pi, length + fftbins)
    total = np.zeros_like(turns)
    for order, weight in enumerate(series):
        total += weight * np.cos(order * turns)
    return total[:length]
