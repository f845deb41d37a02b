"""Frame bounds and canonical banks against dense linear algebra."""

from __future__ import annotations

import numpy as np
import pytest

from isincnet_jax.bank.dsp import frame_theory, kernels

HOP = 4


def make_bank(*, num_bins=6, taps=17, component="complex", causal=False, rate=64.0):
    center_hz = np.linspace(0, rate / 2, num_bins)
    bank = kernels.design_kernels(
        center_hz,
        np.full(num_bins, rate / num_bins),
        kernels.make_window("hann", taps, causal=causal),
        sample_rate=64,
        shape="gauss",
        component=component,
        normalization="l1",
    )
    return kernels.stack_components(bank, component=component)


BANKS = {
    "complex": make_bank(),
    "even_taps": make_bank(taps=14),
    "real_causal": make_bank(num_bins=9, taps=25, component="real", causal=True),
    "long": make_bank(num_bins=7, taps=41),
}


def circulant(bank, *, hop_length, num_frames):
    """Analysis of a periodic signal of ``num_frames`` hops, as a dense matrix."""
    channels, taps = bank.shape
    length = num_frames * hop_length
    matrix = np.zeros((num_frames, channels, length))
    for frame in range(num_frames):
        for tap in range(taps):
            sample = (frame * hop_length + tap - taps // 2) % length
            matrix[frame, :, sample] += bank[:, tap]
    return matrix.reshape(-1, length)


@pytest.mark.parametrize("name", BANKS)
def test_sampled_bounds_are_the_singular_values_of_the_circulant(name):
    # A circulant of 2 (n - 1) frames has exactly the n sampled frequencies (and their mirrors).
    matrix = circulant(BANKS[name], hop_length=HOP, num_frames=24)
    singular = np.linalg.svd(matrix, compute_uv=False)
    bounds = frame_theory.frame_bounds_of_kernels(
        BANKS[name], hop_length=HOP, num_frequencies=13, refine=False
    )
    # Squared singular values in float64; the smaller one loses the condition number.
    assert bounds.upper == pytest.approx(singular[0] ** 2, rel=1e-9)
    assert bounds.lower == pytest.approx(singular[-1] ** 2, rel=1e-9)
    assert bounds.condition == pytest.approx((singular[0] / singular[-1]) ** 2, rel=1e-6)


@pytest.mark.parametrize("name", BANKS)
def test_refined_bounds_are_those_of_a_long_circulant(name):
    num_frames = 240
    matrix = circulant(BANKS[name], hop_length=HOP, num_frames=num_frames)
    eigenvalues = np.linalg.eigvalsh(matrix.T @ matrix)
    bounds = frame_theory.frame_bounds_of_kernels(BANKS[name], hop_length=HOP)
    # A grid of 240 misses an extremum by at most (pi / 240)^2 / 2 times the curvature.
    assert bounds.upper == pytest.approx(eigenvalues[-1], rel=1e-3)
    assert bounds.lower == pytest.approx(eigenvalues[0], rel=1e-3)
    assert bounds.upper >= eigenvalues[-1] * (1 - 1e-9)
    assert bounds.lower <= eigenvalues[0] * (1 + 1e-9)


def test_bounds_bracket_the_energy_of_any_signal(rng):
    bank = BANKS["complex"]
    bounds = frame_theory.frame_bounds_of_kernels(bank, hop_length=HOP)
    matrix = circulant(bank, hop_length=HOP, num_frames=11)
    for signal in rng.standard_normal((20, matrix.shape[1])):
        ratio = np.sum((matrix @ signal) ** 2) / np.sum(signal**2)
        assert bounds.lower <= ratio <= bounds.upper


def test_polyphase_matrix_is_the_analysis_of_a_modulated_block(rng):
    bank, frequency = BANKS["even_taps"], 2 * np.pi * 3 / 10
    block = rng.standard_normal(HOP)
    signal = (np.exp(1j * frequency * np.arange(10))[:, None] * block).reshape(-1)
    frame_zero = circulant(bank, hop_length=HOP, num_frames=10)[: len(bank)] @ signal
    matrix = frame_theory.polyphase_matrix(bank, hop_length=HOP, frequency=np.array([frequency]))[0]
    np.testing.assert_allclose(matrix @ block, frame_zero, atol=1e-14)


@pytest.mark.parametrize("name", BANKS)
def test_an_inverse_bounds_the_condition_number(name):
    """From above, and by no more than the norms are apart."""
    bounds = frame_theory.frame_bounds_of_kernels(BANKS[name], hop_length=HOP)
    inverse = frame_theory.canonical_dual(BANKS[name], hop_length=HOP, num_blocks=24)
    found = frame_theory.condition_of_inverse(BANKS[name], inverse, hop_length=HOP)
    assert bounds.condition <= found < 1000 * bounds.condition


@pytest.mark.parametrize("name", BANKS)
def test_canonical_dual_is_the_pseudo_inverse(name):
    num_frames = 64  # the count of frequencies from which the dual is computed
    bank = BANKS[name]
    dual = frame_theory.canonical_dual(bank, hop_length=HOP, num_blocks=16)
    assert dual.shape == (len(bank), 2 * 16 * HOP + 1)
    analysis = circulant(bank, hop_length=HOP, num_frames=num_frames)
    synthesis = circulant(dual, hop_length=HOP, num_frames=num_frames).T
    # The dual is cut after 16 hops, where these banks' tails have decayed to 1e-6 or less.
    np.testing.assert_allclose(synthesis, np.linalg.pinv(analysis), atol=2e-6)
    np.testing.assert_allclose(synthesis @ analysis, np.eye(num_frames * HOP), atol=2e-6)


@pytest.mark.parametrize("name", BANKS)
def test_canonical_tight_bank_preserves_energy_and_is_its_own_inverse(name):
    tight = frame_theory.canonical_tight(BANKS[name], hop_length=HOP, num_blocks=16)
    bounds = frame_theory.frame_bounds_of_kernels(tight, hop_length=HOP)
    # Tails cut after 16 hops, as above.
    assert bounds.lower == pytest.approx(1.0, abs=5e-6)
    assert bounds.upper == pytest.approx(1.0, abs=5e-6)
    analysis = circulant(tight, hop_length=HOP, num_frames=40)
    np.testing.assert_allclose(analysis.T @ analysis, np.eye(40 * HOP), atol=5e-6)


def test_canonical_tight_bank_of_a_tight_bank_is_itself():
    tight = frame_theory.canonical_tight(BANKS["complex"], hop_length=HOP, num_blocks=16)
    again = frame_theory.canonical_tight(tight, hop_length=HOP, num_blocks=16)
    np.testing.assert_allclose(again, tight, atol=1e-6)


SINGULAR = {
    "too few channels": make_bank(num_bins=3, component="real"),
    "a band is missing": make_bank(num_bins=6)[[0, 1, 2, 6, 7, 8]],
}


@pytest.mark.parametrize("bank", SINGULAR.values(), ids=SINGULAR)
def test_singular_bank_has_no_lower_bound(bank):
    bounds = frame_theory.frame_bounds_of_kernels(bank[:3], hop_length=HOP)
    assert bounds.lower == 0.0
    assert bounds.upper > 0.0
    assert bounds.condition == float("inf")


@pytest.mark.parametrize("function", [frame_theory.canonical_dual, frame_theory.canonical_tight])
def test_singular_bank_has_no_canonical_bank(function):
    with pytest.raises(ValueError, match=r"is no frame .* use more bins or a smaller hop_length"):
        function(SINGULAR["too few channels"], hop_length=HOP, num_blocks=4)
