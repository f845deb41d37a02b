"""Gate: switches the sound on and off."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Float

from isincnet_jax.inversynth.synth.clock import Clock, fraction, steady_phase
from isincnet_jax.typing import Array

_EARLY = 5e-7  # cycles, more than rounding


def gate(frequency: Float[Array, "..."], clock: Clock) -> Float[jax.Array, "... rows 128"]:
    """``(1 + square(2 pi f t)) / 2``: 1 in the first half of every period, 0 in the second.

    It switches 5e-7 cycles early, so that a switch at the time of a sample counts from this sample
    on, however the phase is rounded. Piecewise constant: its derivative with respect to the
    frequency is 0.

    Args:
        frequency: f, Hz.
        clock: the times.

    Returns:
        0 or 1, [..., rows, 128]; see :meth:`.clock.Clock.flat`.
    """
    frequency = jnp.asarray(frequency)
    phase = fraction(steady_phase(frequency, clock) + _EARLY)
    return (phase < 0.5).astype(frequency.dtype)
