"""Sine synthesizer, the simplest one."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Float

from isincnet_jax.inversynth.synth.clock import make_clock, steady_phase
from isincnet_jax.inversynth.synth.oscillators import sine
from isincnet_jax.inversynth.synth.timing import check_timing
from isincnet_jax.typing import Array


def render_sine(
    frequency: Float[Array, "..."],
    amplitude: Float[Array, "..."] | float = 1.0,
    *,
    num_samples: int = 16_384,
    sample_rate: float = 16_384.0,
) -> Float[jax.Array, "... time"]:
    """``amplitude * sin(2 pi frequency n / sample_rate)``, the generator for first trials.

    Args:
        frequency: Hz, [...], floating.
        amplitude: peak, a number or [...].
        num_samples: length.
        sample_rate: Hz.

    Returns:
        [..., time], in the dtype of the frequency.

    Raises:
        ValueError: for a length or rate that is not positive.
    """
    check_timing(num_samples=num_samples, sample_rate=sample_rate)
    frequency = jnp.asarray(frequency)
    amplitude = jnp.asarray(amplitude, frequency.dtype)
    return _render_sine(frequency, amplitude, int(num_samples), float(sample_rate))


@functools.partial(jax.jit, static_argnums=(2, 3))
def _render_sine(
    frequency: jax.Array, amplitude: jax.Array, num_samples: int, sample_rate: float
) -> jax.Array:
    clock = make_clock(num_samples, sample_rate)
    return amplitude[..., None] * clock.flat(sine(steady_phase(frequency, clock)))
