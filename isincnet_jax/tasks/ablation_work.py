"""Measurements of a filterbank in an ablation. Composes, computes nothing itself."""

from __future__ import annotations

import functools
import itertools
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import ml_collections
import numpy as np

import isincnet_jax as isn
from isincnet_jax import provenance
from isincnet_jax.ablation import measures as ablation_measures
from isincnet_jax.ablation.grid import BANK, Ablation, Cell, is_compared, run_key
from isincnet_jax.bank import design
from isincnet_jax.benchmark import run as benchmark_run
from isincnet_jax.benchmark.methods import safe_name
from isincnet_jax.classifiers.labelled import Labelled
from isincnet_jax.data.demo import demo_waveform
from isincnet_jax.tasks import classifier_parts
from isincnet_jax.tasks.config import Config
from isincnet_jax.tasks.process import Stop

_logger = logging.getLogger("ablation")


class Stopped(BaseException):
    """A signal asked to end while a classifier was trained."""


class Task(NamedTuple):
    """One measurement.

    Attributes:
        part: one of :data:`.ablation_table.PARTS`.
        key: what its result is kept under.
        cell: of the grid.
        call: gives the result.
    """

    part: str
    key: str
    cell: Cell
    call: Callable[[], dict[str, Any]]


def _spec(cell: Cell) -> isn.FilterbankSpec:
    return isn.FilterbankSpec(**{k: v for k, v in cell.values.items() if k != "front_end"})


