"""Training run: from a task's first state, or its last checkpoint, to what it writes at the end.

A reader follows a run here from its config to its export: open the folder, restore or begin, train
and evaluate, finish. What is trained is a :class:`Task`; each family of models has one, in a module
of its own.
"""

from __future__ import annotations

import abc
import contextlib
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax

from isincnet_jax import files, provenance
from isincnet_jax.linen import TrainedModel
from isincnet_jax.pretrained import hub
from isincnet_jax.pretrained.trained import export_trained, starting_parameters
from isincnet_jax.tasks.config import Config
from isincnet_jax.tasks.process import Stop, alone
from isincnet_jax.training import trees
from isincnet_jax.training.checkpoints import Checkpoints
from isincnet_jax.training.compiled import CompiledStep
from isincnet_jax.training.logs import RunLog
from isincnet_jax.training.loop import LoopSpec, fit
from isincnet_jax.training.state import TrainState
from isincnet_jax.training.step import Step

_logger = logging.getLogger("train")


class Task(abc.ABC):
    """Training task, made from a config: what a run trains.

    Whatever is wrong with the config is found when the task is made, before anything is written.

    Attributes:
        loop: how long, and when what happens.
        identity: what a checkpoint must have been made with to fit, plain values.
        best_metric: the metric of the checkpoints to keep as the best; larger is better.
        samples_per_step: audio samples that a step learns from, for the log.
        data: has ``batches(start_step)``, unless :meth:`batches` is a task's own.
    """

    loop: LoopSpec
    identity: dict[str, Any]
    best_metric: str
    samples_per_step: int
    data: Any
    _step: CompiledStep  # unless :meth:`step` is a task's own

    @abc.abstractmethod
    def first_state(self) -> TrainState:
        """First state of a run, step 0, from the config's seed.

        Returns:
            On the host, not replicated.
        """

    def step(self, start_step: int, log: RunLog | None) -> Step:
        """Training step over all devices, for a run that goes on after ``start_step``.

        Args:
            start_step: steps that are done, 0 for a new run.
            log: of the run; None on hosts other than the first.

        Returns:
            See :func:`.parallel.parallel_step`.
        """
        del start_step, log  # for tasks whose step depends on them
        return self._step

    def batches(self, start_step: int) -> Iterator[Any]:
        """Batches on the devices, from a step on.

        Args:
            start_step: steps that are done: the first batch is the next one's.

        Returns:
            One entry for each step, without end; its ``close``, if it has one, is called at the
            end.
        """
        return self.data.batches(start_step)

    @abc.abstractmethod
    def evaluate(self, state: TrainState, log: RunLog | None) -> dict[str, float]:
        """Scores of a state on the validation data; ``best_metric`` is among them.

        Args:
            state: on the host.
            log: for what no scalar says, sounds and pictures; None on hosts other than the first.

        Returns:
            Values by name, for the log and for checkpoints.
        """

    @abc.abstractmethod
    def finish(
        self, state: TrainState, checkpoints: Checkpoints, about: dict[str, Any]
    ) -> tuple[dict[str, Any] | None, str]:
        """Exports and scores what was trained, on the first host only.

        Args:
            state: of the last step.
            checkpoints: of the run, for :func:`export_best`.
            about: config and commit of the run.

        Returns:
            What ``result.json`` shall have beside ``about`` (None: no file), and what is printed.
        """


class Outcome(NamedTuple):
    """Outcome of a run: how it ended.

    Attributes:
        status: 0 when it is finished, else what a shell reports of the signal that stopped it.
        result: what ``result.json`` has; None unless finished, and on hosts other than the first.
        text: the same for readers.
    """

    status: int
    result: dict[str, Any] | None = None
    text: str = ""


def run(config: Config, task: Task, *, stop: Stop | None = None) -> Outcome:
    """One run, from its last checkpoint or from the beginning, to its end.

    Args:
        config: with ``workdir``, ``train`` and, maybe, ``init_from``.
        task: what is trained.
        stop: whether to end; signals decide if None.

    Returns:
        How it ended, what was found, and the same as text.

    Raises:
        CheckpointError: if the folder's checkpoints are of another model, or damaged, all of them.
        DivergedError: after too many steps in a row with non-finite loss or gradients.
    """
    stop = Stop(config.train.log_every) if stop is None else stop
    workdir = Path(config.workdir)
    with contextlib.ExitStack() as stack:
        checkpoints, log, state, about = _open(config, task, stack)
        step = task.step(int(state.step), log)
        batches = task.batches(int(state.step))
        stack.callback(getattr(batches, "close", lambda: None))
        state = fit(
            state,
            step,
            batches,
            spec=task.loop,
            samples_per_step=task.samples_per_step,
            log=log,
            checkpoints=checkpoints,
            meta=about,
            evaluate=lambda state: task.evaluate(state, log),
            should_stop=stop,
            show_progress=log is not None,
        )
        if int(state.step) < task.loop.num_steps:
            _logger.warning("the same command goes on from there")
            return Outcome(stop.status)
        if log is None:
            return Outcome(0)
        found, text = task.finish(state, checkpoints, about)
        if found is None:
            return Outcome(0, None, text)
        result = {**about, **found}
        files.write_text(workdir / "result.json", json.dumps(result, indent=1) + "\n")
        return Outcome(0, result, text)


