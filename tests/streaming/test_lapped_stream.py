"""Streams of lapped banks equal the offline codec, whatever the chunks, and wait as stated."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import isincnet_jax as isn
from isincnet_jax.bank.lapped_bank import LappedBank
from isincnet_jax.bank.lapped_codec import LappedCodec, build_lapped_codec
from isincnet_jax.bank.lapped_spec import LappedSpec
from isincnet_jax.streaming.stream import stream_decoder, stream_encoder

HOP = 16
KINDS = ("tiled", "zeros", "learned")
LENGTHS = (1, 7, 8, 15, 16, 17, 31, 32, 33, 47, 48, 200, 1003)
TOLERANCE = 2e-6


@functools.cache
def _codec(kind: str) -> LappedCodec:
    framing = "zeros" if kind == "zeros" else "tiled"
    spec = LappedSpec(sample_rate=8000, hop_length=HOP, framing=framing)
    codec = build_lapped_codec(LappedBank(spec, learnable=kind == "learned"))
    if kind == "learned":
        angles = jnp.linspace(-0.3, 1.2, HOP // 2)
        codec = codec.replace(variables={"params": {"angles": angles}})
    return codec


@functools.cache
def _streams(kind: str):
    return stream_encoder(_codec(kind)), stream_decoder(_codec(kind))


@functools.cache
def _clip(length: int) -> np.ndarray:
    return np.random.default_rng(length).uniform(-1, 1, (2, length)).astype(np.float32)


def _check(kind: str, length: int, cuts, *, known: bool = False) -> None:
    codec, (encoder, decoder) = _codec(kind), _streams(kind)
    clip = _clip(length)
    state = encoder.init(2)
    back = decoder.init(2, length=length if known else None)
    frames, samples = [], []
    for chunk in np.split(clip, cuts, axis=-1):
        state, some = encoder.step(state, chunk)
        back, out = decoder.step(back, some)
        frames.append(some)
        samples.append(out)
    frames.append(encoder.finish(state))
    samples.append(decoder.finish(back, frames[-1], length=None if known else length))
    whole = np.asarray(codec.encode(clip))
    np.testing.assert_allclose(np.concatenate(frames, axis=-2), whole, atol=TOLERANCE)
    decoded = np.concatenate(samples, axis=-1)
    assert decoded.dtype == np.float32
    np.testing.assert_allclose(decoded, codec.decode(whole, length=length), atol=TOLERANCE)
    np.testing.assert_allclose(decoded, clip, atol=4 * TOLERANCE)


@pytest.mark.quick(2)
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30)
@given(data=st.data(), length=st.sampled_from(LENGTHS), known=st.booleans())
def test_any_chunks_equal_the_whole(kind, data, length, known):
    cuts = sorted(data.draw(st.lists(st.integers(0, length), max_size=12)))
    _check(kind, length, cuts, known=known)


@pytest.mark.quick(1)
@pytest.mark.parametrize("length", LENGTHS[:-1])
def test_single_samples_and_empty_chunks(length):
    for kind in KINDS[:2]:
        _check(kind, length, np.repeat(np.arange(length + 1), 2))


@pytest.mark.parametrize("kind", KINDS[:2])
def test_latency_is_what_is_stated(kind):
    encoder, decoder = _streams(kind)
    state, back = encoder.init(), decoder.init()
    frames_at, samples_at = [], []
    for index, sample in enumerate(_clip(200)[0]):
        state, frames = encoder.step(state, np.array([sample]))
        back, out = decoder.step(back, frames)
        frames_at += [index] * len(frames)
        samples_at += [index] * len(out)
    waits = np.array(frames_at) - HOP * np.arange(len(frames_at))
    assert set(waits) == {encoder.latency}
    waits = np.array(samples_at) - np.arange(len(samples_at))
    assert max(waits) == decoder.total_latency == _codec(kind).spec.latency
    assert decoder.total_latency == encoder.latency + decoder.latency
    # Blocks of a hop: the first of each waits the longest, the last the least.
    assert set(waits[HOP // 2 :]) == set(range(max(waits) - HOP + 1, max(waits) + 1))


def test_inner_steps_are_for_scans():
    encoder, decoder = _streams("tiled")
    clip = _clip(1003)[0]
    blocks = clip[HOP // 2 :][: 40 * HOP].reshape(40, HOP)
    context, frames = jax.lax.scan(encoder.advance, clip[: HOP // 2], blocks)
    whole = np.asarray(_codec("tiled").encode(clip))
    np.testing.assert_allclose(frames[:, 0], whole[:40], atol=TOLERANCE)
    state, begun = decoder.step(decoder.init(), frames[0])
    _, samples = jax.lax.scan(decoder.advance, state.history, frames[1:])
    decoded = np.concatenate([begun, np.ravel(samples)])
    np.testing.assert_allclose(decoded, clip[: len(decoded)], atol=4 * TOLERANCE)
    assert context.shape == (HOP // 2,)


def test_specs_and_banks_are_streamed_too():
    spec = _codec("tiled").spec
    for source in (spec, LappedBank(spec)):
        encoder, decoder = stream_encoder(source), stream_decoder(source)
        state, frames = encoder.step(encoder.init(), _clip(200)[0])
        frames = np.concatenate([frames, encoder.finish(state)])
        np.testing.assert_array_equal(decoder.finish(decoder.init()).shape, (0,))
        decoded = decoder.finish(decoder.init(), frames, length=200)
        np.testing.assert_allclose(decoded, _clip(200)[0], atol=4 * TOLERANCE)


def test_wrong_chunks_and_lengths_are_refused():
    encoder, decoder = _streams("tiled")
    with pytest.raises(TypeError, match="scale integer samples"):
        encoder.step(encoder.init(), np.zeros(3, np.int16))
    with pytest.raises(ValueError, match=r"this stream takes \[any number, 16\]"):
        decoder.step(decoder.init(), np.zeros((3, 10), np.float32))
    with pytest.raises(ValueError, match="length=0"):
        decoder.init(length=0)
    frames = np.asarray(_codec("tiled").encode(_clip(200)[0]))
    with pytest.raises(ValueError, match="length=300 has 19 frames"):
        decoder.finish(decoder.init(), frames, length=300)
    with pytest.raises(ValueError, match="init was told length=199"):
        decoder.finish(decoder.init(length=199), frames, length=200)
    late, _ = decoder.step(decoder.init(), frames)
    with pytest.raises(ValueError, match="hand the last frames to finish"):
        decoder.finish(late, length=200)
    assert isn.LappedSpec is LappedSpec
