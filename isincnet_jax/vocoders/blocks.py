"""Blocks that vocoder networks share: transposed convolution, inverse STFT, polish by Griffin-Lim.

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

from isincnet_jax.dsp import fourier, overlap
from isincnet_jax.dsp.ranks import match_rank
from isincnet_jax.dsp.settling import settles
from isincnet_jax.linen import SettledModule
from isincnet_jax.phase import retrieval
from isincnet_jax.typing import Array, Waveform

_MOMENTUM = 0.99
_xavier = nn.initializers.xavier_uniform()


def sequence_conv(width: int, taps: int, **options: Any) -> nn.Conv:
    """Convolution over [batch, time, channels] with zeros beyond the ends and Xavier's start.

    Args:
        width: output channels.
        taps: of the kernel, odd for a result that stands over its input.
        options: of ``nn.Conv``, over the defaults.

    Returns:
        An ``nn.Conv`` that keeps the length.
    """
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
    # [..., time, taps outputs]: what each input sample adds, sample by sample, channels inside.
    frames = jnp.matmul(sequence, columns)
    # Samples of all channels in a row: an overlap-add of frames with the hop ``stride outputs``.
    summed = overlap.overlap_add(frames, hop_length=stride * outputs)
    # PyTorch's padding is cut from the front; zeros where the last frame ends too early.
    start = (taps - stride) // 2 * outputs
    needed = stride * time * outputs
    missing = max(start + needed - summed.shape[-1], 0)
    summed = jnp.pad(summed, [(0, 0)] * len(batch) + [(0, missing)])
    return summed[..., start : start + needed].reshape(*batch, stride * time, outputs)


class TransposedConv(SettledModule):
    """Transposed convolution with ``kernel`` [taps, inputs, width] and ``bias`` [width].

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
        return upsampled + match_rank(bias.astype(self.dtype), upsampled)


@settles
def fit_length(waveform: Waveform, length: int | None) -> jax.Array:
    """Waveform of a given length: cut, or with zeros at the end.

    Args:
        waveform: [..., time].
        length: samples, at least 0; everything if None.

    Returns:
        [..., length].
    """
    waveform = jnp.asarray(waveform)
    if length is None:
        return waveform
    missing = max(length - waveform.shape[-1], 0)
    padded = jnp.pad(waveform, [(0, 0)] * (waveform.ndim - 1) + [(0, missing)])
    return padded[..., :length]


def bounded_exp(values: jax.Array, largest: float) -> jax.Array:
    """Exponential, ``exp(x)``, of at most ``largest``; neither it nor its gradient overflows.

    Args:
        values: floating, of any shape.
        largest: positive; where it is reached the gradient is 0.

    Returns:
        In (0, largest], of the shape and dtype of the values.
    """
    return jnp.exp(jnp.minimum(values, jnp.log(largest).astype(values.dtype)))


@settles
def synthesize(real: Any, imag: Any, *, length: int, **geometry: Any) -> Waveform:
    """Inverse STFT of centred frames, in float32 or float64.

    Args:
        real: [..., frames, bins].
        imag: of the same shape.
        length: samples.
        geometry: of :func:`.fourier.istft`.

    Returns:
        [..., length].
    """
    # There is no complex number of bfloat16.
    wide = jnp.float64 if real.dtype == jnp.float64 else jnp.float32
    spectrum = lax.complex(real.astype(wide), imag.astype(wide))
    return fourier.istft(spectrum, length=length, **geometry)


def polished(
    waveform: Waveform,
    magnitude: Float[Array, "batch frames bins"],
    *,
    n_fft: int,
    hop_length: int,
    win_length: int | None,
    window: str = "hann",
    num_iterations: int,
) -> Waveform:
    """Fast Griffin-Lim from a waveform towards the magnitudes of its centred frames.

    Args:
        waveform: [batch, time].
        magnitude: [batch, frames, bins], not negative. Frames that are missing are as the last
            one; those beyond the waveform do not count.
        n_fft: samples per frame.
        hop_length: samples between frames.
        win_length: samples of the window.
        window: a name of :func:`scipy.signal.get_window`.
        num_iterations: 0 leaves the waveform as it is.

    Returns:
        [batch, time], of the length of the waveform.
    """
    length = waveform.shape[-1]
    # Centred frames of so many samples: the last one is repeated, or some are cut off.
    frames, wanted = magnitude.shape[1], 1 + length // hop_length
    padded = jnp.pad(magnitude, ((0, 0), (0, max(wanted - frames, 0)), (0, 0)), mode="edge")
    operators = retrieval.stft_operators(
        n_fft=n_fft,
        hop_length=hop_length,
        win_length=win_length,
        window=window,
        length=length,
        pad_mode="reflect" if length > n_fft // 2 else "constant",  # there must be samples for it
    )
    return retrieval.polish(
        waveform,
        padded[:, :wanted],
        num_iterations=num_iterations,
        momentum=_MOMENTUM,
        **operators._asdict(),
    )
