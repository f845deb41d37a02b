"""Prefetching: a thread that keeps an iterator ahead of its reader."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Prefetcher(Iterator[Item], Generic[Item]):
    """An iterator that a thread keeps ahead of its reader. See :func:`prefetch`."""

    def __init__(self, iterator: Iterator[Item], size: int) -> None:
        self._queue: queue.Queue[tuple[str, object]] = queue.Queue(maxsize=size)
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=_produce, args=(iterator, self._queue, self._stop), daemon=True, name="prefetch"
        )
        self._thread.start()

    def __next__(self) -> Item:
        if self._stop.is_set():
            raise StopIteration
        kind, value = self._queue.get()
        if kind == "item":
            return value  # pyright: ignore[reportReturnType]
        self.close()
        if isinstance(value, BaseException):
            raise value
        raise StopIteration

    def __enter__(self) -> Prefetcher[Item]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self._stop.set()
        with contextlib.suppress(queue.Empty):
            self._queue.get_nowait()  # a thread that waits for room sees that it is over

    def close(self) -> None:
        """Stops the thread and waits for it; what it made ready is dropped."""
        self._stop.set()
        while self._thread.is_alive():
            with contextlib.suppress(queue.Empty):
                self._queue.get_nowait()
            self._thread.join(timeout=0.01)


def _produce(iterator: Iterator[Item], target: queue.Queue, stop: threading.Event) -> None:
    try:
        for item in iterator:
            target.put(("item", item))
            if stop.is_set():
                break
        target.put(("end", None)) if not stop.is_set() else None
    except BaseException as error:
        target.put(("end", error))
    finally:
        close = getattr(iterator, "close", None)
        if close is not None:
            close()


def prefetch(iterator: Iterator[Item], *, size: int = 2) -> Prefetcher[Item]:
    """Runs an iterator in a thread, a few items ahead.

    Errors of the iterator come out where its item would have. ``close`` ends the thread, as does
    leaving a ``with`` block; a generator is closed with it.

    Args:
        iterator: read by the thread only.
        size: items made ready, at least 1.

    Returns:
        An iterator; its thread has begun.

    Raises:
        ValueError: for a size below 1.
    """
    if size < 1:
        raise ValueError(f"size={size}: must be at least 1")
    return Prefetcher(iterator, size)
