"""`isincnet synth render` as a user types it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile

from isincnet_jax.inversynth.notes import Note, render_notes
from isincnet_jax.inversynth.synth.parameters import NAMES, parameters_to_json, values_from_levels
from isincnet_jax.inversynth.synth.render import render

VALUES = np.asarray(values_from_levels(np.arange(23, dtype=np.int32) % 16))


@pytest.fixture
def params(tmp_path):
    path = tmp_path / "p.json"
    path.write_text(json.dumps({**parameters_to_json(VALUES), "match": {"others": []}}))
    return path


def read(path):
    return soundfile.read(path, dtype="float32")


def test_settings_become_their_sound(run, params):
    assert run("synth render p.json out.wav --duration 0.25 --sample-rate 8192")[0] == 0
    sound, rate = read("out.wav")
    assert rate == 8192
    expected = render(VALUES, num_samples=2048, sample_rate=8192.0)
    np.testing.assert_allclose(sound, expected, atol=1e-6)


def test_a_note_is_transposed(run, params):
    line = "synth render p.json out.wav --duration 0.25 --sample-rate 8192 --note 57 --note-off 0.1"
    assert run(line)[0] == 0
    expected = render_notes(VALUES, [Note(57, 0, 0.1)], sample_rate=8192.0, duration_s=0.25)
    np.testing.assert_allclose(read("out.wav")[0], expected, atol=1e-6)


def test_a_midi_file_is_played(run, params):
    mido = pytest.importorskip("mido")
    track = mido.MidiTrack()
    for number in (60, 64):
        track.append(mido.Message("note_on", note=number, velocity=127, time=0))
        track.append(mido.Message("note_off", note=number, time=120))  # an eighth of a second
    file = mido.MidiFile()
    file.tracks.append(track)
    file.save("tune.mid")
    status, out, _ = run("synth render p.json out.wav --midi tune.mid --sample-rate 8192")
    assert status == 0
    assert "tune.mid: 2 notes" in out
    tune = [Note(60, 0.0, 0.125), Note(64, 0.125, 0.125)]
    expected = render_notes(VALUES, tune, sample_rate=8192.0)
    np.testing.assert_allclose(read("out.wav")[0], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("none.json out.wav", "none.json: no such file"),
        ("bad.json out.wav", "bad.json: no JSON file of parameters"),
        ("few.json out.wav", "few.json: parameter 'carrier_saw' is missing"),
        ("p.json out.wav --note 200", "a number of 0 to 127"),
        ("p.json out.wav --midi few.json --note 3", "leave --note and --note-off out"),
        ("p.json out.wav --to p.json --share 2", "--share 2"),
        ("p.json out.wav --sample-rate 4000", "8000"),
    ],
)
def test_mistakes_are_one_line(run, params, tmp_path, line, message):
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "few.json").write_text(json.dumps({NAMES[0]: 440.0}))
    status, _, err = run(f"synth render {line}")
    assert status == 1
    assert message in err
    assert not (tmp_path / "out.wav").exists()
