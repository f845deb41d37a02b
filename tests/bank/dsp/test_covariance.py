"""The signal model against the spectrum that it states, and variances against integrals."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

from isincnet_jax.bank.dsp import covariance


def model_spectrum(frequency_hz):
    return 1.0 / (1.0 + frequency_hz / 200.0) + 1e-5


@pytest.mark.parametrize("level_db", [-23.0, 0.0])
def test_lag_zero_is_the_level(level_db):
    lags = covariance.music_autocovariance(32, sample_rate=16_000, level_db=level_db)
    assert lags.shape == (32,)
    assert lags[0] == pytest.approx(10 ** (level_db / 10), rel=1e-12)


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_autocovariance_is_the_transform_of_the_stated_spectrum(rate):
    lags = covariance.music_autocovariance(400, sample_rate=rate, level_db=0.0)
    frequency_hz = np.linspace(0, rate / 2, 200_001)
    spectrum = model_spectrum(frequency_hz)
    for lag in (1, 7, 100, 399):
        wave = np.cos(2 * np.pi * frequency_hz * lag / rate)
        expected = np.trapezoid(spectrum * wave) / np.trapezoid(spectrum)
        # The model samples its spectrum at 8193 points or more: aliasing of exp(-200 Hz ...).
        assert lags[lag] == pytest.approx(expected, abs=1e-4)


def test_autocovariance_is_positive_definite():
    lags = covariance.music_autocovariance(300, sample_rate=16_000)
    assert np.linalg.eigvalsh(scipy.linalg.toeplitz(lags))[0] > 0


def test_more_lags_extend_the_same_sequence():
    short = covariance.music_autocovariance(50, sample_rate=16_000)
    long = covariance.music_autocovariance(500, sample_rate=16_000)
    np.testing.assert_allclose(long[:50], short, rtol=1e-12)


def test_channel_variances_are_quadratic_forms(rng):
    lags = covariance.music_autocovariance(21, sample_rate=16_000)
    bank = rng.standard_normal((5, 21))
    expected = [
        sum(k[i] * k[j] * lags[abs(i - j)] for i in range(21) for j in range(21)) for k in bank
    ]
    np.testing.assert_allclose(covariance.channel_variances(bank, lags), expected, rtol=1e-10)


def test_channel_variance_is_the_integral_of_the_filtered_spectrum():
    rate, taps = 16_000, 201
    lags = covariance.music_autocovariance(taps, sample_rate=rate, level_db=0.0)
    offset = np.arange(taps) - taps // 2
    bank = np.hanning(taps) * np.cos(2 * np.pi * 1000.0 / rate * offset)[None]
    frequency_hz = np.linspace(0, rate / 2, 20_001)
    response = np.exp(-2j * np.pi * np.outer(frequency_hz / rate, offset)) @ bank[0]
    spectrum = model_spectrum(frequency_hz)
    expected = np.trapezoid(np.abs(response) ** 2 * spectrum) / np.trapezoid(spectrum)
    # 20001 points of a smooth integrand against the model's 8193.
    assert covariance.channel_variances(bank, lags)[0] == pytest.approx(expected, rel=1e-3)
