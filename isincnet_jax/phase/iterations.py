"""Iterations of phase retrieval: the operators between which they alternate, and their runs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax import lax
from jax.tree_util import Partial

from isincnet_jax.dsp.settling import settles

_LARGE_CLIP = 1 << 15


class Operators(NamedTuple):
    """A transform and its inverse, both of them pytrees that can be called.

    Attributes:
        analyse: waveform [..., time] to complex [..., frames, bins].
        synthesise: complex [..., frames, bins] to waveform [..., time].
    """

    analyse: Partial
    synthesise: Partial


@settles
def splitting(
    fit: Callable[[Any], Any],
    start: Any,
    *,
    operators: Operators,
    num_iterations: int,
    rho: Any,
) -> jax.Array:
    """The iterations of :func:`admm` for any step ``fit`` towards the data; not jitted.

    Written in v alone: ``z = (rho v + P v) / (1 + rho)``, ``x = fit(2 z - v)``, ``v += x - z``.
    """

    def step(_: Any, carry: tuple[Any, Any]) -> tuple[Any, Any]:
        total, _ = carry
        consistent = (rho * total + operators.analyse(operators.synthesise(total))) / (1.0 + rho)
        fitted = fit(2.0 * consistent - total)
        return total + fitted - consistent, fitted

    return operators.synthesise(lax.fori_loop(0, num_iterations, step, (start, start))[1])


def each_clip(function: Callable[..., jax.Array], *arrays: Any) -> jax.Array:
    """Applies a function to batches [..., frames, bins], on a CPU to one large clip at a time.

    All iterations of a clip then find it in the cache.
    """
    batch, clip = arrays[0].shape[:-2], arrays[0].shape[-2:]
    if jax.default_backend() != "cpu" or math.prod(clip) < _LARGE_CLIP or math.prod(batch) < 2:
        return function(*arrays)
    clips = [array.reshape((-1, *array.shape[-2:])) for array in arrays]
    results = lax.map(lambda one: function(*one), clips)
    return results.reshape((*batch, *results.shape[1:]))


def as_partial(function: Callable[[Any], Any]) -> Partial:
    """Any callable as a pytree, which makes it an argument of a jitted function."""
    return function if isinstance(function, Partial) else Partial(function)


def check_iterations(num_iterations: int, rho: float = 0.0) -> None:
    """Raises a ValueError for fewer than 0 iterations or a negative penalty."""
    if num_iterations < 0:
        raise ValueError(f"num_iterations={num_iterations} must be 0 or more, say 60")
    if rho < 0:
        raise ValueError(f"rho={rho} must not be negative; 1 is Griffin-Lim, try 0.2")
