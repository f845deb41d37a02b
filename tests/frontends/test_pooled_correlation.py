"""Pooled correlation against dense sums and maxima in float64."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isincnet_jax.frontends import pooled_correlation, symmetric_correlation
from isincnet_jax.frontends.sinc_conv import SincConv


def _bank(rng, symmetry, channels=16, taps=65):
    kernels = rng.standard_normal((channels, taps))
    evens = channels // 2 if symmetry == "even_odd" else channels
    sign = np.where(np.arange(channels) < evens, 1.0, -1.0)[:, None]
    return kernels if symmetry == "none" else kernels + sign * kernels[:, ::-1]


def _dense(signal, kernels, pool):
    frames = np.lib.stride_tricks.sliding_window_view(signal, kernels.shape[1], axis=-1)
    magnitudes = np.abs(frames @ kernels.T)
    count = magnitudes.shape[-2] // pool
    kept = magnitudes[..., : count * pool, :]
    return kept.reshape(*kept.shape[:-2], count, pool, len(kernels)).max(axis=-2)


@pytest.mark.quick(0)
@pytest.mark.parametrize("symmetry", ["even", "even_odd", "none"])
@given(pool=st.integers(1, 30), extra=st.integers(0, 900), clips=st.integers(1, 5))
@settings(max_examples=6)
def test_it_is_the_largest_of_the_sums(symmetry, pool, extra, clips):
    rng = np.random.default_rng(extra)
    kernels = _bank(rng, symmetry)
    signal = rng.standard_normal((clips, 1, 65 + extra))
    wanted = _dense(signal, kernels, pool)
    found = pooled_correlation.correlate_pooled(
        jnp.asarray(signal, jnp.float32),
        jnp.asarray(kernels, jnp.float32),
        pool_size=pool,
        symmetry=symmetry,
    )
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, atol=3e-6 * np.abs(kernels).sum(axis=1).max())


@pytest.mark.quick(0)
@pytest.mark.parametrize("symmetry", ["even", "even_odd"])
def test_gradients_are_those_of_the_parts(rng, x64, symmetry, monkeypatch):
    monkeypatch.setattr(pooled_correlation, "_GROUP_VALUES", 1 << 14)  # two clips a group, of five
    kernels = jnp.asarray(_bank(rng, symmetry))
    signal, weight = jnp.asarray(rng.standard_normal((5, 400))), rng.standard_normal((5, 112, 16))

    def loss(signal, kernels, symmetry):
        pooled = pooled_correlation.correlate_pooled(
            signal, kernels, pool_size=3, symmetry=symmetry
        )
        return jnp.sum(jnp.asarray(weight) * pooled)

    slope = jax.jit(jax.grad(loss, argnums=(0, 1)), static_argnums=2)
    (of_signal, of_kernels), (wanted, dense) = (
        slope(signal, kernels, name) for name in (symmetry, "none")
    )
    np.testing.assert_allclose(of_signal, wanted, atol=1e-10)
    # Only the part of the gradient that keeps a filter symmetric has a meaning.
    sign = 1.0 if symmetry == "even" else np.where(np.arange(16) < 8, 1.0, -1.0)[:, None]
    parts = [0.5 * (one + sign * one[:, ::-1]) for one in (of_kernels, dense)]
    np.testing.assert_allclose(*parts, atol=1e-10)
    move = jnp.asarray(rng.standard_normal(signal.shape))
    _, forward = jax.jvp(lambda x: loss(x, kernels, symmetry), (signal,), (move,))
    np.testing.assert_allclose(forward, jnp.vdot(of_signal, move), rtol=1e-10)


def test_silence_has_no_gradient_and_nan_stays():
    kernels = jnp.asarray(_bank(np.random.default_rng(0), "even"), jnp.float32)
    pooled = functools.partial(
        pooled_correlation.correlate_pooled, kernels=kernels, pool_size=3, symmetry="even"
    )
    signal = jnp.zeros((2, 200))
    assert np.all(np.asarray(jax.grad(lambda x: jnp.sum(pooled(x)))(signal)) == 0)
    assert np.all(np.isnan(pooled(signal.at[0, 100].set(jnp.nan))[0, 12:33]))
    assert np.all(np.asarray(pooled(signal.at[0, 100].set(jnp.nan))[1]) == 0)


@pytest.mark.parametrize(
    "options",
    [{}, {"padding": "same"}, {"stride": 2}, {"shape": "free"}, {"component": "complex"}],
)
def test_layers_pool_what_they_give(rng, options):
    layer = SincConv(num_filters=16, kernel_size=65, **options)
    waveform = jnp.asarray(rng.uniform(-0.5, 0.5, (3, 500)), jnp.float32)
    variables = layer.init(jax.random.key(0), waveform)
    found = layer.apply(variables, waveform, pool_size=4, method="pooled_magnitudes")
    plain = np.abs(np.asarray(layer.apply(variables, waveform)))
    count = plain.shape[1] // 4
    wanted = plain[:, : 4 * count].reshape(3, count, 4, -1).max(axis=2)
    np.testing.assert_allclose(found, wanted, atol=1e-5 * wanted.max())


def test_mistakes_are_named():
    layer, clip = SincConv(num_filters=16, kernel_size=65), jnp.zeros((1, 100))
    variables = layer.init(jax.random.key(0), clip)
    with pytest.raises(ValueError, match="pool_size=0"):
        layer.apply(variables, clip, pool_size=0, method="pooled_magnitudes")
    with pytest.raises(ValueError, match="length=60 is shorter"):
        layer.apply(variables, clip[:, :60], pool_size=3, method="pooled_magnitudes")


def test_where_it_folds():
    folds = functools.partial(symmetric_correlation.folds, 16, 65)
    assert folds(hop_length=1, symmetry="even")
    assert folds(hop_length=33, symmetry="even_odd")
    assert not folds(hop_length=17, symmetry="even")
    assert not folds(hop_length=1, symmetry="none")
