"""STFT against librosa, NumPy and finite differences."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from isincnet_jax.dsp import fourier

_STATIC = ("n_fft", "hop_length", "win_length", "window")
stft = jax.jit(fourier.stft, static_argnames=_STATIC)
GEOMETRIES = [(16, 4, 16), (64, 16, 33), (31, 7, 31), (31, 31, 20), (20, 3, 1), (8, 13, 8)]


def _direct(waveform, *, n_fft, hop_length, win_length):
    """The sum of the docstring, frame by frame."""
    window = librosa.filters.get_window("hann", win_length, fftbins=True)
    window = librosa.util.pad_center(window, size=n_fft)
    mode = "reflect" if len(waveform) > 1 else "edge"
    padded = np.pad(waveform, n_fft, mode=mode)
    starts = (
        n_fft - n_fft // 2 + np.arange(1 + (len(waveform) - n_fft % 2) // hop_length) * hop_length
    )
    return np.stack([np.fft.rfft(window * padded[start : start + n_fft]) for start in starts])


@pytest.mark.parametrize(("n_fft", "hop_length", "win_length"), GEOMETRIES)
@pytest.mark.parametrize("window", ["hann", "blackman"])
def test_stft_is_librosa(n_fft, hop_length, win_length, window, rng):
    waveform = rng.standard_normal((2, 301)).astype(np.float32)
    found = stft(
        jnp.asarray(waveform),
        n_fft=n_fft,
        hop_length=hop_length,
        win_length=win_length,
        window=window,
    )
    options = {"n_fft": n_fft, "hop_length": hop_length, "win_length": win_length}
    expected = librosa.stft(
        waveform.astype(np.float64), window=window, pad_mode="reflect", **options
    )
    expected = expected.swapaxes(-1, -2)
    assert found.dtype == jnp.complex64
    assert found.shape == expected.shape
    # Sums of n_fft float32 products.
    np.testing.assert_allclose(found, expected, atol=2e-6 * n_fft)


@settings(max_examples=3)
@given(length=st.integers(1, 90), geometry=st.sampled_from(GEOMETRIES[:4]))
@example(length=1, geometry=(16, 4, 16))
@example(length=16, geometry=(31, 7, 31))
def test_stft_of_every_length(length, geometry):
    n_fft, hop_length, win_length = geometry
    options = {"n_fft": n_fft, "hop_length": hop_length, "win_length": win_length}
    waveform = np.random.default_rng(length).standard_normal(length).astype(np.float32)
    found = stft(jnp.asarray(waveform), **options)
    np.testing.assert_allclose(found, _direct(waveform, **options), atol=2e-6 * n_fft)


def test_many_overlapping_frames_are_the_same(rng):
    """More than 32-fold overlap takes another way through the framing."""
    waveform = rng.standard_normal(80).astype(np.float32)
    options = {"n_fft": 40, "hop_length": 1, "win_length": 40}
    found = stft(jnp.asarray(waveform), **options)
    np.testing.assert_allclose(found, _direct(waveform, **options), atol=1e-4)


def test_jit_and_default_window_length(rng):
    waveform = jnp.asarray(rng.standard_normal((3, 77)).astype(np.float32))
    whole = jax.jit(lambda x: stft(x, n_fft=32, hop_length=8))(waveform)
    one = fourier.stft(waveform[1], n_fft=32, hop_length=8, win_length=32)
    np.testing.assert_allclose(whole[1], one, atol=1e-5)


def test_gradient_is_the_adjoint(rng, x64):
    """<STFT x, Y> is linear in x: its gradient at any point is the adjoint of the STFT."""
    weights = rng.standard_normal((10, 9)) + 1j * rng.standard_normal((10, 9))

    def product(x):
        transform = stft(x, n_fft=16, hop_length=5)
        return jnp.sum(jnp.real(transform * weights))

    gradient = jax.jit(jax.grad(product))(jnp.zeros(47))
    direction = rng.standard_normal(47)
    np.testing.assert_allclose(gradient @ direction, product(jnp.asarray(direction)), rtol=1e-12)


def test_gradients_are_finite_on_silence():
    def total(x):
        return jnp.sum(jnp.abs(stft(x, n_fft=16, hop_length=4)))

    np.testing.assert_array_equal(jax.jit(jax.grad(total))(jnp.zeros(40)), 0.0)


@pytest.mark.parametrize("win_length", [0, 17])
def test_windows_fit_the_frame(win_length):
    with pytest.raises(ValueError, match=f"win_length={win_length} must be 1 to n_fft=16"):
        fourier.stft(jnp.zeros(40), n_fft=16, hop_length=4, win_length=win_length)


@pytest.mark.quick(3)
@pytest.mark.parametrize("power", [0.3, 0.5, 1.0, 1.5, 2.0, 3.0])
def test_powers_of_the_magnitude(power, rng):
    waveform = rng.standard_normal((2, 500)).astype(np.float32) * np.float32(1e-3)
    options = {"n_fft": 64, "hop_length": 16}

    @jax.jit
    def total(x):
        return jnp.sum(fourier.stft_power(x, power=power, **options))

    found = jax.jit(lambda x: fourier.stft_power(x, power=power, **options))(waveform)
    expected = np.abs(np.asarray(stft(jnp.asarray(waveform), **options))) ** power
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-6 * np.max(expected))
    silence = jnp.zeros((2, 500))
    assert float(total(silence)) == 0.0
    assert np.all(np.isfinite(jax.jit(jax.grad(total))(silence)))


def test_unknown_windows_and_powers_are_refused():
    with pytest.raises(ValueError, match="window='hannn' is unknown"):
        fourier.stft(jnp.zeros(40), n_fft=16, hop_length=4, window="hannn")
    with pytest.raises(ValueError, match="power=0 must be positive"):
        fourier.stft_power(jnp.zeros(40), n_fft=16, hop_length=4, power=0)
