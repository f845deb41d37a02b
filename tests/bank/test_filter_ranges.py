"""A rate that destroys banks: refused, or its steps projected; the exact decoder afterwards."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import isincnet_jax as isn
from isincnet_jax.bank import filter_ranges

LINEAR = isn.FilterbankSpec(sample_rate=16_000, hop_length=32, num_bins=65)
MEL = isn.FilterbankSpec(sample_rate=16_000, hop_length=32, num_bins=65, scale="mel")
KEY = jax.random.key(0)
NOISE = jax.random.normal(jax.random.key(1), (2, 2000))


def _trained(model, *, project=lambda params: params):
    """20 steps of Adam at 1e-2 towards silence, disturbed so that bands move both ways."""
    variables = jax.jit(model.init)(KEY, NOISE)
    optimizer = optax.adam(1e-2)

    @jax.jit
    def step(params, state, key):
        def loss(params):
            found = model.apply({**variables, "params": params}, NOISE, method="encode")
            return jnp.mean(found**2)

        gradients = jax.tree.map(
            lambda leaf: leaf + 1e-3 * jax.random.normal(key, leaf.shape), jax.grad(loss)(params)
        )
        updates, state = optimizer.update(gradients, state, params)
        return project(optax.apply_updates(params, updates)), state

    params = variables["params"]
    state = optimizer.init(params)
    with jax.numpy_dtype_promotion("standard"):  # optax raises floats to integer powers
        for number in range(20):
            params, state = step(params, state, jax.random.key(number))
    return {**variables, "params": params}


def _snr_db(model, variables):
    again = jax.jit(model.apply)(variables, NOISE)
    return float(10 * jnp.log10(jnp.sum(NOISE**2) / jnp.sum((again - NOISE) ** 2)))


@pytest.mark.quick(0)
@pytest.mark.parametrize("spec", [LINEAR, MEL], ids=["linear", "mel"])
def test_adam_at_1e_2_and_the_bank_still_inverts(spec):
    model = isn.SincNet(spec, learnable_filters=True)
    project = functools.partial(filter_ranges.project_parameters, model)
    variables = _trained(model, project=project)
    start = model.init(KEY, NOISE[:, :32])["params"]["analysis"]
    moved = np.abs(variables["params"]["analysis"]["center"] - start["center"])
    assert np.mean(moved) > 1e-4  # it does learn
    assert _snr_db(*isn.with_exact_decoder(model, variables)) > 95


@pytest.mark.quick(0)
def test_without_it_the_decoder_says_which_rate_to_use():
    model = isn.SincNet(MEL, learnable_filters=True)
    variables = _trained(model)
    message = r"cannot be inverted .*learning rate of the filters of at most 6e-05.*project_param"
    with pytest.warns(isn.NotInvertibleWarning, match=message):
        isn.with_exact_decoder(model, variables)
    with pytest.raises(ValueError, match=message):
        isn.with_exact_decoder(model, variables, isn.DecoderSpec("least_squares"))


def test_rates_at_which_bands_change_places():
    model = isn.SincNet(MEL, learnable_filters=True)
    filter_ranges.check_rate(model, 1e-3)
    with pytest.raises(ValueError, match=r"0.01 of the filters.*filter_learning_rate <= 6e-05"):
        filter_ranges.check_rate(model, 1e-2)
    for other in (False, "free"):
        filter_ranges.check_rate(isn.SincNet(MEL, learnable_filters=other), 1e-2)


@pytest.mark.quick(0)
def test_ranges_keep_the_order_and_contain_the_start():
    model = isn.SincNet(MEL, learnable_filters=True)
    start = model.init(KEY, NOISE[:, :32])["params"]["analysis"]
    for name, (low, high) in filter_ranges.filter_ranges(model).items():
        assert np.all(low <= start[name] + 1e-6)
        assert np.all(start[name] <= high + 1e-6)
    low, high = filter_ranges.filter_ranges(model)["center"]
    assert np.all(high[:-1] < low[1:])


def test_projection_finds_the_bank_wherever_it_is():
    model = isn.SincNet(LINEAR, learnable_filters=True)
    far = {"center": jnp.full(65, 0.5), "bandwidth": jnp.full(65, -1.0), "window": jnp.ones(2)}
    own = filter_ranges.project_parameters(model, {"analysis": far})["analysis"]
    low, high = filter_ranges.filter_ranges(model)["center"]
    np.testing.assert_allclose(own["center"], np.clip(0.5, low, high), atol=1e-7)
    assert np.all(np.asarray(own["bandwidth"]) > 0)
    np.testing.assert_array_equal(own["window"], far["window"])
    nested = {"params": {"bank": {"analysis": far}, "center": far["center"]}}
    found = filter_ranges.project_parameters(model, nested)["params"]
    np.testing.assert_array_equal(found["bank"]["analysis"]["center"], own["center"])
    np.testing.assert_array_equal(found["center"], far["center"])
    with pytest.raises(ValueError, match="learnable_filters=False"):
        filter_ranges.filter_ranges(isn.SincNet(LINEAR))


@pytest.mark.parametrize("learnable_filters", [False, True, "free"])
@pytest.mark.parametrize("learnable_decoder", [False, True])
def test_exact_decoder_of_a_bank_that_has_only_encoded(learnable_filters, learnable_decoder):
    spec = isn.FilterbankSpec(sample_rate=8000, hop_length=8, num_bins=17, scale="erb")
    model = isn.SincNet(
        spec, learnable_filters=learnable_filters, learnable_decoder=learnable_decoder
    )
    encoded = jax.jit(functools.partial(model.init, method="encode"))(KEY, NOISE)
    assert _snr_db(*isn.with_exact_decoder(model, encoded)) > 110
