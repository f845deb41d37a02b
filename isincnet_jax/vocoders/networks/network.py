"""Base of vocoder networks: call, samples per frame, context, geometry of the STFT, input checks.

Fields are each network's own: stored models know their names and order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Complex, Float

from isincnet_jax.dsp import checks, fourier
from isincnet_jax.dsp.settling import settles
from isincnet_jax.linen import SettledModule
from isincnet_jax.nets.convnext import ConvNeXtBlock, FrameNorm
from isincnet_jax.phase import heap_integration
from isincnet_jax.typing import Array, Waveform
from isincnet_jax.vocoders import blocks
from isincnet_jax.vocoders import compression as vocoder_features


class VocoderNetwork(SettledModule):
    """Features [batch, frames, num_bins] to a waveform; frame t belongs to sample ``hop t``.

    A network has fields, among them ``num_bins`` and ``dtype``, and says by ``_waveform`` what it
    makes of features.
    """

    if TYPE_CHECKING:  # at run time, fields of a base would stand before those of a network
        num_bins: int
        dtype: Any

    @property
    def hop(self) -> int:
        """Samples per frame of the features.

        Raises:
            NotImplementedError: here; every network has its own.
        """
        raise NotImplementedError

    def frame_times(self, num_frames: int, *, sample_rate: float) -> Float[np.ndarray, " frames"]:
        """Times of the middles of the frames of features.

        Args:
            num_frames: frames, at least 0.
            sample_rate: Hz.

        Returns:
            Seconds, float64 [frames].
        """
        return np.arange(num_frames) * self.hop / sample_rate

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
            features: [batch, frames, num_bins]; not negative, unless they are compressed already.
            length: samples; ``frames * hop`` if None. A clip of n samples has ``1 + n // hop``
                centred frames: give n to get as many samples.
            train: whether BatchNorm uses and collects the statistics of the batch; without effect
                on networks that have none.

        Returns:
            [batch, length], ``dtype``.

        Raises:
            ValueError: for other bins, or no frames.
        """
        return self._called(features, length=length, train=train)

    def _called(self, features: Any, *, length: int | None, **options: Any) -> Waveform:
        self._check(features)
        samples = features.shape[1] * self.hop if length is None else length
        return jnp.asarray(self._waveform(features, length=samples, **options)).astype(self.dtype)

    def _waveform(self, features: Any, *, length: int, train: bool) -> Waveform:
        raise NotImplementedError

    def _check(self, features: Any) -> None:
        checks.check_floating(features, "features")
        if features.ndim != 3:
            raise ValueError(f"features.shape={features.shape}: [batch, frames, bins] is expected")
        vocoder_features.check_shape(features.shape, num_bins=self.num_bins)

    def _input(self, features: Any, *, compression: str = "none", floor: float = 1.0) -> jax.Array:
        """Features, checked, in the network's dtype, compressed."""
        self._check(features)
        features = jnp.asarray(features).astype(self.dtype)
        return vocoder_features.compress(features, compression=compression, floor=floor)


class STFTNetwork(VocoderNetwork):
    """A network that ends in the inverse of an STFT with the frames of the features."""

    if TYPE_CHECKING:
        n_fft: int
        hop_length: int
        win_length: int | None
        window: str

    def _check_stft(self) -> None:
        checks.check_positive_integers(n_fft=self.n_fft, hop_length=self.hop_length)
        win_length = fourier.checked_win_length(self.win_length, self.n_fft)
        fourier.stft_window(self.window, win_length, self.n_fft)
        if self.hop_length > win_length // 2:
            raise ValueError(
                f"hop_length={self.hop_length} is more than half of the window of {win_length} "
                f"samples: the inverse would have gaps; use at most {win_length // 2}"
            )

    @property
    def hop(self) -> int:
        """Samples per frame."""
        return self.hop_length

    @property
    def spectrum_bins(self) -> int:
        """Bins of the STFT of features that are magnitudes, ``n_fft // 2 + 1``."""
        return self.n_fft // 2 + 1

    @property
    def phase_samples(self) -> int:
        """Samples per frame of the inverse STFT."""
        return self.n_fft

    @property
    def window_samples(self) -> int:
        """Samples of the window."""
        return self.phase_samples if self.win_length is None else self.win_length

    @property
    def _window(self) -> dict[str, Any]:
        return {"win_length": self.window_samples, "window": self.window}

    @property
    def _magnitudes(self) -> dict[str, Any]:
        """What features have to be whose magnitudes are kept: ``stft`` of such a network."""
        return {"kind": "linear", "n_fft": self.n_fft, **self._window}

    def _synthesize(self, real: jax.Array, imag: jax.Array, *, length: int) -> Waveform:
        geometry: Any = {"n_fft": self.phase_samples, "hop_length": self.hop_length, **self._window}
        return blocks.synthesize(real, imag, length=length, **geometry)


