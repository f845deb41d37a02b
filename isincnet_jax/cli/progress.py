"""Signs of life of commands on a terminal: within a second, whatever they do.

A line on standard error names the command, what it is at, and the seconds so far. It stands there
while nothing else is printed, is wiped before anything is, and is gone at the end. Where standard
error is no terminal nothing is written: logs and pipes hold what commands say, and only that.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

QUIET_S = 0.5
"""Without output for so long, the line appears."""
_TICK_S = 0.1
_WIPE = "\r\x1b[K"  # to the start of the line, and nothing behind it


class _Line(threading.Thread):
    """The line, written from a thread of its own: the command is busy."""

    def __init__(self, name: str, stream: Any) -> None:
        super().__init__(name="progress", daemon=True)
        self.note = "working"
        self._name, self._stream = name, stream
        self._begin = self._last = time.monotonic()
        self._lock, self._end = threading.RLock(), threading.Event()
        self._shown = ""

    def run(self) -> None:
        """Writes the line anew whenever its text has changed."""
        while not self._end.wait(min(_TICK_S, QUIET_S)):
            now = time.monotonic()
            with self._lock:
                text = f"{self._name}: {self.note}, {now - self._begin:.0f} s"
                if now - self._last >= QUIET_S and text != self._shown:
                    self._write(_WIPE + text)
                    self._shown = text

    def wipe(self) -> None:
        """Makes room for output, and waits again."""
        with self._lock:
            if self._shown:
                self._write(_WIPE)
            self._shown, self._last = "", time.monotonic()

    def end(self) -> None:
        """Stops, and leaves nothing behind."""
        self._end.set()
        self.join()
        self.wipe()

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # a terminal that is gone
            self._stream.write(text)
            self._stream.flush()


class _Watched:
    """A stream that wipes the line before it is written to; all else is the stream's."""

    def __init__(self, stream: Any, line: _Line) -> None:
        self._stream, self._line = stream, line

    def write(self, text: str) -> int:
        self._line.wipe()
        return self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


_lines: list[_Line] = []


def _is_terminal() -> bool:
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


@contextlib.contextmanager
def working(name: str) -> Iterator[None]:
    """Shows that a command works while it is silent; nothing where there is no terminal.

    Args:
        name: of the command.

    Yields:
        Nothing; at the end the line is gone and the streams are as they were.
    """
    if not _is_terminal():
        yield
        return
    line, streams = _Line(name, sys.stderr), (sys.stdout, sys.stderr)
    _lines.append(line)
    sys.stdout, sys.stderr = (_Watched(stream, line) for stream in streams)  # type: ignore[assignment]
    line.start()
    try:
        yield
    finally:
        line.end()
        sys.stdout, sys.stderr = streams
        _lines.remove(line)


def note(text: str) -> None:
    """Says what the running command is at; for the line of :func:`working` alone.

    Args:
        text: "12 of 400 tracks", say.
    """
    if _lines:
        _lines[-1].note = text


def count(what: str) -> Any:
    """A callback of progress that notes so many of so many.

    Args:
        what: "tracks", say.

    Returns:
        A function of the number that are done and of all.
    """

    def tell(done: int, total: int) -> None:
        note(f"{done} of {total} {what}")

    return tell
