"""Spherical Bessel functions against SciPy, gradients included."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from isincnet_jax.dsp import spherical_bessel

PLACES = np.concatenate([np.linspace(-1, 1, 401), [20.0, 300.0]])


def _scipy(order, x, derivative=False):
    sign = np.sign(x) if (order + derivative) % 2 else 1.0
    return sign * scipy.special.spherical_jn(order, np.abs(x), derivative=derivative)


def test_values():
    np.testing.assert_allclose(spherical_bessel.sinc(PLACES, np), np.sinc(PLACES), atol=1e-14)
    found = spherical_bessel.spherical_bessel(PLACES, np)
    np.testing.assert_allclose(found, _scipy(1, PLACES), atol=1e-14)


def test_derivatives(x64):
    slopes = jax.vmap(jax.grad(lambda x: spherical_bessel.spherical_bessel(x, jnp)))(PLACES)
    np.testing.assert_allclose(slopes, _scipy(1, PLACES, derivative=True), atol=1e-12)
    slopes = jax.vmap(jax.grad(lambda x: spherical_bessel.sinc(x / jnp.pi, jnp)))(PLACES)
    np.testing.assert_allclose(slopes, _scipy(0, PLACES, derivative=True), atol=1e-12)


@pytest.mark.parametrize("place", [0.0, 1e-30, 1e-20, 1e-10, 1e-3])
def test_derivatives_of_tiny_arguments(place):
    """jnp.sinc has -inf at 1e-20."""
    slope = jax.jit(jax.grad(lambda x: spherical_bessel.sinc(x, jnp)))(jnp.float32(place))
    assert float(slope) == pytest.approx(-(np.pi**2) / 3 * place, rel=1e-4, abs=1e-30)
    slope = jax.jit(jax.grad(lambda x: spherical_bessel.spherical_bessel(x, jnp)))(
        jnp.float32(place)
    )
    assert float(slope) == pytest.approx(1 / 3, rel=1e-5)
