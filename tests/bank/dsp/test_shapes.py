"""Envelopes against numerical inverse Fourier transforms of their spectral shapes."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from isincnet_jax.bank.dsp import shapes

ONE_SIDED = ("gammatone", "gammatone2")
EVEN = [name for name in shapes.SHAPES if name not in ONE_SIDED]

# Spectral shapes of full width 1 at half maximum, and half of their support.
SPECTRA = {
    "sinc": (np.ones_like, 0.5),
    "gauss": (lambda f: 2.0 ** (-((2.0 * f) ** 2)), 6.0),
    "triangle": (lambda f: 1.0 - np.abs(f), 1.0),
    "raised_cosine": (lambda f: 0.5 * (1.0 + np.cos(np.pi * f)), 1.0),
    "trapezoid": (lambda f: np.clip(1.5 - 2.0 * np.abs(f), 0.0, 1.0), 0.75),
    "butterworth": (lambda f: 1.0 / (1.0 + (2.0 * f) ** 4), 40.0),
}


def value_of(*arguments, **options):
    """The envelope as one array, complex if the shape is not symmetric."""
    function = functools.partial(shapes.envelope, **options)
    real, imag = (jax.jit(function) if options.get("xp") is jnp else function)(*arguments)
    return real if imag is None else np.asarray(real) + 1j * np.asarray(imag)


quadrature = functools.cache(scipy.special.roots_legendre)


def inverse_transform(shape: str, time_s: np.ndarray, bandwidth_hz: float) -> np.ndarray:
    """Integral of the shape times cos(2 pi f t), by Gauss-Legendre quadrature, 1 at t = 0."""
    spectrum, half = SPECTRA[shape]
    nodes, weights = quadrature(2000 if shape == "butterworth" else 400)
    frequency = (nodes + 1.0) / 2.0 * half
    values = spectrum(frequency) * weights
    phase = 2 * np.pi * np.outer(time_s, frequency * bandwidth_hz)
    return np.cos(phase) @ values / np.sum(values)


@pytest.mark.parametrize("shape", SPECTRA)
@pytest.mark.parametrize("bandwidth_hz", [7.5, 63.0, 2000.0])
def test_envelope_is_the_inverse_fourier_transform_of_its_shape(shape, bandwidth_hz):
    time_s = np.linspace(-6.0, 6.0, 97) / bandwidth_hz
    found = value_of(time_s, np.float64(bandwidth_hz), shape=shape)
    # 400 nodes integrate 72 radians of phase to rounding, except across the trapezoid's corner; the
    # Butterworth response is cut at 40 bandwidths, where 1e-6 of it are left.
    tolerance = {"trapezoid": 2e-5, "butterworth": 1e-6}.get(shape, 1e-12)
    expected = inverse_transform(shape, time_s, bandwidth_hz)
    np.testing.assert_allclose(found, expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize("shape", SPECTRA)
def test_spectrum_at_half_the_bandwidth_is_half_its_maximum(shape):
    spectrum, half = SPECTRA[shape]
    if shape == "sinc":
        assert half == 0.5  # the edge of the rectangle itself
    else:
        assert float(spectrum(np.array(0.5))) == pytest.approx(0.5)
    # The same from the envelope: its Fourier transform at B/2 over that at 0.
    bandwidth_hz, step = 40.0, 1e-4
    time_s = np.arange(-40_000, 40_001) * step
    values = value_of(time_s, np.float64(bandwidth_hz), shape=shape)
    at_edge = np.sum(values * np.cos(np.pi * bandwidth_hz * time_s))
    # The sinc is cut after 160 lobes: 1e-3 of the sum.
    assert at_edge / np.sum(values) == pytest.approx(0.5, abs=3e-3)


def test_no_envelope_is_one_everywhere():
    values = value_of(np.linspace(-1, 1, 5)[None], np.ones((3, 1)), shape="none")
    np.testing.assert_array_equal(values, np.ones((3, 5)))


@pytest.mark.parametrize("shape", EVEN)
def test_envelope_is_one_at_time_zero_and_even(shape):
    time_s = np.linspace(0, 0.02, 11)
    bandwidth_hz = np.array([[1.0], [100.0], [5000.0]])
    ahead = value_of(time_s, bandwidth_hz, shape=shape)
    np.testing.assert_allclose(ahead[:, 0], 1.0, rtol=1e-15)
    np.testing.assert_allclose(
        ahead, value_of(-time_s, bandwidth_hz, shape=shape), rtol=0, atol=1e-15
    )


@pytest.mark.parametrize("shape", shapes.SHAPES)
def test_jax_and_numpy_envelopes_agree(shape, x64):
    time_s = np.linspace(-0.01, 0.01, 81)
    bandwidth_hz = np.array([[20.0], [431.0], [3999.0]])
    expected = value_of(time_s, bandwidth_hz, shape=shape)
    found = value_of(jnp.asarray(time_s), jnp.asarray(bandwidth_hz), shape=shape, xp=jnp)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("shape", shapes.SHAPES)
def test_float32_envelopes_stay_float32(shape):
    time_s = np.linspace(-0.01, 0.01, 81)
    found = value_of(jnp.asarray(time_s, jnp.float32), jnp.float32(200.0), shape=shape, xp=jnp)
    assert found.dtype in (np.float32, np.complex64)
    # sin of up to 13 radians in float32.
    np.testing.assert_allclose(
        found, value_of(time_s, np.float64(200.0), shape=shape), rtol=0, atol=2e-6
    )


@pytest.mark.parametrize("shape", shapes.SHAPES)
# Time 0 and the removable poles of the closed forms, |B t| = 1/2 and 1.
@pytest.mark.quick(16)
@pytest.mark.parametrize("scaled_time", [0.0, 0.5, -0.5, 1.0])
def test_gradients_are_finite_at_removable_poles(shape, scaled_time):
    def value(time_s, bandwidth_hz):
        real, imag = shapes.envelope(time_s, bandwidth_hz, shape=shape, xp=jnp)
        return jnp.sum(real) if imag is None else jnp.sum(real + imag)

    bandwidth_hz = 64.0
    gradients = jax.jit(jax.grad(value, argnums=(0, 1)))(
        jnp.float32(scaled_time / bandwidth_hz), jnp.float32(bandwidth_hz)
    )
    assert np.all(np.isfinite(gradients))
    if scaled_time == 0.0:
        bound = np.inf if shape in ONE_SIDED else 1e-6  # an extremum of an even function
        assert np.max(np.abs(gradients)) <= bound


def test_unknown_shape_is_refused():
    with pytest.raises(ValueError, match=r"shape='box' is unknown; use one of none, sinc"):
        shapes.envelope(0.0, 1.0, shape="box")


@pytest.mark.parametrize("order", [2, 4])
def test_gammatone_is_the_transform_of_its_pole(order):
    """Numerical Fourier transform against (1 + 2 i f / w)^-p, turned to its peak."""
    bandwidth_hz, step = 40.0, 2e-6
    time_s = np.arange(-50_000, 150_001) * step
    values = value_of(
        time_s, np.array([[bandwidth_hz]]), shape={2: "gammatone2", 4: "gammatone"}[order]
    )[0]
    width = bandwidth_hz / np.sqrt(4.0 ** (1.0 / order) - 1.0)
    frequency = np.array([0.0, 5.0, 20.0, 60.0])
    found = np.exp(-2j * np.pi * np.outer(frequency, time_s)) @ values
    onset = (order - 1) / (np.pi * width)
    expected = np.exp(2j * np.pi * frequency * onset) / (1 + 2j * frequency / width) ** order
    # The rectangle rule on a function with a corner (order 2): step / width of the response.
    np.testing.assert_allclose(found / found[0], expected, atol=1e-6)
    assert np.max(values) == pytest.approx(1.0)
    assert np.all(values[time_s < -onset] == 0.0)


def test_a_shape_is_one_function_and_one_entry(monkeypatch):
    """What docs/howto/filters.md shows."""
    monkeypatch.setitem(
        shapes.SHAPES, "squared", shapes.Shape(lambda t, b, xp: xp.sinc(b * t / 2) ** 4)
    )
    assert value_of(0.0, 100.0, shape="squared") == 1.0
