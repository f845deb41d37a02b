"""Vocoder that predicts differences of phase, and how sure they are, and integrates them.

What a waveform's phase is no spectrogram tells: shift it by a fraction of a period and all is the
same. Differences of phase between neighbouring coefficients are what magnitudes determine, so that
is what the network predicts, and :mod:`.propagation` makes phases of them.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Complex, Float

from isincnet_jax.dsp import checks
from isincnet_jax.dsp.ranks import match_rank
from isincnet_jax.phase import beliefs as phase_beliefs
from isincnet_jax.phase import heap_integration, propagation
from isincnet_jax.phase.beliefs import PhaseBeliefs
from isincnet_jax.typing import Array
from isincnet_jax.vocoders.networks.network import PhaseIntegration

_QUIET = -9.0  # natural logarithm, relative to the loudest of a patch's surroundings


class PhaseGradientVocoder(PhaseIntegration):
    """Magnitudes of an STFT to a waveform that has them.

    The analytic phase differences of a Gaussian window (Prusa et al. 2017) are corrected, and given
    certainties, by a small network that sees patches of the log spectrogram, all with the same
    weights but for one bias vector per patch of a frame. It is trained on the likelihood of the
    differences (:func:`.beliefs.surprise`), without any recursion. The phases come from
    :func:`.propagation.propagate` at every ``every``-th bin, as many as the window needs, the
    waveform from an inverse STFT of the given magnitudes with them, maybe after a few iterations of
    fast Griffin-Lim. Before training it is the analytic method, all steps equally sure.

    Recursion over frames makes the whole clip its context. The output's level is that of the
    features; its sign is not determined.

    Attributes:
        num_bins: ``n_fft // 2 + 1``.
        n_fft: samples per frame of the features.
        hop_length: samples between frames.
        win_length: samples of the window, at most ``n_fft // every``; ``n_fft // every`` if None.
        window: with a gamma, see :func:`.heap_integration.window_gamma`.
        every: bins from phase to phase.
        width: hidden features.
        num_blocks: residual layers between the first and the last.
        patch_bins: phases that are predicted at once.
        halo_bins: more of those bins that are seen on either side.
        past_frames: frames before that are seen.
        future_frames: frames behind that are seen.
        levels: paths reach over ``2^levels - 1`` bins.
        bin_trust: 0 to 1, what certainty is multiplied with for every bin that a path goes along:
            neighbours err alike, so that long paths are less sure than their steps.
        iterations: of fast Griffin-Lim in the geometry of the features, at the end.
        dtype: of features and products; parameters are float32.

    Raises:
        ValueError: for arguments out of range, or features of another shape.

    References:
        Z. Prusa, P. Balazs and P. Sondergaard, "A noniterative method for reconstruction of phase
            from STFT magnitude", IEEE/ACM TASLP 25, 2017.
            https://doi.org/10.1109/TASLP.2017.2678166
        S. Takamichi, Y. Saito, N. Takamune, D. Kitamura and H. Saruwatari, "Phase reconstruction
            from amplitude spectrograms based on von-Mises-distribution deep neural network",
            IWAENC 2018. https://arxiv.org/abs/1807.03474
            Departure: the differences of phase have such distributions here, and their certainty
            is learned and used.
        Y. Masuyama, K. Yatabe, Y. Koizumi, Y. Oikawa and N. Harada, "Phase reconstruction based on
            recurrent phase unwrapping with deep neural networks", ICASSP 2020.
            https://arxiv.org/abs/2002.05832

    Example:
        >>> model = PhaseGradientVocoder(num_bins=65, n_fft=128, hop_length=16, width=8)
        >>> magnitude = jnp.ones((1, 6, 65), jnp.float32)
        >>> jax.eval_shape(model.init_with_output, jax.random.key(0), magnitude)[0].shape
        (1, 96)
    """

    num_bins: int = 1025
    n_fft: int = 2048
    hop_length: int = 256
    win_length: int | None = None
    window: str = "hann"
    every: int = 2
    width: int = 256
    num_blocks: int = 2
    patch_bins: int = 32
    halo_bins: int = 8
    past_frames: int = 3
    future_frames: int = 2
    levels: int = 3
    bin_trust: float = 0.7
    iterations: int = 0
    dtype: Any = jnp.float32

    def __post_init__(self) -> None:
        """Checks the arguments."""
        checks.check_positive_integers(n_fft=self.n_fft, every=self.every, levels=self.levels)
        checks.check_positive_integers(width=self.width, patch_bins=self.patch_bins)
        checks.check_positive_integers(hop_length=self.hop_length)
        counts = {
            name: getattr(self, name)
            for name in ("num_blocks", "halo_bins", "past_frames", "future_frames", "iterations")
        }
        for name, count in counts.items():
            if not isinstance(count, int) or count < 0:
                raise ValueError(f"{name}={count} must be an integer, 0 or more")
        self._check_integration()
        if not 0 <= self.bin_trust <= 1:
            raise ValueError(f"bin_trust={self.bin_trust} must be 0 to 1")
        if self.num_bins != self.spectrum_bins:
            raise ValueError(
                f"num_bins={self.num_bins}: magnitudes of n_fft={self.n_fft} are expected; use "
                f"num_bins={self.spectrum_bins}"
            )
        if self.n_fft % (2 * self.every):
            raise ValueError(
                f"n_fft={self.n_fft}, every={self.every}: use an n_fft that is a multiple of "
                f"{2 * self.every}"
            )
        if not self.hop_length * 2 <= self.window_samples <= self.phase_samples:
            raise ValueError(
                f"win_length={self.window_samples}: use 2 hops ({2 * self.hop_length}) to n_fft / "
                f"every ({self.phase_samples}); every=1 allows more"
            )
        super().__post_init__()

    @property
    def stft(self) -> dict[str, Any]:
        """STFT that the features have to be of."""
        return self._magnitudes

    @property
    def phase_samples(self) -> int:
        """Samples per frame of the inverse STFT."""
        return self.n_fft // self.every

    @nn.compact
    def beliefs(self, features: Float[Array, "batch frames bins"]) -> PhaseBeliefs:
        """Beliefs in the phase differences of neighbouring coefficients.

        Args:
            features: [batch, frames, n_fft // 2 + 1], of two frames or more.

        Returns:
            Von Mises distributions, complex [batch, frames, phase_samples // 2 + 1].
        """
        features = self._input(features)
        level = propagation.relative_level(features)
        analytic = propagation.gaussian_steps(
            level,
            n_fft=self.n_fft,
            hop_length=self.hop_length,
            gamma=heap_integration.window_gamma(self.window, self.window_samples),
            every=self.every,
        )
        # [batch, frames, patches, values]: the same weights for all patches, but for one bias each.
        hidden = self._patches(level)
        position = self.param(
            "position", nn.initializers.zeros, (hidden.shape[-2], self.width), jnp.float32
        )
        hidden = nn.Dense(self.width, dtype=self.dtype, name="enter")(hidden)
        hidden = nn.relu(hidden + match_rank(position.astype(self.dtype), hidden))
        for block in range(self.num_blocks):
            inner = nn.Dense(self.width, dtype=self.dtype, name=f"block_{block}")
            hidden = hidden + nn.relu(inner(hidden))
        leave = nn.Dense(
            4 * self.patch_bins,
            kernel_init=nn.initializers.normal(1e-3),
            bias_init=_first_beliefs,
            dtype=self.dtype,
            name="leave",
        )
        found = leave(hidden).reshape(*level.shape[:2], hidden.shape[-2] * self.patch_bins, 4)[
            :, :, : self.phase_samples // 2 + 1
        ]
        # eta = (a + j b) exp(i d), d the analytic difference: the network turns and stretches it.
        # Steps along frames (t) and along bins (k).
        real_t, imag_t, real_k, imag_k = jnp.moveaxis(found, -1, 0)
        return PhaseBeliefs(
            lax.complex(real_t, imag_t) * propagation.directions(analytic.per_frame),
            lax.complex(real_k, imag_k) * propagation.directions(analytic.per_bin),
        )

    def spectrum(
        self,
        features: Float[Array, "batch frames bins"],
    ) -> Complex[jax.Array, "batch frames phases"]:
        """Spectrum of every ``every``-th bin with its phase, as of :func:`.fourier.stft`.

        Args:
            features: [batch, frames, n_fft // 2 + 1], of two frames or more.

        Returns:
            complex64 or complex128 [batch, frames, phase_samples // 2 + 1].
        """
        features = self._input(features)
        beliefs = self.beliefs(features)
        # Every every-th bin of an STFT of n_fft samples is the STFT of n_fft / every, if the window
        # fits into that: so many phases determine the waveform.
        level = propagation.relative_level(features)[..., :: self.every]
        directions = propagation.propagate(
            level,
            phase_beliefs.mean_direction(beliefs.per_frame),
            phase_beliefs.mean_direction(beliefs.per_bin, self.bin_trust),
            levels=self.levels,
        )
        # Frames of an STFT count from their first sample, half a frame before their middle.
        alternating = jnp.asarray((-1.0) ** np.arange(level.shape[-1]), features.dtype)
        signed = features[..., :: self.every] * match_rank(alternating, features)
        return lax.complex(signed * jnp.real(directions), signed * jnp.imag(directions))

    def _patches(self, level: jax.Array) -> jax.Array:
        """What the network sees, [batch, frames, patches, values]: levels below the loudest."""
        _, frames, bins = level.shape
        before, behind = self.past_frames, self.future_frames
        # A patch: patch_bins phases of every bins each, and halos on both sides.
        step, halo = self.patch_bins * self.every, self.halo_bins * self.every
        patches = -(-(self.phase_samples // 2 + 1) // self.patch_bins)
        beyond = patches * step - bins + halo
        # Beyond the ends the level stays as it is: [batch, frames, past + 1 + future, bins] below.
        padded = jnp.pad(level, ((0, 0), (before, behind), (halo, max(beyond, 0))), mode="edge")
        seen = jnp.stack(
            [padded[:, place : place + frames] for place in range(before + 1 + behind)], axis=2
        )
        # Patches overlap by their halos: their own bins and the ends of the neighbours'.
        width = step + 2 * halo
        parts = [seen[..., patch * step : patch * step + width] for patch in range(patches)]
        values = jnp.stack(parts, axis=2)
        # Logarithms below the patch's loudest, cut at -9, on a line from -2 (silence) to 1.
        values = values - jnp.max(values, axis=(-2, -1), keepdims=True)
        values = 1.0 - jnp.maximum(values, _QUIET) / (_QUIET / 3.0)
        return lax.collapse(values, 3)


def _first_beliefs(key: jax.Array, shape: Any, dtype: Any) -> jax.Array:
    """Biases that believe the analytic differences everywhere alike."""
    del key
    return jnp.resize(jnp.asarray([2.0, 0.0, 2.0, 0.0], dtype), shape)
