"""What every public layer promises: empty batches, strict modes of JAX, and what it refuses."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from all_layers import CASES

import isincnet_jax as isn

LONG = ("TokenCodec", "TokenCodec decode", "RefinedDecoder")  # to trace: seconds each
each_case = pytest.mark.parametrize("name", CASES)
each_traced = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.tail if name in LONG else ()) for name in CASES]
)


def test_no_layer_is_missing():
    """A new public layer needs a line in ``all_layers.CASES``."""
    from flax import linen as nn

    found = {name for name in isn.__all__ if _is_layer(getattr(isn, name), nn.Module)}
    assert found == {name.split()[0] for name in CASES}


def _is_layer(value, base):
    return isinstance(value, type) and issubclass(value, base)


def _gradient(case, variables, values):
    """The result, and the gradients for everything that is floating; codes have none."""

    def loss(variables, values):
        found = case.apply(variables, values)
        leaves = jax.tree.leaves(found)
        return sum((jnp.sum(jnp.abs(leaf) ** 2) for leaf in leaves), start=jnp.zeros(())), found

    argnums = (0,) if case.kind == "codes" else (0, 1)
    gradients, found = jax.grad(loss, argnums, has_aux=True)(variables, values)
    return found, gradients


@each_traced
def test_an_empty_batch_gives_an_empty_batch_and_no_rank_is_promoted(name):
    """Both are found while tracing, the gradient's program included: nothing is compiled."""
    case = CASES[name]
    variables = case.variable_shapes()
    with jax.numpy_rank_promotion("raise"):
        one = jax.eval_shape(case.apply, variables, case.values(1))
        none, _ = jax.eval_shape(functools.partial(_gradient, case), variables, case.values(0))
    for single, empty in zip(jax.tree.leaves(one), jax.tree.leaves(none), strict=True):
        assert empty.shape == (0, *single.shape[1:])
        assert empty.dtype == single.dtype


@pytest.mark.quick(0)
@each_case
def test_an_empty_batch_runs(name):
    case = CASES[name]
    program = jax.jit(functools.partial(_gradient, case))
    found, (parameters, *_) = program(case.variables(), case.values(0))
    assert all(leaf.shape[0] == 0 for leaf in jax.tree.leaves(found))
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(parameters))


@pytest.mark.quick(0)
@each_case
def test_gradients_on_silence_under_debugging_modes(name):
    case = CASES[name]
    variables, values = case.variables(), case.values(silent=True)
    with jax.debug_nans(True), jax.debug_infs(True):
        _, found = jax.jit(functools.partial(_gradient, case))(variables, values)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(found))


@pytest.mark.quick(0)
@pytest.mark.parametrize("name", [name for name in CASES if CASES[name].kind != "codes"])
def test_nan_is_never_hidden(name):
    """One NaN in a clip: its result has some, and that of its neighbour has none."""
    case = CASES[name]
    variables, values = case.variables(), np.array(case.values())
    place = (0, *(size // 2 for size in case.shape))
    values[place] = np.nan
    found = [np.asarray(leaf) for leaf in jax.tree.leaves(jax.jit(case.apply)(variables, values))]
    if name.startswith("TokenCodec"):  # its codes are constants: no number can be NaN in a code
        return
    assert any(np.isnan(leaf[0]).any() for leaf in found)
    assert not any(np.isnan(leaf[1]).any() for leaf in found)


def _trace(case, values):
    """Values stay as they are, closed over: refused before anything is compiled."""
    return jax.eval_shape(lambda variables: case.apply(variables, values), case.variable_shapes())


def _dtypes(case):
    if case.kind == "codes":
        return [np.float32, np.bool_, np.complex64]
    if case.kind == "spectrum":
        return [np.float32, np.int16]
    return [np.int16, np.bool_, np.float16, jnp.bfloat16, np.complex64]


@each_case
def test_other_dtypes_are_refused(name):
    """One rule for all: float32 or float64; integers, narrow floats and complex ones are not."""
    case = CASES[name]
    values = np.asarray(case.values())
    for dtype in _dtypes(case):
        wrong = (values.real if case.kind == "spectrum" else values).astype(dtype)
        with pytest.raises(TypeError, match=r"dtype=.*(needed|codes are integers|works in)"):
            _trace(case, wrong)


@each_case
def test_other_byte_orders_and_lists_are_refused(name):
    case = CASES[name]
    values = np.asarray(case.values())
    with pytest.raises(TypeError, match="another machine's byte order"):
        _trace(case, values.astype(values.dtype.newbyteorder()))
    with pytest.raises(TypeError, match="is a list: NumPy and JAX arrays are taken"):
        _trace(case, values.tolist())
