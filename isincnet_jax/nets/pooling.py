"""Pooling: LEAF's learned Gaussian low passes, which lower the rate of energies, and maxima."""

from __future__ import annotations

import functools
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

from isincnet_jax.dsp import centering, checks
from isincnet_jax.dsp.ranks import match_rank
from isincnet_jax.linen import SettledModule
from isincnet_jax.typing import Array

_FEWEST_SUMMED = 16  # channels


def squared_modulus(
    pairs: Float[Array, "... frames channels"],
) -> Float[jax.Array, "... frames bins"]:
    """Squared modulus ``c^2 + s^2`` of analytic pairs, with finite gradients everywhere.

    Args:
        pairs: [..., frames, 2 bins], all cosine channels before all sine channels, as a complex
            :class:`.SincConv` or :class:`.Analysis` has them.

    Returns:
        [..., frames, bins], not negative.

    Raises:
        ValueError: for an odd number of channels.

    Example:
        >>> squared_modulus(jnp.array([[3.0, 1.0, 4.0, 0.0]])).tolist()
        [[25.0, 1.0]]
    """
    checks.check_floating(pairs, "pairs", ndim=1)
    channels = pairs.shape[-1]
    if channels % 2:
        raise ValueError(f"channels={channels}: cosine and sine channels come in pairs, an even")
    cosine, sine = jnp.split(jnp.asarray(pairs), 2, axis=-1)
    return cosine**2 + sine**2


def max_pool(
    values: Float[Array, "... frames channels"], pool_size: int
) -> Float[jax.Array, "... pooled channels"]:
    """Max-pooling over frames, pools side by side.

    The derivative goes to the first of equal maxima, as in PyTorch. It is a choice between arrays,
    where that of ``reduce_window`` is a scatter, XLA's slowest operation on CPUs.

    Args:
        values: [..., frames, channels].
        pool_size: frames of a pool, 1 or more; frames left over at the end are dropped.

    Returns:
        [..., frames // pool_size, channels].

    Example:
        >>> max_pool(jnp.array([[1.0], [3.0], [2.0], [0.0], [9.0]]), 2).tolist()
        [[3.0], [2.0]]
    """
    *batch, frames, channels = values.shape
    pools = frames // pool_size
    kept = jnp.reshape(values[..., : pools * pool_size, :], (*batch, pools, pool_size, channels))
    best = kept[..., 0, :]
    for place in range(1, pool_size):
        other = kept[..., place, :]
        best = jnp.where(other > best, other, best)
    return best


def gaussian_kernels(
    width: Float[Array, " channels"],
    kernel_size: int,
    *,
    normalization: Literal["sum", "peak"] = "sum",
) -> Float[jax.Array, "channels taps"]:
    """Gaussian kernels ``exp(-(n / (width h))^2 / 2)``, n from -h to h = (K - 1) / 2.

    Args:
        width: standard deviations as fractions of half the kernel, [channels]; clipped to
            [2 / K, 1/2].
        kernel_size: K, 3 or more.
        normalization: "sum" for kernels of sum 1, "peak" for those above, of peak 1.

    Returns:
        [channels, K], dtype of the widths.
    """
    half = 0.5 * (kernel_size - 1)
    place = jnp.asarray((np.arange(kernel_size) - half) / half, width.dtype)
    clipped = jnp.clip(width, 2.0 / kernel_size, 0.5)
    taps = jnp.exp(-0.5 * (place[None] / clipped[:, None]) ** 2)
    return taps if normalization == "peak" else taps / jnp.sum(taps, axis=1, keepdims=True)


