"""Losses by name and their weighted sums."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from isincnet_jax.training.losses import weighted_loss


@pytest.fixture
def pair(rng):
    return {
        "prediction": jnp.asarray(rng.standard_normal((3, 200)).astype(np.float32)),
        "target": jnp.asarray(rng.standard_normal((3, 200)).astype(np.float32)),
    }


def test_weights_and_terms(pair):
    total, terms = weighted_loss({"l1": 2.0, "l2": 0.5, "energy": 0.0})(**pair)
    difference = np.asarray(pair["prediction"], np.float64) - np.asarray(pair["target"])
    assert terms["l1"] == pytest.approx(np.mean(np.abs(difference)), rel=1e-6)
    assert terms["l2"] == pytest.approx(np.mean(difference**2), rel=1e-6)
    assert terms["energy"] > 0
    assert total == pytest.approx(float(2.0 * terms["l1"] + 0.5 * terms["l2"]), rel=1e-6)


def test_a_weight_of_zero_is_reported_and_not_learned_from(pair):
    loss = weighted_loss({"l2": 1.0, "negative_snr_db": 0.0})
    gradient = jax.jit(jax.grad(lambda p: loss(prediction=p, target=pair["target"])[0]))(
        pair["prediction"]
    )
    expected = 2 * (pair["prediction"] - pair["target"]) / pair["target"].size
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-9)
    assert loss(**pair)[1]["negative_snr_db"] > 0


def test_an_infinite_term_of_weight_zero_does_no_harm(pair):
    loss = weighted_loss({"l1": 1.0, "l2": 0.0})
    total, terms = loss(prediction=pair["prediction"] * np.float32(1e30), target=pair["target"])
    assert np.isinf(terms["l2"])
    assert np.isfinite(total)


@pytest.mark.parametrize("name", ["l2", "energy", "negative_snr_db"])
def test_each_loss_is_a_mean_over_clips(name, rng):
    pair = rng.standard_normal((2, 4, 600)).astype(np.float32)
    loss = weighted_loss({name: 1.0})
    whole, _ = loss(prediction=pair[0], target=pair[1])
    halves = [
        loss(prediction=pair[0, half], target=pair[1, half])[0]
        for half in (slice(0, 2), slice(2, 4))
    ]
    assert whole == pytest.approx(float(halves[0] + halves[1]) / 2, rel=1e-5)


@pytest.mark.parametrize(
    ("weights", "pattern"),
    [
        ({"log_sftt": 1.0}, r"loss 'log_sftt' is unknown; did you mean 'log_stft'\? losses: l1, "),
        ({"xyz": 1.0}, "loss 'xyz' is unknown; losses: l1, "),
        ({"l1": -1.0}, "loss 'l1' has weight -1.0; weights are 0 or positive"),
        ({"l1": float("nan")}, "loss 'l1' has weight nan"),
        ({"l1": 0.0}, "no loss has a positive weight; give one, such as l1=1.0"),
        ({}, "no loss has a positive weight"),
    ],
)
def test_errors(weights, pattern):
    with pytest.raises(ValueError, match=pattern):
        weighted_loss(weights)
