"""Bands for plots: their edges checked, and the responses of the filters between them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from isincnet_jax.bank.dsp import kernels
from isincnet_jax.dsp import checks
from isincnet_jax.frontends import sinc_bands


def checked_bands(
    low_hz: Float[np.ndarray, "*axes filters"], high_hz: Float[np.ndarray, "*axes filters"]
) -> tuple[np.ndarray, np.ndarray]:
    """Band edges, checked.

    Args:
        low_hz: lower edges in Hz, [..., filters].
        high_hz: upper edges, likewise.

    Returns:
        Lower and upper edges in float64.

    Raises:
        ValueError: unless both have the same axes, are not empty and finite, and
            ``0 <= low_hz < high_hz`` holds.
    """
    low, high = np.asarray(low_hz, np.float64), np.asarray(high_hz, np.float64)
    if low.shape != high.shape or low.ndim < 1 or low.size == 0:
        raise ValueError(
            f"low_hz.shape={low.shape} and high_hz.shape={high.shape}: the edges of the same "
            "filters, one or more, must have the same axes"
        )
    if not (np.all(np.isfinite(low)) and np.all(np.isfinite(high))):
        raise ValueError("low_hz and high_hz must be finite")
    if np.any(low < 0) or np.any(low >= high):
        raise ValueError(
            "0 <= low_hz < high_hz must hold for every filter; "
            f"low_hz goes down to {low.min():g}, the narrowest band has {(high - low).min():g} Hz"
        )
    return low, high


def check_nyquist(high_hz: np.ndarray, sample_rate: float) -> None:
    """Checks that bands lie below the Nyquist frequency.

    Args:
        high_hz: upper edges in Hz, of any shape.
        sample_rate: Hz.

    Raises:
        ValueError: for an edge more than 1e-6 above half of the sample rate, or a rate that is not
            positive.
    """
    checks.check_rate(sample_rate)
    highest = float(np.max(high_hz))
    if highest > (1 + 1e-6) * sample_rate / 2:
        raise ValueError(
            f"high_hz={highest:g} lies above half of sample_rate={sample_rate:g}; "
            f"is the sample rate {2 * highest:g} Hz or more?"
        )


def band_kernels(
    low_hz: Float[np.ndarray, " filters"],
    high_hz: Float[np.ndarray, " filters"],
    *,
    sample_rate: float,
    kernel_size: int = 251,
    shape: str = "sinc",
) -> np.ndarray:
    """Kernels of SincNet's filters between band edges, of response 1 in the middle.

    Args:
        low_hz: lower edges, Hz, [filters].
        high_hz: upper edges, Hz, at most half the sample rate.
        sample_rate: Hz.
        kernel_size: taps, odd, 3 or more.
        shape: a name in :data:`.shapes.SHAPES`.

    Returns:
        Complex128 [filters, taps].

    Raises:
        ValueError: for edges above Nyquist, an unknown shape, or an even kernel size.
    """
    low, high = checked_bands(low_hz, high_hz)
    check_nyquist(high, sample_rate)
    if kernel_size < 3 or kernel_size % 2 == 0:
        raise ValueError(f"kernel_size={kernel_size} must be odd and 3 or more")
    return kernels.design_kernels(
        (low + high) / 2,
        high - low,
        sinc_bands.band_window("reference", kernel_size),
        sample_rate=sample_rate,  # type: ignore[arg-type]
        shape=shape,
        component="complex",
        normalization="gain",
    )


def responses(
    filters: np.ndarray, frequency_hz: Float[np.ndarray, " points"], *, sample_rate: float
) -> Float[np.ndarray, "filters points"]:
    """Frequency responses of filters at any frequencies: their gains.

    Args:
        filters: real or complex, [filters, taps].
        frequency_hz: Hz, [points].
        sample_rate: Hz.

    Returns:
        ``|sum_n h[n] exp(-2 pi i f n / sample_rate)|``, float64 [filters, points].
    """
    offset = np.arange(filters.shape[1]) - filters.shape[1] // 2
    waves = np.exp(-2j * np.pi * np.outer(offset, frequency_hz / sample_rate))
    return np.abs(filters @ waves)
