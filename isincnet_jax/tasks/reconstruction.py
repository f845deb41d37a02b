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

from isincnet_jax import extras

if __name__ == "__main__":
    extras.require_or_exit("ml_collections")

import contextlib
import logging
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections

from isincnet_jax.benchmark.clips import evaluate_clips
from isincnet_jax.data.pipeline import validation_clips
from isincnet_jax.pretrained.folder import export_pretrained
from isincnet_jax.tasks import tensorboard
from isincnet_jax.tasks.command_line import run_command
from isincnet_jax.tasks.compose import (
    build_data,
    build_loop,
    build_optimizer,
    build_step,
    first_state,
    open_run,
    with_weights_of,
)
from isincnet_jax.tasks.process import Stop
from isincnet_jax.tasks.reconstruction_models import Model, build_model
from isincnet_jax.training.logs import RunLog
from isincnet_jax.training.loop import fit
from isincnet_jax.training.state import TrainState, model_variables

_logger = logging.getLogger("train")


def train(config: ml_collections.ConfigDict) -> int:
    """One run, from its last checkpoint or from the beginning, to its end.

    Returns:
        The exit status.
    """
    # Whatever is wrong with the config is found before data are read or anything is written.
    model, optimizer, loop = build_model(config), build_optimizer(config), build_loop(config)
    build_step(config, model, optimizer, None)
    data = build_data(config)
    clips = _evaluation_clips(config, data)
    stop = Stop(config.train.log_every)
    with contextlib.ExitStack() as stack:
        checkpoints, log, state, meta = open_run(
            config,
            first_state(config, model, optimizer),
            identity=model.identity,
            stack=stack,
            start=lambda state: _with_given_weights(config.init_from, state),
        )
        batches = data.batches(int(state.step))
        stack.callback(getattr(batches, "close", lambda: None))
        state = fit(
            state,
            build_step(config, model, optimizer, data.draw),
            batches,
            spec=loop,
            samples_per_step=config.data.batch_size
            * round(config.data.crop_s * config.data.sample_rate),
            log=log,
            checkpoints=checkpoints,
            meta=meta,
            evaluate=_evaluator(model, clips, log),
            should_stop=stop,
            show_progress=log is not None,
        )
        if int(state.step) < loop.num_steps:
            return stop.status
        if log is not None:
            _export(Path(config.workdir), model, state, meta)
    return 0


def _with_given_weights(init_from: str | None, state: TrainState) -> TrainState:
    return with_weights_of(init_from, state) if init_from else state


def _evaluation_clips(config: ml_collections.ConfigDict, data: Any) -> Any:
    names, clips = validation_clips(
        data.validation,
        duration_s=config.evaluation.duration_s,
        max_clips=config.evaluation.max_clips,
    )
    _logger.info("evaluating on %d clips, %s to %s", len(names), names[0], names[-1])
    return clips


def _evaluator(model: Model, clips: Any, log: RunLog | None) -> Any:
    """The evaluation on fixed clips; also shows the first of them in TensorBoard."""
    key = jax.random.key(0)
    reconstruct = jax.jit(lambda variables, clips: model.reconstruct(variables, clips, key))

    def evaluate(state: TrainState) -> dict[str, float]:
        variables = jax.device_put(model_variables(state))
        scores = evaluate_clips(lambda batch: reconstruct(variables, jnp.asarray(batch)), clips)
        if log is not None:
            decoded = reconstruct(variables, jnp.asarray(clips[:1]))
            tensorboard.show(log, int(state.step), model.module, variables, clips[0], decoded[0])
        return {**scores, **model.diagnose(variables)}

    return evaluate


def _export(workdir: Path, model: Model, state: TrainState, meta: dict[str, Any]) -> None:
    exported = tensorboard.Trained(model.module, model_variables(state))
    export_pretrained(exported, workdir / "export", overwrite=True, card=meta)
    _logger.info("exported: isincnet_jax.from_pretrained(%r)", str(workdir / "export"))


def main() -> None:
    """Runs the config of the command line."""
    run_command(train, about=__doc__)


if __name__ == "__main__":
    main()
