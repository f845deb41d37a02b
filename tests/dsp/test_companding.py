"""Mu-law codes against closed forms written out in NumPy float64."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isincnet_jax.dsp import companding

VALUES = np.concatenate([[-1.0, -1e-7, 0.0, 1e-7, 1.0], np.linspace(-1.2, 1.2, 401)])


@pytest.mark.parametrize("mu", [1.0, 30.0, 255.0, 65_535.0])
def test_mu_law_is_its_formula(mu):
    found = companding.mu_law(jnp.asarray(VALUES, jnp.float32), mu=mu)
    x = VALUES.astype(np.float32).astype(np.float64)
    expected = np.sign(x) * np.log(1 + mu * np.abs(x)) / np.log(1 + mu)
    # A few float32 roundings.
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("mu", [1.0, 30.0, 255.0, 65_535.0])
@given(value=st.floats(-1.0, 1.0, width=32))
def test_mu_law_inverse_returns_the_value(mu, value):
    y = companding.mu_law(jnp.float32(value), mu=mu)
    # One ulp of y grows by log(1 + mu) <= 11.1, relative to 1/mu + |x|.
    allowed = 4e-6 * (abs(value) + 1.0 / mu)
    assert float(companding.mu_law_inverse(y, mu=mu)) == pytest.approx(value, abs=allowed)


def test_mu_law_is_odd_and_maps_the_ends_onto_themselves():
    values = jnp.asarray(VALUES, jnp.float32)
    np.testing.assert_array_equal(
        companding.mu_law(-values, mu=255.0), -companding.mu_law(values, mu=255.0)
    )
    assert float(companding.mu_law(jnp.float32(1.0), mu=255.0)) == pytest.approx(1.0, abs=1e-7)


@pytest.mark.parametrize("mu", [30.0, 255.0])
def test_slope_away_from_zero_is_that_of_the_formula(mu):
    slope = jax.grad(lambda x: companding.mu_law(x, mu=mu))
    for value in (0.7, -0.01):
        expected = mu / np.log1p(mu) / (1 + mu * abs(value))
        assert float(slope(jnp.float32(value))) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("function", [companding.mu_law, companding.mu_law_inverse])
def test_gradients_are_finite_on_silence(function):
    slope = jax.jit(jax.grad(lambda x: jnp.sum(function(x, mu=255.0))))(jnp.zeros(4))
    assert np.all(np.isfinite(slope))


@pytest.mark.parametrize("q_bits", [2, 8, 16])
def test_codes_are_non_negative_and_fit_their_bits(q_bits):
    values = jnp.asarray(VALUES, jnp.float32)
    for codes, top in (
        (companding.encode_reference(values, q_bits=q_bits), 2**q_bits - 1),
        (companding.encode_symmetric(values, q_bits=q_bits, mu=30.0), 2**q_bits - 2),
    ):
        assert codes.dtype == jnp.int32
        assert int(codes.min()) == 0
        assert int(codes.max()) == top


@pytest.mark.quick(2)
@pytest.mark.parametrize("q_bits", [2, 5, 8, 12])
def test_every_code_is_its_own_fixed_point(q_bits):
    symmetric = jnp.arange(2**q_bits - 1, dtype=jnp.int32)
    decoded = companding.decode_symmetric(symmetric, q_bits=q_bits, mu=30.0)
    np.testing.assert_array_equal(
        companding.encode_symmetric(decoded, q_bits=q_bits, mu=30.0), symmetric
    )


@pytest.mark.parametrize("q_bits", [1, 17, 8.0, True, "8"])
def test_impossible_bits_are_refused(q_bits):
    with pytest.raises(ValueError, match="a code has 2 to 16 bits"):
        companding.check_q_bits(q_bits)


def test_decoded_dtype_is_the_one_asked_for(x64):
    codes = jnp.arange(5, dtype=jnp.int32)
    found = companding.decode_symmetric(codes, q_bits=8, mu=30.0, dtype=jnp.float64)
    assert found.dtype == jnp.float64
    assert companding.decode_reference(codes, q_bits=8, dtype=jnp.float64).dtype == jnp.float64
