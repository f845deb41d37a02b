"""Equality of pytrees that hold arrays."""

from __future__ import annotations

from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np


def equal_by_value(self: Any, other: object) -> Any:
    """Equality of pytrees, as ``__eq__``: the same class, structure and values, NaN included.

    The one that a dataclass would have asks arrays for one truth value, which they do not have.
    Traced leaves are equal to themselves only.

    Args:
        self: a pytree.
        other: anything.

    Returns:
        A truth value; NotImplemented for another class.
    """
    if type(other) is not type(self):
        return NotImplemented
    own, structure = jax.tree.flatten(self)
    others, other_structure = jax.tree.flatten(other)
    return structure == other_structure and all(map(_are_equal, own, others))


def _are_equal(first: Any, second: Any) -> bool:
    if first is second:
        return True
    if isinstance(first, jax.core.Tracer) or isinstance(second, jax.core.Tracer):
        return False
    first, second = _plain(first), _plain(second)
    floating = np.issubdtype(first.dtype, np.inexact)
    return first.dtype == second.dtype and np.array_equal(first, second, equal_nan=floating)


def _plain(leaf: Any) -> np.ndarray:
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return np.asarray(leaf)
