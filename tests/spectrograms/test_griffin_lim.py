"""The Griffin-Lim layer against librosa.griffinlim with the same start and padding."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest

from isincnet_jax.phase import retrieval
from isincnet_jax.spectrograms.griffin_lim import GriffinLim

N_FFT, HOP, LENGTH = 128, 32, 2400
GEOMETRY = {"n_fft": N_FFT, "hop_length": HOP}


def _voice(length=LENGTH):
    time = np.arange(length) / 8000
    cycles = 110 * time + 60 * time**2
    tones = sum(np.sin(2 * np.pi * k * cycles + k * k) / k for k in range(1, 12))
    return (0.3 * tones * np.hanning(length)).astype(np.float32)


def _magnitude(**options):
    return np.abs(librosa.stft(_voice(), **GEOMETRY, **options)).T


def _convergence_db(waveform, magnitude, **options):
    found = np.abs(librosa.stft(np.asarray(waveform), **GEOMETRY, **options)).T
    return 20 * np.log10(np.linalg.norm(found - magnitude) / np.linalg.norm(magnitude))


@pytest.mark.parametrize(
    "options",
    [
        {"pad_mode": "constant"},
        {"pad_mode": "reflect"},
        {"center": False},
        {"pad_mode": "constant", "win_length": 100, "window": "hamming"},
    ],
)
@pytest.mark.parametrize("momentum", [0.0, 0.99])
def test_first_iterations_are_those_of_librosa(options, momentum):
    magnitude = _magnitude(**options)
    common = {**GEOMETRY, **options, "n_iter": 4, "momentum": momentum}
    wanted = librosa.griffinlim(magnitude.T, init=None, length=LENGTH, **common)
    found = GriffinLim(**common).apply({}, jnp.asarray(magnitude), length=LENGTH)
    # Float32 rounding grows with every iteration, as the map amplifies it.
    assert np.linalg.norm(found - wanted) / np.linalg.norm(wanted) < 1e-3


@pytest.mark.parametrize("momentum", [0.0, 0.99])
def test_it_converges_as_far_as_librosa(momentum):
    """nnAudio's Griffin-Lim does not work at all."""
    magnitude = _magnitude()
    layer = GriffinLim(**GEOMETRY, pad_mode="constant", momentum=momentum)
    found = layer.apply({}, jnp.asarray(magnitude), length=LENGTH)
    wanted = librosa.griffinlim(
        magnitude.T, init=None, length=LENGTH, momentum=momentum, **GEOMETRY
    )
    ours, theirs = (_convergence_db(waveform, magnitude) for waveform in (found, wanted))
    assert ours < theirs + 0.1
    assert ours < -15


def test_random_starts_come_from_the_key_alone():
    magnitude = jnp.asarray(_magnitude())
    layer = GriffinLim(**GEOMETRY, n_iter=3)
    assert jax.jit(layer.init)(jax.random.key(0), magnitude) == {}
    first, again, other = (
        layer.apply({}, magnitude, length=LENGTH, key=jax.random.key(seed)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert float(jnp.linalg.norm(first - other)) > 0.1 * float(jnp.linalg.norm(first))
    operators = retrieval.stft_operators(**GEOMETRY, length=LENGTH)
    wanted = retrieval.griffin_lim(
        magnitude,
        **operators._asdict(),
        num_iterations=3,
        momentum=0.99,
        key=jax.random.key(1),
    )
    np.testing.assert_array_equal(first, wanted)


def test_lengths_and_batches():
    magnitude = jnp.asarray(np.stack([_magnitude(), 2 * _magnitude()]))
    layer = GriffinLim(n_fft=N_FFT, n_iter=2)  # hop_length is a quarter of the window
    assert layer.hop == HOP
    found = jax.jit(layer.apply)({}, magnitude)
    assert found.shape == (2, LENGTH)
    np.testing.assert_allclose(found[1], 2 * found[0], rtol=1e-3, atol=1e-4)
    assert layer.apply({}, magnitude, length=LENGTH + 31).shape == (2, LENGTH + 31)
    jitted = jax.jit(lambda values: layer.apply({}, values))(magnitude)
    np.testing.assert_allclose(jitted, found, rtol=1e-3, atol=1e-4)


def test_gradients_are_finite_on_silence():
    layer = GriffinLim(**GEOMETRY, n_iter=2)
    gradient = jax.jit(jax.grad(lambda values: (layer.apply({}, values) ** 2).sum()))
    assert np.all(np.isfinite(gradient(jnp.zeros((6, 65)))))
    assert np.all(np.isfinite(gradient(jnp.ones((6, 65)))))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_fft": 0}, "n_fft=0"),
        ({"n_iter": -1}, "num_iterations=-1"),
        ({"momentum": -0.5}, "momentum=-0.5"),
        ({"win_length": 4096}, "win_length=4096"),
        ({"pad_mode": "wrap"}, "pad_mode='wrap'"),
        ({"hop_length": 0}, "hop_length=0"),
    ],
)
def test_impossible_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        GriffinLim(**options)


def test_impossible_magnitudes_are_named():
    layer = GriffinLim(**GEOMETRY)
    with pytest.raises(ValueError, match="and 65 bins"):
        layer.apply({}, jnp.ones((4, 64)))
    with pytest.raises(ValueError, match="use length=96 to 127"):
        layer.apply({}, jnp.ones((4, 65)), length=200)
    with pytest.raises(TypeError, match="int32"):
        layer.apply({}, jnp.ones((4, 65), jnp.int32))
