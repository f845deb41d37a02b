"""DFTs of long real signals against NumPy's."""

from __future__ import annotations

import functools

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isincnet_jax.dsp import long_fourier

real_dft = jax.jit(long_fourier.real_dft, static_argnames="rows")
real_inverse = jax.jit(long_fourier.real_inverse, static_argnames=("length", "rows"))


def _sorted(spectrum, bins, *, length, rows):
    index, mirrored = long_fourier.bin_places(bins, length=length, rows=rows)
    values = np.asarray(spectrum)[..., index]
    return np.where(mirrored, values.conj(), values)


@settings(max_examples=12)
@given(
    rows=st.sampled_from([1, 2, 6, 8, 16]),
    columns=st.integers(1, 9),
    batch=st.sampled_from([(), (3,), (2, 2)]),
)
def test_bins_are_those_of_the_dft(rows, columns, batch):
    """Of every sign and beyond Nyquist, for odd and even numbers of columns."""
    length = rows * columns * (2 if rows == 1 else 1)
    signal = np.random.default_rng(length).standard_normal((*batch, length)).astype(np.float32)
    bins = np.arange(-length, 2 * length)
    found = _sorted(real_dft(signal, rows=rows), bins, length=length, rows=rows)
    expected = np.fft.fft(signal.astype(np.float64))[..., bins % length]
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.sqrt(length))


@settings(max_examples=12)
@given(rows=st.sampled_from([1, 2, 6, 8, 16]), columns=st.integers(1, 9))
def test_inverse_is_irfft(rows, columns):
    """Imaginary parts of the first and last bin included, which it ignores."""
    length = rows * columns * (2 if rows == 1 else 1)
    parts = np.random.default_rng(length).standard_normal((2, 3, length // 2 + 1))
    spectrum = (parts[0] + 1j * parts[1]).astype(np.complex64)
    found = real_inverse(spectrum, length=length, rows=rows)
    np.testing.assert_allclose(found, np.fft.irfft(spectrum, n=length), atol=1e-6)


@pytest.mark.parametrize("length", [65_536, 72_000, 65_610])
def test_long_signals(length, rng):
    """As a processor runs them; 65,610 has no divisor but odd ones and 2, 6, 10, 18, ..."""
    rows = long_fourier.count_rows(length)
    assert rows > 1
    assert length % rows == 0
    signal = rng.standard_normal(length).astype(np.float32)
    spectrum = real_dft(signal, rows=rows)
    found = _sorted(spectrum, np.arange(length // 2 + 1), length=length, rows=rows)
    expected = np.fft.rfft(signal.astype(np.float64))
    # A float32 FFT of that length: about 1e-7 relative.
    assert np.linalg.norm(found - expected) < 3e-7 * np.linalg.norm(expected)
    again = real_inverse(found.astype(np.complex64), length=length, rows=rows)
    assert np.linalg.norm(again - signal) < 5e-7 * np.linalg.norm(signal)


def test_short_and_prime_lengths_have_one_row():
    assert long_fourier.count_rows(4096) == 1
    assert long_fourier.count_rows(2 * 65_537) == 1


def test_double_precision(x64, rng):
    signal = rng.standard_normal(96)
    spectrum = real_dft(signal, rows=8)
    assert spectrum.dtype == np.complex128
    found = _sorted(spectrum, np.arange(49), length=96, rows=8)
    np.testing.assert_allclose(found, np.fft.rfft(signal), atol=1e-12)
    np.testing.assert_allclose(real_inverse(found, length=96, rows=8), signal, atol=1e-14)


def test_gradients_are_those_of_the_transforms_in_one_piece(x64, rng):
    signal, weights = rng.standard_normal((2, 48))

    def loss(x, rows):
        spectrum = long_fourier.real_dft(x, rows=rows)
        bins = np.arange(25)
        index, mirrored = long_fourier.bin_places(bins, length=48, rows=rows)
        values = spectrum[index]
        values = jax.numpy.where(mirrored, values.conj(), values)
        doubled = values * jax.numpy.abs(values).astype(values.dtype)
        return weights @ long_fourier.real_inverse(doubled, length=48, rows=rows)

    gradient = jax.jit(jax.grad(loss), static_argnums=1)
    np.testing.assert_allclose(gradient(signal, 6), gradient(signal, 1), rtol=1e-9)


def test_vmap_is_a_batch(rng):
    signals = rng.standard_normal((3, 64)).astype(np.float32)
    mapped = jax.vmap(functools.partial(long_fourier.real_dft, rows=8))(signals)
    np.testing.assert_allclose(mapped, real_dft(signals, rows=8), atol=1e-5)
