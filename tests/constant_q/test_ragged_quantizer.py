"""Codes of ragged coefficients: their error, their shapes, what is refused."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from isincnet_jax.constant_q.dsp.nonuniform_spec import NonuniformSpec
from isincnet_jax.constant_q.nonuniform_codec import build_nonuniform_codec

CODEC = build_nonuniform_codec(
    NonuniformSpec(sample_rate=8000, num_bins=20, window="cosine", normalization="energy")
)


@pytest.fixture
def waveform(rng):
    return 0.1 * rng.standard_normal((2, 1000)).astype(np.float32)


def test_the_error_of_a_step_is_that_of_rounding(waveform):
    coefficients = CODEC.encode(waveform)
    quantizer = CODEC.quantizer(step=0.01)
    codes = quantizer.encode(coefficients)
    for code, array, (frames, bins) in zip(
        codes, coefficients, CODEC.array_shapes(1000), strict=True
    ):
        assert code.shape == (2, frames, 2 * bins)
        assert code.dtype == np.int32
        # An independent rounding, of the parts of the complex numbers in their memory.
        parts = np.asarray(array).view(np.float32).astype(np.float64)
        np.testing.assert_array_less(np.abs(parts / np.float32(0.01) - np.asarray(code)), 0.5001)
    again = CODEC.decode(quantizer.decode(codes), length=1000)
    # Of a tight frame, noise of variance step^2 / 12 keeps at most its energy: redundancy > 1.
    error = np.sqrt(np.mean(np.square(np.asarray(again) - waveform)))
    assert 0.3 * 0.01 / 12**0.5 < error < 0.01 * (CODEC.redundancy() / 12) ** 0.5


@pytest.mark.parametrize("q_bits", [4, 8])
def test_peaks_are_the_ends_of_the_scale(waveform, q_bits):
    coefficients = CODEC.encode(waveform)
    codes = CODEC.quantizer(coefficients, q_bits=q_bits).encode(coefficients)
    top = 2**q_bits - 2
    for code in codes:
        assert 0 <= int(code.min()) <= int(code.max()) <= top
        ends = np.logical_or(np.asarray(code) == 0, np.asarray(code) == top).any(axis=-2)
        loud = np.ptp(np.asarray(code), axis=-2) > 0
        assert ends[loud].all()


def test_a_quantizer_is_a_pytree(waveform):
    coefficients = CODEC.encode(waveform)
    quantizer = CODEC.quantizer(coefficients, q_bits=6)
    jitted = jax.jit(lambda quantizer, arrays: quantizer.decode(quantizer.encode(arrays)))
    for one, other in zip(
        jitted(quantizer, coefficients),
        quantizer.decode(quantizer.encode(coefficients)),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_what_does_not_go_is_refused(waveform):
    coefficients = CODEC.encode(waveform)
    with pytest.raises(ValueError, match="give one of them"):
        CODEC.quantizer()
    with pytest.raises(ValueError, match="give one of them"):
        CODEC.quantizer(coefficients, step=0.1, q_bits=8)
    with pytest.raises(ValueError, match="need none"):
        CODEC.quantizer(coefficients, step=0.1)
    with pytest.raises(ValueError, match="peaks are scales"):
        CODEC.quantizer(q_bits=8)
    with pytest.raises(ValueError, match=r"positive|between"):
        CODEC.quantizer(step=0.0)
    quantizer = CODEC.quantizer(step=0.1)
    with pytest.raises(ValueError, match="the bank has"):
        quantizer.encode(coefficients[1:])
    with pytest.raises(TypeError, match="complex"):
        quantizer.encode([array.real for array in coefficients])
