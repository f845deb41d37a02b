"""Adversarial losses beside sums written out in NumPy."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from isincnet_jax.vocoders import adversarial_losses as losses


def _arrays(rng, *shapes):
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


def test_losses_are_their_formulas(rng):
    real, fake = _arrays(rng, (2, 5), (2, 9)), _arrays(rng, (2, 5), (2, 9))
    pairs = list(zip(real, fake, strict=True))
    squares = np.mean([np.mean((1 - r) ** 2) + np.mean(f**2) for r, f in pairs])
    hinge = np.mean(
        [np.mean(np.maximum(1 - r, 0)) + np.mean(np.maximum(1 + f, 0)) for r, f in pairs]
    )
    found = losses.discriminator_loss(real=real, fake=fake)
    np.testing.assert_allclose(found, squares, rtol=1e-5)
    found = losses.discriminator_loss(real=real, fake=fake, kind="hinge")
    np.testing.assert_allclose(found, hinge, rtol=1e-5)
    wanted = np.mean([np.mean((1 - f) ** 2) for f in fake])
    np.testing.assert_allclose(losses.generator_loss(fake=fake), wanted, rtol=1e-5)
    found = losses.generator_loss(fake=fake, kind="hinge")
    np.testing.assert_allclose(found, -np.mean([np.mean(f) for f in fake]), rtol=1e-4, atol=1e-6)


def test_a_perfect_discriminator_has_no_loss():
    ones = [np.ones((2, 3), np.float32)]
    assert losses.discriminator_loss(real=ones, fake=[0 * ones[0]]) == 0
    assert losses.discriminator_loss(real=ones, fake=[-ones[0]], kind="hinge") == 0
    assert losses.generator_loss(fake=ones) == 0


def test_feature_matching_is_a_mean_over_maps(rng):
    real = [_arrays(rng, (2, 5, 3), (2, 4)), _arrays(rng, (2, 7))]
    fake = [_arrays(rng, (2, 5, 3), (2, 4)), _arrays(rng, (2, 7))]
    flat = zip([*real[0], *real[1]], [*fake[0], *fake[1]], strict=True)
    wanted = np.mean([np.mean(np.abs(r - f)) for r, f in flat])
    np.testing.assert_allclose(
        losses.feature_matching_loss(real=real, fake=fake), wanted, rtol=1e-5
    )
    assert losses.feature_matching_loss(real=real, fake=real) == 0
    gradient = jax.grad(lambda r, f: losses.feature_matching_loss(real=r, fake=f), argnums=(0, 1))
    to_real, to_fake = jax.jit(gradient)(real, fake)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(to_real))
    assert all(np.all(leaf != 0) for leaf in jax.tree.leaves(to_fake))


def test_bad_arguments_are_refused(rng):
    logits = _arrays(rng, (2, 5))
    with pytest.raises(ValueError, match="kind='wasserstein'"):
        losses.generator_loss(fake=logits, kind="wasserstein")
    with pytest.raises(ValueError, match="2 real and 1 fake"):
        losses.discriminator_loss(real=logits * 2, fake=logits)
    with pytest.raises(ValueError, match="at least one"):
        losses.generator_loss(fake=[])
    with pytest.raises(ValueError, match="no feature maps"):
        losses.feature_matching_loss(real=[], fake=[])
