"""Synthetic corpus, small and made from nothing, so that everything can be tried without data.

Three groups of synthetic music: ``chords`` (sustained harmony), ``plucks`` (a decaying melody)
and ``rhythm`` (sweeps and bursts of noise). Every track has its own key, tempo and timbre.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
from jaxtyping import Float

GROUPS = ("chords", "plucks", "rhythm")
_SCALE = np.array([0, 2, 3, 5, 7, 8, 10])  # semitones of a minor scale


def generated_names(num_tracks: int = 24) -> list[tuple[str, str]]:
    """Names and groups of the tracks, the groups in turn.

    Args:
        num_tracks: in all.

    Returns:
        "chords/chords.00000" and "chords", say.

    Raises:
        ValueError: for fewer than one track.
    """
    if num_tracks < 1:
        raise ValueError(f"num_tracks={num_tracks}: must be at least 1")
    groups = [GROUPS[index % len(GROUPS)] for index in range(num_tracks)]
    return [
        (f"{group}/{group}.{index // len(GROUPS):05d}", group) for index, group in enumerate(groups)
    ]


def generated_track(
    name: str, *, sample_rate: int, duration_s: float = 6.0, seed: int = 0
) -> Float[np.ndarray, " time"]:
    """One track; depends on nothing but the arguments.

    Args:
        name: of :func:`generated_names`; what stands before the ``/`` is the group.
        sample_rate: Hz, at least 4,000.
        duration_s: seconds.
        seed: another one gives other music.

    Returns:
        float32 [time], peak 0.8; partials stay below 0.45 of the rate.

    Raises:
        ValueError: for an unknown group, a rate below 4,000 Hz, or a track without samples.
    """
    makers = dict(zip(GROUPS, (_chords, _plucks, _rhythm), strict=True))
    group = name.partition("/")[0]
    if group not in makers:
        raise ValueError(f"name={name!r}: groups are {', '.join(GROUPS)}")
    if sample_rate < 4_000:
        raise ValueError(f"sample_rate={sample_rate}: generated music needs at least 4000 Hz")
    if not 0.5 < duration_s * sample_rate < math.inf:
        raise ValueError(f"duration_s={duration_s}: has no sample at {sample_rate} Hz")
    num_samples = round(duration_s * sample_rate)
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    generator = np.random.default_rng(np.frombuffer(digest[:16], "<u4"))
    mix = makers[group](generator, num_samples, sample_rate)
    mix += 1e-3 * generator.standard_normal(num_samples)  # recordings are never quite silent
    return (0.8 * mix / np.max(np.abs(mix))).astype(np.float32)


def _partials(
    pitch_hz: float, time_s: np.ndarray, sample_rate: int, *, tilt: float, decay_s: float
) -> np.ndarray:
    """Harmonics k of amplitude k^-tilt that die k times as fast as the first."""
    # Partial k is Im z^k / k^tilt with z = exp((2 pi i f - 1 / decay) t): one exponential for all.
    first = np.exp((2j * np.pi * pitch_hz - 1 / decay_s) * time_s)
    power, tone = np.ones_like(first), np.zeros_like(time_s)
    for harmonic in range(1, 11):
        if harmonic * pitch_hz >= 0.45 * sample_rate:
            break
        power *= first
        tone += harmonic**-tilt * np.imag(power)
    return tone


def _pitch_hz(root_hz: float, degree: int) -> float:
    # root 2^(octave + semitones / 12), semitones of the minor scale's degree
    octave, step = divmod(degree, len(_SCALE))
    return float(root_hz * 2 ** (octave + _SCALE[step] / 12))


def _onsets(num_samples: int, sample_rate: int, interval_s: float) -> range:
    return range(0, num_samples, max(1, round(interval_s * sample_rate)))


def _add(mix: np.ndarray, start: int, sound: np.ndarray) -> None:
    sound = sound[: len(mix) - start]
    mix[start : start + len(sound)] += sound


def _chords(generator: np.random.Generator, num_samples: int, sample_rate: int) -> np.ndarray:
    mix = np.zeros(num_samples)
    bar_s, root_hz = generator.uniform(0.8, 1.6), generator.uniform(80, 220)
    tilt = generator.uniform(0.8, 1.8)
    time_s = np.arange(round(1.1 * bar_s * sample_rate)) / sample_rate
    # In within 50 ms, out over the last tenth of a bar, with a tremolo of 20 %.
    swell = np.minimum(1, time_s / 0.05) * np.minimum(1, (time_s[-1] - time_s) / (0.1 * bar_s))
    swell *= 1 + 0.2 * np.sin(2 * np.pi * generator.uniform(3, 7) * time_s)
    for start in _onsets(num_samples, sample_rate, bar_s):
        degree = int(generator.integers(0, 7))
        for third in (0, 2, 4):  # a triad on the degree, slightly out of tune
            pitch_hz = _pitch_hz(root_hz, degree + third) * generator.uniform(0.998, 1.002)
            sound = _partials(pitch_hz, time_s, sample_rate, tilt=tilt, decay_s=20.0)
            _add(mix, start, swell * sound)
    return mix


def _plucks(generator: np.random.Generator, num_samples: int, sample_rate: int) -> np.ndarray:
    mix = np.zeros(num_samples)
    beat_s, root_hz = generator.uniform(0.15, 0.35), generator.uniform(110, 330)
    decay_s, tilt = generator.uniform(0.15, 0.5), generator.uniform(0.6, 1.4)
    time_s = np.arange(round(3 * decay_s * sample_rate)) / sample_rate
    attack = np.minimum(1, time_s / 0.003) * np.minimum(1, (time_s[-1] - time_s) / 0.02)
    for start in _onsets(num_samples, sample_rate, beat_s):
        pitch_hz = _pitch_hz(root_hz, int(generator.integers(0, 15)))
        level = generator.uniform(0.3, 1)
        sound = _partials(pitch_hz, time_s, sample_rate, tilt=tilt, decay_s=decay_s)
        _add(mix, start, level * attack * sound)
    return mix


def _rhythm(generator: np.random.Generator, num_samples: int, sample_rate: int) -> np.ndarray:
    mix = np.zeros(num_samples)
    beat_s, low_hz = generator.uniform(0.2, 0.4), generator.uniform(40, 70)
    time_s = np.arange(round(0.4 * sample_rate)) / sample_rate
    fall_hz = generator.uniform(100, 600)
    # The integral of low + fall exp(-t / 40 ms): a pitch that falls to low_hz.
    cycles = low_hz * time_s + fall_hz * 0.04 * (1 - np.exp(-time_s / 0.04))
    drum = np.sin(2 * np.pi * cycles) * np.exp(-time_s / 0.12)
    sweep_hz = 0.4 * sample_rate / (2 * time_s[-1])  # ends at 0.4 of the rate
    # A linear chirp, sin(2 pi c t^2): its frequency is 2 c t.
    sweep = np.sin(2 * np.pi * sweep_hz * time_s**2) * np.exp(-time_s / 0.2)
    for beat, start in enumerate(_onsets(num_samples, sample_rate, beat_s)):
        if beat % 4 == 0:
            _add(mix, start, drum)
        elif beat % 8 == 7:
            _add(mix, start, 0.3 * sweep)
        decay_s = generator.uniform(0.02, 0.12)
        burst = generator.standard_normal(len(time_s)) * np.exp(-time_s / decay_s)
        if generator.random() < 0.5:
            burst = np.diff(burst, prepend=0.0)  # brighter
        _add(mix, start, 0.25 * generator.uniform(0.3, 1) * burst)
    return mix
