"""Mel cepstral distortion against librosa's mels and SciPy's cosine transform."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest
import scipy.fft
import scipy.signal

from isincnet_jax.dsp.cepstral_distances import mel_cepstral_distortion_db

RATE = 16_000
mcd = functools.partial(mel_cepstral_distortion_db, sample_rate=RATE)


@pytest.fixture
def pair(rng):
    """A clip with a falling spectrum, and the clip filtered, with noise."""
    target = 0.05 * scipy.signal.lfilter([1.0], [1.0, -0.9], rng.standard_normal(RATE // 2))
    other = scipy.signal.lfilter([1.0, 0.4], [1.0], target)
    other = other + 0.01 * rng.standard_normal(len(target))
    return other.astype(np.float32), target.astype(np.float32)


def levels(waveform):
    """Natural logarithms of 80 Slaney mels, [mels, frames], in float64."""
    spectrum = librosa.stft(
        waveform.astype(np.float64), n_fft=1024, hop_length=256, pad_mode="reflect"
    )
    mel = librosa.filters.mel(sr=RATE, n_fft=1024, n_mels=80, dtype=np.float64) @ np.abs(spectrum)
    return np.log(np.maximum(mel, 1e-5))


def test_it_is_the_formula(pair):
    cepstra = [scipy.fft.dct(levels(one), type=2, axis=0) / 80 for one in pair]
    squares = np.sum((cepstra[0] - cepstra[1])[1:14] ** 2, axis=0)
    wanted = np.mean(10 / np.log(10) * np.sqrt(2 * squares))
    assert float(mcd(prediction=pair[0], target=pair[1])) == pytest.approx(wanted, rel=1e-4)


def test_all_coefficients_are_the_difference_of_the_levels(pair):
    """Parseval: what is left out by 13 coefficients is detail, and the 0th is the mean level."""
    difference = 20 / np.log(10) * (levels(pair[0]) - levels(pair[1]))
    difference -= np.mean(difference, axis=0)
    wanted = np.mean(np.sqrt(np.mean(difference**2, axis=0)))
    found = mcd(prediction=pair[0], target=pair[1], num_coefficients=79)
    assert float(found) == pytest.approx(wanted, rel=1e-4)
    assert mcd(prediction=pair[0], target=pair[1]) < found


def test_what_stands_behind_a_clip_does_not_count(pair):
    prediction, target = (np.stack([one, np.where(np.arange(8000) < 5000, one, 0)]) for one in pair)
    lengths = np.array([8000, 5000])
    whole = mcd(prediction=prediction, target=target)
    found = mcd(prediction=prediction, target=target, lengths=lengths)
    assert found.shape == (2,)
    assert float(found[0]) == pytest.approx(float(whole[0]), rel=1e-6)
    # Frames of silence in both clips are equal: they only lower the mean, by their number.
    assert float(found[1]) > 1.3 * float(whole[1])
    prediction[1, 7000:] = 1.0
    again = mcd(prediction=prediction, target=target, lengths=lengths)
    np.testing.assert_array_equal(again, found)


@pytest.mark.parametrize("level", [0.0, 0.1])
def test_gradients_are_finite_on_silence_and_equality(level, rng):
    target = np.asarray(level * rng.standard_normal(4000), np.float32)
    for shift in (0.0, 1e-3):
        prediction = jnp.asarray(target + np.float32(shift))
        found, slope = jax.jit(jax.value_and_grad(lambda x: mcd(prediction=x, target=target)))(
            prediction
        )
        assert np.isfinite(found)
        assert np.all(np.isfinite(slope))
        assert (float(found) == 0.0) == (shift == 0.0)


def test_too_many_coefficients_are_refused(pair):
    with pytest.raises(ValueError, match="81 coefficients of 80 values: use 1 to 80"):
        mcd(prediction=pair[0], target=pair[1], num_coefficients=80)
