"""Phase retrieval against librosa, dense matrices, and what theory says about its iterations."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest

from isincnet_jax.phase import iterations, retrieval

N_FFT, HOP, LENGTH = 128, 32, 2400
GEOMETRY = {"n_fft": N_FFT, "hop_length": HOP}


def _voice(seed=0, length=LENGTH):
    """Gliding harmonics that come and go, with silence at both ends, and a little noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(length) / 8000
    cycles = (110 + 20 * seed) * time + 60 * time**2
    tones = sum(np.sin(2 * np.pi * k * cycles + k * k) / k for k in range(1, 12))
    swell = np.sin(np.pi * np.arange(length) / length) ** 2
    wave = swell * (tones * (1 + np.sin(20 * time)) + 0.02 * rng.standard_normal(length))
    wave[:N_FFT] = wave[-N_FFT:] = 0.0
    return (0.3 * wave).astype(np.float32)


@pytest.fixture(scope="module")
def problem():
    """Operators, magnitudes of two clips, and librosa's random phases for them."""
    operators = retrieval.stft_operators(**GEOMETRY, length=LENGTH)
    magnitude = jnp.abs(operators.analyse(jnp.stack([_voice(0), _voice(1)])))
    bins_first = magnitude.swapaxes(-1, -2).shape
    angles = 2 * np.pi * np.random.RandomState(3).random(size=bins_first)
    return operators, magnitude, angles.swapaxes(-1, -2).astype(np.float32)


def _librosa(magnitude, num_iterations, momentum):
    found = librosa.griffinlim(
        np.asarray(magnitude).swapaxes(-1, -2),
        n_iter=num_iterations,
        momentum=momentum,
        length=LENGTH,
        pad_mode="reflect",
        random_state=3,
        **GEOMETRY,
    )
    return jnp.asarray(found)


def _convergence_db(waveform, operators, magnitude):
    error = jnp.linalg.norm(jnp.abs(operators.analyse(waveform)) - magnitude, axis=(-2, -1))
    return 20 * np.log10(np.asarray(error / jnp.linalg.norm(magnitude, axis=(-2, -1))))


@pytest.mark.parametrize("momentum", [0.0, 0.99])
def test_first_iterations_are_those_of_librosa(problem, momentum):
    operators, magnitude, angles = problem
    expected = _librosa(magnitude, 6, momentum)
    found = retrieval.griffin_lim(
        magnitude, **operators._asdict(), num_iterations=6, momentum=momentum, phase=angles
    )
    # Float32 rounding grows with every iteration, as the map amplifies it.
    assert float(jnp.linalg.norm(found - expected) / jnp.linalg.norm(expected)) < 1e-3


def test_plain_griffin_lim_converges_as_far_as_librosa(problem):
    operators, magnitude, angles = problem
    expected = _convergence_db(_librosa(magnitude, 60, 0.0), operators, magnitude)
    found = retrieval.griffin_lim(magnitude, **operators._asdict(), num_iterations=60, phase=angles)
    found = _convergence_db(found, operators, magnitude)
    assert np.mean(found) == pytest.approx(np.mean(expected), abs=0.1)


def test_plain_griffin_lim_never_gets_worse(problem):
    """With silent edges the projection is orthogonal, and the error is |(1 - P) c|."""
    operators, magnitude, angles = problem
    coefficients = retrieval.initial_coefficients(magnitude, phase=angles)
    errors = []
    for _ in range(25):
        projected = operators.analyse(operators.synthesise(coefficients))
        errors.append(float(jnp.linalg.norm(projected - coefficients)))
        coefficients = retrieval.with_magnitude(projected, magnitude)
    assert np.all(np.diff(errors) < 0)
    expected = retrieval.griffin_lim(
        magnitude, **operators._asdict(), num_iterations=25, phase=angles
    )
    np.testing.assert_allclose(operators.synthesise(coefficients), expected, atol=1e-3)


