"""Specification of an invertible constant-Q transform: bands, hop and scale, checked once."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import scipy.fft

from isincnet_jax.constant_q.dsp import octave_bands
from isincnet_jax.dsp import checks, settling

WINDOWS: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        "hann": (0.5, 0.5),
        "cosine": (),
        "blackman": (0.42, 0.5, 0.08),
        "blackmanharris": (0.35875, 0.48829, 0.14128, 0.01168),
    }
)
"""Terms of the cosine series of each window; "cosine" is the root of the Hann window. Read-only:
designs are kept by the names."""

NORMALIZATIONS = ("amplitude", "energy", "librosa")


@dataclasses.dataclass(frozen=True)
class GaborSpec:
    """Specification of constant-Q bands, checked at construction; hashable, as caches need it.

    Attributes:
        sample_rate: samples per second.
        fmin: centre of the first constant-Q band in Hz.
        fmax: upper limit of the centres in Hz; needs ``n_bins=None``.
        n_bins: constant-Q bands; None: as many as ``fmax`` allows, or as fit below Nyquist.
        bins_per_octave: centres per octave; or a tuple (a list is one, too) of the centres of every
            octave from ``fmin`` on, which are then all that there are. See :mod:`.octave_bands`.
        gamma: added to the half width of every band, in Hz; 0 is constant-Q, more a variable Q.
        hop_length: samples between the frames of the broadest bands; None: the largest product of
            2, 3 and 5 that the broadest constant-Q band allows.
        window: "hann", "cosine", "blackman" or "blackmanharris".
        tight: whether windows are divided by the root of the frame operator: the frame bounds
            are then 1 and 1, and synthesis is the adjoint of analysis.
        normalization: scale of a band's coefficients. "amplitude": a sinusoid of amplitude a at
            the band's centre gives magnitude a. "librosa": a / 2 times the root of the filter's
            ``sample_rate / w_b`` samples, as :func:`librosa.cqt` scales. "energy": the sum of
            squared magnitudes is the signal's (exactly if ``tight``, else within the bounds).

    Raises:
        ValueError: for settings outside of these rules.
    """

    sample_rate: float = 22_050
    fmin: float = 32.70
    fmax: float | None = None
    n_bins: int | None = 84
    bins_per_octave: int | tuple[int, ...] = 12
    gamma: float = 0.0
    hop_length: int | None = None
    window: str = "hann"
    tight: bool = False
    normalization: str = "amplitude"

    def __post_init__(self) -> None:
        """Checks every attribute."""
        settling.settle_fields(self)
        checks.check_rate(self.sample_rate)
        if not 0 < self.fmin < self.sample_rate / 2:
            raise ValueError(f"fmin={self.fmin}: 0 < fmin < sample_rate / 2 must hold (Hz)")
        resolution = octave_bands.settled_bins_per_octave(self.bins_per_octave)
        object.__setattr__(self, "bins_per_octave", resolution)
        if not 0 <= self.gamma < math.inf:
            raise ValueError(f"gamma={self.gamma} must be 0 or a positive number of Hz")
        if self.window not in WINDOWS:
            raise ValueError(f"window={self.window!r} is unknown; use one of {', '.join(WINDOWS)}")
        if self.normalization not in NORMALIZATIONS:
            raise ValueError(
                f"normalization={self.normalization!r} is unknown; use one of "
                f"{', '.join(NORMALIZATIONS)}"
            )
        self._check_number_of_bins()
        self._check_hop()

    def _check_number_of_bins(self) -> None:
        most = self.most_bins
        if most < 1:
            raise ValueError(
                f"fmin={self.fmin} and gamma={self.gamma}: no band fits below sample_rate / 2 = "
                f"{self.sample_rate / 2:g} Hz; lower either"
            )
        if self.fmax is not None and self.n_bins is not None:
            raise ValueError(
                f"fmax={self.fmax} and n_bins={self.n_bins}: give one of them, e.g. n_bins=None"
            )
        if self.fmax is not None and self.fmax < self.fmin:
            raise ValueError(f"fmax={self.fmax} lies below fmin={self.fmin}; raise it")
        if self.n_bins is not None and (self.n_bins < 1 or int(self.n_bins) != self.n_bins):
            raise ValueError(f"n_bins={self.n_bins!r} must be None or an integer >= 1")
        if isinstance(self.bins_per_octave, tuple) and self.num_constant_q > sum(self.octaves):
            raise ValueError(
                f"n_bins={self.n_bins}: bins_per_octave={self.bins_per_octave} has "
                f"{sum(self.octaves)}; use n_bins=None, n_bins <= {most}, or more octaves"
            )
        if self.num_constant_q > most:
            highest = float(self._bands(most).center[-1])
            raise ValueError(
                f"n_bins={self.n_bins}, fmax={self.fmax}: the last band would reach beyond "
                f"sample_rate / 2 = {self.sample_rate / 2:g} Hz; use n_bins <= {most} or fmax <= "
                f"{highest:.2f}"
            )

    def _check_hop(self) -> None:
        hop, longest = self.hop_length, self.longest_hop
        if hop is not None and (hop < 1 or int(hop) != hop):
            raise ValueError(f"hop_length={hop!r} must be None or an integer of at least 1 sample")
        if hop is not None and hop > longest:
            raise ValueError(
                f"hop_length={hop}: the broadest band has a support of "
                f"{self.sample_rate / longest:.1f} Hz, which the frame rate must reach; use "
                f"hop_length <= {math.floor(longest)}"
            )

    @property
    def longest_hop(self) -> float:
        """Longest hop in samples: the broadest constant-Q band is sampled just enough."""
        return self.sample_rate / (2 * float(self.constant_q_bands.width.max()))

    @property
    def hop(self) -> int:
        """Hop length in samples: ``hop_length``, or the default."""
        if self.hop_length is not None:
            return self.hop_length
        longest = math.floor(self.longest_hop)
        return next(n for n in range(longest, 0, -1) if next_smooth(n) == n)

    @property
    def frame_rate(self) -> float:
        """Frame rate of the broadest bands, frames per second."""
        return self.sample_rate / self.hop

    @property
    def octaves(self) -> tuple[int, ...]:
        """Centres of every octave from ``fmin`` on: as given, or alike up to Nyquist."""
        if isinstance(self.bins_per_octave, tuple):
            return self.bins_per_octave
        return (self.bins_per_octave,) * (
            math.floor(math.log2(self.sample_rate / 2 / self.fmin)) + 1
        )

    @property
    def most_bins(self) -> int:
        """Largest number of constant-Q bands that end below the Nyquist frequency."""
        # f + alpha f + gamma <= Nyquist
        limit = self.sample_rate / 2 - self.gamma
        return octave_bands.count_below(self.octaves, fmin=self.fmin, limit=limit, reach=True)

    @property
    def num_constant_q(self) -> int:
        """Number of constant-Q bands of these settings."""
        if self.n_bins is not None:
            return self.n_bins
        if self.fmax is None:
            return self.most_bins
        return octave_bands.count_below(self.octaves, fmin=self.fmin, limit=self.fmax, reach=False)

    @property
    def constant_q_bands(self) -> octave_bands.OctaveBands:
        """The constant-Q bands."""
        return self._bands(self.num_constant_q)

    def _bands(self, most: int) -> octave_bands.OctaveBands:
        return octave_bands.place_bands(self.octaves, fmin=self.fmin, gamma=self.gamma, most=most)


def next_smooth(number: int) -> int:
    """Smooth number: the least from ``number`` on without prime factors but 2, 3 and 5.

    Args:
        number: 1 or more.

    Returns:
        At least ``number``, of fast FFTs.
    """
    found: Any = scipy.fft.next_fast_len(number, real=True)
    return int(found)
