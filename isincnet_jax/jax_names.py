"""JAX names that moved within the range of versions in ``pyproject.toml``: found here, once.

What differs between versions is asked of JAX itself; no other module compares version numbers.
"""

from __future__ import annotations

import contextlib
from typing import Any

import jax
from jax import experimental


def enable_x64(new_value: bool = True) -> contextlib.AbstractContextManager[Any]:
    """Context manager ``jax.enable_x64``; JAX 0.7 has it in ``jax.experimental``, 0.12 no more.

    Args:
        new_value: whether arrays made inside may have 64 bits.

    Returns:
        A context manager of this thread.
    """
    place: Any = jax if hasattr(jax, "enable_x64") else experimental
    return place.enable_x64(new_value)
