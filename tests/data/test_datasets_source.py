"""An Audio column of a Hugging Face dataset gives what the folder of its files gives."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
import soundfile

from isincnet_jax.data import preparation
from isincnet_jax.data.corpora import build_corpora, open_source
from isincnet_jax.data.corpus import CorpusError
from isincnet_jax.data.pipeline import BatchPlan, numpy_batches
from isincnet_jax.data.sources import NoDataError, folder_source, read_tracks

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of what it imports
    datasets = pytest.importorskip("datasets")

from isincnet_jax.data.datasets_source import datasets_source, saved_source

NAMES = [f"{genre}/{number}" for genre in ("jazz", "rock") for number in range(6)]
SETTINGS = {"sample_rate": 4000, "loudness_db": None}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files of two rates, one and two channels."""
    root = tmp_path_factory.mktemp("music")
    rng = np.random.default_rng(11)
    for number, name in enumerate(NAMES):
        path = root / f"{name}.{'flac' if number % 2 else 'wav'}"
        path.parent.mkdir(exist_ok=True)
        rate = 8000 if number % 3 else 4000
        wave = rng.uniform(-0.5, 0.5, (rate + 100 * number, 1 + number % 2))
        soundfile.write(path, wave, rate)
    return root


def _table(folder, names, *, embed):
    """Rows of paths, or of the bytes of files."""
    files = [next(folder.glob(f"{name}.*")) for name in names]
    audio = [{"bytes": file.read_bytes() if embed else None, "path": str(file)} for file in files]
    genres = [name.partition("/")[0] for name in names]
    table = _stored({"id": list(names), "audio": audio, "genre": genres}, "audio")
    return table.cast_column("genre", datasets.ClassLabel(names=["jazz", "rock"]))


def _stored(columns, audio):
    """A dataset as files hold it; making one from arrays would need torchcodec."""
    stored = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    features = {name: datasets.Value("string") for name in columns} | {audio: stored}
    table = datasets.Dataset.from_dict(columns, features=datasets.Features(features))
    return table.cast_column(audio, datasets.Audio())


def _same(found, wanted):
    assert found.names == wanted.names
    assert [track.group for track in found.tracks] == [track.group for track in wanted.tracks]
    for index in range(len(wanted)):
        np.testing.assert_array_equal(found.clip(index), wanted.clip(index))


@pytest.mark.parametrize("embed", [True, False])
def test_batches_are_those_of_the_folder(folder, embed, tmp_path):
    source = datasets_source(_table(folder, NAMES[::-1], embed=embed), name="id", group="genre")
    found = build_corpora(source, cache_dir=tmp_path, **SETTINGS)
    wanted = build_corpora("folder", folder, **SETTINGS)
    assert sorted(found) == sorted(wanted)
    for split, corpus in wanted.items():
        _same(found[split], corpus)
    plan = BatchPlan(2, crop_samples=3000, seed=4)
    ours, theirs = (numpy_batches(corpora["train"], plan) for corpora in (found, wanted))
    for one, other in itertools.islice(zip(ours, theirs, strict=False), 4):
        np.testing.assert_array_equal(one, other)
    assert isinstance(found["train"].samples, np.memmap)
    build_corpora(source, cache_dir=tmp_path, **SETTINGS)
    assert len(list(tmp_path.iterdir())) == 1  # decoded once


def test_a_saved_dataset_keeps_its_splits(folder, tmp_path):
    parts = {"train": NAMES[:8], "validation": NAMES[8:10], "test": NAMES[10:]}
    saved = datasets.DatasetDict(
        {split: _table(folder, names, embed=True) for split, names in parts.items()}
    )
    saved.save_to_disk(tmp_path / "saved")
    found = build_corpora("datasets", tmp_path / "saved", **SETTINGS)
    wanted = preparation.prepare(folder_source(folder), parts, **SETTINGS).corpora
    for split, names in parts.items():
        assert found[split].names == tuple(f"{split}/{row:06d}" for row in range(len(names)))
        for index in range(len(names)):
            np.testing.assert_array_equal(found[split].clip(index), wanted[split].clip(index))
    stamps = [track.stamp for track in saved_source(tmp_path / "saved").tracks]
    assert stamps == [track.stamp for track in saved_source(tmp_path / "saved").tracks]
    assert len(set(stamps)) == len(NAMES)


def test_rows_that_cannot_be_read_are_skipped_and_told(folder, caplog):
    good = next(folder.glob("jazz/0.*")).read_bytes()
    rows = [
        {"bytes": good, "path": "a.wav"},
        {"bytes": b"RIFF, it says", "path": "b.wav"},
        {"bytes": None, "path": str(folder / "gone.wav")},
        None,
        {"bytes": good, "path": None},
    ]
    table = _stored({"sound": rows}, "sound")
    skipped = {}
    read = list(read_tracks(datasets_source(table), skipped=skipped, **SETTINGS))
    assert [found.track.name for found in read] == ["train/000000", "train/000004"]
    np.testing.assert_array_equal(read[0].samples, read[1].samples)
    assert list(skipped) == ["train/000001", "train/000002", "train/000003"]
    assert "train/000001: audio.wav" in skipped["train/000001"]
    assert "gone.wav" in skipped["train/000002"]
    assert skipped["train/000003"] == "train/000003: no audio in this row"
    assert "3 of 5 tracks skipped" in caplog.text


def test_what_does_not_serve_is_refused(folder, tmp_path):
    table = _table(folder, NAMES[:3], embed=False)
    for dataset, options, message in (
        (table, {"audio": "genre"}, "audio='genre': no such column of the feature Audio; there ar"),
        (table.remove_columns("audio"), {}, "0 columns of the feature Audio; there are none, use"),
        (table, {"name": "title"}, "column 'title' is not there; there are id, audio, genre"),
        (table, {"name": "genre"}, "genre='jazz' comes twice; names must be unique"),
        ({"dev": table}, {}, "split 'dev': use train, validation, test"),
        ({"train": [1]}, {}, "list: must be a Dataset, not streamed"),
    ):
        with pytest.raises(CorpusError, match=message):
            datasets_source(dataset, **options)
    with pytest.raises(NoDataError, match="datasets: no rows"):
        datasets_source(table.select([]))
    with pytest.raises(NoDataError, match=r"gone: no dataset that save_to_disk wrote; what the "):
        open_source("datasets", tmp_path / "gone", sample_rate=4000)
    with pytest.raises(NoDataError, match="source='datasets' needs a path"):
        open_source("datasets", None, sample_rate=4000)
    table.save_to_disk(tmp_path / "saved")
    for file in (tmp_path / "saved").glob("*.arrow"):
        file.write_bytes(b"damaged")
    with pytest.raises(CorpusError, match="saved: cannot be read: "):
        open_source("datasets", tmp_path / "saved", sample_rate=4000)
