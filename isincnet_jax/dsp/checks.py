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

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

_KINDS = {
    "floating": (("float32", "float64"), jnp.floating),
    "complex": (("complex64", "complex128"), jnp.complexfloating),
}
# So many clips of so few samples are a recording [time, channels], as soundfile reads it.
_FEW_SAMPLES, _MANY_CLIPS = 8, 1000


def check_array(values: Any, name: str) -> None:
    """Array: NumPy's or JAX's, in the machine's byte order.

    Args:
        values: anything; shapes and dtypes without values too (``jax.ShapeDtypeStruct``).
        name: what messages call it.

    Raises:
        TypeError: for what is no such array, a list for instance.
    """
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
    """Floating array: float32 or float64, unless a layer was built for another dtype.

    Args:
        values: anything.
        name: what messages call it.
        dtype: the only one that is taken, whatever it is; None for the rule of this module.
        ndim: fewest axes.

    Raises:
        TypeError: for what is no array, or of another dtype.
        ValueError: for fewer axes than ``ndim``.
    """
    hint = f"{name}.astype(np.float32); scale integers, decode codes with their quantizer first"
    _check(values, name, "floating", dtype=dtype, ndim=ndim, hint=hint)


def check_floating_waveform(waveform: Any, name: str = "waveform", *, dtype: Any = None) -> None:
    """Floating waveform [..., time] of one sample or more.

    A spectrogram layer takes both: it works in the dtype that it is given.

    Args:
        waveform: anything.
        name: what messages call it.
        dtype: the only one that is taken; None for float32 and float64.

    Raises:
        TypeError: for what is no array, or of another dtype, integers among them.
        ValueError: for no time axis, an empty one, or one that is before the channels' axis.
    """
    hint = "floating samples in [-1, 1]: scale integers first, e.g. pcm16 / 32768.0"
    _check(waveform, name, "floating", dtype=dtype, ndim=0, hint=hint)
    if waveform.ndim < 1 or waveform.shape[-1] < 1:
        raise ValueError(
            f"{name}.shape={tuple(waveform.shape)}: the last axis is time and needs a sample"
        )
    few, many = waveform.shape[-1], waveform.shape[-2] if waveform.ndim > 1 else 0
    if few <= _FEW_SAMPLES and many >= _MANY_CLIPS:
        raise ValueError(
            f"{name}.shape={tuple(waveform.shape)}: the last axis is time, and these are {many} "
            f"clips of {few}; use np.swapaxes({name}, -2, -1)"
        )


def check_complex(values: Any, name: str, *, ndim: int = 0) -> None:
    """Complex array: complex64 or complex128.

    Args:
        values: anything.
        name: what messages call it.
        ndim: fewest axes.

    Raises:
        TypeError: for what is no array, or not complex.
        ValueError: for fewer axes than ``ndim``.
    """
    hint = "complex coefficients; magnitudes need phase retrieval first, such as GriffinLim"
    _check(values, name, "complex", dtype=None, ndim=ndim, hint=hint)


def as_waveform(waveform: Any, name: str = "waveform") -> jax.Array:
    """Waveform as a JAX array, checked by :func:`check_floating_waveform`.

    Args:
        waveform: [..., time], float32 or float64.
        name: what messages call it.

    Returns:
        [..., time]; float64 becomes float32 without ``jax_enable_x64``.
    """
    check_floating_waveform(waveform, name)
    return jnp.asarray(waveform)


def as_floating(values: Any, name: str, *, ndim: int = 0) -> jax.Array:
    """Floating values as a JAX array, checked by :func:`check_floating`.

    Args:
        values: float32 or float64.
        name: what messages call it.
        ndim: fewest axes.

    Returns:
        The values, in their shape.
    """
    check_floating(values, name, ndim=ndim)
    return jnp.asarray(values)


def as_complex(values: Any, name: str, *, ndim: int = 0) -> jax.Array:
    """Complex values as a JAX array, checked by :func:`check_complex`.

    Args:
        values: complex64 or complex128.
        name: what messages call it.
        ndim: fewest axes.

    Returns:
        The values, in their shape.
    """
    check_complex(values, name, ndim=ndim)
    return jnp.asarray(values)


