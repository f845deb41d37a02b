"""Config of a run, as annotations name it."""

from __future__ import annotations

from typing import Any, TypeAlias

Config: TypeAlias = Any
"""An ``ml_collections.ConfigDict``: what its fields hold is said by the files in ``configs/``, and
no type checker knows them."""
