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
    """Analysis and synthesis operators of a transform, both of them pytrees that can be called.

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
    """Splitting iterations of :func:`.retrieval.admm`, for any step ``fit`` towards the data.

    Written in v alone: ``z = (rho v + P v) / (1 + rho)``, ``x = fit(2 z - v)``, ``v += x - z``.

    Args:
        fit: complex [..., frames, bins] to the nearest coefficients that fit the data.
        start: v_0, complex [..., frames, bins].
        operators: of the transform.
        num_iterations: of one synthesis and one analysis each, 0 or more.
        rho: the penalty parameter, 0 or more.

    Returns:
        The waveform [..., time] of the last x; of the start for no iterations.
    """

    def step(_: Any, carry: tuple[Any, Any]) -> tuple[Any, Any]:
        total, _ = carry
        # z = (rho v + P v) / (1 + rho), x = fit(2 z - v), v += x - z
        consistent = (rho * total + operators.analyse(operators.synthesise(total))) / (1.0 + rho)
        fitted = fit(2.0 * consistent - total)
        return total + fitted - consistent, fitted

    return operators.synthesise(lax.fori_loop(0, num_iterations, step, (start, start))[1])


def each_clip(function: Callable[..., jax.Array], *arrays: Any) -> jax.Array:
    """Batches [..., frames, bins], on a CPU passed through a function one large clip at a time.

    All iterations of a clip then find it in the cache.

    Args:
        function: of arrays [..., frames, bins], to an array with the same leading axes; pure.
        *arrays: of one shape in all but the last axis.

    Returns:
        What the function returns of all clips.
    """
    batch, clip = arrays[0].shape[:-2], arrays[0].shape[-2:]
    if math.prod(clip) < _LARGE_CLIP or math.prod(batch) < 2:
        return function(*arrays)

    def in_turn(*arrays: Any) -> jax.Array:
        clips = [array.reshape((-1, *array.shape[-2:])) for array in arrays]
        results = lax.map(lambda one: function(*one), clips)
        return results.reshape((*batch, *results.shape[1:]))

    return lax.platform_dependent(*arrays, cpu=in_turn, default=function)


def as_partial(function: Callable[[Any], Any]) -> Partial:
    """Pytree of a callable, which makes it an argument of a jitted function.

    Args:
        function: any callable; a :class:`jax.tree_util.Partial` is kept.

    Returns:
        The callable as a :class:`jax.tree_util.Partial`.
    """
    return function if isinstance(function, Partial) else Partial(function)


def check_iterations(num_iterations: int, rho: float = 0.0) -> None:
    """Number of iterations and penalty.

    Args:
        num_iterations: 0 or more.
        rho: the penalty, 0 or more.

    Raises:
        ValueError: for fewer than 0 iterations or a negative penalty.
    """
    if num_iterations < 0:
        raise ValueError(f"num_iterations={num_iterations} must be 0 or more, say 60")
    if rho < 0:
        raise ValueError(f"rho={rho} must not be negative; 1 is Griffin-Lim, try 0.2")
