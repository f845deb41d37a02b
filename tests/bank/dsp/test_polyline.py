"""PF-Net's polylines against numerical integration of their spectra in float64."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isincnet_jax.bank.dsp import kernels, polyline, shapes

RATE = 16_000


@functools.lru_cache(maxsize=1)
def _quadrature():
    return np.polynomial.legendre.leggauss(300)


def _integrated(time_s, center_hz, bandwidth_hz, amplitudes, places):
    """The inverse transform of the polyline around its centre, over its area."""
    nodes, weights = _quadrature()
    total, area = np.zeros(len(time_s), complex), 0.0
    edges_hz = center_hz + bandwidth_hz * (places - 0.5)
    for low, high, left, right in zip(
        edges_hz[:-1], edges_hz[1:], amplitudes[:-1], amplitudes[1:], strict=True
    ):
        share = (nodes + 1.0) / 2.0
        spectrum = (left + (right - left) * share) * weights * (high - low) / 2.0
        frequency_hz = low + (high - low) * share
        total += np.exp(2j * np.pi * np.outer(time_s, frequency_hz)) @ spectrum
        area += np.sum(spectrum)
    return total / area


@functools.partial(jax.jit, static_argnames="taps")
def _kernels(center, bandwidth, heights, gaps, *, taps):
    return kernels.kernels_from_parameters(
        center,
        bandwidth,
        jnp.ones(taps, center.dtype),
        shape="pfnet",
        component="complex",
        normalization="none",
        parameters={"heights": heights, "gaps": gaps},
    )


@settings(max_examples=12)
@given(
    seed=st.integers(0, 999),
    center_hz=st.sampled_from([20.0, 55.0, 440.0, 3000.0, 7900.0]),
    bandwidth_hz=st.sampled_from([0.5, 5.0, 60.0, 700.0, 4000.0]),
)
def test_float32_kernels_are_the_integral(seed, center_hz, bandwidth_hz):
    """The published difference of cosines over t^2 loses 1e-3 at low frequencies."""
    rng = np.random.default_rng(seed)
    heights, gaps = rng.uniform(-0.5, 0.5, (1, 5)), rng.normal(size=(1, 4))
    nyquist = RATE / 2
    arguments = [
        jnp.asarray(value, jnp.float32)
        for value in ([center_hz / nyquist], [bandwidth_hz / nyquist], heights, gaps)
    ]
    found = np.asarray(_kernels(*arguments, taps=251))
    time_s = (np.arange(251) - 125) / RATE
    amplitudes, places = polyline.points(
        np.float32(heights[0]).astype(float), np.float32(gaps[0]).astype(float), np
    )
    exact = [float(value[0]) * nyquist for value in arguments[:2]]
    expected = _integrated(time_s, *exact, amplitudes, places)
    assert np.max(np.abs(found[0] + 1j * found[1] - expected)) < 1e-5


def test_equal_amplitudes_are_the_sinc():
    time_s = np.linspace(-0.01, 0.01, 41)
    bandwidth_hz = np.array([[100.0], [2000.0]])
    real, imag = shapes.envelope(time_s, bandwidth_hz, shape="pfnet")
    np.testing.assert_allclose(real, np.sinc(time_s * bandwidth_hz), atol=1e-14)
    np.testing.assert_allclose(imag, 0.0, atol=1e-14)


@settings(max_examples=20)
@given(
    gaps=st.lists(st.floats(-40, 40), min_size=4, max_size=4),
    heights=st.lists(st.floats(-50, 50), min_size=5, max_size=5),
)
def test_breakpoints_stay_in_order(gaps, heights):
    amplitudes, places = polyline.points(np.asarray(heights), np.asarray(gaps), np)
    assert np.all(np.diff(places) >= 0)
    assert places[0] == 0.0
    assert places[-1] == pytest.approx(1.0)
    assert np.all(amplitudes >= 0)


@pytest.mark.quick(2)
@pytest.mark.parametrize("height", [0.0, -2.0, 1e4])
@pytest.mark.parametrize("bandwidth", [0.0, 1e-6, 1.0, 2.0])
@pytest.mark.parametrize("center", [0.0, 1.0])
def test_gradients_at_the_limits_are_finite(height, bandwidth, center):
    """Bands without width, amplitudes that are all 0, centres at 0 and at half the rate."""

    def total(center, bandwidth, heights, gaps):
        return jnp.sum(_kernels(center, bandwidth, heights, gaps, taps=33) ** 2)

    gradients = jax.jit(jax.grad(total, (0, 1, 2, 3)))(
        jnp.full(1, center),
        jnp.full(1, bandwidth),
        jnp.full((1, 5), height),
        jnp.asarray([[0.0, -60.0, 60.0, 0.0]]),
    )
    for gradient in gradients:
        assert np.all(np.isfinite(gradient))


def test_gradients_match_finite_differences(x64, rng):
    weights = rng.standard_normal((4, 33))
    start = [
        np.array([0.13, 0.61]),
        np.array([0.05, 0.31]),
        rng.uniform(-0.5, 0.5, (2, 5)),
        rng.normal(size=(2, 4)),
    ]

    def loss(*arguments):
        return jnp.sum(weights * _kernels(*arguments, taps=33))

    direction = [rng.standard_normal(value.shape) for value in start]
    gradient = jax.jit(jax.grad(loss, (0, 1, 2, 3)))(*map(jnp.asarray, start))
    slope = sum(float(jnp.sum(g * d)) for g, d in zip(gradient, direction, strict=True))
    step = 1e-6
    ends = [
        float(loss(*(jnp.asarray(v + s * step * d) for v, d in zip(start, direction, strict=True))))
        for s in (1, -1)
    ]
    assert slope == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-6)
