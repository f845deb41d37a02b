"""A vocoder that learns what features have lost of the magnitudes, and computes the phases."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from isincnet_jax.dsp import checks, fourier
from isincnet_jax.dsp.settling import settles
from isincnet_jax.linen import SettledModule
from isincnet_jax.phase import heap_integration, propagation
from isincnet_jax.typing import Array, Waveform
from isincnet_jax.vocoders import blocks
from isincnet_jax.vocoders import compression as vocoder_features


class MagnitudeVocoder(SettledModule):
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
        checks.check_positive_integers(num_bins=self.num_bins, n_fft=self.n_fft)
        checks.check_positive_integers(hop_length=self.hop_length)
        blocks.check_trunk(
            width=self.width,
            num_blocks=self.num_blocks,
            expansion=self.expansion,
            taps=self.taps,
            enter_taps=self.enter_taps,
        )
        vocoder_features.check_compression("log", self.floor)
        win_length = fourier.checked_win_length(self.win_length, self.n_fft)
        heap_integration.window_gamma(self.window, win_length)
        if self.n_fft % 2 or self.hop_length > win_length // 2:
            raise ValueError(
                f"n_fft={self.n_fft}, win_length={win_length}, hop_length={self.hop_length}: use "
                "an even n_fft and a hop of at most half the window"
            )
        if self.iterations < 0:
            raise ValueError(f"iterations={self.iterations} must be 0 or more")
        blocks.check_wide(self.dtype)
        super().__post_init__()

    @property
    def hop(self) -> int:
        """Samples per frame."""
        return self.hop_length

    @property
    def context_frames(self) -> None:
        """All frames: phases are propagated from the first to the last."""
        return None

    @nn.compact
    def magnitude(
        self, features: Float[Array, "batch frames bins"]
    ) -> Float[jax.Array, "batch frames stft_bins"]:
        """Magnitudes of the STFT, [batch, frames, n_fft // 2 + 1], at most ``win_length``."""
        shown = blocks.network_input(
            features,
            num_bins=self.num_bins,
            compression="log",
            floor=self.floor,
            dtype=self.dtype,
        )
        hidden = blocks.convnext_trunk(
            shown,
            width=self.width,
            num_blocks=self.num_blocks,
            taps=self.taps,
            enter_taps=self.enter_taps,
            expansion=self.expansion,
            dtype=self.dtype,
        )
        outputs = self.n_fft // 2 + 1
        mean = nn.initializers.constant(1.0 / self.num_bins)
        direct = nn.Dense(
            outputs, use_bias=False, kernel_init=mean, dtype=self.dtype, name="direct"
        )(shown)
        learned = nn.Dense(
            outputs, kernel_init=nn.initializers.normal(0.02), dtype=self.dtype, name="leave"
        )(hidden)
        # A sum of a window's samples is more than any waveform of full scale has.
        largest = float(self.n_fft if self.win_length is None else self.win_length)
        return blocks.bounded_exp(direct + learned, largest)

    @settles
    def __call__(
        self,
        features: Float[Array, "batch frames bins"],
        *,
        length: int | None = None,
        train: bool = False,
    ) -> Waveform:
        """Waveform of features.

        Args:
            features: [batch, frames, num_bins], not negative.
            length: samples; ``frames * hop_length`` if None. A clip of n samples has ``1 + n //
                hop_length`` frames: give n to get as many samples.
            train: has no effect; every vocoder takes it.

        Returns:
            [batch, length], ``dtype``.

        Raises:
            ValueError: for other bins, or no frames.
        """
        del train
        magnitude = self.magnitude(features)
        frames = magnitude.shape[1]
        length = frames * self.hop_length if length is None else length
        if frames == 1:  # phases are propagated from one frame to the next
            magnitude = jnp.concatenate([magnitude, magnitude], axis=1)
        win_length = fourier.checked_win_length(self.win_length, self.n_fft)
        directions = propagation.propagated_phase(
            magnitude,
            n_fft=self.n_fft,
            hop_length=self.hop_length,
            gamma=heap_integration.window_gamma(self.window, win_length),
        )
        real, imag = (magnitude * part for part in (jnp.real(directions), jnp.imag(directions)))
        geometry: Any = {
            "n_fft": self.n_fft,
            "hop_length": self.hop_length,
            "win_length": win_length,
            "window": self.window,
        }
        waveform = blocks.synthesize(real[:, :frames], imag[:, :frames], length=length, **geometry)
        waveform = blocks.polished(
            waveform, magnitude[:, :frames], num_iterations=self.iterations, **geometry
        )
        return jnp.asarray(waveform).astype(self.dtype)
