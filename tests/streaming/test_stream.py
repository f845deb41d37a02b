"""Streams equal the offline codec, whatever the chunks, and wait no longer than their filters."""

from __future__ import annotations

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

import isincnet_jax as isn
from isincnet_jax.bank import solve as decoding
from isincnet_jax.dsp import streams
from isincnet_jax.streaming import framing as arithmetic
from isincnet_jax.streaming.low_latency import low_latency_codec
from isincnet_jax.streaming.stream import NEGLIGIBLE, stream_decoder, stream_encoder

GEOMETRY = {"sample_rate": 8000, "hop_length": 16, "num_bins": 17, "shape": "none"}
KINDS = {
    "uniform": {},
    "causal complex": {"causal": True},
    "causal real": {"component": "real", "causal": True, "num_bins": 24},
    "even kernels, mel": {"kernel_size": 64, "num_bins": 48, "scale": "mel_slaney"},
    "reflect": {"padding": "reflect"},
    "low latency": {"causal": True},
}
LENGTHS = (1, 33, 400, 1003)
# Coefficients and samples are at most 1, sums of a few hundred terms run in another order.
TOLERANCE = 2e-6


@functools.cache
def _codec(kind: str) -> isn.Codec:
    spec = isn.FilterbankSpec(**{**GEOMETRY, **KINDS[kind]})
    if kind == "low latency":
        return low_latency_codec(spec)
    # A learnable decoder has no solved edges, which a stream cannot have with reflection.
    return isn.build_codec(isn.SincNet(spec, learnable_decoder=kind == "reflect"))


@functools.cache
def _streams(kind: str):
    return stream_encoder(_codec(kind)), stream_decoder(_codec(kind))


@functools.cache
def _clip(length: int) -> np.ndarray:
    return np.random.default_rng(length).uniform(-1, 1, (2, length)).astype(np.float32)


@functools.cache
def _offline(kind: str, length: int) -> tuple[np.ndarray, np.ndarray]:
    spectrogram = _codec(kind).encode(_clip(length))
    return np.asarray(spectrogram), np.asarray(_codec(kind).decode(spectrogram, length=length))


def _run(kind: str, waveform: np.ndarray, cuts) -> tuple[np.ndarray, np.ndarray]:
    """Encodes and decodes in chunks that end at ``cuts``."""
    encoder, decoder = _streams(kind)
    state, back = encoder.init(waveform.shape[:-1]), decoder.init(waveform.shape[:-1])
    frames, samples = [], []
    for chunk in np.split(waveform, cuts, axis=-1):
        state, some = encoder.step(state, chunk)
        back, out = decoder.step(back, some)
        frames.append(some)
        samples.append(out)
    frames.append(encoder.finish(state))
    samples.append(decoder.finish(back, frames[-1], length=waveform.shape[-1]))
    return np.concatenate(frames, axis=-2), np.concatenate(samples, axis=-1)


def _check(kind: str, length: int, cuts) -> None:
    spectrogram, decoded = _offline(kind, length)
    frames, samples = _run(kind, _clip(length), cuts)
    assert frames.dtype == samples.dtype == np.float32
    assert frames.shape == spectrogram.shape
    assert samples.shape == decoded.shape
    np.testing.assert_allclose(frames, spectrogram, atol=TOLERANCE)
    np.testing.assert_allclose(samples, decoded, atol=TOLERANCE)


@pytest.mark.quick(2)
@pytest.mark.parametrize("kind", ["uniform", "reflect", "low latency"])
@settings(max_examples=10)
@given(data=st.data(), length=st.sampled_from(LENGTHS))
def test_any_chunks_equal_the_whole(kind, data, length):
    _check(kind, length, sorted(data.draw(st.lists(st.integers(0, length), max_size=12))))


@pytest.mark.quick(0)
@pytest.mark.parametrize("kind", KINDS)
def test_two_hundred_random_chunkings_equal_the_whole(kind):
    generator = np.random.default_rng(9)
    for number in range(200):
        length = LENGTHS[number % len(LENGTHS)]
        cuts = generator.integers(0, length + 1, generator.integers(0, 60))
        _check(kind, length, np.sort(cuts))


