"""Cosine transforms and lifters of cepstra against scipy and their formulas."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.fft

from isincnet_jax.dsp import cepstrum


@pytest.mark.parametrize("dct_type", [1, 2, 3, 4])
@pytest.mark.parametrize("norm", ["ortho", None])
def test_cosine_transforms_are_those_of_scipy(rng, dct_type, norm):
    values = rng.standard_normal((5, 40))
    found = values @ cepstrum.dct_matrix(13, n_inputs=40, dct_type=dct_type, norm=norm).T
    wanted = scipy.fft.dct(values, type=dct_type, norm=norm)[:, :13]
    np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_type_two_is_its_formula():
    k, m = np.arange(6)[:, None], np.arange(9)
    scale = np.where(k == 0, np.sqrt(1 / 9), np.sqrt(2 / 9))
    wanted = scale * np.cos(np.pi * k * (m + 0.5) / 9)
    np.testing.assert_allclose(cepstrum.dct_matrix(6, n_inputs=9), wanted, atol=1e-14)


def test_no_lifter_changes_nothing():
    np.testing.assert_array_equal(cepstrum.cepstral_lifter(5, lifter=0), np.ones(5))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cepstrum.dct_matrix(5, n_inputs=4), "5 coefficients of 4"),
        (lambda: cepstrum.dct_matrix(2, n_inputs=4, dct_type=5), "dct_type=5"),
        (lambda: cepstrum.dct_matrix(2, n_inputs=4, norm="l2"), "norm='l2'"),
        (lambda: cepstrum.cepstral_lifter(4, lifter=-1), "lifter=-1"),
    ],
)
def test_impossible_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
