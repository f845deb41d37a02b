"""Gaussian pooling and LEAF against direct sums in NumPy, maxima against Flax."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isincnet_jax.frontends.leaf import LeafFrontend
from isincnet_jax.nets.pooling import GaussianPooling, max_pool, squared_modulus

KEY = jax.random.key(0)


def _direct(values, widths, kernel_size, hop, *, same, peak):
    half = 0.5 * (kernel_size - 1)
    clipped = np.clip(widths, 2 / kernel_size, 0.5)[:, None]
    taps = np.exp(-0.5 * ((np.arange(kernel_size) - half) / (half * clipped)) ** 2)
    taps = taps if peak else taps / taps.sum(axis=1, keepdims=True)
    if same:
        side = kernel_size // 2
        values = np.pad(values, [(0, 0)] * (values.ndim - 2) + [(side, side), (0, 0)])
    rows = np.lib.stride_tricks.sliding_window_view(values, kernel_size, axis=-2)
    return np.einsum("...tck,ck->...tc", rows[..., ::hop, :, :], taps)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("normalization", ["sum", "peak"])
@pytest.mark.parametrize(("kernel_size", "hop"), [(41, 16), (40, 16), (21, 30), (5, 1)])
def test_pooling_is_the_direct_sum(padding, normalization, kernel_size, hop, rng, x64):
    layer = GaussianPooling(
        kernel_size=kernel_size, hop_length=hop, padding=padding, normalization=normalization
    )
    values = rng.standard_normal((2, 3, 150, 4))
    widths = np.array([0.4, 0.45, 0.01, 3.0], np.float32)  # the last two are clipped
    variables = {"params": {"width": jnp.asarray(widths)}}
    found = jax.jit(layer.apply)(variables, jnp.asarray(values))
    wanted = _direct(
        values,
        widths.astype(float),
        kernel_size,
        hop,
        same=padding == "same",
        peak=normalization == "peak",
    )
    assert found.shape[-2] == layer.count_frames(150)
    np.testing.assert_allclose(found, wanted[..., : found.shape[-2], :], atol=1e-10)
    assert wanted.shape == found.shape


def test_untrained_pooling_has_no_variables_and_trained_one_starts_there(rng):
    values = jnp.asarray(rng.random((100, 3)), jnp.float32)
    fixed = GaussianPooling(kernel_size=41, hop_length=10, trainable=False)
    trained = GaussianPooling(kernel_size=41, hop_length=10)
    assert jax.jit(fixed.init)(KEY, values) == {}
    variables = jax.jit(trained.init)(KEY, values)
    np.testing.assert_allclose(
        jax.jit(trained.apply)(variables, values), jax.jit(fixed.apply)({}, values), rtol=1e-6
    )
    for width in (0.0, -1.0, 0.4, 1e30):
        moved = jax.tree.map(lambda leaf, width=width: jnp.full_like(leaf, width), variables)
        gradient = jax.jit(jax.grad(lambda v: jnp.sum(trained.apply(v, values) ** 2)))(moved)
        assert np.all(np.isfinite(gradient["params"]["width"]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0.6}, "width=0.6"),
        ({"kernel_size": 2}, "kernel_size=2"),
        ({"hop_length": 0}, "hop_length=0"),
        ({"padding": "full"}, "padding='full'"),
        ({"normalization": "l2"}, "normalization='l2'"),
    ],
)
def test_pooling_arguments_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        GaussianPooling(**options)


def test_squared_modulus_of_odd_channels_is_refused():
    with pytest.raises(ValueError, match="channels=3"):
        squared_modulus(jnp.zeros((2, 3)))


@pytest.mark.quick(0)
def test_leaf_is_its_four_stages(rng, x64):
    layer = LeafFrontend(num_filters=5, kernel_size=61, hop_length=20)
    waveform = rng.standard_normal((2, 300))
    single = jnp.asarray(waveform, jnp.float32)
    found, variables = jax.jit(layer.init_with_output)(KEY, single)
    # Gabor filters of unit gain, as LEAF's formula has them, from the bands' half-widths.
    edges = np.asarray(700 * np.expm1(np.linspace(*np.log1p(np.array([60, 7800]) / 700), 6)))
    centers, bands = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    np.testing.assert_allclose(layer.frequencies, centers, rtol=1e-9)
    sigma = np.sqrt(2 * np.log(2)) / (np.pi * bands)
    time = (np.arange(61) - 30) / 16_000
    envelope = np.exp(-0.5 * (time / sigma[:, None]) ** 2)
    envelope /= envelope.sum(axis=1, keepdims=True)
    gabor = envelope * np.exp(2j * np.pi * centers[:, None] * time)
    padded = np.pad(waveform.astype(np.float32).astype(float), [(0, 0), (30, 30)])
    rows = np.lib.stride_tricks.sliding_window_view(padded, 61, axis=-1)
    energies = np.abs(rows @ gabor.T) ** 2
    pooled = _direct(energies, np.full(5, 0.4), 61, 20, same=True, peak=True)
    smooth = np.empty_like(pooled)
    state = pooled[:, 0]
    for frame in range(pooled.shape[1]):
        state = 0.96 * state + 0.04 * pooled[:, frame]
        smooth[:, frame] = state
    wanted = (pooled / (1e-6 + smooth) ** 0.96 + 2) ** 0.5 - 2**0.5
    assert found.shape == wanted.shape == (2, len(layer.frame_times(300)), 5)
    np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=1e-5)
    gradient = jax.jit(jax.grad(lambda v: jnp.sum(layer.apply(v, 0 * single))))(variables)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))


@given(frames=st.integers(1, 20), size=st.integers(1, 6))
@settings(max_examples=10)
def test_maxima_and_their_gradients_are_those_of_flax(frames, size):
    # Whole numbers: there are ties, whose first takes the gradient.
    rng = np.random.default_rng(frames)
    values = jnp.asarray(rng.integers(-2, 3, (2, frames, 3)), jnp.float32)
    weight = jnp.asarray(rng.standard_normal((2, frames // size, 3)), jnp.float32)
    found, pull = jax.vjp(lambda x: max_pool(x, size), values)
    wanted, pull_wanted = jax.vjp(lambda x: nn.max_pool(x, (size,), strides=(size,)), values)
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(pull(weight)[0], pull_wanted(weight)[0])
