"""Materialised intermediate results: written to memory, where compilers would compute them again.

XLA's CPU backend fuses a chain of cheap operations into the loop of the last one, reversals and
interleavings included, and computes in that loop, element by element and often several times,
what two plain loops do in vectors. It drops optimization barriers before it fuses (jaxlib
0.10.2), but never looks across the border of a conditional.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax


def with_stored(function: Callable[..., Any], *arrays: Any) -> Any:
    """Materialised arrays: ``function(*arrays)``, with the arrays in memory before its loops begin.

    On CPUs the function is the branch of a conditional that is always taken, on a truth that stands
    behind an optimization barrier and is thus unknown while conditionals are simplified. Elsewhere
    the arrays follow such a barrier. Differentiable, and batched by ``vmap``, like the function.

    Args:
        function: pure; arrays to a floating or complex array or a pytree of them.
        *arrays: its arguments.

    Returns:
        What the function returns.
    """

    def conditional(*arrays: jax.Array) -> Any:
        def never(*arrays: jax.Array) -> Any:
            # NaN, and tied to the arrays: under shard_map both branches vary over the same axes.
            firsts = [
                jnp.real(jnp.sum(jnp.ravel(array)[:1])).astype(jnp.float32) for array in arrays
            ]
            tie = jnp.sum(jnp.stack(firsts))
            return jax.tree.map(
                lambda like: jnp.full(like.shape, jnp.nan, like.dtype) + tie.astype(like.dtype),
                jax.eval_shape(function, *arrays),
            )

        return lax.cond(lax.optimization_barrier(jnp.bool_(True)), function, never, *arrays)

    def plain(*arrays: jax.Array) -> Any:
        return function(*lax.optimization_barrier(arrays))

    return lax.platform_dependent(*arrays, cpu=conditional, default=plain)
