"""Blocks put end to end equal the whole."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import isincnet_jax as isn
from isincnet_jax.bank import long_signals

RATE = 8000


@functools.cache
def _codec(kind: str) -> isn.Codec:
    options = {
        "zeros": {},
        "reflect": {"padding": "reflect", "num_bins": 24},
        "causal": {"component": "real", "causal": True, "num_bins": 24},
        "reflect causal": {"padding": "reflect", "causal": True, "num_bins": 24},
    }[kind]
    geometry = {"sample_rate": RATE, "hop_length": 16, "num_bins": 17, "shape": "none"}
    return isn.build_codec(isn.SincNet(isn.FilterbankSpec(**{**geometry, **options})))


KINDS = ("zeros", "reflect", "causal", "reflect causal")
# Segments have few different sizes, so that few shapes are compiled.
LENGTHS = st.sampled_from([1, 15, 16, 17, 400, 1600, 3333, 5000])


def _noise(length: int, num_channels: int = 2) -> np.ndarray:
    generator = np.random.default_rng(length)
    return generator.uniform(-1, 1, (length, num_channels)).astype(np.float32)


@st.composite
def _pieces(draw, length: int):
    return sorted(draw(st.lists(st.integers(0, length), max_size=5)))


@given(
    data=st.data(), length=st.integers(0, 200), size=st.integers(1, 40), margin=st.integers(0, 40)
)
def test_segments_reassemble_any_sequence(data, length, size, margin):
    rows = np.arange(length)
    pieces = np.split(rows, data.draw(_pieces(length)))
    found = list(long_signals.overlapped_segments(pieces, size=size, margin=margin))
    kept = [segment.rows[segment.skip :][: segment.keep] for segment in found]
    np.testing.assert_array_equal(np.concatenate(kept), rows)
    assert [segment.is_last for segment in found] == [False] * (len(found) - 1) + [True]
    for segment in found:
        np.testing.assert_array_equal(segment.rows, segment.start + np.arange(len(segment.rows)))
        first, behind = segment.start + segment.skip, segment.start + segment.skip + segment.keep
        assert segment.skip >= min(margin, first)
        assert len(segment.rows) - segment.skip - segment.keep >= min(margin, length - behind)
        assert segment.keep == size or segment.is_last
        assert segment.keep <= size + 2 * margin


def test_nothing_gives_no_segment():
    assert list(long_signals.overlapped_segments([], size=4, margin=2)) == []


@pytest.mark.quick(1)
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=8)
@given(data=st.data(), length=LENGTHS)
def test_encoding_in_blocks(kind, data, length):
    codec = _codec(kind)
    waveform = _noise(length)
    pieces = np.split(waveform, data.draw(_pieces(length)))
    found = np.concatenate(list(long_signals.encode_blocks(codec, pieces, block_frames=60)))
    whole = np.asarray(codec.encode(waveform.T)).transpose(1, 0, 2)
    assert found.shape == whole.shape
    assert found.dtype == np.float32
    # Coefficients are below 1; the sums run in another order in another shape.
    np.testing.assert_allclose(found, whole, atol=1e-6)


@pytest.mark.quick(1)
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=8)
@given(data=st.data(), length=LENGTHS)
def test_decoding_in_blocks(kind, data, length):
    codec = _codec(kind)
    spectrogram = np.asarray(codec.encode(_noise(length).T))
    rows = spectrogram.transpose(1, 0, 2)
    pieces = np.split(rows, data.draw(_pieces(len(rows))))
    found = np.concatenate(
        list(long_signals.decode_blocks(codec, pieces, length=length, block_frames=60))
    )
    whole = np.asarray(codec.decode(spectrogram, length=length)).T
    assert found.shape == whole.shape == (length, 2)
    np.testing.assert_allclose(found, whole, atol=1e-5)


@pytest.mark.quick(1)
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=8)
@given(data=st.data(), length=LENGTHS)
def test_reconstructing_in_blocks(kind, data, length):
    codec = _codec(kind)
    waveform = _noise(length)
    pieces = np.split(waveform, data.draw(_pieces(length)))
    found = list(long_signals.reconstruct_blocks(codec, pieces, block_frames=60))
    np.testing.assert_array_equal(np.concatenate([pair.target for pair in found]), waveform)
    whole = np.asarray(codec.decode(codec.encode(waveform.T), length=length)).T
    prediction = np.concatenate([pair.prediction for pair in found])
    np.testing.assert_allclose(prediction, whole, atol=1e-5)
    if kind == "zeros":
        np.testing.assert_allclose(prediction, waveform, atol=1e-5)


@pytest.mark.quick(0)
@pytest.mark.parametrize("kind", ["zeros", "reflect causal"])
def test_refining_in_blocks(kind):
    """Codes of a Wiener decoder: what is lacking is large, and so is what its tails would add."""
    spec = _codec(kind).spec
    decoder = isn.DecoderSpec("wiener", noise_variance=1e-3)
    codec = isn.build_codec(isn.SincNet(spec, decoder))
    length = 3333
    spectrogram = np.asarray(codec.encode(_noise(length).T))
    spectrogram = np.round(16 * spectrogram) / np.float32(16)
    rows = spectrogram.transpose(1, 0, 2)
    once, twice = (
        np.asarray(codec.decode(spectrogram, length=length, refinements=count)).T
        for count in (1, 2)
    )
    assert np.max(np.abs(twice - once)) > 1e-3
    for count, whole in ((1, once), (2, twice)):
        found = long_signals.decode_blocks(
            codec, [rows], length=length, refinements=count, block_frames=60
        )
        np.testing.assert_allclose(np.concatenate(list(found)), whole, atol=1e-5)
    waveform = _noise(length)
    pairs = list(long_signals.reconstruct_blocks(codec, [waveform], refinements=1, block_frames=60))
    whole = codec.decode(codec.encode(waveform.T), length=length, refinements=1)
    prediction = np.concatenate([pair.prediction for pair in pairs])
    np.testing.assert_allclose(prediction, np.asarray(whole).T, atol=1e-5)


class _Offset:
    """A code for which 0 is not 0, as iSincNet's is."""

    def encode(self, spectrogram):
        return spectrogram

    def decode(self, codes):
        return codes + np.float32(0.1)


