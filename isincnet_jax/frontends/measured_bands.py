"""Frequency bands measured on the taps of filters, for filters that follow no parameters."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Float

from isincnet_jax.typing import Array

_OVERSAMPLING = 8  # least length of the FFT, in lengths of a filter


def measured_bands(
    filters: Float[Array, "filters taps"] | tuple[Float[Array, "filters taps"], ...],
    *,
    sample_rate: float,
) -> tuple[Float[jax.Array, " filters"], Float[jax.Array, " filters"]]:
    """Bands of filters: the rectangles whose power has the same quartiles as that of the filters.

    For a band-pass with steep edges these are the edges; whatever learning made of a filter, they
    say where most of its response lies, and small ripples elsewhere hardly move them.

    Args:
        filters: real impulse responses, [filters, taps]; or several sets (cosines and sines),
            whose powers are added.
        sample_rate: Hz.

    Returns:
        Lower and upper edges in Hz, [filters] each, at least 0 and at most the Nyquist frequency;
        filters that are 0 throughout have the whole band.
    """
    sets = jnp.stack([*filters]) if isinstance(filters, tuple) else jnp.asarray(filters)[None]
    # Only ratios of powers count, and squares of large taps would overflow.
    largest = jnp.max(jnp.abs(sets), axis=(0, 2), keepdims=True)
    sets = sets / jnp.where(largest > 0, largest, 1.0)
    # Power |H(f)|^2 at size // 2 + 1 frequencies up to Nyquist; size is a power of 2.
    size = 1 << (_OVERSAMPLING * sets.shape[-1] - 1).bit_length()
    power = jnp.sum(jnp.abs(jnp.fft.rfft(sets, size, axis=-1)) ** 2, axis=0)
    nyquist = sample_rate / 2
    frequency = jnp.linspace(0.0, nyquist, size // 2 + 1, dtype=power.dtype)
    # Trapezoids between the bins, from 0 at 0 Hz to 1 at the Nyquist frequency.
    steps = 0.5 * (power[:, 1:] + power[:, :-1])
    total = jnp.sum(steps, axis=-1, keepdims=True)
    # Without any power all steps count alike: the quartiles of the whole band.
    steps = jnp.where(total > 0, steps, 1.0)
    shares = jnp.cumsum(steps / jnp.sum(steps, axis=-1, keepdims=True), axis=-1)
    shares = jnp.pad(shares, ((0, 0), (1, 0)))
    wanted = jnp.asarray([0.25, 0.75], power.dtype)
    quartiles = jax.vmap(lambda share: jnp.interp(wanted, share, frequency))(shares)
    first, third = quartiles[:, 0], quartiles[:, 1]
    # Half of a rectangle's power lies between its quartiles, on half of its width.
    middle, width = 0.5 * (first + third), 2.0 * (third - first)
    return jnp.maximum(middle - width / 2, 0.0), jnp.minimum(middle + width / 2, nyquist)
