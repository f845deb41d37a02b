"""Propagated phases against the dense sum over paths, heap integration's gradients and signals."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from isincnet_jax.data.demo import demo_waveform
from isincnet_jax.dsp import fourier
from isincnet_jax.phase import heap_integration, propagation

GEOMETRY = {"n_fft": 512, "hop_length": 128}
GAMMA = heap_integration.window_gamma("hann", 512)


@functools.cache
def _jitted(**options):
    return jax.jit(functools.partial(propagation.propagated_phase, **options))


def _directions(waveform):
    spectrum = fourier.stft(jnp.asarray(waveform, jnp.float32), **GEOMETRY)
    magnitude = jnp.abs(spectrum)
    return spectrum, magnitude, _jitted(**GEOMETRY, gamma=GAMMA)(magnitude)


def _with(magnitude, directions):
    return jax.lax.complex(magnitude * jnp.real(directions), magnitude * jnp.imag(directions))


def _convergence_db(spectrum, magnitude, length):
    waveform = fourier.istft(spectrum, **GEOMETRY, length=length)
    again = jnp.abs(fourier.stft(waveform, **GEOMETRY))
    return 20 * np.log10(np.linalg.norm(again - magnitude) / np.linalg.norm(magnitude))


def _dense_paths(level, frames, bins, reach):
    """The module's equation, path by path."""
    num_frames, num_bins = level.shape
    found = np.ones((num_frames, num_bins), complex)
    turns = np.angle(bins[0])
    turns[0] = 0.0
    found[0] = np.exp(1j * np.cumsum(turns))
    for t in range(1, num_frames):
        for k in range(num_bins):
            total = 0.0
            for j in range(max(0, k - reach), min(num_bins, k + reach + 1)):
                path = np.prod(bins[t, j + 1 : k + 1]) * np.prod(np.conj(bins[t, k + 1 : j + 1]))
                weight = np.exp(level[t, j] + level[t - 1, j])
                total += weight * found[t - 1, j] * frames[t, j] * path
            found[t, k] = total / abs(total)
    return found


def _dense_return(level, frames, bins, reach, forth):
    """The second pass: paths from the frame before as it was, and from the frame after as it is."""
    num_frames, num_bins = level.shape
    found = forth.copy()
    for t in reversed(range(num_frames)):
        sources = np.zeros(num_bins, complex)
        if t > 0:
            sources += np.exp(level[t] + level[t - 1]) * forth[t - 1] * frames[t]
        if t < num_frames - 1:
            back = np.conj(frames[t + 1])
            sources += np.exp(level[t] + level[t + 1]) * found[t + 1] * back
        for k in range(num_bins):
            total = 0.0
            for j in range(max(0, k - reach), min(num_bins, k + reach + 1)):
                path = np.prod(bins[t, j + 1 : k + 1]) * np.prod(np.conj(bins[t, k + 1 : j + 1]))
                total += sources[j] * path
            found[t, k] = total / abs(total)
    return found


@pytest.mark.parametrize(("levels", "passes"), [(1, 1), (3, 1), (2, 2)])
def test_recursion_is_the_sum_over_paths(rng, levels, passes):
    shape = (2, 4, 11)
    level = rng.uniform(-2, 0, shape)
    steps = [
        rng.uniform(0.3, 1, shape) * np.exp(2j * np.pi * rng.uniform(size=shape)) for _ in range(2)
    ]
    found = jax.jit(functools.partial(propagation.propagate, levels=levels, passes=passes))(
        jnp.asarray(level, jnp.float32), *(jnp.asarray(step, jnp.complex64) for step in steps)
    )
    for clip in range(2):
        own = (level[clip], *(step[clip] for step in steps), 2**levels - 1)
        wanted = _dense_paths(*own)
        if passes == 2:
            wanted = _dense_return(*own, wanted)
        np.testing.assert_allclose(found[clip], wanted, atol=2e-4)


