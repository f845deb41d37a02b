"""Worker pool: many files through one function, in threads."""

from __future__ import annotations

import collections
import concurrent.futures
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeAlias


class Made(NamedTuple):
    """Facts of a file that was made.

    Attributes:
        seconds: of audio.
        notes: what the user should know about it, without its name.
        made_with: what it depends on beyond its source and the options.
    """

    seconds: float
    notes: tuple[str, ...] = ()
    made_with: str = ""


Work: TypeAlias = Callable[[Path, Path], float | Made]
"""Makes the second file from the first; returns the seconds of audio in it, or more."""


class Task(NamedTuple):
    """One file to make.

    Attributes:
        number: tells tasks apart.
        source: file to read.
        target: file to write; nobody else writes it.
    """

    number: int
    source: Path
    target: Path


class Result(NamedTuple):
    """Result of a task.

    Attributes:
        task: which.
        seconds: of audio.
        reason: why it failed; empty if it did not.
        notes: see :class:`Made`.
        made_with: see :class:`Made`.
    """

    task: Task
    seconds: float = 0.0
    reason: str = ""
    notes: tuple[str, ...] = ()
    made_with: str = ""


def available_cores() -> int:
    """Cores that this process may use.

    Returns:
        At least 1; of the process's affinity where the system has one.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_tasks(
    tasks: Iterable[Task], make_work: Callable[[], Work], *, num_workers: int
) -> Iterator[Result]:
    """Runs tasks and yields their results as they come, in any order.

    A task that fails does not stop the others, whatever its error is. With one worker everything
    runs in the calling thread. Threads share a model, and what takes long (resampling, deflating,
    entropy coding) leaves the interpreter.

    Args:
        tasks: in the order in which they are begun.
        make_work: called once, if there is a task.
        num_workers: at a time.

    Yields:
        One result for each task.

    Raises:
        ValueError: if ``num_workers`` is below 1.
    """
    if num_workers < 1:
        raise ValueError(f"num_workers={num_workers} must be at least 1")
    waiting = collections.deque(tasks)
    if waiting:
        yield from _in_threads(waiting, make_work(), min(num_workers, len(waiting)))


def _perform(work: Work, task: Task) -> Result:
    """Does one task; what it wrote is on the disk when it returns."""
    try:
        made = made_of(work(task.source, task.target))
        with open(task.target, "rb") as file:
            os.fsync(file.fileno())
    except Exception as error:  # files raise anything; the others go on
        return Result(task, reason=reason_of(error, task))
    return Result(task, made.seconds, notes=made.notes, made_with=made.made_with)


def made_of(result: float | Made) -> Made:
    """Facts that a work returned, in full.

    Args:
        result: seconds of audio, or a :class:`Made`.

    Returns:
        A :class:`Made`.
    """
    return result if isinstance(result, Made) else Made(result)


def reason_of(error: Exception, task: Task) -> str:
    """Reason of a failure on one line, without the names of the two files.

    Args:
        error: that the work raised.
        task: whose two paths are left out.

    Returns:
        One line, without a line end.
    """
    text = " ".join(str(error).split())
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror
        names = [str(name) for name in (error.filename, error.filename2) if name is not None]
        others = [name for name in names if name not in (str(task.source), str(task.target))]
        return ": ".join([*others, text])
    if not isinstance(error, (ValueError, OSError)) or not text:
        text = f"{type(error).__name__}: {text}".removesuffix(": ")
    for path in (task.source, task.target):
        text = text.removeprefix(f"{path}: ")
    return text


def _in_threads(waiting: collections.deque[Task], work: Work, num_workers: int) -> Iterator[Result]:
    """Keeps threads busy with no more tasks than there are of them."""
    if num_workers == 1:
        while waiting:
            yield _perform(work, waiting.popleft())
        return
    pool = concurrent.futures.ThreadPoolExecutor(num_workers)
    running: set[concurrent.futures.Future[Result]] = set()
    try:
        while waiting or running:
            while waiting and len(running) < num_workers:
                running.add(pool.submit(_perform, work, waiting.popleft()))
            done, running = concurrent.futures.wait(
                running, return_when=concurrent.futures.FIRST_COMPLETED
            )
            for future in done:
                yield future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
