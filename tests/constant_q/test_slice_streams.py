"""Streams of sliced filterbanks: whatever the pieces are, the same as the whole signal."""

from __future__ import annotations

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import isincnet_jax as isn

RATE = 8000
LAYERS = {
    "nonuniform": isn.SlicedNonuniformBank(sample_rate=RATE, num_bins=12, layout="ragged"),
    "matrix": isn.SlicedNonuniformBank(sample_rate=RATE, num_bins=12, scale="erb"),
    "constant Q": isn.SlicedCQT(sample_rate=RATE, fmin=500.0, n_bins=10, layout="ragged"),
}


@functools.cache
def _offline(name, length, batch=()):
    layer = LAYERS[name]
    clip = np.random.default_rng(length).standard_normal((*batch, length)).astype(np.float32)
    coefficients = jax.jit(layer.encode)(clip)
    found = jax.jit(functools.partial(layer.decode, length=length))(coefficients)
    return clip, jax.tree.map(np.asarray, coefficients), np.asarray(found)


def _joined(parts):
    return jax.tree.map(lambda *arrays: np.concatenate(arrays, -3), *parts)


@settings(max_examples=3)
@given(
    name=st.sampled_from(sorted(LAYERS)),
    length=st.sampled_from([1, 400, 1000, 2 * 4 * 180]),
    cuts=st.lists(st.integers(0, 1440), max_size=6),
    batch=st.sampled_from([(), (2,)]),
)
def test_streams_are_the_whole_signal(name, length, cuts, batch):
    clip, coefficients, decoded = _offline(name, length, batch)
    encoder = isn.stream_encoder(LAYERS[name])
    decoder = isn.stream_decoder(LAYERS[name])
    listening, speaking = encoder.init(batch), decoder.init(batch, length=length)
    edges = [0, *sorted(cut for cut in cuts if cut < length), length]
    slices, samples = [], []
    for start, stop in itertools.pairwise(edges):
        listening, found = encoder.step(listening, clip[..., start:stop])
        speaking, heard = decoder.step(speaking, found)
        slices.append(found)
        samples.append(heard)
        ready = sum(part.shape[-1] for part in samples)
        assert ready >= min(stop - decoder.total_latency, length)
    slices.append(encoder.finish(listening))
    samples.append(decoder.finish(speaking, slices[-1]))
    for one, other in zip(
        jax.tree.leaves(_joined(slices)), jax.tree.leaves(coefficients), strict=True
    ):
        assert one.dtype == np.complex64
        np.testing.assert_allclose(one, other, atol=2e-6)
    found = np.concatenate(samples, -1)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, decoded, atol=2e-6)
    np.testing.assert_allclose(found, clip, atol=1e-5)


def test_latency_is_one_slice():
    layer = LAYERS["nonuniform"]
    encoder, decoder = isn.stream_encoder(layer), isn.stream_decoder(layer)
    size = layer.slice_spec.samples
    assert encoder.latency + decoder.latency == decoder.total_latency == layer.latency == size - 1
    state, slices = encoder.step(encoder.init(), np.ones(size - 1, np.float32))
    speaking, samples = decoder.step(decoder.init(), slices)
    assert samples.shape == (0,)
    _, slices = encoder.step(state, np.ones(1, np.float32))
    assert decoder.step(speaking, slices)[1].shape == (size // 2,)


def test_inner_steps_run_in_a_scan():
    layer = LAYERS["nonuniform"]
    encoder, decoder = isn.stream_encoder(layer), isn.stream_decoder(layer)
    half = layer.slice_spec.samples // 2
    clip = np.random.default_rng(1).standard_normal(4 * half).astype(np.float32)

    def step(state, block):
        latest, tail = state
        latest, coefficients = encoder.advance(latest, block)
        tail, samples = decoder.advance(tail, coefficients)
        return (latest, tail), samples

    first = encoder.init().latest, decoder.init().tail
    _, samples = jax.jit(lambda blocks: jax.lax.scan(step, first, blocks))(clip.reshape(4, half))
    np.testing.assert_allclose(samples.reshape(-1)[half:], clip[: 3 * half], atol=1e-5)


def test_an_empty_signal_has_no_slices():
    for layer in LAYERS.values():
        encoder, decoder = isn.stream_encoder(layer), isn.stream_decoder(layer)
        slices = encoder.finish(encoder.init())
        assert all(array.shape[0] == 0 for array in jax.tree.leaves(slices))
        assert decoder.finish(decoder.init(), slices).shape == (0,)
        assert decoder.finish(decoder.init()).shape == (0,)


def test_without_a_length_the_longest_signal_is_meant():
    layer = LAYERS["nonuniform"]
    clip, coefficients, _ = _offline("nonuniform", 400)
    decoder = isn.stream_decoder(layer)
    found = decoder.finish(decoder.init(), coefficients)
    assert found.shape[0] >= 400
    np.testing.assert_allclose(found[:400], clip, atol=1e-5)
    np.testing.assert_allclose(found[400:], 0, atol=1e-5)


def test_wrong_pieces_are_refused():
    layer = LAYERS["nonuniform"]
    encoder, decoder = isn.stream_encoder(layer), isn.stream_decoder(layer)
    _, coefficients, _ = _offline("nonuniform", 400)
    with pytest.raises(TypeError, match="a stream takes floating values"):
        encoder.step(encoder.init(), np.ones(10, np.int16))
    with pytest.raises(ValueError, match="this stream takes"):
        encoder.step(encoder.init(2), np.ones(10, np.float32))
    with pytest.raises(TypeError, match="phase retrieval"):
        decoder.step(decoder.init(), tuple(np.abs(array) for array in coefficients))
    with pytest.raises(ValueError, match="coefficients of shapes"):
        decoder.step(decoder.init(), coefficients[1:])
    with pytest.raises(ValueError, match=r"this stream takes \[2, slices"):
        decoder.step(decoder.init(2), coefficients)
    with pytest.raises(ValueError, match="slices, but"):
        decoder.finish(decoder.init(), coefficients, length=4000)
    with pytest.raises(ValueError, match="init was told length=400"):
        decoder.finish(decoder.init(length=400), coefficients, length=399)
    state, _ = decoder.step(decoder.init(), coefficients)
    with pytest.raises(ValueError, match="hand the last slices to finish"):
        decoder.finish(state, length=400)
    with pytest.raises(ValueError, match="batch=0"):
        encoder.init(0)
    with pytest.raises(TypeError, match="use advance"):
        jax.jit(lambda chunk: encoder.step(encoder.init(), chunk)[1])(jnp.ones(10))
