"""Mel inversion against scipy's and librosa's non-negative least squares."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest
import scipy.optimize

from isincnet_jax.phase import mel_inversion, retrieval

N_FFT, HOP, LENGTH, MELS = 128, 32, 2400, 20
FILTERS = librosa.filters.mel(sr=8000, n_fft=N_FFT, n_mels=MELS)


@pytest.fixture(scope="module")
def problem():
    """Operators, magnitudes, mel magnitudes and random phases of a gliding tone with overtones."""
    time = np.arange(LENGTH) / 8000
    cycles = 120 * time + 100 * time**2
    tones = sum(np.sin(2 * np.pi * k * cycles + k * k) / k for k in range(1, 15))
    waveform = jnp.asarray(0.2 * tones * np.hanning(LENGTH), jnp.float32)
    operators = retrieval.stft_operators(n_fft=N_FFT, hop_length=HOP, length=LENGTH)
    magnitude = jnp.abs(operators.analyse(waveform))
    angles = np.random.default_rng(0).uniform(0, 2 * np.pi, magnitude.shape).astype(np.float32)
    return operators, magnitude, magnitude @ FILTERS.T, angles


def _relative_db(found, wanted):
    return 20 * np.log10(np.linalg.norm(np.asarray(found) - wanted) / np.linalg.norm(wanted))


def test_dense_problems_are_those_of_scipy(rng, x64):
    filters = rng.standard_normal((9, 6))
    mel = rng.standard_normal((2, 5, 9))
    found = mel_inversion.mel_to_magnitude(mel, filters, num_iterations=1000)
    expected = [scipy.optimize.nnls(filters, frame)[0] for frame in mel.reshape(-1, 9)]
    np.testing.assert_allclose(found, np.reshape(expected, (2, 5, 6)), atol=1e-8)
    assert np.any(found == 0)  # bounds that are met, or it would be plain least squares


def test_mel_spectrograms_are_met_as_well_as_by_librosa(problem):
    _, magnitude, mel, _ = problem
    found = mel_inversion.mel_to_magnitude(mel, FILTERS)
    assert found.shape == magnitude.shape
    assert np.all(np.asarray(found) >= 0)
    theirs = librosa.util.nnls(FILTERS, np.asarray(mel).T).T
    assert _relative_db(found @ FILTERS.T, mel) < -80
    assert _relative_db(found @ FILTERS.T, mel) < _relative_db(theirs @ FILTERS.T, mel)
    assert _relative_db(found, magnitude) < _relative_db(theirs, magnitude) + 0.5


def test_powers_are_undone(problem):
    _, magnitude, _, _ = problem
    energies = magnitude**2 @ FILTERS.T
    found = mel_inversion.mel_to_magnitude(energies, FILTERS, power=2.0)
    assert _relative_db(found**2 @ FILTERS.T, energies) < -60


def test_admm_fits_the_mel_spectrogram_better_than_two_steps(problem):
    operators, _, mel, angles = problem
    options = {**operators._asdict(), "num_iterations": 60, "phase": angles}

    def score(waveform):
        return _relative_db(jnp.abs(operators.analyse(waveform)) @ FILTERS.T, mel)

    magnitude = mel_inversion.mel_to_magnitude(mel, FILTERS)
    two_steps = score(retrieval.griffin_lim(magnitude, **options, momentum=0.99))
    jointly = score(mel_inversion.mel_admm(mel, FILTERS, **options))
    assert two_steps < -10
    assert jointly < two_steps - 3


def test_admm_on_a_dense_transform(rng, x64):
    """Textbook updates; the magnitude step by a general solver of its least-squares problem."""
    matrix = rng.standard_normal((6, 4)) + 1j * rng.standard_normal((6, 4))
    inverse = np.linalg.pinv(np.concatenate([matrix.real, matrix.imag]))
    filters = np.abs(rng.standard_normal((2, 3)))
    mel = np.abs(matrix @ rng.standard_normal(4)).reshape(2, 3) @ filters.T
    angles = rng.uniform(0, 2 * np.pi, (2, 3))
    rho, slack = 0.3, 0.05

    def project(flat):
        return matrix @ (inverse @ np.concatenate([flat.real, flat.imag]))

    def fit(flat):
        wanted = []
        weight = 1 / np.sqrt(slack * np.linalg.norm(filters, 2) ** 2)
        for frame, target in zip(np.abs(flat).reshape(2, 3), mel, strict=True):
            stacked = np.concatenate([weight * filters, np.eye(3)])
            right = np.concatenate([weight * target, frame])
            wanted.append(np.maximum(np.linalg.lstsq(stacked, right, rcond=None)[0], 0))
        return np.ravel(wanted) * np.exp(1j * np.angle(flat))

    start = np.asarray(mel_inversion.mel_to_magnitude(mel, filters))
    total = np.ravel(start * np.exp(1j * angles))
    consistent = (rho * total + project(total)) / (1 + rho)
    for _ in range(8):
        exact = fit(consistent - (total - consistent))
        total = exact + total - consistent
        consistent = (rho * total + project(total)) / (1 + rho)
    found = mel_inversion.mel_admm(
        mel,
        filters,
        analyse=lambda waveform: (waveform.astype(complex) @ matrix.T).reshape(2, 3),
        synthesise=lambda c: jnp.concatenate([c.reshape(6).real, c.reshape(6).imag]) @ inverse.T,
        num_iterations=8,
        rho=rho,
        slack=slack,
        phase=angles,
    )
    expected = inverse @ np.concatenate([exact.real, exact.imag])
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-10)


def test_batches_are_loops(problem):
    operators, _, mel, angles = problem
    options = {**operators._asdict(), "num_iterations": 3}
    pair = jnp.stack([mel, 0.5 * mel[::-1]])
    phases = np.stack([angles, angles[::-1]])
    whole = mel_inversion.mel_to_magnitude(pair, FILTERS)
    waveforms = mel_inversion.mel_admm(pair, FILTERS, phase=phases, **options)
    for clip in range(2):
        one = mel_inversion.mel_to_magnitude(pair[clip], FILTERS)
        np.testing.assert_allclose(whole[clip], one, atol=1e-3)
        waveform = mel_inversion.mel_admm(pair[clip], FILTERS, phase=phases[clip], **options)
        np.testing.assert_allclose(waveforms[clip], waveform, atol=1e-3)


def test_silence_stays_silent_and_gradients_are_finite(problem):
    operators, _, mel, angles = problem
    options = {**operators._asdict(), "num_iterations": 2, "phase": angles}

    def energies(values):
        magnitude = mel_inversion.mel_to_magnitude(values, FILTERS, num_iterations=10)
        waveform = mel_inversion.mel_admm(values, FILTERS, **options)
        return jnp.sum(magnitude**2) + jnp.sum(waveform**2), (magnitude, waveform)

    gradient, results = jax.jit(jax.grad(energies, has_aux=True))(jnp.zeros_like(mel))
    assert np.all(np.isfinite(gradient))
    for result in results:
        np.testing.assert_array_equal(result, 0.0)
    gradient, results = jax.jit(jax.grad(energies, has_aux=True))(mel)
    assert np.all(np.isfinite(gradient))
    assert all(np.all(np.isfinite(result)) for result in results)


@pytest.mark.parametrize("power", [0.5, 2.0])
def test_roots_have_finite_gradients_on_silence(problem, power):
    _, _, mel, _ = problem

    @jax.jit
    @jax.grad
    def gradient(values):
        return jnp.sum(
            mel_inversion.mel_to_magnitude(values, FILTERS, num_iterations=5, power=power)
        )

    for values in (jnp.zeros_like(mel), mel, mel.at[::2].set(0.0)):
        assert np.all(np.isfinite(gradient(values)))


def test_impossible_arguments_are_named(problem):
    operators, _, mel, _ = problem
    with pytest.raises(ValueError, match=r"mel.shape=\(76, 20\) and filters.shape=\(65, 20\)"):
        mel_inversion.mel_to_magnitude(mel, FILTERS.T)
    with pytest.raises(ValueError, match="filters are all 0"):
        mel_inversion.mel_to_magnitude(mel, 0 * FILTERS)
    with pytest.raises(ValueError, match="power=0 must be positive"):
        mel_inversion.mel_to_magnitude(mel, FILTERS, power=0)
    with pytest.raises(ValueError, match="num_iterations=-2 must be 0 or more"):
        mel_inversion.mel_to_magnitude(mel, FILTERS, num_iterations=-2)
    with pytest.raises(ValueError, match="slack=0 must be positive"):
        mel_inversion.mel_admm(mel, FILTERS, **operators._asdict(), slack=0)
    with pytest.raises(ValueError, match="rho=-1 must not be negative"):
        mel_inversion.mel_admm(mel, FILTERS, **operators._asdict(), rho=-1)
