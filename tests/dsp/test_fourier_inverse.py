"""Inverse STFT against librosa, overlap-add against a loop, least squares against dense algebra."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from isincnet_jax.dsp import fourier, overlap

_STATIC = ("n_fft", "hop_length", "win_length", "window", "length")
stft = jax.jit(fourier.stft, static_argnames=_STATIC[:-1])
istft = jax.jit(fourier.istft, static_argnames=_STATIC)

# The third hop does not divide its frame, the fourth overlaps more than 32-fold.
GEOMETRIES = [(64, 16, 64), (64, 16, 33), (64, 12, 64), (80, 2, 80), (31, 7, 31), (16, 8, 16)]


def _options(geometry):
    return dict(zip(("n_fft", "hop_length", "win_length"), geometry, strict=True))


def _noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _snr_db(wanted, found):
    error = np.asarray(found, np.float64) - wanted
    return 10 * np.log10(np.sum(wanted.astype(np.float64) ** 2) / np.sum(error**2))


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("window", ["hann", "blackman"])
def test_inverse_of_any_spectrum_is_that_of_librosa(geometry, window, rng, x64):
    options = _options(geometry)
    bins = 1 + options["n_fft"] // 2
    spectrum = rng.standard_normal((2, 20, bins)) + 1j * rng.standard_normal((2, 20, bins))
    length = 19 * options["hop_length"] + 3
    expected = librosa.istft(spectrum.swapaxes(-1, -2), window=window, length=length, **options)
    found = istft(jnp.asarray(spectrum), window=window, length=length, **options)
    assert found.shape == (2, length)
    # Where only the skirt of a window reaches, both divide by very little.
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-8)


@pytest.mark.quick(6)
@pytest.mark.parametrize("geometry", GEOMETRIES[:4])
@pytest.mark.parametrize("length", [301, 320, 65])
def test_inverse_is_exact_to_125_db_edges_included(geometry, length):
    options = _options(geometry)
    waveform = _noise(3, length)

    @jax.jit
    def there_and_back(x):
        return istft(stft(x, **options), length=length, **options)

    found = there_and_back(jnp.asarray(waveform))
    assert found.dtype == jnp.float32
    assert _snr_db(waveform, found) > 125
    edges = np.r_[: options["n_fft"] // 2, length - options["n_fft"] // 2 : length]
    assert _snr_db(waveform[:, edges], found[:, edges]) > 125


def test_exact_on_a_frame_of_speech_size():
    waveform = _noise(22_050)
    options = {"n_fft": 1024, "hop_length": 256}
    spectrum = stft(jnp.asarray(waveform), **options)
    assert _snr_db(waveform, istft(spectrum, length=22_050, **options)) > 125


def test_inverse_is_the_least_squares_solution(rng, x64):
    """Dense algebra: the signal whose zero-padded frames are nearest, beyond the edges."""
    n_fft, hop_length, num_frames = 16, 5, 9
    size = (num_frames - 1) * hop_length + n_fft
    taper = fourier.stft_window("hann", n_fft, n_fft)
    rows = []
    for frame in range(num_frames):
        block = np.zeros((n_fft, size))
        block[:, frame * hop_length : frame * hop_length + n_fft] = np.diag(taper)
        rows.append(block)
    # Bins between the first and the last stand for two of the full transform.
    weights = np.full(1 + n_fft // 2, 2.0)
    weights[[0, -1]] = 1.0
    dense = np.concatenate([np.fft.rfft(block, axis=0) for block in rows])
    scale = np.sqrt(np.tile(weights, num_frames))[:, None]
    spectrum = rng.standard_normal((num_frames, 9)) + 1j * rng.standard_normal((num_frames, 9))
    spectrum[:, [0, -1]] = spectrum[:, [0, -1]].real
    matrix = np.concatenate([(scale * dense).real, (scale * dense).imag])
    wanted = scale * spectrum.reshape(-1, 1)
    wanted = np.concatenate([wanted.real, wanted.imag])[:, 0]
    expected = np.linalg.lstsq(matrix, wanted, rcond=None)[0][n_fft // 2 :]
    length = size - n_fft
    found = istft(jnp.asarray(spectrum), n_fft=n_fft, hop_length=hop_length, length=length)
    np.testing.assert_allclose(found, expected[:length], atol=1e-10)


@settings(max_examples=8)
@given(
    taps=st.integers(1, 50),
    hop_length=st.integers(1, 60),
    num_frames=st.integers(1, 7),
    batch=st.sampled_from([(), (2,), (2, 1)]),
)
@example(taps=12, hop_length=12, num_frames=3, batch=())
@example(taps=13, hop_length=12, num_frames=3, batch=(2,))
@example(taps=11, hop_length=12, num_frames=1, batch=(2, 1))
@example(taps=1, hop_length=1, num_frames=1, batch=())
def test_overlap_add_is_the_direct_sum(taps, hop_length, num_frames, batch):
    frames = _noise(*batch, num_frames, taps, seed=taps)
    steps = -(-taps // hop_length)
    expected = np.zeros((*batch, (num_frames - 1 + steps) * hop_length))
    for index in range(num_frames):
        expected[..., index * hop_length : index * hop_length + taps] += frames[..., index, :]
    found = jax.jit(functools.partial(overlap.overlap_add, hop_length=hop_length))(frames)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-5)  # float32 sums of at most 7 values


def test_samples_beyond_the_last_frame_are_zero_as_in_librosa(rng):
    options = {"n_fft": 16, "hop_length": 4}
    spectrum = (rng.standard_normal((5, 9)) + 0j).astype(np.complex64)
    expected = librosa.istft(spectrum.T, length=60, **options)
    found = istft(jnp.asarray(spectrum), length=60, **options)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(found[25:], 0.0)


@pytest.mark.parametrize("hop_length", [4, 1])
def test_gradient_is_the_adjoint_also_on_silence(hop_length, rng, x64):
    weights = rng.standard_normal(37)
    options = {"n_fft": 40, "hop_length": hop_length, "length": 37}
    frames = 1 + 37 // hop_length

    def product(real):
        return jnp.sum(istft(real.astype(jnp.complex128), **options) * weights)

    gradient = jax.jit(jax.grad(product))(jnp.zeros((frames, 21)))
    direction = rng.standard_normal((frames, 21))
    expected = product(jnp.asarray(direction))
    np.testing.assert_allclose(np.sum(gradient * direction), expected, rtol=1e-10)


def test_wrong_geometry_is_named():
    spectrum = jnp.zeros((4, 9), jnp.complex64)
    with pytest.raises(ValueError, match="win_length=17 must be 1 to n_fft=16"):
        fourier.istft(spectrum, n_fft=16, hop_length=4, win_length=17, length=12)
    with pytest.raises(ValueError, match="9 bins: n_fft=18 has 10"):
        fourier.istft(spectrum, n_fft=18, hop_length=4, length=12)
