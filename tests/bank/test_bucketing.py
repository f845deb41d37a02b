"""Filled-up clips give what the codec gives, through few compiled programs."""

from __future__ import annotations

import functools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import isincnet_jax as isn
from isincnet_jax import BucketedCodec, bucket_length

GEOMETRY = {"sample_rate": 8000, "hop_length": 16, "num_bins": 17, "shape": "none"}
KINDS = {
    "uniform": {},
    "causal": {"causal": True},
    "tight": {"tight": True},
    "least squares, mel": {"kernel_size": 64, "num_bins": 48, "scale": "mel_slaney"},
    "learned": {},
    "low latency": {"causal": True},
    "wiener": {"num_bins": 8},
}
# Coefficients and samples are at most about 1; sums of a few hundred terms in another order.
TOLERANCE = 2e-6


@functools.cache
def _codec(kind: str) -> isn.Codec:
    spec = isn.FilterbankSpec(**{**GEOMETRY, **KINDS[kind]})
    if kind == "low latency":
        return isn.low_latency_codec(spec)
    if kind == "wiener":
        return isn.build_codec(isn.SincNet(spec, isn.DecoderSpec("wiener")))
    if kind == "learned":
        model = isn.SincNet(spec, learnable_filters="free", learnable_decoder=True)
        codec = isn.build_codec(model)
        noise = np.random.default_rng(0)
        return jax.tree.map(lambda leaf: leaf + 0.01 * noise.standard_normal(leaf.shape), codec)
    projections = ("mel_slaney",) if kind == "uniform" else ()
    return isn.build_codec(isn.SincNet(spec, projections=projections))


def _clip(*shape: int) -> np.ndarray:
    return np.random.default_rng(math.prod(shape)).uniform(-1, 1, shape).astype(np.float32)


@given(
    length=st.integers(1, 10**7),
    multiple=st.integers(1, 2000),
    per_octave=st.integers(1, 12),
)
def test_buckets_waste_no_more_than_stated(length, multiple, per_octave):
    filled = bucket_length(length, multiple=multiple, per_octave=per_octave)
    assert length <= filled
    assert filled % multiple == 0
    assert filled == 16 * multiple or filled < 2 ** (1 / per_octave) * length + multiple
    # Idempotent, and every shorter clip down to the next smaller bucket has the same one.
    same = functools.partial(bucket_length, multiple=multiple, per_octave=per_octave)
    assert same(filled) == filled
    assert same(filled + 1) > filled
    assert same(max(length - 1, 1)) <= filled


def test_buckets_waste_nine_percent_on_average_and_are_few():
    lengths = np.exp(np.random.default_rng(0).uniform(np.log(16_000), np.log(960_000), 5000))
    ratios = [bucket_length(round(n), multiple=125) / round(n) for n in lengths]
    assert np.mean(ratios) == pytest.approx(1.09, abs=0.01)
    assert max(ratios) < 1.20  # 2 ** (1 / 4) and a hop of 125 in 16000
    buckets = {bucket_length(n, multiple=125) for n in range(16_000, 960_001, 25)}
    assert len(buckets) == 25


@pytest.mark.quick(2)
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=3)
@given(data=st.data())
def test_results_are_those_of_the_codec(kind, data):
    codec, bucketed = _codec(kind), BucketedCodec(_codec(kind))
    waveform = _clip(data.draw(st.sampled_from([1, 3])), data.draw(st.integers(1, 1200)))
    length = waveform.shape[-1]
    expected = np.asarray(codec.encode(waveform))
    found = bucketed.encode(waveform)
    assert found.shape == expected.shape
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=TOLERANCE)
    again = bucketed.decode(expected, length=length)
    whole = np.asarray(codec.decode(expected, length=length))
    assert again.shape == waveform.shape
    np.testing.assert_allclose(again, whole, atol=TOLERANCE * max(1.0, np.max(np.abs(whole))))


def test_few_programs_are_compiled(compilations):
    bucketed = BucketedCodec(isn.build_codec(isn.SincNet(isn.FilterbankSpec(**GEOMETRY))))
    lengths = np.random.default_rng(0).integers(300, 600, 30)
    buckets = {bucketed.bucket(int(length)) for length in lengths}
    assert len(buckets) == 5 < len(set(lengths.tolist()))
    jax.clear_caches()
    with compilations() as compiled:
        for length in lengths:
            bucketed.decode(bucketed.encode(_clip(int(length))), length=int(length))
    assert len(compiled) == 2 * len(buckets)
    with compilations() as compiled:
        for batch in ((2,), (1,), (2, 1)):
            spectrogram = bucketed.encode(_clip(*batch, 305))
            bucketed.decode(spectrogram, length=305)
        bucketed.encode_many([_clip(310 + index) for index in range(11)], max_batch=2)
    assert len(compiled) == 2  # batches of two, there and back


