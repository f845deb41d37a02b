"""Checkpoints of a run: asynchronous, atomic, verified, the last ones and the best one kept.

orbax writes beside and renames, so a checkpoint is there whole or not at all; a digest of all
arrays, stored with them, catches what happens to it afterwards. What cannot be read is moved
to ``damaged/`` and the one before it is used.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import preservation_policy

from isincnet_jax import files
from isincnet_jax.training.trees import (
    CheckpointError,
    digest,
    first_difference,
    flatten,
    unflatten,
)

_logger = logging.getLogger(__name__)
_FORMAT = 1
_REASON = 200  # characters of an error's first line: tensorstore's are long


class Restored(NamedTuple):
    """Checkpoint as it was read.

    Attributes:
        state: in the structure of the template, NumPy arrays.
        meta: what :meth:`Checkpoints.save` was given.
        step: of the checkpoint.
    """

    state: Any
    meta: dict[str, Any]
    step: int


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: of the run; checkpoints go to ``folder/checkpoints``.
        identity: what must be equal for a checkpoint to fit this run (the model's description,
            say): plain values, nested dictionaries.
        keep_last: how many of the latest to keep.
        keep_best: how many of the best to keep, by ``best_metric``.
        best_metric: name of the metric; larger is better.
        read_only: leave half-written checkpoints alone: the run may be going on elsewhere.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        identity: dict[str, Any] | None = None,
        keep_last: int = 2,
        keep_best: int = 1,
        best_metric: str = "snr_db",
        read_only: bool = False,
    ) -> None:
        if keep_last < 1 or keep_best < 0:
            raise ValueError(f"keep_last={keep_last}, keep_best={keep_best}: keep at least 1 and 0")
        self.folder = Path(folder).absolute()
        self.identity = identity or {}
        self.best_metric = best_metric
        policies: list[Any] = [preservation_policy.LatestN(keep_last)]
        if keep_best:
            policies.append(
                preservation_policy.BestN(
                    get_metric_fn=lambda metrics: metrics[best_metric],
                    n=keep_best,
                    keep_checkpoints_without_metrics=False,
                )
            )
        self._options = ocp.CheckpointManagerOptions(
            preservation_policy=preservation_policy.AnyPreservationPolicy(policies),
            enable_async_checkpointing=True,
            cleanup_tmp_directories=not read_only,
        )
        self._manager = self._open()

    def _open(self) -> ocp.CheckpointManager:
        root = self.folder / "checkpoints"
        try:
            root.mkdir(parents=True, exist_ok=True)
            return ocp.CheckpointManager(root, options=self._options, item_names=("state", "meta"))
        except OSError as error:
            raise CheckpointError(f"{root}: cannot be opened: {error.strerror}") from error

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self.close()

    @property
    def steps(self) -> list[int]:
        """Steps of the complete checkpoints, ascending."""
        return sorted(self._manager.all_steps())

    @property
    def best_step(self) -> int | None:
        """The step with the best metric; None if none has one.

        Raises:
            CheckpointError: if the record of a checkpoint is damaged.
        """
        ranked = []
        for step in self.steps:
            value = self._rank(self._record(step)["metrics"])
            if value is not None:
                ranked.append((value, step))
        return max(ranked)[1] if ranked else None

    def save(
        self,
        step: int,
        state: Any,
        *,
        meta: dict[str, Any] | None = None,
        metrics: dict[str, float] | None = None,
    ) -> None:
        """Starts writing a checkpoint; returns as soon as the arrays are copied.

        Args:
            step: its number; nothing happens if it exists.
            state: a pytree of arrays of this process (not replicated).
            meta: plain values to store with it.
            metrics: for the choice of the best; without ``best_metric``, or with NaN, it is not
                among them.

        Raises:
            CheckpointError: if an earlier or this checkpoint cannot be written, say on a full
                disk. Earlier complete checkpoints are as they were.
        """
        if step in self._manager.all_steps():
            return
        arrays = flatten(state)
        record = {
            "format": _FORMAT,
            "digest": digest(arrays),
            "identity": self.identity,
            "meta": meta or {},
            "metrics": metrics or {},
        }
        with _clear_errors(self.folder, step):
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardSave(arrays), meta=ocp.args.JsonSave(record)
                ),
                # orbax ranks whatever it is given, NaN too.
                metrics=metrics if self._rank(record["metrics"]) is not None else None,
            )

    def _rank(self, metrics: dict[str, float]) -> float | None:
        value = metrics.get(self.best_metric)
        return None if value is None or math.isnan(value) else value

    def wait(self) -> None:
        """Waits until everything is written.

        Raises:
            CheckpointError: as :meth:`save`.
        """
        with _clear_errors(self.folder):
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits and releases the folder."""
        with _clear_errors(self.folder):
            self._manager.close()

    def restore(self, template: Any, *, step: int | None = None) -> Restored | None:
        """Reads a checkpoint; the latest one that is intact, unless told which.

        Damaged ones are moved to ``damaged/`` and logged.

        Args:
            template: a pytree with the structure, shapes and dtypes of the state.
            step: of the checkpoint; None for the latest.

        Returns:
            None if there is no checkpoint at all.

        Raises:
            CheckpointError: if the checkpoint is of another model, all of them are damaged, or
                the one asked for does not exist or is damaged.
        """
        self.wait()
        steps = self.steps
        if step is not None:
            if step not in steps:
                raise CheckpointError(f"{self.folder}: no checkpoint of step {step}; have {steps}")
            return self._read(template, step)
        for number in reversed(steps):
            try:
                return self._read(template, number)
            except _DamagedError as error:
                _logger.warning("%s; falling back to the one before it", error)
                self._set_aside(number)
        if steps:
            raise CheckpointError(
                f"{self.folder}: none of the checkpoints {steps} can be read; they are in "
                "damaged/ now: start in another folder, or restore them from a copy"
            )
        return None

    def _record(self, step: int) -> dict[str, Any]:
        args = ocp.args.Composite(meta=ocp.args.JsonRestore())
        try:
            record = self._manager.restore(step, args=args)["meta"]
            if record["format"] != _FORMAT:
                raise ValueError(f"format {record['format']}, expected {_FORMAT}")
        except Exception as error:  # orbax, JSON and the file system each raise their own
            raise _DamagedError(self.folder, step, error) from error
        return record

    def read_arrays(self, step: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """The arrays of a checkpoint by dotted paths, verified, and what was stored with them.

        Args:
            step: of the checkpoint, one of :attr:`steps`.

        Returns:
            NumPy arrays by dotted path, "params.analysis.center" say, and the record: "identity",
            "meta", "metrics", "digest" and "format".

        Raises:
            CheckpointError: if it is damaged.
        """
        record = self._record(step)
        try:
            args = ocp.args.Composite(state=ocp.args.StandardRestore())
            stored = self._manager.restore(step, args=args)["state"]
            arrays = {name: np.asarray(array) for name, array in stored.items()}
            if digest(arrays) != record["digest"]:
                raise ValueError("its arrays do not have the digest that was stored")
        except Exception as error:  # orbax, tensorstore and JSON each raise their own
            raise _DamagedError(self.folder, step, error) from error
        return arrays, record

    def _read(self, template: Any, step: int) -> Restored:
        arrays, record = self.read_arrays(step)
        difference = first_difference(record["identity"], self.identity)
        if difference:
            raise CheckpointError(
                f"{self.folder}: the checkpoint of step {step} is of another model: "
                f"{difference}; use another folder, or --config.init_from to start from it"
            )
        try:
            state = unflatten(template, arrays)
        except CheckpointError as error:
            raise CheckpointError(
                f"{self.folder}: the checkpoint of step {step} does not fit: {error}"
            ) from error
        return Restored(state, record["meta"], step)

    def _set_aside(self, step: int) -> None:
        """Moves a damaged checkpoint out of the way, on one host."""
        if jax.process_index() == 0:
            target = self.folder / "damaged"
            target.mkdir(exist_ok=True)
            name = f"{step}"
            while (target / name).exists():
                name += "-again"
            shutil.move(self.folder / "checkpoints" / f"{step}", target / name)
        # orbax keeps a list of steps: opened anew, it no longer knows the one that was moved.
        self._manager.close()
        self._manager = self._open()


@contextlib.contextmanager
def _clear_errors(folder: Path, step: int | None = None) -> Iterator[None]:
    """Turns what orbax and tensorstore raise when they write into one clear error."""
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:
        which = "a checkpoint" if step is None else f"checkpoint {step}, or one before,"
        full = " (disk full?)" if _is_full(error, folder) else ""
        reason = files.first_line(error)[:_REASON]
        raise CheckpointError(
            f"{folder}: {which} could not be written{full}: {reason}; complete "
            "checkpoints are as they were"
        ) from error


def _is_full(error: BaseException, folder: Path) -> bool:
    text = str(error)
    if "No space left" in text or "RESOURCE_EXHAUSTED" in text or "File too large" in text:
        return True
    try:
        space = os.statvfs(folder)
    except (AttributeError, OSError):  # not on every system
        return False
    # Less than 64 kB: not one small file more.
    return space.f_bavail * space.f_frsize < 1 << 16


class _DamagedError(CheckpointError):
    def __init__(self, folder: Path, step: int, error: Exception) -> None:
        reason = files.first_line(error)[:_REASON]
        super().__init__(f"{folder}: the checkpoint of step {step} is damaged ({reason})")
