"""Integrated loudness, and the gain that brings a clip to a target."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from isincnet_jax import extras

_BLOCK_S = 0.4  # the gating block of BS.1770


def require_meter(loudness_db: float | None) -> None:
    """Refuses a loudness that nothing here can measure, before anything is decoded.

    Args:
        loudness_db: wanted, LUFS; None needs no meter.

    Raises:
        ImportError: without pyloudnorm, unless ``loudness_db`` is None.
    """
    if loudness_db is not None:
        extras.require("pyloudnorm")


def integrated_loudness(waveform: Float[np.ndarray, " time"], *, sample_rate: int) -> float:
    """Gated loudness of a mono clip.

    A clip shorter than the gating block of 0.4 s is measured on its repetition to at least that
    length, so that a steady sound measures the same however short it is.

    Args:
        waveform: float [time].
        sample_rate: Hz, above 3,000: the weighting has its shelf at 1,500 Hz.

    Returns:
        LUFS; minus infinity for silence and for what lies below the absolute gate, -70 LUFS.

    Raises:
        ImportError: without pyloudnorm.
        ValueError: for a rate that is too low.

    References:
        ITU-R BS.1770-4 (2015), annex 1; C. Steinmetz and J. Reiss, "pyloudnorm: A simple yet
        flexible loudness meter in Python", AES Convention 150 (2021).
    """
    if sample_rate <= 3_000:
        raise ValueError(f"sample_rate={sample_rate}: loudness needs more than 3000 Hz")
    with extras.importing("pyloudnorm"):
        import pyloudnorm  # noqa: PLC0415
    from isincnet_jax.dsp import checks  # noqa: PLC0415 - JAX

    checks.check_floating_waveform(waveform)
    if not np.any(waveform):
        return -math.inf
    shortest = math.ceil(_BLOCK_S * sample_rate)
    # Whole repetitions, one for clips that are long enough.
    repeated = np.tile(waveform, -(-shortest // len(waveform)))
    meter = pyloudnorm.Meter(sample_rate, block_size=_BLOCK_S)
    with np.errstate(all="ignore"):  # blocks of silence have minus infinity
        return float(meter.integrated_loudness(repeated.astype(np.float64)))


def loudness_gain(
    waveform: Float[np.ndarray, " time"], *, sample_rate: int, loudness_db: float
) -> float:
    """The factor that brings a clip to a loudness, limited so that its peak is at most 1.

    Clips without a measurable loudness (silence, below -70 LUFS) keep their level: gain 1.

    Args:
        waveform: float [time].
        sample_rate: Hz.
        loudness_db: target, LUFS.

    Returns:
        Above 0; an amplitude, not dB.

    Raises:
        ImportError: without pyloudnorm.
        ValueError: for a rate that is too low.
    """
    measured_db = integrated_loudness(waveform, sample_rate=sample_rate)
    # Loudness is a level of power: a gain of g adds 20 log10(g) LU.
    gain = 10 ** ((loudness_db - measured_db) / 20) if math.isfinite(measured_db) else 1.0
    peak = float(np.max(np.abs(waveform), initial=0.0))
    return min(gain, 1 / peak) if peak > 0 else 1.0
