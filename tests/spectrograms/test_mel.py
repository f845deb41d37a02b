"""Mel spectrograms and cepstra against librosa, over arguments, rates and lengths."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isincnet_jax.spectrograms.mel import MFCC, MelSpectrogram

SMALL = {"sample_rate": 8000, "n_fft": 256, "hop_length": 64, "n_mels": 16}


def _clip(length, seed=0, rate=22_050):
    time = np.arange(length) / rate
    noise = np.random.default_rng(seed).standard_normal(length)
    tones = np.sin(2 * np.pi * 440 * time) + 0.3 * np.sin(2 * np.pi * 0.11 * rate * time)
    return (0.3 * tones + 0.02 * noise).astype(np.float32)


def _relative(found, wanted):
    return np.linalg.norm(np.asarray(found) - wanted) / np.linalg.norm(wanted)


@settings(max_examples=8)
@given(
    rate=st.sampled_from([8000, 16_000, 22_050, 44_100, 48_000]),
    n_fft=st.sampled_from([1024, 1025, 2048]),
    win=st.sampled_from([None, 800]),
    hop=st.sampled_from([160, 512]),
    window=st.sampled_from(["hann", "hamming", "blackman"]),
    center=st.booleans(),
    pad_mode=st.sampled_from(["reflect", "constant"]),
    power=st.sampled_from([1.0, 2.0, 1.5]),
    htk=st.booleans(),
    norm=st.sampled_from(["slaney", None, np.inf, 2.0]),
    band=st.sampled_from([(0.0, None), (100.0, 3900.0)]),
    n_mels=st.sampled_from([8, 20]),
    length=st.integers(2048, 6000),
    jitted=st.booleans(),
)
def test_mel_spectrograms_are_librosas(rate, win, hop, band, length, jitted, **options):
    waveform = _clip(length, rate=rate)
    options.update(win_length=win, hop_length=hop, fmin=band[0], fmax=band[1])
    layer = MelSpectrogram(sample_rate=rate, **options)
    assert jax.jit(layer.init)(jax.random.key(0), waveform) == {}
    apply = jax.jit(layer.apply) if jitted else layer.apply
    found = apply({}, jnp.asarray(waveform))
    wanted = librosa.feature.melspectrogram(y=waveform, sr=rate, **options).T
    assert found.dtype == jnp.float32
    assert found.shape == wanted.shape
    assert _relative(found, wanted) < 1e-5
    assert layer.frame_times(length).shape == (len(wanted),)


@pytest.mark.tail
@settings(max_examples=6)
@given(
    n_mfcc=st.sampled_from([1, 13, 20]),
    norm=st.sampled_from(["ortho", None]),
    dct_type=st.sampled_from([1, 2, 3]),
    lifter=st.sampled_from([0, 22]),
    htk=st.booleans(),
    rate=st.sampled_from([8000, 22_050, 48_000]),
    jitted=st.booleans(),
)
def test_cepstra_are_librosas(rate, jitted, **options):
    waveform = _clip(5000, rate=rate)
    waveform[:2500] *= 1e-4  # so that top_db has an effect
    layer = MFCC(sample_rate=rate, n_mels=24, n_fft=1024, pad_mode="constant", **options)
    apply = jax.jit(layer.apply) if jitted else layer.apply
    found = apply({}, jnp.asarray(waveform))
    wanted = librosa.feature.mfcc(y=waveform, sr=rate, n_mels=24, n_fft=1024, **options).T
    assert _relative(found, wanted) < 1e-5


def test_cepstra_of_a_clip_do_not_depend_on_the_batch():
    clips = jnp.asarray(np.stack([_clip(2000), 1e-3 * _clip(2000, 1)]))
    layer = MFCC(**SMALL, n_mfcc=8)
    both = jax.jit(layer.apply)({}, clips)
    for clip, found in zip(clips, both, strict=True):
        np.testing.assert_allclose(found, jax.jit(layer.apply)({}, clip), rtol=1e-4, atol=1e-3)
    no_floor = jax.jit(MFCC(**SMALL, n_mfcc=8, top_db=None).apply)({}, clips)
    loud_floor = jax.jit(MFCC(**SMALL, n_mfcc=8, top_db=5.0).apply)({}, clips)
    assert _relative(no_floor, np.asarray(loud_floor)) > 0.01


@pytest.mark.parametrize("layer", [MelSpectrogram(**SMALL), MFCC(**SMALL, n_mfcc=8)])
def test_multichannel_and_short_clips_are_welcome(layer):
    """nnAudio refuses [batch, channels, time], and clips shorter than half a frame."""
    clips = jnp.asarray(_clip(6 * 500).reshape(2, 3, 500))
    whole = jax.jit(layer.apply)({}, clips)
    assert whole.shape[:2] == (2, 3)
    np.testing.assert_allclose(
        whole[1, 2], jax.jit(layer.apply)({}, clips[1, 2]), rtol=1e-4, atol=1e-3
    )
    for length in (1, 2, 63, 2000):
        found = jax.jit(layer.apply)({}, jnp.asarray(_clip(length)))
        assert found.shape[0] == 1 + length // 64 == len(layer.frame_times(length))
        assert np.all(np.isfinite(found))


@pytest.mark.parametrize("power", [1.0, 2.0, 1.5])
@pytest.mark.parametrize("kind", [MelSpectrogram, MFCC])
def test_silence_has_finite_gradients(kind, power):
    """nnAudio's magnitudes have NaN gradients on silence."""
    extra = {"n_mfcc": 8} if kind is MFCC else {}
    layer = kind(**SMALL, **extra, power=power)
    gradient = jax.jit(jax.grad(lambda waveform: layer.apply({}, waveform).sum()))
    half = jnp.asarray(_clip(600)).at[:400].set(0.0)
    for waveform in (jnp.zeros(600), half):
        assert np.all(np.isfinite(gradient(waveform)))


