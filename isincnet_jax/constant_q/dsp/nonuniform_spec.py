"""Specification of an invertible filterbank on any frequency scale, checked once."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from isincnet_jax.constant_q.dsp import octave_bands, ragged_hops, scale_bands
from isincnet_jax.constant_q.dsp.gabor_spec import BandSpec
from isincnet_jax.dsp import checks, scales, settling

DEFAULT_BINS = 128
_LEAST_OVERLAP = 1.5


@dataclasses.dataclass(frozen=True)
class NonuniformSpec(BandSpec):
    """Specification of bands on a scale or of any centres; hashable, as caches need it.

    Attributes:
        sample_rate: samples per second.
        num_bins: bands at equal distances on the scale; None: 128, or as many as ``center_hz``.
        scale: "mel_slaney" (also "mel"), "mel_htk", "erb", "bark", "linear" or "log"; without
            effect if ``center_hz`` is given.
        min_hz: first centre in Hz; None: 0, or C1 (32.7 Hz) on a log scale. Extra bands reach
            down to 0 Hz from another.
        max_hz: last centre in Hz; None: half the sample rate. Extra bands reach up to there.
        center_hz: centres of one's own instead, increasing, from 0 to half the sample rate.
        bandwidth_hz: width of every band, half of its support (of a Hann window the width at half
            amplitude); None: bands reach from one neighbour's centre to the other's.
        hop_length: samples between the frames of the matrix layout; None: the longest that the
            broadest band allows and the unit of all hops has (:mod:`.ragged_hops`). The ragged
            layout has hops by band.
        window: "hann", "cosine", "blackman" or "blackmanharris".
        tight: whether windows are divided by the root of the frame operator.
        normalization: "amplitude", "energy" or "librosa", as of :class:`.gabor_spec.GaborSpec`.

    Raises:
        ValueError: for settings outside of these rules.

    Example:
        >>> spec = NonuniformSpec(sample_rate=16_000, num_bins=64, scale="erb")
        >>> spec.placed_bands.center[[0, 1, -1]].round(2).tolist(), spec.hop
        ([0.0, 13.39, 8000.0], 15)
    """

    sample_rate: float = 22_050
    num_bins: int | None = None
    scale: str = "mel"
    min_hz: float | None = None
    max_hz: float | None = None
    center_hz: tuple[float, ...] | None = None
    bandwidth_hz: tuple[float, ...] | None = None
    hop_length: int | None = None
    window: str = "hann"
    tight: bool = False
    normalization: str = "amplitude"

    def __post_init__(self) -> None:
        """Checks every attribute."""

        def settle(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

        for name in ("center_hz", "bandwidth_hz"):
            settle(name, settled_numbers(name, getattr(self, name)))
        settling.settle_fields(self)
        checks.check_rate(self.sample_rate)
        settle("scale", scales.ScaleName.settle(self.scale))
        self._check_windows()
        self._check_centers()
        self._check_widths()
        self._check_hop()

    @property
    def given_centers_hz(self) -> Float[np.ndarray, " bands"]:
        """Centres that the settings ask for, float64, Hz; extra bands are not among them."""
        if self.center_hz is not None:
            return np.array(self.center_hz, np.float64)
        lowest = scale_bands.LOWEST_LOG_HZ if self.scale == "log" else 0.0
        return scale_bands.scale_centers(
            DEFAULT_BINS if self.num_bins is None else self.num_bins,
            scale=self.scale,
            min_hz=lowest if self.min_hz is None else self.min_hz,
            max_hz=self.sample_rate / 2 if self.max_hz is None else self.max_hz,
        )

    def _check_centers(self) -> None:
        nyquist = self.sample_rate / 2
        if self.center_hz is None:
            if self.max_hz is not None and self.max_hz > nyquist:
                raise ValueError(
                    f"max_hz={self.max_hz} lies above sample_rate / 2; use max_hz <= {nyquist:g}"
                )
            if not np.all(np.diff(self.given_centers_hz) > 0):
                raise ValueError(
                    f"num_bins={self.num_bins}: centres between min_hz and max_hz coincide; use "
                    "fewer"
                )
            return
        number = len(self.center_hz)
        if number < 2:
            raise ValueError(f"center_hz has {number} centres; give at least 2, in Hz")
        if self.num_bins not in (None, number):
            raise ValueError(
                f"num_bins={self.num_bins}, but center_hz has {number}; use num_bins=None"
            )
        for name in ("min_hz", "max_hz"):
            if getattr(self, name) is not None:
                raise ValueError(
                    f"{name}={getattr(self, name)} and center_hz: the centres say where bands "
                    f"begin and end; use {name}=None"
                )
        center = np.array(self.center_hz)
        wrong = np.flatnonzero(np.diff(center) <= 0)
        if len(wrong):
            first, second = center[wrong[0]], center[wrong[0] + 1]
            raise ValueError(
                f"center_hz must increase, but {second:g} follows {first:g}; sort them, each once"
            )
        if center[0] < 0 or center[-1] > nyquist:
            raise ValueError(
                f"center_hz from {center[0]:g} to {center[-1]:g} must lie from 0 to "
                f"sample_rate / 2 = {nyquist:g} Hz"
            )

    def _check_widths(self) -> None:
        if self.bandwidth_hz is None:
            return
        center, width = self.given_centers_hz, np.array(self.bandwidth_hz)
        if len(width) != len(center):
            raise ValueError(
                f"bandwidth_hz has {len(width)} widths for {len(center)} bands; give one for each"
            )
        if not (np.all(width > 0) and np.all(width <= self.sample_rate / 2)):
            wrong = width[(width <= 0) | (width > self.sample_rate / 2)][0]
            raise ValueError(
                f"bandwidth_hz={wrong:g} must be above 0 and at most sample_rate / 2 = "
                f"{self.sample_rate / 2:g} Hz"
            )
        distance = np.diff(center)
        gaps = np.flatnonzero(width[:-1] + width[1:] < _LEAST_OVERLAP * distance * (1 - 1e-9))
        if len(gaps):
            b = int(gaps[0])
            raise ValueError(
                f"bandwidth_hz of the bands at {center[b]:g} and {center[b + 1]:g} Hz, {width[b]:g}"
                f" and {width[b + 1]:g}, leave too little between them: their sum must be at least "
                f"{_LEAST_OVERLAP} times the distance, {_LEAST_OVERLAP * distance[b]:g} Hz; widen "
                "them"
            )

    @property
    def placed_bands(self) -> octave_bands.PlacedBands:
        """The bands at the centres; extra ones cover what is left of the spectrum."""
        width = None if self.bandwidth_hz is None else np.array(self.bandwidth_hz, np.float64)
        return scale_bands.place_centers(self.given_centers_hz, width, nyquist=self.sample_rate / 2)

    def ragged_hops(
        self, longest: Float[np.ndarray, " bands"]
    ) -> tuple[int, Int[np.ndarray, " bands"]]:
        """Hops of the ragged layout, divisors of a unit: see :func:`.ragged_hops.divisor_hops`.

        Args:
            longest: samples; how long a hop each band allows, [bands].

        Returns:
            Unit and hops in samples.
        """
        unit = _unit(self)
        return unit, ragged_hops.divisor_hops(unit, longest)

    @property
    def hop(self) -> int:
        """Hop length of the matrix in samples: ``hop_length``, or the default."""
        if self.hop_length is not None:
            return self.hop_length
        return ragged_hops.largest_divisor(_unit(self), self.longest_hop)


@functools.lru_cache(maxsize=64)
def _unit(spec: NonuniformSpec) -> int:
    """Unit of all hops: that of the bands that are placed; extra bands are as broad."""
    longest = spec.sample_rate / (2 * spec.placed_bands.width)
    return ragged_hops.choose_unit(longest, hop_length=spec.hop_length)


def settled_numbers(name: str, values: object) -> tuple[float, ...] | None:
    """Frequencies as a tuple of Python's numbers, from a list, tuple or array of one axis.

    Args:
        name: what messages call them.
        values: numbers, or None.

    Returns:
        ``float`` or ``int``, or None.

    Raises:
        SettingError: for what is no number.
        ValueError: for other kinds of values, and infinite ones.

    Example:
        >>> settled_numbers("center_hz", np.array([0.0, 100.0]))
        (0.0, 100.0)
    """
    if values is None:
        return None
    if isinstance(values, str) or not isinstance(values, (list, tuple, np.ndarray)):
        raise ValueError(f"{name}={values!r} must be a list of frequencies in Hz, or None")
    numbers = tuple(settling.settled_number(name, value) for value in values)
    if not all(math.isfinite(number) for number in numbers):
        raise ValueError(f"{name}: all frequencies must be finite (Hz)")
    return numbers
