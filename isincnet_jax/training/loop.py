"""The training loop: steps, logs, evaluations, checkpoints, and what ends it."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np

from isincnet_jax.dsp import settling
from isincnet_jax.training import parallel
from isincnet_jax.training.checkpoints import Checkpoints
from isincnet_jax.training.logs import Progress, RunLog
from isincnet_jax.training.state import TrainState
from isincnet_jax.training.step import Step

_logger = logging.getLogger(__name__)
_STEPS_AHEAD = 2


class DivergedError(RuntimeError):
    """Too many steps in a row without finite loss and gradients."""


@dataclasses.dataclass(frozen=True)
class LoopSpec:
    """Schedule of a run: when what happens.

    Attributes:
        num_steps: the run ends here.
        log_every: steps per record of the log; 1 writes every step.
        evaluate_every: steps between evaluations; 0 never.
        save_every: steps between checkpoints; 0 only at the end.
        max_skipped: non-finite steps in a row that are survived; looked at when logging.

    Raises:
        ValueError: for numbers below their smallest.
    """

    num_steps: int
    log_every: int = 50
    evaluate_every: int = 1000
    save_every: int = 1000
    max_skipped: int = 20

    def __post_init__(self) -> None:
        settling.settle_fields(self)
        smallest = {"num_steps": 1, "log_every": 1}
        for field in dataclasses.fields(self):
            value, least = getattr(self, field.name), smallest.get(field.name, 0)
            if value < least:
                raise ValueError(f"{field.name}={value} must be at least {least}")

    def is_due(self, every: int, step: int) -> bool:
        """Whether something that happens so often, and at the end, happens after this step.

        Args:
            every: steps between occurrences; 0 for only at the end.
            step: steps done, from 1.

        Returns:
            True after the last step, and after every multiple of ``every``.
        """
        return step == self.num_steps or (every > 0 and step % every == 0)


def fit(
    state: TrainState,
    step: Step,
    batches: Iterable[Any],
    *,
    spec: LoopSpec,
    samples_per_step: int,
    log: RunLog | None = None,
    checkpoints: Checkpoints | None = None,
    meta: dict[str, Any] | None = None,
    evaluate: Callable[[TrainState], dict[str, float]] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    show_progress: bool = True,
) -> TrainState:
    """Trains from ``state`` to ``spec.num_steps``.

    Args:
        state: on the host, not replicated; ``state.step`` says where the run stands.
        step: see :func:`.parallel.parallel_step`; its state argument is donated.
        batches: the batches from ``state.step`` on, placed on the devices.
        spec: when what happens.
        samples_per_step: of audio, over all hosts, for the speed that is logged.
        log: of the run; None on hosts other than the first.
        checkpoints: of the run.
        meta: stored with every checkpoint.
        evaluate: state (host) to metrics; compared by checkpoints to find the best.
        should_stop: asked after every step; if true, a checkpoint is written and the run ends.
        show_progress: a bar or log lines.

    Returns:
        The last state, on the host.

    Raises:
        DivergedError: after more than ``spec.max_skipped`` non-finite steps in a row; the last
            good parameters are in a checkpoint then.
        ValueError: if the batches end before the run.
    """
    number = int(state.step)
    if number >= spec.num_steps:
        _logger.info("nothing to do: step %d of %d", number, spec.num_steps)
        return state
    # The loop's own copy: every step donates the one before it.
    on_devices = parallel.replicate(state)
    source = iter(batches)
    meter = _Meter(samples_per_step)
    progress = Progress(spec.num_steps, start=number, enabled=show_progress)
    try:
        while number < spec.num_steps:
            on_devices, metrics = step(on_devices, _next(source, number))
            number += 1
            meter.add(metrics)
            stopping = should_stop()
            values = {}
            if spec.is_due(spec.log_every, number) or stopping:
                values = meter.read()
                progress.update(number, values)
                if log is not None:
                    log.scalars("train", number, values)
            scores = None
            if evaluate is not None and spec.is_due(spec.evaluate_every, number) and not stopping:
                with meter.paused():
                    scores = evaluate(parallel.first_copy(on_devices))
                _report(number, scores, log)
            # Before a checkpoint of divergence: skipped steps have left the last good parameters.
            diverged = values.get("skipped_in_row", 0) > spec.max_skipped
            if spec.is_due(spec.save_every, number) or stopping or diverged:
                _save(checkpoints, number, on_devices, meta, scores)
            if diverged:
                raise DivergedError(_advice(number, values))
            if stopping:
                _logger.warning("stopped at step %d of %d as asked", number, spec.num_steps)
                break
    finally:
        progress.close()
        if checkpoints is not None:
            checkpoints.wait()  # writing goes on in threads; its errors come out here
    return parallel.first_copy(on_devices)


def _next(source: Any, number: int) -> Any:
    try:
        return next(source)
    except StopIteration:
        raise ValueError(f"the batches ended after step {number}; give an endless source") from None


def _save(
    checkpoints: Checkpoints | None,
    number: int,
    on_devices: TrainState,
    meta: dict[str, Any] | None,
    scores: dict[str, float] | None,
) -> None:
    if checkpoints is not None:
        state = parallel.first_copy(on_devices)
        checkpoints.save(number, state, meta=meta, metrics=scores)


def _report(number: int, scores: dict[str, float], log: RunLog | None) -> None:
    shown = ", ".join(f"{name} {value:.5g}" for name, value in scores.items())
    _logger.info("evaluation at step %d: %s", number, shown)
    if log is not None:
        log.scalars("evaluation", number, scores)


def _advice(number: int, values: dict[str, float]) -> str:
    return (
        f"step {number}: {int(values['skipped_in_row'])} steps in a row had a non-finite loss or "
        "gradient; the last good parameters are saved. Lower the learning rate, clip gradients "
        "(optimizer.clip_norm), or look at the data"
    )


class _Meter:
    """Averages the metrics of steps, and times them; fetches from the devices when read."""

    def __init__(self, samples_per_step: int) -> None:
        self._samples_per_step = samples_per_step
        self._pending: collections.deque[dict[str, Any]] = collections.deque()
        self._since = time.perf_counter()

    def add(self, metrics: dict[str, Any]) -> None:
        """Keeps a step's metrics, and lets the host run no more than a few steps ahead."""
        self._pending.append(metrics)
        if len(self._pending) > _STEPS_AHEAD:
            # Dispatch is asynchronous: without it the host would queue up steps without end.
            jax.block_until_ready(self._pending[-1 - _STEPS_AHEAD]["loss"])

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """What happens inside does not count as training time."""
        begun = time.perf_counter()
        yield
        self._since += time.perf_counter() - begun

    def read(self) -> dict[str, float]:
        """Means since the last call; counters and rates as of now."""
        rows = [parallel.first_copy(metrics) for metrics in self._pending]
        elapsed_s = max(time.perf_counter() - self._since, 1e-9)
        values = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
        for name in ("skipped", "skipped_in_row", "learning_rate"):
            if name in values:
                values[name] = float(rows[-1][name])
        values["steps_per_s"] = len(rows) / elapsed_s
        values["samples_per_s"] = values["steps_per_s"] * self._samples_per_step
        self._pending.clear()
        self._since = time.perf_counter()
        return values
