"""Decoding what a first decoding lacks: gains, gradients, quantised coefficients, errors."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import isincnet_jax as isn

LENGTH = 1500
GEOMETRY = {"sample_rate": 8000, "hop_length": 16, "shape": "none"}
BANKS = {
    "mel": {"scale": "mel", "num_bins": 48},
    "causal": {"causal": True, "component": "real", "num_bins": 24, "kernel_size": 65},
    "reflect": {"scale": "mel", "num_bins": 48, "padding": "reflect"},
}


@functools.cache
def _codec(name: str, decoder: isn.DecoderSpec | None = None) -> isn.Codec:
    spec = isn.FilterbankSpec(**GEOMETRY, **BANKS[name])
    return isn.build_codec(isn.SincNet(spec, decoder or isn.DecoderSpec()))


@pytest.fixture
def waveform(rng):
    return rng.standard_normal((2, LENGTH)).astype(np.float32)


def snr_db(target: np.ndarray, prediction: object) -> float:
    error = np.asarray(prediction, np.float64) - target
    return float(10 * np.log10(np.sum(target.astype(np.float64) ** 2) / np.sum(error**2)))


@pytest.mark.parametrize("name", BANKS)
def test_a_refinement_takes_back_rounding(name, waveform):
    codec = _codec(name)
    spectrogram = codec.encode(waveform)
    before, after = (
        snr_db(waveform, codec.decode(spectrogram, length=LENGTH, refinements=count))
        for count in (0, 1)
    )
    assert after > before + 0.5
    assert before > 120


def test_it_is_decoder_and_bank_once_more(waveform):
    codec = _codec("mel")
    spectrogram = np.asarray(codec.encode(waveform)) + np.float32(0.1)
    first = codec.decode(spectrogram, length=LENGTH)
    lacking = spectrogram - np.asarray(codec.encode(first))
    second = first + codec.decode(lacking, length=LENGTH)
    found = codec.decode(spectrogram, length=LENGTH, refinements=1)
    np.testing.assert_allclose(np.asarray(found), np.asarray(second), atol=2e-5)
    whole = codec.decode(spectrogram, refinements=1)  # without a length, too
    assert whole.shape[-1] == codec.decode(spectrogram).shape[-1]


def test_quantised_coefficients_decode_as_before(waveform):
    codec = _codec("mel")
    spectrogram = codec.encode(waveform)
    quantizer = codec.quantizer(q_bits=6).fit(spectrogram)
    coarse = quantizer.decode(quantizer.encode(spectrogram))
    before, after = (codec.decode(coarse, length=LENGTH, refinements=n) for n in (0, 1))
    np.testing.assert_allclose(np.asarray(after), np.asarray(before), atol=1e-4)
    assert snr_db(waveform, before) < 60


def test_a_wiener_decoder_comes_nearer_to_its_coefficients(waveform):
    codec = _codec("mel", isn.DecoderSpec("wiener", noise_variance=1e-2))
    spectrogram = codec.encode(waveform)
    found = [
        snr_db(waveform, codec.decode(spectrogram, length=LENGTH, refinements=n)) for n in (0, 1, 2)
    ]
    assert found[0] + 1 < found[1]
    assert found[1] + 1 < found[2]


def test_gradients_under_jit():
    codec = _codec("mel")
    spectrogram = jnp.zeros((1, codec.num_frames(64), 96))

    @jax.jit
    def loss(spectrogram):
        decoded = codec.decode(spectrogram, length=64, refinements=1)
        return jnp.sum((decoded - 1.0) ** 2)

    found = np.asarray(jax.grad(loss)(spectrogram))
    # An exact decoder's refinement adds nothing, and nothing to the gradient.
    plain = jax.grad(lambda s: jnp.sum((codec.decode(s, length=64) - 1.0) ** 2))(spectrogram)
    np.testing.assert_allclose(found, np.asarray(plain), atol=1e-3 * np.max(np.abs(plain)))


@pytest.mark.parametrize("refinements", [-1, 1.0, True, None])
def test_nonsense_is_refused(refinements):
    codec = _codec("mel")
    spectrogram = np.zeros((1, codec.num_frames(64), 96), np.float32)
    with pytest.raises(ValueError, match="must be an integer"):
        codec.decode(spectrogram, length=64, refinements=refinements)
    found = codec.decode(spectrogram, length=64, refinements=np.int64(1))
    np.testing.assert_array_equal(found, np.zeros((1, 64)))
