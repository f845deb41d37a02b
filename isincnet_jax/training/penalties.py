"""Terms of the loss that depend on the parameters alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from isincnet_jax.training import conditioning
from isincnet_jax.training.step import Penalty


def condition_penalty(
    filters: Callable[[Any], jax.Array],
    *,
    hop_length: int,
    weight: float,
    target: float = 1.0,
    num_frequencies: int = 2,
) -> Penalty:
    """How far the eigenvalues of a learned bank's frame operator lie below the allowed ratio.

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

    Raises:
        ValueError: for a target below 1, a weight that is not positive, or no frequencies.
    """
    if not target >= 1 or not weight > 0:
        raise ValueError(f"target={target}, weight={weight}: use target >= 1 and weight > 0")
    if num_frequencies < 1:
        raise ValueError(f"num_frequencies={num_frequencies} must be at least 1")

    def penalty(variables: Any, key: jax.Array) -> jax.Array:
        kernels = filters(variables)
        step = math.pi / num_frequencies
        offset = jax.random.uniform(key, (), kernels.dtype, 0.0, step)
        frequency = offset + step * jnp.arange(num_frequencies, dtype=kernels.dtype)
        values = conditioning.log_eigenvalues(kernels, frequency, hop_length=hop_length)
        deficit = jnp.max(values) - math.log(target) - values
        return weight / num_frequencies * jnp.sum(jnp.maximum(deficit, 0.0))

    return penalty
