"""Fourier transforms at any frequencies against direct float64 sums."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from isincnet_jax.spectrograms.dsp import nonuniform

RATES = (8000, 16_000, 22_050, 44_100, 48_000)


def _direct(frames, frequencies, sample_rate):
    n = np.arange(frames.shape[-1])
    return frames @ np.exp(-2j * np.pi * np.outer(n, np.asarray(frequencies)) / sample_rate)


def _interpolated(frames, frequencies, sample_rate, dtype):
    n_fft = frames.shape[-1]
    design = nonuniform.design_interpolation(frequencies, n_fft=n_fft, sample_rate=sample_rate)

    @jax.jit
    def spectra(frames):
        return nonuniform.turn(*nonuniform.interpolated_spectra(frames, design), design.turns)

    real, imag = spectra(jnp.asarray(frames, dtype))
    return np.asarray(real) + 1j * np.asarray(imag)


def _error(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


@settings(max_examples=6)
@given(
    n_fft=st.integers(1, 700),
    rate=st.sampled_from(RATES),
    places=st.lists(st.floats(0.0, 0.5), min_size=1, max_size=60),
    seed=st.integers(0, 99),
)
@example(n_fft=1, rate=8000, places=[0.0, 0.5], seed=0)
@example(n_fft=2, rate=44_100, places=[0.5, 0.25, 0.0], seed=1)
def test_any_frequencies_in_any_order(n_fft, rate, places, seed):
    frames = np.random.default_rng(seed).standard_normal((3, n_fft))
    frequencies = np.asarray(places) * rate
    found = _interpolated(frames, frequencies, rate, jnp.float32)
    expected = _direct(frames, frequencies, rate)
    # Relative to the frame: a few frequencies may all lie where the frame has nothing.
    scale = np.linalg.norm(frames) * np.sqrt(len(places))
    assert np.linalg.norm(found - expected) < 1e-6 * scale


def test_bell_is_good_to_nine_digits(x64, rng):
    frames = rng.standard_normal((4, 512))
    frequencies = nonuniform.fourier_frequencies(
        n_fft=512, freq_bins=200, freq_scale="log", fmin=30.0, fmax=11_025.0, sample_rate=22_050
    )
    found = _interpolated(frames, frequencies, 22_050, jnp.float64)
    assert _error(found, _direct(frames, frequencies, 22_050)) < 2e-9


def test_kernels_are_the_direct_sum(rng):
    frames = rng.standard_normal((2, 100))
    frequencies = np.asarray([0.0, 123.4, 4000.0])
    kernels = nonuniform.fourier_kernels(frequencies, n_fft=100, sample_rate=8000)
    np.testing.assert_allclose(frames @ kernels.T, _direct(frames, frequencies, 8000), atol=1e-10)


def test_frequencies_of_the_scales():
    common = {"n_fft": 16, "sample_rate": 8000, "fmin": 100.0, "fmax": 1600.0}

    def frequencies(scale, bins):
        return nonuniform.fourier_frequencies(freq_scale=scale, freq_bins=bins, **common)

    np.testing.assert_allclose(frequencies("none", None), np.fft.rfftfreq(16, 1 / 8000))
    np.testing.assert_allclose(frequencies("linear", 3), [100.0, 600.0, 1100.0])
    np.testing.assert_allclose(frequencies("log", 4), [100.0, 200.0, 400.0, 800.0])
    np.testing.assert_array_equal(frequencies("log2", 7), frequencies("log", 7))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"freq_scale": "mel"}, "freq_scale='mel' is unknown"),
        ({"freq_bins": 10}, "freq_bins=10: n_fft=16 has 1 to 9"),
        ({"freq_scale": "linear", "fmax": 5000.0}, "must hold"),
        ({"freq_scale": "linear", "fmin": 900.0}, "must hold"),
        ({"freq_scale": "log", "fmin": 0.0}, "no 0 Hz"),
    ],
)
def test_bad_frequencies(changes, message):
    given_ = {"n_fft": 16, "freq_bins": None, "freq_scale": "none", "fmin": 50.0, "fmax": 800.0}
    with pytest.raises(ValueError, match=message):
        nonuniform.fourier_frequencies(sample_rate=8000, **(given_ | changes))
