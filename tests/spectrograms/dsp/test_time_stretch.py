"""The phase vocoder against librosa in double precision, over long clips against float64 sums."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from isincnet_jax import jax_names
from isincnet_jax.spectrograms.dsp import time_stretch as vocoder

RATE = 22_050
SMALL = {"n_fft": 256, "hop_length": 64}
resample = jax.jit(vocoder.resample, static_argnames=("ratio", "length"))


def _relative(found, expected):
    found, expected = np.asarray(found), np.asarray(expected)
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def _tone(frequency, samples=RATE, level=0.5):
    return level * np.sin(2 * np.pi * frequency * np.arange(samples) / RATE)


def _peak_hz(clip):
    """Frequency of the highest peak of a clip's middle, to 0.02 Hz."""
    middle = np.asarray(clip, np.float64)[4000:-4000]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle)), 1 << 20))
    return np.argmax(spectrum) * RATE / (1 << 20)


@pytest.mark.quick(4)
@pytest.mark.parametrize("rate", [0.37, 1.0, 1.25, 3.7])
@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_frames_are_those_of_librosa_in_double_precision(rate, dtype, rng, x64):
    spectrum = rng.standard_normal((2, 57, 65)) + 1j * rng.standard_normal((2, 57, 65))
    spectrum = spectrum.astype(dtype)
    expected = librosa.phase_vocoder(
        spectrum.swapaxes(1, 2).astype(np.complex128), rate=rate, hop_length=32
    ).swapaxes(1, 2)
    found = jax.jit(functools.partial(vocoder.phase_vocoder, rate=rate))(spectrum)
    assert found.dtype == dtype
    assert found.shape == expected.shape
    assert _relative(found, expected) < (1e-5 if dtype == np.complex64 else 1e-9)


@settings(max_examples=3)
@given(
    samples=st.integers(256, 1500),
    rate=st.floats(0.3, 3),
    hop_length=st.integers(20, 90),
    win_length=st.sampled_from([256, 200]),
)
def test_stretched_clips_are_those_of_librosa(samples, rate, hop_length, win_length):
    clip = np.random.default_rng(samples).standard_normal(samples)
    options = {"n_fft": 256, "hop_length": hop_length, "win_length": win_length}
    with jax_names.enable_x64(True):
        run = jax.jit(functools.partial(vocoder.time_stretch, rate=rate, **options))
        found = run(jnp.asarray(clip))
    length = round(samples / rate)
    stretched = librosa.phase_vocoder(
        librosa.stft(clip, **options), rate=rate, hop_length=hop_length
    )
    expected = librosa.istft(stretched, length=length, **options)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("rate", [0.6, 1.7])
