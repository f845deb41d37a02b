"""Linen modules: the base of all of the package's, and one that is bound to its variables."""

from __future__ import annotations

import functools
from typing import Any, Generic, TypeVar

import flax.linen as nn
import flax.struct
import numpy as np

from isincnet_jax.dsp.equality import equal_by_value
from isincnet_jax.dsp.settling import settle_fields

Module = TypeVar("Module", bound=nn.Module)


class SettledModule(nn.Module):
    """Linen module whose sizes, numbers and flags are settled before anything looks at them.

    That is, before the ``__post_init__`` of a subclass checks them; see
    :func:`.settling.settle_fields`, which goes by the annotations of the attributes.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        """Puts the settling before the checks of the subclass."""
        super().__init_subclass__(**options)
        own = cls.__dict__.get("__post_init__")
        if own is None:
            return

        @functools.wraps(own)
        def settle_and_check(self: Any) -> None:
            settle_fields(self)
            own(self)

        cls.__post_init__ = settle_and_check

    def __post_init__(self) -> None:
        """Settles the attributes of modules that have no checks of their own."""
        settle_fields(self)
        super().__post_init__()


@flax.struct.dataclass
class TrainedModel(Generic[Module]):
    """A module with its variables, a frozen pytree: ``model.apply(variables, ...)``.

    Subclasses are decorated with ``flax.struct.dataclass(eq=False)``, which keeps this equality.

    Attributes:
        model: the Linen module, static.
        variables: its variables.
        name: of the entry, path or address it came from.
    """

    model: Module = flax.struct.field(pytree_node=False)
    variables: Any = None
    name: str = flax.struct.field(pytree_node=False, default="custom")

    __eq__ = equal_by_value
    __hash__ = None  # type: ignore[assignment]

    def _cast(self, array: Any) -> Any:
        """NumPy's floats in the model's dtype; all else as it is, for the model to check."""
        if isinstance(array, np.ndarray) and np.issubdtype(array.dtype, np.floating):
            return array.astype(self.model.dtype)  # type: ignore[attr-defined]
        return array
