"""Eigenvalues of frame operators against dense matrices, and the penalty that is made of them."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isincnet_jax import FilterbankSpec, SincNet, jax_names
from isincnet_jax.bank.dsp import frame_theory
from isincnet_jax.training import penalties
from isincnet_jax.training.penalties import condition_penalty, log_eigenvalues

HOP = 8
FEW = 4  # samples between frames where dense matrices are the oracle
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


@pytest.mark.quick(1)
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

    monkeypatch.setattr(penalties, "log_eigenvalues", note)
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


def _bank(seed, channels=7, taps=13):
    return np.random.default_rng(seed).standard_normal((channels, taps))


def _log_condition_eager(kernels, frequency, *, hop_length):
    """log(B / A) over some frequencies."""
    values = log_eigenvalues(kernels, frequency, hop_length=hop_length)
    return jnp.max(values[:, -1]) - jnp.min(values[:, 0])


_log_condition_jit = jax.jit(_log_condition_eager, static_argnames="hop_length")


def _log_condition(kernels, frequency, hop_length=FEW):
    kernels = jnp.asarray(kernels)
    frequency = jnp.asarray(np.asarray(frequency, kernels.dtype))
    return _log_condition_jit(kernels, frequency, hop_length=hop_length)


def _dense(kernels, hop_length, num_blocks):
    """The analysis of a periodic signal of ``num_blocks`` hops, as a matrix."""
    taps = kernels.shape[1]
    length = num_blocks * hop_length
    matrix = np.zeros((num_blocks, len(kernels), length))
    for frame in range(num_blocks):
        for tap in range(taps):
            matrix[frame, :, (frame * hop_length + tap - taps // 2) % length] += kernels[:, tap]
    return matrix.reshape(-1, length)


@settings(max_examples=4)
@given(seed=st.integers(0, 1000), channels=st.sampled_from([3, 4, 8]), taps=st.integers(3, 20))
def test_all_frequencies_of_a_periodic_signal(seed, channels, taps):
    """Signals that repeat after 8 hops consist of the frequencies k pi / 4."""
    kernels = _bank(seed, channels, taps)
    matrix = _dense(kernels, FEW, 8)
    singular = np.linalg.svd(matrix, compute_uv=False)
    if matrix.shape[0] < matrix.shape[1]:
        singular = np.append(singular, 0.0)
    with jax_names.enable_x64(True):
        found = _log_condition(kernels, np.arange(8) * np.pi / 4)
        assert found.dtype == jnp.float64
    floor = 8 * np.finfo(np.float64).eps * singular[0] ** 2
    expected = np.log(singular[0] ** 2 + floor) - np.log(singular[-1] ** 2 + floor)
    # Eigenvalues are known to some 1e-16 of the largest, which is what the floor is there for.
    slack = floor / (singular[-1] ** 2 + floor)
    assert found == pytest.approx(expected, abs=1e-9 + slack)


@pytest.mark.parametrize("channels", [3, FEW, 9])
def test_all_eigenvalues(channels, x64):
    kernels, frequency = _bank(4, channels), np.array([0.0, 0.7, 3.1])
    found = log_eigenvalues(jnp.asarray(kernels), jnp.asarray(frequency), hop_length=FEW)
    matrices = frame_theory.polyphase_matrix(kernels, hop_length=FEW, frequency=frequency)
    expected = np.linalg.eigvalsh(np.swapaxes(matrices, -1, -2).conj() @ matrices)
    floor = 8 * np.finfo(np.float64).eps * expected.max()
    np.testing.assert_allclose(np.exp(found) - floor, expected, atol=floor, rtol=1e-9)


def test_the_frame_bounds_of_a_bank_of_the_package(x64):
    spec = FilterbankSpec(sample_rate=8000, hop_length=8, num_bins=12, scale="mel_slaney")
    kernels = spec.design_kernels()
    kernels = np.concatenate([kernels.real, kernels.imag]) if np.iscomplexobj(kernels) else kernels
    bounds = frame_theory.frame_bounds_of_kernels(
        kernels, hop_length=8, num_frequencies=9, refine=False
    )
    found = _log_condition(kernels, np.linspace(0, np.pi, 9), hop_length=8)
    assert float(jnp.exp(found)) == pytest.approx(bounds.condition, rel=1e-6)
    some = _log_condition(kernels, np.linspace(0, np.pi, 9)[3:5], hop_length=8)
    assert some <= found


def test_a_tight_bank_has_none():
    kernels = jnp.asarray(np.linalg.qr(_bank(0, 5, 4))[0], jnp.float32)
    found = _log_condition(kernels, [0.0, 1.0, 3.0])
    assert found.dtype == jnp.float32
    assert found == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize("frequencies", [[0.0], [0.3, 2.0]])
def test_gradients_against_finite_differences(frequencies, x64):
    kernels, direction = _bank(1), _bank(2)

    def along(step):
        return float(_log_condition(kernels + step * direction, frequencies))

    gradient = jax.jit(jax.grad(lambda k: _log_condition(k, frequencies)))(jnp.asarray(kernels))
    numeric = (along(1e-6) - along(-1e-6)) / 2e-6
    assert float(jnp.sum(gradient * direction)) == pytest.approx(numeric, rel=1e-6)


@pytest.mark.parametrize("hop_length", [4, 60])
@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_no_frame_stays_finite(hop_length, channels):
    kernels = jnp.asarray(_bank(3, channels, 61), jnp.float32)
    value, gradient = jax.jit(
        jax.value_and_grad(lambda k: _log_condition(k, [0.1, 2.0], hop_length=hop_length))
    )(kernels)
    assert value > np.log(1e5)
    assert np.isfinite(gradient).all()
    assert np.any(gradient != 0)


def test_jit(rng):
    kernels = jnp.asarray(_bank(5), jnp.float32)
    compiled = _log_condition(kernels, [0.1, 2.0])
    eager = _log_condition_eager(kernels, jnp.asarray([0.1, 2.0]), hop_length=FEW)
    assert compiled == pytest.approx(float(eager), rel=1e-4)
