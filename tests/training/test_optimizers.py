"""Schedules by their values; the optimiser against optax.adamw and by hand."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from isincnet_jax.training.optimizers import (
    OptimizerSpec,
    label_parameters,
    learning_rate_schedule,
    make_optimizer,
)


@pytest.fixture(autouse=True)
def promotion():
    """Optax raises floats to integer powers."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture
def params(rng):
    return {
        "analysis": {"center": jnp.asarray(rng.standard_normal(5), jnp.float32)},
        "synthesis": {
            "kernels": jnp.asarray(rng.standard_normal((4, 3)), jnp.float32),
            "bias": jnp.asarray(rng.standard_normal(3), jnp.float32),
        },
    }


def _train(optimizer, params, steps=5):
    """Steps with random gradients; the parameters after each."""
    state, trace = optimizer.init(params), [params]
    for number in range(steps):
        generator = np.random.default_rng(number)
        gradients = jax.tree.map(
            lambda leaf, g=generator: jnp.asarray(g.standard_normal(leaf.shape), jnp.float32),
            params,
        )
        updates, state = optimizer.update(gradients, state, params)
        params = optax.apply_updates(params, updates)
        trace.append(params)
    return trace


def test_it_is_adamw(params, rng):
    """With one rate, no clipping and matrices only: optax.adamw, its decay per unit of rate."""
    params = {"synthesis": {"kernels": params["synthesis"]["kernels"]}}
    spec = OptimizerSpec(
        learning_rate=0.01,
        weight_decay=0.003,
        schedule="cosine",
        total_steps=8,
        clip_norm=None,
        warmup_steps=2,
        b1=0.8,
        b2=0.95,
        eps=1e-4,
    )
    rates = optax.warmup_cosine_decay_schedule(0.0, 0.01, 2, 8)
    expected = optax.adamw(rates, b1=0.8, b2=0.95, eps=1e-4, weight_decay=0.3)
    for ours, theirs in zip(
        _train(make_optimizer(spec), params), _train(expected, params), strict=True
    ):
        np.testing.assert_allclose(
            ours["synthesis"]["kernels"], theirs["synthesis"]["kernels"], rtol=1e-6
        )


def test_first_steps_are_the_rates(params):
    """Adam's first step is the sign of the gradient times the rate, whatever the gradient."""
    spec = OptimizerSpec(
        learning_rate=0.01, filter_learning_rate=0.002, weight_decay=0.0, schedule="constant"
    )
    before, after = _train(make_optimizer(spec), params, steps=1)
    moved = jax.tree.map(lambda a, b: np.abs(np.asarray(a) - b), before, after)
    np.testing.assert_allclose(moved["analysis"]["center"], 0.002, rtol=1e-3)
    np.testing.assert_allclose(moved["synthesis"]["kernels"], 0.01, rtol=1e-3)
    spec = OptimizerSpec(learning_rate=0.01, weight_decay=0.0, schedule="constant")
    before, after = _train(make_optimizer(spec), params, steps=1)
    change = np.abs(np.asarray(before["analysis"]["center"]) - after["analysis"]["center"])
    np.testing.assert_allclose(change, 0.01, rtol=1e-3)


def test_a_rate_of_zero_freezes_filters(params):
    spec = OptimizerSpec(filter_learning_rate=0.0, weight_decay=0.1)
    trace = _train(make_optimizer(spec), params)
    np.testing.assert_array_equal(trace[-1]["analysis"]["center"], params["analysis"]["center"])
    assert np.all(trace[-1]["synthesis"]["bias"] != params["synthesis"]["bias"])


def test_weight_decay_is_per_step_and_follows_the_schedule(params):
    """Without gradients a matrix shrinks by the decay of each step; nothing else moves."""
    spec = OptimizerSpec(
        learning_rate=0.05, weight_decay=0.01, schedule="step", step_every=2, step_factor=0.5
    )
    optimizer = make_optimizer(spec)
    state, current, gradients = optimizer.init(params), params, jax.tree.map(jnp.zeros_like, params)
    for _ in range(4):
        updates, state = optimizer.update(gradients, state, current)
        current = optax.apply_updates(current, updates)
    shrunk = np.asarray(params["synthesis"]["kernels"]) * 0.99**2 * 0.995**2
    np.testing.assert_allclose(current["synthesis"]["kernels"], shrunk, rtol=1e-5)
    np.testing.assert_array_equal(current["synthesis"]["bias"], params["synthesis"]["bias"])
    np.testing.assert_array_equal(current["analysis"]["center"], params["analysis"]["center"])


