"""Range projections beside dense pseudo-inverses; tolerances; derivatives; what is refused."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isincnet_jax.dsp.range_projection import project_onto


def _problem(rng, rows=12, time=20, clips=2):
    matrix = rng.standard_normal((rows, time))
    guess, truth = rng.standard_normal((2, clips, time))
    return matrix, guess, truth


def _measured(matrix, waveform):
    return jnp.matmul(waveform, jnp.asarray(matrix.T, waveform.dtype), precision="highest")


@settings(max_examples=12, deadline=None)
@given(rows=st.integers(1, 12), seed=st.integers(0, 99))
def test_it_is_the_orthogonal_projection_of_linear_measurements(rows, seed):
    matrix, guess, truth = _problem(np.random.default_rng(seed), rows=12)
    matrix[rows:] = 0  # of any rank; columns of zeros are met from the start
    found = project_onto(
        jnp.asarray(guess, jnp.float32),
        jnp.asarray(truth @ matrix.T, jnp.float32),
        measure=functools.partial(_measured, matrix),
        iterations=16,
    )
    expected = guess + (truth - guess) @ matrix.T @ np.linalg.pinv(matrix).T
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_complex_coefficients_and_clips_of_other_levels(rng):
    matrix, guess, truth = _problem(rng)
    matrix = matrix + 1j * np.roll(matrix, 1, axis=1)
    level = np.asarray([[1.0], [1e3]])  # each clip has its own steps
    found = project_onto(
        jnp.asarray(level * guess, jnp.float32),
        jnp.asarray(level * truth @ matrix.T, jnp.complex64),
        measure=lambda x: jnp.matmul(x.astype(jnp.complex64), jnp.asarray(matrix.T, jnp.complex64)),
        iterations=40,
    )
    both = np.concatenate([matrix.real, matrix.imag])
    expected = guess + (truth - guess) @ both.T @ np.linalg.pinv(both).T
    np.testing.assert_allclose(found / level, expected, atol=2e-3)


def test_within_the_tolerance_nothing_moves_and_others_come_to_its_edge():
    guess = jnp.asarray([0.0, 0.0, 0.0, 5.0], jnp.float32)
    wanted = jnp.asarray([0.5, 3.0, -3.0], jnp.float32)
    options = {"measure": lambda x: x[:3], "iterations": 3}
    found = project_onto(guess, wanted, tolerance=1.0, **options)
    np.testing.assert_allclose(found, [0.0, 2.0, -2.0, 5.0], atol=1e-6)
    found = project_onto(guess, wanted, tolerance=jnp.asarray([0.0, 1.0, 4.0]), **options)
    np.testing.assert_allclose(found, [0.5, 2.0, 0.0, 5.0], atol=1e-6)


def test_smooth_measurements_are_met_too(rng):
    matrix, guess, truth = _problem(rng, rows=6)

    def measure(x):
        return jnp.sqrt(1 + _measured(matrix, x) ** 2)

    wanted = measure(jnp.asarray(truth, jnp.float32))
    found = project_onto(jnp.asarray(guess, jnp.float32), wanted, measure=measure, iterations=60)
    assert np.max(np.abs(measure(found) - wanted)) < 0.02 * np.max(np.abs(wanted))


def test_what_is_met_stays_as_it_is_and_silence_has_finite_slopes():
    ones = jnp.ones((1, 8), jnp.float32)
    options = {"measure": lambda x: x[..., :4], "iterations": 4}
    np.testing.assert_array_equal(project_onto(ones, ones[:, :4], **options), ones)
    slope = jax.grad(lambda x: jnp.sum(project_onto(x, ones[:, :4], **options) ** 2))(0 * ones)
    assert np.all(np.isfinite(slope))


@pytest.mark.usefixtures("x64")
def test_jitted_and_mapped_it_is_the_same_and_its_slopes_are_those_of_differences(rng):
    matrix, guess, truth = _problem(rng)
    run = functools.partial(project_onto, measure=functools.partial(_measured, matrix))
    guess, wanted = jnp.asarray(guess), jnp.asarray(truth @ matrix.T)
    expected = run(guess, wanted, iterations=12)
    np.testing.assert_allclose(
        jax.jit(jax.vmap(functools.partial(run, iterations=12)))(guess, wanted), expected
    )
    # The projection is linear: its slope along a direction is the difference.
    along = jnp.asarray(rng.standard_normal(wanted.shape))
    _, slope = jax.jvp(lambda y: run(guess, y, iterations=12), (wanted,), (along,))
    np.testing.assert_allclose(
        slope, run(guess, wanted + along, iterations=12) - expected, atol=1e-6
    )


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"iterations": 0}, ValueError, "iterations=0"),
        ({"given": jnp.ones(3)}, ValueError, r"given.shape=\(3,\)"),
        ({"waveform": jnp.ones(8, jnp.int32)}, TypeError, "waveform"),
    ],
)
def test_impossible_arguments_are_named(change, error, message):
    arguments = {"waveform": jnp.ones(8), "given": jnp.ones(4), "measure": lambda x: x[:4]}
    arguments.update(change)
    with pytest.raises(error, match=message):
        project_onto(arguments.pop("waveform"), arguments.pop("given"), **arguments)
