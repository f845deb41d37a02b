"""Decoders whose frames are placed by hand, and the codecs of low latency that are made of them."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest

import isincnet_jax as isn
from isincnet_jax.bank import solve as decoding
from isincnet_jax.pretrained import model_kinds
from isincnet_jax.streaming.stream import stream_decoder, stream_encoder

SPEC = isn.FilterbankSpec(sample_rate=8000, hop_length=16, num_bins=17, shape="none", causal=True)


@functools.cache
def _codec() -> isn.Codec:
    return isn.low_latency_codec(SPEC)


def _clip(length: int) -> np.ndarray:
    return np.random.default_rng(length).uniform(-1, 1, (2, length)).astype(np.float32)


def test_a_low_latency_codec_is_solved_from_its_spec():
    model = _codec().model
    assert model.decoder == isn.DecoderSpec("least_squares", num_frames=1, lead=15)
    again = isn.build_codec(isn.SincNet(SPEC, model.decoder))
    for found, expected in zip(
        again.variables["filterbank"].values(),
        _codec().variables["filterbank"].values(),
        strict=True,
    ):
        np.testing.assert_array_equal(*(next(iter(one.values())) for one in (found, expected)))
    solved = decoding.design_decoder(SPEC, model.decoder)
    assert solved.is_exact
    assert solved.method == "least squares"
    assert solved.noise_gain < 1.05 * decoding.design_decoder(SPEC).noise_gain


@pytest.mark.parametrize("length", [1, 17, 500])
def test_clips_are_exact_to_their_ends(length):
    waveform = _clip(length)
    found = _codec().decode(_codec().encode(waveform), length=length)
    np.testing.assert_allclose(np.asarray(found), waveform, atol=1e-5)


def test_a_folded_inverse_waits_no_longer():
    real = SPEC.replace(component="real")
    codec = isn.low_latency_codec(real)
    assert codec.model.solved.method == "folded inverse"
    assert codec.model.solved.least_lead == 15
    assert stream_decoder(codec).total_latency == 15
    assert isn.low_latency_codec(real, num_frames=12).model.solved.method == "least squares"


@pytest.mark.parametrize("hop_length", [14, 16])  # with frames ahead, and without
@pytest.mark.parametrize("length", [1, 15, 16, 500])
def test_streams_of_a_folded_inverse_equal_the_whole_clip(hop_length, length):
    codec = isn.build_codec(isn.SincNet(SPEC.replace(hop_length=hop_length, component="real")))
    assert codec.model.solved.method == "folded inverse"
    waveform = _clip(length)
    encoder, decoder = stream_encoder(codec), stream_decoder(codec)
    listening, speaking = encoder.init(2), decoder.init(2)
    heard, frames = [], []
    for chunk in np.array_split(waveform, 7, axis=1):
        listening, found = encoder.step(listening, chunk)
        speaking, samples = decoder.step(speaking, found)
        frames.append(found)
        heard.append(samples)
    frames.append(encoder.finish(listening))
    heard.append(decoder.finish(speaking, frames[-1], length=length))
    spectrogram = codec.encode(waveform)
    np.testing.assert_allclose(np.concatenate(frames, axis=1), spectrogram, atol=2e-6)
    found = np.concatenate(heard, axis=1)
    np.testing.assert_allclose(found, codec.decode(spectrogram, length=length), atol=5e-6)
    np.testing.assert_allclose(found, waveform, atol=1e-5)


def test_it_starts_exact_where_it_is_to_be_learned():
    model = isn.SincNet(SPEC, _codec().model.decoder, learnable_decoder=True)
    codec = isn.build_codec(model)
    waveform = _clip(500)
    found = codec.decode(codec.encode(waveform), length=500)
    np.testing.assert_allclose(np.asarray(found), waveform, atol=1e-5)


def test_it_is_stored_and_loaded(tmp_path):
    path = isn.export_pretrained(_codec(), tmp_path / "low.zip")
    again = isn.from_pretrained(str(path))
    assert again.model == _codec().model
    assert stream_decoder(again).total_latency == 15
    waveform = _clip(500)
    np.testing.assert_array_equal(again.encode(waveform), _codec().encode(waveform))


def test_fields_of_older_archives_make_the_same_model():
    kind = model_kinds.kind_of(_codec().model)
    model = isn.SincNet(SPEC, isn.DecoderSpec("free", num_frames=2, first_frame=0))
    fields = kind.plain_fields(model)
    del fields["decoder"]["lead"]  # as before there was one
    again = kind.build(fields, dtype=model.dtype)
    assert again.decoder == model.decoder


def test_a_first_frame_is_a_lead_in_whole_hops():
    evenly = decoding.design_decoder(SPEC, isn.DecoderSpec("least_squares", num_frames=4))
    first = evenly.lead // 16 - 3
    placed = isn.DecoderSpec("least_squares", num_frames=4, first_frame=first)
    np.testing.assert_array_equal(decoding.design_decoder(SPEC, placed).values, evenly.values)
    later = dataclasses.replace(placed, first_frame=first + 1)
    by_lead = isn.DecoderSpec("least_squares", num_frames=4, lead=evenly.lead + 16)
    solved = decoding.design_decoder(SPEC, later)
    assert solved.lead == evenly.lead + 16
    np.testing.assert_array_equal(solved.values, decoding.design_decoder(SPEC, by_lead).values)


def test_wiener_decoders_take_a_lead():
    exact = decoding.design_decoder(SPEC, _codec().model.decoder)
    wiener = isn.DecoderSpec("wiener", num_frames=1, lead=15, noise_variance=1e-12)
    solved = decoding.design_decoder(SPEC, wiener)
    assert (solved.lead, solved.taps) == (exact.lead, exact.taps) == (16, 32)
    # The noise leaves a bias of its size over the squared singular values, above 1e-3.
    np.testing.assert_allclose(solved.values, exact.values, atol=1e-6)


def test_reflected_clips_keep_exact_ends():
    spec = SPEC.replace(causal=False, padding="reflect")
    decoder = isn.DecoderSpec("least_squares", num_frames=6, lead=40)
    assert decoding.design_decoder(spec, decoder).is_exact
    codec = isn.build_codec(isn.SincNet(spec, decoder))
    waveform = _clip(500)
    found = codec.decode(codec.encode(waveform), length=500)
    np.testing.assert_allclose(np.asarray(found), waveform, atol=2e-5)


def test_frames_that_see_too_little_are_refused():
    with pytest.raises(ValueError, match=r"num_frames=1 with lead=14 .* use lead=15 to 31"):
        decoding.design_decoder(SPEC, isn.DecoderSpec("least_squares", num_frames=1, lead=14))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lead": 3, "num_frames": 1}, "lead=3: decoder kind='auto' places its frames itself"),
        ({"kind": "dual", "first_frame": 0, "num_frames": 2}, "use kind='least_squares' or"),
        ({"kind": "wiener", "first_frame": 0}, "first_frame=0 needs num_frames"),
        ({"kind": "least_squares", "lead": 8}, "lead=8 needs num_frames"),
        (
            {"kind": "least_squares", "num_frames": 1, "first_frame": 0, "lead": 8},
            "first_frame=0, lead=8: both place the frames; give one of them",
        ),
        ({"kind": "free", "num_frames": 1, "first_frame": 0, "lead": 0}, "give one of them"),
        ({"kind": "free", "num_frames": 1, "lead": 0}, "kind='free' needs num_frames and first"),
    ],
)
def test_positions_without_effect_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        isn.DecoderSpec(**options)


@pytest.mark.parametrize(
    "options", [{"num_frames": 2.5}, {"num_frames": True}, {"num_frames": 1, "lead": 7.5}]
)
def test_positions_are_integers(options):
    with pytest.raises(TypeError, match=r"must be an integer"):
        isn.DecoderSpec("least_squares", **options)
    with pytest.raises(ValueError, match=r"total_latency=20.5 must be an integer"):
        isn.low_latency_codec(SPEC, total_latency=20.5)


def test_integers_of_numpy_can_be_exported(tmp_path):
    codec = isn.low_latency_codec(SPEC, total_latency=np.int64(15))
    assert codec.model == _codec().model
    isn.export_pretrained(codec, tmp_path / "codec.zip")
    assert isn.from_pretrained(tmp_path / "codec.zip").model.decoder == codec.model.decoder