@pytest.mark.parametrize("kind", ["causal real", "even kernels, mel"])
def test_single_samples_and_empty_chunks(kind):
    cuts = np.repeat(np.arange(33 + 1), 2)
    _check(kind, 33, cuts)


def _first_time_out(kind: str, length: int) -> np.ndarray:
    """How many samples had gone in when each sample came out, fed one by one."""
    encoder, decoder = _streams(kind)
    state, back = encoder.init(), decoder.init()
    seen = []
    for index, sample in enumerate(_clip(length)[0]):
        state, frames = encoder.step(state, np.array([sample]))
        back, out = decoder.step(back, frames)
        seen += [index] * len(out)
    return np.array(seen)


@pytest.mark.parametrize("kind", KINDS)
def test_latency_is_what_is_stated(kind):
    encoder, decoder = _streams(kind)
    delays = _first_time_out(kind, 400)
    delays = delays - np.arange(len(delays))
    assert np.max(delays) == decoder.total_latency
    hop, steady = encoder.spec.hop_length, delays[100:]
    # Blocks of a hop: the first of each waits the longest, the last the least.
    assert set(steady) == set(range(max(steady) - hop + 1, max(steady) + 1))
    assert min(delays) >= 0


@pytest.mark.parametrize("kind", KINDS)
def test_latency_is_minimal(kind):
    """The newest sample matters to the frame, the newest frame to the oldest sample it settles."""
    encoder, decoder = _streams(kind)
    hop, codec = encoder.spec.hop_length, _codec(kind)
    trail = encoder.spec.bank.trail
    frame, length = 20, 600
    impulse = np.zeros(length, np.float32)
    impulse[frame * hop + trail] = 1.0
    first = encoder.spec.bank.frame_grid(length).first
    assert np.any(np.abs(np.asarray(codec.encode(impulse))[frame - first]) > 1e-7)
    solved = decoding.design_decoder(codec.spec, codec.model.decoder)
    assert decoder.latency <= solved.lead
    spectrogram = np.zeros((codec.spec.bank.frame_grid(length).num_frames, 1), np.float32)
    spectrogram[frame - first] = 1.0
    every = np.eye(codec.spec.num_channels, dtype=np.float32)[:, None] * spectrogram
    spread = np.linalg.norm(np.asarray(codec.decode(every, length=length), np.float64), axis=0)
    # What comes before the stated latency is below -160 dB, with one sample more it is not.
    growing = np.sqrt(np.cumsum(spread**2) / np.sum(spread**2))
    oldest = frame * hop - decoder.latency
    assert growing[oldest - 1] <= 1.1 * NEGLIGIBLE
    assert growing[oldest] >= 0.9 * NEGLIGIBLE


def test_an_impulse_comes_back_where_it_was():
    for shift in range(0, 16, 5):
        impulse = np.zeros((2, 400), np.float32)
        impulse[:, 200 + shift] = 1.0
        found = _run("low latency", impulse, range(7, 400, 7))[1]
        np.testing.assert_allclose(found, impulse, atol=TOLERANCE)


def test_causal_banks_wait_less():
    latencies = {kind: _streams(kind)[1].total_latency for kind in KINDS}
    assert latencies["uniform"] == 63
    assert latencies["causal complex"] == 31
    assert latencies["low latency"] == 15  # a hop less one sample: the next frame must come
    assert _streams("causal complex")[0].latency == 0


def test_few_shapes_are_compiled():
    encoder, decoder = _streams("uniform")
    waveform = _clip(1003)[0]
    before = arithmetic.analyze_blocks._cache_size(), arithmetic.synthesize_blocks._cache_size()
    generator = np.random.default_rng(0)
    for _ in range(10):
        state, back = encoder.init(), decoder.init()
        for chunk in np.split(waveform, np.sort(generator.integers(0, 1003, 40))):
            state, frames = encoder.step(state, chunk)
            back, _ = decoder.step(back, frames)
        decoder.finish(back, encoder.finish(state), length=1003)
    after = arithmetic.analyze_blocks._cache_size(), arithmetic.synthesize_blocks._cache_size()
    assert streams.NUM_COMPILED_SHAPES == 7
    for old, new in zip(before, after, strict=True):
        assert new - old <= streams.NUM_COMPILED_SHAPES


