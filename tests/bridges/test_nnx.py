"""NNX modules of all public layers, and their variables there and back."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from all_layers import CASES
from flax import nnx

import isincnet_jax as isn

SPEC = isn.FilterbankSpec(sample_rate=8000, hop_length=8, num_bins=17, shape="gauss")
QUICK = ("SincConv", "SincNet", "LappedBank decode", "InverseSTFT trainable")


def _noise(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).uniform(-0.5, 0.5, shape), jnp.float32)


def _energy(found):
    return sum((jnp.sum(jnp.abs(leaf) ** 2) for leaf in jax.tree.leaves(found)), jnp.zeros(()))


def _assert_same(ours, theirs):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        largest = np.max(np.abs(other), initial=0)
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5 * largest)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in QUICK else pytest.mark.tail) for name in CASES],
)
def test_every_layer(name, tmp_path):
    """Calls, gradients, split and merge, and a checkpoint, beside Linen's."""
    case = CASES[name]
    variables, inputs = dict(case.variables()), case._inputs(case.values())
    module = isn.to_nnx(case.build(), *inputs, rngs=nnx.Rngs(0), **case.options)

    layer, initial = isn.from_nnx(module)
    assert layer == case.build()
    _assert_same(jax.tree.map(jnp.shape, initial), jax.tree.map(jnp.shape, variables))
    module = isn.to_nnx(layer, variables=variables)
    _assert_same(isn.from_nnx(module)[1], variables)

    @nnx.jit
    def ours(module, *inputs):
        def loss(module):
            found = module(*inputs, **case.options)
            return _energy(found), found

        return nnx.grad(loss, has_aux=True)(module)

    @jax.jit
    def theirs(params, values):
        def loss(params):
            found = case.apply({**variables, "params": params}, values)
            return _energy(found), found

        return jax.grad(loss, has_aux=True)(params)

    slopes, found = ours(module, *inputs)
    wanted_slopes, wanted = theirs(variables.get("params", {}), inputs[0])
    _assert_same(found, wanted)
    _assert_same(nnx.to_pure_dict(slopes), wanted_slopes)

    definition, state = nnx.split(module)
    assert not nnx.to_flat_state(nnx.filter_state(state, nnx.RngState))
    again = nnx.merge(definition, state)
    assert isn.from_nnx(again)[0] == layer
    if not variables:
        return
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", state)
        checkpointer.wait_until_finished()
        blank = isn.to_nnx(layer, variables=jax.tree.map(jnp.zeros_like, variables))
        nnx.update(blank, checkpointer.restore(tmp_path / "state", nnx.state(blank)))
    _assert_same(isn.from_nnx(blank)[1], variables)


@pytest.mark.parametrize("name", [name for name in CASES if name.endswith(" decode")][:1])
def test_methods_are_those_of_the_layer(name):
    case = CASES[name]
    module = isn.to_nnx(case.build(), variables=case.variables())
    options = {key: value for key, value in case.options.items() if key != "method"}
    values = case.values()
    _assert_same(module.decode(values, **options), module(values, **case.options))


def test_fixed_filters_are_no_parameters():
    module = isn.to_nnx(isn.SincNet(SPEC), _noise(1, 64), rngs=nnx.Rngs(0))
    assert not nnx.to_flat_state(nnx.state(module, nnx.Param))
    fixed = nnx.state(module, nnx.variable_type_from_name("filterbank"))
    assert len(nnx.to_flat_state(fixed)) == len(nnx.to_flat_state(nnx.state(module))) == 2


def test_batch_statistics_are_kept_where_they_are_asked_for():
    layer = isn.EfficientLeafFrontend(
        num_filters=4, num_groups=2, pool_size=33, hop_length=16, sample_rate=8000
    )
    waveform = _noise(2, 300)
    module = isn.to_nnx(layer, waveform, rngs=jax.random.key(0))
    _, variables = isn.from_nnx(module)
    options = {"train": True, "mutable": ["batch_stats"]}
    wanted, changed = jax.jit(lambda variables: layer.apply(variables, waveform, **options))(
        variables
    )
    found = nnx.jit(lambda module: module(waveform, **options))(module)
    _assert_same(found, wanted)
    _, after = isn.from_nnx(module)
    _assert_same(after, {**variables, **changed})
    with pytest.raises(AssertionError):
        _assert_same(after, variables)


