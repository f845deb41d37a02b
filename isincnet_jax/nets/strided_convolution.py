"""Strided convolution of images as a matrix product, which trains faster on CPUs."""

from __future__ import annotations

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Float

from isincnet_jax.dsp.ranks import match_rank
from isincnet_jax.linen import SettledModule
from isincnet_jax.typing import Array

_MOST_TAPS = 32  # of kernels that are gathered; larger ones take long to compile


def _same_padding(size: int, *, taps: int, stride: int) -> tuple[int, int]:
    """Padding so that ``ceil(size / stride)`` outputs remain, TensorFlow's SAME.

    Example:
        >>> _same_padding(257, taps=5, stride=4)
        (2, 2)
    """
    missing = max((-(-size // stride) - 1) * stride + taps - size, 0)
    return missing // 2, missing - missing // 2


def convolve(
    image: Float[Array, "batch rows columns inputs"],
    kernel: Float[Array, "row_taps column_taps inputs outputs"],
    *,
    strides: tuple[int, int],
    precision: lax.PrecisionLike = None,
) -> Float[jax.Array, "batch out_rows out_columns outputs"]:
    """Strided correlation with SAME padding, as :class:`flax.linen.Conv` has it.

    On CPUs the windows of small kernels are gathered and multiplied with the kernel: the gradients
    of XLA's strided convolutions take twice as long there (measured: C6XL forward and backward
    12 ms of processor time a clip instead of 30). Elsewhere it is XLA's convolution, and so are
    kernels of more than 32 taps, whose programs would take long to compile.

    Args:
        image: [batch, rows, columns, inputs], floating.
        kernel: [row taps, column taps, inputs, outputs], of the same dtype.
        strides: of rows and columns.
        precision: of the products.

    Returns:
        [batch, ceil(rows / strides[0]), ceil(columns / strides[1]), outputs].
    """
    padding = tuple(
        _same_padding(size, taps=taps, stride=stride)
        for size, taps, stride in zip(image.shape[1:3], kernel.shape[:2], strides, strict=True)
    )

    def as_convolution(image: Any, kernel: Any) -> jax.Array:
        return lax.conv_general_dilated(
            image,
            kernel,
            strides,
            padding,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision=precision,
        )

    def as_product(image: Any, kernel: Any) -> jax.Array:
        # Windows [batch, rows, columns, row taps column taps inputs], in the kernel's order.
        windows = _windows(jnp.pad(image, ((0, 0), *padding, (0, 0))), kernel.shape[:2], strides)
        matrix = jnp.reshape(kernel, (-1, kernel.shape[-1]))
        # Rows of all windows: a product of two matrices, not of many.
        found = jnp.matmul(jnp.reshape(windows, (-1, matrix.shape[0])), matrix, precision=precision)
        return jnp.reshape(found, (*windows.shape[:-1], kernel.shape[-1]))

    if math.prod(kernel.shape[:2]) > _MOST_TAPS:
        return as_convolution(image, kernel)
    return lax.platform_dependent(image, kernel, cpu=as_product, default=as_convolution)


def _windows(padded: jax.Array, taps: tuple[int, int], strides: tuple[int, int]) -> jax.Array:
    """All windows of an image [batch, rows, columns, taps and inputs]."""
    slices = [
        [slice(tap, size - (count - 1 - tap), stride) for tap in range(count)]
        for size, count, stride in zip(padded.shape[1:3], taps, strides, strict=True)
    ]
    parts = [padded[:, rows, columns] for rows in slices[0] for columns in slices[1]]
    return jnp.concatenate(parts, axis=-1)


class StridedConv(SettledModule):
    """Strided convolution layer with SAME padding, :class:`flax.linen.Conv` by :func:`convolve`.

    Parameters ``kernel`` [row taps, column taps, inputs, features] and ``bias`` [features].

    Attributes:
        features: outputs.
        taps: of rows and columns.
        strides: of rows and columns.
        dtype: of the computation.
        precision: of the products on accelerators.
    """

    features: int
    taps: tuple[int, int]
    strides: tuple[int, int]
    dtype: Any = jnp.float32
    precision: lax.PrecisionLike = None

    @nn.compact
    def __call__(
        self, image: Float[Array, "batch rows columns inputs"]
    ) -> Float[jax.Array, "batch out_rows out_columns features"]:
        """[batch, rows, columns, inputs] to [batch, out rows, out columns, features]."""
        shape = (*self.taps, image.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.he_normal(), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        found = convolve(
            jnp.asarray(image, self.dtype),
            jnp.asarray(kernel, self.dtype),
            strides=self.strides,
            precision=self.precision,
        )
        return found + match_rank(jnp.asarray(bias, self.dtype), found)
