"""Loudness against the recommendation's own filters, and the rules for gains."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.signal

from isincnet_jax.data import loudness

# ITU-R BS.1770-4, tables 1 and 2: the coefficients at 48 kHz.
_SHELF = (
    [1.53512485958697, -2.69169618940638, 1.19839281085285],
    [1.0, -1.69065929318241, 0.73248077421585],
)
_HIGH_PASS = ([1.0, -2.0, 1.0], [1.0, -1.99004745483398, 0.99007225036621])


def _steady_loudness_db(waveform):
    weighted = scipy.signal.lfilter(*_HIGH_PASS, scipy.signal.lfilter(*_SHELF, waveform))
    return -0.691 + 10 * math.log10(np.mean(weighted[4800:] ** 2))


@pytest.mark.parametrize("level", [0.9, 0.05])
def test_a_steady_sound_measures_as_the_recommendation_says(rng, level):
    noise = (level * rng.uniform(-1, 1, 48_000 * 3)).astype(np.float32)
    measured_db = loudness.integrated_loudness(noise, sample_rate=48_000)
    assert measured_db == pytest.approx(_steady_loudness_db(noise.astype(np.float64)), abs=0.1)


def test_a_full_scale_tone_measures_minus_three():
    tone = np.sin(2 * np.pi * 997 * np.arange(96_000) / 48_000)  # BS.1770-4, annex 1
    assert loudness.integrated_loudness(tone, sample_rate=48_000) == pytest.approx(-3.01, abs=0.05)


def test_the_gain_reaches_the_target(rng):
    noise = (0.3 * rng.uniform(-1, 1, 16_000)).astype(np.float32)
    gain = loudness.loudness_gain(noise, sample_rate=16_000, loudness_db=-23.0)
    after_db = loudness.integrated_loudness(gain * noise, sample_rate=16_000)
    assert after_db == pytest.approx(-23.0, abs=0.01)


def test_the_peak_limits_the_gain(rng):
    clip = 1e-3 * rng.standard_normal(16_000)
    clip[5000] = 0.5
    assert loudness.loudness_gain(clip, sample_rate=16_000, loudness_db=-10.0) == 2.0
    # What is beyond full scale, after resampling for instance, is brought back too.
    clip[5000] = 1.25
    assert loudness.loudness_gain(clip, sample_rate=16_000, loudness_db=0.0) == 0.8


def test_short_clips_measure_as_their_repetition():
    tone = 0.25 * np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000)
    long_db = loudness.integrated_loudness(tone, sample_rate=16_000)
    short_db = loudness.integrated_loudness(tone[:800], sample_rate=16_000)
    assert short_db == pytest.approx(long_db, abs=0.2)
    assert math.isfinite(loudness.integrated_loudness(np.ones(1), sample_rate=16_000))


@pytest.mark.parametrize("level", [0.0, 1e-6])
def test_silence_keeps_its_level(rng, level):
    clip = level * rng.uniform(-1, 1, 16_000)
    assert loudness.integrated_loudness(clip, sample_rate=16_000) == -math.inf
    assert loudness.loudness_gain(clip, sample_rate=16_000, loudness_db=-23.0) == 1.0


def test_rates_without_a_weighting_are_refused():
    with pytest.raises(ValueError, match="sample_rate=2000: loudness needs more than 3000"):
        loudness.integrated_loudness(np.ones(5000), sample_rate=2000)
