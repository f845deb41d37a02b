"""Static arguments: sizes, numbers and flags as Python's own, by one rule for all of them.

NumPy's scalars look like numbers but overflow (int16), are refused by JSON (bool) and make cache
keys of their own. Whatever is static is settled before anything is computed from it:

==========  ============================================================================
an integer  ``int``, NumPy integers and arrays of no axes (NumPy's, concrete JAX's) of an
            integer type become ``int``; truth values and floats are refused, whole ones too
a number    likewise, floats too; integers stay integers; NaN is refused
a flag      ``bool``, NumPy's, and arrays of no axes of truth values; 0 and 1 are refused
==========  ============================================================================

Traced values are refused: what is static shapes the program.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

_Function = TypeVar("_Function", bound=Callable[..., Any])


class SettingError(TypeError, ValueError):
    """A setting of the wrong kind: a TypeError, and what is wrong with a value."""


def settled_integer(name: str, value: Any) -> int:
    """An integer as ``int``.

    Args:
        name: what messages call it.
        value: Python's, NumPy's or a concrete JAX scalar; an array has no axes.

    Returns:
        The value as ``int``.

    Raises:
        SettingError: for anything else.

    Example:
        >>> settled_integer("hop_length", np.int16(128))
        128
    """
    if type(value) is int:
        return value
    plain = _item(name, value)
    if isinstance(plain, int) and not isinstance(plain, bool):
        return int(plain)
    fix = ""
    if isinstance(plain, float) and plain.is_integer():
        fix = f"; use {name}={int(plain)}"
    raise SettingError(f"{name}={value!r} must be an integer{fix}")


def settled_number(name: str, value: Any) -> int | float:
    """A real number as ``int`` or ``float``.

    Args:
        name: what messages call it.
        value: Python's, NumPy's or a concrete JAX scalar; an array has no axes.

    Returns:
        The value as ``int`` if it is an integer, else as ``float``.

    Raises:
        SettingError: for anything else.
    """
    plain = value if type(value) in (float, int) else _item(name, value)
    # Comparisons with NaN are false, so that checks of ranges would let it pass.
    if isinstance(plain, (int, float)) and not isinstance(plain, bool) and not math.isnan(plain):
        return plain
    raise SettingError(f"{name}={value!r} must be a number")


def settled_flag(name: str, value: Any) -> bool:
    """A truth value as ``bool``.

    Args:
        name: what messages call it.
        value: Python's, NumPy's or a concrete JAX scalar; an array has no axes.

    Returns:
        The value as ``bool``.

    Raises:
        SettingError: for anything else.
    """
    plain = _item(name, value)
    if isinstance(plain, bool):
        return plain
    raise SettingError(f"{name}={value!r} must be True or False")


def _settled_length(length: Any, *, name: str = "length") -> Any:
    """The length of a clip, given at a call: ``int``, None, or a symbolic dimension of an export.

    Args:
        length: samples.
        name: what messages call it.

    Returns:
        ``int``, None or the symbolic dimension.

    Raises:
        SettingError: for anything else, traced lengths included.
    """
    if type(length) is int or length is None or _is_symbolic(length):
        return length
    return settled_integer(name, length)


def settle_fields(instance: Any) -> None:
    """Fields of a dataclass (a spec, a Linen module), settled in place by their annotations.

    ``int``, ``float``, ``bool`` and tuples of them follow their rules, with ``| None`` too; in all
    other fields NumPy's scalars become Python's.

    Args:
        instance: of a dataclass, frozen or not; changed in place.

    Raises:
        SettingError: for values of the wrong kind.
    """
    for field in dataclasses.fields(instance):
        value = getattr(instance, field.name, None)
        if value is None or field.name in ("parent", "name"):  # the last two are Linen's own
            continue
        settled = _rule(str(field.type))(field.name, value)
        if settled is not value:
            object.__setattr__(instance, field.name, settled)


def settles(function: _Function) -> _Function:
    """Decorator of a function whose static arguments are settled by their annotations.

    Arguments annotated ``int``, ``float`` or ``bool`` (``| None`` too) are static; arrays and
    traced values pass where a number is asked for, for that is what differentiation gives.

    Args:
        function: any, with annotations as text (``from __future__ import annotations``).

    Returns:
        The function with settled arguments; it raises SettingError for those of the wrong kind.
    """
    parameters = inspect.signature(function).parameters
    names = list(parameters)
    rules = {
        name: _RULES[_kind(str(parameter.annotation))]
        for name, parameter in parameters.items()
        if _kind(str(parameter.annotation)) in _RULES
    }
    settle = _settled_argument

    # The signature is read once: binding it at every call would cost more than the rules do.
    @functools.wraps(function)
    def settled(*args: Any, **options: Any) -> Any:
        known = [settle(rules.get(n), n, value) for n, value in zip(names, args, strict=False)]
        rest = {name: settle(rules.get(name), name, value) for name, value in options.items()}
        return function(*known, *args[len(known) :], **rest)

    return settled  # type: ignore[return-value]


def _settled_argument(rule: Callable[[str, Any], Any] | None, name: str, value: Any) -> Any:
    if rule is None or value is None:
        return value
    if rule is settled_integer:
        return _settled_length(value, name=name)
    if rule is settled_number and _is_array(value):
        return value
    return rule(name, value)


# Nothing can be JAX's before JAX is imported, and data are prepared without it.


def _is_of_jax(value: Any, kind: str) -> bool:
    """Whether a value is of a class of ``jax.core``, ``Tracer``, or of ``jax``, ``Array``."""
    jax = sys.modules.get("jax")
    if jax is None:
        return False
    return isinstance(value, jax.core.Tracer if kind == "Tracer" else jax.Array)


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) or _is_of_jax(value, "Array")


def _is_symbolic(length: Any) -> bool:
    export = sys.modules.get("jax.export")
    return export is not None and export.is_symbolic_dim(length)


def _item(name: str, value: Any) -> Any:
    """NumPy's scalars, and arrays of no axes, as Python's; anything else as it is."""
    if _is_of_jax(value, "Tracer"):
        raise SettingError(
            f"{name} is traced, but the program depends on its value; pass a Python number: an "
            "argument of a jitted function must be static (static_argnames) for that"
        )
    if isinstance(value, np.generic) or (_is_array(value) and value.ndim == 0):
        return np.asarray(value).item()
    return value


def _kind(annotation: str) -> str:
    return annotation.removesuffix(" | None")


def _rule(annotation: str) -> Callable[[str, Any], Any]:
    kind = _kind(annotation)
    if kind in _RULES:
        return _RULES[kind]
    inner = kind.removeprefix("tuple[").split(",")[0]
    if kind.startswith("tuple[") and kind.count("[") == 1 and "|" not in kind and inner in _RULES:
        return functools.partial(_each, _RULES[inner])
    return _plain


def _each(rule: Callable[[str, Any], Any], name: str, value: Any) -> Any:
    if type(value) not in (tuple, list):
        return value
    settled = type(value)(rule(name, one) for one in value)
    return settled if any(a is not b for a, b in zip(settled, value, strict=True)) else value


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    return _each(_plain, name, value) if type(value) is tuple else value


_RULES: dict[str, Callable[[str, Any], Any]] = {
    "int": settled_integer,
    "float": settled_number,
    "bool": settled_flag,
}