def test_defaults_in_float32_are_librosas(rate, rng):
    """Of noise: where there is nothing but rounding, phases are nobody's, and they add up."""
    clip = rng.standard_normal(RATE // 2).astype(np.float32)
    expected = librosa.effects.time_stretch(clip.astype(np.float64), rate=rate)
    found = jax.jit(functools.partial(vocoder.time_stretch, rate=rate))(clip)
    assert found.shape == expected.shape
    assert _relative(found, expected) < 1e-4


@pytest.mark.parametrize("samples", [1, 100, 9000])
def test_rate_1_gives_the_clip_back_to_115_db(samples, rng):
    clip = rng.standard_normal((2, samples)).astype(np.float32)
    found = jax.jit(functools.partial(vocoder.time_stretch, rate=1.0))(clip)
    assert found.shape == clip.shape
    assert _relative(found, clip) < 10 ** (-115 / 20)


@pytest.mark.quick(2)
@pytest.mark.parametrize("rate", [1 / 3, 1.25])
@pytest.mark.parametrize("steady", [True, False])
def test_phases_of_ten_minutes_are_right_in_float32(rate, steady, rng):
    """Steady tones are the hard case: whatever error one frame's sum has, all have."""
    frames, bins = 25_840, 6
    angle = rng.uniform(-np.pi, np.pi, (frames, bins))
    if steady:
        angle = np.cumsum(np.broadcast_to(rng.uniform(-3, 3, bins), (frames, bins)), axis=0)
    spectrum = np.exp(1j * angle).astype(np.complex64)
    exact = np.angle(spectrum.astype(np.complex128))
    places = np.floor(np.arange(0, frames, rate)).astype(int)[:-8]
    advance = (exact[1:] - exact[:-1])[places[:-1]]
    # Modulo whole turns at every step: float64 has digits to spare.
    expected = np.concatenate([exact[:1], exact[:1] + np.cumsum(np.angle(np.exp(1j * advance)), 0)])
    found = np.asarray(jax.jit(functools.partial(vocoder.phase_vocoder, rate=rate))(spectrum))
    error = np.angle(found[: len(places)] * np.exp(-1j * expected))
    assert np.max(np.abs(error)) < 1e-4


def test_librosa_in_single_precision_has_lost_the_phase_after_ten_seconds(rng):
    """The departure that the docstring states."""
    angle = np.cumsum(np.broadcast_to(rng.uniform(-3, 3, 1025), (430, 1025)), axis=0).T
    spectrum = np.exp(1j * angle).astype(np.complex64)
    single = librosa.phase_vocoder(spectrum, rate=0.8, hop_length=512)
    double = librosa.phase_vocoder(spectrum.astype(np.complex128), rate=0.8, hop_length=512)
    ours = np.asarray(jax.jit(functools.partial(vocoder.phase_vocoder, rate=0.8))(spectrum.T)).T
    assert _relative(single[:, -20:-2], double[:, -20:-2]) > 0.05
    assert _relative(ours, double) < 1e-5


@pytest.mark.parametrize("n_steps", [12, 3.3, -5])
def test_a_tone_has_the_pitch_and_level_that_are_asked_for(n_steps):
    clip = _tone(440.0, 2 * RATE)
    run = jax.jit(functools.partial(vocoder.pitch_shift, n_steps=n_steps))
    found = np.asarray(run(jnp.asarray(clip, jnp.float32)))
    assert found.shape == clip.shape
    assert _peak_hz(found) == pytest.approx(440 * 2 ** (n_steps / 12), rel=1e-4)
    expected = librosa.effects.pitch_shift(clip, sr=RATE, n_steps=n_steps)
    # librosa resamples by soxr; both keep what is far from the Nyquist frequency.
    assert _relative(found[4000:-4000], expected[4000:-4000]) < 1e-3


def test_a_stretched_tone_keeps_its_pitch():
    run = jax.jit(functools.partial(vocoder.time_stretch, rate=0.7))
    found = run(jnp.asarray(_tone(1000.0, 2 * RATE), jnp.float32))
    assert found.shape == (63_000,)
    assert _peak_hz(found) == pytest.approx(1000.0, rel=1e-4)


@pytest.mark.parametrize("ratio", [0.5, 2.0, 2 ** (-1 / 12), 2 ** (7 / 12), 160 / 147])
@pytest.mark.parametrize("samples", [3001, 4000])
def test_resampled_tones_are_tones_at_every_sample(ratio, samples, x64):
    length = int(samples * ratio)
    frequency = 0.05
    clip = np.cos(2 * np.pi * frequency * np.arange(samples) + 0.3)
    expected = np.cos(2 * np.pi * frequency * np.arange(length) / ratio + 0.3)
    found = np.asarray(resample(jnp.asarray(clip), ratio=ratio, length=length))
    inside = slice(length // 4, -length // 4)
    # A thousandth of a sample of drift at 0.05 turns per sample is 3e-4 of a radian.
    np.testing.assert_allclose(found[inside], expected[inside], atol=4e-4)
    np.testing.assert_allclose(found, expected, atol=0.1)


def test_resampling_leaves_no_alias():
    """Frequencies above the new half rate are gone, by more than 60 dB away from the ends."""
    clip = np.cos(2 * np.pi * 0.4 * np.arange(6000))
    found = resample(jnp.asarray(clip, jnp.float32), ratio=0.5, length=3000)
    assert np.max(np.abs(found[700:-700])) < 1e-3


@pytest.mark.parametrize("samples", [2000, 2001])
def test_resampling_is_scipys_inside(samples, rng, x64):
    """scipy takes the clip for one period; away from the ends that makes no difference."""
    taper = np.hanning(samples)
    smooth = scipy.signal.lfilter(*scipy.signal.butter(8, 0.3), rng.standard_normal(samples))
    clip = taper * smooth
    found = resample(jnp.asarray(clip), ratio=1.5, length=3 * samples // 2)
    expected = scipy.signal.resample_poly(clip, 3, 2, window=("kaiser", 14.0))
    assert _relative(found[300:-300], expected[300 : len(found) - 300]) < 0.02


@pytest.mark.quick(3)
@pytest.mark.parametrize("level", [0.0, 1e-15, 0.1])
@pytest.mark.parametrize("operation", ["stretch", "shift"])
def test_gradients_are_finite(level, operation, rng):
    def total(clip):
        if operation == "stretch":
            return jnp.sum(vocoder.time_stretch(clip, rate=0.8, **SMALL))
        return jnp.sum(vocoder.pitch_shift(clip, n_steps=3, **SMALL))

    clip = jnp.asarray(level * rng.standard_normal(1000), jnp.float32)
    value, slope = jax.jit(jax.value_and_grad(total))(clip)
    assert np.isfinite(value)
    assert np.all(np.isfinite(slope))
    assert level < 1e-12 or np.any(slope)


def test_gradient_is_that_of_finite_differences(rng, x64):
    clip, direction = (jnp.asarray(rng.standard_normal(700)) for _ in range(2))
    weights = jnp.asarray(rng.standard_normal(875))

    @jax.jit
    def total(step):
        return weights @ vocoder.time_stretch(clip + step * direction, rate=0.8, **SMALL)

    expected = (total(1e-6) - total(-1e-6)) / 2e-6
    np.testing.assert_allclose(jax.jit(jax.grad(total))(0.0), expected, rtol=1e-4)


@pytest.mark.quick(0)
def test_jitted_equals_eager_and_axes_are_kept(rng):
    clip = jnp.asarray(rng.standard_normal((2, 3, 1000)), jnp.float32)
    run = functools.partial(vocoder.pitch_shift, n_steps=-2, **SMALL)
    whole = jax.jit(run)(clip)
    assert whole.shape == clip.shape
    np.testing.assert_allclose(whole[1, 2], run(clip[1, 2]), atol=1e-4)


@pytest.mark.parametrize("rate", [0.0, -1.0, np.nan, np.inf])
def test_what_is_no_rate_is_refused(rate):
    with pytest.raises(ValueError, match="rate="):
        vocoder.time_stretch(jnp.zeros(1000), rate=rate)
    with pytest.raises(ValueError, match="rate="):
        vocoder.phase_vocoder(jnp.zeros((4, 3), jnp.complex64), rate=rate)
    with pytest.raises(ValueError, match="ratio="):
        vocoder.resample(jnp.zeros(1000), ratio=rate, length=3)


def test_lengths_and_steps_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="length=0"):
        vocoder.resample(jnp.zeros(1000), ratio=0.5, length=0)
    with pytest.raises(ValueError, match="are 500; use that length"):
        vocoder.resample(jnp.zeros(1000), ratio=0.5, length=1000)
    with pytest.raises(ValueError, match="bins_per_octave=0"):
        vocoder.pitch_shift(jnp.zeros(1000), n_steps=1, bins_per_octave=0)
