"""Mel spectrogram and mel-frequency cepstrum (MFCC) layers."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import Float

from isincnet_jax.dsp import auditory, cepstrum, checks
from isincnet_jax.spectrograms.weighted_bins import MelFilters, StftGeometry, WeighedSpectrogram
from isincnet_jax.typing import Waveform


class MelSpectrogram(MelFilters, WeighedSpectrogram):
    """Mel spectrogram: triangular filters on an STFT's power, ``librosa.feature.melspectrogram``.

    ``Y[t, m] = sum_k W[m, k] |X[t, k]|^power`` with W of :func:`.auditory.mel_weights`; "mel" is
    Slaney's scale unless ``htk``. Gradients are finite on silence.

    Attributes:
        n_mels: filters. Those that no bin of the STFT falls into are 0, with a warning.
        fmin: lower edge of the first filter, Hz.
        fmax: upper edge of the last one, Hz; half the sample rate if None.
        htk: HTK's mel scale for Slaney's.
        norm: "slaney" (or 1) for filters of area 1, "l1", inf or p for those of norm 1, None for
            triangles of height 1.
        trainable_mel: whether the filters are a parameter, ``basis`` [n_mels, bins].

    All others are those of :class:`.StftGeometry`.

    Raises:
        ValueError: for arguments out of range.

    References:
        Departure: ``pad_mode="reflect"`` is nnAudio's default; librosa's is "constant".

    Example:
        >>> import jax.numpy as jnp
        >>> layer = MelSpectrogram(sample_rate=16_000, n_fft=512, hop_length=160, n_mels=40)
        >>> layer.apply({}, jnp.zeros((2, 16_000), jnp.float32)).shape
        (2, 101, 40)
    """

    n_mels: int = 128
    fmin: float = 0.0
    fmax: float | None = None
    htk: bool = False
    norm: auditory.FilterNorm = "slaney"
    trainable_mel: bool = False

    def __post_init__(self) -> None:
        """Checks the arguments, and warns of filters without a bin."""
        super().__post_init__()
        checks.check_positive_integers(n_mels=self.n_mels)
        fmax = self.upper_hz(self.fmax)
        checks.check_band(fmin=self.fmin, fmax=fmax, sample_rate=self.sample_rate)
        empty = _empty_filters(self)
        if empty:
            warnings.warn(
                f"n_mels={self.n_mels}: no bin of n_fft={self.n_fft} falls into the filters "
                f"{', '.join(map(str, empty))}, which stay 0; use fewer filters or a larger n_fft",
                UserWarning,
                stacklevel=2,
            )

    @property
    def frequencies(self) -> Float[np.ndarray, " mels"]:
        """Peak frequencies of the filters, Hz, float64 [n_mels]."""
        fmax = self.upper_hz(self.fmax)
        return auditory.mel_frequencies(self.n_mels, fmin=self.fmin, fmax=fmax, htk=self.htk)

    def is_trainable(self) -> bool:
        """Whether the filters are a parameter.

        Returns:
            ``trainable_mel``.
        """
        return self.trainable_mel

    def __call__(self, waveform: Waveform) -> Float[jax.Array, "... frames mels"]:
        """Mel spectrogram of a waveform.

        Args:
            waveform: [..., time], floating.

        Returns:
            [..., frames, n_mels], not negative.
        """
        return self.weigh(waveform)


def _empty_filters(layer: MelSpectrogram) -> list[int]:
    return np.flatnonzero(~layer.design().any(axis=1)).tolist()


class MFCC(StftGeometry):
    """Mel-frequency cepstral coefficients: ``librosa.feature.mfcc``.

    The cosine transform over the filters of a mel spectrogram in decibels
    (:func:`.auditory.power_to_db`, floor 1e-10), the first ``n_mfcc`` coefficients of it, times the
    lifter ``1 + lifter / 2 sin(pi (k + 1) / lifter)``. Gradients are finite on silence.

    Attributes:
        n_mfcc: coefficients, at most ``n_mels``.
        norm: of the cosine transform, "ortho" or None.
        dct_type: 1 to 4.
        lifter: 0 for none.
        top_db: range below the loudest filter output of a clip, dB; None for no such floor.
        n_mels: filters.
        fmin: lower edge of the first filter, Hz.
        fmax: upper edge of the last one, Hz; half the sample rate if None.
        htk: HTK's mel scale for Slaney's.
        mel_norm: ``norm`` of :class:`MelSpectrogram`.
        trainable_mel: whether the filters are a parameter.

    All others are those of :class:`.StftGeometry`. Parameters are those of a
    :class:`MelSpectrogram` called ``mel``.

    Raises:
        ValueError: for arguments out of range.

    References:
        S. Davis and P. Mermelstein, "Comparison of parametric representations for monosyllabic
            word recognition in continuously spoken sentences", IEEE Trans. ASSP 28, 1980.
            https://doi.org/10.1109/TASSP.1980.1163420
        Departure: the loudest is sought per clip and channel; librosa seeks it in the whole array,
            so that there the channels of a clip depend on each other.

    Example:
        >>> import jax.numpy as jnp
        >>> MFCC(n_mfcc=13, n_mels=40).apply({}, jnp.ones(22_050, jnp.float32)).shape
        (44, 13)
    """

    n_mfcc: int = 20
    norm: Literal["ortho"] | None = "ortho"
    dct_type: int = 2
    lifter: float = 0.0
    top_db: float | None = 80.0
    n_mels: int = 128
    fmin: float = 0.0
    fmax: float | None = None
    htk: bool = False
    mel_norm: auditory.FilterNorm = "slaney"
    trainable_mel: bool = False

    def __post_init__(self) -> None:
        """Checks the arguments."""
        super().__post_init__()
        checks.check_positive_integers(n_mfcc=self.n_mfcc)
        self.mel_layer()
        self.matrix()
        if self.top_db is not None and self.top_db < 0:
            raise ValueError(f"top_db={self.top_db} must not be negative; use None for no floor")

    @property
    def frequencies(self) -> Float[np.ndarray, " mels"]:
        """Peak frequencies of the mel filters below the cepstra, Hz, float64 [n_mels]."""
        return self.mel_layer().frequencies

    def matrix(self) -> Float[np.ndarray, "coefficients mels"]:
        """Cosine transform matrix, its rows multiplied by the lifter.

        Returns:
            Float64 [n_mfcc, n_mels].
        """
        matrix = cepstrum.dct_matrix(
            self.n_mfcc, n_inputs=self.n_mels, dct_type=self.dct_type, norm=self.norm
        )
        return matrix * cepstrum.cepstral_lifter(self.n_mfcc, lifter=self.lifter)[:, None]

    def mel_layer(self, *, parent: Any = None) -> MelSpectrogram:
        """Mel spectrogram below the cepstra.

        Args:
            parent: of the layer.

        Returns:
            The layer.
        """
        return MelSpectrogram(
            **self.geometry(),
            n_mels=self.n_mels,
            fmin=self.fmin,
            fmax=self.fmax,
            htk=self.htk,
            norm=self.mel_norm,
            trainable_mel=self.trainable_mel,
            parent=parent,
        )

    def setup(self) -> None:
        """Creates the mel spectrogram."""
        self.mel = self.mel_layer(parent=self)

    def __call__(self, waveform: Waveform) -> Float[jax.Array, "... frames coefficients"]:
        """Mel-frequency cepstra of a waveform.

        Args:
            waveform: [..., time], floating.

        Returns:
            [..., frames, n_mfcc].
        """
        level_db = auditory.power_to_db(self.mel(waveform), top_db=self.top_db)
        return auditory.weigh_bins(level_db, self.matrix(), precision=self.precision)
