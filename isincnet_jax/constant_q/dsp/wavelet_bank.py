"""Wavelet bank of constant-Q and variable-Q transforms, as librosa designs it.

Bin k has the centre ``f_k = fmin 2^(k / b)`` and a wavelet of

    l_k = filter_scale sample_rate / (alpha f_k + gamma)    samples (a fraction),

``w_k[n] = window[n] exp(2 pi i f_k n / sample_rate)`` for ``floor(-l/2) <= n < floor(l/2)``,
divided by its ``norm``. An odd window is therefore centred half a sample before the frame's
position, the phase is that of the position itself.

References:
    J. C. Brown, "Calculation of a constant Q spectral transform", JASA 89, 1991, equations 5
        and 8. https://doi.org/10.1121/1.400476
    C. Schoerkhuber, A. Klapuri, N. Holighaus and M. Doerfler, "A Matlab toolbox for efficient
        perfect reconstruction time-frequency transforms with log-frequency resolution", AES
        Semantic Audio, 2014 (variable Q). https://aes.org/publications/elibrary-page/?id=17112
    B. R. Glasberg and B. C. J. Moore, "Derivation of auditory filter shapes from notched-noise
        data", Hearing Research 47, 1990. https://doi.org/10.1016/0378-5955(90)90170-T
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
from jaxtyping import Complex, Float

from isincnet_jax.constant_q.dsp import multirate
from isincnet_jax.dsp import settling, windows

NormalizationType: TypeAlias = Literal["librosa", "convolutional", "wrap"]
QConvention: TypeAlias = Literal["librosa", "nnaudio"]

_DEFAULT_BINS = 84
_ERB_CORNER_HZ = 24.7 / 0.108  # ERB(f) = 0.108 f + 24.7 = 0.108 (f + 24.7 / 0.108), in Hz


def count_bins(
    *,
    sample_rate: float,
    fmin: float,
    fmax: float | None,
    n_bins: int | None,
    bins_per_octave: int,
) -> int:
    """Number of bins: ``n_bins``, or all up to ``fmax``, or 84.

    Args:
        sample_rate: Hz.
        fmin: centre of the first bin, Hz.
        fmax: bins end at or below it, Hz; None for no limit.
        n_bins: 1 or more; None for the default. Excludes ``fmax``.
        bins_per_octave: 1 or more.

    Returns:
        Bins, 1 or more, all at or below the Nyquist frequency.

    Raises:
        ValueError: if both are given, or a bin lies above the Nyquist frequency.

    Example:
        >>> count_bins(sample_rate=22_050, fmin=55.0, fmax=880.0, n_bins=None, bins_per_octave=12)
        49
    """
    if not 0 < fmin < math.inf or not 0 < sample_rate < math.inf:
        raise ValueError(f"fmin={fmin} and sample_rate={sample_rate} must be positive (Hz)")
    if isinstance(bins_per_octave, bool) or int(bins_per_octave) != bins_per_octave:
        raise ValueError(f"bins_per_octave={bins_per_octave!r} must be an integer of at least 1")
    if bins_per_octave < 1:
        raise ValueError(f"bins_per_octave={bins_per_octave} must be at least 1")
    if fmax is not None and n_bins is not None:
        raise ValueError(
            f"fmax={fmax} and n_bins={n_bins}: each of them sets the number of bins; give one"
        )
    if fmax is not None:
        if not fmin <= fmax <= sample_rate / 2:
            raise ValueError(
                f"fmax={fmax}: fmin={fmin} <= fmax <= sample_rate / 2 = {sample_rate / 2:g} Hz "
                "must hold"
            )
        # A bin that lies at ``fmax`` but for rounding counts.
        return 1 + math.floor(bins_per_octave * math.log2(fmax / fmin) + 1e-9)
    count = _DEFAULT_BINS if n_bins is None else n_bins
    if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 1:
        raise ValueError(f"n_bins={count!r} must be an integer of at least 1")
    most = 1 + math.floor(bins_per_octave * math.log2(sample_rate / 2 / fmin) + 1e-9)
    if most < 1:
        raise ValueError(
            f"fmin={fmin} lies above half of sample_rate={sample_rate}; use fmin <= "
            f"{sample_rate / 2:g}"
        )
    if count > most:
        top = fmin * 2 ** ((count - 1) / bins_per_octave)
        raise ValueError(
            f"n_bins={count}: the last bin, {top:.1f} Hz, lies above half of "
            f"sample_rate={sample_rate}; use n_bins <= {most}"
        )
    return int(count)


@dataclass(frozen=True, kw_only=True)
class WaveletBank:
    """Wavelet bank of a constant-Q or variable-Q transform; hashable, everything in float64.

    Attributes:
        sample_rate: Hz.
        fmin: centre of the first bin in Hz.
        n_bins: bins.
        bins_per_octave: bins per octave.
        gamma: Hz added to all bandwidths ``alpha f + gamma``; 0 is constant Q, None makes
            bandwidths proportional to the equivalent rectangular bandwidth of the ear.
        filter_scale: factor of all lengths, and of Q.
        norm: p of the p-norm that every wavelet is divided by (1, 2, ``inf`` ...); None keeps it.
        window: name, or name and parameters, as :func:`scipy.signal.get_window` takes them.
        q_convention: "librosa" has ``alpha = (r^2 - 1) / (r^2 + 1)`` with ``r = 2^(1/b)``;
            "nnaudio" has ``alpha = r - 1`` and rounds lengths up, as nnAudio and old librosas.

    Raises:
        ValueError: for numbers out of range, unknown windows and conventions.
    """

    sample_rate: float = 22_050
    fmin: float = 32.70
    n_bins: int = _DEFAULT_BINS
    bins_per_octave: int = 12
    gamma: float | None = 0.0
    filter_scale: float = 1.0
    norm: float | None = 1
    window: str | tuple[str | float, ...] = "hann"
    q_convention: QConvention = "librosa"

    def __post_init__(self) -> None:
        """Checks every number."""
        settling.settle_fields(self)
        count_bins(
            sample_rate=self.sample_rate,
            fmin=self.fmin,
            fmax=None,
            n_bins=self.n_bins,
            bins_per_octave=self.bins_per_octave,
        )
        if self.gamma is not None and not 0 <= self.gamma < math.inf:
            raise ValueError(f"gamma={self.gamma} must be at least 0 (Hz), or None for ERB")
        if not 0 < self.filter_scale < math.inf:
            raise ValueError(f"filter_scale={self.filter_scale} must be positive; 1 is usual")
        if self.norm is not None and not self.norm > 0:
            raise ValueError(f"norm={self.norm} must be positive (1, 2, inf ...) or None")
        if self.q_convention not in get_args(QConvention):
            raise ValueError(
                f"q_convention={self.q_convention!r} is unknown; use 'librosa' or 'nnaudio'"
            )
        try:
            windows.get_window(self.window, 8, fftbins=True)
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"window={self.window!r} is unknown to scipy.signal.get_window ({error}); "
                "'hann' is usual"
            ) from error

    @property
    def alpha(self) -> float:
        """Relative bandwidth, the inverse of Q at ``filter_scale=1``."""
        ratio = 2 ** (1 / self.bins_per_octave)
        return ratio - 1 if self.q_convention == "nnaudio" else (ratio**2 - 1) / (ratio**2 + 1)

    @property
    def frequencies(self) -> Float[np.ndarray, " bins"]:
        """Centre frequencies of all bins, Hz, float64 [bins]."""
        return self.fmin * 2 ** (np.arange(self.n_bins) / self.bins_per_octave)

    @property
    def lengths(self) -> Float[np.ndarray, " bins"]:
        """Lengths of all wavelets in samples, fractions unless of nnAudio's convention."""
        return self._lengths_at(self.frequencies)

    def _lengths_at(self, frequencies: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Lengths in samples of wavelets at any centres in Hz."""
        gamma_hz = self.alpha * _ERB_CORNER_HZ if self.gamma is None else self.gamma
        lengths = self.filter_scale * self.sample_rate / (self.alpha * frequencies + gamma_hz)
        return np.ceil(lengths) if self.q_convention == "nnaudio" else lengths

    def wavelet(self, frequency: float) -> multirate.Kernel:
        """Wavelet at any centre frequency.

        Args:
            frequency: its centre, Hz.

        Returns:
            Complex128 taps, one or more, and the index of the first.
        """
        length = float(self._lengths_at(np.asarray(frequency)))
        first = math.floor(-length / 2)
        n = np.arange(first, max(math.floor(length / 2), first + 1))
        taper = windows.get_window(self.window, len(n), fftbins=True)
        taps: np.ndarray = taper * np.exp(2j * np.pi * frequency / self.sample_rate * n)
        if self.norm is not None:
            taps = taps / np.linalg.norm(taps, self.norm)
        return multirate.Kernel(first, taps)

    def wavelets(self) -> list[multirate.Kernel]:
        """Wavelets of all bins.

        Returns:
            Kernels by ascending frequency.
        """
        return [self.wavelet(frequency) for frequency in self.frequencies]

    @property
    def frame_length(self) -> int:
        """Frame length in samples: it holds every wavelet, n = 0 being its middle sample."""
        reach = max(math.ceil(length / 2) for length in self.lengths)
        return 2 * max(reach, 1)

    def padded_wavelets(self) -> Complex[np.ndarray, "bins taps"]:
        """Wavelets of all bins in frames of :attr:`frame_length`, for plots.

        Returns:
            Complex128 [bins, frame_length], n = 0 at index ``frame_length // 2``.
        """
        frame = self.frame_length
        padded = np.zeros((self.n_bins, frame), np.complex128)
        for row, kernel in zip(padded, self.wavelets(), strict=True):
            start = frame // 2 + kernel.first
            row[start : start + len(kernel.taps)] = kernel.taps
        return padded


def response_scale(bank: WaveletBank, normalization_type: str) -> Float[np.ndarray, " bins"]:
    """Response scale of the bins: sqrt(length) ("librosa"), 1 ("convolutional"), 2 ("wrap").

    With ``norm=1``, a sine of amplitude 1 at a bin's centre has magnitude 1/2 ("convolutional"),
    1 ("wrap") or ``sqrt(length) / 2``, lengths being those of the given rate.

    Args:
        bank: wavelets, whose lengths in samples count.
        normalization_type: one of the three names.

    Returns:
        What inner products are multiplied with, float64 [bins].

    Raises:
        ValueError: for an unknown name.
    """
    if normalization_type == "librosa":
        return np.sqrt(bank.lengths)
    if normalization_type in ("convolutional", "wrap"):
        return np.full(bank.n_bins, 1.0 if normalization_type == "convolutional" else 2.0)
    raise ValueError(
        f"normalization_type={normalization_type!r} is unknown; use 'librosa', 'convolutional' "
        "or 'wrap'"
    )
