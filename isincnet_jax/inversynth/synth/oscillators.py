"""Oscillators: the four waveforms as functions of phase, all with period 1 cycle and peak 1."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from isincnet_jax.inversynth.synth.clock import fraction, wrapped
from isincnet_jax.typing import Array


def sine(phase: Float[Array, "..."]) -> Float[jax.Array, "..."]:
    """Sine, ``sin(2 pi phase)``.

    Args:
        phase: cycles, of any shape.

    Returns:
        Within [-1, 1].
    """
    return jnp.sin((2.0 * np.pi) * wrapped(jnp.asarray(phase)))


def saw(phase: Float[Array, "..."]) -> Float[jax.Array, "..."]:
    """A rising saw: -1 at phase 0, 1 just below phase 1, then a jump.

    The definition is the paper's, the plain waveform: not band-limited, so its partials above half
    the sample rate are mirrored below it. The derivative is 2 wherever there is one; the jump has
    none, so derivatives with respect to frequencies lack its part.

    Args:
        phase: cycles, of any shape.

    Returns:
        Within [-1, 1].
    """
    return 2.0 * fraction(jnp.asarray(phase)) - 1.0


def triangle(phase: Float[Array, "..."]) -> Float[jax.Array, "..."]:
    """A triangle: -1 at phase 0, 1 at phase 1/2, straight between.

    Not band-limited, as :func:`saw`; continuous, with corners.

    Args:
        phase: cycles, of any shape.

    Returns:
        Within [-1, 1].
    """
    return 1.0 - jnp.abs(4.0 * fraction(jnp.asarray(phase)) - 2.0)


def square(phase: Float[Array, "..."]) -> Float[jax.Array, "..."]:
    """A square: 1 from phase 0, -1 from phase 1/2.

    Not band-limited, as :func:`saw`. Piecewise constant: its derivative is 0.

    Args:
        phase: cycles, of any shape.

    Returns:
        1 or -1.
    """
    phase = jnp.asarray(phase)
    half = jnp.asarray(0.5, phase.dtype)
    one = jnp.asarray(1.0, phase.dtype)
    return jnp.where(fraction(phase) < half, one, -one)
