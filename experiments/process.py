"""What a training process does with signals, messages and threads."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from typing import Any

import jax

from isincnet_jax.training import parallel


class Stop:
    """Whether SIGTERM or SIGINT asked to end, called after every step.

    Several hosts agree on it, all after the same step, each ``every`` steps.
    """

    def __init__(self, every: int) -> None:
        self._every, self._num_calls, self._asked = every, 0, 0
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)

    def _note(self, number: int, frame: Any) -> None:
        if self._asked:  # asked twice: at once
            raise KeyboardInterrupt
        self._asked = number

    def __call__(self) -> bool:
        """Whether to end after this step."""
        self._num_calls += 1
        if jax.process_count() == 1:
            return bool(self._asked)
        return self._num_calls % self._every == 0 and parallel.on_any_host(bool(self._asked))

    @property
    def status(self) -> int:
        """What a shell reports of a process that a signal ended."""
        return 128 + (self._asked or signal.SIGTERM)


class Screen(logging.Handler):
    """Messages to what standard error is now: a progress bar puts itself in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        """Prints one."""
        print(self.format(record), file=sys.stderr)  # noqa: T201


def silence_threads() -> None:
    """No tracebacks of threads, Python's and others: whoever waits for one gets its error."""
    threading.excepthook = lambda failed: None
    sys.unraisablehook = lambda failed: None
