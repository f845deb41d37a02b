"""The penalty of a filterbank's condition number."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from isincnet_jax import FilterbankSpec, SincNet
from isincnet_jax.bank.dsp import frame_theory
from isincnet_jax.training import conditioning
from isincnet_jax.training.penalties import condition_penalty

HOP = 8
SPEC = FilterbankSpec(sample_rate=8000, hop_length=HOP, num_bins=14, scale="mel_slaney")


@pytest.fixture(scope="module")
def model():
    model = SincNet(SPEC, learnable_filters=True, window_terms=2)
    variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 8)))
    return model, variables


def _penalty(model, **options):
    options = {"hop_length": HOP, "weight": 1.0, **options}
    return condition_penalty(lambda v: model.apply(v, method="filters"), **options)


def _condition(model, variables):
    kernels = np.asarray(
        jax.jit(functools.partial(model.apply, method="filters"))(variables), np.float64
    )
    return frame_theory.frame_bounds_of_kernels(kernels, hop_length=HOP).condition


def _deficits(model, variables, frequency, *, target):
    """Sum of what the logarithms of the eigenvalues lack, per frequency, by dense matrices."""
    kernels = np.asarray(
        jax.jit(functools.partial(model.apply, method="filters"))(variables), np.float64
    )
    matrices = frame_theory.polyphase_matrix(kernels, hop_length=HOP, frequency=frequency)
    values = np.log(np.linalg.svd(matrices, compute_uv=False) ** 2)
    return np.sum(np.maximum(values.max() - np.log(target) - values, 0)) / len(frequency)


@pytest.mark.parametrize("target", [1.0, 2.0])
def test_it_is_what_all_eigenvalues_lack(model, target):
    model, variables = model
    # With many frequencies it does not matter where they start.
    frequency = np.pi / 64 * (0.5 + np.arange(64))
    expected = 0.5 * _deficits(model, variables, frequency, target=target)
    found = _penalty(model, num_frequencies=64, weight=0.5, target=target)
    assert found(variables, jax.random.key(0)) == pytest.approx(expected, rel=0.01)


def test_it_ends_at_the_target(model):
    model, variables = model
    true = _condition(model, variables)
    enough = _penalty(model, target=1.01 * true)
    value, gradient = jax.jit(jax.value_and_grad(enough))(variables, jax.random.key(0))
    assert value == 0.0
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(gradient))
    lacking = _penalty(model, target=0.9 * true, num_frequencies=64)
    assert lacking(variables, jax.random.key(0)) > 0


def test_frequencies_are_evenly_spaced_from_a_random_start(monkeypatch):
    seen = []

    def note(kernels, frequency, *, hop_length):
        seen.append(np.asarray(frequency))
        return jnp.zeros((len(frequency), 2), kernels.dtype)

    monkeypatch.setattr(conditioning, "log_eigenvalues", note)
    penalty = condition_penalty(
        lambda v: jnp.ones((2, 3)), hop_length=2, weight=1.0, num_frequencies=4
    )
    for seed in range(40):
        penalty({}, jax.random.key(seed))
    seen = np.stack(seen)
    np.testing.assert_allclose(np.diff(seen, axis=1), np.pi / 4, rtol=1e-5)
    offsets = seen[:, 0] / (np.pi / 4)
    assert 0 <= offsets.min() < 0.15
    assert 0.85 < offsets.max() < 1


@pytest.mark.quick(0)
def test_gradient_against_finite_differences(x64):
    model = SincNet(SPEC, learnable_filters=True, window_terms=2, dtype=jnp.float64)
    variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 8)))
    penalty = jax.jit(_penalty(model))
    key = jax.random.key(3)
    rng = np.random.default_rng(0)
    direction = jax.tree.map(
        lambda leaf: jnp.asarray(rng.standard_normal(leaf.shape)), variables["params"]
    )

    def along(step):
        moved = jax.tree.map(lambda a, b: a + step * b, variables["params"], direction)
        return float(penalty({**variables, "params": moved}, key))

    gradient = jax.jit(jax.grad(penalty))(variables, key)["params"]
    products = jax.tree.map(lambda a, b: float(jnp.vdot(a, b)), gradient, direction)
    assert all(value != 0 for value in jax.tree.leaves(products["analysis"]))
    numeric = (along(1e-7) - along(-1e-7)) / 2e-7
    assert sum(jax.tree.leaves(products)) == pytest.approx(numeric, rel=1e-4)


def test_steps_down_its_gradient_lower_the_condition_number(model):
    model, variables = model
    penalty = jax.jit(jax.value_and_grad(_penalty(model, num_frequencies=8)))
    before = _condition(model, variables)
    for number in range(20):
        _, gradient = penalty(variables, jax.random.key(number))
        norm = float(np.sqrt(sum(np.sum(leaf**2) for leaf in jax.tree.leaves(gradient))))
        variables = jax.tree.map(
            lambda a, b, n=norm: a - b * np.float32(2e-3 / n), variables, gradient
        )
    assert _condition(model, variables) < 0.9 * before


@pytest.mark.parametrize(
    ("options", "pattern"),
    [
        ({"target": 0.5}, "target=0.5, weight=1.0: use target >= 1 and weight > 0"),
        ({"weight": 0.0}, "weight=0.0: use"),
        ({"num_frequencies": 0}, "num_frequencies=0 must be at least 1"),
    ],
)
def test_errors(options, pattern):
    with pytest.raises(ValueError, match=pattern):
        condition_penalty(lambda v: v, **{"hop_length": HOP, "weight": 1.0, **options})
