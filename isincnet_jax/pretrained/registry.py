"""Registry of the names of :func:`isincnet_jax.from_pretrained`: ``registry.json``.

The file is ``{"format": 1, "models": {name: entry}}``; an entry is one of::

    {"kind": "solved", "summary": ..., "spec": {...}, "decoder": {...}, "projections": [...]}
    {"kind": "lapped", "summary": ..., "spec": {...}, "step": ...}
    {"kind": "nonuniform", "summary": ..., "spec": {...}}
    {"kind": "stored", "summary": ..., "file": "models/....zip"}

``spec`` and ``decoder`` hold fields of :class:`FilterbankSpec` (of :class:`LappedSpec` for a
lapped bank, of :class:`NonuniformSpec` for a nonuniform one) and :class:`DecoderSpec`; those left
out have their defaults. ``decoder`` and ``projections`` may be left out. ``file`` lies below the
registry's folder, that is, in the package, and
is written by :func:`isincnet_jax.pretrained.folder.export_pretrained`.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

from isincnet_jax.bank import projection
from isincnet_jax.bank.decoder_spec import DecoderSpec
from isincnet_jax.bank.lapped_spec import LappedSpec
from isincnet_jax.bank.spec import FilterbankSpec
from isincnet_jax.bank.uniform_quantizer import make_uniform_quantizer
from isincnet_jax.constant_q.dsp.nonuniform_spec import NonuniformSpec

_FORMAT = 1
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


class RegistryError(ValueError):
    """A registry that does not follow its schema; the message names the file and the place."""


@dataclasses.dataclass(frozen=True)
class Preset:
    """Named codec that is solved where it is used.

    Attributes:
        spec: of its bank.
        decoder: of its decoder in float32.
        projections: names of the scales that it can be projected to.
        summary: one line on what it is for.
    """

    spec: FilterbankSpec
    decoder: DecoderSpec
    projections: tuple[str, ...]
    summary: str


@dataclasses.dataclass(frozen=True)
class Stored:
    """Named model that comes with the package.

    Attributes:
        path: of its .zip, see :func:`.folder.export_pretrained`.
        summary: one line on what it is for.
    """

    path: Path
    summary: str


@dataclasses.dataclass(frozen=True)
class Lapped:
    """Named codec of a lapped bank.

    Attributes:
        spec: of its bank.
        step: of its tokens.
        summary: one line on what it is for.
    """

    spec: LappedSpec
    step: float
    summary: str


@dataclasses.dataclass(frozen=True)
class Nonuniform:
    """Named codec of a nonuniform bank.

    Attributes:
        spec: of its bank.
        summary: one line on what it is for.
    """

    spec: NonuniformSpec
    summary: str


Entry: TypeAlias = Preset | Lapped | Nonuniform | Stored


def read_registry(path: str | Path) -> dict[str, Entry]:
    """Reads a registry.

    Args:
        path: of the JSON file; the files of its entries lie below its folder.

    Returns:
        The entries by name, in the file's order; ``file`` of a stored one need not exist.

    Raises:
        RegistryError: for anything that the schema does not know, with the place.
        OSError: if the file cannot be read.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_unique)
        _check_fields(content, "the registry", required={"format": int, "models": dict})
        if content["format"] != _FORMAT:
            raise ValueError(f"format={content['format']}: this version reads {_FORMAT}")
        models = content["models"].items()
        return {name: _entry(name, entry, folder=path.parent) for name, entry in models}
    except (ValueError, TypeError) as error:
        raise RegistryError(f"{path}: {error}") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{', '.join(map(repr, twice))} stands there twice; names must be unique")
    return dict(pairs)


def _check_fields(
    values: Any,
    place: str,
    *,
    required: Mapping[str, type],
    optional: Mapping[str, type] | None = None,
) -> None:
    if not isinstance(values, dict):
        raise TypeError(f"{place} must be an object, not {values!r}")
    known = {**required, **(optional or {})}
    _check_known(values, place, known)
    for name in required:
        if name not in values:
            raise ValueError(f"{place}: field {name!r} is missing")
    for name, value in values.items():
        wanted = known[name]
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise TypeError(f"{place}: {name}={value!r} must be of type {wanted.__name__}")


