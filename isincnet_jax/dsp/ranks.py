"""Ranks of arrays, matched so that nothing relies on ``jax_numpy_rank_promotion="allow"``."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp


def match_rank(values: Any, like: Any) -> jax.Array:
    """Broadcast shape: values with leading axes of 1, as many axes as ``like``; scalars stay.

    Args:
        values: an array or a number.
        like: an array.

    Returns:
        The values with max(own, like's) axes, in their own dtype.
    """
    values = jnp.asarray(values)
    missing = like.ndim - values.ndim
    return values if values.ndim == 0 or missing <= 0 else values[(None,) * missing]
