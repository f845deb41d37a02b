"""Differentiable distances against NumPy and librosa, in float64."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest

from isincnet_jax.dsp import spectral_distances as distances
from isincnet_jax.dsp.spectral_distances import Resolution

SMALL = Resolution(64, 16, 50)
SMALLER = (Resolution(32, 8, 32), SMALL)
FLOOR = 1e-10


def _magnitude(waveform, resolution):
    n_fft, hop_length, win_length = resolution
    transform = librosa.stft(
        np.asarray(waveform, np.float64),
        n_fft=n_fft,
        hop_length=hop_length,
        win_length=win_length,
        pad_mode="reflect",
    )
    return np.abs(transform)


def _convergence(prediction, target, resolution):
    predicted, wanted = _magnitude(prediction, resolution), _magnitude(target, resolution)
    return np.linalg.norm(predicted - wanted) / np.linalg.norm(wanted)


def _log_stft(prediction, target, resolution):
    predicted, wanted = _magnitude(prediction, resolution), _magnitude(target, resolution)
    return np.mean(np.abs(np.log(1 + predicted) - np.log(1 + wanted)))


def _multi_stft(prediction, target, resolutions):
    total = 0.0
    for resolution in resolutions:
        logs = [
            np.log(np.maximum(_magnitude(clip, resolution), 1e-5)) for clip in (prediction, target)
        ]
        total += np.mean(np.abs(logs[0] - logs[1])) + _convergence(prediction, target, resolution)
    return total / len(resolutions)


def _minus_snr(prediction, target):
    return -10 * np.log10(np.mean(target**2) / np.mean((prediction - target) ** 2))


CASES = {
    "l1": (distances.l1, lambda p, t: np.mean(np.abs(p - t))),
    "l2": (distances.l2, lambda p, t: np.mean((p - t) ** 2)),
    "energy": (distances.energy, lambda p, t: abs(np.mean(p**2) - np.mean(t**2))),
    "negative_snr_db": (distances.negative_snr_db, _minus_snr),
    "log_stft": (distances.log_stft, lambda p, t: _log_stft(p, t, (1024, 250, 1001))),
    "spectral_convergence": (
        distances.spectral_convergence,
        lambda p, t: _convergence(p, t, (1024, 250, 1001)),
    ),
    "multi_stft": (
        distances.multi_stft,
        lambda p, t: _multi_stft(p, t, ((512, 50, 240), (1024, 120, 600), (2048, 240, 1200))),
    ),
}
LENGTH = 3000
SMALL_CASES = {
    **{name: function for name, (function, _) in CASES.items()},
    "log_stft": functools.partial(distances.log_stft, resolution=SMALL),
    "spectral_convergence": functools.partial(distances.spectral_convergence, resolution=SMALL),
    "multi_stft": functools.partial(distances.multi_stft, resolutions=SMALLER),
}


def _pair(rng, shape):
    target = rng.uniform(-1, 1, shape)
    return (target + 0.1 * rng.standard_normal(shape)).astype(np.float32), target.astype(np.float32)


@pytest.mark.parametrize("name", CASES)
def test_every_distance_against_its_formula(name, rng):
    function, formula = CASES[name]
    prediction, target = _pair(rng, (2, 2, LENGTH))
    found = jax.jit(function)(prediction=prediction, target=target)
    assert found.shape == (2, 2)
    assert found.dtype == jnp.float32
    for index in np.ndindex(2, 2):
        expected = formula(prediction[index].astype(float), target[index].astype(float))
        # float32 logarithms of float32 magnitudes, averaged; energies nearly cancel.
        assert found[index] == pytest.approx(expected, rel=2e-5, abs=1e-7)


@pytest.mark.parametrize("resolution", [SMALL, Resolution(31, 7, 31), Resolution(128, 40, 100)])
def test_other_resolutions(resolution, rng):
    prediction, target = _pair(rng, 297)
    options = {"prediction": prediction, "target": target}
    one = functools.partial(distances.spectral_convergence, resolution=resolution)
    found = jax.jit(one)(**options)
    # The floor of 1e-5 per bin under a difference of about 0.3.
    assert found == pytest.approx(_convergence(prediction, target, resolution), rel=1e-4)
    two = functools.partial(distances.multi_stft, resolutions=(resolution, SMALL))
    found = jax.jit(two)(**options)
    assert found == pytest.approx(_multi_stft(prediction, target, (resolution, SMALL)), rel=1e-4)


@pytest.mark.parametrize("name", [name for name in SMALL_CASES if name != "negative_snr_db"])
@pytest.mark.parametrize("length", [1, 137])
def test_equal_clips_have_no_distance(name, length, rng):
    levels = np.float32([0.0, 1e-20, 1e-6, 0.01, 1.0])[:, None]
    clips = jnp.asarray(levels * rng.standard_normal(length).astype(np.float32))
    function = jax.jit(SMALL_CASES[name])
    np.testing.assert_array_equal(function(prediction=clips, target=clips), 0.0)


def test_the_snr_of_silence_and_perfection():
    silence, full = np.zeros((1, 50), np.float32), np.ones((1, 50), np.float32)
    function = distances.negative_snr_db
    assert function(prediction=silence, target=silence) == 0.0
    assert function(prediction=full, target=full)[0] == pytest.approx(-100.0, abs=1e-4)
    assert function(prediction=full, target=silence)[0] == pytest.approx(100.0, abs=1e-4)


@pytest.mark.quick(4)
@pytest.mark.parametrize("name", SMALL_CASES)
def test_gradients_are_finite_on_silence(name, rng):
    noise = rng.standard_normal(150).astype(np.float32)
    levels = np.float32([(0, 0), (0, 1), (1, 0), (1e-20, 0), (1, 0.5)])
    prediction, target = (jnp.asarray(level[:, None] * noise) for level in levels.T)

    def total(p, t):
        return jnp.sum(SMALL_CASES[name](prediction=p, target=t))

    gradients = jax.jit(jax.grad(total, argnums=(0, 1)))(prediction, target)
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    assert all(np.any(gradient[-1] != 0) for gradient in gradients)


@pytest.mark.quick(4)
@pytest.mark.parametrize("name", SMALL_CASES)
def test_gradients_against_finite_differences(name, rng, x64):
    function = jax.jit(SMALL_CASES[name])
    target, prediction, direction = rng.standard_normal((3, 150))

    def along(step):
        moved = jnp.asarray(prediction + step * direction)
        return float(function(prediction=moved, target=jnp.asarray(target)))

    slope = jax.jit(jax.grad(lambda p, t: function(prediction=p, target=t)))
    gradient = slope(jnp.asarray(prediction), jnp.asarray(target))
    numeric = (along(1e-6) - along(-1e-6)) / 2e-6
    # The kinks of absolute values are left aside by a step of 1e-6, but for a few in a million.
    assert float(gradient @ direction) == pytest.approx(numeric, rel=1e-4)


def test_names_are_required():
    with pytest.raises(TypeError):
        distances.l1(np.zeros(3), np.zeros(3))  # type: ignore[misc]