class TrunkNetwork(STFTNetwork):
    """A network of ConvNeXt blocks at the frame rate, as Vocos has them."""

    if TYPE_CHECKING:
        width: int
        num_blocks: int
        expansion: int
        taps: int
        enter_taps: int

    def _check_trunk(self) -> None:
        sizes = ("num_bins", "width", "num_blocks", "expansion", "taps", "enter_taps")
        checks.check_positive_integers(**{name: getattr(self, name) for name in sizes})
        if self.taps % 2 == 0 or self.enter_taps % 2 == 0:
            raise ValueError(f"taps={self.taps}, enter_taps={self.enter_taps} must be odd")

    def _trunk(self, hidden: Float[jax.Array, "batch frames features"]) -> jax.Array:
        """A convolution over frames, a norm, blocks and a norm, [batch, frames, width].

        For a compact method, whose submodules they become: ``enter``, ``enter_norm``, ``block_0``
        and so on, ``leave_norm``.
        """
        dtype = self.dtype
        enter = blocks.sequence_conv(self.width, self.enter_taps, dtype=dtype, name="enter")
        hidden = FrameNorm(dtype, name="enter_norm")(enter(hidden))
        for index in range(self.num_blocks):
            sizes = (self.width, self.taps, self.expansion)
            hidden = ConvNeXtBlock(*sizes, dtype, name=f"block_{index}")(hidden)
        return FrameNorm(dtype, name="leave_norm")(hidden)


class PhaseIntegration(STFTNetwork):
    """A network whose phases are integrated from the first frame to the last, and polished."""

    context_frames: ClassVar[int | None] = None

    if TYPE_CHECKING:
        iterations: int

    def _check_integration(self) -> None:
        heap_integration.window_gamma(self.window, self.window_samples)
        if self.iterations < 0:
            raise ValueError(f"iterations={self.iterations} must be 0 or more")
        if jnp.dtype(self.dtype) not in (jnp.float32, jnp.float64):
            raise ValueError(f"dtype={jnp.dtype(self.dtype).name}: phases need float32 or float64")

    def magnitude(
        self, features: Float[Array, "batch frames bins"]
    ) -> Float[jax.Array, "batch frames stft_bins"]:
        """Magnitudes of the STFT whose phases are integrated.

        Args:
            features: [batch, frames, num_bins].

        Returns:
            [batch, frames, n_fft // 2 + 1]; here the features themselves.
        """
        return self._input(features)

    def spectrum(
        self, magnitude: Float[Array, "batch frames stft_bins"], /
    ) -> Complex[jax.Array, "batch frames phases"]:
        """Spectrum of magnitudes with integrated phases, as of :func:`.fourier.stft`.

        Args:
            magnitude: [batch, frames, n_fft // 2 + 1], of two frames or more.

        Returns:
            [batch, frames, phase_samples // 2 + 1].

        Raises:
            NotImplementedError: here; every network has its own.
        """
        raise NotImplementedError

    def _waveform(self, features: Any, *, length: int, train: bool) -> Waveform:
        del train
        magnitude = self.magnitude(features)
        frames = magnitude.shape[1]
        if frames == 1:  # nothing to integrate; the parameters are made all the same
            magnitude = jnp.concatenate([magnitude, magnitude], axis=1)
        return self._polished(
            self.spectrum(magnitude)[:, :frames], magnitude[:, :frames], length=length
        )

    def _polished(self, found: jax.Array, magnitude: jax.Array, *, length: int) -> Waveform:
        """Waveform of a spectrum [batch, frames, phase_samples // 2 + 1] of magnitudes.

        Polished in the geometry of the features.
        """
        return blocks.polished(
            self._synthesize(jnp.real(found), jnp.imag(found), length=length),
            magnitude,
            n_fft=self.n_fft,
            hop_length=self.hop_length,
            num_iterations=self.iterations,
            **self._window,
        )