def test_fast_and_admm_are_better_than_plain_at_equal_iterations(problem):
    operators, magnitude, angles = problem
    common = {**operators._asdict(), "num_iterations": 60, "phase": angles}

    def score(waveform):
        return np.mean(_convergence_db(waveform, operators, magnitude))

    plain = score(retrieval.griffin_lim(magnitude, **common))
    assert plain < -15
    assert score(retrieval.griffin_lim(magnitude, momentum=0.99, **common)) < plain - 3
    assert score(retrieval.admm(magnitude, **common)) < plain - 2


def test_admm_of_penalty_1_is_griffin_lim(problem):
    operators, magnitude, angles = problem
    common = {**operators._asdict(), "num_iterations": 6, "phase": angles}
    expected = retrieval.griffin_lim(magnitude, **common)
    found = retrieval.admm(magnitude, rho=1.0, **common)
    assert float(jnp.linalg.norm(found - expected) / jnp.linalg.norm(expected)) < 1e-3


@pytest.fixture
def dense(rng):
    """A redundant complex transform of 6 samples, 4 frames of 5 bins, and its pseudo-inverse."""
    matrix = rng.standard_normal((20, 6)) + 1j * rng.standard_normal((20, 6))
    inverse = np.linalg.pinv(np.concatenate([matrix.real, matrix.imag]))
    magnitude = np.abs(matrix @ rng.standard_normal(6))
    start = rng.uniform(0, 2 * np.pi, 20)

    def analyse(waveform):
        return (waveform.astype(complex) @ matrix.T).reshape(4, 5)

    def synthesise(coefficients):
        flat = coefficients.reshape(20)
        return jnp.concatenate([flat.real, flat.imag]) @ inverse.T

    def project(coefficients):
        return matrix @ (inverse @ np.concatenate([coefficients.real, coefficients.imag]))

    operators = {"analyse": analyse, "synthesise": synthesise}
    return operators, project, magnitude, start, inverse


@pytest.mark.parametrize("momentum", [0.0, 0.9, 1.3])
def test_griffin_lim_on_a_dense_transform(dense, momentum, x64):
    operators, project, magnitude, start, inverse = dense
    estimate, previous = magnitude * np.exp(1j * start), 0.0
    for _ in range(12):
        projected = project(estimate)
        direction = projected - momentum / (1 + momentum) * previous
        estimate, previous = magnitude * np.exp(1j * np.angle(direction)), projected
    found = retrieval.griffin_lim(
        magnitude.reshape(4, 5),
        **operators,
        num_iterations=12,
        momentum=momentum,
        phase=start.reshape(4, 5),
    )
    expected = inverse @ np.concatenate([estimate.real, estimate.imag])
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("rho", [0.0, 0.2, 2.0])
def test_admm_on_a_dense_transform(dense, rho, x64):
    """The textbook's updates of x, z and the multipliers u, one by one."""
    operators, project, magnitude, start, inverse = dense
    consistent, multiplier = magnitude * np.exp(1j * start), np.zeros(20)
    # The package's first step is the projection of the start.
    for _ in range(12 + 1):
        exact = magnitude * np.exp(1j * np.angle(consistent - multiplier))
        total = exact + multiplier
        consistent = (rho * total + project(total)) / (1 + rho)
        multiplier = total - consistent
    found = retrieval.admm(
        magnitude.reshape(4, 5),
        **operators,
        num_iterations=12,
        rho=rho,
        phase=start.reshape(4, 5),
    )
    expected = inverse @ np.concatenate([exact.real, exact.imag])
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("beta", [1.0, 0.8, -1.3])
def test_difference_map_on_a_dense_transform(dense, beta, x64):
    """Elser's equations, one by one."""
    operators, project, magnitude, start, inverse = dense

    def fit(values):
        return magnitude * np.exp(1j * np.angle(values))

    values = fit(np.exp(1j * start))
    for _ in range(12):
        towards = project(values) + (project(values) - values) / beta
        away = fit(values) - (fit(values) - values) / beta
        fitted = fit(towards)
        values = values + beta * (fitted - project(away))
    found = retrieval.difference_map(
        magnitude.reshape(4, 5),
        **operators,
        num_iterations=12,
        beta=beta,
        phase=start.reshape(4, 5),
    )
    expected = inverse @ np.concatenate([fitted.real, fitted.imag])
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-9)


