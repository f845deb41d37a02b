"""Formats of a complex spectrum: magnitude, power, phase or itself, all differentiable at 0."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Complex

from isincnet_jax.typing import Array

OutputFormat: TypeAlias = Literal["magnitude", "power", "complex", "phase"]
OUTPUT_FORMATS: tuple[str, ...] = get_args(OutputFormat)
"""All formats."""

_TINY_POWER = 1e-20


def check_output_format(output_format: str) -> None:
    """Output format of a complex spectrum.

    Args:
        output_format: a name in :data:`OUTPUT_FORMATS`.

    Raises:
        ValueError: for another name.
    """
    if output_format not in OUTPUT_FORMATS:
        raise ValueError(
            f"output_format={output_format!r} is unknown; use one of {', '.join(OUTPUT_FORMATS)}"
        )


def format_spectrum(
    spectrum: Complex[Array, "... frames bins"], *, output_format: str
) -> jax.Array:
    """Complex coefficients in the asked format.

    ============  ==================================================================
    format        values
    ============  ==================================================================
    "complex"     the coefficients themselves, complex64 or complex128
    "magnitude"   ``sqrt(|z|^2 + 1e-20) - 1e-10``: |z| to 1e-10 and 0 for silence
    "power"       ``|z|^2``
    "phase"       ``atan2(Im z, Re z)`` in radians, -pi to pi; 0 for silence
    ============  ==================================================================

    First and second derivatives are finite everywhere. The magnitude is smooth; the phase of
    coefficients below 1e-10 has no direction, its derivatives are 0.

    Args:
        spectrum: [..., frames, bins], complex.
        output_format: a name of the table.

    Returns:
        [..., frames, bins], complex or floating.

    Raises:
        ValueError: for an unknown format.
    """
    check_output_format(output_format)
    if output_format == "complex":
        return jnp.asarray(spectrum)
    return format_parts(jnp.real(spectrum), jnp.imag(spectrum), output_format=output_format)


def format_parts(real: Any, imag: Any, *, output_format: str) -> jax.Array:
    """Formats of real and imaginary parts that were never put together, as :func:`format_spectrum`.

    Args:
        real: [..., frames, bins].
        imag: in the shape of the real part.
        output_format: a name of the table there.

    Returns:
        [..., frames, bins], complex or floating.

    Raises:
        ValueError: for an unknown format.
    """
    check_output_format(output_format)
    if output_format == "complex":
        return jax.lax.complex(real, imag)
    power = real**2 + imag**2
    if output_format == "power":
        return power
    if output_format == "magnitude":
        return jnp.sqrt(power + _TINY_POWER) - _TINY_POWER**0.5
    # Silence has the direction (1, 0), of finite slopes, in place of 0 / 0 in those of atan2.
    audible = power > _TINY_POWER
    angle = jnp.arctan2(jnp.where(audible, imag, 0.0), jnp.where(audible, real, 1.0))
    # The value keeps its own angle below the floor (atan2 of 0 and 0 is 0), without derivatives.
    return jnp.where(audible, angle, jax.lax.stop_gradient(jnp.arctan2(imag, real)))
