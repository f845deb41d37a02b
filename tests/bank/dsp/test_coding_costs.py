"""Costs of coding, against the quantiser itself, a loop, and finite differences."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from isincnet_jax.bank.dsp import coding_costs
from isincnet_jax.bank.quantizer import Quantizer


def _coefficients(frames=2000, channels=6):
    rng = np.random.default_rng(0)
    return (rng.standard_normal((frames, channels)) * np.geomspace(1, 30, channels)).astype("f4")


@pytest.mark.parametrize(("q_bits", "tolerance"), [(8, 0.15), (4, 0.2)])
def test_the_noise_is_that_of_the_quantiser(q_bits, tolerance):
    values = _coefficients()
    quantizer = Quantizer(np.ones(1, np.float32), q_bits).fit(values)
    error = np.asarray(quantizer.decode(quantizer.encode(values))) - values
    found = coding_costs.companding_noise(jnp.asarray(values), q_bits=q_bits)
    np.testing.assert_allclose(found, np.mean(error**2, axis=0), rtol=tolerance)


def test_bits_against_a_loop():
    values = np.abs(_coefficients(5, 7)) / 3
    found = np.asarray(coding_costs.coding_bits(jnp.asarray(values)))
    known = np.pad(values, ((1, 0), (2, 2)))
    for frame in range(5):
        for bin_ in range(7):
            row, at = frame + 1, bin_ + 2
            mean = 2 * known[row - 1, at] + known[row - 1, at - 1] + known[row - 1, at + 1]
            mean += 0.5 * (known[row - 1, at - 2] + known[row - 1, at + 2])
            mean = (mean + 2 * known[row, at - 1] + known[row, at - 2]) / 8 + 0.05
            bits = np.log2(1 + 2 * mean) + values[frame, bin_] * np.log2(1 + 1 / mean)
            assert found[frame, bin_] == pytest.approx(bits, rel=1e-5)


def test_half_the_step_costs_a_bit():
    """Of coefficients that are large; where all are zeros there is nothing to pay."""
    values = jnp.asarray(_coefficients()) * 100
    bits = [float(jnp.mean(coding_costs.coding_bits(scale * values))) for scale in (1.0, 2.0)]
    assert bits[1] - bits[0] == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize(
    "cost",
    [
        lambda values: jnp.sum(coding_costs.companding_noise(values, q_bits=4)),
        lambda values: jnp.sum(coding_costs.coding_bits(values)),
    ],
)
def test_gradients(cost, x64):
    rng = np.random.default_rng(1)
    values, way = (jnp.asarray(rng.standard_normal((2, 5, 4))) for _ in range(2))
    gradient = jax.jit(jax.grad(cost))
    step = 1e-6
    expected = (cost(values + step * way) - cost(values - step * way)) / (2 * step)
    assert float(jnp.vdot(gradient(values), way)) == pytest.approx(float(expected), rel=1e-6)
    assert bool(jnp.all(jnp.isfinite(gradient(jnp.zeros((2, 5, 4))))))
