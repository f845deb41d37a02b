"""Specifications of invertible filterbanks: what all have, and that of a constant-Q transform."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from jaxtyping import Float, Int

from isincnet_jax.constant_q.dsp import octave_bands, ragged_hops
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


class BandSpec:
    """Specification of bands, whatever places them: what windows, hops and tables go by.

    Its subclasses are frozen dataclasses with these fields and more.

    Attributes:
        sample_rate: samples per second.
        hop_length: samples between the frames of the matrix layout; None: a default.
        window: a name in :data:`WINDOWS`.
        tight: whether windows are divided by the root of the frame operator.
        normalization: "amplitude", "energy" or "librosa".
    """

    sample_rate: float
    hop_length: int | None
    window: str
    tight: bool
    normalization: str

    @property
    def placed_bands(self) -> octave_bands.PlacedBands:
        """The bands that the settings place; extra ones cover what is left of the spectrum."""
        raise NotImplementedError

    def ragged_hops(
        self, longest: Float[np.ndarray, " bands"]
    ) -> tuple[int, Int[np.ndarray, " bands"]]:
        """Hops of the ragged layout: their least common multiple, and that of every band.

        Args:
            longest: samples; how long a hop each band allows, [bands].

        Returns:
            Samples.
        """
        raise NotImplementedError

    def _check_windows(self) -> None:
        if self.window not in WINDOWS:
            raise ValueError(f"window={self.window!r} is unknown; use one of {', '.join(WINDOWS)}")
        if self.normalization not in NORMALIZATIONS:
            raise ValueError(
                f"normalization={self.normalization!r} is unknown; use one of "
                f"{', '.join(NORMALIZATIONS)}"
            )

    def _check_hop(self) -> None:
        hop, longest = self.hop_length, self.longest_hop
        if hop is not None and (hop < 1 or int(hop) != hop):
            raise ValueError(f"hop_length={hop!r} must be None or an integer of at least 1 sample")
        if hop is not None and hop > longest * (1 + 1e-9):
            raise ValueError(
                f"hop_length={hop}: the broadest band has a support of "
                f"{self.sample_rate / longest:.1f} Hz, which the frame rate must reach; use "
                f"hop_length <= {math.floor(longest + 1e-9)}"
            )

    @property
    def longest_hop(self) -> float:
        """Longest hop in samples: the broadest band that is placed is sampled just enough."""
        return self.sample_rate / (2 * float(self.placed_bands.width.max()))

    @property
    def hop(self) -> int:
        """Hop length in samples: ``hop_length``, or the default."""
        if self.hop_length is not None:
            return self.hop_length
        longest = math.floor(self.longest_hop + 1e-9)
        return next(n for n in range(longest, 0, -1) if ragged_hops.next_smooth(n) == n)

    @property
    def frame_rate(self) -> float:
        """Frame rate of the broadest bands, frames per second."""
        return self.sample_rate / self.hop


@dataclasses.dataclass(frozen=True)
class GaborSpec(BandSpec):
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
        self._check_windows()
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
    def placed_bands(self) -> octave_bands.PlacedBands:
        """The constant-Q bands."""
        return self._bands(self.num_constant_q)

    def ragged_hops(
        self, longest: Float[np.ndarray, " bands"]
    ) -> tuple[int, Int[np.ndarray, " bands"]]:
        """Hops of the ragged layout by octave, ``hop 2^j``: the longest, and that of every band.

        Args:
            longest: samples; how long a hop each band allows, [bands].

        Returns:
            Samples.
        """
        return ragged_hops.octave_hops(self.hop, longest)

    def _bands(self, most: int) -> octave_bands.PlacedBands:
        return octave_bands.place_bands(self.octaves, fmin=self.fmin, gamma=self.gamma, most=most)
