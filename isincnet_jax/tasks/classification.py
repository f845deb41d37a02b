r"""Trains a classifier of genres or speakers as a config says, and goes on where it stopped.

    python experiments/train_classifier.py --config=experiments/configs/classifier_genre.py \
        --config.data=DIR [--config.field=value ...]

``--config.data=DIR`` is short for ``--config.data.path=DIR``; several folders, divided by commas,
are put together, and files of the same name are one track. Writes checkpoints, ``log.jsonl``,
TensorBoard events, ``bands.npz`` (the edges of learned filters whenever the run logged) and, at the
end, ``result.json`` (accuracy by track and its interval, confusion, how far the filters moved) into
``config.workdir``, and prints the table. The same command goes on with a run that was interrupted.
The fields, what they mean and their defaults are in ``experiments/configs/classifier_genre.py``.
Without data, try ``--config.data.source=generated``.

Exit status: 0 when the run is finished; 1 after an error; 143 and 130 when SIGTERM or Ctrl-C
stopped it, which writes a checkpoint first.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from isincnet_jax.classifiers.chunks import ChunkPlan, track_chunks
from isincnet_jax.classifiers.labelled import Labelled
from isincnet_jax.classifiers.training import Scores, make_predict, score_tracks
from isincnet_jax.tasks import classifier_parts
from isincnet_jax.tasks.classifier_parts import BandRecord
from isincnet_jax.tasks.command import run_command
from isincnet_jax.tasks.config import Config
from isincnet_jax.tasks.process import Stop
from isincnet_jax.tasks.run import Outcome, Task, build_loop, run
from isincnet_jax.training import parallel
from isincnet_jax.training.checkpoints import Checkpoints
from isincnet_jax.training.logs import RunLog
from isincnet_jax.training.state import TrainState, create_state, model_variables
from isincnet_jax.training.step import Step

_logger = logging.getLogger("train")


class Classification(Task):
    """A classifier of tracks by their chunks, with learned or fixed filters."""

    best_metric = "accuracy"

    def __init__(self, config: Config, data: Labelled | None = None) -> None:
        self.config, self.loop = config, build_loop(config)
        parallel.check_batch(config.data.batch_size)
        classifier_parts.build_optimizer(config, ("frontend",))
        self.data = classifier_parts.build_data(config) if data is None else data
        _describe(self.data)
        self.classifier = classifier_parts.build_classifier(config, self.data.classes)
        self.identity = self.classifier.identity
        self.optimizer = classifier_parts.build_optimizer(config, self.classifier.filter_paths)
        self.samples_per_step = config.data.batch_size * classifier_parts.chunk_samples(config)
        self._plan = ChunkPlan(
            classifier_parts.chunk_samples(config),
            round(config.evaluation.hop_s * config.data.sample_rate),
            config.evaluation.batch_size,
        )
        module = self.classifier.module
        self._features = jax.jit(
            lambda variables, chunks: module.apply(variables, chunks, method="features")
        )

    def first_state(self) -> TrainState:
        """The state before the first step, from the seed.

        Returns:
            On the host, step 0.
        """
        key = jax.random.key(self.config.seed)
        return create_state(self.classifier.variables, self.optimizer, key=key)

    def step(self, start_step: int, log: RunLog | None) -> Step:
        """The training step over all devices; records where learned filters are.

        Args:
            start_step: that the run goes on from; earlier records of bands stay.
            log: of the run; None on hosts other than the first, which record no bands.

        Returns:
            The step, wrapped by a recorder of ``bands.npz`` where filters are learned.
        """
        step = classifier_parts.build_step(self.config, self.classifier, self.optimizer)
        if log is None or self.classifier.bands_hz is None:
            return step
        path = Path(self.config.workdir) / "bands.npz"
        record = BandRecord(path, self.classifier, resume_step=start_step)
        return record.watching(step, self.loop, start=start_step)

    def batches(self, start_step: int) -> Iterator[Any]:
        """Labelled chunks on the devices.

        Args:
            start_step: of the first batch.

        Returns:
            Waveforms [devices, clips, time] and targets [devices, clips, classes], without end.
        """
        return classifier_parts.batches(self.config, self.data, start_step)

    def scores(self, state: TrainState, split: str) -> Scores:
        """Decisions for all tracks of a split.

        Args:
            state: on the host.
            split: "validation" or "test".

        Returns:
            Sums of log-posteriors and hits of every track.
        """
        predict = make_predict(self._features, state)
        batches = track_chunks(self.data, split, self._plan)
        return score_tracks(predict, batches, self.data.track_labels(split))

    def evaluate(self, state: TrainState, log: RunLog | None) -> dict[str, float]:
        """Accuracy on the validation tracks, and how far the filters moved.

        Args:
            state: on the host.
            log: not used: accuracies are logged by the loop.

        Returns:
            "accuracy" and "chunk_accuracy", 0 to 1, and the mean and largest movement in Hz.
        """
        scores = self.scores(state, "validation")
        return {
            "accuracy": scores.accuracy,
            "chunk_accuracy": scores.chunk_accuracy,
            **self._filter_movement(state),
        }

    def _filter_movement(self, state: TrainState) -> dict[str, float]:
        """How far the centres of learned filters are from where they began, Hz."""
        if self.classifier.bands_hz is None:
            return {}
        moved = self.classifier.movement_hz(model_variables(state))
        return {"filter_movement_hz": float(np.mean(moved)), "most_moved_hz": float(np.max(moved))}

    def finish(
        self, state: TrainState, checkpoints: Checkpoints, about: dict[str, Any]
    ) -> tuple[dict[str, Any], str]:
        """Classifies the held-out splits with the state of the last step.

        Args:
            state: of the last step.
            checkpoints: not used: the last state is scored, not the best by validation.
            about: config and commit of the run.

        Returns:
            "classes", movements in Hz, and for each held-out split tracks, hits, accuracy with its
            interval and confusion; and the table.
        """
        moved, splits = self._filter_movement(state), {}
        lines = [f"{'split':<12} tracks  accuracy, 95 % interval     chunks"]
        for split in self.data.corpora:
            if split == "train":
                continue
            scores = self.scores(state, split)
            low, high = scores.interval()
            splits[split] = {
                "tracks": len(scores.labels),
                "hits": scores.num_hits,
                "accuracy": scores.accuracy,
                "interval": [low, high],
                "chunk_accuracy": scores.chunk_accuracy,
                "confusion": scores.confusion().tolist(),
            }
            lines.append(
                f"{split:<12} {len(scores.labels):>6}  {100 * scores.accuracy:6.2f} %  "
                f"{100 * low:6.2f} to {100 * high:6.2f}  {100 * scores.chunk_accuracy:6.2f} %"
            )
            lines += _by_class(self.data.classes, scores) if split == "test" else []
        if moved:
            lines.append(
                f"centres of filters moved {moved['filter_movement_hz']:.4g} Hz on average, "
                f"{moved['most_moved_hz']:.4g} Hz at most"
            )
        return {"classes": self.data.classes, **moved, "splits": splits}, "\n".join(lines)


def train_classifier(
    config: Config, *, data: Labelled | None = None, stop: Stop | None = None
) -> Outcome:
    """One run of a config; see :func:`.run.run`.

    Args:
        config: of ``configs/classifier_genre.py``'s kind.
        data: what ``config.data`` describes, for callers that have it already.
        stop: whether to end; signals decide if None.

    Returns:
        Status, the content of ``result.json``, and the table.

    Raises:
        ValueError: for a config that cannot be trained, before anything is written.
    """
    return run(config, Classification(config, data), stop=stop)


def _describe(data: Labelled) -> None:
    counts = ", ".join(f"{len(data.track_names(split))} {split}" for split in data.corpora)
    _logger.info("%d classes; tracks: %s", len(data.classes), counts)


def _by_class(classes: Sequence[str], scores: Scores) -> list[str]:
    if len(classes) > 20:
        return []
    table = scores.confusion()
    return [
        f"  {name:<12} {hits:>4} of {total}"
        for name, hits, total in zip(classes, table.diagonal(), table.sum(axis=1), strict=True)
    ]


def main() -> None:
    """Runs the config of the command line."""
    run_command(train_classifier, about=__doc__, config="classifier_genre.py")
