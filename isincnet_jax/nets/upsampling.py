"""Upsampling by two: linear, in polyphase form, alone or with the convolution after it."""

from __future__ import annotations

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Float

from isincnet_jax.dsp import checks
from isincnet_jax.dsp.ranks import match_rank
from isincnet_jax.linen import SettledModule
from isincnet_jax.typing import Array

_MOST_INPUTS = 64  # of the polyphase way, which is faster up to there (measured on a CPU)


def upsample_linear(
    sequence: Float[Array, "... time channels"],
) -> Float[jax.Array, "... doubled channels"]:
    """Linear upsampling by two, the grids of samples centred on each other.

    ``y[2 t] = 0.25 x[t - 1] + 0.75 x[t]``, ``y[2 t + 1] = 0.75 x[t] + 0.25 x[t + 1]``; the first
    and the last sample stand for those beyond the ends. It is ``jax.image.resize(x, "linear")``,
    which multiplies by a matrix of all samples by all samples (its time and memory grow with the
    square of the length), and PyTorch's ``interpolate`` without aligned corners.

    Args:
        sequence: [..., time, channels], floating, at least one sample.

    Returns:
        [..., 2 time, channels], of the same dtype.

    Example:
        >>> upsample_linear(jnp.array([[0.0], [4.0]]))[:, 0]
        Array([0., 1., 3., 4.], dtype=float32)
    """
    sequence = jnp.asarray(sequence)
    *batch, time, channels = sequence.shape
    before = jnp.concatenate([sequence[..., :1, :], sequence[..., :-1, :]], axis=-2)
    after = jnp.concatenate([sequence[..., 1:, :], sequence[..., -1:, :]], axis=-2)
    phases = [0.25 * before + 0.75 * sequence, 0.75 * sequence + 0.25 * after]
    return jnp.stack(phases, axis=-2).reshape(*batch, 2 * time, channels)


def upsample_convolve(
    sequence: Float[Array, "... time inputs"],
    kernel: Float[Array, "taps inputs outputs"],
    *,
    precision: lax.PrecisionLike = None,
) -> Float[jax.Array, "... doubled outputs"]:
    """Linear upsampling by two, then a convolution with zeros beyond the ends, at the low rate.

    Upsampling acts on time and a tap of the kernel on channels, so they commute. With many inputs
    every tap is applied at the low rate, and what it gives is upsampled and added at its place,
    ``y = sum_k shift_k(upsample(x K_k))``: half the multiplications of a convolution at the high
    rate. With few inputs (up to 64, measured on a CPU) and three taps it is two polyphase
    convolutions at the low rate, which need as many, but touch the least memory.

    Args:
        sequence: [..., time, inputs], floating.
        kernel: [taps, inputs, outputs], taps odd, of the same dtype; ``y[t] = sum_k u[t + k -
            taps // 2] K_k`` as in ``nn.Conv``.
        precision: of the products on accelerators.

    Returns:
        [..., 2 time, outputs].

    Raises:
        ValueError: for an even number of taps, or other inputs than the kernel's.
    """
    taps, inputs, _ = kernel.shape
    if taps % 2 == 0:
        raise ValueError(f"kernel.shape={kernel.shape}: {taps} taps have no middle; use {taps + 1}")
    if sequence.shape[-1] != inputs:
        raise ValueError(
            f"sequence.shape={sequence.shape}: the kernel expects {inputs} channels, last"
        )
    way = polyphase if taps == 3 and inputs <= _MOST_INPUTS else taps_first
    return way(sequence, kernel, precision=precision)


def taps_first(
    sequence: Any, kernel: Any, *, precision: lax.PrecisionLike = None
) -> Float[jax.Array, "... doubled outputs"]:
    """:func:`upsample_convolve` with every tap before the upsampling, for many inputs.

    Args:
        sequence: [..., time, inputs], floating.
        kernel: [taps, inputs, outputs], taps odd, of the same dtype.
        precision: of the products on accelerators.

    Returns:
        [..., 2 time, outputs].
    """
    # A product for each tap: side by side they would be one, after a copy of the kernel.
    products = [upsample_linear(jnp.matmul(sequence, tap, precision=precision)) for tap in kernel]
    doubled, reach = products[0].shape[-2], len(products) // 2

    def shifted(values: jax.Array, shift: int) -> jax.Array:
        # values[t + shift], 0 beyond the ends.
        edges = [(0, 0)] * (values.ndim - 2) + [(max(-shift, 0), max(shift, 0)), (0, 0)]
        start = max(shift, 0)
        return jnp.pad(values, edges)[..., start : start + doubled, :]

    parts = [shifted(values, tap - reach) for tap, values in enumerate(products)]
    return functools.reduce(jnp.add, parts)


