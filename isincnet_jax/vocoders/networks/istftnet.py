"""iSTFTNet: HiFi-GAN's generator with a small inverse STFT in place of its last upsamplings."""

from __future__ import annotations

import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from isincnet_jax.dsp import checks
from isincnet_jax.linen import SettledModule
from isincnet_jax.typing import Waveform
from isincnet_jax.vocoders import blocks
from isincnet_jax.vocoders import compression as vocoder_features
from isincnet_jax.vocoders.networks.network import VocoderNetwork

_LARGEST = 100.0
_SLOPE = 0.1  # of the leaky ReLUs

_leaky = functools.partial(nn.leaky_relu, negative_slope=_SLOPE)
_small = nn.initializers.normal(0.01)
_conv = functools.partial(blocks.sequence_conv, kernel_init=_small)


class _FusionUnit(SettledModule):
    """Pairs of convolutions, dilated and plain, each pair with a way around."""

    width: int
    taps: int
    dilations: tuple[int, ...]
    dtype: Any

    @nn.compact
    def __call__(self, sequence: jax.Array) -> jax.Array:
        for index, dilation in enumerate(self.dilations):
            conv = functools.partial(_conv, self.width, self.taps, dtype=self.dtype)
            dilated = conv(kernel_dilation=(dilation,), name=f"dilated_{index}")
            plain = conv(name=f"plain_{index}")
            sequence = sequence + plain(_leaky(dilated(_leaky(sequence))))
        return sequence


class ISTFTNet(VocoderNetwork):
    """Features to waveform: upsampling stages with residual units, then a short inverse STFT.

    A convolution, stages of a transposed convolution and the mean of residual units of several
    kernel sizes and dilations, a convolution to ``n_fft + 2`` channels: exponential (at most 100)
    to magnitude, sine to phase, inverse STFT. With the published sizes (C8C8I of HiFi-GAN V1, 80
    mels) it has 13.3 million parameters. Frames are centred: the middle of frame t is sample
    ``hop t``.

    Attributes:
        num_bins: of the features: mel filters, bins of an STFT, or of a sinc bank.
        width: channels after the first convolution; every stage halves them.
        strides: of the stages.
        block_taps: kernel sizes of the residual units.
        block_dilations: of the convolutions in every unit.
        n_fft: of the inverse STFT.
        hop_length: of the inverse STFT.
        compression: "log" of ``max(x, floor)``, or "none" for features that are compressed already.
        floor: of the logarithm.
        dtype: of features and products; parameters are float32.

    Raises:
        ValueError: for sizes out of range, or features of another shape.

    References:
        T. Kaneko et al., "iSTFTNet: fast and lightweight mel-spectrogram vocoder incorporating
            inverse short-time Fourier transform", ICASSP 2022. https://arxiv.org/abs/2203.02395
            Departure: the phase is pi times the sine, so that every phase can be reached; weights
            are plain, without weight normalisation.
        J. Kong, J. Kim and J. Bae, "HiFi-GAN", NeurIPS 2020, appendix A.
            https://arxiv.org/abs/2010.05646

    Example:
        >>> model = ISTFTNet(num_bins=20, width=8, strides=(4, 2), block_taps=(3,))
        >>> mels = jnp.ones((1, 5, 20), jnp.float32)
        >>> jax.eval_shape(model.init_with_output, jax.random.key(0), mels)[0].shape
        (1, 160)
    """

    num_bins: int = 80
    width: int = 512
    strides: tuple[int, ...] = (8, 8)
    block_taps: tuple[int, ...] = (3, 7, 11)
    block_dilations: tuple[int, ...] = (1, 3, 5)
    n_fft: int = 16
    hop_length: int = 4
    compression: vocoder_features.Compression = "log"
    floor: float = 1e-5
    dtype: Any = jnp.float32

    def __post_init__(self) -> None:
        """Checks the arguments."""
        checks.check_positive_integers(
            num_bins=self.num_bins, n_fft=self.n_fft, hop_length=self.hop_length
        )
        vocoder_features.check_compression(self.compression, self.floor)
        if self.width < 1 or self.width % 2 ** len(self.strides):
            raise ValueError(
                f"width={self.width} is halved {len(self.strides)} times; use a multiple of "
                f"{2 ** len(self.strides)}"
            )
        if not self.strides or min(self.strides) < 1 or not self.block_dilations:
            raise ValueError(
                f"strides={self.strides}, block_dilations={self.block_dilations}: at least one "
                "each, of at least 1"
            )
        if not self.block_taps or any(taps < 1 or taps % 2 == 0 for taps in self.block_taps):
            raise ValueError(f"block_taps={self.block_taps} must be odd, (3, 7, 11) say")
        if self.hop_length > self.n_fft // 2:
            raise ValueError(
                f"hop_length={self.hop_length} is more than half of n_fft={self.n_fft}: windows "
                f"would leave gaps; use at most {self.n_fft // 2}"
            )
        super().__post_init__()

    @property
    def hop(self) -> int:
        """Samples per frame of the features."""
        return math.prod(self.strides) * self.hop_length

    @nn.compact
    def _waveform(self, features: Any, *, length: int, train: bool) -> Waveform:
        del train
        sequence = self._input(features, compression=self.compression, floor=self.floor)
        frames = sequence.shape[1]
        width = self.width
        enter = blocks.sequence_conv(width, 7, dtype=self.dtype, name="enter")
        sequence = enter(sequence)
        for stage, stride in enumerate(self.strides):
            # [batch, time, width] to [batch, stride time, width / 2].
            width //= 2
            upsample = blocks.TransposedConv(
                width, 2 * stride, stride, _small, self.dtype, name=f"upsample_{stage}"
            )
            sequence = upsample(_leaky(sequence))
            units = [
                _FusionUnit(
                    width, taps, self.block_dilations, self.dtype, name=f"unit_{stage}_{taps}"
                )(sequence)
                for taps in self.block_taps
            ]
            # Mean of the kernel sizes' units, HiFi-GAN's multi-receptive field fusion.
            sequence = sum(units[1:], units[0]) / len(units)
        sequence = nn.leaky_relu(sequence, 0.01)
        # One frame more than there are hops, so that the last samples lie between two frames.
        mirrored = sequence[:, 1:2] if sequence.shape[1] > 1 else sequence
        sequence = jnp.concatenate([mirrored, sequence], axis=1)
        leave = _conv(self.n_fft + 2, 7, dtype=self.dtype, name="leave")
        # X = exp(level) exp(j pi sin(turn)): n_fft / 2 + 1 of each.
        level, turn = jnp.split(leave(sequence), 2, axis=-1)
        magnitude = blocks.bounded_exp(level, _LARGEST)
        phase = np.pi * jnp.sin(turn)
        waveform = blocks.synthesize(
            magnitude * jnp.cos(phase),
            magnitude * jnp.sin(phase),
            length=frames * self.hop,
            n_fft=self.n_fft,
            hop_length=self.hop_length,
        )
        return blocks.fit_length(waveform, length)