@given(count=st.integers(0, 300), largest=st.sampled_from([1, 4, 64]))
def test_sizes_of_steps(count, largest):
    sizes = streams.power_of_two_sizes(count, largest=largest)
    assert sum(sizes) == count
    assert all(size <= largest and size & (size - 1) == 0 for size in sizes)


def test_a_step_leaves_its_state_as_it_was():
    encoder, decoder = _streams("uniform")
    state, frames = encoder.step(encoder.init(2), _clip(400)[:, :100])
    again = [encoder.step(state, _clip(400)[:, 100:200])[1] for _ in range(2)]
    np.testing.assert_array_equal(*again)
    back, _ = decoder.step(decoder.init(2), frames)
    np.testing.assert_array_equal(*(decoder.step(back, again[0])[1] for _ in range(2)))
    assert len(jax.tree.leaves(state)) == 4


def test_the_inner_steps_work_in_a_scan():
    encoder, decoder = _streams("causal complex")
    hop, count = encoder.spec.hop_length, 20
    waveform = _clip(1003)[:, : count * hop]
    # With trail 0 frame 0 ends at sample 0: the first block holds hop - 1 zeros before it.
    signal = np.pad(waveform, ((0, 0), (hop - 1, 0)))[:, : count * hop]
    blocks = signal.reshape(2, count, hop).transpose(1, 0, 2)

    def step(carry, block):
        context, history = carry
        context, frames = encoder.advance(context, block)
        history, samples = decoder.advance(history, frames)
        return (context, history), (frames[:, 0], samples)

    start = (encoder.init(2).context, decoder.init(2).history)
    _, (frames, samples) = jax.jit(lambda blocks: lax.scan(step, start, blocks))(blocks)
    found = np.asarray(frames).transpose(1, 0, 2)
    whole = np.asarray(_codec("causal complex").encode(waveform))[:, :count]
    np.testing.assert_allclose(found, whole, atol=TOLERANCE)
    out = np.asarray(samples).transpose(1, 0, 2).reshape(2, -1)[:, decoder.latency :]
    np.testing.assert_allclose(out, waveform[:, : out.shape[1]], atol=TOLERANCE)


@pytest.mark.parametrize("batch", [(), 1, (2, 3)])
def test_leading_axes(batch):
    encoder, decoder = _streams("uniform")
    axes = (batch,) if isinstance(batch, int) else batch
    waveform = np.random.default_rng(0).uniform(-1, 1, (*axes, 100)).astype(np.float64)
    state, frames = encoder.step(encoder.init(batch), waveform)
    back, samples = decoder.step(decoder.init(batch), frames)
    rest = decoder.finish(back, encoder.finish(state))
    found = np.concatenate([samples, rest], axis=-1)
    assert frames.shape[:-2] == axes
    np.testing.assert_allclose(found[..., :100], waveform, atol=TOLERANCE)
    np.testing.assert_allclose(found[..., 100:], 0.0, atol=TOLERANCE)


@pytest.mark.parametrize("kind", ["uniform", "reflect"])
def test_an_empty_signal_is_empty(kind):
    encoder, decoder = _streams(kind)
    state, frames = encoder.step(encoder.init(), np.zeros(0, np.float32))
    assert frames.shape == encoder.finish(state).shape == (0, 34)
    assert decoder.finish(decoder.init()).shape == (0,)


@pytest.mark.parametrize("kind", ["uniform", "causal real"])
def test_known_lengths_need_no_last_frames(kind):
    spectrogram, decoded = _offline(kind, 400)
    decoder = _streams(kind)[1]
    state, samples = decoder.step(decoder.init(2, length=400), spectrogram)
    found = np.concatenate([samples, decoder.finish(state)], axis=-1)
    np.testing.assert_allclose(found, decoded, atol=TOLERANCE)


