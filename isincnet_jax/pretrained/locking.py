"""A lock between processes and threads that ends with whoever holds it."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_logger = logging.getLogger(__name__)
_POLL_S = 0.05


@contextlib.contextmanager
def locked(path: str | Path) -> Iterator[None]:
    """Holds the lock file ``path``, waiting for whoever has it; it is gone afterwards.

    The operating system gives the lock back when its process ends, however it ends: a lock file
    that a crash left behind locks nobody out.

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
            if _try_lock(file) and _is_same(file, path):
                return file
        except BaseException:
            file.close()
            raise
        file.close()
        if not said:
            said = True
            _logger.info("%s: waiting for another process", path)
        time.sleep(_POLL_S)


def _try_lock(file: IO[bytes]) -> bool:
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