def test_double_precision_is_computed_in_double_precision(x64):
    waveform = _clip(3000).astype(np.float64)
    found = jax.jit(MelSpectrogram(**SMALL, power=2.0).apply)({}, jnp.asarray(waveform))
    weights = librosa.filters.mel(sr=8000, n_fft=256, n_mels=16, dtype=np.float64)
    spectrum = librosa.stft(waveform, n_fft=256, hop_length=64, pad_mode="reflect")
    wanted = (weights @ np.abs(spectrum) ** 2).T
    assert found.dtype == jnp.float64
    assert _relative(found, wanted) < 1e-12


@pytest.mark.quick(1)
@pytest.mark.parametrize(("power", "error"), [(2.0, 1e-5), (1.0, 1e-5)])
def test_trained_layers_start_at_the_fixed_ones(power, error):
    waveform = jnp.asarray(_clip(1500))
    fixed = MelSpectrogram(**SMALL, power=power)
    layer = MelSpectrogram(**SMALL, power=power, trainable_mel=True, trainable_stft=True)
    variables = jax.jit(layer.init)(jax.random.key(0), waveform)
    shapes = jax.tree.map(jnp.shape, variables["params"])
    assert shapes["basis"] == (16, 129)
    assert len(jax.tree.leaves(shapes["stft"], is_leaf=lambda leaf: isinstance(leaf, tuple))) == 1
    found = jax.jit(layer.apply)(variables, waveform)
    assert _relative(found, np.asarray(jax.jit(fixed.apply)({}, waveform))) < error
    gradients = jax.jit(jax.grad(lambda v: layer.apply(v, waveform).sum()))(variables)
    assert all(np.any(np.asarray(leaf) != 0) for leaf in jax.tree.leaves(gradients))
    gradients = jax.jit(jax.grad(lambda v: layer.apply(v, 0 * waveform).sum()))(variables)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradients))


def test_cepstra_train_their_filters():
    waveform = jnp.asarray(_clip(1500))
    layer = MFCC(**SMALL, n_mfcc=8, trainable_mel=True)
    variables = jax.jit(layer.init)(jax.random.key(0), waveform)
    assert jax.tree.map(jnp.shape, variables) == {"params": {"mel": {"basis": (16, 129)}}}
    wanted = np.asarray(jax.jit(MFCC(**SMALL, n_mfcc=8).apply)({}, waveform))
    assert _relative(jax.jit(layer.apply)(variables, waveform), wanted) < 1e-5


def test_tables_stand_on_the_unbound_layer():
    layer = MelSpectrogram(sample_rate=16_000, n_fft=512, hop_length=160, n_mels=40)
    peaks = librosa.mel_frequencies(42, fmin=0, fmax=8000)[1:-1]
    np.testing.assert_allclose(layer.frequencies, peaks)
    np.testing.assert_allclose(layer.frame_times(1600), np.arange(11) / 100)
    cepstra = MFCC(sample_rate=16_000, n_fft=512, hop_length=160, n_mels=40, center=False)
    np.testing.assert_allclose(cepstra.frequencies, peaks)
    np.testing.assert_allclose(cepstra.frame_times(1600), (256 + 160 * np.arange(7)) / 16_000)


def test_empty_filters_are_named():
    with pytest.warns(UserWarning, match=r"no bin of n_fft=256 falls into the filters 0, "):
        MelSpectrogram(n_fft=256, n_mels=128)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_mels": 0}, "n_mels=0"),
        ({"fmax": 20_000.0}, "fmax=20000.0 lies above"),
        ({"fmin": 900.0, "fmax": 800.0}, "fmin=900.0 and fmax=800.0"),
        ({"norm": "area"}, "norm='area'"),
        ({"power": 0.0}, "power=0.0"),
        ({"win_length": 4096}, "win_length=4096"),
        ({"pad_mode": "wrap"}, "pad_mode='wrap'"),
        ({"hop_length": 0}, "hop_length=0"),
        ({"sample_rate": 0}, "sample_rate=0"),
        ({"window": "no window"}, "[Ww]indow"),
    ],
)
def test_impossible_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        MelSpectrogram(**options)
    if "norm" not in options:
        with pytest.raises(ValueError, match=message):
            MFCC(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_mfcc": 200}, "200 coefficients of 128"),
        ({"norm": "slaney"}, "norm='slaney'"),
        ({"dct_type": 5}, "dct_type=5"),
        ({"lifter": -1}, "lifter=-1"),
        ({"top_db": -1.0}, "top_db=-1.0"),
        ({"mel_norm": "area"}, "norm='area'"),
    ],
)
def test_impossible_cepstra_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        MFCC(**options)


def test_integers_are_refused():
    with pytest.raises(TypeError, match="floating samples"):
        MelSpectrogram(**SMALL).apply({}, jnp.zeros(600, jnp.int32))
