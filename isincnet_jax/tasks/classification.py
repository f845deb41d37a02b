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

from isincnet_jax import extras

if __name__ == "__main__":
    extras.require_or_exit("ml_collections")

import contextlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import ml_collections
import numpy as np

from isincnet_jax.classifiers.chunks import ChunkPlan, track_chunks
from isincnet_jax.classifiers.labelled import Labelled
from isincnet_jax.classifiers.training import Scores, make_predict, score_tracks
from isincnet_jax.files import write_text
from isincnet_jax.tasks import classifier_parts
from isincnet_jax.tasks.classifier_parts import BandRecord, Classifier
from isincnet_jax.tasks.command_line import run_command
from isincnet_jax.tasks.compose import build_loop, open_run
from isincnet_jax.tasks.process import Stop
from isincnet_jax.training import parallel
from isincnet_jax.training.loop import fit
from isincnet_jax.training.state import TrainState, create_state, model_variables

_DEFAULT = Path(__file__).parent / "configs" / "classifier_genre.py"
_logger = logging.getLogger("train")


class Outcome(NamedTuple):
    """How a run ended.

    Attributes:
        status: 0 when it is finished, else what a shell reports of the signal that stopped it.
        result: what ``result.json`` has; None unless finished, and on hosts other than the first.
        table: the same for readers.
    """

    status: int
    result: dict[str, Any] | None = None
    table: str = ""


def train_classifier(
    config: ml_collections.ConfigDict, *, data: Labelled | None = None, stop: Stop | None = None
) -> Outcome:
    """One run, from its last checkpoint or from the beginning, to its end.

    Args:
        config: of ``configs/classifier_genre.py``'s kind.
        data: what ``config.data`` describes, for callers that have it already.
        stop: whether to end; signals decide if None.
    """
    # Whatever is wrong with the config is found before data are read or anything is written.
    loop = build_loop(config)
    parallel.check_batch(config.data.batch_size)
    classifier_parts.build_optimizer(config, ("frontend",))
    data = classifier_parts.build_data(config) if data is None else data
    _describe(data)
    classifier = classifier_parts.build_classifier(config, data.classes)
    optimizer = classifier_parts.build_optimizer(config, classifier.filter_paths)
    evaluator = _Evaluator(config, classifier, data)
    stop = Stop(config.train.log_every) if stop is None else stop
    with contextlib.ExitStack() as stack:
        state = create_state(classifier.variables, optimizer, key=jax.random.key(config.seed))
        checkpoints, log, state, meta = open_run(
            config,
            state,
            identity=classifier.identity,
            stack=stack,
            best_metric="accuracy",
        )
        step = classifier_parts.build_step(config, classifier, optimizer)
        if log is not None and classifier.bands_hz is not None:
            start = int(state.step)
            path = Path(config.workdir) / "bands.npz"
            record = BandRecord(path, classifier, resume_step=start)
            step = record.watching(step, loop, start=start)
        batches = classifier_parts.batches(config, data, int(state.step))
        stack.callback(getattr(batches, "close", lambda: None))
        state = fit(
            state,
            step,
            batches,
            spec=loop,
            samples_per_step=config.data.batch_size * classifier_parts.chunk_samples(config),
            log=log,
            checkpoints=checkpoints,
            meta=meta,
            evaluate=evaluator.metrics,
            should_stop=stop,
            show_progress=log is not None,
        )
        if int(state.step) < loop.num_steps:
            return Outcome(stop.status)
        if log is None:
            return Outcome(0)
        return _finish(Path(config.workdir), evaluator, state, meta)


class _Evaluator:
    """Classifies the tracks of a split with the variables of a state."""

    def __init__(
        self, config: ml_collections.ConfigDict, classifier: Classifier, data: Labelled
    ) -> None:
        self.classifier, self.data = classifier, data
        self._plan = ChunkPlan(
            classifier_parts.chunk_samples(config),
            round(config.evaluation.hop_s * config.data.sample_rate),
            config.evaluation.batch_size,
        )
        module = classifier.module
        self._apply = jax.jit(
            lambda variables, chunks: module.apply(variables, chunks, method="features")
        )

    def scores(self, state: TrainState, split: str) -> Scores:
        """Decisions for all tracks of a split."""
        predict = make_predict(self._apply, state)
        batches = track_chunks(self.data, split, self._plan)
        return score_tracks(predict, batches, self.data.track_labels(split))

    def metrics(self, state: TrainState) -> dict[str, float]:
        """What an evaluation during training reports; checkpoints are compared by "accuracy"."""
        scores = self.scores(state, "validation")
        return {
            "accuracy": scores.accuracy,
            "chunk_accuracy": scores.chunk_accuracy,
            **self.filter_movement(state),
        }

    def filter_movement(self, state: TrainState) -> dict[str, float]:
        """How far the centres of learned filters are from where they began, Hz."""
        if self.classifier.bands_hz is None:
            return {}
        moved = self.classifier.movement_hz(model_variables(state))
        return {"filter_movement_hz": float(np.mean(moved)), "most_moved_hz": float(np.max(moved))}


def _describe(data: Labelled) -> None:
    counts = ", ".join(f"{len(data.track_names(split))} {split}" for split in data.corpora)
    _logger.info("%d classes; tracks: %s", len(data.classes), counts)


def _finish(
    workdir: Path, evaluator: _Evaluator, state: TrainState, meta: dict[str, Any]
) -> Outcome:
    """Classifies the held-out splits and writes ``result.json``."""
    result: dict[str, Any] = {
        **meta,
        "classes": evaluator.data.classes,
        **evaluator.filter_movement(state),
        "splits": {},
    }
    lines = [f"{'split':<12} tracks  accuracy, 95 % interval     chunks"]
    for split in evaluator.data.corpora:
        if split == "train":
            continue
        scores = evaluator.scores(state, split)
        low, high = scores.interval()
        result["splits"][split] = {
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
        lines += _by_class(evaluator.data.classes, scores) if split == "test" else []
    if "filter_movement_hz" in result:
        lines.append(
            f"centres of filters moved {result['filter_movement_hz']:.4g} Hz on average, "
            f"{result['most_moved_hz']:.4g} Hz at most"
        )
    write_text(workdir / "result.json", json.dumps(result, indent=1) + "\n")
    return Outcome(0, result, "\n".join(lines))


def _by_class(classes: Sequence[str], scores: Scores) -> list[str]:
    if len(classes) > 20:
        return []
    table = scores.confusion()
    return [
        f"  {name:<12} {hits:>4} of {total}"
        for name, hits, total in zip(classes, table.diagonal(), table.sum(axis=1), strict=True)
    ]


def _train(config: ml_collections.ConfigDict) -> int:
    outcome = train_classifier(config)
    if outcome.table:
        print(outcome.table)  # noqa: T201
    return outcome.status


def main() -> None:
    """Runs the config of the command line."""
    run_command(_train, default=_DEFAULT, about=__doc__)


if __name__ == "__main__":
    main()