def _open(
    config: Config, task: Task, stack: contextlib.ExitStack
) -> tuple[Checkpoints, RunLog | None, TrainState, dict[str, Any]]:
    """The run's folder, for this process only: its checkpoints, log, state and description."""
    workdir, is_first = Path(config.workdir), jax.process_index() == 0
    about = {
        "config": json.loads(config.to_json_best_effort()),
        "git_commit": provenance.code_version(),
    }
    if is_first:
        workdir.mkdir(parents=True, exist_ok=True)
        stack.enter_context(alone(workdir))
    checkpoints = stack.enter_context(
        Checkpoints(
            workdir,
            identity=task.identity,
            keep_last=config.train.keep_last,
            keep_best=config.train.keep_best,
            best_metric=task.best_metric,
        )
    )
    state = task.first_state()  # of a run that goes on: the structure that is read into
    restored = checkpoints.restore(state)
    if restored is not None:
        state = restored.state
        _logger.info("resumed from step %d in %s", restored.step, workdir)
        changed = trees.first_difference(
            _lasting(restored.meta["config"]), _lasting(about["config"])
        )
        if changed and is_first:
            _logger.warning("the config is not the one of that checkpoint: %s", changed)
    elif folder := config.get("init_from"):
        parameters = starting_parameters(folder, state.params)
        state = state.replace(params=parameters)  # type: ignore[attr-defined]
        _logger.info("started from the weights of %s", folder)
    if not is_first:
        return checkpoints, None, state, about
    log = stack.enter_context(RunLog(workdir, resume_step=int(state.step)))
    return checkpoints, log, state, about


def _lasting(config: dict[str, Any]) -> dict[str, Any]:
    """What of a config should be the same when a run goes on, elsewhere maybe."""
    return {name: value for name, value in config.items() if name not in ("hosts", "workdir")}


def build_loop(config: Config) -> LoopSpec:
    """Schedule of the loop: when it logs, evaluates, saves and ends.

    Args:
        config: ``train``.

    Returns:
        A checked spec.

    Raises:
        ValueError: for numbers below their smallest.
    """
    names = ("num_steps", "log_every", "evaluate_every", "save_every", "max_skipped")
    return LoopSpec(**{name: config.train[name] for name in names})


def _best_state(checkpoints: Checkpoints, state: TrainState) -> TrainState:
    """The state of the best checkpoint; ``state``, the last one, if none has been evaluated.

    Args:
        checkpoints: of the run; writing is waited for.
        state: of the last step; the template for what is read.

    Returns:
        On the host.
    """
    checkpoints.wait()
    best = checkpoints.best_step
    if best is None:
        return state
    restored = checkpoints.restore(state, step=best)
    return state if restored is None else restored.state


def export_best(
    config: Config,
    checkpoints: Checkpoints,
    state: TrainState,
    *,
    step: CompiledStep,
    about: dict[str, Any],
    trained: Callable[[TrainState], TrainedModel],
) -> tuple[Any, dict[str, Any]]:
    """Exports the model of the best checkpoint into ``export/``, and reads it as its users will.

    Args:
        config: with ``workdir``.
        checkpoints: of the run.
        state: of the last step, on the host; exported if no checkpoint has been evaluated.
        step: the training step, whose program's memory is stated.
        about: config and commit of the run, for the model's card.
        trained: a state to the model with its variables.

    Returns:
        The stored model, and what ``result.json`` says of it: "memory" (bytes of the step's
        program by kind, None where XLA does not say) and "best_step".
    """
    best = _best_state(checkpoints, state)
    memory = None if step.memory is None else step.memory._asdict()
    folder = export_trained(
        trained(best),
        Path(config.workdir) / "export",
        overwrite=True,
        card={**about, "memory": memory},
    )
    _logger.info("exported step %d: isincnet_jax.from_pretrained(%r)", int(best.step), str(folder))
    return hub.from_pretrained(folder), {"memory": memory, "best_step": int(best.step)}
