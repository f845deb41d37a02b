"""Vocoder of mel spectrograms: learns what they have lost, and keeps what they say."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Complex, Float

from isincnet_jax.dsp.ranks import match_rank
from isincnet_jax.phase import heap_integration, propagation
from isincnet_jax.typing import Array
from isincnet_jax.vocoders import blocks
from isincnet_jax.vocoders import compression as vocoder_features
from isincnet_jax.vocoders.features import VocoderFeatures
from isincnet_jax.vocoders.networks.network import PhaseIntegration, TrunkNetwork
from isincnet_jax.vocoders.networks.phase_gradient import PhaseGradientVocoder

_LEAST = 1e-12  # of what is divided by


class MagnitudeVocoder(TrunkNetwork, PhaseIntegration):
    """Mel spectrogram to magnitudes that have it, by ConvNeXt blocks, then their phases.

    Of magnitudes m the mels ``E m`` determine the sums under the filters E; the network only says
    how energy lies within them, which neighbouring frames and bands tell: where the harmonics are.
    It corrects the envelope of the mels, ``W^T (mel / E 1)``, W the filters as interpolation
    between bands, and what it says is scaled towards the mels, band by band, ``passes`` times::

        log m <- log m + W^T log(mel / E m)

    Phases then follow from the magnitudes, by propagation or by a phase-gradient network of its
    own (``phase_widths``), and ``iterations`` of fast Griffin-Lim, without random numbers.

    Phases are integrated through all frames, so the whole clip is the context.

    Attributes:
        num_bins: mels.
        width: features inside.
        num_blocks: ConvNeXt blocks.
        expansion: hidden features of the blocks, as a multiple of the width.
        taps: frames that the kernel of a block spans, odd.
        enter_taps: frames that the first convolution spans, odd.
        n_fft: of the STFT whose magnitudes are estimated, even.
        hop_length: samples between frames, of features and STFT.
        win_length: samples of the window, ``n_fft`` if None.
        window: with a gamma, see :func:`.heap_integration.window_gamma`.
        filters: the features' kind, "mel_slaney" or "mel_htk".
        sample_rate: Hz.
        fmin: lower edge of the first filter, Hz.
        fmax: upper edge of the last, Hz; half the sample rate if None.
        passes: that scale the magnitudes towards the mels.
        phase_widths: hidden features of the phase-gradient network, in its "phases" parameters;
            phases are propagated without any if empty.
        phase_patch_bins: phases that it predicts at once.
        iterations: of fast Griffin-Lim.
        floor: of the logarithm of the features.
        dtype: of features and products; parameters are float32.

    Raises:
        ValueError: for arguments out of range, or features of another shape.

    References:
        H. Siuzdak, "Vocos", ICLR 2024, section 3 (the blocks). https://arxiv.org/abs/2306.00814
        "Range-null decomposition for neural vocoders", 2025 (what the mels determine is computed,
            the rest is learned). https://arxiv.org/abs/2507.20731
            Departure: magnitudes are scaled, which keeps them positive, and more than once.
        J. Darroch and D. Ratcliff, "Generalized iterative scaling for log-linear models", Annals of
            Mathematical Statistics 43, 1972 (the passes). https://doi.org/10.1214/aoms/1177692379

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
    filters: str = "mel_slaney"
    sample_rate: int = 22_050
    fmin: float = 0.0
    fmax: float | None = None
    passes: int = 5
    phase_widths: tuple[int, ...] = ()
    phase_patch_bins: int = 1
    iterations: int = 8
    floor: float = 1e-5
    dtype: Any = jnp.float32

    def __post_init__(self) -> None:
        """Checks the arguments."""
        self._check_trunk()
        self._check_stft()
        self._check_integration()
        vocoder_features.check_compression("log", self.floor)
        if self.n_fft % 2 or self.passes < 0:
            raise ValueError(
                f"n_fft={self.n_fft}, passes={self.passes}: use an even n_fft and 0 passes or more"
            )
        if self.filters not in ("mel_slaney", "mel_htk"):
            raise ValueError(f"filters={self.filters!r}: use 'mel_slaney' or 'mel_htk'")
        self._features  # noqa: B018  checks the edges of the filters
        super().__post_init__()

    def setup(self) -> None:
        """The network of the phases, if there is one."""
        if self.phase_widths:
            self.phases = PhaseGradientVocoder(**self.phase_fields)

    @property
    def phase_fields(self) -> dict[str, Any]:
        """Attributes of the phase-gradient network of this geometry with ``phase_widths``."""
        return {
            "num_bins": self.spectrum_bins,
            "n_fft": self.n_fft,
            "hop_length": self.hop_length,
            "every": self._every,
            "widths": self.phase_widths,
            "patch_bins": self.phase_patch_bins,
            "dtype": self.dtype,
            **self._window,
        }

    @property
    def _every(self) -> int:
        """Bins from phase to phase of that network."""
        return 2 if 2 * self.window_samples <= self.n_fft else 1

    @property
    def phase_samples(self) -> int:
        """Samples per frame of the inverse STFT."""
        return self.n_fft // self._every if self.phase_widths else self.n_fft

    @property
    def _features(self) -> VocoderFeatures:
        """The mel spectrogram that the network takes."""
        return VocoderFeatures(
            self.filters,  # type: ignore[arg-type]
            self.sample_rate,
            self.n_fft,
            self.window_samples,
            self.hop_length,
            self.num_bins,
            self.fmin,
            self.fmax,
        )

    @property
    def stft(self) -> dict[str, Any]:
        """Features that it has to be given."""
        return {**self._features.facts(), "window": self.window}

    @nn.compact
    def magnitude(
        self, features: Float[Array, "batch frames bins"]
    ) -> Float[jax.Array, "batch frames stft_bins"]:
        """Magnitudes of the STFT that have the given mels, at most ``win_length``.

        Args:
            features: [batch, frames, num_bins], not negative.

        Returns:
            [batch, frames, n_fft // 2 + 1].
        """
        mel = self._input(features)
        shown = vocoder_features.compress(mel, compression="log", floor=self.floor)
        filters = self._features.mel_weights()
        between = _interpolation(filters)
        learned = nn.Dense(
            self.spectrum_bins,
            kernel_init=nn.initializers.normal(0.02),
            dtype=self.dtype,
            name="leave",
        )(self._trunk(shown))
        # No band lets its bins fall below the floor, nor asks for more than a window can hold.
        # Filters narrower than a bin may be empty: they say nothing.
        total = np.sum(filters, axis=1)
        sums = match_rank(self._array(np.where(total > 0, total, 1.0)), mel)
        envelope = jnp.log(jnp.maximum(mel, self.floor) / sums)
        logs = jnp.matmul(envelope, self._array(between)) + learned
        largest = float(self.window_samples)
        for _ in range(self.passes):
            found = jnp.matmul(blocks.bounded_exp(logs, largest), self._array(filters).T)
            missing = jnp.log(jnp.maximum(mel, self.floor) / jnp.maximum(found, _LEAST))
            logs = logs + jnp.matmul(missing, self._array(between))
        return blocks.bounded_exp(logs, largest)

    def spectrum(
        self, magnitude: Float[Array, "batch frames stft_bins"]
    ) -> Complex[jax.Array, "batch frames phases"]:
        """Spectrum of magnitudes with their phases, as of :func:`.fourier.stft`.

        Args:
            magnitude: [batch, frames, n_fft // 2 + 1], of two frames or more.

        Returns:
            complex64 or complex128 [batch, frames, phase_samples // 2 + 1].
        """
        if self.phase_widths:
            return self.phases.spectrum(magnitude)
        directions = propagation.propagated_phase(
            magnitude,
            n_fft=self.n_fft,
            hop_length=self.hop_length,
            gamma=heap_integration.window_gamma(self.window, self.window_samples),
        )
        return propagation.scaled(directions, magnitude)

    def _array(self, values: np.ndarray) -> jax.Array:
        return jnp.asarray(values, self.dtype)


def _interpolation(filters: Float[np.ndarray, "mels bins"]) -> Float[np.ndarray, "mels bins"]:
    """Weights of the bands at every bin: triangles of height 1 over their sum there, 1 in all.

    Bins under no filter have the weights of the nearest that is.
    """
    most = np.max(filters, axis=1, keepdims=True)
    heights = filters / np.where(most > 0, most, 1.0)
    total = np.sum(heights, axis=0)
    covered = np.flatnonzero(total)
    nearest = covered[np.argmin(np.abs(np.arange(len(total))[:, None] - covered), axis=1)]
    return (heights / np.where(total > 0, total, 1.0))[:, nearest]
