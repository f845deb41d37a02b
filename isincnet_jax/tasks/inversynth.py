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

from isincnet_jax import extras

if __name__ == "__main__":
    extras.require_or_exit("ml_collections")

import contextlib
import json
import logging
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections

from isincnet_jax.bank.spec import FilterbankSpec
from isincnet_jax.benchmark import tables
from isincnet_jax.inversynth.features import NUM_SAMPLES, SAMPLE_RATE
from isincnet_jax.inversynth.networks import InverSynth, TrainedInverSynth
from isincnet_jax.inversynth.training import make_estimation_step
from isincnet_jax.pretrained import model_kinds
from isincnet_jax.pretrained.inversynth import export_inversynth, load_inversynth
from isincnet_jax.tasks.command_line import run_command
from isincnet_jax.tasks.compose import (
    best_state,
    build_loop,
    build_optimizer,
    open_run,
    with_weights_of,
)
from isincnet_jax.tasks.inversynth_data import Data, build_data
from isincnet_jax.tasks.inversynth_scores import Evaluator
from isincnet_jax.tasks.process import Stop
from isincnet_jax.training import parallel
from isincnet_jax.training.checkpoints import CheckpointError
from isincnet_jax.training.compiled import CompiledStep
from isincnet_jax.training.loop import fit
from isincnet_jax.training.state import TrainState, create_state, model_variables

_DEFAULT = Path(__file__).parent / "configs" / "inversynth.py"
_logger = logging.getLogger("train")


def train_inversynth(config: ml_collections.ConfigDict) -> int:
    """One run, from its last checkpoint or from the beginning, to its end.

    Returns:
        The exit status.
    """
    # Whatever is wrong with the config is found before anything is written.
    module = build_module(config)
    data = build_data(config)
    config = resolved(config, data)
    loop, optimizer = build_loop(config), _build_optimizer(config)
    step = build_step(config, module, optimizer, data)
    clip = jnp.zeros((1, NUM_SAMPLES), jnp.float32)
    variables = jax.jit(module.init)(jax.random.key(config.seed), clip)
    kind = model_kinds.kind_of(module)
    evaluator = Evaluator(module)
    stop = Stop(config.train.log_every)
    with contextlib.ExitStack() as stack:
        checkpoints, log, state, meta = open_run(
            config,
            create_state(variables, optimizer, key=jax.random.key(config.seed)),
            identity={"kind": kind.name, **kind.plain_fields(module), **data.identity},
            stack=stack,
            start=lambda state: (
                with_weights_of(config.init_from, state) if config.init_from else state
            ),
            best_metric="mpr",
        )
        batches = data.batches(int(state.step))
        stack.callback(getattr(batches, "close", lambda: None))
        state = fit(
            state,
            step,
            batches,
            spec=loop,
            samples_per_step=config.data.batch_size * NUM_SAMPLES,
            log=log,
            checkpoints=checkpoints,
            meta=meta,
            evaluate=lambda state: evaluator.scores(
                model_variables(state), _held_out(config, data, "validation")
            ),
            should_stop=stop,
            show_progress=log is not None,
        )
        if int(state.step) < loop.num_steps:
            return stop.status
        if log is not None:
            memory = None if step.memory is None else step.memory._asdict()
            best = best_state(checkpoints, state)
            _finish(config, module, best, data, {**meta, "memory": memory})
    return 0


def resolved(config: ml_collections.ConfigDict, data: Data) -> ml_collections.ConfigDict:
    """The config with its folder and its steps.

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


def build_module(config: ml_collections.ConfigDict) -> InverSynth:
    """The network of a config.

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


def _build_optimizer(config: ml_collections.ConfigDict) -> Any:
    if config.optimizer.accumulate != 1:
        raise ValueError(
            f"optimizer.accumulate={config.optimizer.accumulate}: batches of sounds are not "
            "divided; use 1 and a smaller data.batch_size"
        )
    return build_optimizer(config)


def build_step(
    config: ml_collections.ConfigDict, module: InverSynth, optimizer: Any, data: Data
) -> CompiledStep:
    """The training step of a config over all devices, compiled once."""

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


def _held_out(config: ml_collections.ConfigDict, data: Data, split: Any) -> Any:
    fields = config.evaluation
    return data.held_out(split, fields[f"{split}_clips"], fields.batch_size)


def _finish(
    config: ml_collections.ConfigDict,
    module: InverSynth,
    state: TrainState,
    data: Data,
    about: dict[str, Any],
) -> None:
    """Exports the network, scores what was exported on the test sounds, writes and prints."""
    workdir = Path(config.workdir)
    trained = TrainedInverSynth(module, model_variables(state))
    export = export_inversynth(trained, workdir / "export", overwrite=True, card=about)
    stored = load_inversynth(export)
    outcome = Evaluator(stored.model).outcome(stored.variables, _held_out(config, data, "test"))
    result = {
        **about,
        "best_step": int(state.step),
        "test_clips": outcome.num_clips,
        "test": outcome.as_dict(),
    }
    tables.write_text(workdir / "result.json", json.dumps(result, indent=1) + "\n")
    print("\n".join(outcome.lines()))  # noqa: T201
    _logger.info("exported step %d: isincnet_jax.from_pretrained(%r)", int(state.step), str(export))


def main() -> None:
    """Runs the config of the command line."""
    run_command(train_inversynth, default=_DEFAULT, about=__doc__)


if __name__ == "__main__":
    main()
