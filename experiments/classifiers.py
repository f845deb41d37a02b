"""From a config to a classifier and its data. Composes, computes nothing itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from isincnet_jax.data import chunks, labelled
from isincnet_jax.data.pipeline import BatchPlan
from isincnet_jax.data.prefetching import prefetch
from isincnet_jax.dsp import sinc_bands
from isincnet_jax.layers.leaf import LeafFrontend
from isincnet_jax.layers.mel import MelSpectrogram
from isincnet_jax.layers.sinc_conv import SincConv
from isincnet_jax.models.classifier import AudioClassifier, BandEnergies, SincNetClassifier
from isincnet_jax.models.ms_sincresnet import MSSincResNet
from isincnet_jax.training import classification, optimizers, parallel
from isincnet_jax.training import step as train_step

_FRAMES_PER_AVERAGE = 4  # of a sinc bank, which thus runs at a quarter of the hop


class Classifier(NamedTuple):
    """A module and what the trainer needs of it.

    Attributes:
        module: Linen module of :mod:`isincnet_jax.models.classifier`'s kind.
        variables: initialised.
        filter_paths: names of the parameters with a rate of their own.
        identity: what a checkpoint must have been made with to fit.
        centers_hz: variables to the centres of the filters; None if they are not learned.
    """

    module: Any
    variables: Any
    filter_paths: tuple[str, ...]
    identity: dict[str, Any]
    centers_hz: Callable[[Any], np.ndarray] | None


def build_data(config: ml_collections.ConfigDict) -> labelled.Labelled:
    """The labelled corpora of a config."""
    data = config.data
    return labelled.build_labelled(
        data.source,
        tuple(data.path),
        sample_rate=data.sample_rate,
        loudness_db=data.loudness_db,
        splits=data.splits or None,
        seed=data.split_seed,
        speaker_level=data.speaker_level,
        sessions_together=data.sessions_together,
        cache_dir=data.cache_dir or None,
        verify=data.verify,
    )


def chunk_samples(config: ml_collections.ConfigDict) -> int:
    """Samples of a chunk."""
    return round(config.data.chunk_s * config.data.sample_rate)


def batches(
    config: ml_collections.ConfigDict, data: labelled.Labelled, start_step: int
) -> Iterator[Any]:
    """Batches from a step on, placed on the devices, by a thread of their own."""
    plan = BatchPlan(
        batch_size=config.data.batch_size,
        crop_samples=chunk_samples(config),
        seed=config.seed,
        host_index=jax.process_index(),
        num_hosts=jax.process_count(),
    )

    def placed() -> Iterator[Any]:
        step = start_step
        while True:
            batch = chunks.labelled_batch(
                data, plan, step, gain=tuple(config.data.gain), mixup=config.data.mixup
            )
            yield parallel.shard(tuple(parallel.split_batch(part) for part in batch))
            step += 1

    return prefetch(placed(), size=2)


def build_classifier(config: ml_collections.ConfigDict, classes: tuple[str, ...]) -> Classifier:
    """The classifier of a config, initialised from its seed.

    Raises:
        ValueError: for an unknown kind, and what the modules refuse.
    """
    model, axis = config.model, train_step.AXIS
    if model.kind == "sincnet_classifier":
        module: Any = SincNetClassifier(
            len(classes),
            sample_rate=config.data.sample_rate,
            num_filters=(model.num_filters, 60, 60),
            kernel_sizes=(model.kernel_size, 5, 5),
            hidden=tuple(model.hidden),
            parametrization=model.parametrization,
            shape=model.shape,
            axis_name=axis,
        )
        paths: tuple[str, ...] = ("frontend",)
    elif model.kind == "ms_sincresnet":
        module = MSSincResNet(
            len(classes),
            sample_rate=config.data.sample_rate,
            num_filters=model.num_filters,
            num_frames=model.num_frames,
            parametrization=model.parametrization,
            shape=model.shape,
            widths=tuple(model.widths),
            pyramid=tuple(model.pyramid),
            dropout=model.dropout,
            axis_name=axis,
        )
        paths = module.filter_paths
    else:
        module = AudioClassifier(
            build_frontend(config),
            len(classes),
            compression="none" if model.kind == "leaf" else model.compression,
            widths=tuple(model.widths),
            dropout=model.dropout,
            max_masked_frames=model.max_masked_frames,
            max_masked_bins=model.max_masked_bins,
            axis_name=axis,
        )
        paths = ("frontend",)
    init = jax.jit(module.init)
    variables = init(jax.random.key(config.seed), jnp.zeros((1, chunk_samples(config))))
    identity = {
        "model": {**model.to_dict(), "sample_rate": config.data.sample_rate},
        "chunk_samples": chunk_samples(config),
        "classes": list(classes),
    }
    banks = paths if "params" in variables and paths[0] in variables["params"] else ()
    return Classifier(module, variables, paths, identity, _centers_of(config, banks))


def _centers_of(
    config: ml_collections.ConfigDict, banks: tuple[str, ...]
) -> Callable[[Any], np.ndarray] | None:
    """The middles of the bands of all banks, from variables; None if there are none."""
    model, least_hz = config.model, 0.0 if config.model.kind == "leaf" else 50.0
    limits = sinc_bands.BandLimits(config.data.sample_rate, least_hz, least_hz)

    def centers_hz(variables: Any) -> np.ndarray:
        found = []
        for name in banks:
            params = variables["params"][name]
            params = params.get("filterbank", params)
            low, high = sinc_bands.bands_from_parameters(
                np.asarray(params["low"], np.float64),
                np.asarray(params["band"], np.float64),
                parametrization=model.parametrization,
                limits=limits,
                xp=np,
            )
            found.append((low + high) / 2)
        return np.concatenate(found)

    return centers_hz if banks else None


def build_frontend(config: ml_collections.ConfigDict) -> Any:
    """The front end of a config: waveform to about 100 frames of energies a second."""
    model, sample_rate = config.model, config.data.sample_rate
    if model.kind == "mel":
        return MelSpectrogram(
            sample_rate=sample_rate,
            n_fft=4 * model.hop_length,
            hop_length=model.hop_length,
            n_mels=model.num_filters,
        )
    if model.kind == "sincnet":
        bank = SincConv(
            num_filters=model.num_filters,
            kernel_size=model.kernel_size,
            sample_rate=sample_rate,
            stride=model.hop_length // _FRAMES_PER_AVERAGE,
            padding="same",
            parametrization=model.parametrization,
            normalization="gain",
            shape=model.shape,
            component="complex",
        )
        return BandEnergies(bank, pool=_FRAMES_PER_AVERAGE, is_complex=True)
    if model.kind == "leaf":
        return LeafFrontend(
            num_filters=model.num_filters,
            kernel_size=model.kernel_size,
            sample_rate=sample_rate,
            hop_length=model.hop_length,
            parametrization=model.parametrization,
        )
    raise ValueError(
        f"model.kind={model.kind!r} is unknown; use mel, sincnet, leaf, sincnet_classifier or "
        "ms_sincresnet"
    )


def build_optimizer(config: ml_collections.ConfigDict, paths: tuple[str, ...]) -> Any:
    """The optimiser of a config.

    Raises:
        ValueError: for an unknown kind, and what the optimisers refuse.
    """
    fields = dict(config.optimizer)
    kind, _ = fields.pop("kind"), fields.pop("label_smoothing")
    kinds = {"adamw": optimizers.make_optimizer, "rmsprop": classification.make_rmsprop}
    if kind not in kinds:
        raise ValueError(f"optimizer.kind={kind!r} is unknown; use {' or '.join(kinds)}")
    spec = optimizers.OptimizerSpec(
        total_steps=config.train.num_steps, filter_paths=paths, **fields
    )
    return kinds[kind](spec)


def build_step(
    config: ml_collections.ConfigDict, classifier: Classifier, optimizer: Any
) -> train_step.Step:
    """The training step of a config, over all devices."""

    def classify(variables: Any, waveform: jax.Array, key: jax.Array) -> tuple[Any, Any]:
        return classifier.module.apply(
            variables, waveform, train=True, rngs={"dropout": key}, mutable=["batch_stats"]
        )

    step = classification.make_classification_step(
        classify, optimizer=optimizer, label_smoothing=config.optimizer.label_smoothing
    )
    return parallel.parallel_step(step)
