"""A layer that doubles the rate of a sequence: linear upsampling and a convolution in one."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Float

from isincnet_jax.dsp import checks
from isincnet_jax.dsp.ranks import match_rank
from isincnet_jax.linen import SettledModule
from isincnet_jax.nets import resampling_kernels
from isincnet_jax.typing import Array


class UpsampleConv(SettledModule):
    """Linear upsampling by two and a convolution, :func:`.upsampling.upsample_convolve`.

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
        """[..., time, inputs] to [..., 2 time, width]."""
        own = sequence.dtype if getattr(sequence, "dtype", None) == self.dtype else None
        checks.check_floating(sequence, "sequence", ndim=2, dtype=own)
        shape = (self.taps, sequence.shape[-1], self.width)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (self.width,), jnp.float32)
        doubled = resampling_kernels.upsample_convolve(
            jnp.asarray(sequence, self.dtype), kernel.astype(self.dtype), precision=self.precision
        )
        return doubled + match_rank(bias.astype(self.dtype), doubled)
