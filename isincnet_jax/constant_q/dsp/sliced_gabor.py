"""The invertible constant-Q transform slice by slice, for long signals and streams (sliCQ).

The signal is cut into slices of ``slice_length`` samples every half slice, N, slice m in the
middle of sample ``m N``, weighted by Tukey windows that sum to 1, and every slice goes through
the transform of :mod:`.nonstationary_gabor`. Memory and latency are those of a
slice, however long the signal is.

**Sliced coefficients** [..., slices, frames, bins] (in the ragged layout a tuple of them) are what
is exactly invertible. They hold every time twice: frame i of slice m lies at sample
``(m - 1) N + i hop``. Their phases refer to absolute time, as those of the whole clip do.

**Spectrogram** [..., frames, bins]: because of that the overlapping frames of neighbouring slices
may simply be added (:func:`overlap_add_slices`), which gives nearly the whole clip's coefficients.
It is half as large and for looking at; it cannot be inverted exactly.

**Windows.** A slice's window is 1 in its middle and falls, as a Hann window, within
``transition_length`` samples around a quarter and three quarters of the slice; the rest is zeros,
into which bands ring. With ``spec.tight`` it is the root of that, the analysis is tight as a
whole, and synthesis its adjoint. Else the synthesis is windowed by ``w / sum w^2``.

References:
    N. Holighaus, M. Doerfler, G. Velasco and T. Grill, "A framework for invertible, real-time
        constant-Q transforms", IEEE Trans. Audio, Speech and Language Processing 21, 2013,
        sections III to V. https://doi.org/10.1109/TASL.2012.2234114

Departure: phases refer to absolute time in every band, so that neighbouring slices add up.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

from isincnet_jax.bank.dsp.frame_theory import FrameBounds
from isincnet_jax.constant_q.dsp import gabor_bands, gabor_tables, nonstationary_gabor
from isincnet_jax.constant_q.dsp.gabor_spec import GaborSpec, next_smooth
from isincnet_jax.dsp import checks, settling
from isincnet_jax.dsp.ranks import match_rank
from isincnet_jax.dsp.settling import settles
from isincnet_jax.typing import Waveform

_SAMPLES_AT_ONCE = 2**20


@dataclasses.dataclass(frozen=True)
class SliceSpec:
    """Bands and slices, checked at construction; hashable.

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

    bands: GaborSpec
    slice_length: int | None = None
    transition_length: int | None = None
    layout: str = "matrix"

    def __post_init__(self) -> None:
        """Checks every attribute."""
        settling.settle_fields(self)
        gabor_tables.check_layout(self.layout)
        length, unit = self.samples, 2 * gabor_tables.hop_unit(self.bands)
        if length % unit or length < 1:
            raise ValueError(
                f"slice_length={length} must be a multiple of {unit}, twice the longest hop; use "
                f"{unit * max(1, round(length / unit))}"
            )
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
        """Samples of a slice: ``slice_length``, or the default."""
        if self.slice_length is not None:
            return self.slice_length
        unit = 2 * gabor_tables.hop_unit(self.bands)
        least = 8 * self.bands.sample_rate / gabor_bands.narrowest_support(self.bands)
        return unit * next_smooth(math.ceil(least / unit))

    @property
    def transition(self) -> int:
        """Samples of a transition: ``transition_length``, or the default."""
        return self.samples // 8 if self.transition_length is None else self.transition_length


@functools.lru_cache(maxsize=16)
def slice_windows(
    spec: SliceSpec,
) -> tuple[Float[np.ndarray, " samples"], Float[np.ndarray, " samples"]]:
    """Windows of a slice in analysis and synthesis, float64.

    Their products sum to 1 over the slices. Without ``tight`` the first alone does, with it the
    two are the same.
    """
    half = spec.samples // 2
    distance = np.abs(np.arange(spec.samples) - half)
    position = (distance - (half - spec.transition) / 2) / spec.transition
    window = np.cos(np.pi / 2 * np.clip(position, 0, 1)) ** 2
    if spec.bands.tight:
        return np.sqrt(window), np.sqrt(window)
    return window, window / (window**2 + np.roll(window, half) ** 2)


