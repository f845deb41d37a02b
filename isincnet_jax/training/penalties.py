"""Regularisers: terms of the loss that depend on the parameters alone.

The condition number of a learned filterbank is penalised as a differentiable function of its
kernels; the float64 analysis of fixed banks is in :mod:`isincnet_jax.bank.dsp.frame_theory`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float

from isincnet_jax.dsp.polyphase import polyphase_matrix
from isincnet_jax.dsp.settling import settles
from isincnet_jax.training.step import Penalty
from isincnet_jax.typing import Array


@settles
def log_eigenvalues(
    kernels: Float[Array, "channels taps"],
    frequency: Float[Array, " frequencies"],
    *,
    hop_length: int,
) -> Float[jax.Array, "frequencies hop"]:
    """Logarithms of the eigenvalues of the frame operator at some frequencies, ascending.

    Their gradients take the eigenvectors as fixed, which is exact to first order. Float32
    resolves condition numbers up to about 1e6: a millionth of the largest eigenvalue is added
    to all, so that banks that are no frames have a gradient too.

    Args:
        kernels: real channels [channels, taps], centred at ``taps // 2``.
        frequency: angular frequencies in radians per frame, [frequencies].
        hop_length: samples between frames.

    Returns:
        [frequencies, hop_length].

    References:
        H. Boelcskei, F. Hlawatsch and H. Feichtinger, IEEE Trans. Signal Processing 46, 1998,
            section III.
    """
    polyphase = polyphase_matrix(kernels, frequency, hop_length=hop_length)
    # S(w) = E(w)^H E(w), [frequencies, hop, hop]: its eigenvalues lie between the frame bounds
    operator = jnp.einsum("fcm,fcn->fmn", jnp.conj(polyphase), polyphase, precision="highest")
    _, vectors = jnp.linalg.eigh(jax.lax.stop_gradient(operator))
    vectors = jax.lax.stop_gradient(vectors)
    # lambda_k = ||E v_k||^2 for each eigenvector: the Rayleigh quotient, without cancellation. With
    # v_k fixed its gradient is that of lambda_k; eigh's own would divide by gaps between them.
    seen = jnp.einsum("fcm,fmk->fck", polyphase, vectors, precision="highest")
    energy = jnp.sum(jnp.real(seen) ** 2 + jnp.imag(seen) ** 2, axis=1)
    largest = jnp.max(jax.lax.stop_gradient(energy))
    return jnp.log(energy + largest * (8 * jnp.finfo(energy.dtype).eps))


def condition_penalty(
    filters: Callable[[Any], jax.Array],
    *,
    hop_length: int,
    weight: float,
    target: float = 1.0,
    num_frequencies: int = 2,
) -> Penalty:
    """Condition penalty: how far a learned bank's eigenvalues lie below the allowed ratio.

    ``weight * sum over eigenvalues of max(log B - log target - log eigenvalue, 0) / frequencies``:
    0 if and only if the condition number is at most ``target``. Unlike the condition number
    itself, which sees one direction at a time, it moves all directions that are too weak. The
    eigenvalues are taken at a few frequencies, evenly spaced from a random start, so that over
    the steps all frequencies count.

    Args:
        filters: variables to the bank's kernels [channels, taps].
        hop_length: samples between frames.
        weight: positive.
        target: condition number that is allowed.
        num_frequencies: per step.

    Returns:
        Variables and a key, which draws the frequencies, to a scalar.

    Raises:
        ValueError: for a target below 1, a weight that is not positive, or no frequencies.
    """
    if not target >= 1 or not weight > 0:
        raise ValueError(f"target={target}, weight={weight}: use target >= 1 and weight > 0")
    if num_frequencies < 1:
        raise ValueError(f"num_frequencies={num_frequencies} must be at least 1")

    def penalty(variables: Any, key: jax.Array) -> jax.Array:
        kernels = filters(variables)
        # offset + k pi / n, offset uniform below pi / n: over the steps all of [0, pi) counts. The
        # kernels are real: the eigenvalues at -w are those at w.
        step = math.pi / num_frequencies
        offset = jax.random.uniform(key, (), kernels.dtype, 0.0, step)
        frequency = offset + step * jnp.arange(num_frequencies, dtype=kernels.dtype)
        values = log_eigenvalues(kernels, frequency, hop_length=hop_length)
        # Of every eigenvalue: log(B / target) - log lambda, where that is positive.
        deficit = jnp.max(values) - math.log(target) - values
        return weight / num_frequencies * jnp.sum(jnp.maximum(deficit, 0.0))

    return penalty
