"""The differentiable condition number against the frame bounds and dense matrices."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isincnet_jax import FilterbankSpec, jax_names
from isincnet_jax.bank.dsp import frame_theory
from isincnet_jax.training import conditioning

HOP = 4


def _bank(seed, channels=7, taps=13):
    return np.random.default_rng(seed).standard_normal((channels, taps))


_log_condition_jit = jax.jit(conditioning.log_condition, static_argnames="hop_length")


def _log_condition(kernels, frequency, hop_length=HOP):
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
    matrix = _dense(kernels, HOP, 8)
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


@pytest.mark.parametrize("channels", [3, HOP, 9])
def test_all_eigenvalues(channels, x64):
    kernels, frequency = _bank(4, channels), np.array([0.0, 0.7, 3.1])
    found = conditioning.log_eigenvalues(
        jnp.asarray(kernels), jnp.asarray(frequency), hop_length=HOP
    )
    matrices = frame_theory.polyphase_matrix(kernels, hop_length=HOP, frequency=frequency)
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
    eager = conditioning.log_condition(kernels, jnp.asarray([0.1, 2.0]), hop_length=HOP)
    assert compiled == pytest.approx(float(eager), rel=1e-4)
