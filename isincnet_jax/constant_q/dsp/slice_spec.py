"""Slices of a sliced filterbank: their settings, windows, times and frame bounds.

The transform itself, and what the coefficients of slices are, stands in :mod:`.sliced_gabor`.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import numpy as np
from jaxtyping import Float

from isincnet_jax.bank.dsp.frame_theory import FrameBounds
from isincnet_jax.constant_q.dsp import gabor_bands, gabor_tables
from isincnet_jax.constant_q.dsp.gabor_spec import BandSpec
from isincnet_jax.constant_q.dsp.ragged_hops import next_smooth
from isincnet_jax.dsp import settling
from isincnet_jax.dsp.settling import settles


@dataclasses.dataclass(frozen=True)
class SliceSpec:
    """Specification of bands and slices, checked at construction; hashable.

    Attributes:
        bands: the bands of every slice.
        slice_length: samples of a slice, a multiple of twice the longest hop; None: the next
            that has at least 8 DFT bins within the narrowest band. Less than 4 are refused.
        transition_length: samples over which neighbouring slices are faded into each other, at
            most half a slice; None: an eighth of a slice.
        layout: "matrix" or "ragged".

    Raises:
        ValueError: for settings outside of these rules.
    """

    bands: BandSpec
    slice_length: int | None = None
    transition_length: int | None = None
    layout: str = "matrix"

    def __post_init__(self) -> None:
        """Checks every attribute."""
        settling.settle_fields(self)
        gabor_tables.check_layout(self.layout)
        # Slices start half a slice apart, which must be whole frames of every band.
        length, unit = self.samples, 2 * gabor_tables.hop_unit(self.bands)
        if length % unit or length < 1:
            raise ValueError(
                f"slice_length={length} must be a multiple of {unit}, twice the longest hop; use "
                f"{unit * max(1, round(length / unit))}"
            )
        # DFT bins lie sample_rate / length apart: 4 of them within the narrowest band.
        support = gabor_bands.narrowest_support(self.bands)
        least = math.ceil(4 * self.bands.sample_rate / support)
        if length < least:
            raise ValueError(
                f"slice_length={length}: the narrowest band, {support:.3g} Hz, needs at least "
                f"{least} samples; use slice_length >= {unit * -(-least // unit)}, or a larger "
                "gamma or fmin"
            )
        if not 1 <= self.transition <= length // 2:
            raise ValueError(
                f"transition_length={self.transition_length} must be 1 to slice_length / 2 = "
                f"{length // 2}"
            )

    @property
    def samples(self) -> int:
        """Slice length in samples: ``slice_length``, or the default."""
        if self.slice_length is not None:
            return self.slice_length
        unit = 2 * gabor_tables.hop_unit(self.bands)
        least = 8 * self.bands.sample_rate / gabor_bands.narrowest_support(self.bands)
        return unit * next_smooth(math.ceil(least / unit))

    @property
    def transition(self) -> int:
        """Transition length in samples: ``transition_length``, or the default."""
        return self.samples // 8 if self.transition_length is None else self.transition_length


@functools.lru_cache(maxsize=16)
def slice_windows(
    spec: SliceSpec,
) -> tuple[Float[np.ndarray, " samples"], Float[np.ndarray, " samples"]]:
    """Slice windows of analysis and synthesis: Tukey windows, cached.

    Their products sum to 1 over the slices. Without ``tight`` the first alone does, with it the
    two are the same.

    Args:
        spec: bands and slices.

    Returns:
        Windows of analysis and of synthesis, float64 [samples] each.
    """
    half = spec.samples // 2
    # cos^2 of 0 to pi / 2 over the transition, whose middle is a quarter slice from the centre.
    distance = np.abs(np.arange(spec.samples) - half)
    position = (distance - (half - spec.transition) / 2) / spec.transition
    window = np.cos(np.pi / 2 * np.clip(position, 0, 1)) ** 2
    if spec.bands.tight:
        return np.sqrt(window), np.sqrt(window)
    return window, window / (window**2 + np.roll(window, half) ** 2)


@settles
def count_slices(length: int, spec: SliceSpec) -> int:
    """Number of slices of a signal: those that touch it, and a last one that may just not.

    Args:
        length: samples of the signal, 1 or more.
        spec: bands and slices.

    Returns:
        ``ceil(length / (slice_length / 2)) + 1``.

    Raises:
        ValueError: for an empty signal.

    Example:
        >>> from isincnet_jax.constant_q.dsp.gabor_spec import GaborSpec
        >>> count_slices(100_000, SliceSpec(GaborSpec(), slice_length=49_152))
        6
    """
    if length < 1:
        raise ValueError(f"length={length}: an empty signal has no slices; give at least 1 sample")
    return -(-length // (spec.samples // 2)) + 1


def frame_bounds(spec: SliceSpec) -> FrameBounds:
    """Frame bounds of sliced coefficients in "energy" scale; 1 and 1 if ``tight``.

    Products of the bounds of the slices and of a slice's bands: the energy stays between them,
    but need not reach them.

    Args:
        spec: bands and slices.

    Returns:
        Lower and upper bound of the energy of coefficients over that of the signal.
    """
    window, _ = slice_windows(spec)
    squares = window**2 + np.roll(window, spec.samples // 2) ** 2
    operator = gabor_tables.frame_operator(spec.samples, spec.bands)
    return FrameBounds(float(operator.min() * squares.min()), float(operator.max() * squares.max()))


def redundancy(length: int, spec: SliceSpec) -> float:
    """Redundancy: real numbers among the sliced coefficients per sample of the signal.

    Args:
        length: samples of the signal, 1 or more.
        spec: bands and slices.

    Returns:
        A ratio; about twice that of a whole clip's transform, as slices overlap by half.

    Raises:
        ValueError: for an empty signal.
    """
    grid = gabor_tables.array_grid(spec.bands, spec.layout)
    total = sum(bins * (spec.samples // hop) for bins, hop in grid)
    return 2 * total * count_slices(length, spec) / length


def hops(spec: SliceSpec) -> list[int]:
    """Hop lengths of every array of coefficients.

    Args:
        spec: bands and slices.

    Returns:
        Samples between frames.
    """
    return [hop for _, hop in gabor_tables.array_grid(spec.bands, spec.layout)]


@settles
def slice_times(length: int, spec: SliceSpec) -> Any:
    """Times of sliced frames: frame i of slice m stands at ``(m - 1) N + i hop``.

    Args:
        length: samples of the signal, 1 or more.
        spec: bands and slices.

    Returns:
        Seconds, float64 [slices, frames]; in the ragged layout a tuple of them.

    Raises:
        ValueError: for an empty signal.
    """
    start = (np.arange(count_slices(length, spec)) - 1) * (spec.samples // 2)
    times = [
        (start[:, None] + np.arange(0, spec.samples, hop)) / spec.bands.sample_rate
        for hop in hops(spec)
    ]
    return tuple(times) if spec.layout == "ragged" else times[0]


@settles
def frame_times(length: int, spec: SliceSpec) -> Any:
    """Times of the frames of the overlap-added spectrogram.

    Args:
        length: samples of the signal.
        spec: bands and slices.

    Returns:
        Seconds, float64 [frames]; in the ragged layout a tuple of them.

    Raises:
        ValueError: for an empty signal.
    """
    count_slices(length, spec)
    times = [np.arange(0, length, hop) / spec.bands.sample_rate for hop in hops(spec)]
    return tuple(times) if spec.layout == "ragged" else times[0]