def test_clipping_is_by_the_global_norm(params):
    """A huge gradient and its clipped version leave the same state."""
    spec = OptimizerSpec(clip_norm=2.0, eps=0.5)
    gradients = jax.tree.map(lambda leaf: 100 * leaf, params)
    norm = np.sqrt(sum(float(jnp.sum(leaf**2)) for leaf in jax.tree.leaves(gradients)))
    clipped = jax.tree.map(lambda leaf: leaf * (2.0 / norm), gradients)
    optimizer = make_optimizer(spec)
    updates, _ = optimizer.update(gradients, optimizer.init(params), params)
    plain = make_optimizer(OptimizerSpec(clip_norm=None, eps=0.5))
    expected, _ = plain.update(clipped, plain.init(params), params)
    for one, other in zip(jax.tree.leaves(updates), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
    unclipped, _ = plain.update(gradients, plain.init(params), params)
    assert np.max(np.abs(unclipped["synthesis"]["bias"] - updates["synthesis"]["bias"])) > 1e-5


def _cosine(step, peak, total, fraction):
    return peak * (fraction + (1 - fraction) * 0.5 * (1 + np.cos(np.pi * min(step / total, 1))))


@pytest.mark.parametrize("step", [0, 1, 9, 10, 11, 60, 110, 500])
@pytest.mark.parametrize("warmup", [0, 10])
def test_schedules(step, warmup):
    options = {"total_steps": 110, "warmup_steps": warmup}
    after = max(step - warmup, 0)
    expected = {
        "constant": 0.3,
        "cosine": _cosine(after, 0.3, 110 - warmup, 0.1),
        "step": 0.3 * 0.5 ** (after // 20),
    }
    for name, value in expected.items():
        spec = OptimizerSpec(
            schedule=name, final_fraction=0.1, step_every=20, step_factor=0.5, **options
        )
        rate = learning_rate_schedule(spec, 0.3)(step)
        warming = step / warmup if step < warmup else 1.0
        assert float(rate) == pytest.approx(value * warming, rel=1e-5), name


def test_labels(params):
    labels = label_parameters(params, OptimizerSpec(filter_paths=("synthesis",)))
    assert labels == {
        "analysis": {"center": "main"},
        "synthesis": {"kernels": "filters", "bias": "filters"},
    }
    assert label_parameters(jnp.zeros(3), OptimizerSpec()) == "main"


@pytest.mark.parametrize(
    ("options", "pattern"),
    [
        ({"schedule": "linear"}, "schedule='linear' is unknown; use constant, cosine, step"),
        ({"learning_rate": 0.0}, "learning_rate=0.0 must be positive"),
        ({"learning_rate": float("nan")}, "learning_rate=nan must be a number"),
        ({"filter_learning_rate": -1.0}, "filter_learning_rate=-1.0 must be >= 0"),
        ({"clip_norm": 0.0}, "clip_norm=0.0 must be positive, or None"),
        (
            {"warmup_steps": 50, "total_steps": 50},
            "warmup_steps=50 must be below total_steps=50; use a tenth, 5",
        ),
        ({"step_every": 0}, "step_every=0 must be at least 1"),
        ({"weight_decay": -0.1}, "weight_decay=-0.1 must be >= 0"),
        ({"filter_paths": "analysis"}, r"filter_paths='analysis': give names, \('analysis',\)"),
    ],
)
def test_errors(options, pattern):
    with pytest.raises(ValueError, match=pattern):
        OptimizerSpec(**options)


@pytest.mark.parametrize(
    ("paths", "filters"),
    [
        (("analysis",), {"bank/analysis/center", "analysis/center"}),
        (("bank/analysis",), {"bank/analysis/center"}),
        (("bank",), {"bank/analysis/center", "bank/synthesis/kernels"}),
        (("anal",), set()),
        ((), set()),
    ],
)
def test_filters_of_nested_banks(paths, filters):
    tree = {
        "bank": {"analysis": {"center": jnp.ones(3)}, "synthesis": {"kernels": jnp.ones((2, 2))}},
        "analysis": {"center": jnp.ones(3)},
        "network": {"analysis_of_errors": {"center": jnp.ones(3)}},
    }
    labels = label_parameters(tree, OptimizerSpec(filter_paths=paths))
    found = jax.tree_util.tree_leaves_with_path(labels)
    names = {"/".join(key.key for key in path) for path, label in found if label == "filters"}
    assert names == filters


def test_parameters_are_projected_after_every_step():
    optimizer = make_optimizer(
        OptimizerSpec(learning_rate=0.5, schedule="constant"),
        project=lambda params: jax.tree.map(lambda leaf: jnp.clip(leaf, -0.1, 0.25), params),
    )
    for params in _train(optimizer, {"analysis": {"center": jnp.zeros(64)}})[1:]:
        center = params["analysis"]["center"]
        assert float(jnp.min(center)) >= -0.1 - 1e-7
        assert float(jnp.max(center)) <= 0.25 + 1e-7
    assert float(jnp.max(center)) == pytest.approx(0.25)
