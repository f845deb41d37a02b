"""Kernel design against direct sums, the DFT and finite differences."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from isincnet_jax.bank.dsp import kernels, shapes

RATE = 16_000
CENTER_HZ = np.array([0.0, 101.3, 999.0, 4000.0, 7321.7, 8000.0])
BANDWIDTH_HZ = np.array([50.0, 63.0, 90.0, 200.0, 400.0, 500.0])


def design(*, shape="gauss", component="complex", normalization="none", taps=257, causal=False):
    window = kernels.make_window("hann", taps, causal=causal)
    return kernels.design_kernels(
        CENTER_HZ,
        BANDWIDTH_HZ,
        window,
        sample_rate=RATE,
        shape=shape,
        component=component,
        normalization=normalization,
    )


def test_hann_window_is_symmetric_and_matches_scipy():
    window = kernels.make_window("hann", 33)
    np.testing.assert_allclose(window, scipy.signal.windows.hann(33, sym=True), atol=1e-15)
    np.testing.assert_allclose(window, window[::-1], rtol=1e-12)


def test_rectangular_is_boxcar():
    np.testing.assert_array_equal(kernels.make_window("rectangular", 9), np.ones(9))


@pytest.mark.parametrize("taps", [8, 9])
def test_causal_window_keeps_the_centre_and_nothing_after(taps):
    full = kernels.make_window("hamming", taps)
    causal = kernels.make_window("hamming", taps, causal=True)
    center = taps // 2
    np.testing.assert_array_equal(causal[: center + 1], full[: center + 1])
    np.testing.assert_array_equal(causal[center + 1 :], 0.0)


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ([0.0, 1.0, 2.0, 1.0, 0.0], (1, 1)),
        ([1.0, 1.0, 2.0, 0.0, 0.0], (2, 0)),
        ([1.0, 1.0, 1.0, 1.0], (2, 1)),
    ],
)
def test_window_support_counts_non_zero_taps(window, expected):
    assert kernels.window_support(np.array(window)) == expected


def test_unknown_window_is_named():
    with pytest.raises(ValueError, match=r"window='hannn' is unknown .* use hann"):
        kernels.make_window("hannn", 9)


@pytest.mark.parametrize("shape", shapes.SHAPES)
def test_kernel_is_modulation_times_envelope_times_window(shape):
    taps = 129
    found = design(shape=shape, taps=taps)
    hann = scipy.signal.windows.hann(taps, sym=True)
    for row, (center_hz, bandwidth_hz) in enumerate(zip(CENTER_HZ, BANDWIDTH_HZ, strict=True)):
        for n in (0, 1, 17, 64, 65, 128):
            t = (n - 64) / RATE
            factor, _ = shapes.envelope(np.float64(t), np.float64(bandwidth_hz), shape=shape)
            factor = float(np.squeeze(factor))
            expected = np.exp(2j * np.pi * center_hz * t) * factor * hann[n]
            assert found[row, n] == pytest.approx(expected, abs=1e-12)


def test_real_part_is_even_and_imaginary_part_odd():
    found = design(shape="sinc")
    np.testing.assert_allclose(found, found[:, ::-1].conj(), atol=1e-15)


def test_causal_kernels_are_zero_after_the_centre():
    found = design(taps=257, causal=True, normalization="l1")
    np.testing.assert_array_equal(found[:, 129:], 0.0)
    assert np.all(np.abs(found[:, 128]) > 0)


@pytest.mark.parametrize("component", ["real", "complex"])
@pytest.mark.parametrize(("normalization", "power"), [("l1", 1), ("l2", 2)], ids=["l1", "l2"])
def test_each_filter_has_unit_norm(component, normalization, power):
    found = design(component=component, normalization=normalization)
    used = np.abs(found) if component == "complex" else np.abs(found.real)
    np.testing.assert_allclose(np.sum(used**power, axis=1), 1.0, rtol=1e-12)


def test_max_l1_is_one_factor_for_all_filters():
    plain, scaled = design(normalization="none"), design(normalization="max_l1")
    ratio = np.abs(scaled).sum(axis=1) / np.abs(plain).sum(axis=1)
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-12)
    assert np.abs(scaled).sum(axis=1).max() == pytest.approx(1.0, rel=1e-12)


def test_l1_normalisation_bounds_coefficients_by_the_peak(rng):
    found = design(component="real", normalization="l1").real
    signals = np.sign(rng.standard_normal((50, found.shape[1])))
    worst = np.sign(found)  # the signal that makes each filter largest
    assert np.max(np.abs(found @ signals.T)) <= 1 + 1e-12
    np.testing.assert_allclose(np.sum(found * worst, axis=1), 1.0, rtol=1e-12)


def gain_at_centre(bank):
    """|DTFT| of each filter at its own centre frequency."""
    offset = np.arange(bank.shape[1]) - bank.shape[1] // 2
    waves = np.exp(-2j * np.pi * np.outer(CENTER_HZ / RATE, offset))
    return np.abs(np.sum(bank * waves, axis=1))


@pytest.mark.parametrize("component", ["real", "complex"])
@pytest.mark.parametrize("shape", ["none", "gauss", "triangle"])
def test_gain_normalisation_passes_the_centre_frequency_with_gain_one(component, shape):
    bank = design(shape=shape, component=component, normalization="gain")
    np.testing.assert_allclose(gain_at_centre(bank), 1.0, rtol=1e-12)


@pytest.mark.parametrize("shape", ["sinc", "raised_cosine"])
def test_gain_normalisation_holds_for_envelopes_with_negative_lobes(shape):
    # 2049 taps reach 32 lobes of the widest filter's envelope.
    bank = design(shape=shape, normalization="gain", taps=2049)
    np.testing.assert_allclose(gain_at_centre(bank), 1.0, rtol=1e-12)


def test_gain_normalised_real_filter_halves_a_cosine():
    bank = design(shape="gauss", component="real", normalization="gain").real
    offset = np.arange(257) - 128
    cosine = np.cos(2 * np.pi * CENTER_HZ[2] / RATE * offset)
    # The image at the negative frequency is 999 * 2 Hz away from a 90 Hz band with a Hann
    # window: -60 dB.
    assert float(bank[2] @ cosine) == pytest.approx(0.5, abs=1e-3)


def test_unknown_normalisation_is_refused():
    with pytest.raises(ValueError, match=r"normalization='l3'; use one of l1, max_l1"):
        design(normalization="l3")


def test_filter_of_zeros_cannot_be_normalised():
    bank = np.ones((2, 5), np.complex128)
    bank[1] = 1j  # the real component has nothing left
    with pytest.raises(ValueError, match="filter 1 is 0 throughout"):
        kernels.normalize_kernels(bank, method="l1", component="real")


def test_stack_components_puts_cosines_before_sines():
    bank = design()
    np.testing.assert_array_equal(kernels.stack_components(bank, component="real"), bank.real)
    both = kernels.stack_components(bank, component="complex")
    np.testing.assert_array_equal(both, np.concatenate([bank.real, bank.imag]))


@functools.partial(jax.jit, static_argnames=("shape", "component", "normalization"))
def from_parameters(center, bandwidth, window, *, shape, component, normalization):
    return kernels.kernels_from_parameters(
        center,
        bandwidth,
        window,
        shape=shape,
        component=component,
        normalization=normalization,
    )


def largest_deviation(*, shape, component, normalization, taps, causal=False):
    """|learnable - designed| over the largest tap, for the same float32 parameters."""
    center = (CENTER_HZ / (RATE / 2)).astype(np.float32)
    bandwidth = (BANDWIDTH_HZ / (RATE / 2)).astype(np.float32)
    window = kernels.make_window("hann", taps, causal=causal)
    expected = kernels.stack_components(
        kernels.design_kernels(
            center.astype(np.float64) * (RATE / 2),
            bandwidth.astype(np.float64) * (RATE / 2),
            window,
            sample_rate=RATE,
            shape=shape,
            component=component,
            normalization=normalization,
        ),
        component=component,
    )
    found = from_parameters(
        jnp.asarray(center),
        jnp.asarray(bandwidth),
        jnp.asarray(window, jnp.float32),
        shape=shape,
        component=component,
        normalization=normalization,
    )
    assert found.dtype == jnp.float32
    return np.max(np.abs(np.asarray(found, np.float64) - expected)) / np.max(np.abs(expected))


@pytest.mark.quick(22)
@pytest.mark.parametrize("shape", shapes.SHAPES)
@pytest.mark.parametrize("normalization", kernels.NORMALIZATIONS)
@pytest.mark.parametrize("component", ["real", "complex"])
def test_learnable_kernels_equal_designed_ones(shape, normalization, component):
    # 1e-6 of the largest tap: float32 rounding of phase, envelope and norm.
    assert (
        largest_deviation(shape=shape, component=component, normalization=normalization, taps=501)
        < 1e-6
    )


@pytest.mark.parametrize("shape", ["none", "gauss"])
@pytest.mark.parametrize("taps", [4097, 16_385])
def test_learnable_kernels_keep_their_phase_over_long_filters(shape, taps):
    # A product of float32 frequency and offset alone would be wrong by 1e-3 here.
    assert largest_deviation(shape=shape, component="complex", normalization="l1", taps=taps) < 1e-6


def test_learnable_causal_kernels_equal_designed_ones():
    assert (
        largest_deviation(shape="sinc", component="real", normalization="l1", taps=501, causal=True)
        < 1e-6
    )


def test_negative_bandwidths_count_as_positive():
    window = jnp.asarray(kernels.make_window("hann", 65), jnp.float32)
    options = {"shape": "sinc", "component": "complex", "normalization": "l1"}
    center, bandwidth = jnp.array([0.3, 0.5], jnp.float32), jnp.array([0.1, 0.2], jnp.float32)
    np.testing.assert_array_equal(
        from_parameters(center, -bandwidth, window, **options),
        from_parameters(center, bandwidth, window, **options),
    )


@pytest.mark.quick(3)
@pytest.mark.parametrize("normalization", kernels.NORMALIZATIONS)
@pytest.mark.parametrize("component", ["real", "complex"])
@pytest.mark.parametrize("shape", ["sinc", "gauss", "raised_cosine"])
def test_gradients_of_learnable_kernels_match_finite_differences(
    x64, rng, shape, component, normalization
):
    taps = 33
    window = jnp.asarray(kernels.make_window("hann", taps))
    channels = 3 * (2 if component == "complex" else 1)
    weights = jnp.asarray(rng.standard_normal((channels, taps)))
    options = {"shape": shape, "component": component, "normalization": normalization}

    def loss(center, bandwidth):
        return jnp.sum(weights * from_parameters(center, bandwidth, window, **options))

    center, bandwidth = np.array([0.13, 0.4871, 0.883]), np.array([0.053, 0.1137, 0.4371])
    gradients = jax.jit(jax.grad(loss, argnums=(0, 1)))(jnp.asarray(center), jnp.asarray(bandwidth))
    step = 1e-6  # no tap changes its sign within it, where a sum of moduli has kinks
    for argument in (0, 1):
        for index in range(3):
            values = []
            for sign in (1, -1):
                moved = [center.copy(), bandwidth.copy()]
                moved[argument][index] += sign * step
                values.append(float(loss(*map(jnp.asarray, moved))))
            numeric = (values[0] - values[1]) / (2 * step)
            # Central differences in float64: 1e-10 / step of rounding, third-order error below.
            assert float(gradients[argument][index]) == pytest.approx(numeric, rel=1e-6, abs=1e-6)


def test_reference_kernels_differ_from_native_ones_by_their_time_grid():
    taps, window = 501, kernels.make_window("hann", 501)
    reference = kernels.design_reference_kernels(
        CENTER_HZ,
        BANDWIDTH_HZ,
        window,
        sample_rate=RATE,
        shape="none",
        component="complex",
        normalization="none",
    )
    # The grid spans K instead of K - 1 steps: every frequency is higher by 1 / (K - 1).
    native = kernels.design_kernels(
        CENTER_HZ * taps / (taps - 1),
        BANDWIDTH_HZ,
        window,
        sample_rate=RATE,
        shape="none",
        component="complex",
        normalization="none",
    )
    # float32 phases of up to 800 radians: 1e-4, as documented.
    np.testing.assert_allclose(reference, native, atol=1e-4)


@pytest.mark.parametrize("taps", [1, 8, 33])
def test_cosine_series(taps, x64):
    terms = np.array([0.3, -0.2, 0.05])
    offset = np.arange(taps) - taps // 2
    expected = np.ones(taps)
    for order, term in enumerate(terms, start=1):
        expected += term * np.cos(2 * np.pi * order * offset / max(taps - 1, 1))
    found = kernels.cosine_series(jnp.asarray(terms), taps=taps)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    if taps % 2:
        np.testing.assert_allclose(found, found[::-1], rtol=1e-12)
    np.testing.assert_array_equal(kernels.cosine_series(jnp.zeros(2), taps=taps), 1.0)
