"""Inverse mel and gammatone layers: what they give back has the spectrogram it was made from."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest

from isincnet_jax.dsp import auditory
from isincnet_jax.spectrograms.gammatone import Gammatonegram
from isincnet_jax.spectrograms.inverse_mel import InverseGammatone, InverseMel
from isincnet_jax.spectrograms.mel import MelSpectrogram

FRAMES = {"sample_rate": 8000, "n_fft": 256}


def _clip(length=4000):
    time = np.arange(length) / 8000
    cycles = 200 * time + 300 * time**2
    tones = sum(np.sin(2 * np.pi * k * cycles) / k for k in range(1, 9))
    return (0.2 * tones * np.hanning(length)).astype(np.float32)


def _relative_db(found, wanted):
    found, wanted = np.asarray(found), np.asarray(wanted)
    return 20 * np.log10(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


@pytest.mark.parametrize(("power", "below_db"), [(1.0, -75), (2.0, -40)])
def test_mel_of_the_inverse_is_the_mel_given(power, below_db):
    mel = jax.jit(MelSpectrogram(**FRAMES, hop_length=64, n_mels=24, power=power).apply)(
        {}, _clip()
    )
    layer = InverseMel(**FRAMES, n_mels=24, power=power)
    assert jax.jit(layer.init)(jax.random.key(0), mel) == {}
    magnitude = np.asarray(jax.jit(layer.apply)({}, mel))
    weights = librosa.filters.mel(sr=8000, n_fft=256, n_mels=24)
    theirs = librosa.feature.inverse.mel_to_stft(np.asarray(mel).T, sr=8000, n_fft=256, power=power)
    truth = np.abs(librosa.stft(_clip(), n_fft=256, hop_length=64, pad_mode="reflect")).T
    error_db = _relative_db(magnitude**power @ weights.T, mel)
    assert np.all(magnitude >= 0)
    assert error_db < below_db
    assert error_db < _relative_db(theirs.T**power @ weights.T, mel) + 0.1
    assert _relative_db(magnitude, truth) < _relative_db(theirs.T, truth) + 0.5


def test_more_iterations_come_closer():
    mel = jax.jit(MelSpectrogram(**FRAMES, hop_length=64, n_mels=24).apply)({}, _clip())
    weights = librosa.filters.mel(sr=8000, n_fft=256, n_mels=24)
    errors = []
    for count in (10, 100, 1000):
        layer = InverseMel(**FRAMES, n_mels=24, n_iter=count, output_format="power")
        errors.append(_relative_db(jax.jit(layer.apply)({}, mel) @ weights.T, mel))
    assert errors[0] > errors[1] + 1 > errors[2] + 2


def test_gammatone_of_the_inverse_is_the_gammatone_given():
    spectrogram = jax.jit(Gammatonegram(**FRAMES, hop_length=64, n_bins=24).apply)({}, _clip())
    found = jax.jit(InverseGammatone(**FRAMES, n_bins=24, output_format="power").apply)(
        {}, spectrogram
    )
    weights = auditory.gammatone_weights(8000, n_fft=256, n_bins=24)
    assert np.all(np.asarray(found) >= 0)
    assert _relative_db(found @ weights.T, spectrogram) < -50


@pytest.mark.parametrize("power", [1.0, 2.0, 0.5])
def test_formats_agree(power):
    mel = jax.jit(MelSpectrogram(**FRAMES, n_mels=12, power=power).apply)({}, _clip(2000))
    options = {**FRAMES, "n_mels": 12, "power": power, "n_iter": 20}
    magnitude = jax.jit(InverseMel(**options).apply)({}, mel)
    energy = jax.jit(InverseMel(**options, output_format="power").apply)({}, mel)
    np.testing.assert_allclose(magnitude**2, energy, rtol=1e-4, atol=1e-12)


@pytest.mark.quick(2)
@pytest.mark.parametrize("power", [1.0, 2.0])
@pytest.mark.parametrize("output_format", ["magnitude", "power"])
def test_gradients_are_finite_on_silence(power, output_format):
    options = {"power": power, "output_format": output_format, "n_iter": 10}
    layers = [InverseMel(**FRAMES, n_mels=12, **options)]
    layers.append(InverseGammatone(**FRAMES, n_bins=12, **options))
    for layer in layers:
        gradient = jax.jit(jax.grad(lambda mel, layer=layer: layer.apply({}, mel).sum()))
        ramp = jnp.linspace(0.0, 1.0, 48, dtype=jnp.float32).reshape(4, 12)
        for mel in (jnp.zeros((4, 12)), ramp, ramp.at[1].set(0.0)):
            assert np.all(np.isfinite(gradient(mel)))
        np.testing.assert_array_equal(jax.jit(layer.apply)({}, jnp.zeros((1, 4, 12))), 0.0)


def test_gradients_are_finite_differences(x64):
    layer = InverseMel(**FRAMES, n_mels=6, n_iter=15)
    mel = jnp.asarray(np.random.default_rng(0).uniform(0.5, 1.0, (2, 6)))
    loss = jax.jit(lambda values: jnp.sum(jnp.sin(layer.apply({}, values))))
    gradient = jax.jit(jax.grad(loss))(mel)
    slope = (loss(mel.at[1, 3].add(1e-6)) - loss(mel.at[1, 3].add(-1e-6))) / 2e-6
    assert float(gradient[1, 3]) == pytest.approx(float(slope), rel=1e-5)


def test_frequencies_are_those_of_the_bins():
    np.testing.assert_allclose(InverseMel(**FRAMES, n_mels=9).frequencies, np.arange(129) * 31.25)


@pytest.mark.parametrize(
    ("layer", "options", "message"),
    [
        (InverseMel, {"n_iter": -1}, "n_iter=-1"),
        (InverseMel, {"power": 0}, "power=0"),
        (InverseMel, {"output_format": "complex"}, "output_format='complex'"),
        (InverseMel, {"n_mels": 0}, "n_mels=0"),
        (InverseMel, {"norm": "area"}, "norm='area'"),
        (InverseGammatone, {"fmax": 1e5}, "fmax=100000.0 lies above"),
        (InverseGammatone, {"n_bins": 0}, "n_bins=0"),
    ],
)
def test_impossible_arguments_are_named(layer, options, message):
    with pytest.raises(ValueError, match=message):
        layer(**options)


def test_other_filters_are_named():
    with pytest.raises(ValueError, match="must end in frames and 40 filters"):
        InverseMel(n_mels=40).apply({}, jnp.ones((3, 41)))
    with pytest.raises(TypeError, match="int32"):
        InverseMel(n_mels=40).apply({}, jnp.ones((3, 40), jnp.int32))
