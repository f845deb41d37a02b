"""Intermediate results that are written to memory, where compilers would compute them again.

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


def with_stored(function: Callable[..., Any], *arrays: Any, witness: jax.Array | Any) -> Any:
    """``function(*arrays)``, with the arrays in memory before the function's loops begin.

    On CPUs the function is the branch of a conditional that is always taken; elsewhere it follows
    an optimization barrier. Differentiable; under ``vmap`` the witness should not be batched.

    Args:
        function: pure; floating arrays to an array or a pytree of them.
        *arrays: its arguments.
        witness: a finite number [] that the compiler does not know, say a filter's first tap. The
            result is NaN where it is infinite or NaN.
    """

    def conditional(witness: jax.Array, *arrays: jax.Array) -> Any:
        def undefined(*arrays: jax.Array) -> Any:
            shapes = jax.eval_shape(function, *arrays)
            return jax.tree.map(lambda like: jnp.full(like.shape, jnp.nan, like.dtype), shapes)

        return lax.cond(jnp.abs(witness) < jnp.inf, function, undefined, *arrays)

    def plain(witness: jax.Array, *arrays: jax.Array) -> Any:
        del witness
        return function(*lax.optimization_barrier(arrays))

    return lax.platform_dependent(witness, *arrays, cpu=conditional, default=plain)
