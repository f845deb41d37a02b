"""Settings drawn from what a network believes, and how sure it is of each parameter."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from isincnet_jax.inversynth.synth.parameters import NAMES, NUM_LEVELS, PARAMETERS
from isincnet_jax.typing import Array

Scores = Float[Array, "parameters levels"]

_INTERVAL = 0.8


def draw_levels(
    key: jax.Array, scores: Scores, num_draws: int, *, temperature: float = 1.0
) -> Int[jax.Array, "draws parameters"]:
    """Levels drawn from the distribution of each parameter, independently.

    Args:
        key: PRNG key.
        scores: [23, 16], before softmax.
        num_draws: how many.
        temperature: of the softmax, positive: below 1 draws lie nearer to the likeliest level.

    Returns:
        int32 [num_draws, 23].

    Raises:
        ValueError: for a number below 0 or a temperature that is not positive.
    """
    if num_draws < 0:
        raise ValueError(f"num_draws={num_draws}: use 0 or more")
    if not temperature > 0:
        raise ValueError(f"temperature={temperature} must be positive")
    scaled = jnp.asarray(scores) / jnp.asarray(temperature, scores.dtype)
    return jax.random.categorical(key, scaled, shape=(num_draws, len(NAMES))).astype(jnp.int32)


def log_probability(
    scores: Scores, levels: Int[Array, "... parameters"]
) -> Float[jax.Array, "..."]:
    """Logarithm of the probability of settings, parameters being independent.

    Args:
        scores: [23, 16], before softmax.
        levels: integers [..., 23].

    Returns:
        [...], 0 or below, nats.
    """
    logs = jax.nn.log_softmax(jnp.asarray(scores), axis=-1)
    chosen = jnp.asarray(levels)[..., None] == jnp.arange(NUM_LEVELS)
    return jnp.sum(jnp.where(chosen, logs, jnp.zeros((), logs.dtype)), axis=(-2, -1))


class Belief(NamedTuple):
    """What a network believes of a parameter.

    Attributes:
        likeliest: value of the likeliest level, in the parameter's unit.
        probability: of that level.
        low: value at which the shortest interval of 80 % begins.
        high: value at which it ends.
        bits: entropy, 0 for sure, 4 for no idea.
    """

    likeliest: float
    probability: float
    low: float
    high: float
    bits: float


def beliefs(scores: Scores) -> dict[str, Belief]:
    """Uncertainty of every parameter.

    Args:
        scores: [23, 16], before softmax.

    Returns:
        A :class:`Belief` by the name of the parameter.
    """
    chances = np.asarray(jax.nn.softmax(jnp.asarray(scores, jnp.float32), axis=-1), np.float64)
    found = {}
    for parameter, row in zip(PARAMETERS, chances, strict=True):
        first, last = _shortest_interval(row)
        best = int(np.argmax(row))
        bits = -float(np.sum(row * np.log2(np.maximum(row, 1e-30))))
        found[parameter.name] = Belief(
            likeliest=float(parameter.levels[best]),
            probability=float(row[best]),
            low=float(parameter.levels[first]),
            high=float(parameter.levels[last]),
            bits=bits,
        )
    return found


def _shortest_interval(chances: np.ndarray) -> tuple[int, int]:
    """First and last level of the fewest neighbours that hold 80 %; of equals the likeliest."""
    sums = np.concatenate([[0.0], np.cumsum(chances)])
    for width in range(1, len(chances) + 1):
        held = sums[width:] - sums[:-width]
        first = int(np.argmax(held))
        if held[first] >= _INTERVAL * sums[-1]:
            return first, first + width - 1
    return 0, len(chances) - 1
