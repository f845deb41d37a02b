"""MUSDB18: folders of stems, containers through ffmpeg, songs that stay together."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest
import soundfile

from isincnet_jax.data import musdb18, preparation, sources
from isincnet_jax.data.audio_files import AudioError
from isincnet_jax.data.corpora import build_corpora
from isincnet_jax.data.sources import NoDataError

RATE = 8000
needs_ffmpeg = pytest.mark.skipif(
    shutil.which("ffmpeg") is None or shutil.which("ffprobe") is None,
    reason="ffmpeg and ffprobe are not installed",
)


@pytest.fixture
def hq(tmp_path, rng):
    """The folders of MUSDB18-HQ: 6 songs to train, 2 to test."""
    for split, count in (("train", 6), ("test", 2)):
        for number in range(count):
            folder = tmp_path / split / f"Band {split} - Song {number}"
            folder.mkdir(parents=True)
            stems = rng.uniform(-0.2, 0.2, (4, 4000, 2))
            for stem, samples in zip(musdb18.STEMS[1:], stems, strict=True):
                soundfile.write(folder / f"{stem}.wav", samples, RATE)
            soundfile.write(folder / "mixture.wav", stems.sum(axis=0), RATE)
    return tmp_path


def test_the_division_of_the_corpus_is_kept_and_validation_comes_from_training(hq):
    found = preparation.assign_splits(musdb18.musdb18_source(hq))
    assert [len(found[split]) for split in ("train", "validation", "test")] == [5, 1, 2]
    assert all(name.startswith("Band test") for name in found["test"])
    assert all(name.startswith("Band train") for name in found["train"] + found["validation"])
    assert all(name.endswith("/mixture") for names in found.values() for name in names)


@pytest.mark.parametrize("stems", ["all", ("drums", "vocals"), "bass"])
def test_stems_of_a_song_stay_together(hq, stems):
    source = musdb18.musdb18_source(hq, stems=stems)
    per_song = {"all": 5, "bass": 1}.get(stems if isinstance(stems, str) else "", 2)
    assert len(source.tracks) == 8 * per_song
    found = preparation.assign_splits(source)
    songs = [{name.partition("/")[0] for name in names} for names in found.values()]
    assert sum(map(len, songs)) == len(set.union(*songs)) == 8
    assert [len(names) for names in found.values()] == [per_song * len(song) for song in songs]


def test_stems_add_up_to_the_mixture(hq):
    corpora = build_corpora("musdb18", hq, sample_rate=RATE, loudness_db=None, stems="all")
    test = corpora["test"]
    song = test.names[0].partition("/")[0]
    parts = [test.clip(test.names.index(f"{song}/{stem}")) for stem in musdb18.STEMS]
    np.testing.assert_allclose(sum(parts[1:]), parts[0], atol=2e-4)


def test_a_song_without_a_stem_is_reported(hq):
    (hq / "train" / "Band train - Song 0" / "bass.wav").unlink()
    source = musdb18.musdb18_source(hq, stems="bass")
    assert len(source.tracks) == 7
    assert "has no bass, only mixture, drums, other, vocals" in next(iter(source.missing.values()))


def test_what_is_no_corpus_is_named(tmp_path, hq):
    with pytest.raises(NoDataError, match="none: no such folder"):
        musdb18.musdb18_source(tmp_path / "none")
    with pytest.raises(NoDataError, match=r"no songs of MUSDB18 \(.*has no flute"):
        musdb18.musdb18_source(hq, stems="flute")
    (tmp_path / "empty").mkdir()
    with pytest.raises(NoDataError, match="no song folders"):
        musdb18.musdb18_source(tmp_path / "empty")
    with pytest.raises(ValueError, match="name at least one of mixture"):
        musdb18.musdb18_source(hq, stems=())


@pytest.fixture
def container(tmp_path):
    """Five audio streams, tones of 200, 400, ... 1,000 Hz."""
    folder = tmp_path / "stems" / "train"
    folder.mkdir(parents=True)
    command = ["ffmpeg", "-v", "error"]
    for index in range(5):
        command += ["-f", "lavfi", "-i", f"sine=frequency={200 * (index + 1)}:duration=1"]
    for index in range(5):
        command += ["-map", f"{index}:a"]
    path = folder / "Band - Song.stem.mp4"
    subprocess.run([*command, "-c:a", "aac", "-ar", "44100", "-ac", "2", path], check=True)
    return path


@needs_ffmpeg
def test_containers_are_read_through_ffmpeg(container):
    source = musdb18.musdb18_source(container.parents[1], stems="all")
    assert len(source.tracks) == 5
    for found in sources.read_tracks(source, sample_rate=RATE, loudness_db=None):
        stem = found.track.name.rpartition("/")[2]
        spectrum = np.abs(np.fft.rfft(found.samples[1000:5000]))  # bins of 2 Hz
        assert np.argmax(spectrum) == 100 * (musdb18.STEMS.index(stem) + 1)
        assert len(found.samples) == pytest.approx(RATE, abs=400)
    samples, rate = musdb18.read_stem(container, 0)
    assert (samples.shape[0], rate) == (2, 44_100)


@needs_ffmpeg
def test_damaged_containers_are_skipped_by_name(container):
    with pytest.raises(AudioError, match=r"Song\.stem\.mp4: has no audio stream 5"):
        musdb18.read_stem(container, 5)
    content = container.read_bytes()
    container.write_bytes(content[: len(content) // 2])
    skipped = {}
    source = musdb18.musdb18_source(container.parents[1])
    list(sources.read_tracks(source, sample_rate=RATE, loudness_db=None, skipped=skipped))
    assert "Song.stem.mp4" in skipped["Band - Song/mixture"]


def test_containers_need_ffmpeg(tmp_path, monkeypatch):
    (tmp_path / "Band - Song.stem.mp4").write_bytes(b"x")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(AudioError, match="need ffmpeg and ffprobe, which are not installed"):
        musdb18.musdb18_source(tmp_path)


def test_the_real_songs(shared):
    source = musdb18.musdb18_source(shared / "audio" / "musdb_mini", stems="all")
    assert len(source.tracks) == 6
    found = preparation.assign_splits(source)
    assert [len(names) for names in found.values()] == [3, 3]
