"""Models in folders or .zip files: ``model.json`` and ``variables.npz``, nothing executable.

``model.json`` holds the format version, the kind and fields of the model, its dtype, the table
and SHA-256 of the variables, the version that wrote it, a free-form card, and a SHA-256 of all
that except the card, which may be edited by hand. ``variables.npz`` holds the variables by their
paths, such as ``params/synthesis/kernels``.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import flax.core
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import isincnet_jax
from isincnet_jax.bank.codec import Codec
from isincnet_jax.pretrained import arrays, members, model_kinds, stored


class Exportable(Protocol):
    """A Linen module of a known kind, with its variables."""

    @property
    def model(self) -> Any:
        """The module."""

    @property
    def variables(self) -> Any:
        """What its ``init`` returns, trained or not."""


def export_pretrained(
    codec: Exportable,
    folder: str | Path,
    *,
    overwrite: bool = False,
    card: dict[str, Any] | None = None,
) -> Path:
    """Stores a model for :func:`isincnet_jax.from_pretrained`: whole or not at all.

    The same model gives the same bytes, so that a .zip can be known by its digest.

    Args:
        codec: a :class:`Codec`, or what else :data:`model_kinds.KINDS` knows.
        folder: the folder to make, or a single file if it ends in ``.zip``.
        overwrite: replace a stored model; anything else is never replaced.
        card: what else there is to say, such as metrics, training config and commit: JSON values.

    Returns:
        The path.

    Raises:
        ValueError: for NaN or infinity in variables or card, or variables that are not those of
            the model.
        TypeError: for models that cannot be stored, or a card that is not JSON.
        FileExistsError: if something is there already.
        OSError: if it cannot be written.
    """
    path = Path(folder)
    kind = model_kinds.kind_of(codec.model)
    fields = kind.plain_fields(codec.model)
    dtype = jnp.dtype(codec.model.dtype)
    rebuilt = kind.build(fields, dtype=dtype)
    # Also finds attributes that a class has and its kind forgets.
    if rebuilt != codec.model.clone(dtype=dtype, precision=None):
        raise TypeError(f"{codec.model} is not the {kind.name} that its stored fields make")
    values = _flatten(codec.variables)
    stored.check_template(values, kind.template(rebuilt))
    data, table = arrays.pack_arrays(values)
    content = {
        "format": stored.FORMAT,
        "kind": kind.name,
        "dtype": dtype.name,
        "model": fields,
        "variables": {"sha256": hashlib.sha256(data).hexdigest(), "arrays": table},
        "library": f"isincnet_jax {isincnet_jax.__version__}",
    }
    content = {**content, "sha256": stored.digest_of(content), "card": _checked_card(card)}
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    contents = {members.MODEL: text.encode(), members.VARIABLES: data}
    members.write_members(path, contents, overwrite=overwrite)
    return path


class _Stored(NamedTuple):
    model: Any
    variables: Any


def export_half(
    model: Any,
    variables: Any,
    path: str | Path,
    *,
    overwrite: bool = False,
    card: dict[str, Any] | None = None,
) -> Path:
    """:func:`export_pretrained` of a model whose kind has its matrices as float16 on disk.

    Raises:
        ValueError: also for weights beyond the range of float16.
    """
    half = _Stored(model, model_kinds.half_precision(variables))
    return export_pretrained(half, path, overwrite=overwrite, card=card)


def _checked_card(card: dict[str, Any] | None) -> dict[str, Any]:
    if card is None:
        return {}
    try:
        plain = json.loads(json.dumps(card, allow_nan=False))
    except ValueError as error:
        raise ValueError(f"card={card!r}: {error}; leave such numbers out") from error
    except TypeError as error:
        raise TypeError(f"card={card!r}: {error}; convert it to numbers and text") from error
    if not isinstance(plain, dict):
        raise TypeError(f"card={card!r} must be a dictionary")
    return plain


def _flatten(variables: Any) -> dict[str, np.ndarray]:
    """Arrays by their paths."""
    flat = flax.traverse_util.flatten_dict(flax.core.unfreeze(variables))
    named = {}
    for path, leaf in flat.items():
        name = "/".join(map(str, path))
        if not isinstance(leaf, (jax.Array, np.ndarray)):
            raise TypeError(f"variable {name!r} is a {type(leaf).__name__}, not an array")
        named[name] = np.asarray(leaf)
    if len(named) != len(flat):
        raise ValueError("variables with '/' in their names that cannot be told apart")
    return named


def load_folder(
    folder: str | Path,
    *,
    dtype: Any = None,
    precision: lax.PrecisionLike = lax.Precision.HIGHEST,
) -> Codec:
    """Loads what :func:`export_pretrained` stored.

    Args:
        folder: the folder or .zip.
        dtype: of the model; floating variables are cast to it, so that float64 has no more
            digits than were stored. The stored dtype if None.
        precision: of products on accelerators.

    Returns:
        The codec, named by its path (models of other kinds are what their kind makes of them).

    Raises:
        isincnet_jax.pretrained.members.ModelFileError: if the files are not intact, or not of
            this version.
        FileNotFoundError: if there are none.
        ValueError: for float64 without ``jax_enable_x64``.
    """
    return stored.read_model(folder).restore(dtype=dtype, precision=precision)