def test_an_exact_decoder_comes_and_goes():
    """Learned filters in NNX, their exact decoder in Linen, and back into NNX."""
    waveform = _noise(1, 200)
    net = isn.to_nnx(isn.SincNet(SPEC, learnable_filters=True), waveform, rngs=nnx.Rngs(0))
    learner = nnx.Optimizer(net, optax.sgd(1e-2), wrt=nnx.Param)

    @nnx.jit
    def step(net, learner):
        slopes = nnx.grad(lambda net: jnp.mean(jnp.abs(net.encode(waveform))))(net)
        learner.update(net, slopes)

    for _ in range(3):
        step(net, learner)

    @nnx.jit
    def error_of(net):
        return jnp.max(jnp.abs(net(waveform) - waveform))

    assert error_of(net) > 1e-3  # the decoder of the filters that training began with
    model, variables = isn.with_exact_decoder(*isn.from_nnx(net))
    exact = isn.to_nnx(model, variables=variables)
    assert error_of(exact) < 1e-5
    _assert_same(isn.from_nnx(exact)[1]["params"], isn.from_nnx(net)[1]["params"])


def test_a_codec_brings_its_variables():
    codec = isn.build_codec(isn.SincNet(SPEC))
    module = isn.to_nnx(codec)
    waveform = _noise(2, 100)
    spectrogram = codec.encode(waveform)
    encoded, decoded = nnx.jit(
        lambda module: (module.encode(waveform), module.decode(spectrogram, length=100))
    )(module)
    _assert_same(encoded, spectrogram)
    _assert_same(decoded, codec.decode(spectrogram, length=100))
    model, variables = isn.from_nnx(module)
    assert dataclasses.replace(codec, model=model, variables=variables) == codec


@pytest.mark.tail
def test_a_stored_vocoder_brings_its_variables():
    vocoder = isn.from_pretrained("22khz-speech-vocoder")
    module = isn.to_nnx(vocoder)
    magnitudes = jnp.abs(_noise(1, 8, vocoder.model.features.num_bins))
    wanted = vocoder.model.apply(vocoder.variables, magnitudes, method="synthesize")
    _assert_same(module.synthesize(magnitudes), wanted)


def test_states_of_the_same_layer_are_exchanged():
    layer = isn.SincConv(num_filters=4, kernel_size=33)
    module = isn.to_nnx(layer, _noise(1, 100), rngs=nnx.Rngs(0))
    _, variables = isn.from_nnx(module)
    doubled = jax.tree.map(lambda leaf: 2 * leaf, variables)
    nnx.update(module, nnx.state(isn.to_nnx(layer, variables=doubled)))
    _assert_same(isn.from_nnx(module)[1], doubled)


def test_what_flax_wrapped_itself_comes_back():
    layer, values = isn.MuLawCompression(trainable=True), _noise(1, 100)
    module: Any = nnx.bridge.ToNNX(layer, rngs=nnx.Rngs(0)).lazy_init(values)
    model, variables = isn.from_nnx(module)
    assert model == layer
    _assert_same(module(values), layer.apply(variables, values))


class TestRefusals:
    layer = isn.SincConv(num_filters=4, kernel_size=33)

    def test_nothing_to_make_variables_of(self):
        with pytest.raises(ValueError, match=r"SincConv: variables .* one of the two"):
            isn.to_nnx(self.layer, rngs=nnx.Rngs(0))

    def test_both(self):
        with pytest.raises(ValueError, match=r"SincConv: variables .* one of the two"):
            isn.to_nnx(self.layer, _noise(1, 100), rngs=nnx.Rngs(0), variables={})

    def test_no_keys(self):
        with pytest.raises(ValueError, match=r"an example needs rngs: give rngs=nnx.Rngs\(0\)"):
            isn.to_nnx(self.layer, _noise(1, 100))

    def test_what_is_no_layer(self):
        other: Any = nnx.Linear(2, 2, rngs=nnx.Rngs(0))
        with pytest.raises(TypeError, match=r"model is a Linear; a Linen module is needed"):
            isn.to_nnx(other)
        with pytest.raises(TypeError, match=r"module is a Linear, not made by isn.to_nnx"):
            isn.from_nnx(other)
