"""From a source to corpora: in memory, cached, prepared on the command line."""

from __future__ import annotations

import os
import resource
import shlex
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from isincnet_jax import cli
from isincnet_jax.data import corpora as corpora_module
from isincnet_jax.data import corpus_files, preparation
from isincnet_jax.data.corpora import build_corpora
from isincnet_jax.data.corpus import CorpusError
from isincnet_jax.data.sources import NoDataError, SourceTrack

RATE = 8000


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the console entry in this process: exit status, standard output, standard error."""

    def call(line: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["isincnet", *shlex.split(line)])
        try:
            cli.main()
            status = 0
        except SystemExit as end:
            status = end.code or 0
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def _same(found, expected):
    assert list(found) == list(expected)
    for split, corpus in expected.items():
        assert found[split].names == corpus.names
        assert found[split].sample_rate == corpus.sample_rate
        for index in range(len(corpus)):
            np.testing.assert_array_equal(found[split].clip(index), corpus.clip(index))


def test_generated_corpora_need_no_data():
    found = build_corpora("generated", sample_rate=RATE)
    assert [len(corpus) for corpus in found.values()] == [18, 3, 3]
    assert {track.group for track in found["test"].tracks} == {"chords", "plucks", "rhythm"}
    assert found["train"].loudness_db == -23.0
    assert found["train"].duration_s == 18 * 6.0
    other = build_corpora("generated", sample_rate=RATE, seed=1, loudness_db=None)
    assert np.max(np.abs(other["train"].clip(0))) == pytest.approx(0.8, abs=1e-4)


def test_the_cache_is_made_once_and_mapped(gtzan_tree, split_files, tmp_path, monkeypatch):
    options = {"sample_rate": RATE, "splits": split_files}
    expected = build_corpora("gtzan", gtzan_tree, **options)
    assert [len(corpus) for corpus in expected.values()] == [11, 3]  # one of 12 is corrupt
    first = build_corpora("gtzan", gtzan_tree, **options, cache_dir=tmp_path / "cache")
    _same(first, expected)
    assert isinstance(first["train"].samples, np.memmap)
    with monkeypatch.context() as patch:
        patch.setattr(corpora_module, "prepare", None)  # must not be called
        _same(build_corpora("gtzan", gtzan_tree, **options, cache_dir=tmp_path / "cache"), expected)
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_the_cache_follows_arguments_and_files(tmp_path, rng):
    folder = tmp_path / "audio"
    folder.mkdir()
    for index in range(4):
        soundfile.write(folder / f"{index}.wav", rng.uniform(-1, 1, 4000), RATE)
    cache = tmp_path / "cache"

    def build(**options):
        options = {"sample_rate": RATE, "loudness_db": None} | options
        build_corpora("folder", folder, cache_dir=cache, **options)
        return len(list(cache.iterdir()))

    assert [build(), build()] == [1, 1]
    assert [build(sample_rate=4000), build(loudness_db=-20.0)] == [2, 3]
    soundfile.write(folder / "4.wav", rng.uniform(-1, 1, 4000), RATE)
    assert build() == 4
    os.utime(folder / "4.wav", (1, 1))
    assert build() == 5


def test_a_faster_process_wins(tmp_path, monkeypatch):
    original = preparation.prepare

    def slow_prepare(*args, **options):
        original(*args, **options)  # another process
        return original(*args, **options)

    monkeypatch.setattr(corpora_module, "prepare", slow_prepare)
    found = build_corpora("generated", sample_rate=4000, cache_dir=tmp_path)
    assert [len(corpus) for corpus in found.values()] == [18, 3, 3]


def test_a_split_without_a_readable_track_is_refused(gtzan_tree, tmp_path):
    (tmp_path / "train.txt").write_text("blues.*")
    (tmp_path / "validation.txt").write_text("rock.00003")
    with pytest.raises(CorpusError, match="no track of the split validation can be read"):
        build_corpora(
            "gtzan", gtzan_tree, sample_rate=RATE, splits=tmp_path, cache_dir=tmp_path / "cache"
        )
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_single_track_is_not_enough(tmp_path, rng):
    soundfile.write(tmp_path / "a.wav", rng.uniform(-1, 1, 4000), RATE)
    with pytest.raises(CorpusError, match="1 tracks, none is left for the split validation"):
        build_corpora("folder", tmp_path, sample_rate=RATE)


@pytest.mark.parametrize(
    ("source", "path", "message"),
    [
        ("folder", None, "source='folder' needs a path"),
        ("musdb18", None, "source='musdb18' needs a path"),
        ("prepared", None, "source='prepared' needs a path"),
        ("prepared", "none", "none: no prepared corpora .*isincnet prepare"),
        ("folder", "none", "none: no such folder"),
    ],
)
def test_missing_data_is_said(tmp_path, source, path, message):
    with pytest.raises(NoDataError, match=message):
        build_corpora(source, path and tmp_path / path, sample_rate=RATE)
    with pytest.raises(ValueError, match="source='vinyl': use one of gtzan, musdb18"):
        build_corpora("vinyl", sample_rate=RATE)


def test_a_division_in_three_is_kept():
    tracks = tuple(
        SourceTrack(f"t{i}", "g", official=split)
        for i, split in enumerate(["train", "test", "validation", "train"])
    )
    source = preparation.Source("test", tracks, lambda wanted: iter(()))
    assert preparation.assign_splits(source) == {
        "train": ("t0", "t3"),
        "test": ("t1",),
        "validation": ("t2",),
    }


def test_prepare_writes_what_training_reads(run, gtzan_tree, split_files, tmp_path):
    out = tmp_path / "out"
    line = f"prepare {gtzan_tree} {out} --source gtzan --sample-rate {RATE} --splits {split_files}"
    status, text, err = run(line)
    assert (status, err) == (0, "resampled to 8000 Hz: tracks of 22050 Hz (14)\n")
    assert "train: 11 tracks, 0.003 h" in text
    assert "validation: 3 tracks, 0.001 h" in text
    assert "skipped: 2" in text
    assert "jazz/jazz.00054: known to be corrupt" in text
    expected = build_corpora("gtzan", gtzan_tree, sample_rate=RATE, splits=split_files)
    _same(build_corpora("prepared", out, sample_rate=RATE), expected)
    for split in expected:
        corpus_files.load_corpus(out / split, verify=True)
    with pytest.raises(CorpusError, match="sample_rate=16000: prepared at 8000 Hz"):
        build_corpora("prepared", out, sample_rate=16_000)
    with pytest.raises(CorpusError, match="loudness_db=None: prepared with -23"):
        build_corpora("prepared", out, sample_rate=RATE, loudness_db=None)
    status, _, err = run(line)
    assert status == 1
    assert "out: exists and is not empty; overwrite it (--overwrite)" in err
    status, text, _ = run(f"prepare x {out} --source generated --no-loudness --overwrite")
    assert status == 0
    assert "test: 3 tracks" in text
    assert len(build_corpora("prepared", out, sample_rate=16_000, loudness_db=None)) == 3


def test_prepare_leaves_nothing_behind_on_a_full_disk(run, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))  # a write beyond it fails
    try:
        status, _, err = run(f"prepare x {tmp_path / 'out'} --source generated --no-loudness")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert status == 1
    assert "out: cannot be written: File too large" in err
    assert list(tmp_path.iterdir()) == []


def test_prepared_corpora_need_numpy_only(run, tmp_path):
    run(f"prepare x {tmp_path / 'out'} --source generated --no-loudness --sample-rate 4000")
    code = f"""
import sys
for name in ("tensorflow", "tensorflow_datasets", "librosa", "pyloudnorm", "jax.numpy"):
    sys.modules[name] = None
from isincnet_jax.data import corpora, pipeline
found = corpora.build_corpora(
    "prepared", {str(tmp_path / "out")!r}, sample_rate=4000, loudness_db=None
)
plan = pipeline.BatchPlan(batch_size=2, crop_samples=4000)
print(next(pipeline.numpy_batches(found["train"], plan)).shape)
try:
    corpora.build_corpora("generated", sample_rate=4000)
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "(2, 4000)"
    assert "needs pyloudnorm: pip install 'isincnet-jax[runs]'" in done.stdout
