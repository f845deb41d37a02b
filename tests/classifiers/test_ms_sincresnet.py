"""MS-SincResNet: its image, its memory, its size."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from isincnet_jax.classifiers.ms_sincresnet import MSSincResNet
from isincnet_jax.frontends.sinc_conv import SincConv

SMALL = functools.partial(
    MSSincResNet,
    3,
    sample_rate=8000,
    num_filters=6,
    kernel_sizes=(11, 21),
    num_frames=16,
    widths=(4, 8),
    stem="small",
)
WAVEFORM = np.random.default_rng(0).uniform(-0.5, 0.5, (4, 200)).astype(np.float32)


@functools.lru_cache
def _variables(**options):
    return jax.jit(SMALL(**options).init)(jax.random.key(0), WAVEFORM)


def test_size_is_that_of_its_parts():
    module = MSSincResNet(10)
    variables = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 48_000)))
    total = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    # Two edges and a BatchNorm (scale, bias) for each of 3 x 160 filters, and the ResNet-18.
    assert total == 3 * 160 * (2 + 2) + 11_181_642


def test_the_image_is_the_rectified_average_of_each_bank():
    module, variables = SMALL(), _variables()
    image = jax.jit(functools.partial(module.apply, method="image"))(variables, WAVEFORM)
    assert image.shape == (4, 16, 6, 2)
    for color, taps in enumerate((11, 21)):
        bank = SincConv(
            num_filters=6,
            kernel_size=taps,
            sample_rate=8000,
            padding="same",
            parametrization="hz",
        )
        own = {"params": variables["params"][f"frontend_{taps}"]}
        outputs = np.asarray(jax.jit(bank.apply)(own, WAVEFORM), np.float64)
        rectified = np.maximum(outputs / np.sqrt(1.0 + 1e-5), 0.0)  # statistics at the start
        edges = [(frame * 200 // 16, -(-(frame + 1) * 200 // 16)) for frame in range(16)]
        wanted = np.stack([rectified[:, low:high].mean(axis=1) for low, high in edges], axis=1)
        np.testing.assert_allclose(np.asarray(image)[..., color], wanted, atol=1e-5)


@pytest.mark.quick(0)
def test_computing_again_gives_the_same_gradients():
    variables = _variables()

    def loss(params, remat):
        logits, fixed = SMALL(remat=remat).apply(
            {**variables, "params": params}, WAVEFORM, train=True, mutable=["batch_stats"]
        )
        return jnp.sum(logits**2), fixed

    (one, kept), gradients = jax.jit(
        jax.value_and_grad(lambda params: loss(params, True), has_aux=True)
    )(variables["params"])
    (two, wanted), others = jax.jit(
        jax.value_and_grad(lambda params: loss(params, False), has_aux=True)
    )(variables["params"])
    assert one == pytest.approx(float(two), rel=1e-5)
    for a, b in zip(*map(jax.tree.leaves, (kept, wanted)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    scale = max(float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(others))
    for a, b in zip(*map(jax.tree.leaves, (gradients, others)), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4 * scale)


@pytest.mark.quick(0)
def test_gradients_are_finite_on_silence_and_reach_the_filters():
    variables = _variables()

    def loss(params, waveform):
        logits, _ = SMALL().apply(
            {**variables, "params": params}, waveform, train=True, mutable=["batch_stats"]
        )
        return logits[0, 0]

    gradient = jax.jit(jax.grad(loss))
    assert all(
        np.all(np.isfinite(leaf))
        for leaf in jax.tree.leaves(gradient(variables["params"], np.zeros_like(WAVEFORM)))
    )
    found = gradient(variables["params"], WAVEFORM)
    for name in SMALL().filter_paths:
        assert any(np.any(leaf != 0) for leaf in jax.tree.leaves(found[name]))
