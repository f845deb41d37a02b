"""Residual blocks of CNNVocoder, over images and over sequences, alone and in runs."""

from __future__ import annotations

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Float

from isincnet_jax.linen import SettledModule
from isincnet_jax.nets.resnet import batch_norm
from isincnet_jax.typing import Array
from isincnet_jax.vocoders.blocks import sequence_conv

_MOST_SHIFTS = 8
_MOMENTUM = 0.9
_EPSILON = 1e-5

_xavier = nn.initializers.xavier_uniform()
_stacked_xavier = nn.initializers.variance_scaling(1.0, "fan_avg", "uniform", batch_axis=(0,))


def elu(values: jax.Array) -> jax.Array:
    """Exponential linear unit: ``x`` above 0, ``exp(x) - 1`` below.

    The exponential costs half of ``expm1`` on CPUs.

    Args:
        values: floating, of any shape.

    Returns:
        At least -1, of the same shape and dtype.
    """
    return jnp.where(values > 0, values, jnp.exp(jnp.minimum(values, 0.0)) - 1.0)


def convolve_image(
    image: Float[Array, "batch inputs height width"],
    kernel: Float[Array, "rows columns inputs outputs"],
) -> Float[jax.Array, "batch outputs height width"]:
    """Convolution of an image, channels before height and width; zeros beyond the edges.

    Between one or two channels it is written as a sum of shifted products, which compilers fuse
    into one loop: 20 times as fast as a library's convolution on CPUs (measured, 1 to 1 and 2 to 2
    channels).

    Args:
        image: [batch, inputs, height, width].
        kernel: [rows, columns, inputs, outputs], odd sizes, in the dtype of the image.

    Returns:
        [batch, outputs, height, width].
    """
    rows, columns, inputs, outputs = kernel.shape
    if inputs * outputs > _MOST_SHIFTS:
        return lax.conv_general_dilated(
            jnp.asarray(image),
            jnp.asarray(kernel),
            (1, 1),
            "SAME",
            dimension_numbers=("NCHW", "HWIO", "NCHW"),
        )
    height, width = image.shape[2:]
    edges = [(0, 0), (0, 0), (rows // 2, rows // 2), (columns // 2, columns // 2)]
    padded = jnp.pad(image, edges)
    # y[r, c] = sum_ij K[i, j] x[r + i - rows // 2, c + j - columns // 2], shift by shift.
    parts = [
        # All outputs at once, by broadcasting: stacking them would be a branch in every product.
        kernel[row, column, channel][None, :, None, None]
        * padded[:, channel : channel + 1, row : row + height, column : column + width]
        for row in range(rows)
        for column in range(columns)
        for channel in range(inputs)
    ]
    return functools.reduce(jnp.add, parts)


class ImageConv(SettledModule):
    """Convolution of images, :func:`convolve_image`, with the parameters of ``nn.Conv``.

    Attributes:
        width: output channels.
        taps: rows and columns of the kernel, odd.
        use_bias: whether a bias is added.
        dtype: of the computation; parameters are float32.
    """

    width: int
    taps: int = 3
    use_bias: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image: Float[jax.Array, "batch inputs height width"]) -> jax.Array:
        """[batch, inputs, height, width] to [batch, outputs, height, width]."""
        shape = (self.taps, self.taps, image.shape[1], self.width)
        kernel = self.param("kernel", _xavier, shape, jnp.float32)
        result = convolve_image(image, kernel.astype(self.dtype))
        if not self.use_bias:
            return result
        bias = self.param("bias", nn.initializers.zeros, (self.width,), jnp.float32)
        return result + bias.astype(self.dtype)[None, :, None, None]


class ResidualUnit(SettledModule):
    """Convolution, BatchNorm, ELU, convolution, BatchNorm, a way around, ELU.

    The way around is a convolution of one tap without bias and a BatchNorm where the channels
    change.

    Attributes:
        width: channels of the result.
        taps: of the convolutions, odd.
        as_image: images [batch, channels, height, width] rather than sequences [batch, time,
            channels].
        dtype: of the computation.
        axis_name: of the devices that share batch statistics.
    """

    width: int
    taps: int = 3
    as_image: bool = False
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, values: jax.Array, *, train: bool = False) -> jax.Array:
        """Values of the same layout, ``width`` channels."""
        axis = 1 if self.as_image else -1
        norm = functools.partial(
            batch_norm(self.axis_name, train=train), dtype=self.dtype, axis=axis
        )
        main = self._conv(self.taps, "conv_0")(values)
        main = elu(norm(name="norm_0")(main))
        main = norm(name="norm_1")(self._conv(self.taps, "conv_1")(main))
        if values.shape[axis] != self.width:
            values = norm(name="norm_around")(self._conv(1, "conv_around", False)(values))
        return elu(values + main)

    def _conv(self, taps: int, name: str, use_bias: bool = True) -> Any:
        if self.as_image:
            return ImageConv(self.width, taps, use_bias, self.dtype, name=name)
        return sequence_conv(self.width, taps, use_bias=use_bias, dtype=self.dtype, name=name)


