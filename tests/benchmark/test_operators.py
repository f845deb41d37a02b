"""Our own banks under phase retrieval."""

from __future__ import annotations

import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import isincnet_jax as isn
from isincnet_jax.benchmark.operators import bank_operators
from isincnet_jax.phase import retrieval

LENGTH = 1500


@pytest.fixture(scope="module")
def codec():
    spec = isn.FilterbankSpec(sample_rate=8000, hop_length=16, num_bins=40, component="complex")
    return isn.build_codec(isn.SincNet(spec))


@pytest.fixture(scope="module")
def waveform():
    time = np.arange(LENGTH) / 8000
    cycles = 150 * time + 200 * time**2
    tones = sum(np.sin(2 * np.pi * k * cycles + k * k) / k for k in range(1, 10))
    return jnp.asarray(0.2 * tones * np.hanning(LENGTH), jnp.float32)


def test_bins_are_the_channels_and_the_inverse_is_exact(codec, waveform):
    operators = bank_operators(codec, length=LENGTH)
    coefficients = operators.analyse(waveform)
    channels = np.asarray(codec.encode(waveform))
    bins = codec.spec.num_bins
    np.testing.assert_array_equal(np.real(coefficients), channels[:, :bins])
    np.testing.assert_array_equal(np.imag(coefficients), channels[:, bins:])
    np.testing.assert_allclose(operators.synthesise(coefficients), waveform, atol=1e-5)


def test_phase_retrieval_keeps_the_magnitudes_of_a_bank(codec, waveform):
    operators = bank_operators(codec, length=LENGTH)
    magnitude = jnp.abs(operators.analyse(waveform))
    options = {**operators._asdict(), "key": jax.random.key(0)}

    def error_db(found):
        missed = jnp.linalg.norm(jnp.abs(operators.analyse(found)) - magnitude)
        return float(20 * jnp.log10(missed / jnp.linalg.norm(magnitude)))

    start = error_db(retrieval.griffin_lim(magnitude, num_iterations=0, **options))
    plain = error_db(retrieval.griffin_lim(magnitude, num_iterations=40, **options))
    fast = error_db(retrieval.griffin_lim(magnitude, num_iterations=40, momentum=0.99, **options))
    admm = error_db(retrieval.admm(magnitude, num_iterations=40, **options))
    assert plain < start - 3
    assert fast < plain
    assert admm < plain


def test_batches_and_other_parameters_share_a_compilation(codec, waveform):
    operators = bank_operators(codec, length=LENGTH)
    again = bank_operators(jax.tree.map(lambda leaf: leaf, codec), length=LENGTH)
    assert jax.tree.structure(operators) == jax.tree.structure(again)
    pair = jnp.stack([waveform, waveform[::-1]])
    magnitude = jnp.abs(operators.analyse(pair))
    whole = retrieval.admm(magnitude, **again._asdict(), num_iterations=2)
    for clip in range(2):
        one = retrieval.admm(magnitude[clip], **operators._asdict(), num_iterations=2)
        np.testing.assert_allclose(whole[clip], one, atol=1e-4)


def test_anything_like_a_codec_will_do(codec, waveform):
    class Wrapped:
        spec = codec.spec

        def encode(self, samples, /):
            return codec.encode(samples)

        def decode(self, spectrogram, /, *, length):
            return codec.decode(spectrogram, length=length)

    magnitude = jnp.abs(bank_operators(codec, length=LENGTH).analyse(waveform))
    results = [
        retrieval.griffin_lim(
            magnitude, **bank_operators(one, length=LENGTH)._asdict(), num_iterations=2
        )
        for one in (codec, Wrapped())
    ]
    np.testing.assert_allclose(results[0], results[1], atol=1e-5)


def test_real_banks_have_no_phase():
    spec = isn.FilterbankSpec(sample_rate=8000, hop_length=8, num_bins=17, component="real")
    codec: Any = types.SimpleNamespace(spec=spec)
    with pytest.raises(ValueError, match="component='real': phase retrieval needs complex bins"):
        bank_operators(codec, length=100)
