"""Phases against float64, for whole seconds and at every rate."""

from __future__ import annotations

import functools

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isincnet_jax.inversynth.synth import clock as clocks
from isincnet_jax.inversynth.synth import precise


@functools.partial(jax.jit, static_argnums=(3, 4))
def phases(carrier, modulator, deviation, num_samples, rate):
    clock = clocks.make_clock(num_samples, rate)
    moving = clocks.modulated_phase(carrier, modulator, deviation, clock)
    return clock.flat(moving), clock.flat(clocks.steady_phase(carrier, clock))


@functools.partial(jax.jit, static_argnums=1)
def slopes(frequency, seconds):
    return jax.vmap(jax.jacfwd(lambda f: clocks.turns(f, np.asarray(seconds))))(frequency)


@functools.partial(jax.jit, static_argnums=2)
def swings(deviation, modulator, seconds):
    return precise.swing(deviation, modulator, np.asarray(seconds))


def error(found, expected):
    """The largest difference in cycles, whole cycles aside."""
    difference = np.asarray(found, np.float64) - expected
    return np.max(np.abs(difference - np.round(difference)), axis=-1)


@pytest.mark.parametrize(
    ("rate", "duration_s"), [(8000, 1), (16_384, 1), (22_050, 1), (44_100, 1), (44_100, 10)]
)
def test_phases_stay_exact_over_the_clip(rate, duration_s, rng, oracle):
    carrier = np.append(rng.uniform(440, 1047, 6), [440, 1046.5]).astype(np.float32)
    modulator = np.append(rng.uniform(1, 30, 6), [1, 30]).astype(np.float32)
    deviation = np.full(8, 1500, np.float32)
    count = rate * duration_s - 37  # no multiple of 128
    moving, steady = phases(carrier, modulator, deviation, count, float(rate))
    times = np.arange(count) / rate
    f, v, b = (x.astype(np.float64)[:, None] for x in (carrier, modulator, deviation))
    assert moving.shape == (8, count)
    # Rounding of the swing within a row; plain float32 has 1e-4 after a second, 1e-3 after ten.
    assert np.all(error(moving, oracle.phase(f, v, b, times)) <= 6e-7 * 128 * 1500 / rate + 1e-6)
    assert np.all(error(steady, f * times) <= 3e-7)


def test_swings_are_exact_where_float32_would_lose_them(rng):
    """The largest, with a slow modulator, and products of many cycles; none at all for B = 0."""
    seconds = tuple(np.append(0, rng.uniform(0, 60, 500)))
    modulator = np.append(rng.uniform(1, 30, 60), [1, 1, 30, 30]).astype(np.float32)
    deviation = np.append(rng.uniform(0, 1500, 60), [0, 1500, 0, 1500]).astype(np.float32)
    found = np.asarray(swings(deviation, modulator, seconds), np.float64)
    b, v = (x.astype(np.float64)[:, None] for x in (deviation, modulator))
    expected = b / (2 * np.pi * v) * (1 - np.cos(2 * np.pi * v * np.asarray(seconds)))
    assert np.max(error(found, expected)) < 1e-6
    assert np.all(found[60] == 0)
    assert np.all(found[:, 0] == 0)


def test_derivatives_of_phases_are_the_times():
    seconds = tuple(np.arange(0, 10, 0.37))
    found = slopes(np.array([0.5, 440.1, 1046.5], np.float32), seconds)
    np.testing.assert_allclose(found, np.tile(seconds, (3, 1)), rtol=1e-6)


def test_phase_of_a_modulated_carrier_in_float64(oracle, x64):
    times = np.arange(3000) / 16_384
    moving, _ = phases(np.array([523.25]), np.array([1.0]), np.array([1500.0]), 3000, 16_384.0)
    assert error(moving, oracle.phase(523.25, 1.0, 1500.0, times)) < 1e-11


@given(
    numbers=st.lists(st.floats(0, 1e4, allow_subnormal=False), min_size=1, max_size=20),
)
def test_pieces_of_constants_sum_to_them_and_have_few_bits(numbers):
    numbers = np.array(numbers)
    high, middle, rest = precise.pieces(numbers)
    np.testing.assert_array_equal((high + middle) + rest, numbers)
    step = 2.0 ** np.ceil(np.log2(max(numbers.max(), 1e-9))) / 4096
    for piece, unit in ((high, step), (middle, step / 4096)):
        assert np.all(piece / unit == np.round(piece / unit))
        assert np.all((piece >= 0) & (piece / unit <= 4096))