def on_host(values: Any, name: str, *, instead: str) -> np.ndarray:
    """Values in NumPy, for what runs on the host.

    Args:
        values: anything that NumPy takes.
        name: what messages call it.
        instead: what to do where they are traced, for the message.

    Returns:
        NumPy, without a copy where they are in the host's memory.

    Raises:
        TypeError: for traced values, in one line.
    """
    if isinstance(values, jax.core.Tracer):
        raise TypeError(
            f"{name} is traced: this runs on the host, outside jit, vmap and grad; {instead}"
        )
    return np.asarray(values)


def check_pair(prediction: Any, target: Any, *, ndim: int = 0) -> None:
    """Prediction and target of a loss or a metric, each checked by :func:`check_floating`.

    Args:
        prediction: anything.
        target: anything; that the shapes agree is for the caller to ask.
        ndim: fewest axes of both.
    """
    check_floating(prediction, "prediction", ndim=ndim)
    check_floating(target, "target", ndim=ndim)


def refuse_nan(values: Any, name: str) -> None:
    """NaN is refused, of which no integer code can tell.

    Args:
        values: floating; traced ones pass, for their values are not known yet.
        name: what messages call it.

    Raises:
        ValueError: for any NaN.
    """
    if isinstance(values, jax.core.Tracer):
        return
    with jax.ensure_compile_time_eval():  # also of what a function that is traced closes over
        found = bool(jnp.any(jnp.isnan(values)))
    if found:
        raise ValueError(f"{name}: some values are NaN, which have no code; find where they arose")


def check_codes(codes: Any, low: int, high: int) -> None:
    """Integer codes of a quantizer, in its range.

    Traced ones have no values yet; decoders give NaN for those out of range
    (:func:`codes_in_range`).

    Args:
        codes: anything.
        low: smallest code.
        high: largest code.

    Raises:
        TypeError: for what is no array of integers.
        ValueError: for codes out of range, unless they are traced.
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
    """Decoded values, NaN where their code is none; nothing is computed for concrete codes.

    Args:
        values: decoded, floating.
        codes: integers, the shape of the values.
        low: smallest code.
        high: largest code.

    Returns:
        The values, NaN where a traced code is out of range.
    """
    if not isinstance(codes, jax.core.Tracer):
        return values  # refused by check_codes
    # Compared in their own dtype, which may not hold the bounds.
    bounds = jnp.iinfo(codes.dtype)
    inside = (codes >= max(low, int(bounds.min))) & (codes <= min(high, int(bounds.max)))
    return jnp.where(inside, values, jnp.asarray(jnp.nan, values.dtype))


def check_positive_integers(**values: int | None) -> None:
    """Integers of at least 1, or None.

    Args:
        **values: by the names that messages call them.

    Raises:
        ValueError: for truth values, other types and what is below 1.
    """
    for name, value in values.items():
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            raise ValueError(f"{name}={value!r} must be an integer of at least 1")


def check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    """Checks a name against those that are known.

    Args:
        name: of the argument, for the message.
        value: anything.
        choices: the names.

    Raises:
        ValueError: for any other, with all that are known.
    """
    if value not in choices:
        raise ValueError(f"{name}={value!r} is unknown; use {', '.join(choices)}")


def check_rate(sample_rate: float) -> None:
    """Checks that a rate is positive and finite.

    Args:
        sample_rate: Hz.

    Raises:
        ValueError: if it is not.
    """
    if not 0 < sample_rate < math.inf:
        raise ValueError(f"sample_rate={sample_rate} must be positive and finite (Hz)")


def check_band(*, fmin: float, fmax: float, sample_rate: float) -> None:
    """Frequency band: ``0 <= fmin < fmax <= sample_rate / 2``.

    Args:
        fmin: lower end, Hz.
        fmax: upper end, Hz.
        sample_rate: Hz, positive.

    Raises:
        ValueError: otherwise.
    """
    check_rate(sample_rate)
    if not 0 <= fmin < fmax:
        raise ValueError(f"fmin={fmin} and fmax={fmax}: 0 <= fmin < fmax must hold (Hz)")
    if fmax > sample_rate / 2:
        raise ValueError(
            f"fmax={fmax} lies above half of sample_rate={sample_rate}; use fmax <= "
            f"{sample_rate / 2:g}"
        )
