"""Low-pass filter: a resonant biquad, applied through its frequency response."""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft
from jax import lax
from jaxtyping import Complex, Float

from isincnet_jax.dsp import batched_fft
from isincnet_jax.typing import Array, Waveform

TAIL_S = 1.0


def lowpass_response(
    cutoff: Float[Array, "..."],
    resonance: Float[Array, "..."],
    *,
    n_fft: int,
    sample_rate: float,
) -> Complex[jax.Array, "... bins"]:
    """Frequency response of the "cookbook" low-pass biquad at the bins of a transform.

    The biquad ``H(z)`` with ``w0 = 2 pi cutoff / sample_rate``, ``alpha = sin(w0) / (2 q)``::

        H(z) = (1 - cos w0)/2 (1 + z^-1)^2 / (1 + alpha - 2 cos w0 z^-1 + (1 - alpha) z^-2)

    is on the unit circle, with ``S = sin^2(w0 / 2)``, ::

        H(e^jw) = S cos^2(w/2) / (S - sin^2(w/2) + j sin(w0) sin(w) / (4 q))

    in which nothing cancels in float32. The gain is 1 at 0 Hz and q at the cut-off; at half the
    sample rate it is 0. A cut-off of half the sample rate passes everything below it.

    Args:
        cutoff: Hz, above 0, at most half the sample rate.
        resonance: q, positive.
        n_fft: samples of the transform.
        sample_rate: Hz.

    Returns:
        [..., 1 + n_fft // 2].

    References:
        R. Bristow-Johnson, "Cookbook formulae for audio equalizer biquad filter coefficients", W3C
            Note, 2021, "LPF". https://www.w3.org/TR/audio-eq-cookbook/
    """
    cutoff = jnp.asarray(cutoff)
    half_sine2, half_cosine2, sine = (jnp.asarray(table, cutoff.dtype) for table in _circle(n_fft))
    # w0 / 2 and pi / 2 - w0 / 2
    half_angle = (np.pi / sample_rate) * cutoff
    to_right_angle = (np.pi / sample_rate) * (0.5 * sample_rate - cutoff)
    # cos(w0 / 2) as a sine of what is left to a right angle: exact near half the rate.
    sin_half, cos_half = jnp.sin(half_angle), jnp.sin(to_right_angle)
    power = (sin_half**2)[..., None]
    # sin(w0) sin(w) / (4 q), as sin(w0) = 2 sin(w0 / 2) cos(w0 / 2)
    damping = (sin_half * cos_half / (2.0 * resonance))[..., None] * sine
    # The same difference twice: small numbers at either end of the spectrum.
    real = jnp.where(
        half_sine2 < half_cosine2, power - half_sine2, half_cosine2 - (cos_half**2)[..., None]
    )
    # At half the rate the numerator is 0; the denominator too where the cut-off is there.
    open_ = half_cosine2 > 0
    norm = jnp.where(open_, real**2 + damping**2, jnp.ones((), cutoff.dtype))
    # S cos^2(w/2) / (real + j damping) = (real - j damping) S cos^2(w/2) / (real^2 + damping^2)
    over = power * half_cosine2 / norm
    return lax.complex(real * over, -damping * over)


@functools.lru_cache(maxsize=8)
def _circle(n_fft: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``sin^2(w/2)``, ``cos^2(w/2)`` and ``sin w`` of the bins, float64; exact at both ends."""
    angle = 2.0 * np.pi * np.arange(n_fft // 2 + 1) / n_fft
    half_sine2, half_cosine2, sine = np.sin(angle / 2) ** 2, np.cos(angle / 2) ** 2, np.sin(angle)
    if n_fft % 2 == 0:
        half_cosine2[-1] = sine[-1] = 0.0
    return half_sine2, half_cosine2, sine


def lowpass_fft_length(num_samples: int, sample_rate: float, *, multiple_of: int = 1) -> int:
    """Length of the transform: the clip and at least a second in which the response dies out.

    Args:
        num_samples: of the clip.
        sample_rate: Hz.
        multiple_of: the length is a multiple of it.

    Returns:
        Samples, ``multiple_of`` times a number whose factors are small.
    """
    needed = num_samples + math.ceil(TAIL_S * sample_rate)
    blocks = -(-needed // multiple_of)
    return multiple_of * (scipy.fft.next_fast_len(blocks, real=True) or blocks)


def lowpass(
    waveform: Waveform,
    cutoff: Float[Array, "..."],
    resonance: Float[Array, "..."],
    *,
    sample_rate: float,
) -> Float[jax.Array, "... time"]:
    """Filters a clip by the biquad of :func:`lowpass_response`, starting at rest.

    ``irfft(H rfft(x))`` over the clip and at least one second of zeros (twice the length for one
    second). What the recursion would give differs only by the response beyond that second, which
    comes round to the beginning. Among the parameters' ranges it lasts longest for 200 Hz and
    q = 0.01, a time constant of 80 ms: 4e-6 of its beginning is left. A cut-off less than about
    50 Hz below half the sample rate rings longer there, weakly: 2e-3 of the peak at worst.

    Args:
        waveform: [..., time].
        cutoff: Hz, [...], at most half the sample rate.
        resonance: q, [...], positive.
        sample_rate: Hz.

    Returns:
        [..., time].
    """
    length = waveform.shape[-1]
    # Zeros behind the clip, in which the response dies out before it comes round.
    more = lowpass_fft_length(length, sample_rate) - length
    padded = jnp.pad(jnp.asarray(waveform), [(0, 0)] * (waveform.ndim - 1) + [(0, more)])
    return lowpass_circular(padded, cutoff, resonance, sample_rate=sample_rate)[..., :length]


def lowpass_circular(
    padded: Waveform,
    cutoff: Float[Array, "..."],
    resonance: Float[Array, "..."],
    *,
    sample_rate: float,
) -> Float[jax.Array, "... time"]:
    """Low-pass of a clip that is padded already; the end goes on at the beginning.

    Args:
        padded: [..., time], of the length of the transform.
        cutoff: Hz, [...], above 0, at most half the sample rate.
        resonance: q, [...], positive.
        sample_rate: Hz.

    Returns:
        [..., time].
    """
    n_fft = padded.shape[-1]
    spectrum = batched_fft.rfft(jnp.asarray(padded))
    response = lowpass_response(cutoff, resonance, n_fft=n_fft, sample_rate=sample_rate)
    return batched_fft.irfft(spectrum * response, n_fft)
