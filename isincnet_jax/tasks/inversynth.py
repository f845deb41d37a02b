r"""Trains an estimator of synthesizer settings as a config says, and goes on where it stopped.

    python experiments/train_inversynth.py --config=experiments/configs/inversynth.py:C6XL \
        [--config.field=value ...]

Sounds are made on the device inside the training step, or come from a corpus of ``isincnet synth
generate`` with ``--config.data.source=disk --config.data=DIR`` (short for
``--config.data.path=DIR``). Writes checkpoints, ``log.jsonl``, TensorBoard events and, at the end,
``export/`` (the best checkpoint, for ``isincnet_jax.from_pretrained``) and ``result.json`` (its
scores on the test sounds beside random patches) into ``config.workdir``, which is
``config.output_dir/config.run_name`` unless given, and prints the scores. The same command goes on
with a run that was interrupted. The fields, what they mean and their defaults are in
``experiments/configs/inversynth.py``.

Exit status: 0 when the run is finished; 1 after an error; 143 and 130 when SIGTERM or Ctrl-C
stopped it, which writes a checkpoint first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from isincnet_jax.bank.spec import FilterbankSpec
from isincnet_jax.inversynth.features import NUM_SAMPLES, SAMPLE_RATE
from isincnet_jax.inversynth.networks import InverSynth, TrainedInverSynth
from isincnet_jax.inversynth.training import make_estimation_step
from isincnet_jax.pretrained import model_kinds
from isincnet_jax.tasks.command import run_command
from isincnet_jax.tasks.compose import build_optimizer
from isincnet_jax.tasks.config import Config
from isincnet_jax.tasks.inversynth_data import Data, build_data
from isincnet_jax.tasks.inversynth_scores import Evaluator
from isincnet_jax.tasks.run import Outcome, Task, build_loop, export_best, run
from isincnet_jax.training import parallel
from isincnet_jax.training.checkpoints import CheckpointError, Checkpoints
from isincnet_jax.training.compiled import CompiledStep
from isincnet_jax.training.logs import RunLog
from isincnet_jax.training.state import TrainState, create_state, model_variables


class ParameterEstimation(Task):
    """An InverSynth, trained on sounds that are drawn in the step or read from a corpus."""

    best_metric = "mpr"

    def __init__(self, config: Config, module: InverSynth, data: Data) -> None:
        self.config, self.module, self.data = config, module, data
        self.loop, self.optimizer = build_loop(config), build_optimizer(config, undivided="sounds")
        self._step = build_step(config, module, self.optimizer, data)
        kind = model_kinds.kind_of(module)
        self.identity = {"kind": kind.name, **kind.plain_fields(module), **data.identity}
        self._evaluator = Evaluator(module)
        self.samples_per_step = config.data.batch_size * NUM_SAMPLES

    def first_state(self) -> TrainState:
        """The state before the first step, from the seed.

        Returns:
            On the host, step 0.
        """
        key = jax.random.key(self.config.seed)
        clip = jnp.zeros((1, NUM_SAMPLES), jnp.float32)
        return create_state(jax.jit(self.module.init)(key, clip), self.optimizer, key=key)

    def _held_out(self, split: Any) -> Any:
        fields = self.config.evaluation
        return self.data.held_out(split, fields[f"{split}_clips"], fields.batch_size)

    def evaluate(self, state: TrainState, log: RunLog | None) -> dict[str, float]:
        """Scores on the validation sounds.

        Args:
            state: on the host.
            log: not used: scores are logged by the loop.

        Returns:
            "mpr" (mean percentile rank, 0 to 100), "accuracy" (0 to 1) and "class_mae" (levels).
        """
        return self._evaluator.scores(model_variables(state), self._held_out("validation"))

    def finish(
        self, state: TrainState, checkpoints: Checkpoints, about: dict[str, Any]
    ) -> tuple[dict[str, Any], str]:
        """Exports the best network, and scores what was exported on the test sounds.

        Args:
            state: of the last step.
            checkpoints: of the run; the best is exported.
            about: config and commit of the run.

        Returns:
            "memory", "best_step", "test_clips" and "test"
            (:meth:`.inversynth_scores.Outcome.as_dict`); and the table.
        """
        stored, result = export_best(
            self.config,
            checkpoints,
            state,
            step=self._step,
            about=about,
            trained=lambda best: TrainedInverSynth(self.module, model_variables(best)),
        )
        outcome = Evaluator(stored.model).outcome(stored.variables, self._held_out("test"))
        scores = {"test_clips": outcome.num_clips, "test": outcome.as_dict()}
        return {**result, **scores}, "\n".join(outcome.lines())


def train_inversynth(config: Config) -> Outcome:
    """One run of a config; see :func:`.run.run`.

    Args:
        config: of ``configs/inversynth.py``'s kind.

    Returns:
        Status, the content of ``result.json``, and the table.

    Raises:
        ValueError: for a config that cannot be trained, before anything is written.
        CheckpointError: if a run is in the folder, and it is not to be resumed.
    """
    module, data = build_module(config), build_data(config)
    config = resolved(config, data)
    return run(config, ParameterEstimation(config, module, data))


def resolved(config: Config, data: Data) -> Config:
    """The config with its folder and its steps.

    Args:
        config: with ``workdir``, or ``output_dir`` and ``run_name``; with ``train.num_steps`` above
            0, or ``train.epochs``.
        data: whose ``clips_per_epoch`` count.

    Returns:
        A copy with ``workdir`` and ``train.num_steps``.

    Raises:
        ValueError: for no epochs and no steps.
        CheckpointError: if a run is in the folder, and it is not to be resumed.
    """
    config = config.copy_and_resolve_references()
    config.workdir = config.workdir or str(Path(config.output_dir) / config.run_name)
    if not config.resume and (Path(config.workdir) / "checkpoints").is_dir():
        raise CheckpointError(
            f"{config.workdir}: a run is there; go on with resume=True, or give another run_name"
        )
    if not config.train.num_steps:
        if not config.train.epochs > 0:
            raise ValueError(f"train.epochs={config.train.epochs} must be positive")
        clips = config.train.epochs * data.clips_per_epoch
        config.train.num_steps = max(1, round(clips / config.data.batch_size))
    return config


def build_module(config: Config) -> InverSynth:
    """The network of a config.

    Args:
        config: ``model``: network, and bank if there is one.

    Returns:
        The Linen module, without variables.

    Raises:
        ValueError: for an unknown network, and what the bank refuses.
    """
    model, spec = config.model, None
    if model.bank:
        spec = FilterbankSpec(
            sample_rate=SAMPLE_RATE,
            hop_length=model.bank_hop,
            num_bins=model.bank_bins,
            scale=model.bank_scale,
        )
    return InverSynth(model.network, spec=spec, learnable_filters=model.learnable_filters)


def build_step(config: Config, module: InverSynth, optimizer: Any, data: Data) -> CompiledStep:
    """The training step of a config over all devices, compiled once.

    Args:
        config: ``loss``.
        module: that is trained.
        optimizer: whose state the run has.
        data: whose ``draw`` makes the sounds, if it is not None.

    Returns:
        See :func:`isincnet_jax.inversynth.training.make_estimation_step`.
    """

    def estimate(variables: Any, waveform: jax.Array) -> jax.Array:
        return module.apply(variables, waveform)  # type: ignore[return-value]

    step = make_estimation_step(
        estimate,
        optimizer=optimizer,
        loss=config.loss.kind,
        smoothing=config.loss.smoothing,
        draw=data.draw,
    )
    return CompiledStep(parallel.parallel_step(step))


def main() -> None:
    """Runs the config of the command line."""
    run_command(train_inversynth, about=__doc__, config="inversynth.py")
