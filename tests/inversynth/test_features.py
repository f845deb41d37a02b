"""The log spectrogram of InverSynth against NumPy, its scale, its frames, silence, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from isincnet_jax.inversynth import features as inversynth_features

log_stft = jax.jit(inversynth_features.log_stft, static_argnames=("n_fft", "hop_length"))


def oracle(waveform, n_fft, hop):
    beyond = (n_fft - hop) // 2
    frames = -(-len(waveform) // hop)
    padded = np.zeros(frames * hop + 2 * beyond)
    padded[beyond : beyond + len(waveform)] = waveform
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    rows = [np.fft.rfft(padded[t * hop : t * hop + n_fft] * window) for t in range(frames)]
    return (np.log(np.abs(np.array(rows) * 2 / window.sum()) ** 2 + 1e-10) / 2 + 7.5) / 2.9


@pytest.mark.parametrize(
    ("length", "n_fft", "hop"), [(16_384, 512, 256), (1000, 64, 48), (5, 8, 4)]
)
def test_it_is_the_logarithm_of_numpys_spectra(rng, length, n_fft, hop):
    waveform = rng.standard_normal(length)
    found = log_stft(waveform.astype(np.float32), n_fft=n_fft, hop_length=hop)
    np.testing.assert_allclose(found, oracle(waveform, n_fft, hop), atol=2e-4)


def test_one_second_has_64_frames_of_257_bins_and_full_scale_is_0_db():
    times = np.arange(16_384) / 16_384
    sine = np.sin(2 * np.pi * 1024 * times).astype(np.float32)
    found = np.asarray(log_stft(np.stack([sine, 0.1 * sine])))
    assert found.shape == (2, 64, 257)
    # Bin 32 is 1024 Hz: magnitude 1, then 0.1.
    np.testing.assert_allclose(found[0, 1:-1, 32], 7.5 / 2.9, atol=1e-5)
    np.testing.assert_allclose(found[1, 1:-1, 32], (7.5 + np.log(0.1)) / 2.9, atol=1e-5)


def test_silence_is_the_floor_with_zero_gradients():
    silence = jnp.zeros(512, jnp.float32)
    value, slope = jax.jit(jax.value_and_grad(lambda x: jnp.mean(log_stft(x))))(silence)
    np.testing.assert_allclose(value, (np.log(1e-5) + 7.5) / 2.9, rtol=1e-6)
    np.testing.assert_array_equal(slope, np.zeros(512))


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((0,), {}, "the last axis is time"),
        ((), {}, "the last axis is time"),
        ((9,), {"n_fft": 8, "hop_length": 9}, "hop_length=9"),
        ((9,), {"n_fft": 8, "hop_length": 3}, "even or odd"),
    ],
)
def test_what_has_no_frames_is_refused(shape, options, message):
    with pytest.raises(ValueError, match=message):
        inversynth_features.log_stft(np.zeros(shape, np.float32), **options)