@settles
def count_slices(length: int, spec: SliceSpec) -> int:
    """Slices of a signal: those that touch it, and a last one that may just not.

    Example:
        >>> count_slices(100_000, SliceSpec(GaborSpec(), slice_length=49_152))
        6
    """
    if length < 1:
        raise ValueError(f"length={length}: an empty signal has no slices; give at least 1 sample")
    return -(-length // (spec.samples // 2)) + 1


def frame_bounds(spec: SliceSpec) -> FrameBounds:
    """Bounds on the energy of sliced coefficients in "energy" scale; 1 and 1 if ``tight``.

    Products of the bounds of the slices and of a slice's bands: the energy stays between them,
    but need not reach them.
    """
    window, _ = slice_windows(spec)
    squares = window**2 + np.roll(window, spec.samples // 2) ** 2
    operator = gabor_tables.frame_operator(spec.samples, spec.bands)
    return FrameBounds(float(operator.min() * squares.min()), float(operator.max() * squares.max()))


def redundancy(length: int, spec: SliceSpec) -> float:
    """Real numbers among the sliced coefficients per sample of the signal."""
    total = sum(
        (bands.stop - bands.start) * (spec.samples // hop)
        for (bands, _), hop in zip(
            gabor_tables.band_groups(spec.bands), _hops(spec, grouped=True), strict=True
        )
    )
    return 2 * total * count_slices(length, spec) / length


def _hops(spec: SliceSpec, *, grouped: bool) -> list[int]:
    """Hops of every group of bands, or of every array of coefficients."""
    groups = gabor_tables.band_groups(spec.bands)
    if spec.layout == "ragged":
        return [spec.bands.hop << halvings for _, halvings in groups]
    return [spec.bands.hop] * (len(groups) if grouped else 1)


@settles
def slice_times(length: int, spec: SliceSpec) -> Any:
    """Seconds of sliced frames, float64 [slices, frames]; in the ragged layout a tuple."""
    start = (np.arange(count_slices(length, spec)) - 1) * (spec.samples // 2)
    times = [
        (start[:, None] + np.arange(0, spec.samples, hop)) / spec.bands.sample_rate
        for hop in _hops(spec, grouped=False)
    ]
    return tuple(times) if spec.layout == "ragged" else times[0]


@settles
def frame_times(length: int, spec: SliceSpec) -> Any:
    """Seconds of the spectrogram's frames, float64 [frames]; in the ragged layout a tuple."""
    times = [
        np.arange(0, length, hop) / spec.bands.sample_rate for hop in _hops(spec, grouped=False)
    ]
    return tuple(times) if spec.layout == "ragged" else times[0]


def _arrays(coefficients: Any, spec: SliceSpec) -> tuple[Any, ...]:
    arrays = tuple(coefficients) if spec.layout == "ragged" else (coefficients,)
    for array in arrays:
        checks.check_complex(array, "coefficients", ndim=2)
    return arrays


def _layout(arrays: Any, spec: SliceSpec) -> Any:
    return tuple(arrays) if spec.layout == "ragged" else arrays[0]


def _map_rows(function: Callable[[Any], Any], rows: Any, *, samples: int) -> Any:
    """A function of [rows, ...] of which a bounded number is in work at a time."""
    at_once = max(1, _SAMPLES_AT_ONCE // samples)
    if jax.tree.leaves(rows)[0].shape[0] <= at_once:
        return function(rows)

    def one(row: Any) -> Any:
        result = function(jax.tree.map(lambda array: array[None], row))
        return jax.tree.map(lambda array: array[0], result)

    return lax.map(one, rows, batch_size=at_once)


def analyse_slice(samples: Waveform, *, spec: SliceSpec) -> Any:
    """Coefficients of slices [..., slice_length]; of a stream's latest two blocks, say.

    The stream's state is its latest block of N = slice_length / 2 samples, zeros at first: with
    every new block, ``analyse_slice(concatenate([latest, block]))`` is the next slice.

    Returns:
        [..., frames, bins] complex, or a tuple of them.
    """
    window, _ = slice_windows(spec)
    samples = checks.as_waveform(samples, "samples")
    weighted = samples * match_rank(jnp.asarray(window, samples.dtype), samples)
    return nonstationary_gabor.analyse_padded(weighted, spec=spec.bands, layout=spec.layout)


def synthesise_slice(coefficients: Any, *, spec: SliceSpec) -> Waveform:
    """Windowed samples [..., slice_length] of slices, to be overlap-added.

    The stream's state is the latter half of the latest slice, zeros at first: the former half
    of the next, added to it, is the next block; the first is the silence before the signal.
    """
    _, dual = slice_windows(spec)
    arrays = _arrays(coefficients, spec)
    nonstationary_gabor.check_coefficients(
        arrays, padded=spec.samples, spec=spec.bands, layout=spec.layout
    )
    samples = nonstationary_gabor.synthesise_padded(
        tuple(jnp.asarray(array) for array in arrays),
        padded=spec.samples,
        spec=spec.bands,
        layout=spec.layout,
    )
    return samples * match_rank(jnp.asarray(dual, samples.dtype), samples)


def analyse_slices(waveform: Waveform, *, spec: SliceSpec) -> Any:
    """Sliced coefficients of a signal.

    Args:
        waveform: [..., time], floating, at least 1 sample.
        spec: bands and slices.

    Returns:
        [..., slices, frames, bins] complex, :func:`count_slices` of them; or a tuple of them.

    Raises:
        ValueError: for an empty signal.

    Example:
        >>> clip = np.sin(np.arange(9000, dtype=np.float32))
        >>> spec = SliceSpec(GaborSpec(fmin=110, n_bins=60))
        >>> coefficients = analyse_slices(clip, spec=spec)
        >>> coefficients.shape, overlap_add_slices(coefficients, spec=spec, length=9000).shape
        ((3, 320, 99), (167, 99))
        >>> found = synthesise_slices(coefficients, spec=spec, length=9000)
        >>> bool(np.allclose(found, clip, atol=1e-6))
        True
    """
    waveform = checks.as_waveform(waveform)
    *batch, length = waveform.shape
    half, count = spec.samples // 2, count_slices(length, spec)
    edge = [(0, 0)] * len(batch)
    padded = jnp.pad(jnp.asarray(waveform), [*edge, (half, count * half - length)])
    blocks = padded.reshape((*batch, count + 1, half))
    slices = jnp.concatenate([blocks[..., :-1, :], blocks[..., 1:, :]], -1)
    found = _map_rows(
        functools.partial(analyse_slice, spec=spec),
        slices.reshape((-1, spec.samples)),
        samples=spec.samples,
    )
    return jax.tree.map(lambda array: array.reshape((*batch, count, *array.shape[1:])), found)


@settles
def synthesise_slices(coefficients: Any, *, spec: SliceSpec, length: int) -> Waveform:
    """The signal of sliced coefficients: the exact inverse of :func:`analyse_slices`.

    Args:
        coefficients: [..., slices, frames, bins] complex, or a tuple of them.
        spec: as in the analysis.
        length: samples of the signal.

    Returns:
        [..., length], floating.

    Raises:
        TypeError: for coefficients that are not complex.
        ValueError: for coefficients of another shape.
    """
    arrays = _arrays(coefficients, spec)
    count, half = count_slices(length, spec), spec.samples // 2
    if any(array.ndim < 3 or array.shape[-3] != count for array in arrays):
        raise ValueError(
            f"coefficients of shapes {[tuple(array.shape) for array in arrays]}: {length} samples "
            f"have [..., slices, frames, bins] with {count} slices; give sliced coefficients, "
            "not the overlap-added spectrogram, and the length of their waveform"
        )
    batch = arrays[0].shape[:-3]
    rows = _layout([jnp.asarray(a).reshape((-1, *a.shape[-2:])) for a in arrays], spec)
    samples = _map_rows(
        functools.partial(synthesise_slice, spec=spec), rows, samples=spec.samples
    ).reshape((*batch, count, 2, half))
    blocks = samples[..., :-1, 1, :] + samples[..., 1:, 0, :]
    return lax.collapse(blocks, blocks.ndim - 2)[..., :length]


def overlap_add_slices(coefficients: Any, *, spec: SliceSpec, length: int) -> Any:
    """The spectrogram of sliced coefficients, overlapping frames added.

    Args:
        coefficients: of :func:`analyse_slices`.
        spec: as in the analysis.
        length: samples of the signal.

    Returns:
        [..., frames, bins] complex, the frames of :func:`frame_times`; or a tuple of them.
    """
    window, _ = slice_windows(spec)
    outputs = []
    for array, hop in zip(_arrays(coefficients, spec), _hops(spec, grouped=False), strict=True):
        faded = array
        if spec.bands.tight:  # The windows' squares sum to 1, so they are applied once more.
            faded = nonstationary_gabor.scaled(array, window[::hop, None])
        *batch, count, frames, bins = faded.shape
        halves = faded.reshape((*batch, count, 2, frames // 2, bins))
        ahead = jnp.pad(halves[..., 1:, 0, :, :], [(0, 0)] * len(batch) + [(0, 1), (0, 0), (0, 0)])
        summed = (halves[..., 1, :, :] + ahead).reshape((*batch, count * (frames // 2), bins))
        outputs.append(summed[..., : -(-length // hop), :])
    return _layout(outputs, spec)
