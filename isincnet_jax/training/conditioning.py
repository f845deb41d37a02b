"""The condition number of a filterbank as a differentiable function of its kernels, in JAX.

The float64 analysis of fixed banks is in :mod:`.frame_theory`; this is for banks that are learned.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from isincnet_jax.dsp.settling import settles
from isincnet_jax.typing import Array


@settles
def log_eigenvalues(
    kernels: Float[Array, "channels taps"],
    frequency: Float[Array, " frequencies"],
    *,
    hop_length: int,
) -> Float[jax.Array, "frequencies hop"]:
    """Logarithms of the eigenvalues of the frame operator at some frequencies, ascending.

    Their gradients take the eigenvectors as fixed, which is exact to first order. Float32
    resolves condition numbers up to about 1e6: a millionth of the largest eigenvalue is added
    to all, so that banks that are no frames have a gradient too.

    Args:
        kernels: real channels [channels, taps], centred at ``taps // 2``.
        frequency: angular frequencies in radians per frame, [frequencies].
        hop_length: samples between frames.

    Returns:
        [frequencies, hop_length].

    References:
        H. Boelcskei, F. Hlawatsch and H. Feichtinger, IEEE Trans. Signal Processing 46, 1998,
            section III.
    """
    channels, taps = kernels.shape
    first = -(-(taps // 2) // hop_length)
    start = first * hop_length - taps // 2
    num_blocks = -(-(start + taps) // hop_length)
    padded = jnp.pad(kernels, ((0, 0), (start, num_blocks * hop_length - start - taps)))
    blocks = jnp.reshape(padded, (channels, num_blocks, hop_length))
    angle = frequency[:, None] * jnp.asarray(np.arange(num_blocks) - first, frequency.dtype)
    phases = jax.lax.complex(jnp.cos(angle), jnp.sin(angle))
    polyphase = jnp.einsum("fb,cbm->fcm", phases, blocks.astype(phases.dtype), precision="highest")
    operator = jnp.einsum("fcm,fcn->fmn", jnp.conj(polyphase), polyphase, precision="highest")
    _, vectors = jnp.linalg.eigh(jax.lax.stop_gradient(operator))
    vectors = jax.lax.stop_gradient(vectors)
    # ||E v||^2 for each eigenvector: the Rayleigh quotient, without cancellation
    seen = jnp.einsum("fcm,fmk->fck", polyphase, vectors, precision="highest")
    energy = jnp.sum(jnp.real(seen) ** 2 + jnp.imag(seen) ** 2, axis=1)
    largest = jnp.max(jax.lax.stop_gradient(energy))
    return jnp.log(energy + largest * (8 * jnp.finfo(energy.dtype).eps))


@settles
def log_condition(
    kernels: Float[Array, "channels taps"],
    frequency: Float[Array, " frequencies"],
    *,
    hop_length: int,
) -> Float[jax.Array, ""]:
    """log(B / A) over some frequencies; see :func:`log_eigenvalues`.

    The true condition number is the supremum over all frequencies, so this is a lower bound.

    Returns:
        A scalar, 0 for a tight bank.
    """
    values = log_eigenvalues(kernels, frequency, hop_length=hop_length)
    return jnp.max(values[:, -1]) - jnp.min(values[:, 0])