def _entry(name: str, values: Any, *, folder: Path) -> Entry:
    place = f"models[{name!r}]"
    if not _NAME.fullmatch(name):
        raise ValueError(f"{place}: a name is made of lower-case letters, digits, '.', '_' and '-'")
    kind = values.get("kind") if isinstance(values, dict) else None
    common = {"kind": str, "summary": str}
    try:
        if kind == "solved":
            optional = {"decoder": dict, "projections": list}
            _check_fields(values, "entry", required={**common, "spec": dict}, optional=optional)
            return _preset(values)
        if kind == "lapped":
            _check_fields(values, "entry", required={**common, "spec": dict, "step": float})
            spec = LappedSpec(**_fields_of(LappedSpec, values["spec"], "spec"))
            step = make_uniform_quantizer(values["step"]).step
            return Lapped(spec, step, values["summary"])
        if kind == "nonuniform":
            _check_fields(values, "entry", required={**common, "spec": dict})
            fields = _fields_of(NonuniformSpec, values["spec"], "spec")
            return Nonuniform(NonuniformSpec(**fields), values["summary"])
        if kind == "stored":
            _check_fields(values, "entry", required={**common, "file": str})
            return Stored(folder / _member(values["file"]), values["summary"])
    except (ValueError, TypeError) as error:
        raise ValueError(f"{place}: {error}") from error
    raise ValueError(
        f"{place}: kind={kind!r} is unknown; use 'solved', 'lapped', 'nonuniform' or 'stored'"
    )


def _member(file: str) -> str:
    """A file below the registry's folder."""
    path = PurePosixPath(file)
    if path.is_absolute() or ".." in path.parts or "\\" in file or path.suffix != ".zip":
        raise ValueError(f"file={file!r} must be a .zip below the registry's folder, models/a.zip")
    return file


def _check_known(values: Mapping[str, Any], place: str, known: Iterable[str]) -> None:
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ValueError(f"{place}: unknown field {unknown[0]!r}; fields are {', '.join(known)}")


def _preset(values: dict[str, Any]) -> Preset:
    spec = FilterbankSpec(**_fields_of(FilterbankSpec, values["spec"], "spec"))
    decoder = DecoderSpec(**_fields_of(DecoderSpec, values.get("decoder", {}), "decoder"))
    scales = values.get("projections", [])
    for scale in scales:
        if not isinstance(scale, str):
            raise TypeError(f"projections={scales!r} must be names of scales")
        projection.resolve_scale(spec, scale)
    return Preset(spec, decoder, tuple(scales), values["summary"])


def _fields_of(owner: Any, values: dict[str, Any], place: str) -> dict[str, Any]:
    """Constructor arguments; what the constructors leave unchecked is checked here."""
    fields = {field.name: field for field in dataclasses.fields(owner)}
    _check_known(values, place, fields)
    for name, value in values.items():
        if isinstance(fields[name].default, bool) != isinstance(value, bool):
            wanted = "true or false" if isinstance(fields[name].default, bool) else "no boolean"
            raise TypeError(f"{place}: {name}={value!r} must be {wanted}")
    return {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}


REGISTRY: dict[str, Entry] = read_registry(Path(__file__).with_name("registry.json"))
"""All names."""

PRESETS: dict[str, Preset] = {
    name: entry for name, entry in REGISTRY.items() if isinstance(entry, Preset)
}
"""The solved presets of :func:`isincnet_jax.from_pretrained`."""

LAPPED: dict[str, Lapped] = {
    name: entry for name, entry in REGISTRY.items() if isinstance(entry, Lapped)
}
"""The lapped presets of :func:`isincnet_jax.from_pretrained`."""

NONUNIFORM: dict[str, Nonuniform] = {
    name: entry for name, entry in REGISTRY.items() if isinstance(entry, Nonuniform)
}
"""The nonuniform presets of :func:`isincnet_jax.from_pretrained`."""

STORED: dict[str, Stored] = {
    name: entry for name, entry in REGISTRY.items() if isinstance(entry, Stored)
}
"""The trained models that come with the package."""
