"""The journal of an output folder: what a program made there, as lines that are only appended.

A line is a JSON object: target and source; with the size and time of the source and the size of
the target if the file is done; without a source if the file is no longer ours.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from pathlib import PurePosixPath
from typing import IO


@dataclasses.dataclass(frozen=True)
class Entry:
    """A line of the journal.

    Attributes:
        target: name below the output folder, with slashes.
        source: name below the source folder; empty if the file is no longer ours.
        size: of the source; -1 if the file is ours, but not done.
        mtime_ns: of the source.
        num_bytes: of the target.
        made_with: what it depends on beyond its source and the configuration.
    """

    target: str
    source: str = ""
    size: int = -1
    mtime_ns: int = -1
    num_bytes: int = -1
    made_with: str = ""

    @classmethod
    def from_line(cls, line: bytes) -> Entry:
        """Reads a line.

        Args:
            line: a JSON object, with or without its line end.

        Returns:
            What is not in the line has its default.

        Raises:
            ValueError: if it is damaged, or its file lies outside of the folder.
            TypeError: if it is damaged.
        """
        entry = cls(**json.loads(line))
        if PurePosixPath(entry.target).is_absolute() or ".." in PurePosixPath(entry.target).parts:
            raise ValueError(f"{entry.target} lies outside")
        return entry

    def line(self) -> bytes:
        """The line, without what has its default.

        Returns:
            JSON and a line end.
        """
        fields = dataclasses.fields(self)
        given = {
            field.name: getattr(self, field.name)
            for field in fields
            if getattr(self, field.name) != field.default
        }
        return json.dumps(given).encode() + b"\n"

    def undone(self) -> Entry:
        """The same file as one that is ours, but not done.

        Returns:
            A copy.
        """
        return dataclasses.replace(self, size=-1, mtime_ns=-1)


class Journal:
    """The journal of a folder that one run has open.

    Attributes:
        entries: by target.
    """

    def __init__(self, file: IO[bytes]) -> None:
        """Reads the journal; a last line without its end is cut off, damaged ones do not count.

        Args:
            file: open for reading and appending, without a buffer.

        Raises:
            OSError: if it cannot be read.
        """
        self._file = file
        self.entries: dict[str, Entry] = {}
        file.seek(0)
        content = file.read()
        end = content.rfind(b"\n") + 1
        if end < len(content):
            file.truncate(end)
        for line in content[:end].split(b"\n"):
            with contextlib.suppress(ValueError, TypeError):  # that file is made again
                self._enter(Entry.from_line(line))

    def append(self, *entries: Entry, lasting: bool = False) -> None:
        """Appends lines, all or none of them.

        Args:
            entries: of the lines.
            lasting: wait until they are on the disk.

        Raises:
            OSError: if the disk is full.
        """
        end = self._file.seek(0, os.SEEK_END)
        rest = b"".join(entry.line() for entry in entries)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
            if lasting:
                os.fsync(self._file.fileno())
        except OSError:
            with contextlib.suppress(OSError):
                self._file.truncate(end)
            raise
        for entry in entries:
            self._enter(entry)

    def clear(self) -> None:
        """Forgets everything.

        Raises:
            OSError: if it cannot be written.
        """
        self._file.truncate(0)
        self.entries.clear()

    def _enter(self, entry: Entry) -> None:
        self.entries.pop(entry.target, None)
        if entry.source:
            self.entries[entry.target] = entry
