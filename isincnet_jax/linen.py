"""Linen module that all layers of the package derive from: settings are Python's own numbers."""

from __future__ import annotations

import functools
from typing import Any

import flax.linen as nn

from isincnet_jax.dsp.settling import settle_fields


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
