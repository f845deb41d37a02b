"""FFTs against NumPy's in double precision, their derivatives, and their programs on 8 devices."""

from __future__ import annotations

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from isincnet_jax.dsp import batched_fft

EPS = np.finfo(np.float32).eps

# ours, NumPy's, and whether the input is complex; odd and even, cut and followed by zeros
CASES = {
    "fft": (batched_fft.fft, np.fft.fft, True),
    "fft 40": (lambda x: batched_fft.fft(x, 40), lambda x: np.fft.fft(x, 40), True),
    "ifft": (batched_fft.ifft, np.fft.ifft, True),
    "rfft": (batched_fft.rfft, np.fft.rfft, False),
    "rfft 29": (lambda x: batched_fft.rfft(x, 29), lambda x: np.fft.rfft(x, 29), False),
    "rfft 33": (lambda x: batched_fft.rfft(x, 33), lambda x: np.fft.rfft(x, 33), False),
    "rfft 1": (lambda x: batched_fft.rfft(x, 1), lambda x: np.fft.rfft(x, 1), False),
    "irfft 58": (lambda x: batched_fft.irfft(x, 58), lambda x: np.fft.irfft(x, 58), True),
    "irfft 7": (lambda x: batched_fft.irfft(x, 7), lambda x: np.fft.irfft(x, 7), True),
    "irfft 90": (lambda x: batched_fft.irfft(x, 90), lambda x: np.fft.irfft(x, 90), True),
}
every = pytest.mark.parametrize("name", CASES)


def _values(rng, *, is_complex, shape=(16, 3, 30)):
    real = rng.standard_normal(shape).astype(np.float32)
    return (real + 1j * real[::-1]).astype(np.complex64) if is_complex else real


def _assert_near(found, wanted, *, digits=8):
    assert found.shape == wanted.shape
    assert np.max(np.abs(found - wanted)) < digits * EPS * np.max(np.abs(wanted))


@every
def test_they_are_numpys(name, rng):
    ours, numpys, is_complex = CASES[name]
    values = _values(rng, is_complex=is_complex)
    found = ours(values)
    wanted = numpys(values.astype(np.complex128 if is_complex else np.float64))
    assert found.dtype == (np.complex64 if np.iscomplexobj(wanted) else np.float32)
    _assert_near(found, wanted)
    _assert_near(jax.vmap(ours, in_axes=1, out_axes=1)(values), wanted)


def test_double_precision(rng, x64):
    values = rng.standard_normal((2, 9))
    assert np.max(np.abs(batched_fft.rfft(values) - np.fft.rfft(values))) < 1e-14


def test_other_numbers_are_refused():
    for dtype in (jnp.float16, jnp.bfloat16, jnp.int32):
        with pytest.raises(TypeError, match=r"dtype=.* has no FFT; use float32"):
            batched_fft.rfft(jnp.zeros((2, 8), dtype))
    with pytest.raises(TypeError, match="RFFT of complex64; use rfft for real values"):
        batched_fft.rfft(jnp.zeros((2, 8), jnp.complex64))


@pytest.mark.quick(4)
@every
def test_derivatives_are_those_of_a_matrix(name, rng):
    """Forward and backward: the transform is a matrix, found by transforming unit vectors."""
    ours, numpys, is_complex = CASES[name]
    values, tangent = _values(rng, is_complex=is_complex, shape=(2, 2, 30))[:, 0]
    units = np.eye(30)
    columns = [numpys(unit * factor) for factor in (1, 1j)[: 1 + is_complex] for unit in units]
    matrix = np.stack(columns, axis=-1)  # of real parts, then of imaginary ones

    def parts(vector):
        return np.concatenate([vector.real, vector.imag]) if is_complex else vector

    _, forward = jax.jvp(ours, (values,), (tangent,))
    _assert_near(forward, matrix @ parts(tangent))
    cotangent = rng.standard_normal(matrix.shape[0]).astype(np.float32)
    if np.iscomplexobj(matrix):
        cotangent = (cotangent + 1j * cotangent[::-1]).astype(np.complex64)
    # jax.vjp has <c, A x> = Re sum c A x, bilinear; its complex gradient is of x, not its conjugate
    (backward,) = jax.vjp(ours, values)[1](jnp.asarray(cotangent))
    wanted = np.real(cotangent @ matrix)
    _assert_near(backward, wanted[:30] - 1j * wanted[30:] if is_complex else wanted)
    # second derivatives of the energy are constant: A^T A
    hessian = jax.jvp(jax.grad(lambda x: jnp.sum(jnp.abs(ours(x)) ** 2)), (values,), (tangent,))[1]
    curved = 2 * np.real(np.conj(matrix).T @ (matrix @ parts(tangent)))
    _assert_near(hessian, curved[:30] - 1j * curved[30:] if is_complex else curved, digits=32)