def polyphase(
    sequence: Any, kernel: Any, *, precision: lax.PrecisionLike = None
) -> Float[jax.Array, "... doubled outputs"]:
    """:func:`upsample_convolve` with three taps as a convolution to even and odd samples.

    Args:
        sequence: [..., time, inputs], floating.
        kernel: [3, inputs, outputs], of the same dtype.
        precision: of the products on accelerators.

    Returns:
        [..., 2 time, outputs].
    """
    *batch, time, inputs = sequence.shape
    first, middle, last = kernel
    # y[2 t] = K_0 u[2 t - 1] + K_1 u[2 t] + K_2 u[2 t + 1], likewise y[2 t + 1], with the samples
    # u put in from x[t - 1], x[t] and x[t + 1]: a kernel [3, inputs, 2 outputs].
    both = jnp.stack(
        [
            jnp.concatenate([0.75 * first + 0.25 * middle, 0.25 * first], axis=-1),
            jnp.concatenate(
                [
                    0.25 * first + 0.75 * (middle + last),
                    0.75 * (first + middle) + 0.25 * last,
                ],
                axis=-1,
            ),
            jnp.concatenate([0.25 * last, 0.25 * middle + 0.75 * last], axis=-1),
        ]
    )
    flat = jnp.reshape(sequence, (-1, time, inputs))
    phases = lax.conv_general_dilated(
        flat, both, (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC"), precision=precision
    )
    # [batch, time, even and odd outputs] is the doubled sequence in order.
    doubled = phases.reshape(len(flat), 2 * time, kernel.shape[2])
    # The convolution has zeros where upsampling repeats the end samples. (Putting them there
    # beforehand costs more: compilers fuse it with all that comes before.)
    # At the start x[0] stands for x[-1], so u[0] gains x[0] / 4; and u[-1], 0 by rule, loses the
    # x[0] / 4 that the convolution gives it. The end is the same mirrored.
    share = 0.25 * jnp.stack([middle - first, first, last, middle - last])
    ends = jnp.concatenate([flat[:, :1]] * 2 + [flat[:, -1:]] * 2, axis=1)
    missing = jnp.einsum("bti,tio->bto", ends, share, precision=precision)
    beyond = 2 * time - 2
    doubled = doubled + jnp.pad(missing[:, :2], [(0, 0), (0, beyond), (0, 0)])
    doubled = doubled + jnp.pad(missing[:, 2:], [(0, 0), (beyond, 0), (0, 0)])
    return doubled.reshape(*batch, 2 * time, kernel.shape[2])


class UpsampleConv(SettledModule):
    """Upsampling layer: linear by two, and a convolution, by :func:`upsample_convolve`.

    Parameters are those of ``nn.Conv``: ``kernel`` [taps, inputs, width] and ``bias`` [width].

    Attributes:
        width: channels of the result.
        taps: of the convolution at the high rate, odd.
        kernel_init: initial values of the kernel.
        dtype: of the computation; parameters are float32.
        precision: of the product on accelerators.

    Raises:
        ValueError: for an even number of taps, or a width below 1.

    References:
        A. Odena, V. Dumoulin and C. Olah, "Deconvolution and checkerboard artifacts", Distill,
            2016. https://doi.org/10.23915/distill.00003

    Example:
        >>> layer = UpsampleConv(4)
        >>> sequence = jnp.ones((2, 10, 6), jnp.float32)
        >>> layer.init_with_output(jax.random.key(0), sequence)[0].shape
        (2, 20, 4)
    """

    width: int
    taps: int = 3
    kernel_init: Any = nn.initializers.xavier_uniform()
    dtype: Any = jnp.float32
    precision: lax.PrecisionLike = None

    def __post_init__(self) -> None:
        """Checks the arguments."""
        checks.check_positive_integers(width=self.width, taps=self.taps)
        if self.taps % 2 == 0:
            raise ValueError(f"taps={self.taps} must be odd; use {self.taps + 1}")
        super().__post_init__()

    @nn.compact
    def __call__(
        self, sequence: Float[Array, "... time inputs"]
    ) -> Float[jax.Array, "... doubled width"]:
        """Convolution of a sequence at twice its rate.

        Args:
            sequence: [..., time, inputs].

        Returns:
            [..., 2 time, width].
        """
        own = sequence.dtype if getattr(sequence, "dtype", None) == self.dtype else None
        checks.check_floating(sequence, "sequence", ndim=2, dtype=own)
        shape = (self.taps, sequence.shape[-1], self.width)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (self.width,), jnp.float32)
        doubled = upsample_convolve(
            jnp.asarray(sequence, self.dtype), kernel.astype(self.dtype), precision=self.precision
        )
        return doubled + match_rank(bias.astype(self.dtype), doubled)