def test_difference_map_of_beta_1_is_admm_without_penalty(problem):
    operators, magnitude, angles = problem
    common = {**operators._asdict(), "num_iterations": 6, "phase": angles}
    expected = retrieval.admm(magnitude, rho=0.0, **common)
    found = retrieval.difference_map(magnitude, **common)
    assert float(jnp.linalg.norm(found - expected) / jnp.linalg.norm(expected)) < 1e-3


METHODS = {
    "plain": retrieval.griffin_lim,
    "fast": functools.partial(retrieval.griffin_lim, momentum=0.99),
    "admm": retrieval.admm,
    "difference map": functools.partial(retrieval.difference_map, beta=0.9),
}


@pytest.mark.parametrize("method", METHODS)
def test_true_phase_is_a_fixed_point(method, problem):
    operators, _, _ = problem
    waveform = jnp.asarray(_voice(0))
    spectrum = operators.analyse(waveform)
    found = METHODS[method](
        jnp.abs(spectrum), **operators._asdict(), num_iterations=3, phase=jnp.angle(spectrum)
    )
    np.testing.assert_allclose(found, waveform, atol=1e-4)


@pytest.mark.quick(1)
@pytest.mark.parametrize("method", METHODS)
def test_batches_are_loops(method, problem):
    operators, magnitude, angles = problem
    options = {**operators._asdict(), "num_iterations": 4}
    whole = METHODS[method](magnitude, phase=angles, **options)
    nested = METHODS[method](magnitude[:, None], phase=angles[:, None], **options)
    for clip in range(2):
        one = METHODS[method](magnitude[clip], phase=angles[clip], **options)
        np.testing.assert_allclose(whole[clip], one, atol=1e-4)
        np.testing.assert_allclose(nested[clip, 0], one, atol=1e-4)


def test_large_clips_that_take_turns_are_the_same(problem, monkeypatch):
    operators, magnitude, angles = problem
    # A number of iterations that no other test has compiled, or the limit would not be read.
    options = {**operators._asdict(), "num_iterations": 7, "momentum": 0.99}
    ones = [retrieval.griffin_lim(magnitude[n], phase=angles[n], **options) for n in range(2)]
    monkeypatch.setattr(iterations, "_LARGE_CLIP", 1)

    def energy(values):
        waveform = retrieval.griffin_lim(values, phase=angles[:, None], **options)
        return jnp.sum(waveform**2), waveform

    gradient, found = jax.jit(jax.grad(energy, has_aux=True))(magnitude[:, None])
    assert found.shape == (2, 1, LENGTH)
    np.testing.assert_allclose(found[:, 0], jnp.stack(ones), atol=1e-4)
    assert np.all(np.isfinite(gradient))
    assert "scan" in str(jax.make_jaxpr(lambda v: iterations.each_clip(jnp.sin, v))(magnitude))


@pytest.mark.quick(1)
@pytest.mark.parametrize("method", METHODS)
def test_silence_stays_silent_and_has_finite_gradients(method, problem):
    operators, magnitude, _ = problem
    options = {**operators._asdict(), "num_iterations": 3, "key": jax.random.key(0)}

    def energy(values):
        waveform = METHODS[method](values, **options)
        return jnp.sum(waveform**2), waveform

    silence = jnp.zeros_like(magnitude[0])
    gradient, waveform = jax.jit(jax.grad(energy, has_aux=True))(silence)
    np.testing.assert_array_equal(waveform, 0.0)
    assert np.all(np.isfinite(gradient))
    # Digital silence at both ends beside sound in the middle.
    gradient, waveform = jax.jit(jax.grad(energy, has_aux=True))(magnitude[0])
    assert np.all(np.isfinite(gradient))
    assert np.all(np.isfinite(waveform))
    assert np.any(gradient)


