"""Differentiable inverses, against dense linear algebra, solved decoders and finite differences."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from isincnet_jax import FilterbankSpec
from isincnet_jax.bank.dsp import decoders, differentiable_inverse, frame_theory

HOP, BLOCKS = 4, 3
SPEC = FilterbankSpec(sample_rate=8000, hop_length=HOP, num_bins=5, shape="none")


@pytest.fixture(autouse=True)
def _wide(x64):
    """Everything here is float64."""


def _bank(seed=0, channels=9, taps=11):
    return np.random.default_rng(seed).standard_normal((channels, taps))


def _noise(channels=9):
    return np.geomspace(0.1, 10.0, channels)


def _dense(kernels, num_blocks=2 * BLOCKS):
    """Analysis of a periodic signal of some hops, [frames * channels, samples]."""
    channels, taps = kernels.shape
    length = num_blocks * HOP
    matrix = np.zeros((num_blocks, channels, length))
    for frame in range(num_blocks):
        for tap in range(taps):
            matrix[frame, :, (frame * HOP + tap - taps // 2) % length] += kernels[:, tap]
    return matrix.reshape(-1, length)


def _periodic(kernels, noise, **options):
    return differentiable_inverse.periodic_inverse(
        jnp.asarray(kernels), jnp.asarray(noise), hop_length=HOP, num_blocks=BLOCKS, **options
    )


@pytest.mark.parametrize("ridge", [0.0, 0.1])
def test_every_frequency_of_a_periodic_signal(ridge):
    """(A^T N^-1 A + l)^-1 A^T N^-1, all of it: what it lets through, and what it misses."""
    kernels, noise = _bank(), _noise()
    matrix = _dense(kernels)
    weighted = matrix / np.tile(noise, 2 * BLOCKS)[:, None]
    gram = matrix.T @ weighted
    added = ridge * np.trace(gram) / len(gram)
    inverse = np.linalg.inv(gram + added * np.eye(len(gram)))
    decoder = (inverse @ weighted.T).reshape(len(gram), 2 * BLOCKS, -1)
    found = _periodic(kernels, noise, ridge=ridge)
    energies = found.energies(HOP)
    np.testing.assert_allclose(energies, np.sum(decoder**2, axis=(0, 1)) / len(gram), rtol=1e-9)
    assert float(found.bias) == pytest.approx(added * np.sum(inverse**2) / len(gram), abs=1e-12)
    # Both together are the error of the Wiener decoder.
    total = float(noise @ np.asarray(energies) + found.bias)
    assert total == pytest.approx(np.trace(inverse) / len(gram), rel=1e-9)


def test_equal_noise_gives_the_canonical_dual():
    kernels = SPEC.bank.kernels
    dual = frame_theory.canonical_dual(kernels, hop_length=HOP, num_blocks=16)
    found = differentiable_inverse.periodic_inverse(
        jnp.asarray(kernels), 7.0 * jnp.ones(len(kernels)), hop_length=HOP
    )
    assert found.lead == 16 * HOP
    # Tails beyond 16 hops, 1e-6 of the largest tap, are wrapped around.
    np.testing.assert_allclose(found.kernels, dual[:, :-1], atol=1e-5)


@pytest.mark.parametrize("lead", [2 * HOP, 2 * HOP + 1])
def test_few_frames_give_the_least_squares_decoder(lead):
    kernels = SPEC.bank.kernels
    place = {"hop_length": HOP, "num_frames": 6, "lead": lead}
    expected = decoders.least_squares_decoder(kernels, **place)
    found = differentiable_inverse.positioned_inverse(
        jnp.asarray(kernels), jnp.ones(len(kernels)), **place, ridge=1e-11
    )
    assert found.lead == expected.lead
    np.testing.assert_allclose(found.kernels, expected.kernels, atol=1e-6)
    gain = float(jnp.sum(found.energies(HOP))) ** 0.5
    assert gain == pytest.approx(expected.noise_gain, rel=1e-6)


@pytest.mark.parametrize(
    "inverse",
    [
        functools.partial(
            differentiable_inverse.periodic_inverse, hop_length=HOP, num_blocks=BLOCKS, ridge=1e-3
        ),
        functools.partial(
            differentiable_inverse.positioned_inverse,
            hop_length=HOP,
            num_frames=4,
            lead=HOP,
            ridge=1e-3,
        ),
    ],
)
def test_gradients_against_finite_differences(inverse):
    rng = np.random.default_rng(3)
    kernels, noise = jnp.asarray(_bank(1)), jnp.asarray(_noise())
    ways = [jnp.asarray(rng.standard_normal(x.shape)) for x in (kernels, noise)]
    weights = jnp.asarray(rng.uniform(0.5, 1.5, len(kernels)))

    @jax.jit
    def loss(kernels, noise):
        found = inverse(kernels, noise)
        return jnp.log(weights @ found.energies(HOP) + found.bias)

    gradients = jax.jit(jax.grad(loss, (0, 1)))(kernels, noise)
    slope = sum(jnp.vdot(g, w) for g, w in zip(gradients, ways, strict=True))
    step = 1e-5
    ahead, behind = (
        loss(kernels + sign * step * ways[0], noise + sign * step * ways[1]) for sign in (1, -1)
    )
    assert float(slope) == pytest.approx(float(ahead - behind) / (2 * step), rel=1e-6)


def test_frames_that_miss_the_block_are_refused():
    with pytest.raises(ValueError, match=r"num_frames=1 with lead=40 do not span a block"):
        differentiable_inverse.positioned_inverse(
            jnp.asarray(_bank()), jnp.ones(9), hop_length=HOP, num_frames=1, lead=40
        )
