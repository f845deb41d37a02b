"""Chroma: weights that fold the bins of a spectrum onto the pitch classes of an octave."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

from isincnet_jax.dsp import checks
from isincnet_jax.dsp.settling import settles
from isincnet_jax.typing import Array

_A0_HZ = 27.5
_LOWEST_C_HZ = 440.0 * 2.0 ** (-45 / 12)


@settles
@functools.lru_cache(maxsize=32)
def chroma_weights(
    sample_rate: float,
    *,
    n_fft: int,
    n_chroma: int = 12,
    tuning: float = 0.0,
    ctroct: float = 5.0,
    octwidth: float | None = 2.0,
    norm: float | None = 2.0,
    base_c: bool = True,
) -> Float[np.ndarray, "chroma bins"]:
    """Chroma weights: Gaussian bumps around pitch classes, by each STFT bin's distance from them.

    A bin at f has the pitch ``q = n_chroma log2(f / a)``, where ``a = 27.5 Hz * 2^(tuning /
    n_chroma)``; with d its distance from class c on the circle of ``n_chroma`` steps, the weight is
    ``exp(-(2 d / w)^2 / 2)``, w being the distance to the next bin but at least 1 step. Each bin's
    weights are divided by their norm and multiplied by ``exp(-((q / n_chroma - ctroct) /
    octwidth)^2 / 2)``. Bin 0 is taken to lie one and a half octaves below bin 1.

    Args:
        sample_rate: Hz.
        n_fft: samples per frame.
        n_chroma: pitch classes of an octave.
        tuning: deviation from A = 440 Hz in fractions of a class.
        ctroct: octave of the largest weight, counted from A0 = 27.5 Hz.
        octwidth: width of the octave weighting; None for none.
        norm: p of the norm over the classes of a bin; inf, or None for none.
        base_c: whether class 0 is C; A otherwise, and with fewer than 12 classes.

    Returns:
        Float64 [n_chroma, 1 + n_fft // 2], read only; as ``librosa.filters.chroma``.

    Raises:
        ValueError: for fewer than 1 class, fewer than 3 samples per frame, or sizes not positive.

    References:
        D. Ellis, "Chroma feature analysis and synthesis", 2007.
            https://www.ee.columbia.edu/~dpwe/resources/matlab/chroma-ansyn/
    """
    if n_chroma < 1 or n_fft < 3:
        raise ValueError(f"n_chroma={n_chroma} must be 1 or more, n_fft={n_fft} 3 or more")
    if octwidth is not None and octwidth <= 0:
        raise ValueError(f"octwidth={octwidth} must be positive (octaves), or None")
    check_norm(norm)
    reference_hz = _A0_HZ * 2.0 ** (tuning / n_chroma)
    # One bin more than the spectrum has, for the width of the last.
    above = np.arange(1, 2 + n_fft // 2) * (sample_rate / n_fft)
    pitch = n_chroma * np.log2(above / reference_hz)
    # Bin 0 has no logarithm.
    pitch = np.concatenate([[pitch[0] - 1.5 * n_chroma], pitch])
    width = np.maximum(np.diff(pitch), 1.0)
    pitch = pitch[:-1]
    half = np.round(n_chroma / 2)
    # d = ((q - c + n / 2) mod n) - n / 2, the shorter way around the circle; [classes, bins].
    distance = np.mod(pitch - np.arange(n_chroma)[:, None] + half, n_chroma) - half
    weights = np.exp(-0.5 * (2 * distance / width) ** 2)
    if norm is not None:
        weights = weights / np.linalg.norm(weights, ord=norm, axis=0, keepdims=True)
    if octwidth is not None:
        weights = weights * np.exp(-0.5 * ((pitch / n_chroma - ctroct) / octwidth) ** 2)
    if base_c:
        # Pitches count from A, and C lies 3 semitones above it.
        weights = np.roll(weights, -3 * (n_chroma // 12), axis=0)
    weights.setflags(write=False)
    return weights


@settles
@functools.lru_cache(maxsize=32)
def cq_to_chroma(
    n_bins: int,
    *,
    bins_per_octave: int = 12,
    n_chroma: int = 12,
    fmin: float | None = None,
    base_c: bool = True,
) -> Float[np.ndarray, "chroma bins"]:
    """Chroma weights of constant-Q bins, 1 within their class: ``chroma = weights @ magnitude``.

    ``bins_per_octave / n_chroma`` neighbouring bins share a class, centred on its pitch, and
    octaves are added up. For :func:`.auditory.weigh_bins`, on magnitudes of a CQT.

    Args:
        n_bins: bins of the CQT.
        bins_per_octave: of the CQT; a multiple of ``n_chroma``.
        n_chroma: pitch classes of an octave.
        fmin: frequency of the first bin, Hz; C1 = 32.70 Hz if None.
        base_c: whether class 0 is C; A otherwise.

    Returns:
        Float64 [n_chroma, n_bins] of 0 and 1, read only; as ``librosa.filters.cq_to_chroma``.

    Raises:
        ValueError: if the bins of an octave are no multiple of the classes.
    """
    if n_bins < 1 or n_chroma < 1 or bins_per_octave < 1 or bins_per_octave % n_chroma:
        raise ValueError(
            f"n_bins={n_bins}, bins_per_octave={bins_per_octave}, n_chroma={n_chroma}: the bins of "
            "an octave must be a multiple of n_chroma, all 1 or more"
        )
    first_hz = _LOWEST_C_HZ if fmin is None else fmin
    if first_hz <= 0:
        raise ValueError(f"fmin={fmin} must be positive (Hz)")
    merged = bins_per_octave // n_chroma
    # Semitones of the first bin above class 0, which is C, or the A nine semitones above it.
    semitones = np.mod(12 * np.log2(first_hz / _LOWEST_C_HZ), 12) - (0 if base_c else 9)
    first = int(np.round(semitones * (n_chroma / 12)))
    # Bin 0 is the centre of its class: half of the bins of that class lie below it.
    classes = (np.arange(n_bins) + merged // 2) // merged + first
    weights = (np.arange(n_chroma)[:, None] == classes % n_chroma).astype(float)
    weights.setflags(write=False)
    return weights


def check_norm(norm: float | None) -> None:
    """Checks the order p of a norm.

    Args:
        norm: p, positive; inf for the maximum, None for no norm.

    Raises:
        ValueError: for anything else.
    """
    if norm is not None and (isinstance(norm, str) or not norm > 0):
        raise ValueError(f"norm={norm!r} must be None, inf or a positive number")


def normalize_frames(
    values: Float[Array, "... frames bins"], *, norm: float | None
) -> Float[jax.Array, "... frames bins"]:
    """Frame normalisation by the p-norm; silent frames stay 0, with finite gradients.

    Args:
        values: [..., frames, bins].
        norm: p, inf for the maximum, None for nothing.

    Returns:
        [..., frames, bins]; as ``librosa.util.normalize`` over the bins.

    Raises:
        ValueError: for a norm that is neither None, inf nor a positive number.
    """
    check_norm(norm)
    values = checks.as_floating(values, "values", ndim=1)
    if norm is None:
        return values
    largest = jnp.max(jnp.abs(values), axis=-1, keepdims=True)
    audible = largest > jnp.finfo(values.dtype).tiny
    # Scaling a frame does not change the result: squares of faint ones need not underflow.
    relative = values / lax.stop_gradient(jnp.where(audible, largest, 1.0))
    size = jnp.where(audible, jnp.abs(relative), 1.0)
    if norm == np.inf:
        return relative / jnp.max(size, axis=-1, keepdims=True)
    powers = jnp.where(size > 0, jnp.where(size > 0, size, 1.0) ** norm, 0.0)
    return relative / jnp.sum(powers, axis=-1, keepdims=True) ** (1.0 / norm)
