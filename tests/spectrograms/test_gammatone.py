"""Gammatone spectrograms against dense float64 products and nnAudio."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest

from isincnet_jax.dsp import auditory
from isincnet_jax.spectrograms.gammatone import Gammatonegram

SMALL = {"sample_rate": 8000, "n_fft": 256, "hop_length": 64, "n_bins": 16}


def _clip(length=3000, seed=0):
    noise = np.random.default_rng(seed).standard_normal(length)
    return (0.3 * np.sin(0.3 * np.arange(length)) + 0.05 * noise).astype(np.float32)


def _relative(found, wanted):
    return np.linalg.norm(np.asarray(found) - wanted) / np.linalg.norm(wanted)


@pytest.mark.parametrize("power", [1.0, 2.0])
@pytest.mark.parametrize("norm", ["n_fft", "slaney", None])
def test_it_is_a_weighted_stft(power, norm):
    layer = Gammatonegram(**SMALL, fmin=50.0, fmax=3000.0, power=power, norm=norm)
    assert jax.jit(layer.init)(jax.random.key(0), jnp.zeros(300)) == {}
    found = jax.jit(layer.apply)({}, jnp.asarray(_clip()))
    spectrum = librosa.stft(_clip().astype(float), n_fft=256, hop_length=64, pad_mode="reflect")
    weights = auditory.gammatone_weights(
        8000, n_fft=256, n_bins=16, fmin=50.0, fmax=3000.0, norm=norm
    )
    assert _relative(found, (weights @ np.abs(spectrum) ** power).T) < 1e-5


@pytest.mark.parametrize("rate", [22_050, 44_100])
def test_the_default_is_what_nnaudio_computes(rate, golden):
    arrays = golden("nnaudio")
    layer = Gammatonegram(sample_rate=rate, n_bins=32, n_fft=1024, hop_length=256, fmin=0.0)
    found = jax.jit(layer.apply)({}, jnp.asarray(arrays["gammatone/input"]))
    assert _relative(found, arrays[f"gammatone/{rate}"]) < 1e-5


def test_a_tone_lands_in_its_filter():
    layer = Gammatonegram(sample_rate=16_000, n_bins=40, norm=None)
    for band in (12, 25, 38):
        angle = 2 * np.pi * layer.frequencies[band] / 16_000 * np.arange(8000)
        found = jax.jit(layer.apply)({}, jnp.asarray(np.sin(angle), jnp.float32))
        assert int(jnp.argmax(found[8])) == band


def test_trained_weights_start_at_the_fixed_ones():
    waveform = jnp.asarray(_clip(1500))
    wanted = np.asarray(jax.jit(Gammatonegram(**SMALL).apply)({}, waveform))
    layer = Gammatonegram(**SMALL, trainable_bins=True, trainable_stft=True)
    variables = jax.jit(layer.init)(jax.random.key(0), waveform)
    assert variables["params"]["basis"].shape == (16, 129)
    assert _relative(jax.jit(layer.apply)(variables, waveform), wanted) < 1e-5


def test_gradients_on_silence_and_shapes():
    layer = Gammatonegram(**SMALL, power=1.0)
    gradient = jax.jit(jax.grad(lambda waveform: jax.jit(layer.apply)({}, waveform).sum()))
    assert np.all(np.isfinite(gradient(jnp.zeros(600))))
    assert jax.jit(layer.apply)({}, jnp.zeros((2, 3, 1))).shape == (2, 3, 1, 16)
    assert len(layer.frequencies) == 16
    np.testing.assert_allclose(layer.frame_times(130), [0.0, 0.008, 0.016])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_bins": 0}, "n_bins=0"),
        ({"fmax": 30_000.0}, "fmax=30000.0 lies above"),
        ({"norm": "area"}, "norm='area'"),
        ({"norm": -2}, "norm=-2"),
    ],
)
def test_impossible_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        Gammatonegram(**options)
