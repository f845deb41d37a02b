"""Sampling of random sounds and their parameters, on the device from PRNG keys."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from isincnet_jax.inversynth.synth.parameters import NUM_LEVELS, NUM_PARAMETERS, values_from_levels
from isincnet_jax.inversynth.synth.render import NUM_SAMPLES, SAMPLE_RATE, render


def sample_levels(key: jax.Array, batch: int) -> Int[jax.Array, "batch parameters"]:
    """Levels drawn evenly and independently.

    Args:
        key: PRNG key.
        batch: sounds.

    Returns:
        int32 [batch, 23], 0 to 15.
    """
    return jax.random.randint(key, (batch, NUM_PARAMETERS), 0, NUM_LEVELS, jnp.int32)


def sample_batch(
    key: jax.Array,
    batch: int,
    num_samples: int = NUM_SAMPLES,
    sample_rate: float = SAMPLE_RATE,
) -> tuple[Float[jax.Array, "batch time"], Int[jax.Array, "batch parameters"]]:
    """Random sounds, for training without files; jit it with all but the key static.

    Args:
        key: PRNG key; the same key gives the same sounds.
        batch: how many.
        num_samples: length.
        sample_rate: Hz.

    Returns:
        float32 [batch, num_samples], and the levels, int32 [batch, 23].

    Raises:
        ValueError: as :func:`.render.render`.
    """
    levels = sample_levels(key, batch)
    values = values_from_levels(levels)
    return render(values, num_samples=num_samples, sample_rate=sample_rate), levels