def test_many_clips_come_back_in_order():
    codec = _codec("causal")
    lengths = [900, 3, 250, 905, 256, 1, 250, 899, 257]
    clips = [_clip(length) for length in lengths]
    clips[2] = clips[2].astype(np.float64)
    found = BucketedCodec(codec).encode_many([*clips[:8], jnp.asarray(clips[8])], max_batch=4)
    assert len(found) == len(clips)
    for clip, spectrogram in zip(clips, found, strict=True):
        assert spectrogram.base is None  # of its batch nothing else is kept
        np.testing.assert_allclose(spectrogram, np.asarray(codec.encode(clip)), atol=TOLERANCE)
    assert BucketedCodec(codec).encode_many([]) == []


@pytest.mark.parametrize("batch", [(), (2, 3), (0,), (1, 1)])
def test_leading_axes(batch):
    bucketed = BucketedCodec(_codec("uniform"))
    waveform = _clip(*batch, 250)
    spectrogram = bucketed.encode(waveform)
    assert spectrogram.shape == (*batch, bucketed.codec.num_frames(250), 34)
    found = bucketed.decode(spectrogram, length=250)
    found *= 1.0  # the caller's own
    np.testing.assert_allclose(found, waveform, atol=TOLERANCE)


def test_arguments_are_those_of_the_codec():
    codec = _codec("uniform")
    bucketed = BucketedCodec(codec, per_octave=1)
    waveform = _clip(250)
    assert bucketed.bucket(250) == 256
    assert bucketed.bucket(257) == 512
    mel = bucketed.encode(jnp.asarray(waveform), scale="mel_slaney")
    expected = np.asarray(codec.encode(waveform, scale="mel_slaney"))
    np.testing.assert_allclose(mel, expected, atol=TOLERANCE)
    longest = np.asarray(codec.decode(expected, scale="mel_slaney"))
    found = bucketed.decode(mel, scale="mel_slaney")
    np.testing.assert_allclose(found, longest, atol=TOLERANCE)
    doubles = bucketed.encode(waveform.astype(np.float64))
    np.testing.assert_array_equal(doubles, bucketed.encode(waveform))


def test_what_cannot_be_filled_up_is_refused():
    reflecting = isn.FilterbankSpec(**GEOMETRY, padding="reflect")
    with pytest.raises(ValueError, match=re.escape("use spec.replace(padding='zeros')")):
        BucketedCodec(isn.Codec(isn.SincNet(reflecting)))
    with pytest.raises(ValueError, match="per_octave=0 must be an integer of at least 1"):
        BucketedCodec(_codec("uniform"), per_octave=0)
    with pytest.raises(ValueError, match="length=0 must be"):
        bucket_length(0, multiple=16)
    bucketed = BucketedCodec(_codec("uniform"))
    with pytest.raises(ValueError, match="the last axis is time and needs a sample"):
        bucketed.encode(np.zeros((2, 0), np.float32))
    for samples in (bucketed.encode, lambda clip: bucketed.encode_many([_clip(99), clip])):
        with pytest.raises(TypeError, match=re.escape("pcm16 / 32768.0")):
            samples(np.zeros(100, np.int16))
    with pytest.raises(ValueError, match="length=250 has 19 frames of hop_length=16"):
        bucketed.decode(np.zeros((20, 34), np.float32), length=250)
    with pytest.raises(ValueError, match=re.escape("clips[1] has shape (2, 9)")):
        bucketed.encode_many([_clip(9), _clip(2, 9)])
    with pytest.raises(ValueError, match="max_batch=6: batches are powers of two; use max_batch=4"):
        bucketed.encode_many([_clip(9)], max_batch=6)


def test_clips_of_any_iterable_and_any_floating_dtype_of_numpy():
    codec = _codec("uniform")
    bucketed = BucketedCodec(codec)
    clips = [_clip(310).astype(np.float16), _clip(311).astype(np.float64), _clip(312)]
    found = bucketed.encode_many(clip for clip in clips)
    for one, clip in zip(found, clips, strict=True):
        np.testing.assert_allclose(one, bucketed.encode(clip), atol=TOLERANCE)
        assert one.dtype == np.float32
    with pytest.raises(TypeError, match=r"bfloat16"):
        bucketed.encode_many([_clip(9), jnp.zeros(9, jnp.bfloat16)])
