"""An output folder that remembers what is done, so that a run goes on where the last one stopped.

It holds, beside the files,

- ``isincnet.json``: how they are made (the configuration), written before the first file;
- ``isincnet.jsonl``: a line for each file that is done, appended after the file has its name:
  target, source, the source's size and modification time, the target's size.

A file is done if its line is there, its source has the size and time of that line, and it has
the size of that line itself. Files are written to a hidden folder and renamed when they are
complete, so that none is ever half there; whatever ends a run, the next one goes on behind it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

from isincnet_jax.data.audio_writing import replacing

try:
    import fcntl
except ImportError:  # Windows: two runs into one folder are not told apart there
    fcntl = None

CONFIGURATION, JOURNAL = "isincnet.json", "isincnet.jsonl"
UNFINISHED = ".unfinished-"
_FORMAT = 1


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


@dataclass(frozen=True)
class _Entry:
    """A line of the journal."""

    target: str
    source: str
    size: int
    mtime_ns: int
    num_bytes: int

    @classmethod
    def from_line(cls, line: bytes) -> _Entry:
        entry = cls(**json.loads(line))
        if PurePosixPath(entry.target).is_absolute() or ".." in PurePosixPath(entry.target).parts:
            raise ValueError(f"{entry.target} lies outside")
        return entry


class OutputFolder:
    """An output folder that is open for one run; made by :func:`open_output`.

    Attributes:
        path: of the folder.
        unfinished: hidden folder for files that are not complete.
    """

    def __init__(self, path: Path, unfinished: Path, journal: IO[bytes]) -> None:
        self.path = path
        self.unfinished = unfinished
        self._journal = journal
        self._entries = {entry.target: entry for entry in _read_journal(journal)}

    def is_done(self, job: Job, source: os.stat_result) -> bool:
        """Whether the file is there and was made from the source as it is now."""
        entry = self._entries.get(job.target)
        if entry is None or entry.source != job.source:
            return False
        if (entry.size, entry.mtime_ns) != (source.st_size, source.st_mtime_ns):
            return False
        with contextlib.suppress(OSError):
            return (self.path / job.target).stat().st_size == entry.num_bytes
        return False

    def accept(self, job: Job, made: Path, source: os.stat_result) -> int:
        """Gives a complete file its name, notes that it is done, and returns its size.

        Raises:
            OSError: if it cannot be put there.
        """
        target = self.path / job.target
        target.parent.mkdir(parents=True, exist_ok=True)
        num_bytes = made.stat().st_size
        os.replace(made, target)
        entry = _Entry(job.target, job.source, source.st_size, source.st_mtime_ns, num_bytes)
        self._journal.write(json.dumps(asdict(entry)).encode() + b"\n")
        self._journal.flush()
        self._entries[job.target] = entry
        return num_bytes

    def remove_superseded(self, jobs: Sequence[Job], *, all_others: bool = False) -> None:
        """Deletes files of earlier runs whose source has another target now.

        Args:
            jobs: of this run.
            all_others: delete all files of earlier runs that are no target now.
        """
        targets, sources = {job.target for job in jobs}, {job.source for job in jobs}
        for entry in list(self._entries.values()):
            if entry.target not in targets and (all_others or entry.source in sources):
                (self.path / entry.target).unlink(missing_ok=True)
                del self._entries[entry.target]

    def forget(self) -> None:
        """Empties the journal: nothing counts as done."""
        self._journal.truncate(0)
        self._journal.flush()
        self._entries.clear()


def _read_journal(journal: IO[bytes]) -> Iterator[_Entry]:
    """The lines of a journal; it is cut behind the last whole one."""
    journal.seek(0)
    end = 0
    for line in journal.readlines():
        try:
            if not line.endswith(b"\n"):
                break
            yield _Entry.from_line(line)
        except (ValueError, TypeError):
            break  # files behind a damaged line are made again
        end += len(line)
    journal.truncate(end)


@contextlib.contextmanager
def open_output(
    path: str | Path,
    configuration: Mapping[str, Any],
    jobs: Sequence[Job],
    *,
    overwrite: bool = False,
) -> Iterator[OutputFolder]:
    """Opens an output folder for one run, alone.

    Args:
        path: of the folder; made if it is missing.
        configuration: how the files are made; JSON values.
        jobs: of this run.
        overwrite: make everything anew, whatever the configuration was before; other files that
            earlier runs made are deleted.

    Raises:
        OutputError: if the folder was made with another configuration, another run is using it,
            or it cannot be written.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise OutputError(f"{path}: a file, not a folder to write to")
    with contextlib.ExitStack() as stack:
        try:
            path.mkdir(parents=True, exist_ok=True)
            is_new = overwrite or not (path / CONFIGURATION).exists()
            if not is_new:
                text = (path / CONFIGURATION).read_text(encoding="utf-8", errors="replace")
                check_configuration(str(path), text, configuration)
            journal = stack.enter_context((path / JOURNAL).open("a+b"))
            _lock(journal, path)
            for left in path.glob(f"{UNFINISHED}*"):
                shutil.rmtree(left, ignore_errors=True)
            unfinished = Path(tempfile.mkdtemp(dir=path, prefix=UNFINISHED))
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
        stack.callback(shutil.rmtree, unfinished, ignore_errors=True)
        output = OutputFolder(path, unfinished, journal)
        output.remove_superseded(jobs, all_others=overwrite)
        if overwrite:
            output.forget()  # before the configuration: old files never count as new ones
        if is_new:
            with replacing(path / CONFIGURATION) as temporary:
                temporary.write_text(configuration_text(configuration), encoding="utf-8")
        yield output


def _lock(journal: IO[bytes], path: Path) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OutputError(f"{path}: another run is working on it; wait for its end") from error
    except OSError:
        return  # a file system without locks


def configuration_text(configuration: Mapping[str, Any]) -> str:
    """The content of ``isincnet.json``."""
    return json.dumps({"format": _FORMAT, **configuration}, indent=1, sort_keys=True) + "\n"


def check_configuration(folder: str, text: str, configuration: Mapping[str, Any]) -> None:
    """Refuses a folder that was made in another way.

    Args:
        folder: its name, for the message.
        text: content of its ``isincnet.json``.
        configuration: wanted.

    Raises:
        OutputError: naming the differences.
    """
    try:
        found = dict(json.loads(text))
    except (ValueError, TypeError) as error:
        raise OutputError(
            f"{folder}: its {CONFIGURATION} is damaged ({error}); use another folder, or "
            "--overwrite to make all anew"
        ) from error
    wanted = json.loads(configuration_text(configuration))
    differing = [
        f"{name}={found.get(name)!r}, now {name}={wanted.get(name)!r}"
        for name in sorted({*found, *wanted})
        if found.get(name) != wanted.get(name)
    ]
    if differing:
        raise OutputError(
            f"{folder}: its files were made with {'; '.join(differing)}; use another folder, or "
            "--overwrite to make all anew"
        )