@pytest.mark.quick(1)
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=6)
@given(length=st.integers(1, 6000), block_frames=st.sampled_from([1, 60, 100, 200, 2048]))
@example(length=1, block_frames=2048)
@example(length=2, block_frames=60)
@example(length=2 * 16 * 128 + 1, block_frames=60)
def test_any_length_in_blocks_of_any_size(kind, length, block_frames):
    """Blocks are filled up with zeros to few sizes, of which nothing may be left."""
    codec = _codec(kind)
    waveform = _noise(length, 1)
    rows = np.concatenate(
        list(long_signals.encode_blocks(codec, [waveform], block_frames=block_frames))
    )
    whole = codec.encode(waveform.T)
    assert rows.shape[0] == whole.shape[1] == codec.num_frames(length)
    np.testing.assert_allclose(rows.transpose(1, 0, 2), whole, atol=1e-6)
    again = np.concatenate(
        list(long_signals.decode_blocks(codec, [rows], length=length, block_frames=block_frames))
    )
    np.testing.assert_allclose(again.T, codec.decode(whole, length=length), atol=1e-5)
    pairs = long_signals.reconstruct_blocks(
        codec, [waveform], quantizer=_Offset(), block_frames=block_frames
    )
    found = np.concatenate([pair.prediction for pair in pairs])
    offset = np.asarray(whole) + np.float32(0.1)
    np.testing.assert_allclose(found.T, codec.decode(offset, length=length), atol=1e-4)


def test_segments_are_filled_up_to_few_sizes():
    sizes = long_signals._sizes(_codec("zeros"), 2048)
    filled = [sizes.filled(count) for count in range(1, sizes.most + 1)]
    assert all(size >= count for count, size in enumerate(filled, 1))
    assert len(set(filled)) <= 6
    assert max(size / count for count, size in enumerate(filled, 1) if count > 150) <= 2.02


def test_several_blocks_are_made():
    codec = _codec("zeros")
    waveform = _noise(5000)
    assert len(list(long_signals.encode_blocks(codec, [waveform], block_frames=60))) > 3
    assert len(list(long_signals.reconstruct_blocks(codec, [waveform], block_frames=60))) > 3


