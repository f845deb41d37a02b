"""Classifiers of a config: module, data, optimiser, step. Composes, computes nothing itself."""

from __future__ import annotations

import itertools
import logging
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from isincnet_jax.classifiers import chunks, labelled
from isincnet_jax.classifiers import training as classification
from isincnet_jax.classifiers.ms_sincresnet import MSSincResNet
from isincnet_jax.classifiers.networks import AudioClassifier, BandEnergies, SincNetClassifier
from isincnet_jax.data.pipeline import BatchPlan
from isincnet_jax.files import replacing
from isincnet_jax.frontends import measured_bands, sinc_bands
from isincnet_jax.frontends.efficient_leaf import EfficientLeafFrontend
from isincnet_jax.frontends.leaf import LeafFrontend
from isincnet_jax.frontends.sinc_conv import SincConv
from isincnet_jax.spectrograms.mel import MelSpectrogram
from isincnet_jax.tasks.config import Config
from isincnet_jax.training import optimizers, parallel
from isincnet_jax.training import step as train_step
from isincnet_jax.training.loop import LoopSpec

_logger = logging.getLogger(__name__)
_LEAVES = ("leaf", "efficient_leaf")  # compress by themselves
_FRAMES_PER_AVERAGE = 4  # of a sinc bank, which thus runs at a quarter of the hop


class Classifier(NamedTuple):
    """A module and what the trainer needs of it.

    Attributes:
        module: Linen module of :mod:`isincnet_jax.classifiers.networks`'s kind.
        variables: initialised.
        filter_paths: names of the parameters with a rate of their own.
        identity: what a checkpoint must have been made with to fit.
        bands_hz: variables to the lower and upper edges of the filters of all banks, Hz, float64
            [filters] each; None if they are not learned.
    """

    module: Any
    variables: Any
    filter_paths: tuple[str, ...]
    identity: dict[str, Any]
    bands_hz: Callable[[Any], tuple[np.ndarray, np.ndarray]] | None

    def movement_hz(self, variables: Any) -> np.ndarray:
        """Movement of the middle of every learned band since it began, Hz, [filters].

        Args:
            variables: of the same module, later.

        Returns:
            Absolute differences of (low + high) / 2, float64.
        """
        assert self.bands_hz is not None
        now, before = (sum(self.bands_hz(one)) / 2 for one in (variables, self.variables))
        return np.abs(now - before)


def build_data(config: Config) -> labelled.Labelled:
    """The labelled corpora of a config.

    Args:
        config: of whose ``data`` the corpora are.

    Returns:
        Decoded corpora by split, with classes.

    Raises:
        NoDataError: if a path is not there.
        CorpusError: for splits that share a track, or fewer than two classes.
    """
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


def chunk_samples(config: Config) -> int:
    """Samples of a chunk at the config's rate.

    Args:
        config: with ``data.chunk_s`` in seconds.

    Returns:
        Rounded to whole samples.
    """
    return round(config.data.chunk_s * config.data.sample_rate)


def batches(config: Config, data: labelled.Labelled, start_step: int) -> Iterator[Any]:
    """Batches from a step on, placed on the devices, by a thread of their own.

    Args:
        config: batch size, chunk, gain and mixup.
        data: labelled corpora; "train" is drawn from.
        start_step: of the first batch.

    Returns:
        Waveforms [devices, clips, time] and targets [devices, clips, classes], without end.
    """
    plan = BatchPlan(
        batch_size=config.data.batch_size,
        crop_samples=chunk_samples(config),
        seed=config.seed,
        host_index=jax.process_index(),
        num_hosts=jax.process_count(),
    )

    gain, mixup = tuple(config.data.gain), config.data.mixup
    return parallel.prefetched(
        chunks.labelled_batch(data, plan, step, gain=gain, mixup=mixup)
        for step in itertools.count(start_step)
    )


