"""Worker pools: many files through one function, in threads or in processes that may die."""

from __future__ import annotations

import collections
import concurrent.futures
import functools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias


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

Kind: TypeAlias = Literal["threads", "processes"]

DIED = "the process that worked on it died (killed from outside, or out of memory)"

_make_process_work: Callable[[], Work] | None = None  # of a worker process, set when it starts


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
    tasks: Iterable[Task], make_work: Callable[[], Work], *, num_workers: int, kind: Kind
) -> Iterator[Result]:
    """Runs tasks and yields their results as they come, in any order.

    A task that fails does not stop the others, whatever its error is; one whose process dies
    does not either. With one worker everything runs in the calling thread.

    Args:
        tasks: in the order in which they are begun.
        make_work: called once in this process, or once in each worker process, which must be able
            to unpickle it.
        num_workers: at a time.
        kind: threads share a model and suit work that leaves the interpreter (resampling,
            deflating); processes take seconds to start and suit work that does not (entropy
            coding).

    Yields:
        One result for each task.

    Raises:
        ValueError: if ``num_workers`` is below 1.
    """
    if num_workers < 1:
        raise ValueError(f"num_workers={num_workers} must be at least 1")
    waiting = collections.deque(tasks)
    num_workers = min(num_workers, len(waiting))
    if kind == "processes" and num_workers > 1:
        yield from _in_processes(waiting, make_work, num_workers)
    elif waiting:
        yield from _in_threads(waiting, make_work(), num_workers)


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
    if num_workers == 1:
        while waiting:
            yield _perform(work, waiting.popleft())
        return
    pool = concurrent.futures.ThreadPoolExecutor(num_workers)
    try:
        yield from _drain(pool, functools.partial(_perform, work), waiting, num_workers)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _in_processes(
    waiting: collections.deque[Task], make_work: Callable[[], Work], num_workers: int
) -> Iterator[Result]:
    """Starts processes anew when one dies, and finds out which task kills them.

    Tasks that were under way when a process died run again one at a time; the one that then
    dies alone has failed.
    """
    suspects: collections.deque[Task] = collections.deque()
    while waiting or suspects:
        alone = bool(suspects)
        count = 1 if alone else num_workers
        others = set(multiprocessing.active_children())
        pool = concurrent.futures.ProcessPoolExecutor(
            count,
            # A fork of a process with the threads of XLA may hang.
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start_process,
            initargs=(make_work, max(1, available_cores() // num_workers)),
        )
        lost: list[Task] = []
        try:
            yield from _drain(pool, _perform_here, suspects if alone else waiting, count, lost)
        except BaseException:
            for child in set(multiprocessing.active_children()) - others:
                child.terminate()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        if alone and lost:
            yield Result(lost[0], reason=DIED)
        else:
            suspects.extend(lost)


def _drain(
    pool: concurrent.futures.Executor,
    function: Callable[[Task], Result],
    waiting: collections.deque[Task],
    num_workers: int,
    lost: list[Task] | None = None,
) -> Iterator[Result]:
    """Keeps a pool busy with no more tasks than it has workers; ends when a process died.

    Args:
        pool: to run in.
        function: performs a task.
        waiting: emptied from the left.
        num_workers: tasks under way at a time.
        lost: gets the tasks that were under way when a process died.
    """
    running: dict[concurrent.futures.Future[Result], Task] = {}
    lost = [] if lost is None else lost
    while (waiting or running) and not lost:
        while waiting and len(running) < num_workers:
            task = waiting.popleft()
            try:
                running[pool.submit(function, task)] = task
            except BrokenProcessPool:
                lost.append(task)
                break
        done, _ = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
        for future in done:
            task = running.pop(future)
            try:
                result = future.result()
            except BrokenProcessPool:
                lost.append(task)
            else:
                yield result
    lost.extend(running.values())


def _start_process(make_work: Callable[[], Work], num_threads: int) -> None:
    """Prepares a worker process, before anything heavy is imported."""
    global _make_process_work  # noqa: PLW0603 - what a process works with, set once at its start
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends us
    os.environ["NPROC"] = str(num_threads)  # of XLA's thread pools
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # workers share a GPU
    parent: Any = multiprocessing.parent_process()

    def end_with_parent() -> None:
        parent.join()
        os._exit(1)  # a killed parent leaves nobody to report to

    threading.Thread(target=end_with_parent, daemon=True).start()
    _make_process_work = functools.cache(make_work)


def _perform_here(task: Task) -> Result:
    assert _make_process_work is not None
    try:
        work = _make_process_work()
    except Exception as error:  # the parent made one before; whatever it is, it is reported
        return Result(task, reason=reason_of(error, task))
    return _perform(work, task)
