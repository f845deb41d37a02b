"""Phase gradient heap integration against true phases, planes, and its own uncompiled loop."""

from __future__ import annotations

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse.csgraph

from isincnet_jax.dsp import fourier
from isincnet_jax.phase import heap_integration
from isincnet_jax.phase.beliefs import PhaseBeliefs

N_FFT, HOP, LENGTH = 128, 8, 1600
KEY = jax.random.key(0)


def _chirps(length=LENGTH):
    time = np.arange(length)
    swell = np.hanning(length)
    return swell * (np.cos(0.3 * time + 2e-4 * time**2) + 0.5 * np.cos(1.6 * time - 1e-4 * time**2))


def _gaussian_stft(waveform, sigma):
    """Frames as those of the package, with a Gaussian window; float64."""
    window = np.exp(-0.5 * ((np.arange(N_FFT) - N_FFT // 2) / sigma) ** 2)
    padded = np.pad(waveform, N_FFT // 2)
    starts = range(0, len(waveform), HOP)
    return np.stack([np.fft.rfft(window * padded[start : start + N_FFT]) for start in starts])


def _convergence_db(spectrum, magnitude, length=LENGTH):
    options = {"n_fft": N_FFT, "hop_length": HOP}
    waveform = fourier.istft(jnp.asarray(spectrum, jnp.complex64), length=length, **options)
    error = np.abs(fourier.stft(waveform, **options)) - magnitude
    return 20 * np.log10(np.linalg.norm(error) / np.linalg.norm(magnitude))


@pytest.mark.quick(0)
def test_phases_of_a_gaussian_window_are_found_up_to_a_constant():
    sigma = 14.0
    spectrum = _gaussian_stft(_chirps(), sigma)
    magnitude = np.abs(spectrum)
    found = heap_integration.phase_gradient_heap_integration(
        magnitude, n_fft=N_FFT, hop_length=HOP, gamma=2 * np.pi * sigma**2, key=KEY
    )
    # Up to a constant for each of the two chirps, which hardly touch; one band holds one.
    for band in (slice(4, 18), slice(26, 36)):
        part, weights = spectrum[:, band], magnitude[:, band]
        aligned = part * np.exp(-1j * found[:, band])
        constant = np.sum(aligned * weights)
        turn = np.abs(constant) / np.sum(weights**2)
        assert turn > 0.95  # 1 if all phases agree; 0.02 for random ones


@pytest.mark.quick(1)
@pytest.mark.parametrize("window", ["hann", "hamming", "blackman"])
def test_windows_have_their_gamma(window):
    options = {"n_fft": N_FFT, "hop_length": HOP, "window": window}
    magnitude = np.abs(fourier.stft(jnp.asarray(_chirps(), jnp.float32), **options))
    gamma = heap_integration.window_gamma(window, N_FFT)
    common = {"n_fft": N_FFT, "hop_length": HOP, "key": KEY}

    def score(value):
        found = heap_integration.phase_gradient_heap_integration(magnitude, gamma=value, **common)
        spectrum = jnp.asarray(magnitude * np.exp(1j * found), jnp.complex64)
        waveform = fourier.istft(spectrum, length=LENGTH, **options)
        error = np.abs(fourier.stft(waveform, **options)) - magnitude
        return 20 * np.log10(np.linalg.norm(error) / np.linalg.norm(magnitude))

    assert score(gamma) < -20
    assert score(gamma) < min(score(gamma * 2), score(gamma / 2)) - 3


def test_gaussians_are_near_their_windows():
    time = np.arange(1000) - 500
    for window in heap_integration.WINDOW_GAMMA:
        gaussian = np.exp(-np.pi * time**2 / heap_integration.window_gamma(window, 1000))
        shape = fourier.stft_window(window, 1000, 1000)
        assert np.linalg.norm(gaussian - shape) < 0.1 * np.linalg.norm(shape)


def test_much_better_than_random_phases(rng):
    options = {"n_fft": N_FFT, "hop_length": HOP}
    magnitude = np.abs(fourier.stft(jnp.asarray(_chirps(), jnp.float32), **options))
    gamma = heap_integration.window_gamma("hann", N_FFT)
    found = heap_integration.phase_gradient_heap_integration(
        magnitude, gamma=gamma, key=KEY, **options
    )
    random = rng.uniform(0, 2 * np.pi, magnitude.shape)
    integrated = _convergence_db(magnitude * np.exp(1j * found), magnitude)
    assert integrated < _convergence_db(magnitude * np.exp(1j * random), magnitude) - 10


def test_a_plane_is_integrated_exactly(rng):
    frames, bins = 9, 7
    slope_t, slope_k = 0.7, -1.9
    phase = np.full((frames, bins), np.nan)
    level = rng.standard_normal((frames, bins))
    heap_integration.integrate(
        level, (np.full(level.shape, slope_t), np.full(level.shape, slope_k)), phase, -np.inf
    )
    plane = slope_t * np.arange(frames)[:, None] + slope_k * np.arange(bins)
    top = np.unravel_index(np.argmax(level), level.shape)
    np.testing.assert_allclose(phase, plane - plane[top], atol=1e-12)


def test_the_path_runs_along_the_largest_coefficients():
    """A ridge leads around a corner: its end is integrated along it, not across the valley."""
    level = np.array([[5.0, 4.0], [-8.0, 3.0], [2.0, 2.5]])
    per_frame = np.array([[0.0, 0.0], [100.0, 1.0], [100.0, 1.0]])
    phase = np.zeros((3, 2))
    heap_integration.integrate(level, (per_frame, np.full((3, 2), 10.0)), phase, -np.inf)
    np.testing.assert_array_equal(phase, [[0.0, 10.0], [100.0, 11.0], [2.0, 12.0]])


def test_steps_along_edges_are_those_of_the_maximum_spanning_tree(rng):
    """Its weights are those of scipy's tree, and the phase is what the tree's steps say."""
    shape = (6, 5)
    steps = [
        rng.uniform(0.1, 1, shape) * np.exp(2j * np.pi * rng.uniform(size=shape)) for _ in range(2)
    ]
    found = heap_integration.edge_heap_integration(PhaseBeliefs(*steps))
    np.testing.assert_allclose(np.abs(found), 1.0)
    graph = np.zeros((30, 30))
    places = np.arange(30).reshape(shape)
    for early, late, weights in (
        (places[:-1], places[1:], np.abs(steps[0])[1:]),
        (places[:, :-1], places[:, 1:], np.abs(steps[1])[:, 1:]),
    ):
        graph[early.ravel(), late.ravel()] = 2.0 - weights.ravel()  # the least cost, never 0
    tree = scipy.sparse.csgraph.minimum_spanning_tree(graph).tocoo()
    assert tree.nnz == 29
    for early, late in zip(tree.row, tree.col, strict=True):
        row, column = late // 5, late % 5
        step = steps[0][row, column] if late - early == 5 else steps[1][row, column]
        turn = found.ravel()[late] / found.ravel()[early]
        np.testing.assert_allclose(turn, step / abs(step), atol=1e-9)


def test_impossible_steps_are_named():
    one, other = np.ones((3, 4), complex), np.ones((3, 5), complex)
    with pytest.raises(ValueError, match=r"steps of shapes \(3, 4\) and \(3, 5\)"):
        heap_integration.edge_heap_integration(PhaseBeliefs(one, other))
    with pytest.raises(ValueError, match="steps are not finite"):
        heap_integration.edge_heap_integration(PhaseBeliefs(one, one * np.nan))


def test_islands_start_at_0_and_the_rest_is_random():
    magnitude = np.full((12, 9), 1e-9)
    magnitude[2:4, 2:4] = [[1.0, 0.9], [0.8, 0.7]]
    magnitude[8:10, 5:7] = [[0.1, 0.2], [0.3, 0.5]]
    options = {"n_fft": 16, "hop_length": 2, "gamma": 100.0}
    one = heap_integration.phase_gradient_heap_integration(magnitude, key=KEY, **options)
    two = heap_integration.phase_gradient_heap_integration(
        magnitude, key=jax.random.key(1), **options
    )
    loud = magnitude > 1e-6
    assert one[2, 2] == one[9, 6] == 0.0
    np.testing.assert_array_equal(one[loud], two[loud])
    assert np.all(one[~loud] != two[~loud])
    assert np.all((one[~loud] >= 0) & (one[~loud] < 2 * np.pi))


@pytest.fixture
def without_numba(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    heap_integration._integrator.cache_clear()
    yield
    heap_integration._integrator.cache_clear()


def test_the_same_without_numba(rng, without_numba):
    magnitude = np.abs(rng.standard_normal((2, 11, 9)))
    options = {"n_fft": 16, "hop_length": 2, "gamma": 100.0, "key": KEY, "tolerance": 0.3}
    assert heap_integration._integrator() is heap_integration.integrate
    slow = heap_integration.phase_gradient_heap_integration(magnitude, **options)
    heap_integration._integrator.cache_clear()
    sys.modules.pop("numba")
    pytest.importorskip("numba")
    assert heap_integration._integrator() is not heap_integration.integrate
    fast = heap_integration.phase_gradient_heap_integration(magnitude, **options)
    np.testing.assert_allclose(fast, slow, atol=1e-12)


def test_batches_are_loops_and_silence_is_finite(rng):
    magnitude = np.abs(rng.standard_normal((2, 3, 11, 9)))
    magnitude[1, 2] = 0.0
    options = {"n_fft": 16, "hop_length": 2, "gamma": 100.0, "key": KEY}
    whole = heap_integration.phase_gradient_heap_integration(magnitude, **options)
    assert whole.shape == magnitude.shape
    assert np.all(np.isfinite(whole))
    one = heap_integration.phase_gradient_heap_integration(magnitude[1, 1], **options)
    np.testing.assert_array_equal(whole[1, 1], one)  # all of it lies above the tolerance


def test_impossible_arguments_are_named():
    options = {"n_fft": 16, "hop_length": 2, "gamma": 1.0, "key": KEY}
    run = heap_integration.phase_gradient_heap_integration
    with pytest.raises(ValueError, match="8 bins: n_fft=16 has 9"):
        run(np.ones((3, 8)), **options)
    with pytest.raises(ValueError, match=r"frames=1, bins=9: a gradient needs 2"):
        run(np.ones((1, 9)), **options)
    with pytest.raises(ValueError, match=r"gamma=0 must be positive"):
        run(np.ones((3, 9)), **{**options, "gamma": 0})
    with pytest.raises(ValueError, match=r"tolerance=0 must be above 0"):
        run(np.ones((3, 9)), **options, tolerance=0)
    with pytest.raises(ValueError, match=r"window='boxcar' has no entry; use one of hann"):
        heap_integration.window_gamma("boxcar", 16)
