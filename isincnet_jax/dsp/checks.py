"""Checks at the call, of what layers and pure functions are given: one rule for all of them.

Samples, spectrograms and their likes are *arrays* (NumPy's or JAX's) of float32 or float64, in the
machine's byte order; spectra are complex64 or complex128. Everything else is refused, because it
would be computed with and give something plausible: a window cast to the dtype of 16-bit PCM is
all zeros, float16 overflows in a power spectrum, an imaginary part vanishes. Lists are refused as
JAX refuses them. Narrow floats are taken by layers that were built with that dtype, and by no
others. Float64 without ``jax_enable_x64`` is rounded to float32, as everywhere in JAX.

The rule reads dtypes and shapes only, so that it works under ``jit``, ``vmap`` and ``grad``, and
costs nothing there. Where *values* decide, as with integer codes, they are looked at if there are
any, and traced ones become NaN (:func:`refuse_nan`, :func:`codes_in_range`).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

_KINDS = {
    "floating": (("float32", "float64"), jnp.floating),
    "complex": (("complex64", "complex128"), jnp.complexfloating),
}


def check_array(values: Any, name: str) -> None:
    """Raises TypeError for what is no array in the machine's byte order, such as a list."""
    if not isinstance(values, (jax.Array, np.ndarray, np.generic, jax.ShapeDtypeStruct)):
        kind = type(values).__name__
        raise TypeError(
            f"{name} is a {kind}: NumPy and JAX arrays are taken; use np.asarray({name}, "
            "np.float32), and np.int32 for codes"
        )
    if isinstance(values, np.ndarray) and not values.dtype.isnative:
        native = values.dtype.newbyteorder("=")
        raise TypeError(
            f"{name}.dtype={values.dtype.str!r} has another machine's byte order; use "
            f"{name}.astype(np.{native})"
        )


def _check(values: Any, name: str, kind: str, *, dtype: Any, ndim: int, hint: str) -> None:
    check_array(values, name)
    allowed, family = _KINDS[kind]
    found = str(values.dtype)
    of_family = jnp.issubdtype(values.dtype, family)
    if dtype is not None and of_family and values.dtype != jnp.dtype(dtype):
        raise TypeError(
            f"{name}.dtype={found} but the layer works in {jnp.dtype(dtype)}; convert it, or build "
            "the model with the other dtype"
        )
    if not of_family or (dtype is None and found not in allowed):
        fix = f"{name}.astype(np.{allowed[0]})" if of_family else hint
        raise TypeError(
            f"{name}.dtype={found}: {kind} values, {' or '.join(allowed)}, are needed; use {fix}"
        )
    if values.ndim < ndim:
        raise ValueError(f"{name}.shape={tuple(values.shape)} needs {ndim} axes or more")


def check_floating(values: Any, name: str, *, dtype: Any = None, ndim: int = 0) -> None:
    """Raises TypeError or ValueError for what is no array of float32 or float64.

    Args:
        values: anything.
        name: what messages call it.
        dtype: the only one that is taken, whatever it is; None for the rule of this module.
        ndim: fewest axes.
    """
    hint = f"{name}.astype(np.float32); scale integers, decode codes with their quantizer first"
    _check(values, name, "floating", dtype=dtype, ndim=ndim, hint=hint)


def check_floating_waveform(waveform: Any, name: str = "waveform", *, dtype: Any = None) -> None:
    """Raises TypeError or ValueError for what is no floating waveform [..., time].

    Float32 and float64 are both welcome: a spectrogram layer works in the dtype it is given.
    """
    hint = "floating samples in [-1, 1]: scale integers first, e.g. pcm16 / 32768.0"
    _check(waveform, name, "floating", dtype=dtype, ndim=0, hint=hint)
    if waveform.ndim < 1 or waveform.shape[-1] < 1:
        raise ValueError(
            f"{name}.shape={tuple(waveform.shape)}: the last axis is time and needs a sample"
        )


