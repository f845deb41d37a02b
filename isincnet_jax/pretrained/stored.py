"""Stored model: its files verified first, the model built afterwards."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from isincnet_jax.dsp import meanings
from isincnet_jax.pretrained import members, model_kinds, tensors
from isincnet_jax.pretrained.members import ModelFileError
from isincnet_jax.pretrained.model_kinds import ModelKind

FORMAT = 2
"""Of ``config.json``."""


def check_template(
    values: dict[str, np.ndarray], template: dict[str, jax.ShapeDtypeStruct]
) -> None:
    """Refuses variables other than those that the model's ``init`` makes.

    Args:
        values: the variables by their paths.
        template: their shapes and dtypes, see :meth:`.model_kinds.ModelKind.template`.

    Raises:
        ValueError: if one is missing, one too many, or of another shape or dtype.
    """
    missing, surplus = sorted(set(template) - set(values)), sorted(set(values) - set(template))
    if missing:
        raise ValueError(f"variable {missing[0]!r} is missing")
    if surplus:
        raise ValueError(f"variable {surplus[0]!r} is none of the model's")
    for name, expected in template.items():
        found = values[name]
        if found.shape != expected.shape or found.dtype != expected.dtype:
            raise ValueError(
                f"variable {name!r}: {found.dtype} of shape {found.shape}, the model has "
                f"{expected.dtype} of {expected.shape}"
            )


def digest_of(content: dict[str, Any]) -> str:
    """SHA-256 of what ``config.json`` says, itself and the card left out.

    Args:
        content: of the file, JSON values.

    Returns:
        64 hexadecimal digits.
    """
    covered = {k: v for k, v in content.items() if k not in ("sha256", "card")}
    return hashlib.sha256(
        json.dumps(covered, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    ).hexdigest()


@dataclasses.dataclass(frozen=True, eq=False)
class StoredModel:
    """A stored model whose files are intact, not yet built.

    Attributes:
        path: the folder or .zip.
        kind: of the model.
        fields: of the model.
        dtype: of the model.
        values: the variables by their paths.
        card: what its maker says about it.
    """

    path: Path
    kind: ModelKind
    fields: dict[str, Any]
    dtype: Any
    values: dict[str, np.ndarray]
    card: dict[str, Any]

    def build_module(
        self, *, dtype: Any = None, precision: lax.PrecisionLike = lax.Precision.HIGHEST
    ) -> Any:
        """The Linen module, without its variables.

        Args:
            dtype: of the module; the stored one if None.
            precision: of products on accelerators.

        Returns:
            A module of the kind's class.

        Raises:
            ModelFileError: if the fields make no module.
        """
        dtype = self.dtype if dtype is None else dtype
        try:
            return self.kind.build(self.fields, dtype=dtype, precision=precision)
        except meanings.MeaningError as error:  # the file is as it was written
            raise self._error(str(error)) from error
        except Exception as error:  # fields of another's making can be wrong in any way
            raise self._error(f"fields of no {self.kind.name}: {error!r}") from error

    def describe(self) -> list[tuple[str, str]]:
        """Description of the model, without building it.

        Returns:
            Pairs of a label and a text, in the order in which they are printed: kind, size,
            fields, and the numbers and texts of the card.
        """
        learned = [array for name, array in self.values.items() if name.startswith("params/")]
        plain = {name: one for name, one in self.card.items() if isinstance(one, str | int | float)}
        lines = [
            ("kind", self.kind.name),
            ("parameters", f"{sum(array.size for array in learned):,}"),
            ("stored", f"{sum(array.nbytes for array in learned) / 1e6:.2f} MB, {self.path.name}"),
        ]
        return [*lines, *((name, _in_words(one)) for name, one in {**self.fields, **plain}.items())]

    def restore(
        self,
        *,
        dtype: Any = None,
        precision: lax.PrecisionLike = lax.Precision.HIGHEST,
        name: str | None = None,
        prepare: Callable[[Any], None] | None = None,
    ) -> Any:
        """The model with its variables.

        Args:
            dtype: of the model; the stored one if None.
            precision: of products on accelerators.
            name: of the result; the path if None.
            prepare: is given the module first, to provide what it would have to solve.

        Returns:
            What the kind is used by, such as a :class:`.codec.Codec`.

        Raises:
            ModelFileError: if the variables are not those of the model in this version.
            ValueError, TypeError: for a dtype in which it cannot work.
        """
        dtype = jnp.dtype(self.dtype if dtype is None else dtype)
        if not jnp.issubdtype(dtype, jnp.floating):
            raise TypeError(f"dtype={dtype}: models work in floating numbers; use float32")
        if dtype == jnp.float64 and not jax.config.read("jax_enable_x64"):
            raise ValueError(
                f"{self.path}: dtype=float64 needs jax_enable_x64; enable it, or load with "
                "dtype=jnp.float32"
            )
        template = self._check(prepare)
        module = self.build_module(dtype=dtype, precision=precision)
        if dtype != jnp.dtype(self.dtype):
            template = self.kind.template(module)
        flat = {key: jnp.asarray(self._cast(key, template[key].dtype)) for key in self.values}
        variables = flax.traverse_util.unflatten_dict(flat, sep="/")
        return self.kind.wrap(module, variables, str(self.path) if name is None else name)

    def _check(self, prepare: Callable[[Any], None] | None) -> dict[str, Any]:
        """That the file holds a model of this version; its template in the stored dtype."""
        module = self.build_module()
        try:
            if prepare is not None:
                prepare(module)
            now = self.kind.plain_fields(module)
            template = self.kind.template(module)
            check_template(self.values, template)
        except Warning:  # warnings that are errors are no fault of the file
            raise
        except Exception as error:  # see build_module
            raise self._error(_reason(error)) from error
        for name, value in self.fields.items():
            if not _is_covered(value, now.get(name)):
                raise self._error(
                    f"{name}={value}, but this version makes {now.get(name)} of it; load it with "
                    "the version that wrote it"
                )
        return template

    def _cast(self, name: str, dtype: Any) -> np.ndarray:
        with np.errstate(over="ignore"):
            values = self.values[name].astype(dtype, copy=False)
        if not np.all(np.isfinite(values)):
            raise ValueError(f"{self.path}: variable {name!r} exceeds the range of {dtype}")
        return values

    def _error(self, reason: str) -> ModelFileError:
        return ModelFileError(f"{self.path}: {members.CONFIG}: {reason}")


def _in_words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}={one}" for name, one in value.items())
    return str(value)


def _is_covered(old: Any, new: Any) -> bool:
    """Whether fields are as they were; later versions may have more of them."""
    if isinstance(old, dict) and isinstance(new, dict):
        return all(name in new and _is_covered(value, new[name]) for name, value in old.items())
    return old == new


def read_model(path: str | Path) -> StoredModel:
    """Reads and verifies the files of a stored model, and builds nothing.

    Args:
        path: the folder or .zip.

    Returns:
        Fields and variables, both as their digests say they were written.

    Raises:
        ModelFileError: if they are not intact, of another format version or an unknown kind.
        FileNotFoundError: if there are none.
    """
    path = Path(path)
    contents = members.read_members(path)
    data = contents[members.WEIGHTS]
    try:
        content = _parse(contents[members.CONFIG])
        kind = model_kinds.kind_named(content["kind"])
        fields, dtype, card = content["model"], jnp.dtype(content["dtype"]), content["card"]
        digest = content["weights_sha256"]
    except Exception as error:  # JSON of another's making can be wrong in any way
        raise ModelFileError(f"{path}: {members.CONFIG}: {_reason(error)}") from error
    try:
        found = hashlib.sha256(data).hexdigest()
        if found != digest:
            raise ValueError(
                f"truncated or altered: sha256 is {found} of {len(data)} bytes, "
                f"{members.CONFIG} says {digest}"
            )
        values = tensors.unpack(data)
    except Exception as error:  # safetensors raises its own
        raise ModelFileError(f"{path}: {members.WEIGHTS}: {_reason(error)}") from error
    return StoredModel(path, kind, fields, dtype, values, card)


def _parse(data: bytes) -> dict[str, Any]:
    content = json.loads(data)
    if not isinstance(content, dict) or "format" not in content:
        raise ValueError("is not that of a stored model")
    if content["format"] != FORMAT:
        raise ValueError(
            f"format={content['format']!r}, written by {content.get('library')!r}; this version "
            f"reads {FORMAT}: install the one that wrote it"
        )
    found = digest_of(content)
    if content["sha256"] != found:
        raise ValueError(f"altered: sha256 is {found}, it says {content['sha256']!r}")
    if not isinstance(content["card"], dict):
        raise TypeError(f"card={content['card']!r} is no object")
    return content


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"field {error} is missing"
    return str(error) or type(error).__name__
