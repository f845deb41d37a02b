"""Data sets of synthesizer sounds: what is written, what is kept, what is refused."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
import soundfile

from isincnet_jax import files
from isincnet_jax.data import audio_writing
from isincnet_jax.data.corpus import CorpusError
from isincnet_jax.inversynth import corpus as synth_corpus
from isincnet_jax.inversynth import generation as synth_generation
from isincnet_jax.inversynth.corpus import SynthSettings
from isincnet_jax.inversynth.synth import parameters
from isincnet_jax.inversynth.synth.render import render

SETTINGS = SynthSettings(name="some", num_examples=5, length=0.05, sample_rate=8000)


@pytest.fixture
def folders(tmp_path):
    return {"directory": tmp_path / "labels", "waves": tmp_path / "waves"}


@pytest.fixture
def made(folders):
    return synth_generation.generate(SETTINGS, **folders)


def replaced(**changes):
    import dataclasses

    return dataclasses.replace(SETTINGS, **changes)


def state_of(files):
    """Contents of every file, and of nothing else in the folders."""
    folders = (files.labels.parent, files.waves)
    return {path.name: path.read_bytes() for folder in folders for path in folder.iterdir()}


def test_all_files_are_written_under_the_names_of_the_seed(made, folders):
    assert made.new_samples
    assert (made.written, made.kept) == (5, 0)
    assert made.files.labels == folders["directory"] / "some_data.hdf5"
    assert set(state_of(made.files)) == {
        "some_data.hdf5",
        "some_params.json",
        *(f"some_{index:05d}.wav" for index in range(5)),
    }
    assert made.files.waves == folders["waves"] / "some"


def test_labels_are_those_of_the_sounds(made, folders):
    with h5py.File(made.files.labels) as file:
        content = {name: file[name][...] for name in file}
        names = json.loads(file.attrs["parameters"])
        assert file.attrs["seed"] == 0
    assert names == list(parameters.NAMES)
    levels = content["levels"]
    assert (levels.dtype, levels.shape) == (np.uint8, (5, 23))
    one_hot = content["labels"].reshape(5, 23, 16)
    np.testing.assert_array_equal(one_hot.argmax(-1), levels)
    assert np.all(one_hot.sum(-1) == 1)
    np.testing.assert_array_equal(
        content["parameters"], parameters.values_from_levels(levels.astype(np.int32))
    )
    files = [name.decode() for name in content["files"]]
    assert files == [f"some/some_{index:05d}.wav" for index in range(5)]
    expected = np.asarray(render(content["parameters"], num_samples=400, sample_rate=8000.0))
    for name, sound in zip(files, expected, strict=True):
        samples, rate = soundfile.read(folders["waves"] / name, dtype="float32")
        assert rate == 8000
        np.testing.assert_allclose(samples, sound, atol=1e-5)
    assert made.peak == pytest.approx(np.max(np.abs(expected)), rel=1e-5)


def test_the_description_has_settings_and_parameters(made):
    content = json.loads(made.files.description.read_text())
    assert content["sample_rate"] == 8000
    assert content["num_examples"] == 5
    assert content["parameters"] == parameters.specification()


def test_opening_reads_what_was_written(made, folders):
    corpus = synth_corpus.open_synth_corpus("some", **folders)
    assert corpus.settings == SETTINGS
    waveforms = corpus.waveforms([4, 0])
    assert (waveforms.shape, waveforms.dtype) == ((2, 400), np.float32)
    direct, _ = soundfile.read(made.files.wave(4), dtype="float32")
    np.testing.assert_array_equal(waveforms[0], direct)
    assert corpus.waveforms([]).shape == (0, 400)
    made.files.wave(4).unlink()
    with pytest.raises(audio_writing.AudioError, match=r"some_00004\.wav: no such file"):
        corpus.waveforms([4])
    with pytest.raises(CorpusError, match=r"other_data\.hdf5: no such file"):
        synth_corpus.open_synth_corpus("other", **folders)


def test_only_what_is_missing_is_made(made, folders):
    before = state_of(made.files)
    made.files.wave(3).unlink()
    marked = made.files.wave(1)
    samples, _ = soundfile.read(marked)
    soundfile.write(marked, 0 * samples, 8000, subtype="FLOAT")  # shows that it is kept
    again = synth_generation.generate(SETTINGS, **folders)
    assert (again.written, again.kept, again.new_samples) == (1, 4, False)
    after = state_of(made.files)
    assert after.pop(marked.name) != before.pop(marked.name)
    assert after == before
    fresh = synth_generation.generate(SETTINGS, **folders, regenerate_audio=True)
    assert (fresh.written, fresh.new_samples) == (5, False)
    assert soundfile.read(marked)[0].any()


@pytest.mark.parametrize("lost", ["labels", "description"])
def test_a_lost_file_of_facts_comes_back_as_it_was(lost, made, folders):
    levels = synth_corpus.read_labels(made.files.labels)[1]
    text = made.files.description.read_bytes()
    getattr(made.files, lost).unlink()
    again = synth_generation.generate(SETTINGS, **folders)
    assert again.kept == 5
    np.testing.assert_array_equal(synth_corpus.read_labels(made.files.labels)[1], levels)
    assert made.files.description.read_bytes() == text


def test_sounds_without_any_labels_are_not_given_new_ones(made, folders):
    made.files.labels.unlink()
    made.files.description.unlink()
    with pytest.raises(CorpusError, match="5 sounds, but their labels are missing"):
        synth_generation.generate(SETTINGS, **folders)
    assert synth_generation.generate(SETTINGS, **folders, regenerate_audio=True).written == 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_examples": 6}, r"num_examples=5 \(asked: 6\).*--regenerate-samples"),
        ({"seed": 1}, r"seed=0 \(asked: 1\).*--regenerate-samples"),
        ({"sample_rate": 16_000}, r"sample_rate=8000 \(asked: 16000\).*--regenerate-audio"),
        ({"length": 0.1}, r"length=0.05 \(asked: 0.1\).*--regenerate-audio"),
        ({"normalise": True}, r"normalise=False \(asked: True\).*--regenerate-audio"),
    ],
)
def test_other_settings_are_refused_and_nothing_is_touched(changes, message, made, folders):
    before = state_of(made.files)
    with pytest.raises(CorpusError, match=message):
        synth_generation.generate(replaced(**changes), **folders)
    assert state_of(made.files) == before


def test_other_sounds_of_the_same_parameters(made, folders):
    levels = synth_corpus.read_labels(made.files.labels)[1]
    settings = replaced(sample_rate=9000, normalise=True)
    again = synth_generation.generate(settings, **folders, regenerate_audio=True)
    assert again.written == 5
    corpus = synth_corpus.open_synth_corpus("some", **folders)
    assert corpus.settings == settings
    np.testing.assert_array_equal(corpus.levels, levels)
    waveforms = corpus.waveforms(range(5))
    assert waveforms.shape == (5, 450)
    np.testing.assert_allclose(np.max(np.abs(waveforms), axis=1), 1)
    assert json.loads(made.files.description.read_text())["sample_rate"] == 9000


def test_new_parameters_replace_everything(made, folders):
    old = synth_corpus.read_labels(made.files.labels)[1]
    again = synth_generation.generate(
        replaced(seed=7, num_examples=3), **folders, regenerate_samples=True
    )
    assert (again.written, again.new_samples) == (3, True)
    assert len([path for path in made.files.waves.iterdir()]) == 3
    assert np.any(synth_corpus.read_labels(made.files.labels)[1] != old[:3])


def test_the_same_settings_make_the_same_data_set(made, folders, tmp_path):
    other = {"directory": tmp_path / "a" / "b", "waves": tmp_path / "c"}
    files = synth_generation.generate(SETTINGS, **other).files
    assert state_of(files) == state_of(made.files)
    stamps = {soundfile_time(made.files.wave(index).read_bytes()) for index in range(5)}
    assert stamps == {bytes(4)}  # both may have been written in one second


def soundfile_time(content):
    at = content.index(b"PEAK") + 12
    return content[at : at + 4]


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def other_format(path):
    with h5py.File(path, "r+") as file:
        file.attrs["format"] = "something else"


def other_parameters(path):
    with h5py.File(path, "r+") as file:
        file.attrs["parameters"] = json.dumps(["volume"])


def levels_too_high(path):
    with h5py.File(path, "r+") as file:
        file["levels"][0, 0] = 16


def no_levels(path):
    with h5py.File(path, "r+") as file:
        del file["levels"]


def text(path):
    path.write_text("notes of mine")


@pytest.mark.parametrize(
    "damage", [cut, other_format, other_parameters, levels_too_high, no_levels, text]
)
def test_damaged_labels_are_named_and_left_alone_unless_asked(damage, made, folders):
    damage(made.files.labels)
    before = state_of(made.files)
    for again in ({}, {"regenerate_audio": True}):
        with pytest.raises(CorpusError, match=r"some_data\.hdf5: damaged or no data set"):
            synth_generation.generate(SETTINGS, **folders, **again)
    assert state_of(made.files) == before
    assert synth_generation.generate(SETTINGS, **folders, regenerate_samples=True).written == 5
    synth_corpus.read_labels(made.files.labels)


def test_damaged_sounds_and_descriptions_are_named(made, folders):
    good = made.files.wave(2).read_bytes()
    made.files.wave(2).write_bytes(good[: len(good) // 2])
    with pytest.raises(CorpusError, match=r"some_00002\.wav.*--regenerate-audio"):
        synth_generation.generate(SETTINGS, **folders)
    soundfile.write(made.files.wave(2), np.zeros(400), 9000, subtype="FLOAT")
    with pytest.raises(CorpusError, match=r"some_00002\.wav: 400 samples of 1 channels at 9000 Hz"):
        synth_generation.generate(SETTINGS, **folders)
    made.files.wave(2).write_bytes(good)
    description = made.files.description.read_text()
    made.files.description.write_text("{")
    with pytest.raises(CorpusError, match=r"some_params\.json: damaged"):
        synth_generation.generate(SETTINGS, **folders)
    made.files.description.write_text(description.replace('"seed": 0', '"seed": 3'))
    with pytest.raises(CorpusError, match=r"some_params\.json: describes another.*seed=3"):
        synth_generation.generate(SETTINGS, **folders)


def test_an_interrupted_run_leaves_whole_files_and_goes_on(folders, monkeypatch):
    complete = audio_writing.write_blocks
    calls = []

    def fail_in_the_middle(path, blocks, **more):
        calls.append(path)
        if len(calls) == 3:
            path.with_name(f".{path.stem}-half.wav").write_bytes(b"RIFF")
            raise KeyboardInterrupt
        return complete(path, blocks, **more)

    monkeypatch.setattr(audio_writing, "write_blocks", fail_in_the_middle)
    with pytest.raises(KeyboardInterrupt):
        synth_generation.generate(SETTINGS, **folders)
    monkeypatch.undo()
    again = synth_generation.generate(SETTINGS, **folders)
    assert (again.written, again.kept) == (3, 2)
    assert synth_corpus.open_synth_corpus("some", **folders).waveforms(range(5)).shape == (5, 400)


def test_labels_that_cannot_be_written_leave_the_old_ones(made, folders, monkeypatch):
    before = made.files.labels.read_bytes()

    def full(*args, **more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(h5py.Group, "create_dataset", full)
    with pytest.raises(files.FileError, match="No space left"):
        synth_generation.generate(SETTINGS, **folders, regenerate_samples=True)
    assert made.files.labels.read_bytes() == before
    assert {path.name for path in made.files.labels.parent.iterdir()} == {"some_data.hdf5"}


def test_a_file_where_a_folder_should_be(folders):
    folders["waves"].write_text("")
    with pytest.raises(CorpusError, match="waves/some: cannot be made"):
        synth_generation.generate(SETTINGS, **folders)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": ""}, "name='' must be a plain file name"),
        ({"name": "a/b"}, "name='a/b' must be a plain file name"),
        ({"name": ".."}, "must be a plain file name"),
        ({"num_examples": 0}, "num_examples=0 must be at least 1"),
        ({"length": 0.0}, "length=0.0 must be"),
        ({"length": float("nan")}, "length=nan must be"),
        ({"length": 1e-9}, "length=1e-09 must be"),
        ({"sample_rate": 7999}, "sample_rate=7999 must be at least 8000 Hz"),
        ({"sampling_method": "grid"}, "sampling_method='grid' is unknown; use random"),
        ({"seed": -1}, "seed=-1 must be"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        replaced(**changes)
