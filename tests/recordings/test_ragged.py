"""Recordings as ragged codes: the ratio asked for, the bank in the file, what does not go."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import soundfile

import isincnet_jax as isn
from isincnet_jax.constant_q.dsp.nonuniform_spec import NonuniformSpec
from isincnet_jax.constant_q.nonuniform_codec import build_nonuniform_codec
from isincnet_jax.dsp.distances import snr_db
from isincnet_jax.recordings import ragged
from isincnet_jax.tokens.block_file import TokenFileError
from isincnet_jax.tokens.ragged_file import RaggedReader, write_ragged_file

SPEC = NonuniformSpec(sample_rate=8000, num_bins=20, scale="erb", window="cosine",
                      normalization="energy")  # fmt: skip
CODEC = build_nonuniform_codec(SPEC, name="small")


@pytest.fixture
def clip(tmp_path):
    samples = np.stack([isn.demo_waveform(8000)[:4000], isn.demo_waveform(8000)[4000:8000]], axis=1)
    path = tmp_path / "clip.wav"
    soundfile.write(path, samples, 8000, subtype="FLOAT")
    return path, samples


@pytest.mark.tail
def test_a_recording_reaches_the_ratio_asked_for(tmp_path, clip):
    path, samples = clip
    made = isn.encode_file(path, tmp_path / "a.isn", model=CODEC, snr_db=30.0)
    assert made.seconds == 0.5
    isn.decode_file(tmp_path / "a.isn", tmp_path / "b.wav")
    found, rate = soundfile.read(tmp_path / "b.wav", dtype="float32")
    assert (found.shape, rate) == (samples.shape, 8000)
    reached = snr_db(prediction=found.T.ravel(), target=samples.T.ravel().astype(np.float32))
    np.testing.assert_allclose(reached, 30.0, atol=0.1)


def test_codes_are_those_of_the_codec(tmp_path, clip):
    path, samples = clip
    isn.encode_file(path, tmp_path / "a.isn", model=CODEC, step=0.125)
    codes = CODEC.quantizer(step=0.125).encode(CODEC.encode(samples.T.astype(np.float32)))
    with RaggedReader(tmp_path / "a.isn") as reader:
        for one, other in zip(reader.codes(), codes, strict=True):
            np.testing.assert_array_equal(one, other)
        assert reader.header.arrays == tuple((n, 2 * m) for n, m in CODEC.array_shapes(4000))


@pytest.mark.parametrize(
    "option", [{"quality": 5.0}, {"kbps": 20.0}, {"optimise": True}, {"lossless": True}]
)
def test_options_of_lapped_banks_are_refused(tmp_path, clip, option):
    with pytest.raises(ValueError, match="is for lapped banks, and model=small is a nonuniform"):
        isn.encode_file(clip[0], tmp_path / "a.isn", model=CODEC, **option)
    assert not (tmp_path / "a.isn").exists()


def test_another_bank_is_refused(tmp_path, clip):
    isn.encode_file(clip[0], tmp_path / "a.isn", model=CODEC, step=0.125)
    with pytest.raises(ValueError, match="another bank than 16khz-mel-ragged"):
        isn.decode_file(tmp_path / "a.isn", tmp_path / "b.wav", model="16khz-mel-ragged")
    with pytest.raises(ValueError, match="has one layer"):
        isn.decode_file(tmp_path / "a.isn", tmp_path / "b.wav", base=True)


@pytest.mark.parametrize(
    ("bank", "message"),
    [
        ({"num_bins": 21}, "not those of its bank"),
        ({"num_bins": 10**9}, "more than 16384 bins"),
        ({"scale": "nowhere"}, "nowhere"),
        ({"taps": 3}, "taps"),
    ],
)
def test_banks_that_do_not_fit_their_file_are_refused(tmp_path, clip, bank, message):
    path = tmp_path / "a.isn"
    isn.encode_file(clip[0], path, model=CODEC, step=0.125)
    with RaggedReader(path) as reader:
        header, codes = reader.header, reader.codes()
    changed = dataclasses.replace(header, bank={**header.bank, **bank})
    write_ragged_file(path, changed, codes)
    with pytest.raises(TokenFileError, match=message):
        isn.decode_file(path, tmp_path / "b.wav")


def test_a_scale_of_ones_own_is_stored_as_its_centres():
    spec = NonuniformSpec(sample_rate=8000, center_hz=(100.0, 1000.0, 3000.0))
    fields = ragged.bank_fields(spec)
    assert fields["center_hz"] == [100.0, 1000.0, 3000.0]
    assert ragged.bank_fields(SPEC)["scale"] == "erb"


@pytest.mark.tail
def test_silence_needs_a_step(tmp_path):
    path = tmp_path / "silence.wav"
    soundfile.write(path, np.zeros(800), 8000)
    with pytest.raises(ValueError, match="silent"):
        isn.encode_file(path, tmp_path / "a.isn", model=CODEC)
    isn.encode_file(path, tmp_path / "a.isn", model=CODEC, step=0.125)
    isn.decode_file(tmp_path / "a.isn", tmp_path / "b.wav")
    assert not soundfile.read(tmp_path / "b.wav")[0].any()


def test_a_folder_remembers_its_bank(tmp_path, clip):
    folder = tmp_path / "in"
    folder.mkdir()
    clip[0].rename(folder / "a.wav")
    isn.encode_folder(folder, tmp_path / "out", model=CODEC, suffix=".isn", step=0.125, jobs=1)
    report = isn.encode_folder(
        folder, tmp_path / "out", model=CODEC, suffix=".isn", step=0.125, jobs=1
    )
    assert (report.num_files, report.num_made) == (1, 0)
