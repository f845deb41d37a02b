"""Explicit broadcasting, so that all of it runs under ``jax_numpy_rank_promotion="raise"``."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp


def match_rank(values: Any, like: Any) -> jax.Array:
    """Values with leading axes of 1, until they have as many axes as ``like``; scalars stay."""
    values = jnp.asarray(values)
    missing = like.ndim - values.ndim
    return values if values.ndim == 0 or missing <= 0 else values[(None,) * missing]
