"""Quantizers against formulas written out in NumPy float64."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isincnet_jax import FilterbankSpec, Quantizer
from isincnet_jax.bank import quantizer

SPEC = FilterbankSpec(sample_rate=8000, hop_length=8, num_bins=9)
BITS = [2, 3, 4, 8, 10, 16]


def make(**options) -> Quantizer:
    return quantizer.make_quantizer(SPEC, **options)


def coefficients(rng, frames=50):
    return (0.3 * rng.standard_normal((2, frames, 18))).astype(np.float32)


@pytest.mark.parametrize("q_bits", range(2, 17))
def test_zero_stays_exactly_zero(q_bits):
    code = make(q_bits=q_bits)
    silence = jnp.zeros((1, 4, 18))
    codes = code.encode(silence)
    np.testing.assert_array_equal(codes, 2 ** (q_bits - 1) - 1)
    np.testing.assert_array_equal(code.decode(codes), 0.0)


@pytest.mark.parametrize("q_bits", BITS)
def test_codes_of_negated_coefficients_mirror(q_bits, rng):
    code, values = make(q_bits=q_bits, scale=1.0), coefficients(rng)
    top = 2**q_bits - 2
    np.testing.assert_array_equal(
        code.encode(jnp.asarray(-values)), top - np.asarray(code.encode(jnp.asarray(values)))
    )


@pytest.mark.parametrize("q_bits", BITS)
@pytest.mark.parametrize("mu", [30.0, 255.0])
def test_error_is_within_half_a_cell(q_bits, mu, rng):
    scale = 0.5
    code = make(q_bits=q_bits, mu=mu, scale=scale)
    values = np.clip(coefficients(rng), -scale, scale)
    decoded = np.asarray(code.decode(code.encode(jnp.asarray(values))), np.float64)
    # Half a step of the companded axis either side of the value, mapped back by the inverse law.
    half_step = 0.5 / (2 ** (q_bits - 1) - 1)
    companded = np.log1p(mu * np.abs(values / scale)) / np.log1p(mu)
    upper = np.expm1((companded + half_step) * np.log1p(mu)) / mu * scale
    lower = np.expm1(np.maximum(companded - half_step, 0) * np.log1p(mu)) / mu * scale
    # The companded axis carries a float32 rounding, a part of a step at 16 bits.
    slack = 1e-6 * np.abs(values) + 1e-7
    magnitude = np.abs(decoded)
    assert np.all(magnitude <= upper + slack)
    assert np.all(magnitude >= lower - slack)
    assert np.all((decoded * values >= 0) | (magnitude == 0))


@pytest.mark.parametrize("q_bits", BITS)
def test_reference_code_is_the_formula_of_isincnet(q_bits, rng):
    values = np.clip(coefficients(rng), -1, 1)
    code = make(q_bits=q_bits, code="reference")
    mu = 2.0**q_bits - 1
    x = values.astype(np.float64)
    level = mu * (np.sign(x) * np.log(1 + mu * np.abs(x)) / np.log(1 + mu) + 1) / 2
    found = np.asarray(code.encode(jnp.asarray(values)))
    # float32 and float64 may truncate to either side of an integer: 1e-6 of the levels.
    decided = np.abs(level - np.round(level)) > 1e-6 * mu
    assert decided.mean() > 0.8
    np.testing.assert_array_equal(found[decided], np.trunc(level[decided]).astype(int))
    y = 2.0 * found / mu - 1
    expected = np.sign(y) * ((1 + mu) ** np.abs(y) - 1) / mu
    # (1 + mu)^|y| in float32 loses log(1 + mu) ulp.
    np.testing.assert_allclose(code.decode(jnp.asarray(found)), expected, rtol=2e-5, atol=1e-6)


def test_reference_code_has_no_code_for_zero():
    code = make(q_bits=8, code="reference")
    silence = code.decode(code.encode(jnp.zeros((1, 1, 18))))
    np.testing.assert_allclose(silence, -8.6e-5, atol=1e-6)  # measured on the reference


def test_fit_uses_the_peak_of_each_clip_and_channel(rng):
    values = coefficients(rng)
    values[0, :, 3] = 0.0
    fitted = make(q_bits=8).fit(jnp.asarray(values))
    assert fitted.scale.shape == (2, 1, 18)
    peak = np.abs(values).max(axis=1, keepdims=True)
    np.testing.assert_array_equal(np.asarray(fitted.scale)[peak > 0], peak[peak > 0])
    codes = np.asarray(fitted.encode(jnp.asarray(values)))
    assert np.all(codes[0, :, 3] == 127)
    loud = np.abs(codes - 127).max(axis=1)
    assert np.all(np.delete(loud, 3, axis=1) == 127)
    np.testing.assert_array_equal(fitted.decode(jnp.asarray(codes))[0, :, 3], 0.0)


def test_fit_keeps_the_rest_of_the_code():
    fitted = make(q_bits=5, mu=12.0).fit(jnp.ones((3, 18)))
    assert (fitted.q_bits, fitted.mu, fitted.code) == (5, 12.0, "symmetric")


def test_larger_coefficients_are_clipped():
    code = make(q_bits=8, scale=0.25)
    found = code.decode(code.encode(jnp.full((1, 1, 18), 9.0)))
    np.testing.assert_allclose(found, 0.25, rtol=1e-6)


@given(q_bits=st.integers(2, 16))
def test_storage_holds_every_code(q_bits):
    dtype = make(q_bits=q_bits).storage_dtype
    assert dtype == (np.uint8 if q_bits <= 8 else np.uint16)
    assert 2**q_bits - 1 <= np.iinfo(dtype).max


def test_stored_codes_decode_as_they_are(rng):
    code, values = make(q_bits=8), jnp.asarray(coefficients(rng))
    codes = code.encode(values)
    stored = np.asarray(codes).astype(code.storage_dtype)
    np.testing.assert_array_equal(code.decode(jnp.asarray(stored)), code.decode(codes))


def test_more_bits_lose_less(rng):
    values = coefficients(rng)
    errors = []
    for q_bits in (4, 8, 12):
        code = make(q_bits=q_bits).fit(jnp.asarray(values))
        decoded = np.asarray(code.decode(code.encode(jnp.asarray(values))))
        errors.append(np.mean((decoded - values) ** 2))
    # 4 bits are 24 dB; companding costs none of the difference.
    assert errors[0] > 100 * errors[1] > 1e4 * errors[2]


def test_scales_of_a_spec_bound_what_full_scale_samples_can_cause():
    scales = quantizer.scales_from_spec(SPEC, level_db=20.0)
    largest = np.abs(SPEC.bank.kernels).sum(axis=1)
    np.testing.assert_allclose(scales, np.maximum(largest, scales.min()), rtol=1e-6)
    quiet = quantizer.scales_from_spec(SPEC, level_db=-60.0)
    assert np.all(quiet > 0)
    assert np.all(quiet <= scales)


def test_quantizer_passes_through_jit(rng):
    code, values = make(q_bits=8), jnp.asarray(coefficients(rng))
    encode = jax.jit(lambda code, values: code.encode(values))
    np.testing.assert_array_equal(encode(code, values), code.encode(values))


def test_float_codes_are_refused():
    with pytest.raises(TypeError, match=r"codes.dtype=float32: codes are integers"):
        make().decode(jnp.zeros((1, 2, 18)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"q_bits": 1}, "q_bits=1: a code has 2 to 16 bits"),
        ({"q_bits": 17}, "q_bits=17: a code has 2 to 16 bits"),
        ({"code": "huffman"}, "code='huffman' is unknown; use 'symmetric' or 'reference'"),
        ({"mu": 0.0}, "mu=0.0 must be positive"),
        ({"mu": float("nan")}, "mu=nan must be a number"),
        ({"scale": 0.0}, "every scale must be positive"),
        ({"scale": np.ones(17)}, "scale has 17 channels but the bank has 18"),
        ({"scale": 1.0, "code": "reference"}, "the reference code has no scale"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_straight_through_is_coded_forward_and_nothing_backward(rng):
    code, values = make(q_bits=4), jnp.asarray(coefficients(rng))
    # The difference that is added back rounds once more.
    np.testing.assert_allclose(
        code.straight_through(values), code.decode(code.encode(values)), rtol=1e-5, atol=1e-7
    )
    weights = jnp.asarray(coefficients(rng))
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(weights * code.straight_through(x))))(values)
    np.testing.assert_array_equal(gradient, weights)
