"""Fast Fourier transforms along the last axis that split with a sharded batch.

``jnp.fft`` computes the same on one device. Where ``jax.jit`` splits a program over several, XLA
does not know that the transforms of a batch are independent: it gathers the whole batch on every
device and transforms all of it there. Here the sharding of all axes but the last is kept; a last
axis that is split is gathered, for the transform needs it whole.

The transforms are a primitive of JAX, linear, for ``jit``, ``vmap``, ``jvp``, ``grad`` and
``shard_map``. On one device, in exports and inside ``pmap`` or ``shard_map`` it is the plain
operation, and nothing else stands in the program. Backward, a real transform is a real inverse one
of half the products; ``jnp.fft.rfft`` pads to a complex one.

References:
    JAX documentation, "jax.experimental.custom_partitioning module",
        https://docs.jax.dev/en/latest/jax.experimental.custom_partitioning.html
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Complex, Float

from isincnet_jax.typing import Array


def fft(values: Complex[Array, "... m"], n: int | None = None) -> Complex[jax.Array, "... n"]:
    """Discrete Fourier transform ``X[k] = sum_m x[m] exp(-2 pi i k m / n)``, as ``jnp.fft.fft``.

    Args:
        values: complex [..., m].
        n: samples that are transformed, m if None: values are cut, or followed by zeros.

    Returns:
        Complex [..., n].

    Raises:
        TypeError: for other dtypes than complex64 and complex128.

    Example:
        >>> fft(jnp.ones((2, 4), jnp.complex64))[0]
        Array([4.+0.j, 0.+0.j, 0.+0.j, 0.+0.j], dtype=complex64)
    """
    length = values.shape[-1] if n is None else n
    return _transform(_resized(values, length), "FFT", length)


def ifft(values: Complex[Array, "... n"]) -> Complex[jax.Array, "... n"]:
    """Inverse of :func:`fft`, with its factor 1 / n, as ``jnp.fft.ifft``.

    Args:
        values: complex [..., n].

    Returns:
        Complex [..., n].

    Raises:
        TypeError: for other dtypes than complex64 and complex128.
    """
    return _transform(values, "IFFT", values.shape[-1])


def rfft(values: Float[Array, "... m"], n: int | None = None) -> Complex[jax.Array, "... bins"]:
    """Bins 0 to ``n // 2`` of :func:`fft` of real values, as ``jnp.fft.rfft``.

    Args:
        values: floating [..., m].
        n: samples that are transformed, m if None: values are cut, or followed by zeros.

    Returns:
        Complex [..., n // 2 + 1].

    Raises:
        TypeError: for other dtypes than float32 and float64.
    """
    length = values.shape[-1] if n is None else n
    return _transform(_resized(values, length), "RFFT", length)


def irfft(spectrum: Complex[Array, "... bins"], n: int) -> Float[jax.Array, "... n"]:
    """Inverse of :func:`rfft`, as ``jnp.fft.irfft``; imaginary parts of the end bins are ignored.

    Args:
        spectrum: complex [..., bins]; cut to ``n // 2 + 1`` bins, or followed by zeros.
        n: samples of the result.

    Returns:
        Floating [..., n].

    Raises:
        TypeError: for other dtypes than complex64 and complex128.
    """
    return _transform(_resized(spectrum, n // 2 + 1), "IRFFT", n)


def _resized(values: Any, length: int) -> Any:
    """The last axis cut, or followed by zeros."""
    lacking = length - values.shape[-1]
    if lacking > 0:
        return jnp.pad(jnp.asarray(values), [(0, 0)] * (values.ndim - 1) + [(0, lacking)])
    return values[..., :length] if lacking < 0 else values


_transform_p = Primitive("batched_fft")


def _transform(values: Any, kind: str, length: int) -> Any:
    return _transform_p.bind(jnp.asarray(values), kind=kind, length=length, devices=_devices())


@functools.cache
def _devices() -> Any:
    """A parameter by which JAX tells the lowering its devices; None where there is one.

    It does so for programs that contain ``custom_partitioning`` somewhere.
    """
    if jax.device_count() == 1:
        return None
    return jax.make_jaxpr(_partitioned("FFT", 1))(jax.ShapeDtypeStruct((1,), np.complex64))


def _plain(values: Any, *, kind: str, length: int) -> jax.Array:
    return lax.fft(values, getattr(lax.FftType, kind), (length,))


@_transform_p.def_abstract_eval
def _result(values: Any, *, kind: str, length: int, devices: Any) -> Any:
    del devices
    is_real = kind == "RFFT"
    known = (np.float32, np.float64) if is_real else (np.complex64, np.complex128)
    if values.dtype not in known:
        if values.dtype in (np.complex64, np.complex128, np.float32, np.float64):
            other = "rfft for real values, fft, ifft and irfft for complex ones"
            raise TypeError(f"{kind} of {values.dtype}; use {other}")
        raise TypeError(f"dtype={values.dtype} has no FFT; use float32 or float64")
    narrow = values.dtype == known[0]
    if kind == "IRFFT":
        dtype = np.float32 if narrow else np.float64
    else:
        dtype = np.complex64 if narrow else np.complex128
    last = length // 2 + 1 if kind == "RFFT" else length
    return values.update(shape=(*values.shape[:-1], last), dtype=np.dtype(dtype), weak_type=False)


_transform_p.def_impl(jax.jit(_transform_p.bind, static_argnames=("kind", "length", "devices")))


def _transposed(cotangent: Any, values: Any, *, kind: str, length: int, devices: Any) -> list[Any]:
    """The transposed transform of a cotangent; products are not conjugated."""
    del values, devices
    if type(cotangent) is ad.Zero:
        return [None]
    if kind in ("FFT", "IFFT"):
        return [_transform(cotangent, kind, length)]
    bins = length // 2 + 1
    # In the sum over all n bins those between 0 and n / 2 stand twice.
    twice = np.full(bins, 2.0)
    twice[0] = 1.0
    if length % 2 == 0:
        twice[-1] = 1.0
    if kind == "RFFT":
        # x[m] = Re sum_k c[k] exp(-2 pi i k m / n) = irfft of n conj(c) / twice
        weight = jnp.asarray(length / twice, cotangent.real.dtype)
        return [_transform(jnp.conj(cotangent) * _matched(weight, cotangent), "IRFFT", length)]
    # c[k] = (twice / n) sum_m x[m] exp(2 pi i k m / n)
    weight = jnp.asarray(twice / length, cotangent.dtype)
    spectrum = _transform(cotangent, "RFFT", length)
    return [jnp.conj(spectrum) * _matched(weight, spectrum)]


def _matched(weight: jax.Array, spectrum: jax.Array) -> jax.Array:
    weight = jnp.asarray(weight, spectrum.dtype)
    return jnp.expand_dims(weight, tuple(range(spectrum.ndim - 1)))


def _batched(arguments: Any, axes: Any, **options: Any) -> tuple[Any, int]:
    (values,), (axis,) = arguments, axes
    return _transform_p.bind(jnp.moveaxis(values, axis, 0), **options), 0


ad.deflinear2(_transform_p, _transposed)
batching.primitive_batchers[_transform_p] = _batched


@functools.cache
def _partitioned(kind: str, length: int) -> Any:
    """The transform with the rule by which XLA's partitioners split it."""
    from jax.experimental.custom_partitioning import custom_partitioning  # noqa: PLC0415

    def plain(values: Any) -> jax.Array:
        return _plain(values, kind=kind, length=length)

    def infer(mesh: Any, arguments: Any, result: Any) -> Any:
        del mesh, result
        return _batch_kept(arguments[0])

    def partition(mesh: Any, arguments: Any, result: Any) -> Any:
        del result
        kept = _batch_kept(arguments[0])
        return mesh, plain, kept, (kept,)

    transform = custom_partitioning(plain)
    transform.def_partition(
        partition,
        infer_sharding_from_operands=infer,
        sharding_rule="... n -> ... k",
        need_replication_factors=("n", "k"),
    )
    return transform


def _batch_kept(argument: Any) -> Any:
    """The sharding of an array, its last axis whole."""
    sharding = argument.sharding
    if not isinstance(sharding, jax.sharding.NamedSharding):  # Shardy has asked for a whole one
        return sharding
    spec = (*sharding.spec, *[None] * (len(argument.shape) - len(sharding.spec)))
    return jax.sharding.NamedSharding(sharding.mesh, jax.sharding.PartitionSpec(*spec[:-1], None))


def _lower(context: Any, values: Any, *, kind: str, length: int, devices: Any) -> Any:
    module = context.module_context
    # What jit splits the program over; pmap and shard_map have none.
    split_over = getattr(module.axis_context, "device_assignment", None) or ()
    exported = getattr(module.lowering_parameters, "for_export", False)
    if devices is None or len(split_over) < 2 or exported:
        transform = functools.partial(_plain, kind=kind, length=length)
    else:
        transform = _partitioned(kind, length)
    return mlir.lower_fun(transform, multiple_results=False)(context, values)


mlir.register_lowering(_transform_p, _lower)
