"""From a config to the parts of a run: data, model, step. Composes, computes nothing itself."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import ml_collections
import numpy as np

import isincnet_jax as isn
from isincnet_jax import provenance
from isincnet_jax.data import pipeline
from isincnet_jax.data.corpora import build_corpora
from isincnet_jax.data.corpus import Corpus
from isincnet_jax.data.prefetching import prefetch
from isincnet_jax.tasks.process import alone
from isincnet_jax.tasks.reconstruction_models import Model
from isincnet_jax.training import (
    initial_weights,
    losses,
    optimizers,
    parallel,
    resident,
    trees,
)
from isincnet_jax.training import state as train_state
from isincnet_jax.training import step as train_step
from isincnet_jax.training.augmentation import AugmentationSpec
from isincnet_jax.training.checkpoints import Checkpoints
from isincnet_jax.training.logs import RunLog
from isincnet_jax.training.loop import LoopSpec
from isincnet_jax.training.trees import first_difference

_logger = logging.getLogger(__name__)


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


def build_data(config: ml_collections.ConfigDict) -> Data:
    """The corpora of a config, and its batches on the devices.

    Raises:
        ValueError: for an unknown loader, or a batch that devices cannot share.
        NoDataError, CorpusError: if there is no data, or too little of it.
    """
    data = config.data
    if data.loader not in ("numpy", "tf", "device"):
        raise ValueError(f"data.loader={data.loader!r} is unknown; use numpy, tf or device")
    clips_per_device = parallel.check_batch(data.batch_size)
    accumulate = config.optimizer.accumulate
    if accumulate < 1 or clips_per_device % accumulate:
        raise ValueError(
            f"optimizer.accumulate={accumulate} does not divide the {clips_per_device} clips of a "
            "device; use 1, or change data.batch_size"
        )
    corpora = _corpora(config)
    train = corpora["train"]
    plan = pipeline.BatchPlan(
        batch_size=data.batch_size,
        crop_samples=round(data.crop_s * data.sample_rate),
        seed=config.seed,
        host_index=jax.process_index(),
        num_hosts=jax.process_count(),
        pad_short=data.pad_short,
    )
    pipeline.check_plan(train, plan)
    if data.loader == "device":
        return _resident_data(corpora, plan, clips_per_device)

    def host_batches(start_step: int) -> Iterator[np.ndarray]:
        if data.loader == "numpy":
            return pipeline.numpy_batches(train, plan, start_step=start_step)
        from isincnet_jax.data.tf import (
            pipeline as tf_pipeline,  # TensorFlow only where it is asked for
        )

        return tf_pipeline.tf_batches(train, plan, start_step=start_step)

    def batches(start_step: int) -> Iterator[Any]:
        placed = (parallel.shard(parallel.split_batch(batch)) for batch in host_batches(start_step))
        return prefetch(placed, size=2)

    return Data(train, corpora["validation"], corpora.get("test"), batches, None)


def _corpora(config: ml_collections.ConfigDict) -> dict[str, Corpus]:
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


def _resident_data(
    corpora: Mapping[str, Corpus], plan: pipeline.BatchPlan, clips_per_device: int
) -> Data:
    train = corpora["train"]
    corpus = resident.resident_corpus(
        train.samples,
        starts=[track.start for track in train.tracks],
        lengths=train.lengths,
        scales=[track.scale for track in train.tracks],
        crop_samples=plan.crop_samples,
    )
    placed = parallel.replicate(corpus)
    draw = resident.crop_drawer(
        crop_samples=plan.crop_samples, clips_per_device=clips_per_device, seed=plan.seed
    )

    def batches(start_step: int) -> Iterator[Any]:
        del start_step  # the step itself knows its number
        while True:
            yield placed

    return Data(train, corpora["validation"], corpora.get("test"), batches, draw)


def build_optimizer(config: ml_collections.ConfigDict) -> Any:
    """The optimiser of a config."""
    fields = dict(config.optimizer)
    fields.pop("accumulate")
    spec = optimizers.OptimizerSpec(total_steps=config.train.num_steps, **fields)
    return optimizers.make_optimizer(spec)


def build_step(
    config: ml_collections.ConfigDict, model: Model, optimizer: Any, draw: Any
) -> train_step.Step:
    """The training step of a config, over all devices."""
    weights = {name: weight for name, weight in config.loss.items() if weight is not None}
    step = train_step.make_step(
        model.reconstruct,
        loss=losses.weighted_loss(weights),
        optimizer=optimizer,
        augmentation=AugmentationSpec(**config.augmentation),
        sample_rate=config.data.sample_rate,
        penalties=model.penalties,
        accumulate=config.optimizer.accumulate,
        draw=draw,
    )
    return parallel.parallel_step(step)


def build_loop(config: ml_collections.ConfigDict) -> LoopSpec:
    """When the loop does what."""
    names = ("num_steps", "log_every", "evaluate_every", "save_every", "max_skipped")
    return LoopSpec(**{name: config.train[name] for name in names})


def first_state(
    config: ml_collections.ConfigDict, model: Model, optimizer: Any
) -> train_state.TrainState:
    """The state before the first step, from the seed."""
    return train_state.create_state(model.variables, optimizer, key=jax.random.key(config.seed))


def with_weights_of(folder: str, state: train_state.TrainState) -> train_state.TrainState:
    """A first state with the weights of another run, or of an exported model.

    Raises:
        CheckpointError: if nothing is there, or the weights do not fit.
    """
    if (Path(folder) / "model.json").is_file():
        stored = trees.flatten(isn.from_pretrained(Path(folder)).variables.get("params", {}))
        params = initial_weights.fitting_parameters(folder, state.params, stored)
    else:
        params = initial_weights.load_parameters(folder, state.params)
    _logger.info("started from the weights of %s", folder)
    return state.replace(params=params)  # type: ignore[attr-defined]


def best_state(checkpoints: Checkpoints, state: train_state.TrainState) -> train_state.TrainState:
    """The state of the best checkpoint; the last one if none has been evaluated."""
    checkpoints.wait()
    best = checkpoints.best_step
    if best is None:
        return state
    restored = checkpoints.restore(state, step=best)
    return state if restored is None else restored.state


def lasting(config: dict[str, Any]) -> dict[str, Any]:
    """What of a config should be the same when a run goes on, elsewhere maybe."""
    return {name: value for name, value in config.items() if name not in ("hosts", "workdir")}


def open_run(
    config: ml_collections.ConfigDict,
    state: train_state.TrainState,
    *,
    identity: Any,
    stack: contextlib.ExitStack,
    start: Callable[[train_state.TrainState], train_state.TrainState] = lambda state: state,
    best_metric: str = "snr_db",
) -> tuple[Checkpoints, RunLog | None, train_state.TrainState, dict[str, Any]]:
    """The run's folder, for this process only: its checkpoints, log, state and description.

    Args:
        config: with ``workdir`` and ``train``.
        state: of step 0, what a checkpoint must have the structure of.
        identity: of the model, see :class:`.checkpoints.Checkpoints`.
        stack: closes what is opened here.
        start: turns the state into that of a run without a checkpoint.
        best_metric: the metric of the checkpoints to keep as the best; larger is better.
    """
    workdir = Path(config.workdir)
    meta = {
        "config": json.loads(config.to_json_best_effort()),
        "git_commit": provenance.code_version(),
    }
    if jax.process_index() == 0:
        workdir.mkdir(parents=True, exist_ok=True)
        stack.enter_context(alone(workdir))
    checkpoints = stack.enter_context(
        Checkpoints(
            workdir,
            identity=identity,
            keep_last=config.train.keep_last,
            keep_best=config.train.keep_best,
            best_metric=best_metric,
        )
    )
    restored = checkpoints.restore(state)
    if restored is None:
        state = start(state)
    else:
        state = restored.state
        _logger.info("resumed from step %d in %s", restored.step, workdir)
        changed = first_difference(lasting(restored.meta["config"]), lasting(meta["config"]))
        if changed and jax.process_index() == 0:
            _logger.warning("the config is not the one of that checkpoint: %s", changed)
    if jax.process_index() != 0:
        return checkpoints, None, state, meta
    log = stack.enter_context(RunLog(workdir, resume_step=int(state.step)))
    return checkpoints, log, state, meta