@pytest.fixture
def mesh():
    return Mesh(np.asarray(jax.devices()), ("data",))


def _program(function, *arguments):
    return jax.jit(function).lower(*arguments).compile().as_text()


@pytest.mark.quick(4)
@every
def test_sharded_batches_stay_where_they_are(name, rng, mesh):
    ours, _, is_complex = CASES[name]
    values = _values(rng, is_complex=is_complex)
    split = jax.device_put(values, NamedSharding(mesh, PartitionSpec("data")))

    def gradient(x):
        return jax.grad(lambda x: jnp.sum(jnp.abs(ours(x)) ** 4))(x)

    for function in (ours, gradient, jax.vmap(ours, in_axes=1)):
        assert "all-gather" not in _program(function, split)
    found = jax.jit(ours)(split)
    assert found.sharding.is_equivalent_to(split.sharding, found.ndim)
    _assert_near(found, np.asarray(ours(values)))
    assert ours(split).sharding.is_equivalent_to(split.sharding, found.ndim)  # not jitted


@pytest.mark.tail
@pytest.mark.parametrize("spec", [("a", "b"), (("a", "b"),), (None, None, "a"), ("a", None, "b")])
def test_other_shardings(spec, rng):
    """Any axes may be split; a last one that is comes together, and only over its own devices."""
    mesh = Mesh(np.asarray(jax.devices()).reshape(4, 2), ("a", "b"))
    values = rng.standard_normal((16, 2, 32)).astype(np.float32)
    split = jax.device_put(values, NamedSharding(mesh, PartitionSpec(*spec)))
    assert ("all-gather" in _program(batched_fft.rfft, split)) == (len(spec) == 3)
    found = jax.jit(batched_fft.rfft)(split)
    _assert_near(found, np.fft.rfft(values))


def test_one_device_has_the_plain_operation():
    text = jax.jit(batched_fft.rfft).lower(jnp.zeros((2, 8), jnp.float32)).as_text()
    assert "stablehlo.fft" in text
    assert "custom_call" not in text


@pytest.mark.tail
def test_in_shard_map_pmap_and_map(rng, mesh):
    values = rng.standard_normal((8, 2, 30)).astype(np.float32)
    wanted = np.fft.rfft(values)
    everywhere = PartitionSpec("data")
    mapped = jax.shard_map(batched_fft.rfft, mesh=mesh, in_specs=everywhere, out_specs=everywhere)
    split = jax.device_put(values, NamedSharding(mesh, everywhere))
    _assert_near(jax.jit(mapped)(split), wanted)
    assert "all-gather" not in _program(mapped, split)
    _assert_near(jax.pmap(batched_fft.rfft)(values), wanted)

    def one_after_the_other(values):
        return jax.lax.map(batched_fft.rfft, jnp.swapaxes(values, 0, 1))

    _assert_near(jax.jit(one_after_the_other)(split), wanted.swapaxes(0, 1))
    assert "all-gather" not in _program(one_after_the_other, split)


def test_exports_hold_the_plain_operation(rng, mesh):
    """For one device and for eight, with symbolic shapes and without."""
    values = rng.standard_normal((16, 30)).astype(np.float32)
    split = jax.device_put(values, NamedSharding(mesh, PartitionSpec("data")))
    shape = jax.export.symbolic_shape("batch, 30")
    for argument in (values, split, jax.ShapeDtypeStruct(shape, np.float32)):
        exported = jax.export.export(jax.jit(batched_fft.rfft))(argument)
        assert "Partitioning" not in exported.mlir_module()
        given = split if exported.nr_devices == 8 else values
        _assert_near(jax.jit(exported.call)(given), np.fft.rfft(values))
