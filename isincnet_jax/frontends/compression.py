"""Compression layers for energies and for signed coefficients: logarithm and mu law."""

from __future__ import annotations

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from isincnet_jax.dsp import checks, companding
from isincnet_jax.dsp.ranks import match_rank
from isincnet_jax.linen import SettledModule
from isincnet_jax.typing import Array


class LogCompression(SettledModule):
    """Logarithmic compression ``log(x + eps)``, or one with a scale and an offset for each band.

    Trained, it is ``log(1 + exp(a) x / eps) + log(eps) + d``: a scales the energies of a band
    before the logarithm, ``exp(a) = 10^alpha`` in Schlueter's notation, and d is their offset. Both
    start at 0, where it is ``log(x + eps)`` again. Parameters are ``log_scale`` a and ``offset`` d,
    float32 [bins].

    Attributes:
        eps: positive; the floor, whose logarithm silence gets.
        trainable: whether scale and offset are parameters.

    Raises:
        ValueError: for an eps that is not positive.

    References:
        N. Zeghidour et al., "LEAF: a learnable frontend for audio classification", ICLR 2021,
            section 3.3 (the logarithm that PCEN is compared with).
            https://arxiv.org/abs/2101.08596
        J. Schlueter and B. Lehner, "Zero-mean convolutions for level-invariant singing voice
            detection", ISMIR 2018, section 3 (learned ``log(1 + 10^a x)``).

    Example:
        >>> LogCompression(eps=1.0).apply({}, jnp.zeros((3, 2), jnp.float32)).tolist()
        [[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]
    """

    eps: float = 1e-5
    trainable: bool = False

    def __post_init__(self) -> None:
        """Checks the arguments."""
        if not (math.isfinite(self.eps) and self.eps > 0):
            raise ValueError(f"eps={self.eps} must be positive and finite, say 1e-5")
        super().__post_init__()

    @nn.compact
    def __call__(self, values: Float[Array, "*axes"]) -> Float[jax.Array, "*axes"]:
        """Compresses energies.

        Args:
            values: energies [..., bins], floating and not negative.

        Returns:
            The same shape and dtype.
        """
        values = checks.as_floating(values, "values")
        # log(x + eps) = log(1 + x / eps) + log(eps) keeps the digits of faint energies.
        floor = math.log(self.eps)
        if not self.trainable:
            return jnp.log1p(values / self.eps) + floor
        shape = values.shape[-1:]
        scale = self.param("log_scale", nn.initializers.zeros, shape, jnp.float32)
        offset = self.param("offset", nn.initializers.zeros, shape, jnp.float32)
        scale, offset = (match_rank(part.astype(values.dtype), values) for part in (scale, offset))
        return jnp.log1p(values * (jnp.exp(scale) / self.eps)) + (offset + floor)


class MuLawCompression(SettledModule):
    """Mu law ``sign(x) log(1 + mu |x|) / log(1 + mu)`` of signed coefficients (ITU-T G.711).

    Odd, 0 to 0 and 1 to 1. Trained, every channel has a mu of its own, the exponential of the
    parameter ``log_mu``, float32 [channels].

    Attributes:
        mu: positive; 255 is that of telephony.
        trainable: whether mu is a parameter.

    Raises:
        ValueError: for a mu that is not positive.

    Example:
        >>> MuLawCompression().apply({}, jnp.array([-1.0, 0.0, 1.0], jnp.float32)).tolist()
        [-1.0, 0.0, 1.0]
    """

    mu: float = 255.0
    trainable: bool = False

    def __post_init__(self) -> None:
        """Checks the arguments."""
        if not (math.isfinite(self.mu) and self.mu > 0):
            raise ValueError(f"mu={self.mu} must be positive and finite, say 255")
        super().__post_init__()

    @nn.compact
    def __call__(self, values: Float[Array, "*axes"]) -> Float[jax.Array, "*axes"]:
        """Compresses signed values.

        Args:
            values: [..., channels], floating.

        Returns:
            The same shape and dtype.
        """
        values = checks.as_floating(values, "values")
        if not self.trainable:
            return jnp.asarray(companding.mu_law(values, mu=self.mu))
        start = nn.initializers.constant(math.log(self.mu))
        log_mu = self.param("log_mu", start, values.shape[-1:], jnp.float32)
        return _mu_law(values, match_rank(jnp.exp(log_mu).astype(values.dtype), values))


def _mu_law(values: jax.Array, mu: jax.Array) -> jax.Array:
    """:func:`.companding.mu_law` with the slope at 0 that the formula has, and a mu per channel."""
    # sign(x) f(|x|) has derivative 0 at 0 in JAX; f is odd, so either branch serves there.
    negative = values < 0
    size = jnp.where(negative, -values, values)
    compressed = jnp.log1p(mu * size) / jnp.log1p(mu)
    return jnp.where(negative, -compressed, compressed)
