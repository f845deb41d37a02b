"""Discriminators: what they see, their sizes, gradients, and a game that they win."""

from __future__ import annotations

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from isincnet_jax.dsp.spectral_distances import Resolution
from isincnet_jax.vocoders import adversarial_losses, discriminators

RESOLUTION = Resolution(64, 16, 64)
PERIODS = functools.partial(discriminators.MultiPeriodDiscriminator, (2, 3), widths=(3, 4))
RESOLUTIONS = functools.partial(
    discriminators.MultiResolutionDiscriminator, (RESOLUTION,), widths=(3, 4, 3)
)
WAVEFORM = np.random.default_rng(0).uniform(-1, 1, (2, 301)).astype(np.float32)


@functools.lru_cache
def _variables(model):
    return jax.jit(model.init)(jax.random.key(0), WAVEFORM)


def _size(model):
    found = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 4096)))
    return sum(leaf.size for leaf in jax.tree.leaves(found))


def test_size_of_the_multi_period_discriminator():
    """HiFi-GAN's 41.1 million: kernels and biases of five stacks."""
    widths = (1, 32, 128, 512, 1024, 1024)
    stack = sum(5 * a * b + b for a, b in itertools.pairwise(widths)) + 3 * 1024 + 1
    plain = discriminators.MultiPeriodDiscriminator(weight_norm=False)
    assert _size(plain) == 5 * stack
    assert round(5 * stack / 1e6, 1) == 41.1
    lengths = 5 * (sum(widths[1:]) + 1)
    assert _size(discriminators.MultiPeriodDiscriminator()) == 5 * stack + lengths


def test_columns_of_a_period_do_not_mix():
    model = PERIODS(weight_norm=False)
    apply = jax.jit(model.apply)
    before = apply(_variables(model), WAVEFORM[:, :300])
    changed = WAVEFORM[:, :300].copy()
    changed[:, 1::2] += 0.5
    after = apply(_variables(model), changed)
    for one, other in zip(before.features[0], after.features[0], strict=True):
        np.testing.assert_allclose(one[:, :, 0], other[:, :, 0], atol=1e-6)
    assert np.max(np.abs(before.logits[0] - after.logits[0])) > 1e-3
    assert [len(maps) for maps in before.features] == [3, 3]
    assert before.features[1][0].shape == (2, 34, 3, 3)


@pytest.mark.parametrize("time", [1, 2, 7])
def test_short_clips_are_folded(time):
    clip = np.arange(time, dtype=np.float32)[None]
    rows = discriminators.fold(clip, 5)
    assert rows.shape == (1, -(-time // 5), 5, 1)
    np.testing.assert_array_equal(rows.reshape(-1)[:time], clip[0])


def test_weight_norm_separates_length_and_direction():
    model = RESOLUTIONS()
    variables = _variables(model)
    params = variables["params"]["resolution_64_16_64"]
    doubled = jax.tree.map_with_path(
        lambda path, leaf: 7 * leaf if "'kernel'" in jax.tree_util.keystr(path) else leaf, params
    )
    apply = jax.jit(model.apply)
    wanted = apply(variables, WAVEFORM).logits[0]
    found = apply({"params": {"resolution_64_16_64": doubled}}, WAVEFORM).logits[0]
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.quick(0)
@pytest.mark.parametrize("weight_norm", [True, False])
def test_gradients_are_finite_on_silence(weight_norm):
    model = discriminators.VocoderDiscriminator(
        PERIODS(weight_norm=weight_norm), RESOLUTIONS(weight_norm=weight_norm)
    )
    variables = _variables(model)

    @jax.jit
    @functools.partial(jax.grad, argnums=(0, 1))
    def gradient(variables, waveform):
        judged, recorded = model.apply(variables, waveform), model.apply(variables, WAVEFORM)
        return adversarial_losses.generator_loss(
            fake=judged.logits
        ) + adversarial_losses.feature_matching_loss(real=recorded.features, fake=judged.features)

    for leaf in jax.tree.leaves(gradient(variables, 0 * WAVEFORM)):
        assert np.all(np.isfinite(leaf))


@pytest.mark.quick(0)
def test_a_few_steps_tell_noise_from_tones():
    model = discriminators.VocoderDiscriminator(PERIODS(), RESOLUTIONS())
    assert len(jax.eval_shape(model.apply, _variables(model), WAVEFORM).logits) == 3
    time = np.arange(301)
    tones = np.stack([np.sin(0.3 * time), np.sin(0.7 * time)]).astype(np.float32)

    @jax.jit
    @jax.value_and_grad
    def step(variables):
        real, fake = model.apply(variables, tones), model.apply(variables, WAVEFORM)
        return adversarial_losses.discriminator_loss(real=real.logits, fake=fake.logits)

    variables = _variables(model)
    first, _ = step(variables)
    for _ in range(25):
        _, gradient = step(variables)
        variables = jax.tree.map(lambda leaf, slope: leaf - 0.03 * slope, variables, gradient)
    assert step(variables)[0] < 0.8 * first


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match=r"periods=\(\)"):
        discriminators.MultiPeriodDiscriminator(())
    with pytest.raises(ValueError, match="widths=0"):
        discriminators.MultiPeriodDiscriminator(widths=(4, 0))
    with pytest.raises(ValueError, match=r"resolutions=\(\)"):
        discriminators.MultiResolutionDiscriminator(())
