"""Predicted rounding errors beside float32 arithmetic in NumPy, addition by addition."""

from __future__ import annotations

import numpy as np
import pytest

from isincnet_jax.bank.dsp import decoders, rounding


def test_error_of_sums_is_that_of_float32_addition_by_addition(rng):
    products = rng.standard_normal((400, 96, 3)) * np.linspace(0.1, 3.0, 96)[:, None]
    total = np.zeros((400, 3), np.float32)
    rounded = products.astype(np.float32)
    for term in range(96):
        total = total + rounded[:, term]
    error = np.mean((total - np.sum(rounded.astype(np.float64), axis=1)) ** 2, axis=0)
    predicted = rounding.sum_variance(products, panel=96)
    # The constant is that of matrix products, which round a product and its addition at once.
    np.testing.assert_allclose(10 * np.log10(predicted / error), 0.0, atol=2.5)


def test_panels_are_added_up_apart(rng):
    products = rng.standard_normal((400, 96, 2))
    panels = products.astype(np.float32).reshape(400, 6, 16, 2)
    total = np.zeros((400, 2), np.float32)
    for panel in range(6):
        part = np.zeros((400, 2), np.float32)
        for term in range(16):
            part = part + panels[:, panel, term]
        total = total + part
    error = np.mean((total - np.sum(panels.astype(np.float64), axis=(1, 2))) ** 2, axis=0)
    predicted = rounding.sum_variance(products, panel=16)
    np.testing.assert_allclose(10 * np.log10(predicted / error), 0.0, atol=2.5)
    assert np.all(predicted < rounding.sum_variance(products))


def test_taps_that_are_zero_in_all_kernels_are_not_added(rng):
    kernels = rng.standard_normal((3, 8))
    padded = np.pad(kernels, ((0, 0), (5, 9)))
    np.testing.assert_allclose(
        rounding.coefficient_variance(padded), rounding.coefficient_variance(kernels), rtol=1e-12
    )
    scaled = rounding.coefficient_variance(3.0 * kernels)
    np.testing.assert_allclose(scaled, 9.0 * rounding.coefficient_variance(kernels), rtol=1e-12)


@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_noise_gain_and_residual_both_count(rng, scale):
    kernels = rng.standard_normal((12, 9))
    solved = decoders.least_squares_decoder(kernels, hop_length=4, num_frames=6)
    error = rounding.round_trip_error(kernels, solved, hop_length=4)
    assert 0 < error < 1e-5
    # Scaling the bank and its decoder changes nothing.
    other = solved._replace(kernels=solved.kernels / scale)
    again = rounding.round_trip_error(scale * kernels, other, hop_length=4)
    # A rounding to float32 is another after scaling by what is no power of 2.
    assert again == pytest.approx(error, rel=0.2)
    spoilt = solved._replace(kernels=solved.kernels * (1.0 + 1e-3))
    assert rounding.round_trip_error(kernels, spoilt, hop_length=4) == pytest.approx(1e-3, rel=1e-3)


def test_decibels():
    assert rounding.decibels(1e-6) == pytest.approx(120.0)
    assert rounding.decibels(0.0) == pytest.approx(320.0)
