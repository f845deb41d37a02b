"""Learned bands: the reference's arithmetic, limits, parametrisations and normalisations."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from isincnet_jax.bank.dsp import shapes
from isincnet_jax.frontends import sinc_bands

LIMITS = sinc_bands.BandLimits(16_000)
WINDOW = sinc_bands.reference_window(251)
NAME = "sincconv_fast_80x251_16000hz_stride1"


@functools.partial(
    jax.jit, static_argnames=("parametrization", "normalization", "component", "shape")
)
def _kernels(low, band, *, parametrization="hz", **options):
    edges = sinc_bands.bands_from_parameters(
        low, band, parametrization=parametrization, limits=LIMITS
    )
    window = jnp.asarray(WINDOW, low.dtype)
    return sinc_bands.kernels_from_bands(*edges, window, sample_rate=16_000, **options)


def _start(parametrization, dtype=jnp.float32):
    hz = sinc_bands.initial_parameters(80, scale="mel_htk", low_hz=30, high_hz=7900)
    values = sinc_bands.parameters_from_hz(*hz, parametrization=parametrization, limits=LIMITS)
    return [jnp.asarray(value, dtype) for value in values]


@pytest.mark.parametrize("prefix", ["", "perturbed_"])
def test_filters_are_those_of_sincconv_fast(golden, prefix):
    stored = golden(NAME)
    low, band = (jnp.asarray(stored[f"{prefix}{name}_hz_"]) for name in ("low", "band"))
    error = np.abs(np.asarray(_kernels(low, band)) - stored[f"{prefix}filters"])
    # One tap beside the middle of a band of 52 Hz is 2.8e-6 off, and so is its mirror image:
    # PyTorch's float32 sine is an ulp off there, and is divided by 0.02.
    assert np.max(error) < (3e-6 if prefix else 2e-6)
    assert np.sum(error > 2e-6) <= (2 if prefix else 0)


def test_initial_parameters_and_window_are_those_of_sincconv_fast(golden):
    stored = golden(NAME)
    low, band = sinc_bands.initial_parameters(80, scale="mel_htk", low_hz=30, high_hz=7900)
    np.testing.assert_allclose(low, stored["low_hz_"], rtol=6e-8)
    np.testing.assert_allclose(band, stored["band_hz_"], rtol=6e-8)
    np.testing.assert_allclose(WINDOW[:125], stored["window_"], atol=2e-7)
    assert WINDOW[125] == 1.0


@pytest.mark.parametrize("parametrization", ["mel", "normalized"])
def test_all_parametrizations_start_with_the_same_filters(parametrization, x64):
    wanted = _kernels(*_start("hz", jnp.float64))
    found = _kernels(*_start(parametrization, jnp.float64), parametrization=parametrization)
    np.testing.assert_allclose(found, wanted, atol=1e-11)
    in_float32 = _kernels(*_start(parametrization), parametrization=parametrization)
    np.testing.assert_allclose(in_float32, wanted, atol=3e-5)  # edges have an ulp of 5e-4 Hz


@functools.partial(jax.jit, static_argnums=(2, 3, 4))
def _slopes(low, band, parametrization, normalization, component):
    """Gradients of a sum over the taps, and the filters."""
    options = {"normalization": normalization, "component": component}

    def total(low, band):
        filters = _kernels(low, band, parametrization=parametrization, **options)
        return jnp.sum(filters[:, 100:] ** 2), filters

    return jax.grad(total, argnums=(0, 1), has_aux=True)(low, band)


@pytest.mark.quick(1)
@pytest.mark.parametrize("parametrization", sinc_bands.PARAMETRIZATIONS)
@given(
    low=st.floats(-(2.0**100), 2.0**100, width=32)
    | st.sampled_from([0.0, 1.0, -1.0, 7950.0, 8000.0]),
    band=st.floats(-(2.0**100), 2.0**100, width=32) | st.sampled_from([0.0, 1.0, 7900.0]),
    normalization=st.sampled_from(sinc_bands.BAND_NORMALIZATIONS),
    component=st.sampled_from(["real", "complex"]),
)
@example(low=-(2.0**100), band=2.0**100, normalization="gain", component="complex")
@example(low=2.0**100, band=0.0, normalization="energy", component="real")
@example(low=7950.0, band=0.0, normalization="reference", component="real")
@settings(max_examples=8)
def test_filters_and_gradients_are_finite_at_any_parameter(
    parametrization, low, band, normalization, component
):
    values = [jnp.asarray(np.full(1, value, np.float32)) for value in (low, band)]
    gradient, filters = _slopes(*values, parametrization, normalization, component)
    assert np.all(np.isfinite(filters))
    assert np.all(np.isfinite(gradient))
    edges = sinc_bands.bands_from_parameters(
        *values, parametrization=parametrization, limits=LIMITS
    )
    assert 50 <= edges[0][0] < edges[1][0] <= 8000


@pytest.mark.quick(2)
@pytest.mark.parametrize("parametrization", sinc_bands.PARAMETRIZATIONS)
@pytest.mark.parametrize("component", ["real", "complex"])
def test_gradients_are_those_of_finite_differences(parametrization, component, rng, x64):
    low, band = (value[::8] for value in _start(parametrization, jnp.float64))
    weight = jnp.asarray(rng.standard_normal((10 if component == "real" else 20, 251)))

    @jax.jit
    def loss(low, band):
        filters = _kernels(low, band, parametrization=parametrization, component=component)
        return jnp.sum(weight * filters)

    # Sines of up to 400 rad over 1e-7 of the parameters leave seven digits.
    from jax.test_util import check_grads

    scale = 1.0 if parametrization == "hz" else 8000.0
    check_grads(
        lambda a, b: loss(a / scale, b / scale),
        (low * scale, band * scale),
        order=1,
        modes=["rev"],
        eps=1e-4,
        rtol=1e-5,
    )


def test_bands_narrower_than_the_digits_of_a_difference_are_right():
    edges = jnp.array([7000.0], jnp.float32), jnp.array([7000.25], jnp.float32)
    found = sinc_bands.kernels_from_bands(
        *edges, jnp.asarray(WINDOW, jnp.float32), sample_rate=16_000, component="complex"
    )
    time = (np.arange(251) - 125) / 16_000
    wanted = np.sinc(0.25 * time) * np.exp(2j * np.pi * 7000.125 * time) * WINDOW
    np.testing.assert_allclose(found, [wanted.real, wanted.imag], atol=3e-5)


@pytest.mark.quick(2)
@pytest.mark.parametrize("shape", [name for name in shapes.SHAPES if name != "none"])
def test_normalizations(shape):
    edges = jnp.array([950.0, 3000.0], jnp.float32), jnp.array([1450.0, 3600.0], jnp.float32)

    kernels = jax.jit(
        sinc_bands.kernels_from_bands,
        static_argnames=("sample_rate", "shape", "component", "normalization"),
    )

    @functools.cache
    def bank(normalization, component):
        return np.asarray(
            kernels(
                *edges,
                jnp.asarray(WINDOW, jnp.float32),
                sample_rate=16_000,
                shape=shape,
                component=component,
                normalization=normalization,
            ),
            np.float64,
        )

    offset = np.arange(251) - 125
    for index, center in enumerate((1200.0, 3300.0)):
        wave = np.exp(-2j * np.pi * center / 16_000 * offset)
        pair = bank("gain", "complex")
        assert abs(abs(np.sum((pair[index] + 1j * pair[index + 2]) * wave)) - 1) < 1e-4
        assert abs(abs(np.sum(bank("gain", "real")[index] * wave)) - 1) < 0.03
    np.testing.assert_allclose(np.sum(bank("energy", "real") ** 2, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(np.sum(bank("energy", "complex") ** 2), 2, rtol=1e-5)
    np.testing.assert_allclose(bank("reference", "real")[:, 125], 1, rtol=1e-5)


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="parametrization='bark' is unknown"):
        sinc_bands.check_parametrization("bark")
    with pytest.raises(ValueError, match="normalization='l1' is unknown"):
        _kernels(*_start("hz"), normalization="l1")
    with pytest.raises(ValueError, match="low_hz=0"):
        sinc_bands.initial_parameters(4, scale="log", low_hz=0, high_hz=100)
