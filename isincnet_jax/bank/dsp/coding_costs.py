"""Costs of coding coefficients, as smooth functions of them: quantisation noise and bits.

References:
    W. R. Bennett, "Spectra of quantized signals", Bell System Technical Journal 27, 1948: the
        noise of a companded quantiser of many levels.
    S. W. Golomb, "Run-length encodings", IEEE Trans. Information Theory 12, 1966: codes of the
        geometric distribution.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from isincnet_jax.dsp.settling import settles
from isincnet_jax.typing import Spectrogram

_LEAST_MEAN = 0.05
"""Steps: what a coder that adapts expects of coefficients among zeros."""


@settles
def companding_noise(
    spectrogram: Spectrogram, *, q_bits: int, mu: float = 30.0
) -> Float[jax.Array, "... channels"]:
    """Quantisation noise of :class:`.Quantizer` with the peaks of each clip as scales: variances.

    A step of the companded value is ``1 / H``, ``H = 2^(q - 1) - 1``, and the expander's slope at
    a coefficient of v scales is ``(1 + mu v) log(1 + mu) / mu``: ``n = (slope scale / H)^2 / 12``.

    Args:
        spectrogram: [..., frames, channels], floating.
        q_bits: 2 to 16.
        mu: of the companding.

    Returns:
        Means over frames [..., channels]; at 4 bits within 0.3 dB of what is measured on music.

    Example:
        >>> noise = companding_noise(jnp.ones((7, 2)), q_bits=8)
        >>> noise.shape
        (2,)
    """
    magnitude = jnp.abs(spectrogram)
    scale = jnp.max(magnitude, axis=-2, keepdims=True)
    step = np.log1p(mu) / mu / (2 ** (q_bits - 1) - 1)
    # slope * scale: (scale + mu |S|) log(1 + mu) / mu
    return step**2 / 12 * jnp.mean((scale + mu * magnitude) ** 2, axis=-2)


def coding_bits(steps: Spectrogram) -> Float[jax.Array, "... frames channels"]:
    """Bits of coefficients in quantisation steps, for a coder that expects what is around them.

    Magnitudes of a geometric distribution whose mean m is that of coefficients that are known
    already, the last two of the frame and five of the frame before; and signs, a bit where m is
    large: ``log2(1 + 2 m) + |a| log2(1 + 1 / m)``.

    Args:
        steps: coefficients over the step, [..., frames, channels]; not rounded.

    Returns:
        Bits of each, in their shape. Differences between windows are meant, not rates: the token
        coder, whose contexts are more, writes fewer.

    Example:
        >>> float(coding_bits(jnp.zeros((1, 4))).max()) < 0.2
        True
    """
    size = jnp.abs(steps)
    bins = size.shape[-1]
    around = [(0, 0)] * (size.ndim - 2)
    before = jnp.pad(size, [*around, (1, 0), (2, 2)])[..., :-1, :]
    lower = jnp.pad(size, [*around, (0, 0), (2, 0)])

    def known(values: jax.Array, first: int) -> jax.Array:
        return values[..., first : first + bins]

    # Neighbours count by their distance; the sum of the weights is 8.
    mean = 2 * known(before, 2) + known(before, 1) + known(before, 3)
    mean = mean + 0.5 * (known(before, 0) + known(before, 4))
    mean = (mean + 2 * known(lower, 1) + known(lower, 0)) / 8 + _LEAST_MEAN
    return jnp.log2(1 + 2 * mean) + size * jnp.log2(1 + 1 / mean)
