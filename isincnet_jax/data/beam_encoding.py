"""A corpus beyond one machine: the function that makes one file, as an Apache Beam transform.

The launcher lists the files (:func:`find_jobs`) and checks the output folder
(:func:`prepare_output`); workers anywhere make them (:class:`MakeFiles`). Folders may be paths or
addresses of a file system that Beam knows and can list (``gs://``, ``s3://``). A file is written
under a hidden name and renamed, so that it is whole or not there, and doing it twice, as runners
may, gives the same file once.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from isincnet_jax.data import output_folder
from isincnet_jax.data.corpus_encoding import plan_jobs
from isincnet_jax.data.file_workers import Task, Work, reason_of
from isincnet_jax.data.output_folder import Job, OutputError
from isincnet_jax.data.splits import AUDIO_SUFFIXES

try:
    import apache_beam as beam
    from apache_beam.io.filesystem import BeamIOError, CompressionTypes
    from apache_beam.io.filesystems import FileSystems
    from apache_beam.metrics.metric import Metrics
    from apache_beam.pvalue import TaggedOutput
    from apache_beam.utils.shared import Shared
except ImportError as error:
    raise ImportError(
        f"{error}: corpora on clusters need Apache Beam; install it with: "
        "pip install 'isincnet-jax[beam]'"
    ) from error

NAMESPACE = "isincnet"
FAILURES = "failures"
_PLAIN = {"compression_type": CompressionTypes.UNCOMPRESSED}


def find_jobs(source: str, *, suffix: str, suffixes: Collection[str] = AUDIO_SUFFIXES) -> list[Job]:
    """The files below a folder and what each becomes, see :func:`.corpus_encoding.plan_jobs`.

    Args:
        source: path or address of a folder.
        suffix: of the files to make.
        suffixes: of the files to read.

    Raises:
        OutputError: if there are none, or two would become the same.
    """
    root = source.rstrip("/")
    names = [PurePosixPath(path[len(root) + 1 :]) for path in _files_below(root)]
    wanted = [
        str(name)
        for name in names
        if name.suffix.lower() in suffixes and not any(part[0] == "." for part in name.parts)
    ]
    if not wanted:
        raise OutputError(f"{source}: no files to work on below it ({', '.join(sorted(suffixes))})")
    return plan_jobs(sorted(wanted), suffix=suffix)


def prepare_output(out: str, configuration: Mapping[str, Any], *, overwrite: bool = False) -> float:
    """Notes in the output folder how its files are made, and clears up after a broken run.

    Args:
        out: path or address of the folder; one run at a time may use it.
        configuration: how the files are made; JSON values.
        overwrite: files that are there do not count.

    Returns:
        The time from which on files count as done, in seconds of Unix time.

    Raises:
        OutputError: if the folder was made with another configuration.
    """
    path = _join(out, output_folder.CONFIGURATION)
    if FileSystems.exists(path) and not overwrite:
        with FileSystems.open(path, **_PLAIN) as file:
            text = file.read().decode("utf-8", errors="replace")
        output_folder.check_configuration(out, text, configuration)
    else:
        _delete(_join(out, output_folder.JOURNAL))  # of `isincnet encode`, on this machine
        temporary = _join(out, f"{output_folder.UNFINISHED}{uuid.uuid4().hex}", "text")
        with FileSystems.create(temporary, **_PLAIN) as file:
            file.write(output_folder.configuration_text(configuration).encode())
        _rename(temporary, path)
    clear_unfinished(out)
    return _last_updated(path)


def clear_unfinished(out: str) -> None:
    """Deletes what a run that broke off left in the output folder under hidden names."""
    for path in _files_below(out.rstrip("/"), f"{output_folder.UNFINISHED}*/"):
        _delete(path)
    if FileSystems.get_scheme(out) is None:  # folders are there without files on disks only
        for folder in Path(out).glob(f"{output_folder.UNFINISHED}*"):
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
        self._options = (make_work, source, out, not_before)

    def expand(self, input_or_inputs: Any) -> Any:
        """Applies the transform to a collection of jobs."""
        return (
            input_or_inputs
            | "Spread" >> beam.Reshuffle()
            | "Make" >> beam.ParDo(_MakeFile(*self._options)).with_outputs(FAILURES, main="done")
        )


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
        if self._is_done(source, target):
            _count("skipped")
            yield {**record, "seconds": 0.0, "num_bytes": 0, "skipped": True}
            return
        with tempfile.TemporaryDirectory(prefix="isincnet-") as folder:
            task = Task(0, *(Path(folder) / f"file{PurePosixPath(name).suffix}" for name in job))
            with FileSystems.open(source, **_PLAIN) as file, task.source.open("wb") as copy:
                shutil.copyfileobj(file, copy)
            try:
                seconds = self._work(task.source, task.target)
            except ValueError as error:
                if isinstance(error.__cause__, OSError):  # a full disk: not the file's fault
                    raise
                _count("failed")
                yield TaggedOutput(FAILURES, {**record, "reason": reason_of(error, task)})
                return
            self._put(task.target, target)
            num_bytes = task.target.stat().st_size
        _count("made")
        _count("milliseconds_of_audio", round(1000 * seconds))
        yield {**record, "seconds": seconds, "num_bytes": num_bytes, "skipped": False}

    def _is_done(self, source: str, target: str) -> bool:
        if not FileSystems.exists(target):
            return False
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


def _count(name: str, number: int = 1) -> None:
    Metrics.counter(NAMESPACE, name).inc(number)


def counted(result: Any) -> dict[str, int]:
    """What a finished pipeline counted: made, skipped, failed, milliseconds_of_audio."""
    found = {"made": 0, "skipped": 0, "failed": 0, "milliseconds_of_audio": 0}
    for counter in result.metrics().query()["counters"]:
        if counter.key.metric.namespace == NAMESPACE:
            found[counter.key.metric.name] = int(counter.result)
    return found


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
