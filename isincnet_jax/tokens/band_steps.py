"""Step indices of bands: noise that follows what ears hear, not one step for all.

The step of a band of bins is ``step 2^(index / 2)``, so that an index is 3 dB. An encoder lets the
noise follow the signal, but not wholly, and, in speech, rise with the frequency: ::

    index = round(2 a log2(rms / 10^-3) + t (bark - 10))

for the root mean square of a band, 1 at full scale, and its middle in Bark; and no step is finer
than one whose noise is as loud as the threshold of hearing, if a sine of full scale has 96 dB SPL.
a, t and the width of the bands were chosen on training clips by ViSQOL and PESQ
(``benchmarks/ears_choice.py``).

References:
    H. Traunmueller, "Analytical expressions for the tonotopic sensory scale", JASA 88, 1990,
        equation 6 (Bark).
    E. Terhardt, "Calculating virtual pitch", Hearing Research 1, 1979, equation 1 (threshold of
        hearing).
    J. D. Johnston, "Transform coding of audio signals using perceptual noise criteria", IEEE J.
        Sel. Areas in Communications 6, 1988: steps by critical band. Departure: no model of
        masking, a power of the band's own level.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from isincnet_jax.dsp.scales import hz_to_scale, scale_to_hz
from isincnet_jax.tokens.frame_coder import FrameCoder

LARGEST_INDEX = 127
"""Of magnitudes of indices: 380 dB either way."""
FULL_SCALE_DB_SPL = 96.0
"""Of a sine of amplitude 1."""
LEAST_SHARED = 64
"""Samples that share step indices: a file of many indices takes long to decode."""
_WIDTH_BARK = 1.5
_USUAL_RMS, _USUAL_BARK = 1e-3, 10.0


class Shape(NamedTuple):
    """How steps follow levels.

    Attributes:
        exponent: a, of the root mean square.
        tilt: t, indices of a Bark.
    """

    exponent: float
    tilt: float


SPEECH, MUSIC = Shape(0.7, 0.15), Shape(0.8, 0.0)
"""Up to the sample rates of speech, 16 kHz, and above them."""
_SPEECH_RATE = 16_000
_SHARED_FRAMES, _SHARED_S = 3, 0.048
_KEEP = 0.75
"""An index stays while it is no farther from the exact one."""


def quality_step(quality: float) -> float:
    """Step of a quality, which is a ratio of signal to noise: 3 dB for each unit.

    A band at -60 dB (its root mean square is a thousandth of full scale) has a ratio of
    3 (quality - 5) dB, another one 1 - a dB more for every dB that it is louder. Units are
    3.01 dB.

    Args:
        quality: any; 0 to 20 make sense.

    Returns:
        A float32 step.
    """
    # Rounding to a step is noise of variance step^2 / 12.
    return float(np.float32(math.sqrt(12) * _USUAL_RMS * 2.0 ** ((5 - quality) / 2)))


def step_quality(step: float) -> float:
    """Quality of a step: the inverse of :func:`quality_step`.

    Args:
        step: positive.

    Returns:
        The quality.
    """
    return 5 - 2 * math.log2(step / (math.sqrt(12) * _USUAL_RMS))


def num_shared(size: int, sample_rate: int) -> int:
    """Frames that share their indices: 3, or as many as fill 48 ms or 64 samples.

    Args:
        size: of a frame, samples.
        sample_rate: Hz.

    Returns:
        3 to 63.
    """
    for_time, for_samples = round(_SHARED_S * sample_rate / size), -(-LEAST_SHARED // size)
    return min(max(_SHARED_FRAMES, for_time, for_samples), 63)


def count_bands(sample_rate: int) -> int:
    """Bands below half a sample rate.

    Args:
        sample_rate: Hz.

    Returns:
        1 to 17.

    Example:
        >>> [count_bands(rate) for rate in (8000, 16_000, 22_050, 44_100, 48_000)]
        [12, 14, 15, 16, 16]
    """
    top = float(hz_to_scale(sample_rate / 2, scale="bark"))
    return max(1, round(top / _WIDTH_BARK))


@functools.lru_cache(maxsize=256)
def band_edges(size: int, sample_rate: int) -> np.ndarray:
    """First bins of the bands of a frame, and its size.

    Args:
        size: coefficients of the frame, 0 or more.
        sample_rate: Hz.

    Returns:
        int64 [bands + 1]; bands of short frames may be empty.
    """
    inner = scale_to_hz(np.arange(1, count_bands(sample_rate)) * _WIDTH_BARK, scale="bark")
    share = np.concatenate([[0.0], inner / (sample_rate / 2), [1.0]])
    edges = np.floor(share * size + 0.5).astype(np.int64)
    edges.flags.writeable = False
    return edges


def hearing_threshold_db(frequency_hz: np.ndarray) -> np.ndarray:
    """Threshold of hearing in quiet.

    Args:
        frequency_hz: positive; below 20 Hz that of 20 Hz is given.

    Returns:
        dB SPL, float64, the shape of the input.
    """
    khz = np.maximum(frequency_hz, 20.0) / 1000
    return 3.64 * khz**-0.8 - 6.5 * np.exp(-0.6 * (khz - 3.3) ** 2) + 1e-3 * khz**4


@functools.lru_cache(maxsize=256)
def threshold_steps(size: int, sample_rate: int) -> np.ndarray:
    """Steps of bands whose noise is as loud as the threshold of hearing.

    Args:
        size: coefficients of a frame, 1 or more.
        sample_rate: Hz.

    Returns:
        float64 [bands].
    """
    edges = band_edges(size, sample_rate)
    level_db = hearing_threshold_db((np.arange(size) + 0.5) * (sample_rate / 2 / size))
    steps = []
    for first, end in zip(edges[:-1], np.maximum(edges[1:], edges[:-1] + 1), strict=True):
        lowest_db = level_db[min(first, size - 1) : end].min() - FULL_SCALE_DB_SPL
        # A sine of amplitude 1 has power 1/2. The transform is orthonormal: w of a frame's N
        # coefficients with noise of step^2 / 12 make noise of power (w / N) step^2 / 12.
        steps.append(math.sqrt(12 * 0.5 * 10 ** (lowest_db / 10) * size / (end - first)))
    found = np.array(steps)
    found.flags.writeable = False
    return found


def band_energies(frames: Sequence[np.ndarray], sample_rate: int) -> np.ndarray:
    """Sums of the squares of bands over frames, and how many there are.

    Args:
        frames: coefficients [size, audio channels] each.
        sample_rate: Hz.

    Returns:
        float64 [2, audio channels, bands]: sums, and numbers of coefficients.
    """
    found = np.zeros((2, frames[0].shape[1], count_bands(sample_rate)))
    for frame in frames:
        edges = band_edges(len(frame), sample_rate)
        sums = np.zeros((len(frame) + 1, frame.shape[1]))
        np.cumsum(np.square(frame, dtype=np.float64), axis=0, out=sums[1:])
        found[0] += np.diff(sums[edges], axis=0).T
        found[1] += np.diff(edges)
    return found


def choose_indices(
    energies: np.ndarray, *, step: float, size: int, sample_rate: int, before: np.ndarray | None
) -> np.ndarray:
    """Step indices that a level of bands asks for.

    Args:
        energies: of :func:`band_energies`.
        step: whose multiples the steps are.
        size: coefficients of the frames.
        sample_rate: Hz.
        before: indices of the frames before, which stay where they nearly fit, or None.

    Returns:
        int64 [audio channels, bands].
    """
    squares = energies[0] / np.maximum(energies[1], 1)
    shape = SPEECH if sample_rate <= _SPEECH_RATE else MUSIC
    bark = _WIDTH_BARK * (np.arange(squares.shape[1]) + 0.5)
    # 2 a log2(rms) = a log2(rms^2); silence is as quiet as float64 can say.
    levels = np.log2(np.maximum(squares, 1e-300) / _USUAL_RMS**2)
    wanted = shape.exponent * levels + shape.tilt * (bark - _USUAL_BARK)
    lowest = np.floor(2 * np.log2(threshold_steps(max(size, 1), sample_rate) / step))
    wanted = np.maximum(wanted, lowest)
    found = np.rint(wanted)
    if before is not None:
        is_near = (np.abs(wanted - before) <= _KEEP) & (before >= lowest)
        found = np.where(is_near, before, found)
    return np.clip(found, -LARGEST_INDEX, LARGEST_INDEX).astype(np.int64)


def step_factors(indices: np.ndarray, size: int, sample_rate: int) -> np.ndarray:
    """Factors of the step of a frame's coefficients.

    Args:
        indices: int64 [audio channels, bands].
        size: coefficients of the frame.
        sample_rate: Hz.

    Returns:
        float64 [size, audio channels], the same on every machine.
    """
    factors = np.ldexp(np.where(indices % 2, 2**0.5, 1.0), indices // 2)
    return np.repeat(factors.T, np.diff(band_edges(size, sample_rate)), axis=0)


_BEGIN, _FIRST = 64, 128
_DOWN, _MOST = 6, 5
"""Contexts of flags; decisions about a magnitude that have their own."""


def code_indices(
    coder: FrameCoder, indices: np.ndarray | None, before: np.ndarray | None, shape: tuple[int, int]
) -> np.ndarray:
    """Codes step indices: the first ones by what the band below has, others by what they had.

    Contexts of a change are those of the two bands below, of the second of these the change of the
    audio channel before instead, where there is one.

    Args:
        coder: that encodes, or decodes.
        indices: int64 [audio channels, bands] to encode, or None to decode.
        before: those of the frames before, or None.
        shape: audio channels and bands.

    Returns:
        The indices.

    Raises:
        ValueError: for bytes that no encoder writes; not all of those are found.
    """
    num_audio, num_bands = shape
    wanted = None if indices is None else indices.tolist()
    past = None if before is None else before.tolist()
    found: list[list[int]] = []
    beside = [0] * num_bands
    for channel in range(num_audio):
        row: list[int] = []
        changes: list[int] = []
        below = second = 0
        for band in range(num_bands):
            if past is None:
                expected = row[-1] if band else found[-1][0] if channel else 0
                context = _BEGIN + 16 * (not band)
            else:
                expected = past[channel][band]
                other = beside[band] if channel else second
                near = 5 * min(max(below, -2), 2) + min(max(other, -2), 2) + 12
                context = _FIRST + 16 * near
            change = 0 if wanted is None else wanted[channel][band] - expected
            change = _code_change(coder, context, change)
            row.append(expected + change)
            changes.append(change)
            below, second = change, below
            if abs(row[-1]) > LARGEST_INDEX:
                raise ValueError("a step index that no encoder writes")
        found.append(row)
        beside = changes
    return np.array(found, np.int64)


def _code_change(coder: FrameCoder, context: int, change: int) -> int:
    """Codes an integer in flags: whether it is 0, its sign, and its magnitude in unary."""
    if not coder.flag(context, int(change != 0)):
        return 0
    is_down = coder.flag(context + 1, int(change < 0))
    context += 2 + (_DOWN if is_down else 0)
    size = 1
    while coder.flag(context + min(size - 1, _MOST), int(abs(change) > size)):
        size += 1
        if size > 2 * LARGEST_INDEX:
            raise ValueError("a step index that no encoder writes")
    return -size if is_down else size
