"""Batch jobs over a folder: files made from others by any function, in parallel and resumable.

The function is given: what it does with a file (encode, decode) is not known here. See
:mod:`.output_folder` for what the output folder remembers, and
:mod:`.workers` for how files are worked on.
"""

from __future__ import annotations

import collections
import contextlib
import os
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from isincnet_jax.data.splits import AUDIO_SUFFIXES
from isincnet_jax.files import first_line, shown
from isincnet_jax.recordings import workers as file_workers
from isincnet_jax.recordings.output_folder import Job, OutputError, OutputFolder


class Outcome(NamedTuple):
    """Outcome of a job.

    Attributes:
        job: which.
        seconds: of audio.
        num_bytes: of the file made.
        reason: why it failed; empty if it did not.
        notes: what the user should know about the file.
    """

    job: Job
    seconds: float = 0.0
    num_bytes: int = 0
    reason: str = ""
    notes: tuple[str, ...] = ()


class Problem(NamedTuple):
    """Problem while a folder was listed: what was left out, its name fit to be shown, and why."""

    name: str
    reason: str


def find_files(
    folder: str | Path,
    suffixes: Collection[str] | None = None,
    *,
    problems: list[Problem] | None = None,
) -> list[str]:
    """Names of all files below a folder with one of the suffixes, those of audio if None; sorted.

    Hidden files and folders are left out, and links to folders.

    Args:
        folder: to list.
        suffixes: in lower case; those of files may be in any.
        problems: gets the folders below that cannot be listed; without it they are errors.

    Returns:
        Paths below the folder with slashes, "a/b.wav".

    Raises:
        OutputError: if it is no folder, or has no such file.
    """
    root = Path(folder)
    suffixes = AUDIO_SUFFIXES if suffixes is None else suffixes
    if not root.is_dir():
        raise OutputError(f"{root}: no such folder")
    found, bad = [], []

    def note(error: OSError) -> None:
        name = shown(os.path.relpath(error.filename or root, root))
        bad.append(Problem(name, f"cannot be listed: {first_line(error)}"))

    for parent, folders, files in os.walk(root, onerror=note):
        folders[:] = [name for name in folders if not name.startswith(".")]
        below = Path(parent).relative_to(root)
        found += [
            (below / name).as_posix()
            for name in files
            if not name.startswith(".") and PurePosixPath(name).suffix.lower() in suffixes
        ]
    if bad and (problems is None or not found):
        raise OutputError(f"{root / bad[0].name}: {bad[0].reason}")
    if not found:
        kinds = ", ".join(sorted(suffixes))
        raise OutputError(f"{root}: no files to work on below it ({kinds})")
    if problems is not None:
        problems += sorted(bad)
    return sorted(found)


def plan_jobs(sources: Iterable[str], *, suffix: str) -> list[Job]:
    """A target for every source, in the same folders.

    ``a/b.wav`` becomes ``a/b`` with the suffix. Where ``a/b.flac`` is there as well both keep
    their own suffix before it: ``a/b.wav.npz``, ``a/b.flac.npz``.

    Args:
        sources: names with slashes.
        suffix: of the targets, with its point.

    Returns:
        One job for each source, in their order; no two targets are equal.

    Raises:
        OutputError: if two targets are the same all the same.
    """
    sources = list(sources)
    short = {source: str(PurePosixPath(source).with_suffix(suffix)) for source in sources}
    count = collections.Counter(short.values())
    jobs = [
        Job(source, short[source] if count[short[source]] == 1 else source + suffix)
        for source in sources
    ]
    owner: dict[str, str] = {}
    for job in jobs:
        if job.target in owner:
            raise OutputError(
                f"{owner[job.target]} and {job.source} would both become {job.target}; rename one"
            )
        owner[job.target] = job.source
    return jobs


def run_jobs(
    folder: str | Path,
    jobs: Sequence[Job],
    output: OutputFolder,
    make_work: Callable[[], file_workers.Work],
    *,
    num_workers: int,
) -> Generator[Outcome, None, None]:
    """Makes the files that are not done yet, and yields what became of each.

    Args:
        folder: of the sources.
        jobs: to do; see :func:`waiting_jobs`.
        output: open.
        make_work: makes the function that makes a file, see :func:`.workers.run_tasks`.
        num_workers: files under way at a time.

    Yields:
        Outcomes in the order in which files are finished; a job that fails does not stop the
        others.
    """
    root = Path(folder)
    stats: dict[int, os.stat_result] = {}

    def tasks() -> Iterator[file_workers.Task]:
        for index, job in enumerate(jobs):
            name = f"{index}{PurePosixPath(job.target).suffix}"
            yield file_workers.Task(index, root / job.source, output.unfinished / name)

    for index, job in enumerate(jobs):
        with contextlib.suppress(OSError):  # the work reports what is missing
            stats[index] = (root / job.source).stat()
    for result in file_workers.run_tasks(tasks(), make_work, num_workers=num_workers):
        task, job = result.task, jobs[result.task.number]
        reason, num_bytes = result.reason, 0
        if not reason and task.number not in stats:
            reason = "it was not there when the run began; run again"
        if not reason:
            try:
                state = stats[task.number]
                num_bytes = output.accept(job, task.target, state, result.made_with)
            except OSError as error:
                reason = f"cannot be written: {first_line(error)}"
        if reason:
            with contextlib.suppress(OSError):
                task.target.unlink(missing_ok=True)
            reason = reason.replace(str(task.target), job.target)
        yield Outcome(job, result.seconds, num_bytes, reason, result.notes)


def waiting_jobs(
    folder: str | Path,
    jobs: Iterable[Job],
    output: OutputFolder,
    *,
    is_current: Callable[[str], bool] | None = None,
) -> list[Job]:
    """The jobs whose files are not done, see :meth:`.OutputFolder.is_done`.

    Args:
        folder: of the sources.
        jobs: of the run.
        output: the open folder of the targets.
        is_current: see :meth:`.OutputFolder.is_done`.

    Returns:
        Jobs to do, in their order.
    """
    root, waiting = Path(folder), []
    for job in jobs:
        try:
            is_done = output.is_done(job, (root / job.source).stat(), is_current)
        except OSError:
            is_done = False  # gone meanwhile: the work says so
        if not is_done:
            waiting.append(job)
    return waiting
