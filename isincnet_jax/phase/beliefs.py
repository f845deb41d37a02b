"""Von Mises distributions of phase differences: mean directions, and how well they predict.

References:
    S. Takamichi, Y. Saito, N. Takamune, D. Kitamura and H. Saruwatari, "Phase reconstruction from
        amplitude spectrograms based on von-Mises-distribution deep neural network", IWAENC 2018
        (the likelihood, of phases there). https://arxiv.org/abs/1807.03474
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Complex, Float

from isincnet_jax.phase import propagation, retrieval
from isincnet_jax.typing import Array

_SOFT = 1e-6


class PhaseBeliefs(NamedTuple):
    """Von Mises distributions of phase differences of centred frames, as natural parameters.

    A parameter ``eta`` says: the density of a difference d is proportional to
    ``exp(Re(conj(eta) exp(i d)))``; its direction is the likeliest difference, its modulus how
    sure.

    Attributes:
        per_frame: of steps from frame t - 1 to t, complex [batch, frames, bins].
        per_bin: of steps from bin k - 1 to k, complex [batch, frames, bins].
    """

    per_frame: jax.Array
    per_bin: jax.Array


def mean_direction(natural: Complex[Array, "..."], trust: float = 1.0) -> Complex[jax.Array, "..."]:
    """Mean direction ``E exp(i d)`` of von Mises distributions, times the trust.

    Args:
        natural: parameters eta, complex, any shape.
        trust: factor of all directions, 0 to 1.

    Returns:
        Complex, in the shape of the parameters: along eta, of modulus ``trust I1(|eta|) /
        I0(|eta|)``.
    """
    real, imag = jnp.real(natural), jnp.imag(natural)
    sure = jnp.sqrt(real**2 + imag**2 + _SOFT)
    # I1(k) / I0(k) with both Bessel functions scaled by exp(-k), which would overflow unscaled.
    factor = trust * jax.scipy.special.i1e(sure) / (jax.scipy.special.i0e(sure) * sure)
    return lax.complex(real * factor, imag * factor)


def surprise(
    beliefs: PhaseBeliefs,
    spectrum: Complex[Array, "batch frames phases"],
) -> Float[jax.Array, " batch"]:
    """Negative log likelihood of the phase differences of a spectrum under the beliefs.

    Differences count by the geometric mean of the magnitudes' square roots at their ends; the mean
    of a clip's steps in time plus the mean of its steps in frequency.

    Args:
        beliefs: of its magnitudes.
        spectrum: of :func:`.fourier.stft` with the bins of the beliefs (``n_fft=phase_samples``).

    Returns:
        Nats relative to uniform phases, [batch]; below 0 where the beliefs know something.
    """
    # Frames of the STFT count from their first sample, those of the beliefs from the middle.
    alternating = jnp.asarray((-1.0) ** np.arange(spectrum.shape[-1]), jnp.real(spectrum).dtype)
    unit = retrieval.with_magnitude(jnp.asarray(spectrum), alternating)
    level = propagation.relative_level(jnp.abs(spectrum))
    # exp(level / 4) = (m / max m)^(1/4), so that a difference weighs (m m')^(1/4)
    weight = jnp.exp(0.25 * level)
    along_frames = _unlikely(
        beliefs.per_frame[:, 1:],
        unit[:, 1:] * jnp.conj(unit[:, :-1]),
        weight[:, 1:] * weight[:, :-1],
    )
    along_bins = _unlikely(
        beliefs.per_bin[..., 1:],
        unit[..., 1:] * jnp.conj(unit[..., :-1]),
        weight[..., 1:] * weight[..., :-1],
    )
    return along_frames + along_bins


def _unlikely(natural: jax.Array, turn: jax.Array, weight: jax.Array) -> jax.Array:
    real, imag = jnp.real(natural), jnp.imag(natural)
    sure = jnp.sqrt(real**2 + imag**2 + _SOFT)
    # -log p(d) + log(1 / 2 pi) = log I0(k) - Re(conj(eta) exp(i d)), log I0(k) = k + log i0e(k)
    normalizer = sure + jnp.log(jax.scipy.special.i0e(sure))
    matched = real * jnp.real(turn) + imag * jnp.imag(turn)
    total = jnp.sum(weight * (normalizer - matched), axis=(-2, -1))
    return total / jnp.sum(weight, axis=(-2, -1))