@pytest.mark.parametrize("length", [3333 - 16, 3333 + 16, 1, 10_000])
@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_length_is_refused(kind, length):
    codec = _codec(kind)
    rows = np.asarray(codec.encode(_noise(3333).T)).transpose(1, 0, 2)
    with pytest.raises(ValueError, match=f"length={length} has .* frames, but"):
        list(long_signals.decode_blocks(codec, [rows], length=length, block_frames=60))


@pytest.mark.quick(0)
@pytest.mark.parametrize("q_bits", [2, 8, 16])
def test_tokens_in_blocks(q_bits):
    codec = _codec("zeros")
    waveform = _noise(3333)
    quantizer = long_signals.fit_quantizer(
        codec, [waveform], quantizer=codec.quantizer(q_bits=q_bits), block_frames=60
    )
    whole = np.asarray(codec.encode(waveform.T))
    np.testing.assert_allclose(
        quantizer.scale, np.maximum(np.max(np.abs(whole), axis=1, keepdims=True), 1e-30), atol=1e-6
    )
    rows = list(long_signals.encode_blocks(codec, [waveform], block_frames=60))
    codes = list(long_signals.quantize_rows(rows, quantizer))
    assert all(chunk.dtype == quantizer.storage_dtype for chunk in codes)
    joined = np.concatenate(codes).astype(np.int64)
    expected = np.asarray(quantizer.encode(whole)).transpose(1, 0, 2)
    # A coefficient at a rounding boundary may fall to either side.
    assert np.max(np.abs(joined - expected)) <= 1
    assert np.mean(joined != expected) < 1e-2
    back = np.concatenate(list(long_signals.dequantize_rows(codes, quantizer)))
    decoded_codes = quantizer.decode(joined.astype(np.int32).transpose(1, 0, 2))
    np.testing.assert_allclose(back.transpose(1, 0, 2), decoded_codes, rtol=1e-6)
    pairs = list(
        long_signals.reconstruct_blocks(codec, [waveform], quantizer=quantizer, block_frames=60)
    )
    error = np.concatenate([pair.prediction for pair in pairs]) - waveform
    decoded = np.concatenate(
        list(long_signals.decode_blocks(codec, [back], length=len(waveform), block_frames=60))
    )
    # The same tokens up to those at a boundary, whichever way they were cut into blocks.
    assert np.sqrt(np.mean((decoded - waveform) ** 2)) == pytest.approx(
        np.sqrt(np.mean(error**2)), rel=0.02
    )
    assert np.sqrt(np.mean(error**2)) < {2: 2.0, 8: 0.03, 16: 1e-4}[q_bits]


def test_fitting_to_nothing_keeps_the_scales():
    quantizer = _codec("zeros").quantizer()
    assert long_signals.fit_quantizer(_codec("zeros"), [], quantizer=quantizer) is quantizer


def test_silence_stays_silent():
    codec = _codec("zeros")
    silence = np.zeros((2000, 1), np.float32)
    quantizer = long_signals.fit_quantizer(codec, [silence], quantizer=codec.quantizer())
    for pair in long_signals.reconstruct_blocks(codec, [silence], quantizer=quantizer):
        np.testing.assert_array_equal(pair.prediction, 0.0)


@pytest.mark.parametrize("length", [0, 3, 7, 10, 12, 30])
def test_exactly(length):
    rows = np.arange(20.0).reshape(10, 2)
    found = np.concatenate(list(long_signals.exactly(np.split(rows, [3, 7]), length)))
    assert found.shape == (length, 2)
    np.testing.assert_array_equal(found[:10], rows[:length])
    np.testing.assert_array_equal(found[10:], 0.0)


def test_memory_does_not_grow_with_the_signal():
    codec = _codec("zeros")
    pulled = 0

    def source():
        nonlocal pulled
        while True:  # a signal without an end: only a stream can be cut into blocks
            pulled += 1
            yield _noise(1000)

    stream = long_signals.reconstruct_blocks(codec, source(), block_frames=60)
    for _ in range(5):
        next(stream)
    assert pulled < 10
