"""Mu-law companding and the two integer codes built on it.

Companding (ITU-T G.711 in its continuous form) maps [-1, 1] onto itself so that a uniform
quantiser of the result has a nearly constant relative error. The reference code of iSincNet
truncates, so none of its codes stands for 0; the symmetric (mid-tread) code rounds to an odd
number of levels with 0 among them, half the error for the same bits.

All functions are elementwise JAX, differentiable where the mathematics is.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Float, Int

from isincnet_jax.dsp import checks, settling
from isincnet_jax.dsp.settling import settles
from isincnet_jax.typing import Array


def check_q_bits(q_bits: int) -> int:
    """Bits of a code, an integer from 2 to 16.

    Args:
        q_bits: Python's or NumPy's integer.

    Returns:
        The bits as ``int``.

    Raises:
        ValueError: otherwise.
    """
    try:
        settled = settling.settled_integer("q_bits", q_bits)
    except settling.SettingError:
        settled = 0
    if not 2 <= settled <= 16:
        raise ValueError(f"q_bits={q_bits!r}: a code has 2 to 16 bits")
    return settled


def mu_law(value: Float[Array, "..."], *, mu: float) -> Float[Array, "..."]:
    """Mu law: sign(x) log(1 + mu |x|) / log(1 + mu); odd, maps [-1, 1] onto itself.

    Args:
        value: any shape; values outside [-1, 1] map outside.
        mu: positive; the slope at 0 is mu / log(1 + mu).

    Returns:
        The companded value, in the shape and dtype of the input.

    Example:
        >>> float(mu_law(jnp.float32(-1.0), mu=255.0))
        -1.0
    """
    return jnp.sign(value) * jnp.log1p(mu * jnp.abs(value)) / jnp.log1p(mu)


def mu_law_inverse(value: Float[Array, "..."], *, mu: float) -> Float[Array, "..."]:
    """Inverse mu law: sign(y) ((1 + mu)^|y| - 1) / mu, which undoes :func:`mu_law`.

    Args:
        value: companded, any shape.
        mu: positive, as of the mu law.

    Returns:
        The expanded value, in the shape and dtype of the input.
    """
    return jnp.sign(value) * jnp.expm1(jnp.abs(value) * jnp.log1p(mu)) / mu


@settles
def encode_reference(value: Float[Array, "..."], *, q_bits: int) -> Int[Array, "..."]:
    """Code of iSincNet: trunc(mu (y + 1) / 2) of the companded value, mu = 2^q - 1.

    Args:
        value: coefficients; those outside [-1, 1] are clipped to the code's ends.
        q_bits: 2 to 16.

    Returns:
        int32 in [0, 2^q - 1].

    Raises:
        ValueError: for NaN, unless it is traced: then its code means nothing.
    """
    mu = float(2 ** check_q_bits(q_bits) - 1)
    value = checks.as_floating(value, "value")
    checks.refuse_nan(value, "value")
    # The reference computes (1 + mu)^... with plain log and pow in float32; so does this.
    companded = jnp.sign(value) * jnp.log(1.0 + mu * jnp.abs(value)) / jnp.log(1.0 + mu)
    levels = jnp.clip(mu * (companded + 1.0) / 2.0, 0.0, mu)
    return levels.astype(jnp.int32)


@settles
def decode_reference(
    codes: Int[Array, "..."], *, q_bits: int, dtype: jnp.dtype | type = jnp.float32
) -> Float[Array, "..."]:
    """Decoder of iSincNet's code: y = 2 code / mu - 1, then the inverse mu law.

    Args:
        codes: integers in [0, 2^q - 1], any shape.
        q_bits: 2 to 16.
        dtype: of the result.

    Returns:
        Coefficients in [-1, 1], in the shape of the codes; none is 0.

    Raises:
        TypeError: for codes that are no integers.
        ValueError: for codes out of range; traced ones give NaN.
    """
    most = 2 ** check_q_bits(q_bits) - 1
    checks.check_codes(codes, 0, most)
    mu = float(most)
    companded = 2.0 * jnp.asarray(codes).astype(dtype) / mu - 1.0
    values = jnp.sign(companded) * ((1.0 + mu) ** jnp.abs(companded) - 1.0) / mu
    return checks.codes_in_range(values, codes, 0, most)


@settles
def encode_symmetric(value: Float[Array, "..."], *, q_bits: int, mu: float) -> Int[Array, "..."]:
    """Symmetric (mid-tread) code: round(H y) + H with H = 2^(q-1) - 1.

    Args:
        value: coefficients in units of their scale; clipped to [-1, 1].
        q_bits: 2 to 16.
        mu: of the companding, positive.

    Returns:
        int32 in [0, 2 H]; H stands for 0, and the code of -x mirrors that of x.

    Raises:
        ValueError: for NaN, unless it is traced: then its code means nothing.
    """
    half = 2 ** (check_q_bits(q_bits) - 1) - 1
    value = checks.as_floating(value, "value")
    checks.refuse_nan(value, "value")
    companded = mu_law(jnp.clip(value, -1.0, 1.0), mu=mu)
    return jnp.round(half * companded).astype(jnp.int32) + half


@settles
def decode_symmetric(
    codes: Int[Array, "..."],
    *,
    q_bits: int,
    mu: float,
    dtype: jnp.dtype | type = jnp.float32,
) -> Float[Array, "..."]:
    """Decoder of :func:`encode_symmetric`, to the middle of each code's cell.

    Args:
        codes: integers in [0, 2^q - 2], any shape.
        q_bits: 2 to 16.
        mu: of the companding, positive.
        dtype: of the result.

    Returns:
        Coefficients in [-1, 1], in the shape of the codes; the code H gives 0.

    Raises:
        TypeError: for codes that are no integers.
        ValueError: for codes out of range; traced ones give NaN.
    """
    half = 2 ** (check_q_bits(q_bits) - 1) - 1
    checks.check_codes(codes, 0, 2 * half)
    level = (jnp.asarray(codes).astype(jnp.int32) - half).astype(dtype)
    values = jnp.asarray(mu_law_inverse(level / half, mu=mu))
    return checks.codes_in_range(values, codes, 0, 2 * half)
