"""Logs of a run: JSON lines always, TensorBoard and a progress bar where there are any."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import math
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from isincnet_jax import extras, files

_logger = logging.getLogger(__name__)


def read_log(path: str | Path) -> list[dict[str, Any]]:
    """The records of a log file; a last line that was cut off is left out.

    Args:
        path: of a ``log.jsonl``.

    Returns:
        One dictionary per line: "kind", "step", "time_s" and the values; null is None.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if a line before the last is damaged.
    """
    records = []
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number == len(lines):
                break
            raise ValueError(f"{path}: line {number} is damaged: {error}") from error
    return records


class RunLog:
    """Writes ``log.jsonl`` and TensorBoard events into a folder.

    Args:
        folder: of the run; created if missing.
        resume_step: records of later steps are dropped: they will be written again.
        tensorboard: write event files too; needs tensorboardX, and says so if it is missing.
    """

    def __init__(
        self, folder: str | Path, *, resume_step: int = 0, tensorboard: bool = True
    ) -> None:
        self.path = Path(folder) / "log.jsonl"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            self._drop_after(resume_step)
        # No buffer that a full disk would leave behind; closed by close().
        self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115
        self._board = _open_board(Path(folder), resume_step) if tensorboard else None

    def __enter__(self) -> RunLog:
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self.close()

    def _drop_after(self, step: int) -> None:
        kept = [record for record in read_log(self.path) if record["step"] <= step]
        files.write_text(self.path, "".join(json.dumps(record) + "\n" for record in kept))

    def scalars(self, kind: str, step: int, values: dict[str, float]) -> None:
        """Adds one record: its kind ("train", "evaluation", ...), step, time and values.

        Values that are no numbers in JSON (NaN, infinities) are written as null.

        Args:
            kind: of the record; the prefix of its values' names in TensorBoard.
            step: that the values belong to.
            values: by name.

        Raises:
            OSError: naming the log, if the disk is full.
        """
        plain = {
            name: float(value) if math.isfinite(value) else None for name, value in values.items()
        }
        record = {"kind": kind, "step": step, "time_s": round(time.time(), 3), **plain}
        self._append((json.dumps(record) + "\n").encode())
        if (board := self._living_board()) is not None:
            for name, value in values.items():
                board.add_scalar(f"{kind}/{name}", value, step)

    def _append(self, line: bytes) -> None:
        try:
            if self._file.write(line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from error

    def picture(self, name: str, step: int, pixels: np.ndarray) -> None:
        """Adds a picture, uint8 [height, width, 3], to TensorBoard.

        Args:
            name: of the series of pictures.
            step: that it shows.
            pixels: RGB, uint8 [height, width, 3].
        """
        if (board := self._living_board()) is not None:
            board.add_image(name, pixels, step, dataformats="HWC")

    def audio(self, name: str, step: int, waveform: np.ndarray, *, sample_rate: int) -> None:
        """Adds a clip, float [time] in [-1, 1], to TensorBoard.

        Args:
            name: of the series of clips.
            step: that it was made at.
            waveform: float [time]; clipped to [-1, 1].
            sample_rate: Hz.
        """
        if (board := self._living_board()) is not None:
            clip = np.clip(np.asarray(waveform, np.float32), -1.0, 1.0)
            board.add_audio(name, clip, step, sample_rate=sample_rate)

    def close(self) -> None:
        """Flushes and closes all files."""
        self._file.close()
        if (board := self._living_board()) is not None:
            board.close()

    def _living_board(self) -> Any:
        """The writer of events, unless its thread died, as on a full disk: it would block then."""
        if self._board is not None:
            writer = self._board.file_writer.event_writer
            if not writer._worker.is_alive():
                writer._event_queue.cancel_join_thread()
                self._board = None
                _logger.warning(
                    "%s: TensorBoard's events can no longer be written (disk full?)", self.path
                )
        return self._board


@contextlib.contextmanager
def _without(module: str) -> Iterator[None]:
    """Hides a module that an import would like to have: PyTorch takes seconds, and is not used."""
    if module in sys.modules:
        yield
        return
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[module]


def _open_board(folder: Path, resume_step: int) -> Any:
    try:
        with extras.importing("tensorboardX"), _without("torch"):
            from tensorboardX import SummaryWriter  # noqa: PLC0415
    except ImportError as error:
        _logger.warning("%s; logging to log.jsonl only", error)
        return None
    purge = resume_step + 1 if resume_step else None
    # A long queue: a thread that dies is noticed before the queue is full and blocks the run.
    return SummaryWriter(str(folder / "tensorboard"), purge_step=purge, max_queue=1000)


class Progress:
    """A progress bar with loss, SNR or accuracy, and speed; plain lines without a terminal.

    Args:
        total: steps.
        start: steps done before.
        enabled: show anything.
    """

    def __init__(self, total: int, *, start: int = 0, enabled: bool = True) -> None:
        self._total, self._enabled, self._bar = total, enabled, None
        if not enabled or not sys.stderr.isatty():
            return
        from rich.console import Console  # noqa: PLC0415
        from rich.progress import (  # noqa: PLC0415
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bar  # noqa: PLC0415

        columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Bar(*columns, TextColumn("{task.description}"), console=Console(stderr=True))
        self._task = self._bar.add_task("", total=total, completed=start)
        self._bar.start()

    def update(self, step: int, values: dict[str, float]) -> None:
        """Shows the latest loss, SNR or accuracy, and speed, of those that there are.

        Args:
            step: steps done, of ``total``.
            values: "loss", and of "snr_db", "accuracy" and "samples_per_s" those that there are.
        """
        if not self._enabled:
            return
        parts = [f"loss {values['loss']:.5g}"]
        if "snr_db" in values:
            parts.append(f"SNR {values['snr_db']:.2f} dB")
        if "accuracy" in values:
            parts.append(f"accuracy {100 * values['accuracy']:.1f} %")
        if "samples_per_s" in values:
            parts.append(f"{values['samples_per_s']:.3g} samples/s")
        if self._bar is not None:
            self._bar.update(self._task, completed=step, description=", ".join(parts))
        else:
            _logger.info("step %d of %d: %s", step, self._total, ", ".join(parts))

    def close(self) -> None:
        """Removes the bar."""
        if self._bar is not None:
            self._bar.stop()
