"""Apache Beam transform that makes one file: a corpus beyond one machine.

The launcher lists the files (:func:`find_jobs`) and checks the output folder
(:func:`prepare_output`); workers anywhere make them (:class:`MakeFiles`) and report
(:class:`WriteReport`, :func:`read_report`). Folders may be paths or
addresses of a file system that Beam knows and can list (``gs://``, ``s3://``). A file is written
under a hidden name and renamed, so that it is whole or not there, and doing it twice, as runners
may, gives the same file once.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from isincnet_jax import extras
from isincnet_jax.data.splits import AUDIO_SUFFIXES
from isincnet_jax.files import shown
from isincnet_jax.recordings import output_folder
from isincnet_jax.recordings.jobs import plan_jobs
from isincnet_jax.recordings.output_folder import (
    CONFIGURATION,
    Job,
    OutputError,
    check_configuration,
    configuration_text,
)
from isincnet_jax.recordings.workers import Task, Work, made_of, reason_of

with extras.importing("apache_beam"):
    import apache_beam as beam
    from apache_beam.io.filesystem import BeamIOError, CompressionTypes
    from apache_beam.io.filesystems import FileSystems
    from apache_beam.utils.shared import Shared

DONE = "done"
FAILURES = "failures"
_COUNTS = f"{output_folder.UNFINISHED}counts"
# What reading a file may end in for reasons of the file alone.
_OF_THE_FILE = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.ELOOP, errno.EIO}
)
_PLAIN = {"compression_type": CompressionTypes.UNCOMPRESSED}


def find_jobs(source: str, *, suffix: str, suffixes: Collection[str] = AUDIO_SUFFIXES) -> list[Job]:
    """The files below a folder and what each becomes, see :func:`.jobs.plan_jobs`.

    Args:
        source: path or address of a folder.
        suffix: of the files to make.
        suffixes: of the files to read.

    Returns:
        Sources and targets, names with slashes below their folders, sorted.

    Raises:
        OutputError: if there are none, or two would become the same.
    """
    root = absolute(source)
    names = [PurePosixPath(path[len(root) + 1 :]) for path in _files_below(root)]
    wanted = [
        str(name)
        for name in names
        if name.suffix.lower() in suffixes and not any(part[0] == "." for part in name.parts)
    ]
    if not wanted:
        raise OutputError(f"{source}: no files to work on below it ({', '.join(sorted(suffixes))})")
    for name in wanted:
        if not _is_utf8(name):  # which is all that Beam can hand from one worker to another
            raise OutputError(f"{source}: {shown(name)}: its name is not UTF-8; rename it")
    return plan_jobs(sorted(wanted), suffix=suffix)


def _is_utf8(name: str) -> bool:
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False


def prepare_output(
    out: str,
    configuration: Mapping[str, Any],
    jobs: Sequence[Job],
    *,
    source: str,
    overwrite: bool = False,
) -> float:
    """Notes in the output folder how its files are made, and clears up after a broken run.

    Args:
        out: path or address of the folder; one run at a time may use it.
        configuration: how the files are made; JSON values, of which ``work`` names the kind.
        jobs: of the run.
        source: path or address of the folder of the sources; part of the configuration.
        overwrite: files that are there do not count.

    Returns:
        The time from which on files count as done, in seconds of Unix time.

    Raises:
        OutputError: if it is a file, was made with another configuration, or has files under the
            names of the targets without a configuration that says how they were made.
    """
    out, source = absolute(out), absolute(source)
    is_local = FileSystems.get_scheme(out) is None
    if is_local and Path(out).is_file():
        raise OutputError(f"{out}: a file, not a folder to write to")
    if FileSystems.get_scheme(source) is None:
        source = str(Path(source).resolve())
    configuration = {**configuration, "source": source}
    path = _join(out, CONFIGURATION)
    is_new = not FileSystems.exists(path)
    if is_new:
        _check_targets(out, jobs)
    else:
        with FileSystems.open(path, **_PLAIN) as file:
            text = file.read().decode("utf-8", errors="replace")
        check_configuration(out, text, configuration, overwrite=overwrite)
    if is_new or overwrite:
        _delete(_join(out, output_folder.JOURNAL))  # of `isincnet encode`, on this machine
        _write(out, configuration_text(configuration), path)
    clear_unfinished(out)
    return _last_updated(path)


def _check_targets(out: str, jobs: Sequence[Job]) -> None:
    """Refuses a folder with files under the names of the targets that no run of ours made."""
    there = {path[len(out) + 1 :] for path in _files_below(out)}
    foreign = [job.target for job in jobs if job.target in there]
    if foreign:
        raise OutputError(
            f"{out}: {len(foreign)} of the files to make are there already, {foreign[0]} the "
            f"first, and no {CONFIGURATION} says that a run made them; they are not replaced: move "
            "them away, or use another folder"
        )


def absolute(folder: str) -> str:
    """An address as it is, a path from the root on; without a slash at its end.

    Args:
        folder: path, or address with a scheme ("gs://...").

    Returns:
        A path or address that workers elsewhere understand.
    """
    if FileSystems.get_scheme(folder) is None:
        return os.path.abspath(folder)
    return folder.rstrip("/")


def clear_unfinished(out: str) -> None:
    """Deletes what a run that broke off left in the output folder under names of its own.

    Args:
        out: path or address of the folder; no other run may be using it.
    """
    out = absolute(out)
    pattern = f"{output_folder.UNFINISHED}*"
    for path in _files_below(out, f"{pattern}/"):
        _delete(path)
    if FileSystems.get_scheme(out) is None:  # folders are there without files on disks only
        for folder in Path(out).glob(pattern):
            shutil.rmtree(folder, ignore_errors=True)


class MakeFiles(beam.PTransform):
    """Makes a file for every :class:`.output_folder.Job` of a collection.

    Gives two collections of dictionaries: ``done`` (source, target, seconds, num_bytes, and
    skipped for what was done before) and ``failures`` (source, target, reason), for sources
    that cannot be read. Any other error, of the disk or the network say, is left to the runner,
    which tries again. A target is skipped if it is not older than its source and ``not_before``.

    Args:
        make_work: called once in each worker process; its result makes the second file from the
            first, both on the worker's disk, and returns seconds of audio. Must be picklable:
            a function of a module, or a ``functools.partial`` of one.
        source: path or address of the folder of the sources.
        out: path or address of the folder of the targets.
        not_before: see :func:`prepare_output`.
    """

    def __init__(
        self, make_work: Callable[[], Work], *, source: str, out: str, not_before: float = 0.0
    ) -> None:
        super().__init__()
        self._options = (make_work, absolute(source), absolute(out), not_before)

    def expand(self, input_or_inputs: Any) -> Any:
        """Applies the transform to a collection of jobs.

        Args:
            input_or_inputs: a ``PCollection`` of jobs.

        Returns:
            The two collections, ``done`` and ``failures``, by name.
        """
        records = (
            input_or_inputs
            | "Spread" >> beam.Reshuffle()
            | "Make" >> beam.ParDo(_MakeFile(*self._options))
        )
        # Not by tags of one output: Beam's DaskRunner hands all of it to whoever asks for one.
        return {
            DONE: records | "Done" >> beam.Filter(lambda record: "reason" not in record),
            FAILURES: records | "Failed" >> beam.Filter(lambda record: "reason" in record),
        }


class WriteReport(beam.PTransform):
    """Writes what the launcher reads by :func:`read_report`, and the file of failures.

    Applied to what :class:`MakeFiles` gives. By a step of the pipeline, since not all runners
    collect metrics, and those that do count what was tried.

    Args:
        out: path or address of the folder of the targets.
    """

    def __init__(self, out: str) -> None:
        super().__init__()
        self._out = absolute(out)

    def expand(self, input_or_inputs: Any) -> Any:
        """Applies the transform to the two collections.

        Args:
            input_or_inputs: of :class:`MakeFiles`.

        Returns:
            A collection of nothing.
        """
        return (
            (input_or_inputs[DONE], input_or_inputs[FAILURES])
            | "All" >> beam.Flatten()
            | "Under one key" >> beam.Map(lambda record: (0, record))
            | "Sum" >> beam.CombinePerKey(_Report())
            | "Write" >> beam.MapTuple(functools.partial(_write_report, self._out))
        )


class _Report(beam.CombineFn):
    """Counts, and the records of failures."""

    def create_accumulator(self) -> tuple[dict[str, int], list[dict[str, str]]]:
        return dict.fromkeys(("made", "skipped", "failed", "milliseconds_of_audio"), 0), []

    def add_input(self, mutable_accumulator: Any, element: Any) -> Any:
        counts, failures = mutable_accumulator
        if "reason" in element:
            counts["failed"] += 1
            return counts, [*failures, element]
        counts["skipped" if element["skipped"] else "made"] += 1
        counts["milliseconds_of_audio"] += round(1000 * element["seconds"])
        return counts, failures

    def merge_accumulators(self, accumulators: Any) -> Any:
        all_counts, all_failures = zip(*accumulators, strict=True)
        counts = {name: sum(counts[name] for counts in all_counts) for name in all_counts[0]}
        return counts, [failure for failures in all_failures for failure in failures]

    def extract_output(self, accumulator: Any) -> Any:
        return accumulator


def _write_report(out: str, _: int, report: tuple[dict[str, int], list[dict[str, str]]]) -> None:
    counts, failures = report
    failures.sort(key=lambda failure: failure["source"])
    lines = "".join(f"{json.dumps(failure)}\n" for failure in failures)
    _write(out, lines, _join(out, f"{FAILURES}.jsonl"))
    _write(out, json.dumps(counts), _join(out, _COUNTS, "counts.json"))


def read_report(out: str) -> dict[str, int]:
    """Counters of a finished pipeline: made, skipped, failed, milliseconds_of_audio.

    Args:
        out: path or address of the folder that :class:`WriteReport` wrote to.

    Returns:
        All four names. A file of a bundle that was tried again may have been made the first time,
        and counts as skipped.

    Raises:
        OutputError: if there is none: the pipeline did not come to its end.
    """
    path = _join(absolute(out), _COUNTS, "counts.json")
    if not FileSystems.exists(path):
        raise OutputError(
            f"{out}: the pipeline ended before all was done; the same command goes on with it"
        )
    with FileSystems.open(path, **_PLAIN) as file:
        return json.loads(file.read())


class _MakeFile(beam.DoFn):
    """One file; see :class:`MakeFiles`."""

    def __init__(
        self, make_work: Callable[[], Work], source: str, out: str, not_before: float
    ) -> None:
        super().__init__()
        self._make_work = make_work
        self._source, self._out, self._not_before = source, out, not_before
        self._run = uuid.uuid4().hex
        self._shared = Shared()  # one model for all threads of a worker

    def setup(self) -> None:
        self._work = self._shared.acquire(self._make_work)

    def process(self, element: Job) -> Iterator[Any]:
        job = Job(*element)
        source, target = _join(self._source, job.source), _join(self._out, job.target)
        record = {"source": job.source, "target": job.target}
        with tempfile.TemporaryDirectory(prefix="isincnet-") as folder:
            task = Task(0, *(Path(folder) / f"file{PurePosixPath(name).suffix}" for name in job))
            try:
                if self._is_done(source, target):
                    yield {**record, "seconds": 0.0, "num_bytes": 0, "skipped": True}
                    return
                _fetch(source, task.source)
                seconds = made_of(self._work(task.source, task.target)).seconds
            except ValueError as error:
                # The work names what is wrong with a file by a ValueError; one that stands for an
                # error of the system is the machine's, and another worker may do better.
                if isinstance(error.__cause__, OSError) and not isinstance(error, _UnreadableError):
                    raise  # a full disk: not the file's fault
                yield {**record, "reason": reason_of(error, task)}
                return
            self._put(task.target, target)
            num_bytes = task.target.stat().st_size
        yield {**record, "seconds": seconds, "num_bytes": num_bytes, "skipped": False}

    def _is_done(self, source: str, target: str) -> bool:
        if not FileSystems.exists(target):
            return False
        if not FileSystems.exists(source):  # gone meanwhile
            raise _UnreadableError("no such file any more")
        return _last_updated(target) >= max(_last_updated(source), self._not_before)

    def _put(self, made: Path, target: str) -> None:
        """Copies a file to its place under another name, and renames it there."""
        name = f"{uuid.uuid4().hex}{made.suffix}"
        temporary = _join(self._out, f"{output_folder.UNFINISHED}{self._run}", name)
        try:
            with made.open("rb") as file, FileSystems.create(temporary, **_PLAIN) as copy:
                shutil.copyfileobj(file, copy)
            with contextlib.suppress(OSError):  # there already, or no folders on this system
                FileSystems.mkdirs(FileSystems.split(target)[0])
            _rename(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                _delete(temporary)
            raise


class _UnreadableError(ValueError):
    """A source that cannot be read, for reasons of its own."""


def _fetch(source: str, copy: Path) -> None:
    """Copies a source to the worker's disk.

    Raises:
        _UnreadableError: if it is gone, or cannot be read.
        OSError: for other reasons, which may pass.
    """
    with copy.open("wb") as written:
        try:
            with FileSystems.open(source, **_PLAIN) as file:
                shutil.copyfileobj(file, written)
        except OSError as error:
            if error.errno not in _OF_THE_FILE and FileSystems.exists(source):
                raise
            reason = error.strerror or "no such file"
            raise _UnreadableError(f"cannot be read: {reason}") from error


def _join(folder: str, *names: str) -> str:
    return FileSystems.join(folder, *names)


def _files_below(folder: str, pattern: str = "") -> list[str]:
    """Paths of all files below a folder, or below those folders in it that fit a pattern."""
    # Beam cannot quote what means something in patterns: any character stands for it.
    wide = re.sub(r"[\[*?]", "?", folder)
    found = FileSystems.match([f"{wide}/{pattern}**"])[0].metadata_list
    return [entry.path for entry in found if entry.path.startswith(f"{folder}/")]


def _last_updated(path: str) -> float:
    return float(FileSystems.last_updated(path))


def _write(out: str, text: str, path: str) -> None:
    """Writes a text file whole or not at all."""
    temporary = _join(out, f"{output_folder.UNFINISHED}{uuid.uuid4().hex}", "text")
    with FileSystems.create(temporary, **_PLAIN) as file:
        file.write(text.encode())
    with contextlib.suppress(OSError):  # there already, or no folders on this system
        FileSystems.mkdirs(FileSystems.split(path)[0])
    _rename(temporary, path)


def _rename(source: str, target: str) -> None:
    try:
        FileSystems.rename([source], [target])
    except BeamIOError:
        if not FileSystems.exists(target):
            raise
        _delete(target)  # some systems rename over nothing
        FileSystems.rename([source], [target])


def _delete(path: str) -> None:
    if FileSystems.get_scheme(path) is None:
        Path(path).unlink(missing_ok=True)  # whatever its name means as a pattern
    elif FileSystems.exists(path):
        FileSystems.delete([path])
