"""Stored models: ``config.json``, ``model.safetensors``, ``README.md``, nothing executable.

They stand in a folder or a single .zip, laid out as on the Hugging Face Hub. ``config.json`` holds
the format version, the kind and fields of the model, its dtype, the SHA-256 of the weights' file,
the version that wrote it, a free-form card, and a SHA-256 of all that except the card, which may
be edited by hand. ``model.safetensors`` holds the variables by their paths, such as
``params/synthesis/kernels``. ``README.md`` says the same to people, see :mod:`.model_card`.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Protocol

import flax.core
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

import isincnet_jax
from isincnet_jax.pretrained import members, model_card, model_kinds, stored, tensors


class Exportable(Protocol):
    """A Linen module of a known kind, with its variables."""

    @property
    def model(self) -> Any:
        """The module."""

    @property
    def variables(self) -> Any:
        """Variables as its ``init`` returns them, trained or not."""


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
        codec: a :class:`Codec`, or what else :data:`.model_kinds.KINDS` knows.
        folder: the folder to make, or a single file if it ends in ``.zip``.
        overwrite: replace a stored model; anything else is never replaced.
        card: what else there is to say, such as metrics, training config, commit and license:
            JSON values.

    Returns:
        The path.

    Raises:
        ValueError: for NaN or infinity in variables or card, or variables that are not those of
            the model.
        TypeError: for models that cannot be stored, or a card that is not JSON.
        FileExistsError: if something is there already.
        OSError: if it cannot be written.

    Example:
        >>> import tempfile
        >>> from isincnet_jax import FilterbankSpec, SincNet, build_codec
        >>> spec = FilterbankSpec(sample_rate=8000, hop_length=8, num_bins=9, shape="none")
        >>> codec = build_codec(SincNet(spec))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = export_pretrained(codec, Path(folder) / "mine.zip")
        ...     again = isincnet_jax.from_pretrained(path)
        >>> again.spec == codec.spec
        True
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
    data, said = tensors.pack(values), checked_card(card)
    content = {
        "format": stored.FORMAT,
        "kind": kind.name,
        "dtype": dtype.name,
        "model": fields,
        "weights_sha256": hashlib.sha256(data).hexdigest(),
        "library": f"isincnet_jax {isincnet_jax.__version__}",
    }
    content = {**content, "sha256": stored.digest_of(content), "card": said}
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    readme = model_card.render(kind.name, fields=fields, values=values, card=said)
    contents = {
        members.CONFIG: text.encode(),
        members.WEIGHTS: data,
        members.CARD: readme.encode("utf-8", "backslashreplace"),
    }
    members.write_members(path, contents, overwrite=overwrite)
    return path


def checked_card(card: dict[str, Any] | None) -> dict[str, Any]:
    """Card of a model as it comes back from JSON.

    Args:
        card: JSON values, or None.

    Returns:
        The same; nothing for None.

    Raises:
        ValueError: for NaN and infinity.
        TypeError: for what is not JSON, or no dictionary.
    """
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
