"""Vocoder that learns what features have lost of the magnitudes, and computes the phases."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Complex, Float

from isincnet_jax.phase import heap_integration, propagation
from isincnet_jax.typing import Array
from isincnet_jax.vocoders import blocks
from isincnet_jax.vocoders import compression as vocoder_features
from isincnet_jax.vocoders.networks.network import PhaseIntegration, TrunkNetwork


class MagnitudeVocoder(TrunkNetwork, PhaseIntegration):
    """Mel (or other) magnitudes to those of an STFT by ConvNeXt blocks, then phases by propagation.

    The network only has to say how energy lies within a filter's band, which neighbouring frames
    and bands tell: where the harmonics are. That is learned in minutes. Phases then follow from the
    magnitudes by :func:`.propagation.propagated_phase` and ``iterations`` of fast
    Griffin-Lim, without random numbers. Logarithms of magnitudes are a dense layer of the features'
    logarithms plus one of the blocks' output.

    Phases are propagated through all frames, so the whole clip is the context.

    Attributes:
        num_bins: of the features.
        width: features inside.
        num_blocks: ConvNeXt blocks.
        expansion: hidden features of the blocks, as a multiple of the width.
        taps: frames that the kernel of a block spans, odd.
        enter_taps: frames that the first convolution spans, odd.
        n_fft: of the STFT whose magnitudes are estimated, even.
        hop_length: samples between frames, of features and STFT.
        win_length: samples of the window, ``n_fft`` if None.
        window: with a gamma, see :func:`.heap_integration.window_gamma`.
        iterations: of fast Griffin-Lim.
        floor: of the logarithm of the features.
        dtype: of features and products; parameters are float32.

    Raises:
        ValueError: for arguments out of range, or features of another shape.

    References:
        H. Siuzdak, "Vocos", ICLR 2024, section 3 (the blocks). https://arxiv.org/abs/2306.00814

    Example:
        >>> model = MagnitudeVocoder(num_bins=9, width=8, num_blocks=1, n_fft=64, hop_length=16)
        >>> features = jnp.ones((1, 6, 9), jnp.float32)
        >>> jax.eval_shape(model.init_with_output, jax.random.key(0), features)[0].shape
        (1, 96)
    """

    num_bins: int = 80
    width: int = 256
    num_blocks: int = 4
    expansion: int = 3
    taps: int = 7
    enter_taps: int = 7
    n_fft: int = 2048
    hop_length: int = 256
    win_length: int | None = None
    window: str = "hann"
    iterations: int = 8
    floor: float = 1e-5
    dtype: Any = jnp.float32

    def __post_init__(self) -> None:
        """Checks the arguments."""
        self._check_trunk()
        self._check_stft()
        self._check_integration()
        vocoder_features.check_compression("log", self.floor)
        if self.n_fft % 2:
            raise ValueError(f"n_fft={self.n_fft} must be even")
        super().__post_init__()

    @nn.compact
    def magnitude(
        self, features: Float[Array, "batch frames bins"]
    ) -> Float[jax.Array, "batch frames stft_bins"]:
        """Magnitudes of the STFT, ``exp(W log max(x, floor) + learned)``, at most ``win_length``.

        Args:
            features: [batch, frames, num_bins], not negative.

        Returns:
            [batch, frames, n_fft // 2 + 1].
        """
        shown = self._input(features, compression="log", floor=self.floor)
        hidden = self._trunk(shown)
        outputs = self.spectrum_bins
        mean = nn.initializers.constant(1.0 / self.num_bins)
        direct = nn.Dense(
            outputs, use_bias=False, kernel_init=mean, dtype=self.dtype, name="direct"
        )(shown)
        learned = nn.Dense(
            outputs, kernel_init=nn.initializers.normal(0.02), dtype=self.dtype, name="leave"
        )(hidden)
        # A sum of a window's samples is more than any waveform of full scale has.
        return blocks.bounded_exp(direct + learned, float(self.window_samples))

    def spectrum(
        self, magnitude: Float[Array, "batch frames stft_bins"]
    ) -> Complex[jax.Array, "batch frames stft_bins"]:
        """Spectrum of magnitudes with propagated phases, as of :func:`.fourier.stft`.

        Args:
            magnitude: [batch, frames, n_fft // 2 + 1], of two frames or more.

        Returns:
            complex64 or complex128, of the shape of the magnitudes.
        """
        directions = propagation.propagated_phase(
            magnitude,
            n_fft=self.n_fft,
            hop_length=self.hop_length,
            gamma=heap_integration.window_gamma(self.window, self.window_samples),
        )
        return lax.complex(magnitude * jnp.real(directions), magnitude * jnp.imag(directions))