@pytest.mark.parametrize("every", [1, 2, 4])
def test_gaussian_steps_are_the_differences_of_a_gaussian_windows_phase(every, x64):
    # A chirp under a Gaussian window: its phase is known and has no zeros nearby.
    n_fft, hop, sigma = 256, 16, 24.0
    time = np.arange(6000)
    signal = np.cos(2 * np.pi * (0.05 * time + 0.5 * 2e-5 * time**2))
    window = np.exp(-0.5 * ((np.arange(n_fft) - n_fft // 2) / sigma) ** 2)
    frames = np.lib.stride_tricks.sliding_window_view(signal, n_fft)[::hop]
    centred = np.fft.rfft(frames * window, axis=-1) * (-1.0) ** np.arange(n_fft // 2 + 1)
    level = jnp.log(jnp.abs(centred) + 1e-300)
    steps = propagation.gaussian_steps(
        level, n_fft=n_fft, hop_length=hop, gamma=2 * np.pi * sigma**2, every=every
    )
    kept = centred[:, ::every]
    loud = np.abs(kept) > 1e-3 * np.abs(kept).max()
    along = np.angle(kept[1:] / kept[:-1] * np.exp(-1j * np.asarray(steps.per_frame)[1:]))
    across = np.angle(kept[:, 1:] / kept[:, :-1] * np.exp(-1j * np.asarray(steps.per_bin)[:, 1:]))
    inner = slice(3, -3)
    assert np.abs(along[inner][(loud[1:] & loud[:-1])[inner]]).max() < 0.02
    assert np.abs(across[inner][(loud[:, 1:] & loud[:, :-1])[inner]]).max() < 0.02 * every


def test_a_tone_stays_a_tone_of_its_level():
    time = np.arange(8000) / 8000
    waveform = np.sin(2 * np.pi * 700 * time)
    _, magnitude, directions = _directions(waveform)
    decoded = fourier.istft(_with(magnitude, directions), **GEOMETRY, length=8000)
    assert _convergence_db(_with(magnitude, directions), magnitude, 8000) < -20
    np.testing.assert_allclose(np.std(decoded[1000:-1000]), np.std(waveform), rtol=0.02)
    spectrum = np.abs(np.fft.rfft(np.asarray(decoded)[1000:-1000] * np.hanning(6000)))
    assert abs(np.argmax(spectrum) * 8000 / 6000 - 700) < 3


@pytest.mark.quick(0)
def test_music_is_nearly_consistent_and_a_good_start():
    waveform = demo_waveform()[:22_050]
    spectrum, magnitude, directions = _directions(waveform)
    start = _convergence_db(_with(magnitude, directions), magnitude, len(waveform))
    noise = jax.random.uniform(jax.random.key(0), magnitude.shape)
    random = _with(magnitude, propagation.directions(2 * jnp.pi * noise))
    assert start < -12
    assert _convergence_db(random, magnitude, len(waveform)) > start + 6
    assert spectrum.shape == directions.shape


def test_leading_axes_are_clips(rng):
    waveforms = rng.standard_normal((2, 2, 1500))
    _, magnitude, directions = _directions(waveforms)
    single = _jitted(**GEOMETRY, gamma=GAMMA)(magnitude[1, 0])
    assert directions.shape == magnitude.shape
    np.testing.assert_allclose(directions[1, 0], single, atol=1e-3)


@pytest.mark.quick(1)
@pytest.mark.parametrize("level", [0.0, 1e-8, 1.0])
def test_gradients_are_finite(level, rng):
    magnitude = jnp.asarray(level * np.abs(rng.standard_normal((5, 257))), jnp.float32)

    @jax.jit
    def total(magnitude):
        found = propagation.propagated_phase(magnitude, **GEOMETRY, gamma=GAMMA)
        return jnp.sum(jnp.real(found))

    value, gradient = jax.jit(jax.value_and_grad(total))(magnitude)
    assert bool(jnp.isfinite(value))
    assert bool(jnp.all(jnp.isfinite(gradient)))


def test_impossible_magnitudes_are_named():
    with pytest.raises(ValueError, match="n_fft=512, 256 bins"):
        propagation.propagated_phase(jnp.ones((4, 256)), **GEOMETRY, gamma=GAMMA)
    with pytest.raises(ValueError, match="passes=3"):
        propagation.propagated_phase(
            jnp.ones((4, 257), jnp.float32), **GEOMETRY, gamma=GAMMA, passes=3
        )
    with pytest.raises(ValueError, match="needs 2 frames"):
        propagation.propagated_phase(jnp.ones((1, 257)), **GEOMETRY, gamma=GAMMA)
