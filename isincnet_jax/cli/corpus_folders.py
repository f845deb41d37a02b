"""From a folder to a folder, with a bar that says how far it is."""

from __future__ import annotations

import collections
import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from isincnet_jax.cli.common import say

if TYPE_CHECKING:
    from isincnet_jax.recordings.jobs import Outcome, Problem
    from isincnet_jax.recordings.output_folder import Job
    from isincnet_jax.recordings.workers import Kind, Work

_INTERRUPTED = 130
_PROCESS_BYTES = 1 << 24  # of sources that are worth the seconds in which a process starts


def run_folder(
    source: Path,
    target: Path,
    *,
    suffix: str,
    make_work: Callable[[], Work],
    kind: Callable[[list[str]], Kind],
    configuration: Mapping[str, Any],
    num_jobs: int | None,
    overwrite: bool,
    verb: str,
    suffixes: tuple[str, ...] | None = None,
    is_current: Callable[[str], bool] | None = None,
) -> None:
    """Makes a file in ``target`` for every one in ``source`` that is not done yet.

    Args:
        source: folder to read.
        target: folder to write.
        suffix: of the files to make.
        make_work: makes the function that makes a file, see
            :func:`.workers.run_tasks`.
        kind: of workers, for the names of the sources.
        configuration: all that the result depends on but for the sources.
        num_jobs: files at a time; the number of cores if None, fewer for small corpora.
        overwrite: make everything anew.
        verb: what happens to the files.
        suffixes: of the files to read; those of audio files if None.
        is_current: see :meth:`.output_folder.OutputFolder.is_done`.

    Raises:
        typer.Exit: with status 1 if a file failed, 130 if interrupted.
        ValueError: if a folder cannot be used.
    """
    from isincnet_jax.recordings import jobs as corpus_encoding
    from isincnet_jax.recordings import output_folder

    if num_jobs is not None and num_jobs < 1:
        raise ValueError(f"--jobs {num_jobs}: use at least 1")
    meter = _Meter()
    names = corpus_encoding.find_files(source, suffixes, problems=meter.problems)
    jobs = corpus_encoding.plan_jobs(names, suffix=suffix)
    workers = kind(names)
    with output_folder.open_output(
        target,
        configuration,
        jobs,
        source=source,
        overwrite=overwrite,
        keep_others=bool(meter.problems),
    ) as output:
        waiting = corpus_encoding.waiting_jobs(source, jobs, output, is_current=is_current)
        if len(waiting) < len(jobs):
            say(f"{target}: {len(jobs) - len(waiting)} of {len(jobs)} files are done already")
        outcomes = corpus_encoding.run_jobs(
            source,
            waiting,
            output,
            make_work,
            num_workers=num_jobs or _suitable_workers(source, waiting, workers),
            kind=workers,
        )
        try:
            with _shown(meter, len(waiting)) as show, contextlib.closing(outcomes):
                for outcome in outcomes:
                    meter.add(outcome)
                    show(outcome)
        except KeyboardInterrupt:
            say(f"interrupted after {meter.text(verb)}; the same command goes on from here")
            _tell(meter, len(waiting))
            raise typer.Exit(_INTERRUPTED) from None
        except BaseException:  # what was done is told whatever ends the run
            say(meter.text(verb))
            _tell(meter, len(waiting))
            raise
        num_left = output.count_left(jobs)
    say(meter.text(verb))
    if num_left:
        say(f"{num_left} files in {target} have no source any more; they stay as they are")
    _tell(meter, len(waiting))
    if meter.failed or meter.problems:
        raise typer.Exit(1)


def _tell(meter: _Meter, total: int) -> None:
    """Notes, and what was left out or failed."""
    for note, count in sorted(meter.notes.items()):
        say(f"note: {note} ({count} files)")
    for name, reason in meter.problems:
        say(f"left out: {name}: {reason}")
    for outcome in meter.failed:
        say(f"failed: {outcome.job.source}: {outcome.reason}")
    if meter.failed:
        say(f"{len(meter.failed)} of {total} files failed; nothing was written for them")


def _suitable_workers(source: Path, jobs: list[Job], kind: Kind) -> int:
    """As many as there are cores; fewer processes where there is little for each to do."""
    from isincnet_jax.recordings import workers as file_workers

    cores = file_workers.available_cores()
    if kind == "threads":
        return cores
    num_bytes = 0
    for job in jobs:
        with contextlib.suppress(OSError):  # gone meanwhile: the work says so
            num_bytes += (source / job.source).stat().st_size
    return max(1, min(cores, num_bytes // _PROCESS_BYTES))


class _Meter:
    """Sums of a run."""

    def __init__(self) -> None:
        self.begin = time.perf_counter()
        self.count = self.num_bytes = 0
        self.seconds = 0.0
        self.failed: list[Outcome] = []
        self.problems: list[Problem] = []
        self.notes: collections.Counter[str] = collections.Counter()

    def add(self, outcome: Outcome) -> None:
        """Takes what became of a file."""
        if outcome.reason:
            self.failed.append(outcome)
            return
        self.notes.update(outcome.notes)
        self.count += 1
        self.seconds += outcome.seconds
        self.num_bytes += outcome.num_bytes

    @property
    def speed(self) -> float:
        """Seconds of audio per second."""
        return self.seconds / max(time.perf_counter() - self.begin, 1e-9)

    def text(self, verb: str) -> str:
        """The sums in words."""
        took = time.perf_counter() - self.begin
        return (
            f"{verb} {self.count} files: {self.seconds:.1f} s of audio in {took:.1f} s "
            f"({self.speed:.0f} x real time), {self.num_bytes} bytes"
        )


@contextlib.contextmanager
def _shown(meter: _Meter, total: int) -> Iterator[Callable[[Outcome], None]]:
    """A progress bar on a terminal, a line for each file elsewhere."""
    import rich.console
    import rich.progress

    console = rich.console.Console()
    if not console.is_terminal:
        width = len(str(total))

        def tell(outcome: Outcome) -> None:
            done = meter.count + len(meter.failed)
            what = "failed" if outcome.reason else f"{outcome.seconds:.1f} s"
            say(f"[{done:{width}d}/{total}] {outcome.job.source}: {what}")

        yield tell
        return
    columns = (
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TextColumn("files, {task.fields[audio]}"),
        rich.progress.TimeRemainingColumn(),
    )
    with rich.progress.Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=total, audio="")

        def advance(outcome: Outcome) -> None:
            audio = f"{meter.seconds:.0f} s of audio, {meter.speed:.0f} x real time"
            failed = f", {len(meter.failed)} failed" if meter.failed else ""
            bar.update(task, advance=1, audio=audio + failed)

        yield advance
