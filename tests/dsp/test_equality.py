"""Pytrees with arrays are compared by their values."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import isincnet_jax as isn
from isincnet_jax.dsp.equality import equal_by_value
from isincnet_jax.training.state import create_state

SPEC = isn.FilterbankSpec(sample_rate=8000, hop_length=8, num_bins=17)


def test_codecs():
    codec = isn.build_codec(isn.SincNet(SPEC))
    assert codec == codec
    assert codec == jax.tree.map(jnp.array, codec)
    assert codec == isn.build_codec(isn.SincNet(SPEC))
    assert codec != codec.replace(name="other")
    assert codec != isn.build_codec(isn.SincNet(SPEC.replace(hop_length=4)))
    changed = jax.tree.map(lambda leaf: leaf + 1, codec)
    assert codec != changed
    assert codec != "16khz-linear"
    assert [codec].index(codec) == 0
    with pytest.raises(TypeError, match="unhashable"):
        hash(codec)


def test_quantizers():
    first = isn.Quantizer(np.ones(3, np.float32), 8)
    assert first == isn.Quantizer(jnp.ones(3), 8)
    assert first != isn.Quantizer(np.ones(2, np.float32), 8)
    assert first != isn.Quantizer(np.ones(3, np.float64), 8)
    assert first != isn.Quantizer(np.ones(3, np.float32), 7)
    unknown = isn.Quantizer(np.full(3, np.nan, np.float32), 8)
    assert unknown == isn.Quantizer(np.full(3, np.nan, np.float32), 8)


def test_traced_leaves():
    codec = isn.build_codec(isn.SincNet(SPEC))

    @jax.jit
    def compare(one):
        return jnp.asarray([one == one, one == codec])

    assert compare(codec).tolist() == [True, False]


def test_states_of_a_training():
    variables = isn.SincNet(SPEC, learnable_filters=True).init(jax.random.key(0), jnp.zeros((1, 8)))
    states = [create_state(variables, optax.adam(0.1), key=jax.random.key(k)) for k in (0, 0, 1)]
    assert states[0] == states[1]
    assert states[0] != states[2]


def test_typed_keys():
    class Holder:
        __eq__ = equal_by_value
        __hash__ = None

        def __init__(self, key):
            self.key = key

    jax.tree_util.register_pytree_node(
        Holder, lambda one: ((one.key,), None), lambda _, children: Holder(*children)
    )
    assert Holder(jax.random.key(1)) == Holder(jax.random.key(1))
    assert Holder(jax.random.key(1)) != Holder(jax.random.key(2))
