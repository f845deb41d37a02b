"""Notes of the synthesizer: pitch, timing, one voice, MIDI."""

from __future__ import annotations

import numpy as np
import pytest

from isincnet_jax.inversynth.notes import Note, interpolate, read_midi, render_notes
from isincnet_jax.inversynth.synth.parameters import NAMES, values_from_levels
from isincnet_jax.inversynth.synth.render import render

RATE = 8192.0
VALUES = np.asarray(values_from_levels(np.full(23, 7, np.int32)))


def _plain():
    """A sine of 440 Hz without modulation, behind an open filter and a slow gate."""
    values = VALUES.copy()
    for name, value in (
        ("carrier_sine", 440.0), ("amplitude_sine", 1.0), ("amplitude_saw", 0.001),
        ("amplitude_triangle", 0.001), ("amplitude_square", 0.001), ("modulation_sine", 0.0),
        ("attack", 0.001), ("cutoff", 4000.0), ("gate", 0.5), ("sustain", 1.0), ("release", 0.05),
    ):  # fmt: skip
        values[NAMES.index(name)] = value
    return values


def test_its_own_note_is_the_sound_of_render():
    found = render_notes(VALUES, [Note(69, 0.0, 0.125)], sample_rate=RATE, duration_s=0.25)
    expected = np.array(render(VALUES, num_samples=2048, sample_rate=RATE, note_off=0.125))
    # The filter sees a clip of another length: rounding; the end is faded.
    np.testing.assert_allclose(found[:-40], expected[:-40], atol=2e-5)


@pytest.mark.parametrize("number", [57, 69, 76])
def test_pitch_follows_the_number(number):
    found = render_notes(_plain(), [Note(number, 0.0, 0.5)], sample_rate=RATE, duration_s=0.5)
    spectrum = np.abs(np.fft.rfft(found * np.hanning(len(found)), 1 << 16))
    peak_hz = np.argmax(spectrum) * RATE / (1 << 16)
    assert peak_hz == pytest.approx(440 * 2 ** ((number - 69) / 12), rel=2e-3)


def test_a_note_ends_the_one_before_it():
    tune = [Note(69, 0.0, 1.0), Note(81, 0.25, 0.125, 0.5)]
    found = render_notes(_plain(), tune, sample_rate=RATE)
    assert len(found) == round((0.25 + 0.125 + 0.05) * RATE)
    alone = render_notes(_plain(), [Note(81, 0.0, 0.125)], sample_rate=RATE)
    np.testing.assert_allclose(found[2048:], 0.5 * alone, atol=1e-5)
    first = render_notes(_plain(), tune[:1], sample_rate=RATE, duration_s=0.25)
    np.testing.assert_allclose(found[:2000], first[:2000], atol=1e-5)


def test_of_a_chord_the_highest_sounds():
    chord = [Note(60, 0.0, 0.1), Note(67, 0.0, 0.1), Note(64, 0.0, 0.1)]
    found = render_notes(_plain(), chord, sample_rate=RATE)
    np.testing.assert_array_equal(found, render_notes(_plain(), chord[1:2], sample_rate=RATE))


def test_interpolation_is_even_in_pitch():
    low, high = (values_from_levels(np.full(23, level, np.int32)) for level in (0, 12))
    middle = interpolate(low, high, 0.5)
    np.testing.assert_allclose(middle, values_from_levels(np.full(23, 6, np.int32)), rtol=1e-5)
    np.testing.assert_allclose(interpolate(low, high, 0.0), low)
    np.testing.assert_allclose(interpolate(low, high, 1.0), high, rtol=1e-6)
    with pytest.raises(ValueError, match=r"share=1\.5"):
        interpolate(low, high, 1.5)


def test_midi_is_read_with_its_tempo(tmp_path):
    mido = pytest.importorskip("mido")
    first, drums = mido.MidiTrack(), mido.MidiTrack()
    first.append(mido.MetaMessage("set_tempo", tempo=1_000_000, time=0))  # a beat a second
    first.append(mido.Message("note_on", note=60, velocity=127, time=480))
    first.append(mido.Message("note_on", note=60, velocity=0, time=240))
    first.append(mido.Message("note_on", note=72, velocity=64, time=0))  # never ends
    first.append(mido.MetaMessage("end_of_track", time=480))
    drums.append(mido.Message("note_on", channel=9, note=35, velocity=100, time=0))
    file = mido.MidiFile(ticks_per_beat=480)
    file.tracks.extend([first, drums])
    file.save(tmp_path / "a.mid")
    found = read_midi(tmp_path / "a.mid")
    assert found[0] == Note(60.0, 1.0, 0.5, 1.0)
    assert found[1] == Note(72.0, 1.5, 1.0, 64 / 127)
    assert len(found) == 2


@pytest.mark.parametrize("content", [b"", b"nothing", b"MThd\0\0\0\6\0\1\0\1\1\xe0MTrk\0\0\0\\9"])
def test_what_is_no_midi_file_is_refused(tmp_path, content):
    pytest.importorskip("mido")
    path = tmp_path / "a.mid"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"no MIDI file|has no notes"):
        read_midi(path)


@pytest.mark.parametrize(
    ("notes", "options", "message"),
    [
        ([], {}, "no notes"),
        ([Note(128)], {}, "0 to 127"),
        ([Note(60, -1.0)], {}, "0 s or later"),
        ([Note(60, 0.0, 0.0)], {}, "above 0 s"),
        ([Note(60, velocity=2.0)], {}, "velocity"),
        ([Note(120)], {}, "above half of sample_rate"),
        ([Note()], {"sample_rate": 4000.0}, "8000"),
    ],
)
def test_notes_that_cannot_be_are_refused(notes, options, message):
    with pytest.raises(ValueError, match=message):
        render_notes(VALUES, notes, **{"sample_rate": RATE, **options})
