"""Logarithm and mu law against NumPy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from isincnet_jax.frontends.compression import LogCompression, MuLawCompression

KEY = jax.random.key(0)


@pytest.mark.parametrize("trainable", [False, True])
def test_log_is_the_logarithm(trainable, rng):
    values = rng.random((2, 7, 4)).astype(np.float32) ** 8
    layer = LogCompression(eps=1e-5, trainable=trainable)
    variables = jax.jit(layer.init)(KEY, values)
    assert (variables == {}) is not trainable
    wanted = np.log(values.astype(float) + 1e-5)
    np.testing.assert_allclose(jax.jit(layer.apply)(variables, values), wanted, atol=5e-6)
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(layer.apply(variables, x))))(jnp.zeros((3, 4)))
    np.testing.assert_allclose(gradient, 1e5, rtol=1e-5)


def test_learned_log_scales_and_offsets_every_band(rng):
    values = rng.random((5, 3)).astype(np.float32)
    scale, offset = rng.standard_normal((2, 3)).astype(np.float32)
    variables = {"params": {"log_scale": jnp.asarray(scale), "offset": jnp.asarray(offset)}}
    found = jax.jit(LogCompression(eps=0.01, trainable=True).apply)(variables, values)
    wanted = np.log(values * np.exp(scale) + 0.01) + offset
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("trainable", [False, True])
def test_mu_law_is_the_formula(trainable, rng):
    values = rng.uniform(-1, 1, (4, 3)).astype(np.float32)
    layer = MuLawCompression(mu=100.0, trainable=trainable)
    variables = jax.jit(layer.init)(KEY, values)
    assert (variables == {}) is not trainable
    wanted = np.sign(values) * np.log1p(100 * np.abs(values)) / np.log(101)
    np.testing.assert_allclose(jax.jit(layer.apply)(variables, values), wanted, atol=1e-6)


def test_trained_mu_law_has_its_slope_at_zero_and_moves_mu():
    layer = MuLawCompression(trainable=True)
    zeros = jnp.zeros((2, 3), jnp.float32)
    variables = jax.jit(layer.init)(KEY, zeros)
    slope = jax.jit(jax.grad(lambda x: jnp.sum(layer.apply(variables, x))))(zeros)
    np.testing.assert_allclose(slope, 255 / np.log(256), rtol=1e-5)
    gradient = jax.jit(jax.grad(lambda v: jnp.sum(layer.apply(v, zeros + 0.1))))(variables)
    assert np.all(np.asarray(gradient["params"]["log_mu"]) > 0)


def test_bad_arguments_are_refused():
    for layer, name in ((LogCompression, "eps"), (MuLawCompression, "mu")):
        for value in (0.0, -1.0, float("nan")):
            with pytest.raises(ValueError, match=f"{name}="):
                layer(**{name: value})
        with pytest.raises(TypeError, match="float32 or float64, are needed"):
            layer().apply({}, jnp.zeros(3, jnp.int32))