class Work:
    """Measurements of a cell. Clips and tracks are read when they are first wanted."""

    def __init__(self, config: Config, stop: Stop) -> None:
        self.config, self.stop = config, stop
        self.folders = [path for path in config.data.path if path]

    @functools.cached_property
    def clips(self) -> tuple[list[str], np.ndarray]:
        """Names, and float32 [clips, time]."""
        wanted, rate = self.config.reconstruction, self.config.base.sample_rate
        if not self.folders:
            length = round(wanted.duration_s * rate)
            return ["built-in clip"], demo_waveform(rate)[None, :length]
        names: list[str] = []
        found = []
        # Clips of each folder, whole numbers that differ by one at most and sum to max_clips.
        shares = np.diff(np.linspace(0, wanted.max_clips, len(self.folders) + 1).astype(int))
        for path, share in zip(self.folders, shares, strict=True):
            if share:
                settings = benchmark_run.Settings(
                    path=Path(path),
                    out=Path("results.json"),
                    sample_rate=rate,
                    duration_s=wanted.duration_s,
                    max_clips=int(share),
                    loudness_db=wanted.loudness_db,
                )
                own, clips, skipped = benchmark_run.load_clips(settings)
                for name, reason in skipped.items():
                    _logger.warning("%s: skipped %s: %s", path, name, reason)
                names += [f"{Path(path).resolve().name}/{name}" for name in own]
                found.append(clips)
        return names, np.concatenate(found)

    @functools.cached_property
    def tracks(self) -> dict[str, Labelled]:
        """Labelled tracks that the classifiers of each task learn and are tested with."""
        return {
            task: classifier_parts.build_data(self.classifier_config(task, {}, 0))
            for task in self.config.tasks
        }

    def tasks(self, cells: Sequence[Cell]) -> Iterator[Task]:
        """Measurements to be made: part after part, seed after seed, mel filters first, LEAF last.

        Args:
            cells: of the grid.

        Yields:
            Those of the parts that the config asks for, whether they are there already or not.
        """
        parts = self.config.parts
        for part in ("reconstruction", "speed"):
            for cell in cells if part in parts else ():
                if cell.values["front_end"] == BANK:
                    yield Task(part, part, cell, functools.partial(getattr(self, part), cell))
        runs = itertools.product(self.config.seeds, self.config.tasks, self.config.filters, cells)
        # The baseline comes first. LEAF filters at every sample, ten times the work of others: all
        # of them come before it.
        places = {"mel": 0, "leaf": 2}
        in_order = sorted(runs, key=lambda run: places.get(run[-1].values["front_end"], 1))
        for seed, task, filters, cell in in_order if "classification" in parts else ():
            if is_compared(filters, cell.values["front_end"]):
                call = functools.partial(self.classification, cell, task, filters, seed)
                yield Task("classification", run_key(task, filters, seed), cell, call)

    def prepare(self, part: str, results: Ablation) -> None:
        """Reads what a part needs: data that are missing are an error of the run, not of a cell.

        Args:
            part: one of :data:`.ablation_table.PARTS`.
            results: gets the names of clips, or the numbers of tracks, of that part.
        """
        if part == "reconstruction":
            results.content["clips"] = self.clips[0]
        elif part == "classification":
            found = {
                task: {split: len(data.track_names(split)) for split in data.corpora}
                for task, data in self.tracks.items()
            }
            results.content["tracks"] = {**results.content.get("tracks", {}), **found}

    def reconstruction(self, cell: Cell) -> dict[str, Any]:
        """Frame bounds, and signal-to-noise ratios if the bank can be inverted.

        Args:
            cell: whose values make the bank's spec.

        Returns:
            "lower", "upper", "condition" ("infinite" for no frame), "invertible", and either the
            "reason" or the ratios in dB of :func:`.measures.reconstruction_scores`.
        """
        spec, settings = _spec(cell), self.config.reconstruction
        bounds = isn.frame_bounds(spec)
        finite = np.isfinite(bounds.condition)  # JSON has no infinity
        found = {
            "lower": bounds.lower,
            "upper": bounds.upper,
            "condition": bounds.condition if finite else "infinite",
            "invertible": design.is_invertible(spec),
        }
        if not found["invertible"]:
            return {**found, "reason": design.explain_not_invertible(spec)}
        codec = isn.build_codec(isn.SincNet(spec))
        quantizer = codec.quantizer(q_bits=settings.q_bits)
        clips = self.clips[1]
        scores = ablation_measures.reconstruction_scores(
            clips,
            encode=codec.encode,
            decode=lambda kept: codec.decode(kept, length=clips.shape[1]),
            quantize=lambda kept: quantizer.decode(quantizer.encode(jnp.asarray(kept))),
            noise_snr_db=settings.noise_snr_db,
            seed=settings.seed,
        )
        return {**found, **scores}

    def speed(self, cell: Cell) -> dict[str, Any]:
        """Real-time factor of encoding, and of decoding if the bank can be inverted.

        Args:
            cell: whose values make the bank's spec.

        Returns:
            "encode_x_real_time", "decode_x_real_time" (None without an inverse), "device" and
            "load_average" (of the last minute; None where the system does not tell).
        """
        spec, settings = _spec(cell), self.config.speed
        length = round(settings.duration_s * spec.sample_rate)
        # The built-in clip again and again, up to the length.
        clip = np.resize(demo_waveform(spec.sample_rate), length)
        batch = jnp.asarray(np.tile(clip, (settings.batch_size, 1)))
        invertible = design.is_invertible(spec)
        # Any decoder will do where only encoding is timed.
        no_decoder = isn.DecoderSpec("free", num_frames=1, first_frame=0)
        codec = isn.build_codec(isn.SincNet(spec, isn.DecoderSpec() if invertible else no_decoder))
        spectrogram = codec.encode(batch)

        def measured(work: Callable[[], Any]) -> float:
            return ablation_measures.times_real_time(
                work,
                duration_s=settings.duration_s * settings.batch_size,
                repeats=settings.repeats,
            )

        return {
            "encode_x_real_time": measured(lambda: codec.encode(batch)),
            "decode_x_real_time": measured(lambda: codec.decode(spectrogram, length=length))
            if invertible
            else None,
            "device": provenance.device_name(),
            "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        }

    def classifier_config(
        self,
        task: str,
        values: Mapping[str, Any],
        seed: int,
        *,
        filters: str = "learned",
        folder: str = "",
    ) -> Config:
        """The classifier of a cell: the config's, with the values of the cell.

        Args:
            task: name of the classifier.
            values: of the cell, by field.
            seed: of weights and batches.
            filters: "learned" or "fixed".
            folder: of the run; empty where only its data are asked for.

        Returns:
            A copy; "scale" is its ``initial_scale``, and "num_bins" its ``num_filters`` where the
            numbers of bins are an axis.
        """
        config: Config = ml_collections.ConfigDict(self.config.classifiers[task].to_dict())
        config.seed, config.workdir = seed, folder
        if task == "genre":
            config.data.path, config.data.splits = tuple(self.folders), self.config.data.splits
        if not any(config.data.path):
            config.data.source = "generated"
        config.data.cache_dir = self.config.data.cache_dir
        config.data.sample_rate = self.config.base.sample_rate
        names = {"scale": "initial_scale", "shape": "shape", "component": "component"}
        if len(self.config.axes.num_bins) > 1:
            names["num_bins"] = "num_filters"
        for name, field in names.items():
            if name in values:
                config.model[field] = values[name]
        front_end = values.get("front_end", BANK)
        if front_end == "free":
            config.model.shape = "free"
        elif front_end != BANK:
            config.model.kind = front_end
        if filters == "fixed":
            config.optimizer.filter_learning_rate = 0.0
        return config

    def classification(self, cell: Cell, task: str, filters: str, seed: int) -> dict[str, Any]:
        """One classifier trained and tested, in a folder of its own where it goes on.

        Args:
            cell: whose values make the front end.
            task: name of the classifier.
            filters: "learned" or "fixed".
            seed: of weights and batches.

        Returns:
            "accuracy", "chunk_accuracy", "tracks" and "hits" of the "split" (the test split if
            there is one), the "run"'s folder and, of learned filters, how far they moved in Hz.

        Raises:
            Stopped: if a signal asked to end.
        """
        from isincnet_jax.tasks.classification import train_classifier  # JAX is set up before

        place = Path("runs") / safe_name(cell.name) / f"{task}-{filters}-{seed}"
        folder = str(Path(self.config.workdir) / place)
        config = self.classifier_config(task, cell.values, seed, filters=filters, folder=folder)
        outcome = train_classifier(config, data=self.tracks[task], stop=self.stop)
        if outcome.result is None:
            raise Stopped
        splits = outcome.result["splits"]
        split = "test" if "test" in splits else "validation"
        kept = ("tracks", "hits", "accuracy", "chunk_accuracy")
        moved = ("filter_movement_hz", "most_moved_hz")
        return {
            "split": split,
            "run": place.as_posix(),
            **{name: splits[split][name] for name in kept},
            **{name: outcome.result[name] for name in moved if name in outcome.result},
        }
