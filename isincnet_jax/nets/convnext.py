"""ConvNeXt blocks over frames, and a refiner of them that starts as the identity."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from isincnet_jax.dsp.ranks import match_rank
from isincnet_jax.linen import SettledModule
from isincnet_jax.typing import Array

_GAIN_AT_START = 0.1
_NORM_EPSILON = 1e-6


def depthwise_over_frames(
    features: Float[Array, "... frames width"], kernel: Float[Array, "taps width"]
) -> Float[jax.Array, "... frames width"]:
    """Depthwise correlation along frames, a kernel for each feature; zeros beyond the ends.

    ``y[t] = sum_k kernel[k] x[t + k - taps // 2]``, as a sum of shifted products, which compilers
    fuse into one loop; grouped convolutions of so few taps are several times slower on CPUs.

    Args:
        features: [..., frames, width].
        kernel: [taps, width], taps odd, in the dtype of the features.

    Returns:
        [..., frames, width].
    """
    taps, frames = kernel.shape[0], features.shape[-2]
    reach = taps // 2
    widths = [(0, 0)] * (features.ndim - 2) + [(reach, reach), (0, 0)]
    padded = jnp.pad(features, widths)
    total = match_rank(kernel[0], padded) * padded[..., :frames, :]
    for tap in range(1, taps):
        total = total + match_rank(kernel[tap], padded) * padded[..., tap : tap + frames, :]
    return total


class FrameNorm(SettledModule):
    """Layer norm of each frame's features; statistics in float32, float64 for float64 features.

    Attributes:
        dtype: of the result.
    """

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, features: Float[jax.Array, "... frames width"]) -> jax.Array:
        """Features with mean 0 and variance 1 in every frame, times a gain, plus a bias."""
        width = features.shape[-1]
        gain = self.param("scale", nn.initializers.ones, (width,), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (width,), jnp.float32)
        double = features.dtype == jnp.float64
        wide = features.astype(jnp.float64 if double else jnp.float32)
        centred = wide - jnp.mean(wide, axis=-1, keepdims=True)
        variance = jnp.mean(centred * centred, axis=-1, keepdims=True)
        normed = centred * jax.lax.rsqrt(variance + _NORM_EPSILON)
        gain, bias = (match_rank(part.astype(wide.dtype), wide) for part in (gain, bias))
        return (normed * gain + bias).astype(self.dtype)


class ConvNeXtBlock(SettledModule):
    """ConvNeXt block: depthwise convolution over frames, norm, pointwise layers, as a residual.

    Attributes:
        width: features.
        taps: frames that the depthwise kernel spans, odd.
        expansion: hidden features of the pointwise layers, as a multiple of the width.
        dtype: of features and products; parameters and the norm's statistics are float32.

    References:
        Z. Liu et al., "A ConvNet for the 2020s", CVPR 2022, figure 4.
            https://arxiv.org/abs/2201.03545
        H. Siuzdak, "Vocos", ICLR 2024, section 3.2 (in one dimension, over frames).
            https://arxiv.org/abs/2306.00814
            Departure: the layer scale starts at 0.1 whatever the depth; nets here are shallow.
    """

    width: int
    taps: int = 7
    expansion: int = 4
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, features: Float[jax.Array, "... frames width"]) -> jax.Array:
        """Returns features of the same shape."""
        spread = nn.initializers.normal(self.taps**-0.5)
        kernel = self.param("depthwise", spread, (self.taps, self.width), jnp.float32)
        gain = self.param(
            "gain", nn.initializers.constant(_GAIN_AT_START), (self.width,), jnp.float32
        )
        mixed = depthwise_over_frames(features, kernel.astype(self.dtype))
        # A layer norm's bias and the depthwise kernel's do the same; there is one.
        mixed = FrameNorm(self.dtype)(mixed)
        hidden = nn.gelu(nn.Dense(self.expansion * self.width, dtype=self.dtype)(mixed))
        update = nn.Dense(self.width, dtype=self.dtype)(hidden)
        return features + match_rank(gain.astype(self.dtype), features) * jnp.asarray(update)


class Refiner(SettledModule):
    """Refiner: a ConvNeXt from features of frames to corrections, 0 until it has learned some.

    A dense layer, ConvNeXt blocks over frames, a layer norm, and a dense layer of zeros.

    Attributes:
        num_outputs: corrections per frame.
        width: features inside.
        num_blocks: ConvNeXt blocks.
        taps: frames that each block's kernel spans, odd.
        expansion: of the blocks.
        dtype: of the input and output.
        compute_dtype: of features and products inside, bfloat16 say; ``dtype`` if None.

    Raises:
        ValueError: for a width below 1, or an even number of taps.
    """

    num_outputs: int
    width: int = 192
    num_blocks: int = 2
    taps: int = 7
    expansion: int = 4
    dtype: Any = jnp.float32
    compute_dtype: Any = None

    @nn.compact
    def __call__(self, features: Float[Array, "... frames features"]) -> jax.Array:
        """Features [..., frames, features] to corrections [..., frames, num_outputs]."""
        if self.width < 1 or self.num_outputs < 1 or self.num_blocks < 0:
            raise ValueError(
                f"width={self.width}, num_blocks={self.num_blocks}, "
                f"num_outputs={self.num_outputs}: at least 1, 0 and 1"
            )
        if self.taps < 1 or self.taps % 2 == 0:
            raise ValueError(f"taps={self.taps}: a kernel centred on its frame has an odd number")
        inner = self.dtype if self.compute_dtype is None else self.compute_dtype
        hidden = nn.Dense(self.width, dtype=inner, name="enter")(features.astype(inner))
        for block in range(self.num_blocks):
            hidden = ConvNeXtBlock(
                self.width, self.taps, self.expansion, inner, name=f"block_{block}"
            )(hidden)
        hidden = FrameNorm(inner, name="norm")(hidden)
        zeros = nn.initializers.zeros
        leave = nn.Dense(self.num_outputs, dtype=inner, kernel_init=zeros, name="leave")
        return leave(hidden).astype(self.dtype)