class GaussianPooling(SettledModule):
    """Gaussian pooling: a low pass per channel with a learned width, every hop-th frame kept.

    The parameter ``width`` [channels] is the standard deviation as a fraction of half the kernel,
    clipped to [2 / kernel_size, 1/2] where it is used; outside, its gradient is 0. Constants pass
    unchanged, but for the edges of ``padding="same"``, where zeros come in.

    Frames: with "same" one at every ``hop_length``-th of the input, ``ceil(frames / hop_length)``,
    centred on it; with "valid" those whose kernel lies within the input.

    Attributes:
        kernel_size: taps K, 3 or more.
        hop_length: frames of the input per frame of the output.
        width: at the start.
        padding: "same" or "valid".
        normalization: "sum" for kernels of sum 1, the paper's; "peak" for a peak of 1, as LEAF's
            published code has it, where wider kernels are louder.
        trainable: whether widths are learned.
        precision: of the products on accelerators.

    Raises:
        ValueError: for arguments out of range; at the call for an input shorter than the kernel
            with padding "valid".

    References:
        N. Zeghidour et al., "LEAF: a learnable frontend for audio classification", ICLR 2021,
            section 3.2. https://arxiv.org/abs/2101.08596
        Departure: LEAF pads as TensorFlow's "same", which centres its frames half a hop later;
            the paper divides by sqrt(2 pi) times the width, this by the sum of the taps.

    Example:
        >>> layer = GaussianPooling(trainable=False)
        >>> layer.apply({}, jnp.ones((2, 16_000, 40), jnp.float32)).shape
        (2, 100, 40)
    """

    kernel_size: int = 401
    hop_length: int = 160
    width: float = 0.4
    padding: Literal["same", "valid"] = "same"
    normalization: Literal["sum", "peak"] = "sum"
    trainable: bool = True
    precision: lax.PrecisionLike = lax.Precision.HIGHEST

    def __post_init__(self) -> None:
        """Checks the arguments."""
        checks.check_positive_integers(kernel_size=self.kernel_size, hop_length=self.hop_length)
        if self.kernel_size < 3:
            raise ValueError(f"kernel_size={self.kernel_size} must be 3 or more, say 401")
        if not 2.0 / self.kernel_size <= self.width <= 0.5:
            raise ValueError(
                f"width={self.width} must be 2 / kernel_size={2 / self.kernel_size:.4g} to 0.5"
            )
        if self.padding not in ("same", "valid"):
            raise ValueError(f"padding={self.padding!r} is unknown; use 'same' or 'valid'")
        if self.normalization not in ("sum", "peak"):
            raise ValueError(
                f"normalization={self.normalization!r} is unknown; use 'sum' or 'peak'"
            )
        super().__post_init__()

    def count_frames(self, num_frames: int) -> int:
        """Number of frames that come out.

        Args:
            num_frames: frames of the input, 1 or more.

        Returns:
            ``ceil(num_frames / hop_length)`` with padding "same" and an odd kernel, fewer with
            "valid".

        Raises:
            ValueError: for none, or fewer than the kernel with padding "valid".
        """
        return centering.count_frames(
            num_frames,
            frame_length=self.kernel_size,
            hop_length=self.hop_length,
            center=self.padding == "same",
        )

    @nn.compact
    def __call__(
        self, values: Float[Array, "... frames channels"]
    ) -> Float[jax.Array, "... pooled channels"]:
        """Smooths and decimates along the frames.

        Args:
            values: [..., frames, channels], floating.

        Returns:
            [..., pooled frames, channels], in the same dtype.
        """
        values = checks.as_floating(values, "values", ndim=2)
        channels = values.shape[-1]
        widths = jnp.full((channels,), self.width, values.dtype)
        if self.trainable:
            start = nn.initializers.constant(self.width)
            widths = self.param("width", start, (channels,), jnp.float32).astype(values.dtype)
        kernels = gaussian_kernels(widths, self.kernel_size, normalization=self.normalization)
        return pool_frames(
            values,
            kernels,
            hop=self.hop_length,
            frames=self.count_frames(values.shape[-2]),
            same=self.padding == "same",
            precision=self.precision,
        )


def pool_frames(
    values: jax.Array,
    kernels: jax.Array,
    *,
    hop: int,
    frames: int,
    same: bool,
    precision: lax.PrecisionLike,
) -> jax.Array:
    """Decimating low passes ``y[t, c] = sum_k g_c[k] x[t hop - left + k, c]``, one per channel.

    The frames are cut into tiles of one hop; each of the kernel's ceil(K / hop) tiles is one
    weighted sum over the tiles of the input, which reads it once per tile. Depthwise
    convolutions are the slowest ones that libraries have.

    Args:
        values: [..., frames, channels]; zeros beyond the ends.
        kernels: g, [channels, taps].
        hop: frames of the input per frame of the output.
        frames: of the output.
        same: whether the first kernel is centred on the first frame (left = taps // 2), or begins
            with it (left = 0).
        precision: of the products on accelerators.

    Returns:
        [..., frames, channels].
    """
    channels, taps = kernels.shape
    left = taps // 2 if same else 0
    # y[t] = sum_j sum_h x[(t + j) hop + h] g[j hop + h], with j over the tiles of the kernel.
    tiles = -(-taps // hop)
    total = (frames - 1 + tiles) * hop
    keep = [(0, 0, 0)] * (values.ndim - 2)
    edges = (left, total - left - values.shape[-2], 0)
    # Zeros before and after, or a cut of frames that no kernel reaches.
    padded = lax.pad(values, jnp.zeros((), values.dtype), [*keep, edges, (0, 0, 0)])
    blocks = jnp.reshape(padded, (*values.shape[:-2], frames - 1 + tiles, hop, channels))
    weights = jnp.pad(kernels, ((0, 0), (0, tiles * hop - taps)))
    by_tile = jnp.reshape(jnp.transpose(weights), (tiles, hop, channels))
    # A product per channel is the faster way to few sums, a sum over the hop to many: XLA would
    # move the channels to the front for products, a copy of all frames for each tile.
    if channels < _FEWEST_SUMMED:
        product = functools.partial(jnp.einsum, "...fhc,hc->...fc", precision=precision)
    else:
        product = _weighted_sums
    sums = [
        product(blocks[..., tile : tile + frames, :, :], by_tile[tile]) for tile in range(tiles)
    ]
    return sum(sums[1:], sums[0])


def _weighted_sums(blocks: jax.Array, weights: jax.Array) -> jax.Array:
    return jnp.sum(blocks * match_rank(weights, blocks), axis=-2)
