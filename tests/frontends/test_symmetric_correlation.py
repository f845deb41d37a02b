"""Folded correlation against a dense sum in float64."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isincnet_jax.frontends import symmetric_correlation


def _bank(rng, channels, taps, symmetry):
    kernels = rng.standard_normal((channels, taps))
    if symmetry == "none":
        return kernels
    evens = channels if symmetry == "even" else channels // 2
    sign = np.where(np.arange(channels) < evens, 1.0, -1.0)[:, None]
    return kernels + sign * kernels[:, ::-1]


def _dense(signal, kernels, hop, dilation=1):
    reach = (kernels.shape[1] - 1) * dilation + 1
    frames = np.lib.stride_tricks.sliding_window_view(signal, reach, axis=-1)
    return frames[..., ::hop, ::dilation] @ kernels.T


@pytest.mark.quick(0)
@pytest.mark.parametrize("symmetry", ["even", "even_odd", "none"])
@given(
    hop=st.sampled_from([1, 3, 7, 16, 17, 40, 65, 160]),
    taps=st.sampled_from([65, 127]),
    extra=st.integers(0, 5000),
    dilation=st.sampled_from([1, 1, 2]),
)
@settings(max_examples=8)
def test_every_way_is_the_sum(symmetry, hop, taps, extra, dilation):
    rng = np.random.default_rng(extra)
    kernels = _bank(rng, 16, taps, symmetry)
    signal = rng.standard_normal((2, 1, (taps - 1) * dilation + 1 + extra))
    wanted = _dense(signal, kernels, hop, dilation)
    found = symmetric_correlation.correlate(
        jnp.asarray(signal, jnp.float32),
        jnp.asarray(kernels, jnp.float32),
        hop_length=hop,
        symmetry=symmetry,
        dilation=dilation,
    )
    assert found.shape == wanted.shape
    assert np.max(np.abs(np.asarray(found) - wanted)) < 2e-6 * np.max(np.abs(wanted))


@pytest.mark.quick(1)
@pytest.mark.parametrize("symmetry", ["even", "even_odd"])
def test_blocks_have_the_derivatives_of_the_sum(rng, x64, symmetry, monkeypatch):
    monkeypatch.setattr(symmetric_correlation, "_BLOCK_VALUES", 1 << 10)  # several blocks
    kernels = jnp.asarray(_bank(rng, 16, 65, symmetry))
    signal, weight = jnp.asarray(rng.standard_normal((2, 700))), rng.standard_normal((2, 636, 16))

    def loss(signal, kernels, symmetry):
        frames = symmetric_correlation.correlate(signal, kernels, hop_length=1, symmetry=symmetry)
        return jnp.sum(jnp.asarray(weight) * jnp.tanh(frames))

    fold = symmetric_correlation._fold_in_blocks  # the size must reach the loop
    assert "custom_jvp" in str(
        jax.make_jaxpr(lambda s, k: loss(s, k, symmetry))(signal, kernels)
    ), fold
    gradient = jax.jit(jax.grad(loss, argnums=(0, 1)), static_argnums=2)
    found, wanted = (gradient(signal, kernels, name) for name in (symmetry, "none"))
    np.testing.assert_allclose(found[0], wanted[0], atol=1e-10)
    # Only the part of the gradient that keeps a filter symmetric has a meaning.
    sign = 1.0 if symmetry == "even" else np.where(np.arange(16) < 8, 1.0, -1.0)[:, None]
    parts = [0.5 * (slope[1] + sign * slope[1][:, ::-1]) for slope in (found, wanted)]
    np.testing.assert_allclose(*parts, atol=1e-9)
    for argument in (0, 1):  # one alone, forward, and the second derivative along a direction
        slope = jax.jit(jax.grad(loss, argnums=argument), static_argnums=2)
        alone = slope(signal, kernels, symmetry)
        np.testing.assert_allclose(alone, found[argument], atol=1e-10)
    along = jax.jit(lambda x: jax.jvp(lambda s: loss(s, kernels, symmetry), (x,), (x,))[1])(signal)
    np.testing.assert_allclose(along, jnp.sum(found[0] * signal), rtol=1e-10)


def test_a_signal_shorter_than_a_filter_is_refused():
    with pytest.raises(ValueError, match="fewer than the 129"):
        symmetric_correlation.correlate(
            jnp.zeros(128, jnp.float32), jnp.zeros((2, 65), jnp.float32), hop_length=1, dilation=2
        )
