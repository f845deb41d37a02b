"""Polyphase matrix of a strided filterbank, differentiable: its frequency response in blocks."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Complex, Float

from isincnet_jax.dsp.settling import settles
from isincnet_jax.typing import Array


@settles
def polyphase_matrix(
    kernels: Float[Array, "channels taps"],
    frequency: Float[Array, " frequencies"],
    *,
    hop_length: int,
) -> Complex[jax.Array, "frequencies channels hop"]:
    """Polyphase matrix E(w): analysis of a signal that advances by a phase w from block to block.

    ``E(w)[c, m] = sum_b exp(i w b) k_c[b hop + m]``, k counted from the centre tap; the JAX twin of
    :func:`isincnet_jax.bank.dsp.frame_theory.polyphase_matrix`, for kernels that are learned.

    Args:
        kernels: real channels [channels, taps], centred at ``taps // 2``.
        frequency: angular frequencies in radians per frame, [frequencies].
        hop_length: samples between frames.

    Returns:
        [frequencies, channels, hop], complex64, or complex128 of float64.

    References:
        H. Boelcskei, F. Hlawatsch and H. Feichtinger, "Frame-theoretic analysis of oversampled
            filter banks", IEEE Trans. Signal Processing 46, 1998, section III.

    Example:
        >>> polyphase_matrix(jnp.ones((3, 5)), jnp.zeros(1), hop_length=2).shape
        (1, 3, 2)
    """
    channels, taps = kernels.shape
    # Frame n weighs sample m hop + r by the tap (m - n) hop + r + taps // 2. Zeros before and after
    # the taps cut them into blocks of one hop each, the block of m = n at the place `first`.
    first = -(-(taps // 2) // hop_length)
    start = first * hop_length - taps // 2
    num_blocks = -(-(start + taps) // hop_length)
    padded = jnp.pad(kernels, ((0, 0), (start, num_blocks * hop_length - start - taps)))
    blocks = jnp.reshape(padded, (channels, num_blocks, hop_length))
    # E(w)[channel, r] = sum_b exp(i w (b - first)) block_b[channel, r], r = 0 ... hop - 1
    angle = frequency[:, None] * jnp.asarray(np.arange(num_blocks) - first, frequency.dtype)
    phases = jax.lax.complex(jnp.cos(angle), jnp.sin(angle))
    return jnp.einsum("fb,cbm->fcm", phases, blocks.astype(phases.dtype), precision="highest")
