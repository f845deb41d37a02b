"""What every public layer promises: empty batches, strict modes of JAX, and what it refuses."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from all_layers import CASES

import isincnet_jax as isn

each_case = pytest.mark.parametrize("name", CASES)


def test_no_layer_is_missing():
    """A new public layer needs a line in ``all_layers.CASES``."""
    from flax import linen as nn

    found = {name for name in isn.__all__ if _is_layer(getattr(isn, name), nn.Module)}
    assert found == {name.split()[0] for name in CASES}


def _is_layer(value, base):
    return isinstance(value, type) and issubclass(value, base)


def _gradient(case, variables, values):
    """Of everything that is floating; codes have none."""
    return jax.grad(case.loss, argnums=0 if case.kind == "codes" else (0, 1))(variables, values)


@pytest.fixture
def no_rank_promotion():
    with jax.numpy_rank_promotion("raise"):
        yield


@each_case
@pytest.mark.usefixtures("no_rank_promotion")
def test_ranks_are_never_promoted(name):
    """Promotion is found while tracing: nothing is compiled but what makes the variables."""
    case = CASES[name]
    variables, values = case.variables(), case.values()
    jax.eval_shape(case.apply, variables, values)
    jax.eval_shape(lambda *given: _gradient(case, *given), variables, values)


@each_case
def test_an_empty_batch_gives_an_empty_batch(name):
    case = CASES[name]
    variables = case.variables()
    empty = jax.eval_shape(case.apply, variables, case.values(0))
    for one, none in zip(
        jax.tree.leaves(jax.eval_shape(case.apply, variables, case.values(1))),
        jax.tree.leaves(empty),
        strict=True,
    ):
        assert none.shape == (0, *one.shape[1:])
        assert none.dtype == one.dtype
    jax.eval_shape(lambda *given: _gradient(case, *given), variables, case.values(0))


@pytest.mark.slow
@each_case
def test_an_empty_batch_runs(name):
    case = CASES[name]
    variables = case.variables()

    @jax.jit
    def both(variables, values):
        return case.apply(variables, values), _gradient(case, variables, values)

    found, gradient = both(variables, case.values(0))
    assert all(leaf.shape[0] == 0 for leaf in jax.tree.leaves(found))
    parameters = gradient if case.kind == "codes" else gradient[0]
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(parameters))


@pytest.mark.slow
@each_case
@pytest.mark.parametrize("mode", [jax.debug_nans, jax.debug_infs])
def test_gradients_on_silence_under_debugging_modes(name, mode):
    case = CASES[name]
    variables, values = case.variables(), case.values(silent=True)
    with mode(True):
        found = jax.jit(lambda *given: _gradient(case, *given))(variables, values)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(found))


@pytest.mark.slow
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
    variables, values = case.variables(), np.asarray(case.values())
    for dtype in _dtypes(case):
        wrong = (values.real if case.kind == "spectrum" else values).astype(dtype)
        with pytest.raises(TypeError, match=r"dtype=.*(needed|codes are integers|works in)"):
            case.apply(variables, wrong)


@each_case
def test_other_byte_orders_and_lists_are_refused(name):
    case = CASES[name]
    variables, values = case.variables(), np.asarray(case.values())
    with pytest.raises(TypeError, match="another machine's byte order"):
        case.apply(variables, values.astype(values.dtype.newbyteorder()))
    with pytest.raises(TypeError, match="is a list: NumPy and JAX arrays are taken"):
        case.apply(variables, values.tolist())
