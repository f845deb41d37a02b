"""Blocks that the vocoders share: transposed convolution, inverse STFT, checks of the input.

Products run in the default precision of the accelerator unless said otherwise: these are networks,
not transforms.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Float

from isincnet_jax.dsp import fourier, overlap, vocoder_features
from isincnet_jax.typing import Array, Waveform

_xavier = nn.initializers.xavier_uniform()


def sequence_conv(width: int, taps: int, **options: Any) -> nn.Conv:
    """``nn.Conv`` over [batch, time, channels] with zeros beyond the ends and Xavier's start."""
    options = {"kernel_init": _xavier, "padding": "SAME", **options}
    return nn.Conv(width, (taps,), **options)


def transposed_convolution(
    sequence: Float[Array, "... time inputs"],
    kernel: Float[Array, "taps inputs outputs"],
    *,
    stride: int,
) -> Float[jax.Array, "... upsampled outputs"]:
    """Transposed convolution to ``stride`` times as many samples: a product and an overlap-add.

    ``y[m] = sum_t x[t] K[m - stride t + (taps - stride) // 2]``: PyTorch's ``ConvTranspose1d`` with
    padding ``(taps - stride) // 2``, without the zeros that a convolution would multiply.

    Args:
        sequence: [..., time, inputs], floating.
        kernel: [taps, inputs, outputs], of at least ``stride`` taps and the same dtype.
        stride: output samples per input sample.

    Returns:
        [..., stride time, outputs].
    """
    taps, inputs, outputs = kernel.shape
    *batch, time, _ = sequence.shape
    columns = jnp.transpose(kernel, (1, 0, 2)).reshape(inputs, taps * outputs)
    frames = jnp.matmul(sequence, columns)
    # Samples of all channels in a row: an overlap-add of frames with the hop ``stride outputs``.
    summed = overlap.overlap_add(frames, hop_length=stride * outputs)
    start = (taps - stride) // 2 * outputs
    needed = stride * time * outputs
    missing = max(start + needed - summed.shape[-1], 0)
    summed = jnp.pad(summed, [(0, 0)] * len(batch) + [(0, missing)])
    return summed[..., start : start + needed].reshape(*batch, stride * time, outputs)


class TransposedConv(nn.Module):
    """:func:`transposed_convolution` with ``kernel`` [taps, inputs, width] and ``bias`` [width].

    Attributes:
        width: output channels.
        taps: of the kernel, at least ``stride``.
        stride: output samples per input sample.
        kernel_init: initial values of the kernel.
        dtype: of the computation; parameters are float32.
    """

    width: int
    taps: int
    stride: int
    kernel_init: Any = _xavier
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, sequence: Float[jax.Array, "... time inputs"]) -> jax.Array:
        """[..., time, inputs] to [..., stride time, width]."""
        shape = (self.taps, sequence.shape[-1], self.width)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (self.width,), jnp.float32)
        upsampled = transposed_convolution(sequence, kernel.astype(self.dtype), stride=self.stride)
        return upsampled + bias.astype(self.dtype)


def fit_length(waveform: Waveform, length: int | None) -> jax.Array:
    """The first ``length`` samples, zeros where there are fewer; everything if None."""
    waveform = jnp.asarray(waveform)
    if length is None:
        return waveform
    missing = max(length - waveform.shape[-1], 0)
    padded = jnp.pad(waveform, [(0, 0)] * (waveform.ndim - 1) + [(0, missing)])
    return padded[..., :length]


def bounded_exp(values: jax.Array, largest: float) -> jax.Array:
    """``exp(x)``, at most ``largest``; neither it nor its gradient overflows."""
    return jnp.exp(jnp.minimum(values, jnp.log(largest).astype(values.dtype)))


def synthesize(real: Any, imag: Any, *, length: int, **geometry: Any) -> Waveform:
    """Inverse STFT of centred frames, in float32 or float64.

    Args:
        real: [..., frames, bins].
        imag: of the same shape.
        length: samples.
        geometry: of :func:`.fourier.istft`.
    """
    wide = jnp.float64 if real.dtype == jnp.float64 else jnp.float32
    spectrum = lax.complex(real.astype(wide), imag.astype(wide))
    return fourier.istft(spectrum, length=length, **geometry)


def network_input(
    features: Any, *, num_bins: int, compression: str, floor: float, dtype: Any
) -> jax.Array:
    """Features [batch, frames, bins], their shape checked, compressed as the attributes say."""
    if features.ndim != 3:
        raise ValueError(f"features.shape={features.shape}: [batch, frames, bins] is expected")
    vocoder_features.check_shape(features.shape, num_bins=num_bins)
    features = jnp.asarray(features).astype(dtype)
    return vocoder_features.compress(features, compression=compression, floor=floor)
