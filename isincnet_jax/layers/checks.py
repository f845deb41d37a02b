"""Checks that spectrogram layers share: of the waveform at the call, of numbers at construction."""

from __future__ import annotations

import numpy as np

from isincnet_jax.dsp.checks import (
    as_floating,
    as_waveform,
    check_complex,
    check_floating,
    check_floating_waveform,
)

__all__ = [
    "as_floating",
    "as_waveform",
    "check_band",
    "check_complex",
    "check_floating",
    "check_floating_waveform",
    "check_positive_integers",
]


def check_positive_integers(**values: int | None) -> None:
    """Raises ValueError unless every value is None or an integer of at least 1."""
    for name, value in values.items():
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            raise ValueError(f"{name}={value!r} must be an integer of at least 1")


def check_band(*, fmin: float, fmax: float, sample_rate: float) -> None:
    """Raises ValueError unless ``0 <= fmin < fmax <= sample_rate / 2`` (Hz)."""
    if sample_rate <= 0:
        raise ValueError(f"sample_rate={sample_rate} must be positive (Hz)")
    if not 0 <= fmin < fmax:
        raise ValueError(f"fmin={fmin} and fmax={fmax}: 0 <= fmin < fmax must hold (Hz)")
    if fmax > sample_rate / 2:
        raise ValueError(
            f"fmax={fmax} lies above half of sample_rate={sample_rate}; use fmax <= "
            f"{sample_rate / 2:g}"
        )
