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
    turns, weights = weighted_turns(spectrum)
    (frame, bins), axes = beliefs, (-2, -1)
    in_time = unlikelihood(jnp.real(frame), jnp.imag(frame), turns.per_frame)
    in_frequency = unlikelihood(jnp.real(bins), jnp.imag(bins), turns.per_bin)
    return jnp.sum(weights.per_frame * in_time + weights.per_bin * in_frequency, axis=axes)


def weighted_turns(
    spectrum: Complex[Array, "batch frames phases"],
) -> tuple[PhaseBeliefs, PhaseBeliefs]:
    """True steps of a spectrum, and what each weighs in :func:`surprise`.

    Args:
        spectrum: of :func:`.fourier.stft`.

    Returns:
        Steps as complex numbers of modulus 1 (0 without a phase), and real weights, which sum to
        1 along frames and to 1 along bins; both [batch, frames, phases], 0 in the first frame and
        the first bin.
    """
    # Frames of the STFT count from their first sample, those of the beliefs from the middle.
    alternating = jnp.asarray((-1.0) ** np.arange(spectrum.shape[-1]), jnp.real(spectrum).dtype)
    unit = retrieval.with_magnitude(jnp.asarray(spectrum), alternating)
    level = propagation.relative_level(jnp.abs(spectrum))
    # exp(level / 4) = (m / max m)^(1/4), so that a difference weighs (m m')^(1/4)
    weight = jnp.exp(0.25 * level)
    frames, bins = ((0, 0), (1, 0), (0, 0)), ((0, 0), (0, 0), (1, 0))
    turns = PhaseBeliefs(
        jnp.pad(unit[:, 1:] * jnp.conj(unit[:, :-1]), frames),
        jnp.pad(unit[..., 1:] * jnp.conj(unit[..., :-1]), bins),
    )
    weights = PhaseBeliefs(
        jnp.pad(weight[:, 1:] * weight[:, :-1], frames),
        jnp.pad(weight[..., 1:] * weight[..., :-1], bins),
    )
    shares = jax.tree.map(lambda part: part / jnp.sum(part, (-2, -1), keepdims=True), weights)
    return turns, shares


def unlikelihood(
    real: Float[Array, "..."], imag: Float[Array, "..."], turn: Complex[Array, "..."]
) -> Float[jax.Array, "..."]:
    """Negative log likelihood of steps under von Mises distributions, relative to uniform ones.

    Args:
        real: of the natural parameter eta.
        imag: of eta.
        turn: the steps, of modulus 1.

    Returns:
        Nats, in the shape of the arguments.
    """
    sure = jnp.sqrt(real**2 + imag**2 + _SOFT)
    # -log p(d) + log(1 / 2 pi) = log I0(k) - Re(conj(eta) exp(i d)), log I0(k) = k + log i0e(k)
    normalizer = sure + jnp.log(jax.scipy.special.i0e(sure))
    return normalizer - (real * jnp.real(turn) + imag * jnp.imag(turn))
