"""Swept phases against dense least squares, finite differences, planes and sounds."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from isincnet_jax.data.demo import demo_waveform
from isincnet_jax.dsp import fourier
from isincnet_jax.phase import heap_integration, propagation, sweeps
from isincnet_jax.phase.beliefs import PhaseBeliefs

GEOMETRY = {"n_fft": 256, "hop_length": 64}
OPTIONS = {**GEOMETRY, "gamma": heap_integration.window_gamma("hann", 256)}
FRAMES, BINS = 4, 6


def _steps(rng, shape):
    parts = rng.uniform(0.1, 1, (2, *shape)) * np.exp(2j * np.pi * rng.uniform(size=(2, *shape)))
    parts[0][:, 0], parts[1][..., 0] = 0, 0
    return PhaseBeliefs(*parts)


def _least_squares(before, behind, steps, t, coupling):
    """A frame's minimiser from all the terms that the module's text has, by a dense solver."""
    rows, right = [], []
    identity = np.eye(BINS)
    along_frames, along_bins = steps
    for k in range(BINS):
        if before is not None:
            weight = np.sqrt(abs(along_frames[t, k]))
            rows.append(weight * identity[k])
            right.append(weight * before[k] * np.exp(1j * np.angle(along_frames[t, k])))
        if behind is not None:
            weight = np.sqrt(abs(along_frames[t + 1, k]))
            rows.append(weight * identity[k])
            right.append(weight * behind[k] * np.exp(-1j * np.angle(along_frames[t + 1, k])))
        if k > 0:
            weight = np.sqrt(coupling * abs(along_bins[t, k]))
            turn = np.exp(1j * np.angle(along_bins[t, k]))
            rows.append(weight * (identity[k] - turn * identity[k - 1]))
            right.append(0.0)
    found = np.linalg.lstsq(np.asarray(rows), np.asarray(right), rcond=None)[0]
    return found / np.abs(found)


def _dense(steps, coupling, count, start):
    frames = range(FRAMES)
    if start is None:
        found = np.empty((FRAMES, BINS), complex)
        found[0] = np.exp(1j * np.cumsum(np.angle(steps.per_bin[0])))
        for t in frames[1:]:
            found[t] = _least_squares(found[t - 1], None, steps, t, coupling)
        orders = [frames[::-1], frames, frames[::-1]][: count - 1]
    else:
        found = start.copy()
        orders = [frames, frames[::-1], frames][:count]
    for order in orders:
        for t in order:
            before = found[t - 1] if t > 0 else None
            behind = found[t + 1] if t < FRAMES - 1 else None
            found[t] = _least_squares(before, behind, steps, t, coupling)
    return found


@functools.cache
def _jitted(**options):
    return jax.jit(functools.partial(sweeps.swept, **options))


@pytest.mark.parametrize(("count", "with_start"), [(1, False), (3, False), (0, True), (3, True)])
def test_sweeps_are_dense_least_squares(rng, x64, count, with_start):
    steps = _steps(rng, (2, FRAMES, BINS))
    start = np.exp(2j * np.pi * rng.uniform(size=(2, FRAMES, BINS))) if with_start else None
    found = _jitted(coupling=2.5, sweeps=count)(jax.tree.map(jnp.asarray, steps), start=start)
    for clip in range(2):
        own = PhaseBeliefs(*(part[clip] for part in steps))
        wanted = _dense(own, 2.5, count, None if start is None else start[clip])
        np.testing.assert_allclose(found[clip], wanted, atol=1e-9)


def test_gradients_are_those_of_finite_differences(rng, x64):
    real, imag = (rng.uniform(0.2, 1, (2, 1, FRAMES, BINS)) for _ in range(2))
    target = jnp.asarray(np.exp(2j * np.pi * rng.uniform(size=(1, FRAMES, BINS))))

    @jax.jit
    def total(real, imag):
        steps = PhaseBeliefs(*(jax.lax.complex(real[n], imag[n]) for n in range(2)))
        found = sweeps.swept(steps, coupling=2.0, sweeps=2)
        return jnp.sum(jnp.real(found * target))

    slopes = jax.jit(jax.grad(total, (0, 1)))(real, imag)
    for place in [(0, 0, 2, 3), (1, 0, 0, 2), (1, 0, 3, 5)]:
        for part in (0, 1):
            moved = []
            for by in (1e-6, -1e-6):
                parts = [real.copy(), imag.copy()]
                parts[part][place] += by
                moved.append(total(*parts))
            slope = (moved[0] - moved[1]) / 2e-6
            np.testing.assert_allclose(slopes[part][place], slope, rtol=1e-5, atol=1e-7)


def test_true_steps_give_the_true_phase(rng):
    phase = rng.uniform(-np.pi, np.pi, (1, 7, 9))
    level = jnp.asarray(rng.uniform(-8, 0, (1, 7, 9)), jnp.float32)
    steps = PhaseBeliefs(
        *(
            jnp.asarray(np.exp(1j * np.diff(phase, axis=axis, prepend=0)), jnp.complex64)
            for axis in (1, 2)
        )
    )
    weighted = sweeps.weighted_steps(steps, level)
    np.testing.assert_array_equal(weighted.per_frame[:, 0], 0)
    np.testing.assert_array_equal(weighted.per_bin[..., 0], 0)
    products = np.exp(level[:, 1:] + level[:, :-1])
    np.testing.assert_allclose(np.abs(weighted.per_frame[:, 1:]), products, rtol=1e-5)
    for found in (
        _jitted(sweeps=2)(weighted),
        heap_integration.edge_heap_integration(weighted),
    ):
        turned = np.asarray(found) * np.exp(-1j * phase)
        np.testing.assert_allclose(turned, turned[0, 0, 0], atol=1e-4)


def _convergence_db(waveform, method):
    geometry = {"n_fft": 1024, "hop_length": 128}
    stft = {**geometry, "win_length": 512}
    magnitude = jnp.abs(fourier.stft(jnp.asarray(waveform, jnp.float32), **stft))
    gamma = heap_integration.window_gamma("hann", 512)
    directions = jnp.asarray(method(magnitude, **geometry, gamma=gamma))
    spectrum = propagation.scaled(directions, magnitude)
    found = fourier.istft(spectrum, **stft, length=len(waveform))
    again = jnp.abs(fourier.stft(found, **stft))
    return 20 * np.log10(np.linalg.norm(again - magnitude) / np.linalg.norm(magnitude))


def test_music_comes_back_better_than_by_propagation():
    waveform = demo_waveform(22_050)[2000:18_000]
    names = tuple(OPTIONS)
    scores = [
        _convergence_db(waveform, jax.jit(method, static_argnames=names))
        for method in (propagation.propagated_phase, sweeps.swept_phase)
    ]
    scores.append(_convergence_db(waveform, sweeps.heap_swept_phase))
    assert scores[1] < scores[0] - 2
    assert scores[2] < scores[0] - 2


def test_batches_are_loops_and_silence_is_finite(rng):
    magnitude = np.abs(rng.standard_normal((2, 1, 5, 129))).astype(np.float32)
    magnitude[1] = 0.0
    swept = jax.jit(functools.partial(sweeps.swept_phase, **OPTIONS))
    whole = np.asarray(swept(magnitude))
    assert whole.shape == magnitude.shape
    np.testing.assert_allclose(np.abs(whole), 1.0, atol=1e-3)
    np.testing.assert_allclose(whole[0, 0], swept(magnitude[0, 0]), atol=1e-3)
    host = sweeps.heap_swept_phase(magnitude, **OPTIONS)
    assert host.shape == magnitude.shape
    assert np.all(np.isfinite(host))

    @jax.jit
    def total(magnitude):
        return jnp.sum(jnp.real(sweeps.swept_phase(magnitude, **OPTIONS)) * magnitude)

    assert np.all(np.isfinite(jax.jit(jax.grad(total))(magnitude)))


def test_impossible_arguments_are_named():
    steps = PhaseBeliefs(*(jnp.ones((1, 3, 4), jnp.complex64) for _ in range(2)))
    with pytest.raises(ValueError, match=r"coupling=-1, sweeps=2: use 0 or more"):
        sweeps.swept(steps, coupling=-1)
    with pytest.raises(ValueError, match=r"sweeps=0: use"):
        sweeps.swept(steps, sweeps=0)
    with pytest.raises(ValueError, match=r"n_fft=256, 128 bins"):
        sweeps.swept_phase(jnp.ones((3, 128)), **OPTIONS)
    with pytest.raises(ValueError, match=r"frames=1"):
        sweeps.heap_swept_phase(np.ones((1, 129), np.float32), **OPTIONS)
