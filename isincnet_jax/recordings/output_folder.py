"""An output folder that remembers what is done, so that a run goes on where the last one stopped.

It holds, beside the files,

- ``isincnet.json``: how they are made (the configuration, with the folder of the sources),
  written before the first file;
- ``isincnet.jsonl``: the journal. Before a file gets its name a line says that it will be ours,
  after that one says that it is done: target, source, the source's size and modification time,
  the target's size.

A file is done if its line is there, its source has the size and time of that line, and it has
the size of that line itself. Files are written to a hidden folder and renamed when they are
complete, so that none is ever half there; whatever ends a run, the next one goes on behind it.

Nothing is replaced or deleted but what the journal says was made here, and never a source of the
run, whatever the options are. A journal without a configuration says nothing.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from isincnet_jax import files
from isincnet_jax.recordings.output_journal import Entry, Journal

CONFIGURATION = "isincnet.json"
JOURNAL = "isincnet.jsonl"
UNFINISHED = ".unfinished-"
_FORMAT = 1  # of the configuration


class OutputError(ValueError):
    """An output folder that cannot be used; the message names it and the reason."""


class Job(NamedTuple):
    """One file to make.

    Attributes:
        source: name below the source folder, with slashes.
        target: name below the output folder, with slashes.
    """

    source: str
    target: str


class OutputFolder:
    """An output folder that is open for one run; made by :func:`open_output`.

    Attributes:
        path: of the folder.
        unfinished: hidden folder for files that are not complete.
    """

    def __init__(self, path: Path, unfinished: Path, journal: Journal) -> None:
        self.path = path
        self.unfinished = unfinished
        self._journal = journal

    def is_done(
        self,
        job: Job,
        source: os.stat_result,
        is_current: Callable[[str], bool] | None = None,
    ) -> bool:
        """Whether the file is there and was made from the source as it is now.

        Args:
            job: which.
            source: state of its source.
            is_current: whether what files were made with, see :meth:`accept`, is still the same.

        Returns:
            False where the file has another size than was noted, or its source another size or
            time.
        """
        entry = self._journal.entries.get(job.target)
        if entry is None or entry.source != job.source:
            return False
        if (entry.size, entry.mtime_ns) != (source.st_size, source.st_mtime_ns):
            return False
        with contextlib.suppress(OSError):
            if (self.path / job.target).stat().st_size == entry.num_bytes:
                return is_current is None or is_current(entry.made_with)
        return False

    def accept(self, job: Job, made: Path, source: os.stat_result, made_with: str = "") -> int:
        """Gives a complete file its name, notes that it is done, and returns its size.

        Args:
            job: which.
            made: the file.
            source: state of its source before it was read.
            made_with: what it depends on beyond its source and the configuration.

        Returns:
            Bytes.

        Raises:
            OSError: if it cannot be put there, or not be noted; it is not there then.
        """
        target = self.path / job.target
        target.parent.mkdir(parents=True, exist_ok=True)
        num_bytes = made.stat().st_size
        entry = Entry(
            job.target, job.source, source.st_size, source.st_mtime_ns, num_bytes, made_with
        )
        before = self._journal.entries.get(job.target)
        if before is None and os.path.lexists(target) and not target.is_dir():
            raise FileExistsError(errno.EEXIST, "a file of this name appeared during the run")
        # On the disk before the file has its name: whatever ends the run, a file that is there is
        # known to be ours.
        self._journal.append(entry.undone(), lasting=True)
        try:
            files.put(made, target)
        except OSError:
            with contextlib.suppress(OSError):
                self._journal.append(before.undone() if before else Entry(job.target))
            raise
        try:
            self._journal.append(entry)
        except OSError:
            with contextlib.suppress(OSError):
                target.unlink()
            raise
        return num_bytes

    def count_left(self, jobs: Sequence[Job]) -> int:
        """Files of earlier runs that no job of this run makes.

        Args:
            jobs: of this run.

        Returns:
            How many of them are still there.
        """
        targets = {job.target for job in jobs}
        return sum(
            os.path.lexists(self.path / target)
            for target in self._journal.entries
            if target not in targets
        )

    def _begin(self, doomed: Sequence[str], *, anew: bool) -> None:
        """Deletes files that are superseded, and lets none count as done if all is made anew."""
        for target in doomed:
            path, entry = self.path / target, self._journal.entries[target]
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                if path.lstat().st_size == entry.num_bytes and path.is_file():
                    path.unlink()
            self._journal.append(Entry(target))
        if anew:  # noted before the configuration: old files never count as new ones
            self._journal.append(
                *[entry.undone() for entry in self._journal.entries.values()], lasting=True
            )


@contextlib.contextmanager
def open_output(
    path: str | Path,
    configuration: Mapping[str, Any],
    jobs: Sequence[Job],
    *,
    source: str | Path,
    overwrite: bool = False,
    keep_others: bool = False,
) -> Iterator[OutputFolder]:
    """Opens an output folder for one run, alone.

    Args:
        path: of the folder; made if it is missing.
        configuration: how the files are made; JSON values, of which ``work`` names the kind.
        jobs: of this run.
        source: folder of the sources; part of the configuration.
        overwrite: make everything anew, whatever the configuration was before, but for its
            ``work``; other files that earlier runs made are deleted.
        keep_others: delete none of these, as where not all sources could be listed.

    Yields:
        The folder, locked for this process where the file system has locks.

    Raises:
        OutputError: if the folder was made with another configuration, another run is using it,
            it cannot be written, or a file that is there would be lost: a source of this run, or
            one that the journal does not know.
    """
    path, source = Path(path), Path(source)
    configuration = {**configuration, "source": str(source.resolve())}
    if path.exists() and not path.is_dir():
        raise OutputError(f"{path}: a file, not a folder to write to")
    with contextlib.ExitStack() as stack:
        try:
            if not (path / JOURNAL).exists():  # refuse before anything is written
                _check_targets(path, {}, jobs, source, ())
            path.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context((path / JOURNAL).open("a+b", buffering=0))
            _lock(file, path)
            is_new = not (path / CONFIGURATION).exists()
            if not is_new:
                text = (path / CONFIGURATION).read_text(encoding="utf-8", errors="replace")
                check_configuration(str(path), text, configuration, overwrite=overwrite)
            journal = Journal(file)
            entries = {} if is_new else journal.entries
            doomed = _superseded(entries, jobs, all_others=overwrite and not keep_others)
            _check_targets(path, entries, jobs, source, doomed)
            if is_new:
                journal.clear()
            for left in path.glob(f"{UNFINISHED}*"):
                shutil.rmtree(left, ignore_errors=True)
            unfinished = Path(tempfile.mkdtemp(dir=path, prefix=UNFINISHED))
            stack.callback(shutil.rmtree, unfinished, ignore_errors=True)
            output = OutputFolder(path, unfinished, journal)
            output._begin(doomed, anew=overwrite)
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {files.first_line(error)}") from error
        if is_new or overwrite:
            files.write_text(path / CONFIGURATION, configuration_text(configuration))
        yield output


def configuration_text(configuration: Mapping[str, Any]) -> str:
    """The content of ``isincnet.json``.

    Args:
        configuration: how the files are made; JSON values.

    Returns:
        JSON with sorted keys, and the format's number.
    """
    return json.dumps({"format": _FORMAT, **configuration}, indent=1, sort_keys=True) + "\n"


def check_configuration(
    folder: str, text: str, configuration: Mapping[str, Any], *, overwrite: bool = False
) -> None:
    """Refuses a folder that was made in another way.

    Args:
        folder: its name, for the message.
        text: content of its ``isincnet.json``.
        configuration: wanted.
        overwrite: whether only another kind of work is refused.

    Raises:
        OutputError: naming the differences.
    """
    try:
        found = dict(json.loads(text))
    except (ValueError, TypeError) as error:
        if overwrite:
            return
        raise OutputError(
            f"{folder}: its {CONFIGURATION} is damaged ({error}); use another folder, or "
            "overwrite=True to make all anew"
        ) from error
    wanted = json.loads(configuration_text(configuration))
    if found.get("work") != wanted.get("work"):
        raise OutputError(
            f"{folder}: it holds what `{found.get('work')}` made, and this is "
            f"`{wanted.get('work')}`; use another folder"
        )
    differing = [
        f"{name}={found.get(name)!r}, now {name}={wanted.get(name)!r}"
        for name in sorted({*found, *wanted})
        if found.get(name) != wanted.get(name)
    ]
    if not differing or overwrite:
        return
    moved = ""
    if found.get("source") != wanted.get("source"):
        moved = f" (if the folder was only moved, write its new name into {folder}/{CONFIGURATION})"
    raise OutputError(
        f"{folder}: its files were made with {'; '.join(differing)}; use another folder, or "
        f"overwrite=True to make all anew{moved}"
    )


def _superseded(
    entries: Mapping[str, Entry], jobs: Sequence[Job], *, all_others: bool
) -> list[str]:
    """Files of earlier runs whose source has another target now; or all that are no target now."""
    targets, sources = {job.target for job in jobs}, {job.source for job in jobs}
    return [
        entry.target
        for entry in entries.values()
        if entry.target not in targets and (all_others or entry.source in sources)
    ]


def _check_targets(
    path: Path,
    entries: Mapping[str, Entry],
    jobs: Sequence[Job],
    source: Path,
    doomed: Sequence[str],
) -> None:
    """Refuses a run that would replace or delete its own sources, or files that are not ours."""
    there: dict[str, tuple[int, int]] = {}
    for target in (*(job.target for job in jobs), *doomed):
        with contextlib.suppress(OSError):
            state = (path / target).lstat()
            if not (path / target).is_dir():  # which nothing replaces
                there[target] = state.st_dev, state.st_ino
    if not there:
        return
    sources = set()
    for job in jobs:
        for look in (os.stat, os.lstat):
            with contextlib.suppress(OSError):  # gone meanwhile: the work says so
                state = look(source / job.source)
                sources.add((state.st_dev, state.st_ino))
    lost = [target for target, identity in there.items() if identity in sources]
    if lost:
        raise OutputError(
            f"{path}: {lost[0]} is a file that this run reads ({len(lost)} such files), and would "
            "be replaced or deleted; use another folder"
        )
    foreign = [target for target in there if target not in entries]
    if foreign:
        raise OutputError(
            f"{path}: {len(foreign)} of the files to make are there already, {foreign[0]} the "
            f"first, and no run that {JOURNAL} and {CONFIGURATION} know of made them (were these "
            "deleted?); they are not replaced, not with overwrite=True either: move them away, or "
            "use another folder"
        )


def _lock(file: IO[bytes], path: Path) -> None:
    with contextlib.suppress(OSError):  # a file system without locks
        if not files.try_lock(file):
            raise OutputError(f"{path}: another run is working on it; wait for its end")
