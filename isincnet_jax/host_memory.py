"""Host memory that a process keeps, so that large arrays do not cost page faults on every call."""

from __future__ import annotations

import ctypes

# Parameters of mallopt(3).
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8


def keep_memory() -> bool:
    """Host memory settings: lets glibc keep freed memory instead of returning it to the system.

    XLA on CPUs takes the arrays of every call from the C library, which takes more than 32 MiB
    from the system anew each time and gives it back afterwards; clearing its pages took a third of
    a training step's time. After this call the process keeps what it once had: after a few calls
    its memory neither grows nor shrinks. It counts for everything in the process, NumPy and PyTorch
    included, and stands for ``GLIBC_TUNABLES=glibc.malloc.arena_max=1:...``, for those who cannot
    set the environment. Call it before JAX computes anything: threads that have begun keep their
    arenas.

    Returns:
        Whether this C library can; False and without effect with any other, on macOS and Windows.

    Example:
        >>> import isincnet_jax as isn
        >>> kept = isn.keep_memory()
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False  # musl and macOS have no mallopt, Windows has no such library
    # One arena, which grows in steps of 64 MiB and is not cut; no mappings of single arrays.
    settings = {
        _ARENA_MAX: 1,
        _MMAP_MAX: 0,
        _TRIM_THRESHOLD: 2**31 - 1,
        _TOP_PAD: 1 << 26,
    }
    return all([mallopt(name, value) for name, value in settings.items()])
