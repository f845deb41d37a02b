"""Gradients of rendered sounds: finite at every limit, equal to finite differences."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from isincnet_jax import jax_names
from isincnet_jax.inversynth.synth.parameters import NAMES, PARAMETERS
from isincnet_jax.inversynth.synth.render import render

LOW = np.array([parameter.low for parameter in PARAMETERS])
HIGH = np.array([parameter.high for parameter in PARAMETERS])
COUNT = 2048


@functools.partial(jax.jit, static_argnums=1)
def gradient(values, rate):
    def loss(some):
        return jnp.sum(render(some, num_samples=COUNT, sample_rate=rate) ** 2)

    return jax.grad(loss)(values)


@pytest.fixture(scope="module")
def scores():
    """A smooth functional of sounds, and its gradient, both compiled."""
    weights = np.random.default_rng(1).standard_normal(COUNT)

    def score(values):
        sounds = render(values, num_samples=COUNT, note_off=0.08)
        return jnp.sum(sounds * jnp.asarray(weights, sounds.dtype), -1)

    return jax.jit(score), jax.jit(jax.grad(lambda values: jnp.sum(score(values))))


@pytest.mark.parametrize("rate", [8_000, 16_384])
def test_gradients_are_finite_at_every_limit(rate, rng):
    corners = np.where(rng.random((8, 23)) < 0.5, LOW, HIGH)
    corners[0], corners[1] = LOW, HIGH
    corners[2:6, NAMES.index("resonance")] = 0.01, 0.01, 10, 10
    corners[2:6, NAMES.index("cutoff")] = 200, 4000, 200, 4000
    corners[2:6, NAMES.index("attack")] = 0.001
    # Attack, decay and release that end at a sample.
    corners[6, 16:20] = 64 / rate, 64 / rate, 0.5, 64 / rate
    found = np.asarray(gradient(corners.astype(np.float32), float(rate)))
    assert np.all(np.isfinite(found))
    assert np.all(found[:, NAMES.index("gate")] == 0)
    assert np.all(found[:, NAMES.index("carrier_square")] == 0)
    assert np.any(found[:, NAMES.index("cutoff")] != 0)


def test_gradients_of_silence_are_finite():
    silent = np.tile(LOW, (8, 1))
    silent[:, 8:12] = 0
    assert np.all(np.isfinite(np.asarray(gradient(silent.astype(np.float32), 16_384.0))))


@pytest.mark.parametrize("waveforms", [("sine",), ("triangle",), ("sine", "saw", "square")])
def test_gradients_are_finite_differences(waveforms, scores, rng, x64):
    score, slope = scores
    values = rng.uniform(LOW + 0.2 * (HIGH - LOW), HIGH - 0.2 * (HIGH - LOW))
    # All segments of the envelope within the 0.125 s, their ends between samples.
    values[16:20] = 0.0213, 0.0311, 0.6, 0.0377
    for index, waveform in enumerate(("sine", "saw", "triangle", "square")):
        if waveform not in waveforms:
            values[8 + index] = 0.0
    smooth = list(range(8, 12)) + list(range(16, 22))  # amplitudes, envelope, cut-off, resonance
    if len(waveforms) == 1:
        index = ("sine", "saw", "triangle").index(waveforms[0])
        smooth += [index, 4 + index, 12 + index]
    steps = 1e-8 * (HIGH - LOW)[smooth]
    moved = np.repeat(values[None], 2 * len(smooth), 0)
    for row, (parameter, step) in enumerate(zip(smooth, steps, strict=True)):
        moved[2 * row, parameter] += step
        moved[2 * row + 1, parameter] -= step
    padded = np.concatenate([moved, np.repeat(values[None], 26 - len(moved), 0)])
    up, down = np.asarray(score(padded))[: len(moved)].reshape(-1, 2).T
    expected = (up - down) / (2 * steps)
    found = np.asarray(slope(values[None]))[0, smooth]
    # Corners of the triangle that pass a sample within the step change the difference a little.
    tolerance = 1e-3 if waveforms == ("triangle",) else 1e-5
    np.testing.assert_allclose(
        found, expected, rtol=tolerance, atol=1e-5 * np.max(np.abs(expected))
    )


def test_gradients_in_float32_are_those_of_float64(scores, rng):
    _, slope = scores
    values = rng.uniform(LOW + 0.2 * (HIGH - LOW), HIGH - 0.2 * (HIGH - LOW), (1, 23))
    values[:, 16:20] = 0.0213, 0.0311, 0.6, 0.0377
    single = np.asarray(slope(values.astype(np.float32)))[0]
    with jax_names.enable_x64(True):
        double = np.asarray(slope(values.astype(np.float32).astype(np.float64)))[0]
    scaled = (HIGH - LOW) * np.abs(single - double)
    assert np.all(scaled <= 5e-3 * np.max((HIGH - LOW) * np.abs(double)))
