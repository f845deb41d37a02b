"""Batches by tf.data, from a TensorFlow dataset; the same as those of ``data.pipeline``.

Two passes. The first, once, decodes: examples of the dataset go through a parallel, ordered
``map`` (mono, resampling, loudness, integers) into a :class:`~isincnet_jax.data.corpus.Corpus`,
in memory or cached in files. The second is a dataset over *steps*: each step is mapped to the
clips that :func:`isincnet_jax.data.pipeline.draw` gives for it, in parallel, in order, and
prefetched. A shuffle buffer and ``take`` would have to be run from the start to resume and would
be the same only on one machine; a dataset over steps starts anywhere, and any host makes its own
share of a batch without reading that of the others.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from isincnet_jax.data.corpus import Corpus, CorpusError, assemble
from isincnet_jax.data.corpus_files import INDEX, CorpusWriter, load_corpus, new_folder
from isincnet_jax.data.gtzan import gtzan_source
from isincnet_jax.data.pipeline import BatchPlan, check_plan, make_batch
from isincnet_jax.data.preparation import assign_splits
from isincnet_jax.data.sources import condition
from isincnet_jax.data.tf import gtzan_tfds
from isincnet_jax.data.tf.tensorflow_import import import_tensorflow

_LOG = logging.getLogger(__name__)


def build_tf_corpora(
    path: str | Path,
    *,
    data_dir: str | Path,
    sample_rate: int,
    loudness_db: float | None = -23.0,
    splits: str | Path | None = None,
    seed: int = 0,
    cache_dir: str | Path | None = None,
    verify: bool = True,
) -> dict[str, Corpus]:
    """GTZAN through TensorFlow Datasets and tf.data: builds the dataset once, then decodes it.

    Args:
        path: of GTZAN; see :func:`isincnet_jax.data.gtzan.gtzan_source`.
        data_dir: where TensorFlow Datasets keeps what is built.
        sample_rate: Hz.
        loudness_db: LUFS, or None.
        splits: folder of split files; by hash of the names if None.
        seed: of the division by hash.
        cache_dir: keep what was decoded in files here; None decodes into memory.
        verify: refuse an archive that is not the published one.

    Returns:
        The same corpora as :func:`isincnet_jax.data.corpora.build_corpora`.

    Raises:
        NoDataError: if GTZAN is not there.
        CorpusError: if a split is empty, or what is there is damaged.
        ImportError: without TensorFlow Datasets.
    """
    source = gtzan_source(path, verify=verify)
    assignment = assign_splits(source, splits=splits, seed=seed)
    builder = gtzan_tfds.gtzan_builder(source, assignment, data_dir=data_dir)
    return tf_corpora(
        builder, sample_rate=sample_rate, loudness_db=loudness_db, cache_dir=cache_dir
    )


def tf_corpora(
    builder: Any,
    *,
    sample_rate: int,
    loudness_db: float | None = -23.0,
    cache_dir: str | Path | None = None,
) -> dict[str, Corpus]:
    """Decodes the splits of a TensorFlow dataset by tf.data.

    Args:
        builder: prepared, of :func:`.gtzan_tfds.gtzan_builder` for instance.
        sample_rate: Hz.
        loudness_db: integrated loudness of every track, LUFS; None leaves levels as they are.
        cache_dir: keep what was decoded in files here and map it from disk; None decodes into
            memory.

    Returns:
        The corpus of each split of the dataset.

    Raises:
        CorpusError: if a split has no track, or the cache cannot be written.
    """
    corpora = {}
    for split in sorted(builder.info.splits):
        key = f"{builder.data_dir}:{_stamp(builder)}:{split}:{sample_rate}:{loudness_db}"
        digest = hashlib.sha256(key.encode()).hexdigest()[:16]
        folder = None if cache_dir is None else Path(cache_dir) / f"tf-{split}-{digest}"
        corpora[split] = _decoded_split(
            builder, split, sample_rate=sample_rate, loudness_db=loudness_db, folder=folder
        )
    return corpora


def _stamp(builder: Any) -> str:
    info = Path(builder.data_dir) / "dataset_info.json"
    return str(info.stat().st_mtime_ns)


def _decoded_split(
    builder: Any, split: str, *, sample_rate: int, loudness_db: float | None, folder: Path | None
) -> Corpus:
    head: dict[str, Any] = {
        "sample_rate": sample_rate,
        "loudness_db": loudness_db,
        "source": f"tensorflow dataset {builder.data_dir}, {split}",
    }
    if folder is not None and (folder / INDEX).is_file():
        return load_corpus(folder)
    parts = _decoded(builder, split, sample_rate=sample_rate, loudness_db=loudness_db)
    if folder is None:
        corpus = assemble(list(parts), **head)
    else:
        with new_folder(folder) as temporary, CorpusWriter(temporary, **head) as writer:
            for name, group, samples, scale in parts:
                writer.add(name, group=group, samples=samples, scale=scale)
            writer.finish()
        corpus = load_corpus(folder)
    if not len(corpus):
        raise CorpusError(f"{builder.data_dir}: no track of the split {split} can be read")
    return corpus


def _decoded(
    builder: Any, split: str, *, sample_rate: int, loudness_db: float | None
) -> Iterator[tuple[str, str, np.ndarray, float]]:
    """Name, group, int16 [time] and scale of each track, through a parallel map in order."""
    tf, tfds = import_tensorflow()

    def numpy_condition(audio: np.ndarray, rate: np.ndarray) -> tuple[np.ndarray, np.float32]:
        try:
            samples, scale = condition(
                gtzan_tfds.to_float(audio),
                source_rate=int(rate),
                sample_rate=sample_rate,
                loudness_db=loudness_db,
            )
        except ValueError:  # too short; a dataset has to yield something
            return np.zeros(0, np.int16), np.float32(0.0)
        return samples, np.float32(scale)

    def conditioned(example: dict[str, Any]) -> dict[str, Any]:
        rate = gtzan_tfds.example_rate(builder, example)
        samples, scale = tf.numpy_function(
            numpy_condition, [example["audio"], rate], (tf.int16, tf.float32)
        )
        rest = {key: value for key, value in example.items() if key != "audio"}
        return rest | {"samples": samples, "scale": scale}

    dataset = gtzan_tfds.open_split(builder, split).map(
        conditioned, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    for example in tfds.as_numpy(dataset.prefetch(tf.data.AUTOTUNE)):
        name = gtzan_tfds.example_name(builder, example)
        if len(example["samples"]) == 0:
            _LOG.warning("skipped %s: too short for %d Hz", name, sample_rate)
            continue
        yield name, name.partition("/")[0], example["samples"], float(example["scale"])


def tf_batches(
    corpus: Corpus,
    plan: BatchPlan,
    *,
    start_step: int = 0,
    num_parallel: int = 2,
    prefetch: int = 2,
) -> Iterator[Float[np.ndarray, "batch time"]]:
    """Batches without end by tf.data, from a step on; equal to those of ``numpy_batches``.

    Args:
        corpus: of :func:`tf_corpora`, or any other.
        plan: the batch and the host's share of it.
        start_step: the first batch is the one that a run from 0 has after so many.
        num_parallel: batches made at the same time.
        prefetch: batches kept ready.

    Returns:
        An iterator of float32 [batch_size / num_hosts, crop_samples].

    Raises:
        CorpusError: at once, if the corpus cannot fill the batches.
        ImportError: without TensorFlow.
    """
    check_plan(corpus, plan)
    tf, _ = import_tensorflow()

    def gather(step: np.ndarray) -> np.ndarray:
        return make_batch(corpus, plan, int(step))

    def batch(step: Any) -> Any:
        clips = tf.numpy_function(gather, [step], tf.float32)
        return tf.ensure_shape(clips, (plan.host_batch, plan.crop_samples))

    steps = tf.data.Dataset.range(start_step, np.iinfo(np.int64).max)
    dataset = steps.map(batch, num_parallel_calls=num_parallel, deterministic=True)
    return iter(dataset.prefetch(prefetch).as_numpy_iterator())