def build_classifier(config: Config, classes: tuple[str, ...]) -> Classifier:
    """The classifier of a config, initialised from its seed.

    Args:
        config: ``model``, ``seed`` and the length of chunks.
        classes: names, in the order of the scores.

    Returns:
        The module, its initialised variables, and how its bands are read.

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
            compression="none" if model.kind in _LEAVES else model.compression,
            widths=tuple(model.widths),
            dropout=model.dropout,
            max_masked_frames=model.max_masked_frames,
            max_masked_bins=model.max_masked_bins,
            axis_name=axis,
            learn_frontend=config.optimizer.filter_learning_rate != 0,
        )
        paths = ("frontend",)
    init = jax.jit(module.init)
    variables = init(jax.random.key(config.seed), jnp.zeros((1, chunk_samples(config))))
    identity = {
        "model": {**model.to_dict(), "sample_rate": config.data.sample_rate},
        "chunk_samples": chunk_samples(config),
        "classes": list(classes),
    }
    if getattr(getattr(module, "shape", None), "digest", ""):  # a user's, not its name alone
        identity["shape_digest"] = module.shape.digest
    # Fixed front ends, mel say, have no parameters of that name.
    banks = paths if "params" in variables and paths[0] in variables["params"] else ()
    return Classifier(module, variables, paths, identity, _bands_of(config, banks))


def _bands_of(
    config: Config, banks: tuple[str, ...]
) -> Callable[[Any], tuple[np.ndarray, np.ndarray]] | None:
    """The edges of the bands of all banks, from variables; None if there are none."""
    # SincNet's edges are its parameters plus 50 Hz each; LEAF adds nothing.
    model, least_hz = config.model, 0.0 if config.model.kind in _LEAVES else 50.0
    limits = sinc_bands.BandLimits(config.data.sample_rate, least_hz, least_hz)

    def bands_hz(variables: Any) -> tuple[np.ndarray, np.ndarray]:
        found = []
        for name in banks:
            params = variables["params"][name]
            params = params.get("filterbank", params)  # BandEnergies has the bank as a part
            if "taps" in params:
                found.append(_measured_edges(np.asarray(params["taps"]), config))
                continue
            # float64: movements are small differences of edges
            edges = sinc_bands.bands_from_parameters(
                np.asarray(params["low"], np.float64),
                np.asarray(params["band"], np.float64),
                parametrization=model.parametrization,
                limits=limits,
                xp=np,
            )
            found.append(edges)
        low, high = (np.concatenate(part) for part in zip(*found, strict=True))
        return low, high

    return bands_hz if banks else None


def _measured_edges(taps: np.ndarray, config: Config) -> tuple[np.ndarray, np.ndarray]:
    """The edges of free filters, whose cosine and sine parts stand one after the other."""
    is_pair = config.model.kind == "sincnet" and config.model.component == "complex"
    edges = measured_bands.measured_bands(
        tuple(np.split(taps, 2 if is_pair else 1)), sample_rate=config.data.sample_rate
    )
    return np.asarray(edges[0]), np.asarray(edges[1])


class BandRecord:
    """Band edges over a run: ``bands.npz``, for pictures of before, after and between.

    The file has "steps" [records], "low_hz" and "high_hz" [records, filters], the edges of the
    bands in Hz. It is written anew with every record, complete or not at all.

    Args:
        path: of the file.
        classifier: with bands.
        resume_step: records of later steps are dropped: they will be written again.
    """

    def __init__(self, path: Path, classifier: Classifier, *, resume_step: int = 0) -> None:
        self._path, self._classifier = path, classifier
        self._rows: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        if path.exists():
            self._rows = {step: row for step, row in self._read() if step <= resume_step}
        self.add(0, classifier.variables)

    def _read(self) -> Iterator[tuple[int, tuple[np.ndarray, np.ndarray]]]:
        filters = len(self._classifier.bands_hz(self._classifier.variables)[0])  # type: ignore[misc]
        try:
            # A file that is no archive would stay open if NumPy had opened it.
            with open(self._path, "rb") as handle, np.load(handle) as file:
                steps, low, high = (file[name] for name in ("steps", "low_hz", "high_hz"))
            if not low.shape == high.shape == (len(steps), filters):
                raise ValueError(f"of {low.shape[-1]} filters, not {filters}")
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            _logger.warning("%s: ignored and begun anew: %s", self._path, error)
            return
        yield from zip(steps.tolist(), zip(low, high, strict=True), strict=True)

    def add(self, step: int, variables: Any) -> None:
        """Adds the bands of some variables, in the place of an earlier record of that step.

        Args:
            step: that the variables are of.
            variables: with the filters' parameters; others may be missing.

        Raises:
            FileError: if the file cannot be written.
        """
        self._rows[step] = self._classifier.bands_hz(variables)  # type: ignore[misc]
        steps = sorted(self._rows)
        low, high = (np.stack([self._rows[one][end] for one in steps]) for end in (0, 1))
        with replacing(self._path) as temporary:
            np.savez_compressed(temporary, steps=np.array(steps), low_hz=low, high_hz=high)

    def watching(self, step: train_step.Step, loop: LoopSpec, *, start: int) -> train_step.Step:
        """A training step that adds a record whenever the loop logs or evaluates.

        Args:
            step: of all devices, see :func:`.parallel.parallel_step`.
            loop: when that is.
            start: number of the step that the run stands at.

        Returns:
            The step with the same arguments and results; the record is made on the host.
        """
        number = start

        def watched(state: Any, batch: Any) -> Any:
            nonlocal number
            state, metrics = step(state, batch)
            number += 1
            if any(loop.is_due(every, number) for every in (loop.log_every, loop.evaluate_every)):
                banks = {name: state.params[name] for name in self._classifier.filter_paths}
                self.add(number, {"params": parallel.first_copy(banks)})
            return state, metrics

        return watched


def build_frontend(config: Config) -> Any:
    """The front end of a config: waveform to about 100 frames of energies a second.

    Args:
        config: ``model`` and ``data.sample_rate``.

    Returns:
        A Linen module from [batch, time] to [batch, frames, bins].

    Raises:
        ValueError: for an unknown kind.
    """
    model, sample_rate = config.model, config.data.sample_rate
    if model.kind == "mel":
        return MelSpectrogram(
            sample_rate=sample_rate,
            n_fft=4 * model.hop_length,
            hop_length=model.hop_length,
            n_mels=model.num_filters,
        )
    if model.kind == "sincnet":
        component = model.component
        bank = SincConv(
            num_filters=model.num_filters,
            kernel_size=model.kernel_size,
            sample_rate=sample_rate,
            stride=model.hop_length // _FRAMES_PER_AVERAGE,
            padding="same",
            parametrization=model.parametrization,
            normalization="gain",
            shape=model.shape,
            initial_scale=model.initial_scale,
            component=component,
        )
        return BandEnergies(bank, pool=_FRAMES_PER_AVERAGE, is_complex=component == "complex")
    if model.kind == "leaf":
        return LeafFrontend(
            num_filters=model.num_filters,
            kernel_size=model.kernel_size,
            sample_rate=sample_rate,
            hop_length=model.hop_length,
            parametrization=model.parametrization,
        )
    if model.kind == "efficient_leaf":
        # The classifier's own BatchNorm follows; medians beside the logarithms would be no bins.
        return EfficientLeafFrontend(
            num_filters=model.num_filters,
            pool_size=model.kernel_size,
            sample_rate=sample_rate,
            hop_length=model.hop_length,
            parametrization=model.parametrization,
            median="subtract",
            normalize=False,
        )
    raise ValueError(
        f"model.kind={model.kind!r} is unknown; use mel, sincnet, leaf, efficient_leaf, "
        "sincnet_classifier or ms_sincresnet"
    )


def build_optimizer(config: Config, paths: tuple[str, ...]) -> Any:
    """The optimiser of a config.

    Args:
        config: ``optimizer`` and ``train.num_steps``.
        paths: of the parameters that are filters, see :class:`.optimizers.OptimizerSpec`.

    Returns:
        An ``optax.GradientTransformation``: AdamW or RMSprop.

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


def build_step(config: Config, classifier: Classifier, optimizer: Any) -> train_step.Step:
    """The training step of a config, over all devices.

    Args:
        config: with ``optimizer.label_smoothing``.
        classifier: that is trained.
        optimizer: whose state the run has.

    Returns:
        See :func:`.training.make_classification_step`; under ``jax.pmap``.
    """

    def classify(variables: Any, waveform: jax.Array, key: jax.Array) -> tuple[Any, Any]:
        return classifier.module.apply(
            variables, waveform, train=True, rngs={"dropout": key}, mutable=["batch_stats"]
        )

    step = classification.make_classification_step(
        classify, optimizer=optimizer, label_smoothing=config.optimizer.label_smoothing
    )
    return parallel.parallel_step(step)
