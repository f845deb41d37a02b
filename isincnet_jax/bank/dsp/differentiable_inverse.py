"""Exact decoders of learned filters as differentiable functions of the filters.

The inverse of a bank is solved, not trained, so that a loss of what comes out of it has a gradient
by the analysis filters alone. Noise of variance ``n_c`` on the coefficients of channel c comes out
with the power ``sum_c n_c |g_c|^2 / hop`` per sample, g_c being the channel's synthesis kernel. Of
all exact decoders the one of least power is, at every frequency w, with the polyphase matrix E::

    D = (E* N^-1 E + l)^-1 E* N^-1,   N = diag(n)

For equal n and l = 0 that is the canonical dual. With l > 0 it is the Wiener decoder of white
signals of power 1 / l, which exists for banks that cannot be inverted: the way to those that can.

Everything is JAX, meant for float64: a condition number of 1e6 leaves float32 no digits.

References:
    H. Boelcskei, F. Hlawatsch and H. Feichtinger, "Frame-theoretic analysis of oversampled
        filter banks", IEEE Trans. Signal Processing 46, 1998, sections III and IV.
    S. M. Kay, "Fundamentals of Statistical Signal Processing: Estimation Theory", Prentice Hall
        1993, sections 4.5 (weighted least squares) and 11.5 (Wiener).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from isincnet_jax.dsp import polyphase
from isincnet_jax.dsp.settling import settles
from isincnet_jax.typing import Array


class Inverse(NamedTuple):
    """Solved decoder, differentiable.

    Attributes:
        kernels: synthesis kernels [channels, taps], a whole number of hops long.
        lead: taps before a frame's position, a whole number of hops.
        bias: power per sample of what it misses of a white signal of power 1 / l, in the unit of
            the noise; 0 of an exact one.
    """

    kernels: jax.Array
    lead: int
    bias: jax.Array

    def energies(self, hop_length: int) -> Float[jax.Array, " channels"]:
        """Powers per sample that noise of variance 1 on single channels comes out with.

        Args:
            hop_length: samples between frames.

        Returns:
            [channels]; their sum is the squared ``noise_gain`` of a :class:`.SolvedDecoder`.
        """
        return jnp.sum(self.kernels**2, axis=1) / hop_length


@settles
def periodic_inverse(
    kernels: Float[Array, "channels taps"],
    noise: Float[Array, " channels"],
    *,
    hop_length: int,
    ridge: float = 0.0,
    num_blocks: int = 16,
) -> Inverse:
    """Inverse of least noise, solved frequency by frequency.

    Args:
        kernels: real channels [channels, taps], centred at ``taps // 2``.
        noise: variances of the noise on the channels, positive; only their ratios matter.
        hop_length: samples between frames.
        ridge: l, relative to the mean eigenvalue of E* N^-1 E.
        num_blocks: reach of the synthesis kernels in hops; tails beyond are wrapped around.

    Returns:
        Kernels of ``2 num_blocks`` hops.

    Example:
        >>> found = periodic_inverse(jnp.eye(3), jnp.ones(3), hop_length=3, num_blocks=1)
        >>> found.kernels.shape, found.lead, found.energies(3).tolist()
        ((3, 6), 3, [0.3333333432674408, 0.3333333432674408, 0.3333333432674408])
    """
    count = 2 * num_blocks
    # Real kernels: E(-w) = conj E(w), so that frequencies from 0 to pi do.
    frequency = jnp.asarray(np.arange(num_blocks + 1) * (2 * np.pi / count), kernels.dtype)
    matrix = polyphase.polyphase_matrix(kernels, frequency, hop_length=hop_length)
    weighted = matrix * (1 / noise).astype(matrix.dtype)[:, None]
    gram = jnp.einsum("fcm,fcn->fmn", jnp.conj(matrix), weighted, precision="highest")
    # The ends of [0, pi] stand for themselves, all others for w and -w.
    share = np.full(num_blocks + 1, 2.0 / count)
    share[[0, -1]] = 1.0 / count
    share = jnp.asarray(share, kernels.dtype)
    trace = jnp.real(jnp.trace(gram, axis1=1, axis2=2))
    added = ridge * jnp.sum(share * trace) / hop_length
    eye = jnp.eye(hop_length, dtype=gram.dtype)
    inverse = jnp.linalg.inv(gram + added.astype(gram.dtype) * eye)
    # E N^-1 (E* N^-1 E + l)^-1, of which D is the conjugate transpose
    dual = jnp.einsum("fcm,fmn->fcn", weighted, inverse, precision="highest")
    # k_c[b hop + m] = mean over w of dual(w)[c, m] exp(-i w b)
    blocks = jnp.fft.irfft(jnp.conj(dual), count, axis=0)
    order = np.arange(-num_blocks, num_blocks) % count
    synthesis = blocks[order].transpose(1, 0, 2).reshape(len(kernels), -1)
    # l |(E* N^-1 E + l)^-1|^2, the square of a matrix's norm: (1 / l) |D E - 1|^2
    missed = jnp.sum(jnp.abs(inverse) ** 2, axis=(1, 2))
    return Inverse(synthesis, num_blocks * hop_length, added * jnp.sum(share * missed) / hop_length)


@settles
def positioned_inverse(
    kernels: Float[Array, "channels taps"],
    noise: Float[Array, " channels"],
    *,
    hop_length: int,
    num_frames: int,
    lead: int,
    ridge: float = 0.0,
) -> Inverse:
    """Inverse of least noise of few frames at a given place: what a stream waits for is bounded.

    Args:
        kernels: real channels [channels, taps], centred at ``taps // 2``.
        noise: variances of the noise on the channels, positive.
        hop_length: samples between frames.
        num_frames: frames that contribute to a block of output.
        lead: samples that the newest of them emits before its own position.
        ridge: l, relative to the mean diagonal of ``A^T N^-1 A``.

    Returns:
        Kernels of ``num_frames`` hops, and one more unless the lead is a whole number of hops;
        as exact as :func:`.decoders.least_squares_decoder` of the same place.

    Raises:
        ValueError: if the frames do not span a block.
    """
    channels, taps = kernels.shape
    samples = (num_frames - 1) * hop_length + taps
    start = taps // 2 + (num_frames - 1) * hop_length - lead
    if not 0 <= start <= samples - hop_length:
        raise ValueError(
            f"num_frames={num_frames} with lead={lead} do not span a block of "
            f"hop_length={hop_length} samples; use more frames or another lead"
        )
    shifted = [
        jnp.pad(kernels, ((0, 0), (frame * hop_length, samples - taps - frame * hop_length)))
        for frame in range(num_frames)
    ]
    matrix = jnp.concatenate(shifted)  # A, [frames * channels, samples]
    weighted = matrix / jnp.tile(noise, num_frames)[:, None]
    gram = jnp.matmul(matrix.T, weighted, precision="highest")
    added = ridge * jnp.trace(gram) / samples
    target = jnp.eye(samples, dtype=kernels.dtype)[:, start : start + hop_length]
    # Samples that few frames see make A^T N^-1 A singular: those outside the block may stay so.
    factor = jax.scipy.linalg.cho_factor(gram + added * jnp.eye(samples, dtype=gram.dtype))
    solution = jax.scipy.linalg.cho_solve(factor, target)  # [samples, hop]
    outputs = jnp.matmul(weighted, solution, precision="highest")  # W^T, [frames * channels, hop]
    # g_c[(J - 1 - j) hop + i] = W[i, j, c]
    blocks = outputs.reshape(num_frames, channels, hop_length)[::-1].transpose(1, 0, 2)
    before = -lead % hop_length
    after = (hop_length - before) % hop_length
    synthesis = jnp.pad(blocks.reshape(channels, -1), ((0, 0), (before, after)))
    return Inverse(synthesis, lead + before, added * jnp.sum(solution**2) / hop_length)
