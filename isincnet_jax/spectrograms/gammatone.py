"""Gammatone spectrogram layer: responses at equal steps in ERBs, from the power of an STFT."""

from __future__ import annotations

from typing import Literal

import jax
import numpy as np
from jaxtyping import Float

from isincnet_jax.dsp import auditory, checks
from isincnet_jax.spectrograms.weighted_bins import GammatoneFilters, WeighedSpectrogram
from isincnet_jax.typing import Waveform


class Gammatonegram(GammatoneFilters, WeighedSpectrogram):
    """Gammatone spectrogram: responses, at equal steps in ERBs, as weights on an STFT's power.

    ``Y[t, m] = sum_k |G_m(k)| |X[t, k]|^power`` with ``|G_m|`` the magnitude response of a
    fourth-order gammatone filter, :func:`.auditory.gammatone_weights`. Time resolution is that of
    the STFT, not that of the filters.

    Attributes:
        n_bins: filters.
        fmin: centre of the first filter, Hz.
        fmax: centre of the filter that would follow the last one, Hz; half the sample rate if None.
        norm: "n_fft" divides gains of 1 at the centres by ``n_fft``; None leaves them; "slaney"
            (or 1) gives filters of area 1, "l1", inf or p those of norm 1.
        trainable_bins: whether the weights are a parameter, ``basis`` [n_bins, bins].

    All others are those of :class:`.StftGeometry`. For Ellis's original, which weighs magnitudes,
    take ``power=1``.

    Raises:
        ValueError: for arguments out of range.

    References:
        D. Ellis, "Gammatone-like spectrograms", 2009.
            https://www.ee.columbia.edu/~dpwe/resources/matlab/gammatonegram/
        Departure: nnAudio's ``norm`` and ``htk`` have no effect; here ``norm`` has one, the default
            is what nnAudio computes, and there is no ``htk``. ``fmin`` is 20 Hz, not 0, by default.

    Example:
        >>> import jax.numpy as jnp
        >>> Gammatonegram(sample_rate=44_100).apply({}, jnp.ones((2, 44_100), jnp.float32)).shape
        (2, 87, 64)
    """

    n_bins: int = 64
    fmin: float = 20.0
    fmax: float | None = None
    norm: auditory.FilterNorm | Literal["n_fft"] = "n_fft"
    trainable_bins: bool = False

    def __post_init__(self) -> None:
        """Checks the arguments."""
        super().__post_init__()
        checks.check_positive_integers(n_bins=self.n_bins)
        fmax = self.upper_hz(self.fmax)
        checks.check_band(fmin=self.fmin, fmax=fmax, sample_rate=self.sample_rate)
        self.design()

    @property
    def frequencies(self) -> Float[np.ndarray, " bins"]:
        """Centre frequencies of the filters, Hz, float64 [n_bins]."""
        fmax = self.upper_hz(self.fmax)
        return auditory.gammatone_frequencies(self.n_bins, fmin=self.fmin, fmax=fmax)

    def is_trainable(self) -> bool:
        """Whether the weights are a parameter.

        Returns:
            ``trainable_bins``.
        """
        return self.trainable_bins

    def __call__(self, waveform: Waveform) -> Float[jax.Array, "... frames bins"]:
        """Gammatone spectrogram of a waveform.

        Args:
            waveform: [..., time], floating.

        Returns:
            [..., frames, n_bins], not negative.
        """
        return self.weigh(waveform)
