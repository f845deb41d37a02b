"""Envelope: attack, decay, sustain, release in straight lines."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from isincnet_jax.typing import Array


def adsr(
    attack: Float[Array, "..."],
    decay: Float[Array, "..."],
    sustain: Float[Array, "..."],
    release: Float[Array, "..."],
    *,
    times_s: Float[np.ndarray, "*time"],
    note_off: float | Float[Array, "..."],
) -> Float[jax.Array, "..."]:
    """The level over time: 0 to 1, 1 to ``sustain``, hold; from ``note_off`` on, to 0.

    ``e(t) = held(min(t, note_off)) * clip(1 - (t - note_off) / release, 0, 1)`` with
    ``held(t) = min(t / attack, 1) - (1 - sustain) clip((t - attack) / decay, 0, 1)``. A note that
    ends in its attack or decay falls from the level it has reached, in the same time.

    Continuous in everything; the derivatives jump at the corners, and are finite everywhere.

    Args:
        attack: seconds, positive.
        decay: seconds, positive.
        sustain: level, 0 to 1.
        release: seconds, positive.
        times_s: float64, of the samples, any shape.
        note_off: seconds, when the release begins; one for all, or one for each.

    Returns:
        [..., *shape of the times], 0 to 1.
    """
    # [...] to [..., 1, 1], to broadcast against the times.
    attack, decay, sustain, release = (
        jnp.reshape(value, (*jnp.shape(value), *(1,) * times_s.ndim))
        for value in (attack, decay, sustain, release)
    )
    zero, one = jnp.zeros((), attack.dtype), jnp.ones((), attack.dtype)
    if isinstance(note_off, (int, float)):
        down = jnp.asarray(np.minimum(times_s, note_off), attack.dtype)
        since = jnp.asarray(np.maximum(times_s - note_off, 0.0), attack.dtype)
    else:
        end = jnp.reshape(note_off, (*jnp.shape(note_off), *(1,) * times_s.ndim))
        times = jnp.asarray(times_s, attack.dtype)
        down, since = jnp.minimum(times, end), jnp.maximum(times - end, zero)
    # min(t / A, 1) - (1 - S) clip((t - A) / D, 0, 1), t no later than the note's end.
    held = jnp.minimum(down / attack, one) - (one - sustain) * jnp.clip(
        (down - attack) / decay, zero, one
    )
    return held * jnp.maximum(one - since / release, zero)
