r"""Trains a vocoder as a config says, and goes on where an earlier run stopped.

    python experiments/train_vocoder.py --config=experiments/configs/vocoder.py:convnext \
        --config.data=DIR [--config.field=value ...]

``--config.data=DIR`` is short for ``--config.data.path=DIR``: LJSpeech's folder, or any other with
audio below it. Writes checkpoints, ``log.jsonl``, TensorBoard events and, at the end, ``export/``
(the best checkpoint, for ``isincnet_jax.from_pretrained``) and ``result.json`` (its scores on the
held-out files, and the memory of the step) into ``config.workdir``, and prints the scores. The same
command goes on with a run that was interrupted. The fields, what they mean and their defaults are
in ``experiments/configs/vocoder.py``. Without data, try ``--config.data.source=generated``.

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

import ml_collections

from isincnet_jax.files import write_text
from isincnet_jax.pretrained.vocoders import export_vocoder, load_vocoder
from isincnet_jax.tasks import vocoder_parts
from isincnet_jax.tasks.command_line import run_command
from isincnet_jax.tasks.compose import (
    Data,
    best_state,
    build_data,
    build_loop,
    open_run,
    with_weights_of,
)
from isincnet_jax.tasks.process import Stop
from isincnet_jax.tasks.vocoder_parts import Built
from isincnet_jax.tasks.vocoder_scores import Evaluator, WholeClips
from isincnet_jax.training import parallel
from isincnet_jax.training.logs import RunLog
from isincnet_jax.training.loop import fit
from isincnet_jax.training.state import TrainState
from isincnet_jax.vocoders.training import generator_variables
from isincnet_jax.vocoders.vocoder import TrainedVocoder

_DEFAULT = Path(__file__).parent / "configs" / "vocoder.py"
_logger = logging.getLogger("train")


def train_vocoder(config: ml_collections.ConfigDict) -> int:
    """One run, from its last checkpoint or from the beginning, to its end.

    Returns:
        The exit status.
    """
    # Whatever is wrong with the config is found before data are read or anything is written.
    loop, built = build_loop(config), vocoder_parts.build_vocoder(config)
    parallel.check_batch(config.data.batch_size)
    training = vocoder_parts.build_training(config)
    vocoder_parts.build_step(config, built, training, None)
    data = build_data(config)
    clips = _whole_clips(config, data, "validation")
    stop = Stop(config.train.log_every)
    with contextlib.ExitStack() as stack:
        checkpoints, log, state, meta = open_run(
            config,
            training.first_state(config, built),
            identity=built.identity,
            stack=stack,
            start=lambda state: (
                with_weights_of(config.init_from, state) if config.init_from else state
            ),
            best_metric="score",
        )
        step = vocoder_parts.build_step(config, built, training, data.draw)
        batches = data.batches(int(state.step))
        stack.callback(getattr(batches, "close", lambda: None))
        state = fit(
            state,
            step,
            batches,
            spec=loop,
            samples_per_step=config.data.batch_size * vocoder_parts.crop_samples(config),
            log=log,
            checkpoints=checkpoints,
            meta=meta,
            evaluate=_evaluation(built, clips, log),
            should_stop=stop,
            show_progress=log is not None,
        )
        if int(state.step) < loop.num_steps:
            return stop.status
        if log is not None:
            memory = None if step.memory is None else step.memory._asdict()
            _finish(config, built, best_state(checkpoints, state), data, {**meta, "memory": memory})
    return 0


def _whole_clips(config: ml_collections.ConfigDict, data: Data, split: str) -> WholeClips:
    return WholeClips(
        getattr(data, split),
        max_clips=config.evaluation.max_clips,
        duration_s=config.evaluation.duration_s,
    )


def _evaluation(built: Built, clips: WholeClips, log: RunLog | None) -> Any:
    """The evaluation on fixed clips; also plays the first of them in TensorBoard."""
    evaluator = Evaluator(built.module)

    def evaluate(state: TrainState) -> dict[str, float]:
        variables = generator_variables(state)
        if log is not None:
            _, found = evaluator.reconstruct(variables, clips, 0)
            rate, step = built.module.features.sample_rate, int(state.step)
            log.audio("clip", step, clips.clip(0)[0, : len(found)], sample_rate=rate)
            log.audio("reconstruction", step, found, sample_rate=rate)
        return evaluator.scores(variables, clips)

    return evaluate


def _finish(
    config: ml_collections.ConfigDict,
    built: Built,
    state: TrainState,
    data: Data,
    about: dict[str, Any],
) -> None:
    """Exports the vocoder, scores what was exported on the held-out clips, writes and prints."""
    workdir = Path(config.workdir)
    trained = TrainedVocoder(built.module, generator_variables(state))
    export = export_vocoder(trained, workdir / "export", overwrite=True, card=about)
    vocoder = load_vocoder(export)
    evaluator = Evaluator(vocoder.model)
    result = {**about, "best_step": int(state.step), "splits": {}}
    for split in ("validation", "test"):
        if getattr(data, split) is None:
            continue
        clips = _whole_clips(config, data, split)
        found = evaluator.scores(vocoder.variables, clips)
        result["splits"][split] = {"clips": len(clips), **found}
        print(  # noqa: T201
            f"{split}: {len(clips)} clips, multi-resolution STFT loss {found['multi_stft']:.3f}, "
            f"spectral convergence {found['convergence_db']:.2f} dB"
        )
    write_text(workdir / "result.json", json.dumps(result, indent=1) + "\n")
    _logger.info("exported step %d: isincnet_jax.from_pretrained(%r)", int(state.step), str(export))


def main() -> None:
    """Runs the config of the command line."""
    run_command(train_vocoder, default=_DEFAULT, about=__doc__)


if __name__ == "__main__":
    main()
