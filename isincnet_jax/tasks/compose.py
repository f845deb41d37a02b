"""Composition of a run from its config: corpora, batches, optimiser. Computes nothing itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from isincnet_jax.data import grain_batches, pipeline
from isincnet_jax.data.corpora import build_corpora
from isincnet_jax.data.corpus import Corpus
from isincnet_jax.tasks.config import Config
from isincnet_jax.training import optimizers, parallel, resident


class Data(NamedTuple):
    """The corpora of a run, and its batches.

    Attributes:
        train, validation: corpora.
        test: another, if there is one.
        batches: from a step on, placed on the devices.
        draw: for the step, if the corpus lives on the devices.
    """

    train: Corpus
    validation: Corpus
    test: Corpus | None
    batches: Callable[[int], Iterator[Any]]
    draw: Callable[..., jax.Array] | None


def build_data(config: Config) -> Data:
    """The corpora of a config, and its batches on the devices.

    Args:
        config: ``data``, ``optimizer.accumulate``, ``seed`` and, for caches, ``workdir``.

    Returns:
        Corpora, batches of this host's share on its devices, and, for ``data.loader=device``, how
        the step draws its own.

    Raises:
        ValueError: for an unknown loader, or a batch that devices cannot share.
        NoDataError, CorpusError: if there is no data, or too little of it.
    """
    data = config.data
    if data.loader not in ("numpy", "grain", "tf", "device"):
        raise ValueError(f"data.loader={data.loader!r} is unknown; use numpy, grain, tf or device")
    clips_per_device = parallel.check_batch(data.batch_size)
    accumulate = config.optimizer.accumulate
    if accumulate < 1 or clips_per_device % accumulate:
        raise ValueError(
            f"optimizer.accumulate={accumulate} does not divide the {clips_per_device} clips of a "
            "device; use 1, or change data.batch_size"
        )
    plan = pipeline.BatchPlan(
        batch_size=data.batch_size,
        crop_samples=crop_samples(config),
        seed=config.seed,
        host_index=jax.process_index(),
        num_hosts=jax.process_count(),
        pad_short=data.pad_short,
    )
    corpora = _corpora(config)
    train = corpora["train"]
    pipeline.check_plan(train, plan)  # now, not when the first batch is asked for
    if data.loader == "device":
        draw = resident.crop_drawer(
            crop_samples=plan.crop_samples, clips_per_device=clips_per_device, seed=plan.seed
        )
        placed = resident.resident_batches(train, crop_samples=plan.crop_samples)
        return Data(train, corpora["validation"], corpora.get("test"), placed, draw)

    def host_batches(start_step: int) -> Iterator[np.ndarray]:
        if data.loader == "numpy":
            return pipeline.numpy_batches(train, plan, start_step=start_step)
        if data.loader == "grain":
            return grain_batches.grain_batches(train, plan, start_step=start_step)
        from isincnet_jax.data.tf import pipeline as tf_pipeline  # loads TensorFlow

        return tf_pipeline.tf_batches(train, plan, start_step=start_step)

    def batches(start_step: int) -> Iterator[Any]:
        return parallel.prefetched(host_batches(start_step))

    return Data(train, corpora["validation"], corpora.get("test"), batches, None)


def _corpora(config: Config) -> dict[str, Corpus]:
    data = config.data
    options: dict[str, Any] = {
        "sample_rate": data.sample_rate,
        "loudness_db": data.loudness_db,
        "splits": data.splits or None,
        "seed": config.seed,
        "cache_dir": data.cache_dir or None,
    }
    if data.loader == "tf" and data.source == "gtzan":
        from isincnet_jax.data.tf import pipeline as tf_pipeline

        data_dir = Path(data.cache_dir or config.workdir) / "tensorflow_datasets"
        return tf_pipeline.build_tf_corpora(data.path, data_dir=data_dir, **options)
    return build_corpora(
        data.source,
        data.path,
        stems=tuple(data.stems),
        truncated=data.get("truncated", "refuse"),
        **options,
    )


def crop_samples(config: Config) -> int:
    """Samples of a crop at the config's rate.

    Args:
        config: with ``data.crop_s`` in seconds.

    Returns:
        Rounded; corpora refuse 0.
    """
    return round(config.data.crop_s * config.data.sample_rate)


def build_optimizer(config: Config, *, undivided: str = "") -> Any:
    """The optimiser of a config.

    Args:
        config: of any family but the classifiers', which choose between two.
        undivided: what batches are of, for messages, where the step cannot accumulate gradients
            over parts of a batch; empty where it can.

    Returns:
        See :func:`isincnet_jax.training.optimizers.make_optimizer`.

    Raises:
        ValueError: for numbers out of range.
    """
    fields = dict(config.optimizer)
    accumulate = fields.pop("accumulate")
    if undivided and accumulate != 1:
        raise ValueError(
            f"optimizer.accumulate={accumulate}: batches of {undivided} are not divided; use 1 and "
            "a smaller data.batch_size"
        )
    spec = optimizers.OptimizerSpec(total_steps=config.train.num_steps, **fields)
    return optimizers.make_optimizer(spec)