def test_gradient_is_that_of_finite_differences(dense, rng, x64):
    operators, _, magnitude, start, _ = dense

    def first(values):
        return retrieval.admm(values, **operators, num_iterations=5, phase=start.reshape(4, 5))[0]

    point = jnp.asarray(magnitude.reshape(4, 5))
    direction = rng.standard_normal((4, 5))
    numeric = (first(point + 1e-6 * direction) - first(point - 1e-6 * direction)) / 2e-6
    assert np.sum(jax.jit(jax.grad(first))(point) * direction) == pytest.approx(
        float(numeric), rel=1e-5
    )


def test_without_iterations_the_start_is_synthesised(problem):
    operators, magnitude, angles = problem
    start = np.asarray(magnitude) * np.exp(1j * angles)
    expected = operators.synthesise(jnp.asarray(start, jnp.complex64))
    for method in METHODS.values():
        found = method(magnitude, **operators._asdict(), num_iterations=0, phase=angles)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_keys_make_uniform_phases_and_nothing_makes_phase_0(problem):
    _, magnitude, _ = problem
    one = retrieval.initial_coefficients(magnitude, key=jax.random.key(1))
    again = retrieval.initial_coefficients(magnitude, key=jax.random.key(1))
    other = retrieval.initial_coefficients(magnitude, key=jax.random.key(2))
    np.testing.assert_array_equal(one, again)
    assert not np.allclose(one, other)
    np.testing.assert_allclose(np.abs(one), magnitude, rtol=1e-5, atol=1e-12)
    turns = np.angle(np.asarray(one)[np.asarray(magnitude) > 1e-6]) / (2 * np.pi)
    counts = np.histogram(turns, bins=8, range=(-0.5, 0.5))[0]
    assert np.all(np.abs(counts / len(turns) - 1 / 8) < 0.02)
    plain = retrieval.initial_coefficients(magnitude)
    np.testing.assert_array_equal(plain, np.asarray(magnitude).astype(np.complex64))


def test_equal_operators_are_one_object_and_compile_once():
    one = retrieval.stft_operators(n_fft=16, hop_length=4, length=100)
    assert retrieval.stft_operators(n_fft=16, hop_length=4, length=100) is one
    assert retrieval.stft_operators(n_fft=16, hop_length=4, length=101) is not one
    traces = []

    @jax.jit
    def run(operators, values):
        traces.append(1)
        return retrieval.griffin_lim(values, **operators._asdict(), num_iterations=1)

    magnitude = jnp.ones((26, 9))
    run(one, magnitude)
    run(retrieval.stft_operators(n_fft=16, hop_length=4, length=100), magnitude)
    assert len(traces) == 1


def test_impossible_arguments_are_named(problem):
    operators, magnitude, angles = problem
    options = operators._asdict()
    with pytest.raises(ValueError, match=r"momentum=-0.1 must not be negative"):
        retrieval.griffin_lim(magnitude, **options, momentum=-0.1)
    with pytest.raises(ValueError, match=r"num_iterations=-1 must be 0 or more"):
        retrieval.griffin_lim(magnitude, **options, num_iterations=-1)
    with pytest.raises(ValueError, match=r"rho=-1.0 must not be negative"):
        retrieval.admm(magnitude, **options, rho=-1.0)
    with pytest.raises(ValueError, match=r"beta=0 leaves the start"):
        retrieval.difference_map(magnitude, **options, beta=0)
    with pytest.raises(ValueError, match=r"phase and key are both given"):
        retrieval.admm(magnitude, **options, phase=angles, key=jax.random.key(0))
    with pytest.raises(ValueError, match=r"phase.shape=\(.*must be that of the magnitude"):
        retrieval.admm(magnitude, **options, phase=angles[0])
