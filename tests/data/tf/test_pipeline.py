"""TensorFlow Datasets and tf.data give what NumPy gives."""

from __future__ import annotations

import itertools
import shutil

import numpy as np
import pytest

from isincnet_jax.data import gtzan, gtzan_names, pipeline, preparation
from isincnet_jax.data.corpora import build_corpora
from isincnet_jax.data.corpus import CorpusError
from isincnet_jax.data.pipeline import BatchPlan
from isincnet_jax.data.tf import gtzan_tfds
from isincnet_jax.data.tf import pipeline as tf_pipeline
from isincnet_jax.data.tf.tensorflow_import import import_tensorflow

pytest.importorskip("tensorflow_datasets")

RATE = 8000


@pytest.fixture(scope="module")
def built(gtzan_tree, tmp_path_factory):
    """The dataset of the small tree, by split files, in two shards."""
    splits = tmp_path_factory.mktemp("splits")
    (splits / "train.txt").write_text("*.0000[0-3]")
    (splits / "validation.txt").write_text("*.00004")
    source = gtzan.gtzan_source(gtzan_tree)
    assignment = preparation.assign_splits(source, splits=splits)
    data_dir = tmp_path_factory.mktemp("tfds")
    builder = gtzan_tfds.gtzan_builder(source, assignment, data_dir=data_dir, num_shards=2)
    expected = build_corpora("gtzan", gtzan_tree, sample_rate=RATE, splits=splits)
    return builder, expected, splits, data_dir


def _same(found, expected):
    assert sorted(found) == sorted(expected)
    for split, corpus in expected.items():
        assert found[split].names == corpus.names
        for index, (ours, theirs) in enumerate(
            zip(found[split].tracks, corpus.tracks, strict=True)
        ):
            assert (ours.group, ours.length, ours.scale) == (
                theirs.group,
                theirs.length,
                theirs.scale,
            )
            np.testing.assert_array_equal(found[split].clip(index), corpus.clip(index))


def test_the_dataset_holds_the_files(built, gtzan_tree):
    import soundfile

    builder, _, _, _ = built
    _, tfds = import_tensorflow()
    assert builder.info.splits["train"].num_examples == 11  # one of 12 is corrupt
    assert builder.info.splits["train"].num_shards == 2
    assert builder.info.features["label"].names == list(gtzan_names.GENRES)
    for example in tfds.as_numpy(builder.as_dataset("validation")):
        name = example["name"].decode()
        pcm, rate = soundfile.read(gtzan_tree / "genres" / f"{name}.wav", dtype="int16")
        assert example["audio"].dtype == np.int16
        np.testing.assert_array_equal(example["audio"], pcm)
        assert example["sample_rate"] == rate == 22_050
        assert gtzan_names.GENRES[example["label"]] == name.partition("/")[0]


def test_the_dataset_is_built_once(built, gtzan_tree, monkeypatch):
    _, expected, splits, data_dir = built
    monkeypatch.setattr(
        gtzan_tfds.builder_class(), "_generate_examples", None
    )  # building would fail
    found = tf_pipeline.build_tf_corpora(
        gtzan_tree, data_dir=data_dir, sample_rate=RATE, splits=splits
    )
    _same(found, expected)


def test_decoding_by_tf_data_is_decoding_by_numpy(built, tmp_path):
    builder, expected, _, _ = built
    _same(tf_pipeline.tf_corpora(builder, sample_rate=RATE), expected)
    first = tf_pipeline.tf_corpora(builder, sample_rate=RATE, cache_dir=tmp_path)
    _same(first, expected)
    assert isinstance(first["train"].samples, np.memmap)
    _same(tf_pipeline.tf_corpora(builder, sample_rate=RATE, cache_dir=tmp_path), expected)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_prepared_dataset_is_a_source(built):
    builder, expected, _, _ = built
    _same(build_corpora("gtzan", builder.data_dir, sample_rate=RATE), expected)


@pytest.mark.quick(2)
@pytest.mark.parametrize("num_hosts", [1, 2])
@pytest.mark.parametrize("start_step", [0, 7])
def test_batches_are_those_of_numpy(built, num_hosts, start_step):
    builder, expected, _, _ = built
    corpus = tf_pipeline.tf_corpora(builder, sample_rate=RATE)["train"]
    for host in range(num_hosts):
        plan = BatchPlan(
            batch_size=4, crop_samples=5000, seed=3, host_index=host, num_hosts=num_hosts
        )
        ours = tf_pipeline.tf_batches(corpus, plan, start_step=start_step)
        theirs = pipeline.numpy_batches(expected["train"], plan, start_step=start_step)
        for one, other in itertools.islice(zip(ours, theirs, strict=False), 10):
            assert one.shape == (4 // num_hosts, 5000)
            assert one.dtype == np.float32
            np.testing.assert_array_equal(one, other)


def test_resuming_gives_what_would_have_come(built):
    _, expected, _, _ = built
    plan = BatchPlan(batch_size=4, crop_samples=100)
    fresh = list(itertools.islice(tf_pipeline.tf_batches(expected["train"], plan), 9))[5:]
    resumed = itertools.islice(tf_pipeline.tf_batches(expected["train"], plan, start_step=5), 4)
    np.testing.assert_array_equal(list(resumed), fresh)


def test_what_cannot_fill_a_batch_is_said_at_once(built):
    _, expected, _, _ = built
    with pytest.raises(CorpusError, match="3 tracks, fewer than batch_size=4"):
        tf_pipeline.tf_batches(expected["validation"], BatchPlan(batch_size=4, crop_samples=10))


def test_tensorflow_sees_no_gpu(built):
    tf, _ = import_tensorflow()
    assert tf.config.get_visible_devices("GPU") == []


@pytest.fixture
def catalogue(gtzan_tree, tmp_path):
    """What the catalogue's own builder of ``gtzan`` 1.0.0 wrote, when it could."""
    import soundfile

    _, tfds = import_tensorflow()

    class GTZAN(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        name = "gtzan"
        VERSION = tfds.core.Version("1.0.0")
        url_infos = {}  # noqa: RUF012

        def _info(self):
            features = {
                "audio": tfds.features.Audio(file_format="wav", sample_rate=22_050),
                "label": tfds.features.ClassLabel(names=list(gtzan_names.GENRES)),
                "audio/filename": tfds.features.Text(),
            }
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for file in sorted((gtzan_tree / "genres").glob("*/[a-z]*.wav")):
                if file.name != "jazz.00054.wav":
                    pcm, _ = soundfile.read(file, dtype="int16")
                    label = file.parent.name
                    example = {"audio": pcm.astype(np.int64), "label": label}
                    yield file.name, example | {"audio/filename": file.name}

    builder = GTZAN(data_dir=str(tmp_path))
    builder.download_and_prepare(
        download_dir=str(tmp_path / "downloads"),
        download_config=tfds.download.DownloadConfig(try_download_gcs=False),
    )
    return tmp_path


@pytest.mark.parametrize("below", ["", "gtzan", "gtzan/1.0.0"])
def test_the_catalogues_dataset_is_a_source(catalogue, gtzan_tree, tmp_path, below):
    found = build_corpora("gtzan", catalogue / below, sample_rate=RATE)
    wavs = tmp_path / "wavs"
    shutil.copytree(gtzan_tree / "genres", wavs, ignore=shutil.ignore_patterns("*.au"))
    _same(found, build_corpora("gtzan", wavs, sample_rate=RATE))
    assert sum(len(corpus) for corpus in found.values()) == 9
