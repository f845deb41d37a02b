"""Chromagrams against librosa."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isincnet_jax.dsp import auditory
from isincnet_jax.spectrograms.chroma import Chroma
from isincnet_jax.spectrograms.dsp import chroma


def _clip(length, rate=22_050):
    time = np.arange(length) / rate
    chord = sum(np.sin(2 * np.pi * hz * time) for hz in (261.6, 329.6, 392.0))
    noise = np.random.default_rng(0).standard_normal(length)
    return (0.2 * chord + 0.02 * noise).astype(np.float32)


def _relative(found, wanted):
    return np.linalg.norm(np.asarray(found) - wanted) / np.linalg.norm(wanted)


@pytest.mark.tail
@settings(max_examples=8)
@given(
    rate=st.sampled_from([8000, 22_050, 48_000]),
    n_chroma=st.sampled_from([12, 24, 36]),
    tuning=st.sampled_from([0.0, 0.2, -0.4]),
    ctroct=st.sampled_from([4.0, 5.0]),
    octwidth=st.sampled_from([None, 2.0]),
    base_c=st.booleans(),
    norm=st.sampled_from([np.inf, 1, 2, None]),
    pad_mode=st.sampled_from(["reflect", "constant"]),
    jitted=st.booleans(),
)
def test_chromagrams_are_librosas(rate, jitted, **options):
    waveform = _clip(5000, rate)
    layer = Chroma(sample_rate=rate, **options)
    apply = jax.jit(layer.apply) if jitted else layer.apply
    wanted = librosa.feature.chroma_stft(y=waveform, sr=rate, **options).T
    assert _relative(apply({}, jnp.asarray(waveform)), wanted) < 1e-5


def test_constant_q_magnitudes_fold_as_librosas():
    magnitude = np.random.default_rng(1).uniform(0, 1, (84 * 3, 20)).astype(np.float32)
    wanted = librosa.feature.chroma_cqt(
        C=magnitude, bins_per_octave=36, n_chroma=12, fmin=32.7, norm=2, threshold=None
    ).T
    weights = chroma.cq_to_chroma(84 * 3, bins_per_octave=36, fmin=32.7)
    found = chroma.normalize_frames(auditory.weigh_bins(magnitude.T, weights), norm=2)
    assert _relative(found, wanted) < 1e-5


@pytest.mark.parametrize("norm", [np.inf, 2, None])
def test_silence_is_0_with_finite_gradients(norm):
    layer = Chroma(sample_rate=8000, n_fft=256, hop_length=64, norm=norm)
    assert jax.jit(layer.init)(jax.random.key(0), jnp.zeros(300)) == {}
    np.testing.assert_array_equal(jax.jit(layer.apply)({}, jnp.zeros((2, 1))), np.zeros((2, 1, 12)))
    gradient = jax.jit(jax.grad(lambda waveform: (jax.jit(layer.apply)({}, waveform) ** 2).sum()))
    assert np.all(np.isfinite(gradient(jnp.zeros(600))))
    assert np.all(np.isfinite(gradient(jnp.asarray(_clip(600)).at[:400].set(0.0))))


def test_trained_weights_start_at_the_fixed_ones():
    waveform = jnp.asarray(_clip(1500))
    options = {"sample_rate": 8000, "n_fft": 256, "hop_length": 64}
    layer = Chroma(**options, trainable_chroma=True)
    variables = jax.jit(layer.init)(jax.random.key(0), waveform)
    assert variables["params"]["basis"].shape == (12, 129)
    wanted = np.asarray(jax.jit(Chroma(**options).apply)({}, waveform))
    assert _relative(jax.jit(layer.apply)(variables, waveform), wanted) < 1e-5


def test_tones_land_in_their_classes():
    for options in ({}, {"base_c": False}, {"n_chroma": 24, "tuning": 0.25}):
        layer = Chroma(**options)
        for index in (0, 3, 11):
            angle = 2 * np.pi * 2 * layer.frequencies[index] / 22_050 * np.arange(8000)
            found = jax.jit(layer.apply)({}, jnp.asarray(np.sin(angle), jnp.float32))
            assert int(jnp.argmax(found[8])) == index
    np.testing.assert_allclose(
        Chroma().frequencies, librosa.note_to_hz("C4") * 2 ** (np.arange(12) / 12)
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_chroma": 0}, "n_chroma=0"),
        ({"octwidth": -1.0}, "octwidth=-1.0"),
        ({"norm": 0}, "norm=0"),
        ({"n_fft": 2}, "n_fft=2"),
    ],
)
def test_impossible_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        Chroma(**options)
