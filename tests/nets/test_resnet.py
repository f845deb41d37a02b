"""ResNet-18: its size, its pooling, its statistics."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from isincnet_jax.nets import resnet


def _num_parameters(module, *shape):
    variables = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros(shape))
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


def _by_hand(channels, classes, stem_taps, widths=(64, 128, 256, 512), blocks=2, features=None):
    """Kernels without bias, a scale and a bias for each BatchNorm, the scores with bias."""
    total = stem_taps**2 * channels * widths[0] + 2 * widths[0]
    inputs = widths[0]
    for stage, width in enumerate(widths):
        for block in range(blocks):
            total += 9 * inputs * width + 9 * width * width + 2 * 2 * width
            if inputs != width or (stage and not block):
                total += inputs * width + 2 * width
            inputs = width
    return total + (features or inputs) * classes + classes


@pytest.mark.parametrize(
    ("stem", "taps", "published"), [("imagenet", 7, 11_181_642), ("small", 3, 11_173_962)]
)
def test_size_is_that_of_resnet_18(stem, taps, published):
    found = _num_parameters(resnet.ResNet(10, stem=stem), 1, 64, 64, 3)
    assert found == published == _by_hand(3, 10, taps)


def test_a_thousand_classes_give_the_published_size():
    assert _num_parameters(resnet.ResNet(1000), 1, 64, 64, 3) == 11_689_512


def test_the_pyramid_widens_the_scores():
    small = resnet.ResNet(4, widths=(8, 16), blocks=1, pyramid=(1, 2, 4))
    wanted = _by_hand(2, 4, 7, widths=(8, 16), blocks=1, features=16 * 21)
    assert _num_parameters(small, 1, 32, 40, 2) == wanted


@settings(max_examples=4)
@given(st.integers(1, 30), st.integers(1, 12))
@example(1, 12)
@example(12, 12)
@example(13, 12)
def test_adaptive_average_is_the_mean_of_each_bin(size, bins):
    sequence = np.random.default_rng(size).standard_normal((2, size, 3))
    wanted = [
        sequence[:, int(np.floor(i * size / bins)) : int(np.ceil((i + 1) * size / bins))].mean(1)
        for i in range(bins)
    ]
    found = jax.jit(resnet.adaptive_average, static_argnums=1)(np.float32(sequence), bins)
    np.testing.assert_allclose(found, np.stack(wanted, axis=1), atol=1e-6)


def test_adaptive_average_is_that_of_torch(golden):
    arrays = golden("torch_layers")
    found = resnet.adaptive_average(arrays["average/input"], 32)
    np.testing.assert_allclose(found, arrays["average/output"], atol=1e-6)


def test_the_pyramid_takes_maxima_of_bins():
    image = np.random.default_rng(0).standard_normal((2, 5, 7, 3)).astype(np.float32)
    found = np.asarray(resnet.pyramid_pool(jnp.asarray(image), (1, 2)))
    wanted = [image.max(axis=(1, 2))]
    for rows in (slice(0, 3), slice(2, 5)):
        wanted += [image[:, rows, cols].max(axis=(1, 2)) for cols in (slice(0, 4), slice(3, 7))]
    np.testing.assert_array_equal(found, np.concatenate(wanted, axis=-1))


@pytest.mark.quick(1)
@pytest.mark.parametrize(("stem", "start"), [("imagenet", (7, 6)), ("small", (26, 24))])
def test_stages_halve_the_image(stem, start):
    module = resnet.ResNet(3, widths=(4, 8, 8), blocks=1, stem=stem)
    image = jnp.ones((2, 26, 24, 2))
    variables = jax.jit(module.init)(jax.random.key(0), image)
    options = {"capture_intermediates": True, "mutable": ["intermediates"]}
    _, state = jax.jit(functools.partial(module.apply, **options))(variables, image)
    found = [state["intermediates"][f"stage_{i}_block_0"]["__call__"][0].shape for i in range(3)]
    wanted = []
    for stage, width in enumerate((4, 8, 8)):
        start = tuple(-(-size // 2) for size in start) if stage else start
        wanted.append((2, *start, width))
    assert found == wanted


def test_blocks_are_those_of_torch(golden):
    arrays = golden("torch_layers")
    image, wanted = arrays["block/input"], arrays["block/output"]
    block = resnet.ResidualBlock(6, stride=2)
    names, tree = jax.tree.flatten_with_path(jax.eval_shape(block.init, jax.random.key(0), image))
    leaves = [
        arrays["/".join(["block", *(entry.key for entry in path)])].reshape(leaf.shape)
        for path, leaf in names
    ]
    found = jax.jit(block.apply)(jax.tree.unflatten(tree, leaves), image)
    np.testing.assert_allclose(found, wanted, rtol=1e-4)


def test_dropout_and_statistics_only_in_training():
    module = resnet.ResNet(3, widths=(4, 8), blocks=1, dropout=0.5)
    image = jax.random.normal(jax.random.key(1), (4, 16, 16, 2))
    variables = jax.jit(module.init)(jax.random.key(0), image)
    np.testing.assert_array_equal(
        jax.jit(module.apply)(variables, image), jax.jit(module.apply)(variables, image)
    )
    options = {"train": True, "mutable": ["batch_stats"]}
    train = jax.jit(functools.partial(module.apply, **options))
    one, state = train(variables, image, rngs={"dropout": jax.random.key(0)})
    two, _ = train(variables, image, rngs={"dropout": jax.random.key(1)})
    assert np.any(one != two)
    assert np.any(state["batch_stats"]["stem_norm"]["mean"] != 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"stem": "big"}, "stem='big' is unknown"), ({"pyramid": (0, 1)}, r"pyramid=\(0, 1\)")],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        resnet.ResNet(3, **options)
