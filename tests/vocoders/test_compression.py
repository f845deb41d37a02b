"""CNNVocoder's features, and the errors of spectrograms that do not fit."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest

from isincnet_jax.vocoders import compression as features

BINS = 33


def test_features_are_the_published_formula(rng):
    waveform = rng.uniform(-0.5, 0.5, 4000).astype(np.float32)
    spectrum = librosa.stft(
        waveform, n_fft=2048, hop_length=256, win_length=1024, pad_mode="reflect"
    )
    levels = 20 * np.log10(np.maximum(1e-5, np.abs(spectrum)))
    wanted = np.clip((levels - 20 + 100) / 100, 0, 1).T
    found = jax.jit(features.spectrogram_features)(waveform)
    assert found.shape == (1 + 4000 // 256, 1025)
    np.testing.assert_allclose(found, wanted, atol=2e-4)  # 0.02 dB, between loud bins


def test_the_output_level_is_kept():
    """A fault of the seed: its synthesis lost the level. Features hold it, absolutely."""
    magnitude = np.geomspace(1e-4, 10, 50).astype(np.float32)
    normalized = features.normalize_magnitude(magnitude)
    np.testing.assert_allclose(normalized, np.linspace(0, 1, 50), atol=1e-6)
    np.testing.assert_allclose(10 ** (5 * normalized - 4), magnitude, rtol=1e-5)
    quieter = 10 ** (5 * features.normalize_magnitude(0.5 * magnitude[20:]) - 4)
    np.testing.assert_allclose(quieter, 0.5 * magnitude[20:], rtol=1e-5)


def test_values_outside_the_range_are_clipped():
    normalized = features.normalize_magnitude(np.array([0.0, 1e-6, 100.0], np.float32))
    np.testing.assert_allclose(normalized, [0, 0, 1])
    other = features.DecibelRange(1e-3, 0.0, 60.0)
    assert features.normalize_magnitude(np.float32(0.1), decibels=other) == pytest.approx(2 / 3)


@pytest.mark.parametrize("level", [0.0, 1e-30, 0.3])
def test_gradients_are_finite_where_the_square_root_had_nan(level):
    """A fault of the seed: the square root at 0."""

    def total(waveform):
        return jnp.sum(features.spectrogram_features(waveform, n_fft=64, win_length=32))

    waveform = level * np.sin(np.arange(600, dtype=np.float32))
    gradient = jax.jit(jax.grad(total))(waveform)
    assert np.all(np.isfinite(gradient))
    assert np.any(gradient != 0) == (level > 0.1)


def test_double_precision(x64, rng):
    magnitude = rng.uniform(1e-3, 5, (3, 4))
    found = features.normalize_magnitude(jnp.asarray(magnitude))
    assert found.dtype == np.float64
    np.testing.assert_allclose(10 ** (5 * np.asarray(found) - 4), magnitude, rtol=1e-12)


def test_compression_is_a_logarithm_with_a_floor():
    values = np.array([0.0, 1e-7, 1.0, np.e], np.float32)
    found = features.compress(values, compression="log", floor=1e-5)
    np.testing.assert_allclose(found, [np.log(1e-5), np.log(1e-5), 0, 1], rtol=1e-6)
    np.testing.assert_array_equal(features.compress(values, compression="none"), values)
    gradient = jax.jit(jax.grad(lambda v: jnp.sum(features.compress(v, compression="log"))))(values)
    assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize(("compression", "floor"), [("dB", 1e-5), ("log", 0.0), ("log", np.nan)])
def test_bad_compressions_are_refused(compression, floor):
    with pytest.raises(ValueError, match=r"compression=|floor="):
        features.check_compression(compression, floor)


def _spectrogram(low, high, shape=(2, 5, BINS)):
    return np.linspace(low, high, int(np.prod(shape)), dtype=np.float32).reshape(shape)


@pytest.mark.parametrize(
    ("spectrogram", "scale"),
    [
        (_spectrogram(0, 50), "linear"),
        (_spectrogram(0, 1, (7, BINS)), "normalized"),
        (_spectrogram(-12, 3), "log"),
    ],
)
def test_good_spectrograms_pass(spectrogram, scale):
    features.check_spectrogram(spectrogram, num_bins=BINS, scale=scale)
    features.check_spectrogram(jnp.asarray(spectrogram), num_bins=BINS, scale=scale)


NAN = _spectrogram(0, 1)
NAN[1, 2, 3] = np.nan


@pytest.mark.parametrize(
    ("spectrogram", "scale", "error", "message"),
    [
        (_spectrogram(0, 1, (2, 5, 40)), "linear", ValueError, "its bins must be 33"),
        (_spectrogram(0, 1, (2, BINS, 5)), "linear", ValueError, "transposed"),
        (_spectrogram(0, 1, (BINS,)), "linear", ValueError, "frames"),
        (np.zeros((2, 0, BINS), np.float32), "linear", ValueError, "at least one frame"),
        (NAN, "linear", ValueError, "1 NaN"),
        (np.full((2, 5, BINS), -np.inf, np.float32), "log", ValueError, "330 NaN or infinite"),
        (_spectrogram(-80, 0), "linear", ValueError, "decibels"),
        (_spectrogram(-80, 0), "normalized", ValueError, "looks like decibels"),
        (_spectrogram(0, 30), "normalized", ValueError, "looks like linear"),
        (np.zeros((4, BINS), complex), "linear", TypeError, "magnitude"),
        (np.zeros((4, BINS), int), "linear", TypeError, "float32"),
        (_spectrogram(0, 1), "dB", ValueError, "scale='dB'"),
    ],
)
def test_bad_spectrograms_get_clear_errors(spectrogram, scale, error, message):
    with pytest.raises(error, match=message):
        features.check_spectrogram(spectrogram, num_bins=BINS, scale=scale)
