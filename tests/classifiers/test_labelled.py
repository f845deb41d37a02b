"""Labelled tracks: classes, splits by track, folders put together."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import soundfile

from isincnet_jax.classifiers import labelled
from isincnet_jax.data.corpus import CorpusError
from isincnet_jax.data.sources import NoDataError

RATE = 8000


def _write(path, seed=0, seconds=0.05):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).uniform(-0.5, 0.5, round(seconds * RATE))
    soundfile.write(path, noise, RATE)


@pytest.fixture
def speakers(tmp_path):
    for speaker in ("anna", "bert", "cleo"):
        for chapter in ("1", "2"):
            for number in range(4):
                _write(tmp_path / speaker / chapter / f"{number}.wav", seed=number)
    return tmp_path


@pytest.fixture
def genres(tmp_path):
    """Two folders that share the tracks 0 to 3 of both genres."""
    for folder, count in (("whole", 4), ("parts", 12)):
        for genre in ("blues", "rock"):
            for number in range(count):
                _write(tmp_path / folder / "genres" / genre / f"{genre}.{number:05d}.wav", number)
    return tmp_path / "whole", tmp_path / "parts"


def _build(source, *paths, **options):
    return labelled.build_labelled(source, paths, sample_rate=RATE, **options)


def test_speakers_are_folders(speakers):
    data = _build("speakers", speakers)
    assert data.classes == ("anna", "bert", "cleo")
    assert sum(len(corpus) for corpus in data.corpora.values()) == 24
    for split, corpus in data.corpora.items():
        for track, label in zip(corpus.tracks, data.labels(split), strict=True):
            assert track.name.startswith(data.classes[label] + "/")
        assert set(data.labels(split)) == {0, 1, 2}


@pytest.mark.parametrize(("level", "classes"), [(1, ("1", "2")), (-2, ("anna", "bert", "cleo"))])
def test_another_level_may_name_the_speaker(speakers, level, classes):
    assert _build("speakers", speakers, speaker_level=level).classes == classes


def test_a_level_that_is_not_there_is_named(speakers):
    with pytest.raises(CorpusError, match="lies in 2 folders, and speaker_level=2"):
        _build("speakers", speakers, speaker_level=2)
    _write(speakers / "stray.wav")
    with pytest.raises(CorpusError, match="stray lies in 0 folders"):
        _build("speakers", speakers)


def test_sessions_stay_together(speakers):
    source = labelled.speaker_source(speakers, sessions_together=True)
    assert {track.unit for track in source.tracks} == {
        f"{speaker}/{chapter}" for speaker in ("anna", "bert", "cleo") for chapter in "12"
    }
    (speakers / "splits").mkdir()
    for split, pattern in (("train", "*/1/*"), ("validation", "*/2/[01]"), ("test", "*/2/[23]")):
        (speakers / "splits" / f"{split}.txt").write_text(pattern)
    _build("speakers", speakers, splits=speakers / "splits")
    with pytest.raises(CorpusError, match=r"anna/2/2 is in the split test, .* anna/2 in valid"):
        _build("speakers", speakers, splits=speakers / "splits", sessions_together=True)


def test_folders_that_share_tracks_do_not_leak(genres):
    for seed in range(3):
        data = _build("gtzan", *genres, seed=seed)
        names = {split: set(data.track_names(split)) for split in data.corpora}
        assert sum(map(len, names.values())) == 24
        assert len(set.union(*names.values())) == 24
        assert sum(len(corpus) for corpus in data.corpora.values()) == 32
    assert {name.split("/")[0] for name in data.corpora["train"].names} == {"whole", "parts"}


def test_split_files_that_divide_a_track_are_refused(genres, tmp_path):
    (tmp_path / "train.txt").write_text("parts/*/*\nwhole/*/*.0000[123]\n")
    (tmp_path / "validation.txt").write_text("whole/*/*.00000\n")
    with pytest.raises(CorpusError, match=r"whole/blues/blues\.00000 is in the split validation"):
        _build("gtzan", *genres, splits=tmp_path)


def test_entries_of_a_track_have_its_index_and_label(genres):
    data = _build("gtzan", *genres)
    for split, corpus in data.corpora.items():
        tracks = data.track_names(split)
        for name, index, label in zip(
            corpus.names, data.track_indices(split), data.labels(split), strict=True
        ):
            assert name.partition("/")[2] == tracks[index]
            assert data.track_labels(split)[index] == label


def test_folders_of_the_same_name_are_told_apart(genres):
    data = _build("gtzan", genres[1], genres[1])
    assert sum(len(corpus) for corpus in data.corpora.values()) == 48
    assert sum(len(data.track_names(split)) for split in data.corpora) == 24


def test_decoded_tracks_are_kept(genres, tmp_path, caplog):
    one = _build("gtzan", *genres, cache_dir=tmp_path / "cache")
    (folder,) = (tmp_path / "cache").iterdir()
    stamp = (folder / "train").stat().st_mtime_ns
    two = _build("gtzan", *genres, cache_dir=tmp_path / "cache")
    assert (folder / "train").stat().st_mtime_ns == stamp
    direct = _build("gtzan", *genres)
    for split, corpus in direct.corpora.items():
        for other in (one, two):
            assert other.track_names(split) == direct.track_names(split)
            np.testing.assert_array_equal(other.corpora[split].clip(0), corpus.clip(0))
    _build("gtzan", *genres, cache_dir=tmp_path / "cache", seed=1)
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_classes_without_training_are_left_out_and_counted(speakers, caplog):
    (speakers / "splits").mkdir()
    (speakers / "splits" / "train.txt").write_text("anna/1/*\nbert/1/*")
    (speakers / "splits" / "validation.txt").write_text("*/2/*")
    with caplog.at_level(logging.WARNING):
        data = _build("speakers", speakers, splits=speakers / "splits")
    assert data.classes == ("anna", "bert")
    assert len(data.corpora["validation"]) == 8
    assert "validation: 4 of 12 tracks left out" in caplog.text


def test_generated_music_has_classes():
    data = _build("generated")
    assert data.classes == ("chords", "plucks", "rhythm")


@pytest.mark.parametrize(
    ("source", "paths", "error", "message"),
    [
        ("speakers", [], NoDataError, r"(?s)data\.path is not set.*LibriSpeech.*=generated"),
        ("speakers", ["/nowhere"], NoDataError, r"(?s)/nowhere.*speaker_level=2.*=generated"),
        ("gtzan", ["/nowhere"], NoDataError, r"(?s)genres\.tar\.gz.*data\.source=generated"),
        ("gtzn", [], ValueError, "source='gtzn' is unknown; use gtzan, speakers or generated"),
    ],
)
def test_missing_data_is_one_screen(source, paths, error, message):
    with pytest.raises(error, match=message) as caught:
        _build(source, *paths)
    assert len(str(caught.value).splitlines()) < 20


def test_one_class_is_too_few(tmp_path):
    for number in range(4):
        _write(tmp_path / "anna" / f"{number}.wav")
    with pytest.raises(CorpusError, match="1 class in the training split"):
        _build("speakers", tmp_path)
