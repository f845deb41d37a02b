"""Correlation with shared products against the direct sum in float64."""

from __future__ import annotations

import functools

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from isincnet_jax.spectrograms.dsp import shared_products


def _case(seed, *, batch, num_frames, hop, taps, channels, left_over=0):
    generator = np.random.default_rng(seed)
    length = (num_frames - 1) * hop + taps + left_over
    signal = generator.standard_normal((*batch, length))
    return signal, generator.standard_normal((channels, taps))


def _direct_sum(signal, kernels, hop):
    frames = np.lib.stride_tricks.sliding_window_view(signal, kernels.shape[1], axis=-1)
    return frames[..., ::hop, :] @ kernels.T


@functools.cache
def _jitted(function, hop):
    return jax.jit(functools.partial(function, hop_length=hop))


@hypothesis.settings(max_examples=8)
@hypothesis.given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([(), (1,), (5,), (2, 3)]),
    st.integers(1, 9),
    st.integers(1, 7),
    st.integers(1, 40),
    st.integers(0, 6),
)
def test_shared_products_equal_the_direct_sum(seed, batch, num_frames, hop, taps, left_over):
    signal, kernels = _case(
        seed, batch=batch, num_frames=num_frames, hop=hop, taps=taps, channels=3
    )
    signal = np.pad(signal, [(0, 0)] * len(batch) + [(0, min(left_over, hop - 1))])
    found = _jitted(shared_products.correlate_shared, hop)(
        jnp.asarray(signal, jnp.float32), jnp.asarray(kernels, jnp.float32)
    )
    expected = _direct_sum(signal, kernels, hop)
    assert found.shape == expected.shape == (*batch, num_frames, 3)
    np.testing.assert_allclose(found, expected, atol=1e-6 * np.sqrt(taps) * 20)


@pytest.mark.parametrize(("hop", "taps"), [(64, 256), (64, 192), (70, 333), (64, 600)])
def test_float32_loses_less_than_a_digit(hop, taps):
    signal, kernels = _case(1, batch=(2,), num_frames=11, hop=hop, taps=taps, channels=5)
    found = _jitted(shared_products.correlate_frames, hop)(
        jnp.asarray(signal, jnp.float32), jnp.asarray(kernels, jnp.float32)
    )
    exact = _direct_sum(signal, kernels, hop)
    assert np.linalg.norm(found - exact) <= 1e-6 * np.linalg.norm(exact)


@pytest.mark.quick(0)
def test_groups_of_clips_change_nothing(monkeypatch):
    signal, kernels = _case(2, batch=(7,), num_frames=6, hop=4, taps=11, channels=3)
    monkeypatch.setattr(shared_products, "_GROUP_VALUES", 40)
    found = shared_products.correlate_shared(
        jnp.asarray(signal, jnp.float32), jnp.asarray(kernels, jnp.float32), hop_length=4
    )
    np.testing.assert_allclose(found, _direct_sum(signal, kernels, 4), atol=1e-5)


def test_gradients_equal_those_of_the_direct_sum(x64):
    signal, kernels = _case(3, batch=(3,), num_frames=5, hop=64, taps=200, channels=4)
    weights = np.random.default_rng(4).standard_normal((3, 5, 4))

    @jax.jit
    def loss(signal, kernels):
        found = shared_products.correlate_frames(signal, kernels, hop_length=64)
        return jnp.sum(found * weights)

    for_signal, for_kernels = jax.jit(jax.grad(loss, argnums=(0, 1)))(signal, kernels)
    frames = np.lib.stride_tricks.sliding_window_view(signal, 200, axis=-1)[:, ::64]
    np.testing.assert_allclose(for_kernels, np.einsum("btc,btn->cn", weights, frames), rtol=1e-9)
    expected = np.zeros_like(signal)
    for frame in range(5):
        expected[:, frame * 64 : frame * 64 + 200] += weights[:, frame] @ kernels
    np.testing.assert_allclose(for_signal, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.quick(2)
@pytest.mark.parametrize(("hop", "taps"), [(8, 32), (64, 64), (64, 40)])
def test_short_hops_and_single_blocks_go_the_direct_way(hop, taps):
    signal, kernels = _case(5, batch=(), num_frames=4, hop=hop, taps=taps, channels=2)
    found = shared_products.correlate_frames(
        jnp.asarray(signal, jnp.float32), jnp.asarray(kernels, jnp.float32), hop_length=hop
    )
    np.testing.assert_allclose(found, _direct_sum(signal, kernels, hop), atol=1e-4)
