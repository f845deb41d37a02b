"""Ids of recordings in JSON files: there, back, and what is no such file."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile

import isincnet_jax as isn


@pytest.fixture
def clip(tmp_path):
    samples = isn.demo_waveform(16_000)[:5000]
    path = tmp_path / "clip.wav"
    soundfile.write(path, np.stack([samples, 0.5 * samples], axis=1), 16_000)
    return path


@pytest.mark.parametrize("order", ["frames", "interleaved", "bins"])
def test_ids_come_back_as_the_sound_of_the_codes(clip, tmp_path, order):
    said = []
    isn.encode_ids(clip, tmp_path / "ids.json", order=order, largest=15, say=said.append)
    content = json.loads((tmp_path / "ids.json").read_text())
    assert (content["length"], content["audio_channels"]) == (5000, 2)
    assert min(content["ids"]) >= 0
    assert max(content["ids"]) < 32
    assert "of a vocabulary of 32" in said[-1]
    assert isn.decode_ids(tmp_path / "ids.json", tmp_path / "back.wav") == 5000 / 16_000
    found, rate = soundfile.read(tmp_path / "back.wav", dtype="float32")
    codec = isn.from_pretrained("16khz-lapped")
    samples = soundfile.read(clip, dtype="float32")[0].T
    codes = codec.quantizer().encode(codec.encode(samples))
    expected = codec.decode(codec.quantizer().decode(codes), length=5000)
    np.testing.assert_allclose(found.T, expected, atol=2**-22)
    assert rate == 16_000


def test_what_a_model_wrote_may_stop_anywhere(clip, tmp_path):
    ids = isn.encode_ids(clip, tmp_path / "ids.json")
    content = json.loads((tmp_path / "ids.json").read_text())
    short = {"model": "16khz-lapped", "audio_channels": 2, "ids": ids[:900].tolist()}
    (tmp_path / "short.json").write_text(json.dumps(short))
    seconds = isn.decode_ids(tmp_path / "short.json", tmp_path / "short.wav")
    assert 0 < seconds < content["length"] / 16_000
    assert seconds * 16_000 % 512 == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("no JSON", "Expecting value"),
        ("[]", "an object with model"),
        ('{"ids": [1]}', "field 'model' is missing"),
        ('{"model": "16khz-lapped", "ids": 3}', "field 'ids' is missing, or of another type"),
        ('{"model": "16khz-lapped", "ids": ["a"]}', "integers"),
        ('{"model": "16khz-lapped", "ids": [1.5]}', "integers"),
        ('{"model": "16khz-lapped", "ids": [256]}', "0 to 255"),
        ('{"model": "16khz-lapped", "ids": []}', "integers|no frames"),
        ('{"model": "16khz-lapped", "ids": [127], "order": "mine"}', "order="),
        ('{"model": "16khz-lapped", "ids": [127], "length": 99999, "x": 1}', "'x' is unknown"),
        ('{"model": "16khz-linear", "ids": [127]}', "a lapped bank"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    (tmp_path / "ids.json").write_text(content)
    with pytest.raises(ValueError, match=rf"ids\.json: .*({message})"):
        isn.decode_ids(tmp_path / "ids.json", tmp_path / "back.wav")
    assert not (tmp_path / "back.wav").exists()


def test_ids_are_written_as_json(clip, tmp_path):
    with pytest.raises(ValueError, match=r"use ids\.json"):
        isn.encode_ids(clip, tmp_path / "ids.txt")
    with pytest.raises(ValueError, match="a lapped bank"):
        isn.encode_ids(clip, tmp_path / "ids.json", model="16khz-linear")
    assert not list(tmp_path.glob("ids*"))
