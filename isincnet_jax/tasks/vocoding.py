r"""Trains a vocoder as a config says, and goes on where an earlier run stopped.

    python experiments/train_vocoder.py --config=experiments/configs/vocoder.py:convnext \
        --config.data=DIR [--config.field=value ...]

``--config.data=DIR`` is short for ``--config.data.path=DIR``: LJSpeech's folder, or any other with
audio below it. Writes checkpoints, ``log.jsonl``, TensorBoard events and, at the end, ``export/``
(the best checkpoint, for ``isincnet_jax.from_pretrained``) and ``result.json`` (its scores on the
held-out files, beside those of a model that it started from, and the memory of the step) into
``config.workdir``, and prints the scores; with the extra "perceptual" also PESQ, STOI, ESTOI and
ViSQOL. The same command goes on with a run that was interrupted. The fields, what they mean and
their defaults are in ``experiments/configs/vocoder.py``. Without data, try
``--config.data.source=generated``.

Exit status: 0 when the run is finished; 1 after an error; 143 and 130 when SIGTERM or Ctrl-C
stopped it, which writes a checkpoint first.
"""

from __future__ import annotations

from typing import Any

from isincnet_jax.benchmark import perceptual
from isincnet_jax.pretrained.trained import is_exported, load_vocoder
from isincnet_jax.tasks import vocoder_parts
from isincnet_jax.tasks.command import run_command
from isincnet_jax.tasks.compose import build_data, crop_samples
from isincnet_jax.tasks.config import Config
from isincnet_jax.tasks.run import Outcome, Task, build_loop, export_best, run
from isincnet_jax.tasks.vocoder_scores import Evaluator, WholeClips, scores_text
from isincnet_jax.training import parallel
from isincnet_jax.training.checkpoints import Checkpoints
from isincnet_jax.training.logs import RunLog
from isincnet_jax.training.state import TrainState
from isincnet_jax.vocoders.training import generator_variables
from isincnet_jax.vocoders.vocoder import TrainedVocoder


class Vocoding(Task):
    """A vocoder, with or without discriminators, scored on whole held-out clips."""

    best_metric = "score"

    def __init__(self, config: Config) -> None:
        self.config = config
        self.loop, self.built = build_loop(config), vocoder_parts.build_vocoder(config)
        self.identity = self.built.identity
        parallel.check_batch(config.data.batch_size)
        self.training = vocoder_parts.build_training(config)
        vocoder_parts.build_step(config, self.built, self.training, None)
        self.data = build_data(config)
        self._clips = self._whole_clips("validation")
        self._evaluator = Evaluator(self.built.module)
        self._step = vocoder_parts.build_step(config, self.built, self.training, self.data.draw)
        self.samples_per_step = config.data.batch_size * crop_samples(config)

    def _whole_clips(self, split: str) -> WholeClips:
        return WholeClips(
            getattr(self.data, split),
            max_clips=self.config.evaluation.max_clips,
            duration_s=self.config.evaluation.duration_s,
        )

    def first_state(self) -> TrainState:
        """The state before the first step, from the seed.

        Returns:
            On the host, step 0.
        """
        return self.training.first_state(self.config, self.built)

    def evaluate(self, state: TrainState, log: RunLog | None) -> dict[str, float]:
        """Scores on fixed clips; also plays the first of them in TensorBoard.

        Args:
            state: on the host.
            log: gets the sounds; None on hosts other than the first.

        Returns:
            See :meth:`.Evaluator.scores`.
        """
        variables = generator_variables(state)
        if log is not None:
            _, found = self._evaluator.reconstruct(variables, self._clips, 0)
            rate, step = self.built.module.features.sample_rate, int(state.step)
            log.audio("clip", step, self._clips.clip(0)[0, : len(found)], sample_rate=rate)
            log.audio("reconstruction", step, found, sample_rate=rate)
        return self._evaluator.scores(variables, self._clips)

    def finish(
        self, state: TrainState, checkpoints: Checkpoints, about: dict[str, Any]
    ) -> tuple[dict[str, Any], str]:
        """Exports the best vocoder, and scores what was exported on the held-out clips.

        Models of hearing (PESQ, STOI, ESTOI, ViSQOL) score with where they are installed.

        Args:
            state: of the last step.
            checkpoints: of the run; the best is exported.
            about: config and commit of the run.

        Returns:
            "memory", "best_step" and "splits" (scores by split; below "init_from" those of the
            stored model that the run began with); and a line for each.
        """
        vocoder, result = export_best(
            self.config,
            checkpoints,
            state,
            step=self._step,
            about=about,
            trained=lambda best: TrainedVocoder(self.built.module, generator_variables(best)),
        )
        speech, start = self.config.evaluation.speech, self._start(vocoder)
        evaluator = Evaluator(vocoder.model)
        at_start = None if start is None else Evaluator(start.model)
        splits, lines = {}, [perceptual.missing_text(speech=speech)]
        for split in ("validation", "test"):
            if getattr(self.data, split) is None:
                continue
            clips = self._whole_clips(split)
            found = evaluator.scores(vocoder.variables, clips, speech=speech)
            splits[split] = {"clips": len(clips), **found}
            lines.append(f"{split}: {len(clips)} clips, {scores_text(found)}")
            if start is not None and at_start is not None:
                before = at_start.scores(start.variables, clips, speech=speech)
                splits[split]["init_from"] = before
                lines.append(f"{split}, {self.config.init_from}: {scores_text(before)}")
        return {**result, "splits": splits}, "\n".join(filter(None, lines))

    def _start(self, vocoder: TrainedVocoder) -> TrainedVocoder | None:
        """The stored vocoder that the run began with, of the same rate; None without one."""
        source = self.config.init_from
        if not source or not is_exported(source):
            return None
        start = load_vocoder(source)
        return start if start.sample_rate == vocoder.sample_rate else None


def train_vocoder(config: Config) -> Outcome:
    """One run of a config; see :func:`.run.run`.

    Args:
        config: of ``configs/vocoder.py``'s kind.

    Returns:
        Status, the content of ``result.json``, and the scores.

    Raises:
        ValueError: for a config that cannot be trained, before anything is written.
        CorpusError: if there is no data, or too little of it.
    """
    return run(config, Vocoding(config))


def main() -> None:
    """Runs the config of the command line."""
    run_command(train_vocoder, about=__doc__, config="vocoder.py")
