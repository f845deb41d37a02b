"""Linear upsampling by two beside the generic resize, alone and before a convolution."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from isincnet_jax.nets import upsampling
from isincnet_jax.nets.upsampling import UpsampleConv

upsample = jax.jit(upsampling.upsample_linear)
upsample_convolve = jax.jit(upsampling.upsample_convolve)


@settings(max_examples=8)
@given(time=st.integers(1, 9), channels=st.integers(1, 3))
def test_upsampling_is_the_generic_resize(time, channels):
    sequence = np.random.default_rng(time).standard_normal((2, time, channels)).astype(np.float32)
    wanted = jax.image.resize(sequence, (2, 2 * time, channels), "linear")
    np.testing.assert_allclose(upsample(sequence), wanted, atol=1e-6)


def test_upsampling_is_pytorchs_interpolation(golden):
    arrays = golden("torch_layers")
    found = upsample(arrays["upsample/input"])
    np.testing.assert_allclose(found, arrays["upsample/output"], atol=1e-6)


def test_one_sample_is_repeated():
    np.testing.assert_array_equal(
        upsample(np.full((1, 1, 2), 3.0, np.float32)), np.full((1, 2, 2), 3)
    )


@pytest.mark.quick(4)
@pytest.mark.parametrize("taps", [1, 3, 5])
@pytest.mark.parametrize("time", [1, 2, 6])
def test_both_ways_give_the_convolution_after_upsampling(taps, time, rng, x64):
    sequence = jnp.asarray(rng.standard_normal((2, time, 4)))
    kernel = jnp.asarray(rng.standard_normal((taps, 4, 3)))
    wanted = lax.conv_general_dilated(
        jax.image.resize(sequence, (2, 2 * time, 4), "linear"),
        kernel,
        (1,),
        "SAME",
        dimension_numbers=("NWC", "WIO", "NWC"),
    )
    ways = [upsample_convolve, jax.jit(upsampling.taps_first)]
    for way in ways + [jax.jit(upsampling.polyphase)] * (taps == 3):
        found = way(sequence, kernel)
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_the_layer_has_the_parameters_of_a_convolution(rng):
    layer = UpsampleConv(3)
    sequence = rng.standard_normal((2, 6, 4)).astype(np.float32)
    found, variables = jax.jit(layer.init_with_output)(jax.random.key(0), sequence)
    assert jax.tree.map(jnp.shape, variables["params"]) == {"kernel": (3, 4, 3), "bias": (3,)}
    bias = jnp.arange(3, dtype=jnp.float32)
    moved = {"params": {**variables["params"], "bias": bias}}
    kernel = variables["params"]["kernel"]
    np.testing.assert_allclose(found, upsample_convolve(sequence, kernel), atol=1e-6)
    np.testing.assert_allclose(jax.jit(layer.apply)(moved, sequence), found + bias, atol=1e-6)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="taps=4 must be odd; use 5"):
        UpsampleConv(3, taps=4)
    with pytest.raises(ValueError, match="width=0"):
        UpsampleConv(0)
    with pytest.raises(ValueError, match="no middle"):
        upsampling.upsample_convolve(jnp.zeros((3, 2)), jnp.zeros((2, 2, 1)))
    with pytest.raises(ValueError, match="expects 5 channels"):
        upsampling.upsample_convolve(jnp.zeros((3, 2)), jnp.zeros((3, 5, 1)))
