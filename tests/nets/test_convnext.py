"""Blocks of the refiner against sums written out in NumPy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from isincnet_jax.nets.convnext import ConvNeXtBlock, Refiner, depthwise_over_frames


@pytest.mark.parametrize("taps", [1, 3, 7])
@pytest.mark.parametrize("frames", [1, 2, 9])
def test_depthwise_is_a_correlation_per_feature(taps, frames, rng):
    features = rng.standard_normal((2, frames, 4)).astype(np.float32)
    kernel = rng.standard_normal((taps, 4)).astype(np.float32)
    found = depthwise_over_frames(jnp.asarray(features), jnp.asarray(kernel))
    assert found.shape == features.shape
    for clip in range(2):
        for width in range(4):
            whole = np.correlate(
                np.pad(features[clip, :, width], taps // 2), kernel[:, width], "valid"
            )
            np.testing.assert_allclose(found[clip, :, width], whole, atol=1e-5)


def test_block_is_the_published_formula(rng):
    block = ConvNeXtBlock(width=6, taps=3, expansion=2)
    features = jnp.asarray(rng.standard_normal((5, 6)), jnp.float32)
    params = jax.tree.map(
        lambda leaf: jnp.asarray(rng.standard_normal(leaf.shape), jnp.float32),
        jax.jit(block.init)(jax.random.key(0), features)["params"],
    )
    p = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    x = np.asarray(features, np.float64)
    padded = np.pad(x, ((1, 1), (0, 0)))
    mixed = sum(p["depthwise"][k] * padded[k : k + 5] for k in range(3))
    centred = mixed - mixed.mean(-1, keepdims=True)
    normed = centred / np.sqrt(np.mean(centred**2, -1, keepdims=True) + 1e-6)
    normed = normed * p["FrameNorm_0"]["scale"] + p["FrameNorm_0"]["bias"]
    hidden = normed @ p["Dense_0"]["kernel"] + p["Dense_0"]["bias"]
    hidden = 0.5 * hidden * (1 + np.tanh(np.sqrt(2 / np.pi) * (hidden + 0.044715 * hidden**3)))
    expected = x + p["gain"] * (hidden @ p["Dense_1"]["kernel"] + p["Dense_1"]["bias"])
    np.testing.assert_allclose(
        jax.jit(block.apply)({"params": params}, features), expected, atol=2e-4
    )


@pytest.mark.quick(0)
@pytest.mark.parametrize("compute_dtype", [None, jnp.bfloat16])
def test_refiner_starts_at_zero_and_can_leave_it(compute_dtype, rng):
    refiner = Refiner(5, width=8, num_blocks=2, compute_dtype=compute_dtype)
    features = jnp.asarray(rng.standard_normal((2, 4, 3)), jnp.float32)
    variables = jax.jit(refiner.init)(jax.random.key(0), features)
    outputs = jax.jit(refiner.apply)(variables, features)
    assert outputs.shape == (2, 4, 5)
    assert outputs.dtype == jnp.float32
    np.testing.assert_array_equal(outputs, 0.0)
    gradient = jax.jit(jax.grad(lambda v: jnp.sum(refiner.apply(v, features) * features[..., :1])))(
        variables
    )
    assert np.any(np.asarray(gradient["params"]["leave"]["kernel"]))
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))


def test_refiner_sees_as_far_as_its_taps(rng):
    refiner = Refiner(2, width=8, num_blocks=2, taps=3)
    features = jnp.asarray(rng.standard_normal((11, 3)), jnp.float32)
    variables = jax.jit(refiner.init)(jax.random.key(0), features)
    variables["params"]["leave"]["kernel"] = jnp.ones((8, 2)) * jnp.arange(8.0)[:, None]
    change = jax.jit(refiner.apply)(variables, features.at[5].add(1.0)) - jax.jit(refiner.apply)(
        variables, features
    )
    touched = np.flatnonzero(np.any(np.asarray(change) != 0, axis=-1))
    np.testing.assert_array_equal(touched, [3, 4, 5, 6, 7])


@pytest.mark.parametrize(
    ("options", "message"),
    [({"taps": 4}, "taps=4"), ({"width": 0}, "width=0"), ({"num_blocks": -1}, "num_blocks=-1")],
)
def test_impossible_refiners_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Refiner(2, **options).init(jax.random.key(0), jnp.zeros((3, 2)))