@pytest.mark.tail
def test_learned_weights_are_those_of_the_codec():
    spec = isn.FilterbankSpec(**GEOMETRY)
    model = isn.SincNet(spec, learnable_filters=True, learnable_decoder=True)
    codec = isn.build_codec(model)
    keys = iter(jax.random.split(jax.random.key(0), 100))
    params = jax.tree.map(
        lambda p: p * (1 + 0.05 * jax.random.normal(next(keys), p.shape, p.dtype)),
        codec.variables["params"],
    )
    codec = isn.Codec(model, {**codec.variables, "params": params})
    encoder, decoder = stream_encoder(codec), stream_decoder(codec)
    state, frames = encoder.step(encoder.init(2), _clip(400))
    frames = np.concatenate([frames, encoder.finish(state)], axis=-2)
    whole = codec.encode(_clip(400))
    np.testing.assert_allclose(frames, np.asarray(whole), atol=TOLERANCE)
    found = decoder.finish(decoder.init(2), frames, length=400)
    np.testing.assert_allclose(found, np.asarray(codec.decode(whole, length=400)), atol=TOLERANCE)


def test_double_precision(x64):
    codec = isn.build_codec(isn.SincNet(isn.FilterbankSpec(**GEOMETRY), dtype=jnp.float64))
    encoder, decoder = stream_encoder(codec), stream_decoder(codec)
    waveform = _clip(400).astype(np.float64)
    state, frames = encoder.step(encoder.init(2), waveform)
    frames = np.concatenate([frames, encoder.finish(state)], axis=-2)
    assert frames.dtype == np.float64
    np.testing.assert_allclose(frames, np.asarray(codec.encode(waveform)), atol=1e-14)
    found = decoder.finish(decoder.init(2), frames, length=400)
    np.testing.assert_allclose(found, waveform, atol=1e-13)


def test_low_latency_codecs_are_exact_and_honest():
    spec = isn.FilterbankSpec(**GEOMETRY)
    waveform = _clip(1003)
    for given_latency, expected in ((None, 31), (47, 47)):
        codec = low_latency_codec(spec, total_latency=given_latency)
        assert stream_decoder(codec).total_latency == expected
        found = np.asarray(codec.decode(codec.encode(waveform), length=1003))
        np.testing.assert_allclose(found, waveform, atol=1e-5)
    with pytest.raises(ValueError, match="total_latency >= hop_length - 1 = 15"):
        low_latency_codec(spec, total_latency=14)
    with pytest.raises(ValueError, match="padding='zeros'"):
        low_latency_codec(spec.replace(padding="reflect", num_bins=24))
    with pytest.raises(ValueError, match="use a larger total_latency or more bins"):
        low_latency_codec(spec.replace(num_bins=8, causal=True))


def test_what_cannot_be_streamed_is_refused():
    reflecting = isn.FilterbankSpec(**GEOMETRY, padding="reflect")
    assert stream_encoder(reflecting).latency == 31
    with pytest.raises(ValueError, match=re.escape("use spec.replace(padding='zeros')")):
        stream_decoder(reflecting)
    with pytest.raises(TypeError, match="FilterbankSpec, a SincNet or a Codec"):
        stream_encoder(object())  # type: ignore[arg-type]
    model = isn.SincNet(
        isn.FilterbankSpec(**GEOMETRY), learnable_decoder=True, compute_dtype=jnp.bfloat16
    )
    with pytest.raises(ValueError, match="compute_dtype=None"):
        stream_decoder(model)


def test_wrong_chunks_and_lengths_are_refused():
    encoder, decoder = _streams("causal real")
    with pytest.raises(TypeError, match="scale integer samples"):
        encoder.step(encoder.init(), np.zeros(3, np.int16))
    with pytest.raises(ValueError, match=r"\(3, 10\): this stream takes \[2, any number\]"):
        encoder.step(encoder.init(2), np.zeros((3, 10), np.float32))
    with pytest.raises(ValueError, match=r"this stream takes \[any number, 24\]"):
        decoder.step(decoder.init(), np.zeros((3, 10), np.float32))
    with pytest.raises(ValueError, match="batch"):
        encoder.init(0)
    with pytest.raises(ValueError, match="length=0"):
        decoder.init(length=0)
    spectrogram = _offline("causal real", 400)[0]
    with pytest.raises(ValueError, match="length=300 has 21 frames"):
        decoder.finish(decoder.init(2), spectrogram, length=300)
    with pytest.raises(ValueError, match="init was told length=399"):
        decoder.finish(decoder.init(2, length=399), spectrogram, length=400)
    wide = stream_decoder(_codec("low latency"))
    late, _ = wide.step(wide.init(2), _offline("low latency", 400)[0])
    with pytest.raises(ValueError, match="hand the last frames to finish"):
        wide.finish(late, length=400)
