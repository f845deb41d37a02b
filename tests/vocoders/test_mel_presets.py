"""Mel spectrograms of other projects against their formulas, written with librosa."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest
import scipy.signal

import isincnet_jax as isn
from isincnet_jax.phase import mel_inversion
from isincnet_jax.vocoders.mel_presets import MEL_PRESETS
from isincnet_jax.vocoders.vocoder import Vocoder

LENGTH = 9000


@pytest.fixture
def waveform(rng):
    """Noise with a falling spectrum, a tone, and silence at the end."""
    noise = scipy.signal.lfilter([0.02], [1.0, -0.95], rng.standard_normal(LENGTH))
    clip = noise + 0.1 * np.sin(0.2 * np.arange(LENGTH))
    return np.where(np.arange(LENGTH) < 7000, clip, 0.0).astype(np.float32)


def spectrum(waveform, n_fft, hop, *, center=True):
    """Complex, bins first, in float64."""
    waveform = np.asarray(waveform, np.float64)
    return librosa.stft(waveform, n_fft=n_fft, hop_length=hop, center=center, pad_mode="reflect")


def vocos(waveform):
    """torchaudio's MelSpectrogram(24000, n_fft=1024, hop_length=256, n_mels=100, power=1)."""
    filters = librosa.filters.mel(sr=24_000, n_fft=1024, n_mels=100, htk=True, norm=None)
    return np.log(np.maximum(filters @ np.abs(spectrum(waveform, 1024, 256)), 1e-7))


def hifigan(waveform):
    filters = librosa.filters.mel(sr=22_050, n_fft=1024, n_mels=80, fmin=0, fmax=8000)
    padded = np.pad(waveform, (1024 - 256) // 2, mode="reflect")
    energy = np.abs(spectrum(padded, 1024, 256, center=False)) ** 2
    return np.log(np.maximum(filters @ np.sqrt(energy + 1e-9), 1e-5))


def tacotron2(waveform):
    filters = librosa.filters.mel(sr=22_050, n_fft=1024, n_mels=80, fmin=0, fmax=8000)
    return np.log(np.maximum(filters @ np.abs(spectrum(waveform, 1024, 256)), 1e-5))


def whisper(waveform, n_mels=80):
    energy = np.abs(spectrum(waveform, 400, 160)[:, :-1]) ** 2
    filters = librosa.filters.mel(sr=16_000, n_fft=400, n_mels=n_mels)
    logs = np.log10(np.maximum(filters @ energy, 1e-10))
    return (np.maximum(logs, logs.max() - 8.0) + 4.0) / 4.0


THEIRS = {
    "vocos": vocos,
    "hifigan": hifigan,
    "tacotron2": tacotron2,
    "whisper": whisper,
    "whisper-128": lambda waveform: whisper(waveform, 128),
}


@pytest.mark.parametrize("name", THEIRS)
def test_features_are_theirs(name, waveform):
    preset, wanted = isn.mel_preset(name), THEIRS[name](waveform).T
    found = np.asarray(jax.jit(preset.features)(waveform))
    assert found.dtype == np.float32
    assert found.shape == wanted.shape == (preset.num_frames(LENGTH), preset.n_mels)
    assert np.max(np.abs(found - wanted)) < 1e-4 * np.max(np.abs(wanted))


def test_every_preset_is_tested():
    assert set(THEIRS) == set(MEL_PRESETS)


@pytest.mark.parametrize("name", ["vocos", "tacotron2"])
def test_a_vocoder_takes_their_linear_mels(name, waveform):
    preset = isn.mel_preset(name)
    mel = preset.magnitudes(preset.features(waveform))
    own = preset.vocoder_features.of(waveform)
    np.testing.assert_allclose(mel, np.maximum(own, preset.floor), rtol=1e-4)
    network = isn.ISTFTNet(num_bins=preset.n_mels, width=8, strides=(8, 8), block_taps=(3,))
    Vocoder(network, preset.vocoder_features)  # they go together


def test_frames_of_hifigan_are_half_a_hop_late(waveform):
    """A vocoder that takes them begins with sample 128."""
    preset = isn.mel_preset("hifigan")
    mel = np.asarray(preset.magnitudes(preset.features(waveform)))
    own = np.asarray(preset.vocoder_features.of(waveform[preset.hop_length // 2 :]))
    inside = slice(3, 24)  # before the silence, whose floor differs, and behind the reflection
    np.testing.assert_allclose(mel[inside], own[inside], rtol=1e-3)


def test_energies_of_whisper_are_inverted_by_their_power(waveform):
    preset = isn.mel_preset("whisper")
    assert preset.vocoder_features is None
    energy = np.abs(spectrum(waveform, 400, 160)[:, :-1].T) ** 2
    mel = preset.magnitudes(preset.features(waveform))
    audible = energy @ preset.filters.T
    loud = audible > 1e-6 * audible.max()
    np.testing.assert_allclose(np.asarray(mel)[loud], audible[loud], rtol=1e-3)
    magnitude = mel_inversion.mel_to_magnitude(mel, preset.filters, power=preset.power)
    again = np.asarray(magnitude) ** 2 @ preset.filters.T
    assert np.linalg.norm(again - mel) < 1e-2 * np.linalg.norm(mel)


@pytest.mark.parametrize("name", THEIRS)
@pytest.mark.parametrize("level", [0.0, 0.1])
def test_gradients_are_finite(name, level, rng):
    preset = isn.mel_preset(name)
    waveform = jnp.asarray(level * rng.standard_normal((2, 1200)), jnp.float32)
    slope = jax.jit(jax.grad(lambda x: jnp.sum(preset.features(x) ** 2)))(waveform)
    assert np.all(np.isfinite(slope))
    assert np.any(slope != 0) == (level > 0)


def test_clips_of_a_batch_do_not_depend_on_each_other(waveform):
    preset = isn.mel_preset("whisper")
    found = preset.features(np.stack([waveform, 100 * waveform]))
    np.testing.assert_allclose(found[0], preset.features(waveform), atol=1e-5)


def test_double_precision(x64, waveform):
    preset = isn.mel_preset("hifigan")
    found = preset.features(waveform.astype(np.float64))
    assert found.dtype == preset.magnitudes(found).dtype == np.float64


def test_what_is_refused(waveform):
    with pytest.raises(ValueError, match="name='bigvgan' is unknown; use vocos, hifigan"):
        isn.mel_preset("bigvgan")
    preset = isn.mel_preset("hifigan")
    with pytest.raises(ValueError, match="hifigan has no frame of it; give 256 samples or more"):
        preset.features(waveform[:255])
    with pytest.raises(ValueError, match=r"hifigan has \[\.\.\., frames, 80\]; frames come before"):
        preset.magnitudes(np.zeros((80, 7), np.float32))
    with pytest.raises(TypeError, match="floating samples"):
        preset.features(waveform.astype(np.int16))