def check_complex(values: Any, name: str, *, ndim: int = 0) -> None:
    """Raises TypeError or ValueError for what is no array of complex64 or complex128."""
    hint = "complex coefficients; magnitudes need phase retrieval first, such as GriffinLim"
    _check(values, name, "complex", dtype=None, ndim=ndim, hint=hint)


def as_waveform(waveform: Any, name: str = "waveform") -> jax.Array:
    """A checked waveform as a JAX array, see :func:`check_floating_waveform`."""
    check_floating_waveform(waveform, name)
    return jnp.asarray(waveform)


def as_floating(values: Any, name: str, *, ndim: int = 0) -> jax.Array:
    """Checked values as a JAX array, see :func:`check_floating`."""
    check_floating(values, name, ndim=ndim)
    return jnp.asarray(values)


def as_complex(values: Any, name: str, *, ndim: int = 0) -> jax.Array:
    """Checked values as a JAX array, see :func:`check_complex`."""
    check_complex(values, name, ndim=ndim)
    return jnp.asarray(values)


def check_pair(prediction: Any, target: Any, *, ndim: int = 0) -> None:
    """Checks the two arguments of a loss or a metric, see :func:`check_floating`."""
    check_floating(prediction, "prediction", ndim=ndim)
    check_floating(target, "target", ndim=ndim)


def refuse_nan(values: Any, name: str) -> None:
    """Raises ValueError for NaN, of which no integer code can tell; traced values pass."""
    if isinstance(values, jax.core.Tracer):
        return
    with jax.ensure_compile_time_eval():  # also of what a function that is traced closes over
        found = bool(jnp.any(jnp.isnan(values)))
    if found:
        raise ValueError(f"{name}: some values are NaN, which have no code; find where they arose")


def check_codes(codes: Any, low: int, high: int) -> None:
    """Raises TypeError unless codes are integers, ValueError unless they lie in [low, high].

    Traced ones have no values yet; decoders give NaN for those out of range
    (:func:`codes_in_range`).
    """
    check_array(codes, "codes")
    if not jnp.issubdtype(codes.dtype, jnp.integer):
        raise TypeError(f"codes.dtype={codes.dtype}: codes are integers")
    if isinstance(codes, (jax.core.Tracer, jax.ShapeDtypeStruct)) or not codes.size:
        return
    with jax.ensure_compile_time_eval():
        least, most = int(codes.min()), int(codes.max())
    if least < low or most > high:
        raise ValueError(
            f"codes lie between {least} and {most}: those of this code are {low} to {high}; were "
            "they made with other bits?"
        )


def codes_in_range(values: jax.Array, codes: Any, low: int, high: int) -> jax.Array:
    """Decoded values, NaN where their code is none; nothing is computed for concrete codes."""
    if not isinstance(codes, jax.core.Tracer):
        return values  # refused by check_codes
    # Compared in their own dtype, which may not hold the bounds.
    bounds = jnp.iinfo(codes.dtype)
    inside = (codes >= max(low, int(bounds.min))) & (codes <= min(high, int(bounds.max)))
    return jnp.where(inside, values, jnp.asarray(jnp.nan, values.dtype))


def check_positive_integers(**values: int | None) -> None:
    """Raises ValueError unless every value is None or an integer of at least 1."""
    for name, value in values.items():
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            raise ValueError(f"{name}={value!r} must be an integer of at least 1")


def check_band(*, fmin: float, fmax: float, sample_rate: float) -> None:
    """Raises ValueError unless ``0 <= fmin < fmax <= sample_rate / 2`` (Hz)."""
    if sample_rate <= 0:
        raise ValueError(f"sample_rate={sample_rate} must be positive (Hz)")
    if not 0 <= fmin < fmax:
        raise ValueError(f"fmin={fmin} and fmax={fmax}: 0 <= fmin < fmax must hold (Hz)")
    if fmax > sample_rate / 2:
        raise ValueError(
            f"fmax={fmax} lies above half of sample_rate={sample_rate}; use fmax <= "
            f"{sample_rate / 2:g}"
        )
