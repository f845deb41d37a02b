"""Products modulo one cycle, to about 1e-6 cycles in float32 whatever their size.

Numbers are split into a coarse part of 12 significant bits and a fine rest. Products of two coarse
parts are exact in float32, and so are what remains of them when whole cycles are taken off; of the
other products the same holds or they are small. Nothing here has derivatives: the callers add them.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

_BITS = 12
_GRID = 512


def _split(number: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A coarse part of 12 significant bits and the rest, whose sum is the number."""
    coarse = lax.reduce_precision(
        number, exponent_bits=jnp.finfo(number.dtype).nexp, mantissa_bits=_BITS - 1
    )
    return coarse, number - coarse


def pieces(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pieces of float64 constants: two of 12 bits and a rest.

    Args:
        numbers: not negative, of any shape.

    Returns:
        High, middle and rest, of the same shape; they sum to the numbers.
    """
    # Multiples of scale / 2^12, then of scale / 2^24: 12 bits each, then what is below.
    scale = 2.0 ** np.ceil(np.log2(max(float(numbers.max(initial=0.0)), 1e-9)))
    step = scale / 2**_BITS
    # Floors, so that no rest is negative.
    high = np.floor(numbers / step) * step
    rest, step = numbers - high, step / 2**_BITS
    middle = np.floor(rest / step) * step
    return high, middle, rest - middle


class Cycles(NamedTuple):
    """A sum of cycles: three large summands, exact, and a small one."""

    large: tuple[jax.Array, jax.Array, jax.Array]
    small: jax.Array

    def wrapped(self) -> jax.Array:
        """Sum less whole cycles.

        Returns:
            Within [-0.5, 0.5].
        """
        total = sum((_off_grid(part, 1) for part in self.large), self.small)
        return _off_grid(total, 1)


def cycles(number: jax.Array, constants: np.ndarray) -> Cycles:
    """Product ``number * constants`` in cycles, its large parts exact.

    Args:
        number: floating [...], Hz say.
        constants: float64 [constants], not negative, seconds say.

    Returns:
        Summands [..., constants].
    """
    coarse, fine = _split(number[..., None])
    high, middle, low = (jnp.asarray(piece, number.dtype) for piece in pieces(constants))
    return _sum_of_products(coarse, fine, high, middle, low)


def _sum_of_products(
    coarse: jax.Array, fine: jax.Array, high: jax.Array, middle: jax.Array, low: jax.Array
) -> Cycles:
    # (coarse + fine) (high + middle + low): 12 by 12 bits are exact in the 24 of float32.
    small = fine * middle + (coarse + fine) * low
    return Cycles((coarse * high, coarse * middle, fine * high), small)


def _off_grid(number: jax.Array, steps: int) -> jax.Array:
    """What is left of a number beyond the nearest multiple of ``1 / steps``, a power of two."""
    return number - jnp.round(number * steps) / steps


def swing(
    deviation: Float[jax.Array, "..."],
    modulator: Float[jax.Array, "..."],
    seconds: Float[np.ndarray, " times"],
) -> Float[jax.Array, "... times"]:
    """``B / (2 pi v) (1 - cos 2 pi v t)`` in cycles, less whole cycles.

    With ``v t = j / 512 + d`` and the cosine c and the sine s of the angle ``2 pi j / 512``,
    ``1 - cos(2 pi v t)`` is ``(1 - c) + c (1 - cos 2 pi d) + s sin 2 pi d``: the first part is a
    constant that is known exactly, and the others are small.

    Args:
        deviation: B, Hz.
        modulator: v, Hz, positive.
        seconds: t, constants.

    Returns:
        [..., times], within [-0.5, 0.5].
    """
    angle = cycles(modulator, seconds)
    # v t = j / 512 + d: d from what the summands have beyond the grid, j from what they have on it.
    parts = [_off_grid(part, _GRID) for part in angle.large]
    beyond = 2.0 * np.pi * sum(parts, angle.small)
    # Exact multiples of 1 / 512, of which whole cycles are of no account.
    turned = sum(_off_grid(part - rest, 1) for part, rest in zip(angle.large, parts, strict=True))
    index = jnp.mod(jnp.round(turned * _GRID).astype(jnp.int32), _GRID)
    high, middle, low, cosine, sine = (
        jnp.asarray(table, modulator.dtype)[index] for table in _circle()
    )
    # D (1 - cos 2 pi v t) = D (1 - c) + D (c (1 - cos 2 pi d) + s sin 2 pi d), D = depth + more.
    depth, more = _depth(deviation, modulator)
    depth, more = depth[..., None], more[..., None]
    whole = _sum_of_products(*_split(depth), high, middle, low)
    # 1 - cos x = 2 sin^2(x / 2)
    turn = cosine * (2.0 * jnp.sin(beyond / 2.0) ** 2) + sine * jnp.sin(beyond)
    return Cycles(whole.large, whole.small + more * (high + middle) + depth * turn).wrapped()


@functools.cache
def _circle() -> tuple[np.ndarray, ...]:
    """``1 - cos`` of the grid in three pieces, ``cos`` and ``sin``, float64 [512] each."""
    angle = 2.0 * np.pi * np.arange(_GRID) / _GRID
    return *pieces(2.0 * np.sin(angle / 2) ** 2), np.cos(angle), np.sin(angle)


def _depth(deviation: jax.Array, modulator: jax.Array) -> tuple[jax.Array, jax.Array]:
    """``B / (2 pi v)`` as a number and what its rounding lost.

    References:
        T. J. Dekker, "A floating-point technique for extending the available precision", Numerische
            Mathematik 18, 1971, section 5. https://doi.org/10.1007/BF01397083
    """
    dtype = modulator.dtype
    quotient = deviation / modulator
    # B = q v + r exactly, and 1 / (2 pi) = factor + lost:
    # B / (2 pi v) = q factor + [q lost + (r / v) factor]
    remainder = _less_product(deviation, quotient, modulator)
    factor = jnp.asarray(0.5 / np.pi, dtype)
    lost = jnp.asarray(0.5 / np.pi - float(np.asarray(0.5 / np.pi, dtype)), dtype)
    depth = quotient * factor
    more = quotient * lost + remainder / modulator * factor - _less_product(depth, quotient, factor)
    return depth, more


def _less_product(number: jax.Array, one: jax.Array, other: jax.Array) -> jax.Array:
    """``number - one * other`` where they almost cancel, without rounding the product."""
    (a, b), (c, d) = _split(one), _split(other)
    return ((number - a * c) - a * d - b * c) - b * d
