"""Atomic files, which appear whole or not at all; locks; digests, names, errors in one line.

The standard library only. Nothing here asks for the umask, which can only be asked by setting it,
a race between threads: new files and folders are made by the system with the rights that it gives
to any.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
import secrets
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

_logger = logging.getLogger(__name__)
_POLL_S = 0.05
_NAME_BYTES, _LONGEST_SUFFIX = 80, 16


class FileError(OSError, ValueError):
    """Error of a file or folder that cannot be written; the message names it and the reason."""


def first_line(error: BaseException) -> str:
    """Error message in one line: what the system says, else the first line of the text.

    Args:
        error: any.

    Returns:
        The line; the type's name if there is no text.
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error).strip().splitlines() or [type(error).__name__])[0].strip()


def content_digest(content: Any) -> str:
    """Digest of plain values, stable across machines and versions: a name for what they made.

    Args:
        content: JSON values, nested; the order of a dictionary does not count.

    Returns:
        16 hexadecimal digits of the SHA-256.
    """
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def shown(name: str | os.PathLike[str]) -> str:
    """Printable name, on one line that any UTF-8 file or screen takes: other bytes are escaped.

    Args:
        name: of a file, as the system gives it; it may hold bytes that are no UTF-8.

    Returns:
        The name with escapes for what is not printable.
    """
    text = os.fspath(name)
    with contextlib.suppress(UnicodeEncodeError):  # half a surrogate pair that is no byte
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    text = text.encode("utf-8", "backslashreplace").decode()
    return "".join(
        char if char == " " or char.isprintable() else char.encode("unicode_escape").decode()
        for char in text
    )


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Atomic replacement of a file: a temporary path that takes its place if the block ends well.

    What ``path`` points to is replaced if it is a symbolic link, and keeps its rights and, where
    the system allows it, its owner; another name of the same file keeps the old content. A device
    or a pipe is written to when the block has ended.

    Args:
        path: of the file, which need not exist; its folder must.

    Yields:
        The path of an empty file, beside ``path`` unless that is a device or a pipe.

    Raises:
        FileError: if the folder is missing, something there cannot be replaced, or the disk is
            full; what was there is as it was.
    """
    path, temporary = Path(path), None
    try:
        state = _state(path)
        if state is not None and stat.S_ISDIR(state.st_mode):
            raise FileError(f"{path}: a directory, cannot be written as a file")
        with (_beside if state is None or stat.S_ISREG(state.st_mode) else _through)(
            path, state
        ) as temporary:
            yield temporary
    except FileError:
        raise
    except OSError as error:
        if temporary is not None and error.filename not in (None, str(temporary)):
            raise  # the block's own trouble with another file
        raise FileError(f"{path}: cannot be written: {first_line(error)}") from error


def _state(path: Path) -> os.stat_result | None:
    """What is there, behind all links; None for nothing, at the end of a link either."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def _beside(path: Path, state: os.stat_result | None) -> Iterator[Path]:
    target = Path(os.path.realpath(path))
    if state is not None and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    temporary = _new_name(target)
    rights = 0o666 if state is None else state.st_mode & 0o777 | 0o200
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, rights))
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        put(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def put(made: Path, path: Path) -> None:
    """Atomic renaming: gives a complete file its place, and the rights of what was there.

    Args:
        made: a complete file on the file system of the target.
        path: its place; the end of the link if it is one.

    Raises:
        OSError: if it cannot be put there; what was there is still there.
    """
    _take_rights(made, _state(path))
    os.replace(made, os.path.realpath(path))


@contextlib.contextmanager
def _through(path: Path, state: os.stat_result | None) -> Iterator[Path]:
    assert state is not None
    if not (stat.S_ISFIFO(state.st_mode) or stat.S_ISCHR(state.st_mode)):
        raise FileError(f"{path}: neither a file nor a pipe: cannot be written")
    try:  # not blocking: a pipe without a reader would hold us for ever
        handle = os.open(path, os.O_WRONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise FileError(f"{path}: a pipe that no program reads: cannot be written") from error
        raise
    with open(handle, "wb") as out, tempfile.TemporaryDirectory(prefix="isincnet-") as folder:
        temporary = Path(folder, f"file{path.suffix[:_LONGEST_SUFFIX]}")
        temporary.touch()
        yield temporary
        os.set_blocking(handle, True)
        with open(temporary, "rb") as file:
            shutil.copyfileobj(file, out)


def _new_name(target: Path) -> Path:
    """A name beside the target that nothing has, with its suffix, however long its name is."""
    suffix = target.suffix if len(os.fsencode(target.suffix)) <= _LONGEST_SUFFIX else ""
    stem = os.fsdecode(os.fsencode(target.stem)[:_NAME_BYTES])
    return target.with_name(f".{stem}-{secrets.token_hex(4)}{suffix}")


def _take_rights(made: Path, state: os.stat_result | None) -> None:
    if state is None:
        return
    if hasattr(os, "chown"):
        with contextlib.suppress(OSError):  # only root gives files away
            os.chown(made, state.st_uid, state.st_gid)
    made.chmod(stat.S_IMODE(state.st_mode))


def write_text(path: str | Path, text: str) -> None:
    """Text file in UTF-8, whole or not at all; what UTF-8 lacks is escaped as JSON does it.

    Args:
        path: of the file, replaced if it is there.
        text: all of it.

    Raises:
        FileError: see :func:`replacing`.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(text.encode("utf-8", "backslashreplace"))


@contextlib.contextmanager
def replacing_folder(path: str | Path) -> Iterator[Path]:
    """Atomic replacement of a folder: a temporary one that takes its place if the block ends well.

    A folder that was there is away for the moment between two renames, and deleted then: whoever
    reads sees the old one, none or the new one, never a mixture. Links and rights are kept as by
    :func:`replacing`.

    Args:
        path: of the folder, which need not exist; its parent must.

    Yields:
        An empty folder beside it.

    Raises:
        FileError: if a file is there, the place cannot be written, or the disk is full; what was
            there is still there.
    """
    path, temporary = Path(path), None
    try:
        state, target = _state(path), Path(os.path.realpath(path))
        if state is not None and not stat.S_ISDIR(state.st_mode):
            raise FileError(f"{path}: a file, not a folder to write to")
        temporary = _new_name(target)
        temporary.mkdir()
        try:
            yield temporary
            _take_rights(temporary, state)
            _put_folder(temporary, target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except FileError as error:
        if str(temporary) in str(error):  # of a file within
            reason = first_line(error.__cause__ or error)
            raise FileError(f"{path}: cannot be written: {reason}") from error
        raise
    except OSError as error:
        if temporary is not None and not str(error.filename or temporary).startswith(
            str(temporary)
        ):
            raise
        raise FileError(f"{path}: cannot be written: {first_line(error)}") from error


def _put_folder(made: Path, target: Path) -> None:
    """Renames; what was there is removed last, and comes back if the renaming fails."""
    if not target.exists():
        os.rename(made, target)
        return
    aside = made.with_name(f"{made.name}.replaced")
    os.rename(target, aside)
    try:
        os.rename(made, target)
    except BaseException:
        os.rename(aside, target)
        raise
    shutil.rmtree(aside, ignore_errors=True)


@contextlib.contextmanager
def locked(path: str | Path) -> Iterator[None]:
    """Lock file, held in the block, waiting for whoever has it; it is gone afterwards.

    The operating system gives the lock back when its process ends, however it ends: a lock file
    that a crash left behind locks nobody out. filelock leaves every lock file behind, which
    ``test_lock_is_held_by_one_at_a_time`` and the downloads' tests refuse.

    Args:
        path: of the lock file.

    Yields:
        Nothing.

    Raises:
        OSError: if the file cannot be made, or its file system knows no locks.
    """
    path = Path(path)
    file = _acquire(path)
    try:
        yield
    finally:
        # Unlinked while it is held: who waits for it sees that it is gone and makes another.
        # Windows unlinks no open file; there it is unlinked afterwards unless another has it.
        with contextlib.suppress(PermissionError):
            path.unlink(missing_ok=True)
        file.close()
        if os.name == "nt":
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def _acquire(path: Path) -> IO[bytes]:
    said = False
    while True:
        file = path.open("a+b")
        try:
            if try_lock(file) and _is_same(file, path):
                return file
        except BaseException:
            file.close()
            raise
        file.close()
        if not said:
            said = True
            _logger.info("%s: waiting for another process", path)
        time.sleep(_POLL_S)


def try_lock(file: IO[bytes]) -> bool:
    """Lock of an open file, for as long as it is open.

    Args:
        file: open for writing.

    Returns:
        Whether it is ours: no other process or thread had it.

    Raises:
        OSError: if its file system knows no locks.
    """
    try:
        if sys.platform == "win32":
            import msvcrt  # noqa: PLC0415

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl  # noqa: PLC0415

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _is_same(file: IO[bytes], path: Path) -> bool:
    """Whether the locked file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