class ResidualRun(SettledModule):
    """Residual blocks of one width in a row, :class:`ResidualUnit`, as one loop over convolutions.

    Every step is a convolution, BatchNorm, every second time the way around, and ELU. Compilers
    see one step instead of dozens: on CPUs they otherwise fuse the padding of an image with
    everything before it, at 4 times the time and a multiple of the compilation (measured).

    Parameters are stacked, ``n = 2 num_blocks``: ``kernel`` [n, taps, (taps,) width, width],
    ``bias``, ``scale`` and ``offset`` [n, width]; statistics ``mean`` and ``var`` [n, width].

    Attributes:
        num_blocks: residual blocks.
        taps: of the convolutions, odd.
        as_image: images [batch, channels, height, width] rather than sequences [batch, time,
            channels].
        dtype: of the computation; parameters and statistics are float32.
        axis_name: of the devices that share batch statistics.
    """

    num_blocks: int
    taps: int = 3
    as_image: bool = False
    dtype: Any = jnp.float32
    axis_name: str | None = None

    @nn.compact
    def __call__(self, values: jax.Array, *, train: bool = False) -> jax.Array:
        """Values of the same shape."""
        width = values.shape[1 if self.as_image else -1]
        steps = 2 * self.num_blocks
        sizes = (self.taps, self.taps) if self.as_image else (self.taps,)
        zeros, ones = nn.initializers.zeros, nn.initializers.ones
        weights = {
            "kernel": self.param(
                "kernel", _stacked_xavier, (steps, *sizes, width, width), jnp.float32
            ),
            "bias": self.param("bias", zeros, (steps, width), jnp.float32),
            "scale": self.param("scale", ones, (steps, width), jnp.float32),
            "offset": self.param("offset", zeros, (steps, width), jnp.float32),
        }
        mean = self.variable("batch_stats", "mean", jnp.zeros, (steps, width), jnp.float32)
        var = self.variable("batch_stats", "var", jnp.ones, (steps, width), jnp.float32)

        def step(carry: tuple[Any, Any], given: dict[str, Any]) -> tuple[Any, Any]:
            latest, around = carry
            convolved = self._convolve(latest, given["kernel"], given["bias"])
            seen = (given["mean"], given["var"])
            if train:
                seen = self._statistics(convolved)
            # scale (x - mean) / sqrt(var + eps) + offset = factor x + shift.
            factor = given["scale"] * lax.rsqrt(seen[1] + _EPSILON)
            shift = given["offset"] - seen[0] * factor
            normed = self._each(factor) * convolved + self._each(shift)
            # Every second step ends a block: its input comes in, and the result is the next one's.
            result = elu(normed + jnp.where(given["ends"], around, 0.0))
            return (result, jnp.where(given["ends"], result, around)), seen

        ends = jnp.arange(steps, dtype=jnp.int32) % 2 == 1
        given = {**weights, "mean": mean.value, "var": var.value, "ends": ends}
        (result, _), seen = lax.scan(step, (values, values), given)
        if train and not self.is_initializing():
            for variable, latest in zip((mean, var), seen, strict=True):
                variable.value = _MOMENTUM * variable.value + (1.0 - _MOMENTUM) * latest
        return result

    def _convolve(self, values: jax.Array, kernel: Any, bias: Any) -> jax.Array:
        if self.as_image:
            result = convolve_image(values, kernel.astype(self.dtype))
        else:
            result = lax.conv_general_dilated(
                values,
                kernel.astype(self.dtype),
                (1,),
                "SAME",
                dimension_numbers=("NWC", "WIO", "NWC"),
            )
        return result + self._each(bias)

    def _each(self, per_channel: Any) -> jax.Array:
        """Values per channel in the shape that broadcasts against the layout."""
        cast = per_channel.astype(self.dtype)
        return cast[None, :, None, None] if self.as_image else cast[None, None]

    def _statistics(self, values: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Mean and variance per channel in float32, over the devices as well."""
        # var = E x^2 - (E x)^2, both means over clips and places, and over devices.
        axes = (0, 2, 3) if self.as_image else (0, 1)
        wide = values.astype(jnp.float32)
        mean, square = jnp.mean(wide, axes), jnp.mean(wide**2, axes)
        if self.axis_name is not None:
            mean, square = lax.pmean((mean, square), self.axis_name)
        return mean, jnp.maximum(square - mean**2, 0.0)
