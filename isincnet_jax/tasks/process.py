"""Process of a training run: signals, messages, threads, its folder and other hosts."""

from __future__ import annotations

import contextlib
import errno
import logging
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from isincnet_jax.files import locked
from isincnet_jax.tasks.config import Config
from isincnet_jax.training import parallel

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)


class Stop:
    """Stop signal: whether SIGTERM or SIGINT asked to end, called after every step.

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
        """Exit status that a shell reports of a process that a signal ended."""
        return 128 + (self._asked or signal.SIGTERM)


class Screen(logging.Handler):
    """Messages to what standard error is now: a progress bar puts itself in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        """Prints one.

        Args:
            record: of a logger.
        """
        print(self.format(record), file=sys.stderr)  # noqa: T201


def silence_threads() -> None:
    """No tracebacks of threads, Python's and others: whoever waits for one gets its error."""
    threading.excepthook = lambda failed: None
    sys.unraisablehook = lambda failed: None


@contextlib.contextmanager
def alone(workdir: Path) -> Iterator[None]:
    """Waits until no other process trains in the folder, where the file system can tell.

    Args:
        workdir: of the run; gets ``.lock``.

    Yields:
        Nothing, while this process has the lock; at once where the file system has none.

    Raises:
        OSError: if the lock cannot be made, for another reason.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(workdir / ".lock"))
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        yield


def connect(hosts: Config) -> None:
    """Joins the other hosts of a run (``jax.distributed``), if it has any.

    Args:
        hosts: ``coordinator`` ("auto", "address:port" or empty), ``count`` and ``index``.
    """
    if hosts.coordinator == "auto":
        parallel.initialize_hosts(coordinator="auto")
    elif hosts.coordinator:
        parallel.initialize_hosts(
            coordinator=hosts.coordinator, num_hosts=hosts.count, host_index=hosts.index
        )
    if jax.process_index() != 0:
        logging.getLogger().setLevel(logging.WARNING)  # the first host speaks for all
