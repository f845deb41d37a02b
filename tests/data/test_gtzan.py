"""GTZAN in every form that a user may have, and what is said without it."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from isincnet_jax.data import gtzan, preparation, sources
from isincnet_jax.data.corpora import build_corpora
from isincnet_jax.data.corpus import CorpusError
from isincnet_jax.data.sources import NoDataError

NUM_CLIPS = 15  # jazz.00054 beyond them


@pytest.fixture(scope="module")
def archive(gtzan_tree, tmp_path_factory):
    path = tmp_path_factory.mktemp("archive") / "genres.tar.gz"
    with tarfile.open(path, "w:gz") as opened:
        opened.add(gtzan_tree / "genres", arcname="genres")
    return path


def _read(source, **options):
    options = {"sample_rate": 22_050, "loudness_db": None} | options
    return {found.track.name: found for found in sources.read_tracks(source, **options)}


def _same(found, expected):
    assert sorted(found) == sorted(expected)
    for name, track in expected.items():
        np.testing.assert_array_equal(found[name].samples, track.samples)
        assert found[name].scale == track.scale
        assert found[name].track.group == track.track.group


def test_clips_are_found_in_both_formats(gtzan_tree):
    source = gtzan.gtzan_source(gtzan_tree)
    assert len(source.tracks) == NUM_CLIPS
    assert source.tracks[0].name == "blues/blues.00000"
    assert {track.group for track in source.tracks} == {"blues", "jazz", "rock"}
    assert list(source.missing) == ["jazz/jazz.00054"]
    skipped = {}
    found = _read(source, skipped=skipped)
    assert len(found) == NUM_CLIPS - 1
    assert sorted(skipped) == ["jazz/jazz.00054", "rock/rock.00003"]
    for name, suffix in (("blues/blues.00000", "wav"), ("jazz/jazz.00001", "au")):
        samples, _ = soundfile.read(gtzan_tree / "genres" / f"{name}.{suffix}")
        np.testing.assert_allclose(found[name].samples * found[name].scale, samples, atol=2e-5)


@pytest.mark.parametrize("layout", ["genres", "genres_original", "Data/genres_original", "."])
def test_the_folder_may_stand_anywhere(gtzan_tree, tmp_path, layout):
    shutil.copytree(gtzan_tree / "genres", tmp_path / layout, dirs_exist_ok=True)
    assert len(gtzan.gtzan_source(tmp_path).tracks) == NUM_CLIPS


def test_of_two_formats_the_wav_is_taken(tmp_path):
    (tmp_path / "pop").mkdir()
    for suffix, level in (("au", 0.1), ("wav", 0.5)):
        soundfile.write(tmp_path / "pop" / f"pop.00000.{suffix}", np.full(100, level), 22_050)
    found = _read(gtzan.gtzan_source(tmp_path))["pop/pop.00000"]
    assert found.samples[0] * found.scale == pytest.approx(0.5, abs=1e-4)


@pytest.mark.parametrize("at", ["archive", "its folder"])
def test_the_archive_is_read_without_unpacking(gtzan_tree, archive, at):
    source = gtzan.gtzan_source(archive if at == "archive" else archive.parent, verify=False)
    skipped = {}
    _same(_read(source, skipped=skipped), _read(gtzan.gtzan_source(gtzan_tree)))
    assert sorted(skipped) == ["jazz/jazz.00054", "rock/rock.00003"]
    assert f"{archive}: rock.00003.au" in skipped["rock/rock.00003"]
    assert [path.name for path in archive.parent.iterdir()] == ["genres.tar.gz"]


def test_another_archive_is_refused_unless_trusted(archive, monkeypatch):
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    with pytest.raises(CorpusError, match=f"{digest}: not the published archive, 24347e0223d2ba79"):
        gtzan.gtzan_source(archive)
    monkeypatch.setattr(gtzan, "ARCHIVE_SHA256", digest)
    assert len(gtzan.gtzan_source(archive).tracks) == NUM_CLIPS


def test_a_truncated_archive_is_named(archive, tmp_path):
    cut = tmp_path / "genres.tar.gz"
    cut.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
    with pytest.raises(CorpusError, match=r"genres\.tar\.gz: truncated or damaged"):
        gtzan.gtzan_source(cut, verify=False)
    cut.write_bytes(b"no archive")
    with pytest.raises(CorpusError, match=r"genres\.tar\.gz: truncated or damaged"):
        gtzan.gtzan_source(cut, verify=False)


def test_an_archive_of_something_else_is_named(tmp_path):
    with tarfile.open(tmp_path / "other.tgz", "w:gz"):
        pass
    with pytest.raises(NoDataError, match=r"other\.tgz: holds no clips of GTZAN"):
        gtzan.gtzan_source(tmp_path / "other.tgz", verify=False)


@pytest.mark.parametrize("where", [None, "", "none"])
def test_without_data_one_screen_says_what_to_do(tmp_path, where):
    path = None if where is None else tmp_path / where
    with pytest.raises(NoDataError) as caught:
        build_corpora("gtzan", path, sample_rate=16_000)
    text = str(caught.value)
    for word in (
        "1,000 music clips",
        "genres.tar.gz",
        "24347e0223d2ba798e0a558c4c172d9d4a19c00bb7963fe055d183dadb4ef2c6",
        "dead since 2022",
        "genres/GENRE/GENRE.NNNNN.wav",
        "genres_original",
        "gtzan/1.0.0",
        "--config.data.path=",
        "--config.data.source=generated",
    ):
        assert word in text
    assert len(text.splitlines()) < 24
    assert max(map(len, text.splitlines()[1:])) <= 100


def test_splits_by_files_and_by_hash(gtzan_tree, split_files):
    source = gtzan.gtzan_source(gtzan_tree)
    by_files = preparation.assign_splits(source, splits=split_files)
    assert [len(names) for names in by_files.values()] == [12, 3]
    by_hash = preparation.assign_splits(source, seed=1)
    assert [len(names) for names in by_hash.values()] == [9, 3, 3]  # one of each genre in each
    assert by_hash != preparation.assign_splits(source, seed=2)


def test_the_real_clips(shared):
    folder = shared / "audio" / "gtzan_mini"
    source = gtzan.gtzan_source(folder)
    assert len(source.tracks) == 70
    split_folder = Path(__file__).parents[2] / "experiments" / "splits" / "gtzan_mini"
    found = preparation.assign_splits(source, splits=split_folder)
    assert [len(names) for names in found.values()] == [50, 20]
    assert {name[-5:] for name in found["validation"]} == {"00005", "00006"}
    (clip,) = sources.read_tracks(
        source, sample_rate=16_000, loudness_db=-23.0, names=["pop/pop.00005"]
    )
    assert len(clip.samples) / 16_000 > 15
    assert np.max(np.abs(clip.samples)) * clip.scale <= 1.0
