"""Trains a model as a config says, and goes on where an earlier run stopped.

    python experiments/train.py --config=experiments/configs/gtzan.py [--config.field=value ...]

Writes checkpoints, ``log.jsonl``, TensorBoard events and, at the end, ``export/`` (a model for
``isincnet_jax.from_pretrained``) into ``config.workdir``. The same command goes on with a run
that was interrupted, and does nothing to one that is finished. The fields, what they mean and
their defaults are in ``experiments/configs/default.py``. Without data, try
``--config.data.source=generated``.

Exit status: 0 when the run is finished; 1 after an error; 143 and 130 when SIGTERM or Ctrl-C
stopped it, which writes a checkpoint first (a second Ctrl-C does not wait for that).
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from isincnet_jax.benchmark.clips import evaluate_clips
from isincnet_jax.data.pipeline import validation_clips
from isincnet_jax.linen import TrainedModel
from isincnet_jax.pretrained.folder import export_pretrained
from isincnet_jax.tasks import tensorboard
from isincnet_jax.tasks.command import run_command
from isincnet_jax.tasks.compose import build_data, build_optimizer, crop_samples
from isincnet_jax.tasks.config import Config
from isincnet_jax.tasks.reconstruction_models import Model, build_model
from isincnet_jax.tasks.run import Outcome, Task, build_loop, run
from isincnet_jax.training import losses, parallel
from isincnet_jax.training.augmentation import AugmentationSpec
from isincnet_jax.training.checkpoints import Checkpoints
from isincnet_jax.training.logs import RunLog
from isincnet_jax.training.state import TrainState, create_state, model_variables
from isincnet_jax.training.step import Step, make_step

_logger = logging.getLogger("train")


class Reconstruction(Task):
    """A filterbank, its decoder or a token codec, trained to give back what went in."""

    best_metric = "snr_db"

    def __init__(self, config: Config) -> None:
        self.config = config
        self.model, self.optimizer = build_model(config), build_optimizer(config)
        self.loop, self.identity = build_loop(config), self.model.identity
        self.samples_per_step = config.data.batch_size * crop_samples(config)
        _build_step(config, self.model, self.optimizer, None)
        self.data = build_data(config)
        names, self._clips = validation_clips(
            self.data.validation,
            duration_s=config.evaluation.duration_s,
            max_clips=config.evaluation.max_clips,
        )
        _logger.info("evaluating on %d clips, %s to %s", len(names), names[0], names[-1])
        key = jax.random.key(0)
        self._reconstruct = jax.jit(
            lambda variables, clips: self.model.reconstruct(variables, clips, key)
        )

    def first_state(self) -> TrainState:
        """The state before the first step, from the seed.

        Returns:
            On the host, step 0.
        """
        return first_state(self.config, self.model, self.optimizer)

    def step(self, start_step: int, log: RunLog | None) -> Step:
        """The training step over all devices.

        Args:
            start_step: not used: the step draws by the state's own number.
            log: not used.

        Returns:
            The step; it is compiled with its first arguments.
        """
        return _build_step(self.config, self.model, self.optimizer, self.data.draw)

    def evaluate(self, state: TrainState, log: RunLog | None) -> dict[str, float]:
        """Scores on fixed clips; also shows the first of them in TensorBoard.

        Args:
            state: on the host.
            log: gets pictures and sounds of the first clip; None on hosts other than the first.

        Returns:
            Means of :data:`isincnet_jax.benchmark.clips.METRICS`, the worst SNR in dB, and of
            learned filters their condition number.
        """
        variables = jax.device_put(model_variables(state))
        scores = evaluate_clips(
            lambda batch: self._reconstruct(variables, jnp.asarray(batch)), self._clips
        )
        if log is not None:
            clip = self._clips[0]
            decoded = self._reconstruct(variables, jnp.asarray(clip[None]))[0]
            tensorboard.show(log, int(state.step), self.model.module, variables, clip, decoded)
        return {**scores, **self.model.diagnose(variables)}

    def finish(
        self, state: TrainState, checkpoints: Checkpoints, about: dict[str, Any]
    ) -> tuple[None, str]:
        """Exports the model of the last step.

        Args:
            state: of the last step.
            checkpoints: not used: the last state is exported.
            about: config and commit of the run, for the model's card.

        Returns:
            Nothing to write or print.
        """
        trained = TrainedModel(self.model.module, model_variables(state))
        folder = Path(self.config.workdir) / "export"
        export_pretrained(trained, folder, overwrite=True, card=about)
        _logger.info("exported: isincnet_jax.from_pretrained(%r)", str(folder))
        return None, ""


def _build_step(config: Config, model: Model, optimizer: Any, draw: Any) -> Step:
    """The training step of a config, over all devices."""
    weights = {name: weight for name, weight in config.loss.items() if weight is not None}
    step = make_step(
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


def first_state(config: Config, model: Model, optimizer: Any) -> TrainState:
    """The state before the first step, from the seed.

    Args:
        config: with ``seed``.
        model: whose variables are the start.
        optimizer: its state is initialised here.

    Returns:
        On the host, step 0.
    """
    return create_state(model.variables, optimizer, key=jax.random.key(config.seed))


def train(config: Config) -> Outcome:
    """One run of a config; see :func:`.run.run`.

    Args:
        config: of ``configs/default.py``'s kind.

    Returns:
        Status; neither result nor text.

    Raises:
        ValueError: for a config that cannot be trained, before anything is written.
    """
    return run(config, Reconstruction(config))


def main() -> None:
    """Runs the config of the command line."""
    run_command(train, about=__doc__, config="gtzan.py", aliases={})
