"""Pytrees as flat dictionaries of arrays: names, digests, differences."""

from __future__ import annotations

import hashlib
from typing import Any

import jax
import numpy as np


class CheckpointError(RuntimeError):
    """A checkpoint that does not fit or cannot be read or written."""


def flatten(tree: Any) -> dict[str, np.ndarray]:
    """A pytree as a flat dictionary from dotted paths to arrays (copies).

    Args:
        tree: of arrays; nested dictionaries, tuples and dataclasses.

    Returns:
        NumPy copies by path ("params.analysis.center"), in the order of ``jax.tree.leaves``.
    """
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): np.array(leaf, copy=True)
        for path, leaf in leaves
    }


def unflatten(template: Any, arrays: dict[str, np.ndarray]) -> Any:
    """The inverse of :func:`flatten`, into the structure of ``template``.

    Args:
        template: pytree with the wanted structure, shapes and dtypes.
        arrays: by dotted path, as :func:`flatten` names them.

    Returns:
        The structure of ``template`` with the arrays as leaves.

    Raises:
        CheckpointError: if names, shapes or dtypes differ.
    """
    wanted = {
        name: (np.shape(leaf), np.dtype(leaf.dtype)) for name, leaf in flatten(template).items()
    }
    missing, extra = sorted(set(wanted) - set(arrays)), sorted(set(arrays) - set(wanted))
    if missing or extra:
        raise CheckpointError(f"missing arrays {missing[:3]}, unexpected arrays {extra[:3]}")
    for name, (shape, dtype) in wanted.items():
        if arrays[name].shape != shape or arrays[name].dtype != dtype:
            raise CheckpointError(
                f"{name} is {arrays[name].dtype}{list(arrays[name].shape)} in the checkpoint "
                f"and {dtype}{list(shape)} in this run"
            )
    structure = jax.tree.structure(template)  # flatten names leaves in its order
    return jax.tree.unflatten(structure, [arrays[name] for name in wanted])


def digest(arrays: dict[str, np.ndarray]) -> str:
    """SHA-256 over names, dtypes, shapes and bytes.

    Args:
        arrays: by name; their order does not matter.

    Returns:
        64 hexadecimal digits.
    """
    total = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        total.update(f"{name} {array.dtype} {array.shape} ".encode())
        total.update(array.tobytes())
    return total.hexdigest()


def first_difference(stored: Any, wanted: Any, path: str = "") -> str:
    """Path and values of the first difference of two nested dictionaries; empty if there is none.

    Args:
        stored: as JSON gave it back: tuples have become lists.
        wanted: the same of now; lists and tuples are compared alike.
        path: of the two within a larger whole, for the result.

    Returns:
        "model.hop_length was 128 and is 256", say.
    """
    if isinstance(stored, dict) and isinstance(wanted, dict):
        for name in sorted(set(stored) | set(wanted)):
            here = f"{path}.{name}" if path else name
            found = first_difference(stored.get(name), wanted.get(name), here)
            if found:
                return found
        return ""
    if isinstance(stored, (list, tuple)) and isinstance(wanted, (list, tuple)):
        # JSON knows no tuples; lists of other lengths are compared as a whole.
        stored, wanted = list(stored), list(wanted)
        if len(stored) == len(wanted):
            differences = (
                first_difference(one, other, f"{path}[{index}]")
                for index, (one, other) in enumerate(zip(stored, wanted, strict=True))
            )
            return next(filter(None, differences), "")
    return "" if stored == wanted else f"{path} was {stored!r} and is {wanted!r}"
