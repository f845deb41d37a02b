"""Names whose meaning a user may change, settled together with what they meant.

Shapes and scales are functions in a dictionary: a notebook cell that is edited and run again gives
a name another function. Whatever is cached, compiled or stored by a name would then belong to
another function than it says. A :class:`SettledName` is the name with the function that it stood
for, compared and hashed with a digest of that function's values; whoever keeps a name keeps this.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, TypeVar

import numpy as np

_Settled = TypeVar("_Settled", bound="SettledName")

_DECIMALS = 8
"""Decimals of the values in a digest: functions closer than 1e-8 (-160 dB) count as the same, and
what machines round differently does not make another function of it."""


class MeaningError(ValueError):
    """A name does not stand for the function that it stood for."""


class SettledName(str):
    """A name and what it stood for when it was settled.

    It is the text of the name, for JSON, messages and comparisons with texts; two settled names
    are equal only if their functions are, too. Subclasses say where names are registered, and what
    of their functions is digested.

    Attributes:
        meaning: what it stands for, held: not looked up again.
        digest: of the values of the function, 16 hexadecimal digits; empty for what is built in.
        kind: what messages call the name, "shape" or "scale".
        built_in: what this package registers, by name; read-only.
    """

    kind: ClassVar[str] = "name"
    built_in: ClassVar[Mapping[str, Any]] = {}

    meaning: Any
    digest: str

    def __new__(cls, name: str, meaning: Any, digest: str) -> SettledName:
        """Attaches a meaning to a name; :meth:`settle` looks it up."""
        settled = super().__new__(cls, name)
        settled.meaning, settled.digest = meaning, digest
        return settled

    @classmethod
    def _look_up(cls, name: str) -> tuple[str, Any]:
        """The canonical name, and what is registered under it; ValueError if nothing is."""
        raise NotImplementedError

    @classmethod
    def _sampled(cls, meaning: Any) -> tuple[str, Iterable[Any]]:
        """What tells one meaning from another, as :func:`digest_values` takes it."""
        raise NotImplementedError

    @classmethod
    def _digest(cls, name: str, meaning: Any) -> str:
        if meaning is cls.built_in.get(name):
            return ""
        with np.errstate(all="ignore"):
            return digest_values(*cls._sampled(meaning))

    @classmethod
    def settle(cls: type[_Settled], name: str) -> _Settled:
        """Settled name: what a name stands for now; one that is settled keeps its own meaning.

        Args:
            name: as it is registered, or its alias; or a settled name.

        Returns:
            The name with what is registered under it now, and its digest.

        Raises:
            ValueError: for an unknown name.
        """
        if isinstance(name, cls):
            return name
        name, meaning = cls._look_up(name)
        return cls(name, meaning, cls._digest(name, meaning))  # type: ignore[return-value]

    @property
    def is_built_in(self) -> bool:
        """Whether it stands for a function of this package, not for a user's of that name."""
        return not self.digest

    def check(self) -> None:
        """Digest of the function, taken again: it may read a variable, say.

        Raises:
            MeaningError: if it has other values than when it was settled.
        """
        if self._digest(self, self.meaning) != self.digest:
            raise MeaningError(
                f"the function of {self.kind}={str(self)!r} has changed since it was first used: "
                "it reads a variable that has another value now; settle such values in the "
                "function (as default arguments, say), register it again and build the spec or "
                "layer anew"
            )

    @classmethod
    def restore(cls: type[_Settled], name: str, digest: str) -> _Settled:
        """The settled name of another process or a file.

        Args:
            name: the text of the settled name.
            digest: of what it stood for there; empty for what is built in.

        Returns:
            The name as it is settled here, which has that digest.

        Raises:
            MeaningError: unless the function registered under the name here has that digest.
            ValueError: for an unknown name.
        """
        found = cls.settle(name)
        if found.digest != digest:
            raise MeaningError(
                f"the {cls.kind} {str(name)!r} registered here is another function than the one "
                f"that this was made with (digest {found.digest or 'of the built-in one'} here, "
                f"{digest or 'of the built-in one'} there); register that one under this name"
            )
        return found

    def __eq__(self, other: object) -> bool:
        if isinstance(other, SettledName) and self.digest != other.digest:
            return False
        return str.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__

    def __deepcopy__(self, memo: Any) -> SettledName:
        return self

    def __copy__(self) -> SettledName:
        return self

    def __reduce__(self) -> Any:
        # Functions may be lambdas: another process looks its own up, and checks that it is equal.
        return (type(self).restore, (str(self), self.digest))


def digest_values(facts: str, values: Iterable[Any]) -> str:
    """Digest of a function's values, the same on all machines.

    Args:
        facts: what else belongs to the function.
        values: arrays or numbers.

    Returns:
        16 hexadecimal digits, the first of a SHA-256 over facts, shapes and rounded values.
    """
    found = hashlib.sha256(facts.encode())
    for value in values:
        rounded = np.round(np.asarray(value, np.complex128), _DECIMALS) + 0.0  # no negative zeros
        found.update(f"{rounded.shape}".encode() + rounded.astype("<c16").tobytes())
    return found.hexdigest()[:16]
