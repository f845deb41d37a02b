"""Decoders against dense operators, the pseudo-inverse, the textbook formula and simulation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.linalg

from isincnet_jax.bank.dsp import decoders, kernels

HOP = 4


def make_bank(*, num_bins=6, taps=17, component="complex", causal=False):
    bank = kernels.design_kernels(
        np.linspace(0, 32.0, num_bins),
        np.full(num_bins, 64.0 / num_bins),
        kernels.make_window("hann", taps, causal=causal),
        sample_rate=64,
        shape="gauss",
        component=component,
        normalization="l1",
    )
    return kernels.stack_components(bank, component=component)


BANKS = {
    "complex": make_bank(),
    "even_taps": make_bank(taps=16),
    "real_causal": make_bank(num_bins=9, taps=25, component="real", causal=True),
}
FEW_CHANNELS = make_bank(num_bins=3, component="real")


def positions(bank, decoder):
    """Frames and samples around the block [0, hop): the first frame, and where it starts."""
    num_frames = decoder.kernels.shape[1] // HOP
    first = decoder.lead // HOP - num_frames + 1
    return num_frames, first, first * HOP - bank.shape[1] // 2


def dense_system(bank, decoder):
    """A and E of the module's text, by placing every tap; and W read off the kernels."""
    num_frames, first, start = positions(bank, decoder)
    channels, taps = bank.shape
    samples = (num_frames - 1) * HOP + taps
    matrix = np.zeros((num_frames, channels, samples))
    for j in range(num_frames):
        for n in range(taps):
            matrix[j, :, j * HOP + n] = bank[:, n]
    target = np.zeros((HOP, samples))
    weights = np.zeros((HOP, num_frames, channels))
    for m in range(HOP):
        target[m, m - start] = 1.0
        for j in range(num_frames):
            weights[m, j] = decoder.kernels[:, m - (first + j) * HOP + decoder.lead]
    rows = num_frames * channels
    return matrix.reshape(rows, -1), target, weights.reshape(HOP, rows)


@pytest.mark.parametrize("name", BANKS)
def test_analysis_matrix_is_the_strided_sum(name, rng):
    bank = BANKS[name]
    signal = rng.standard_normal(2 * HOP + bank.shape[1])
    found = decoders.analysis_matrix(bank, hop_length=HOP, num_frames=3) @ signal
    expected = [
        sum(channel[n] * signal[t * HOP + n] for n in range(bank.shape[1]))
        for t in range(3)
        for channel in bank
    ]
    np.testing.assert_allclose(found, expected, atol=1e-13)


@pytest.mark.parametrize(("name", "num_frames"), [("complex", 6), ("even_taps", 8)])
def test_least_squares_decoder_is_exact(name, num_frames):
    bank = BANKS[name]
    decoder = decoders.least_squares_decoder(bank, hop_length=HOP, num_frames=num_frames)
    matrix, target, weights = dense_system(bank, decoder)
    # W A = E to float64 rounding: condition numbers below 100.
    np.testing.assert_allclose(weights @ matrix, target, atol=1e-11)
    assert decoder.residual < 1e-11


def test_residual_of_a_decoder_that_is_not_exact_is_that_of_the_dense_product():
    bank = FEW_CHANNELS
    decoder = decoders.least_squares_decoder(bank, hop_length=HOP, num_frames=5)
    matrix, target, weights = dense_system(bank, decoder)
    expected = np.sqrt(np.mean(np.sum((weights @ matrix - target) ** 2, axis=1)))
    assert expected > 1e-4
    assert decoder.residual == pytest.approx(expected, rel=1e-9)


def test_residual_is_the_relative_error_on_white_noise(rng):
    bank = FEW_CHANNELS
    decoder = decoders.least_squares_decoder(bank, hop_length=HOP, num_frames=5)
    matrix, target, weights = dense_system(bank, decoder)
    noise = rng.standard_normal((matrix.shape[1], 20_000))
    error = weights @ (matrix @ noise) - target @ noise
    # 80000 samples of a variance: 1 %.
    assert np.sqrt(np.mean(error**2)) == pytest.approx(decoder.residual, rel=0.02)


def test_noise_gain_is_the_deviation_that_unit_noise_causes(rng):
    bank = BANKS["complex"]
    decoder = decoders.least_squares_decoder(bank, hop_length=HOP, num_frames=6)
    _, _, weights = dense_system(bank, decoder)
    output = weights @ rng.standard_normal((weights.shape[1], 20_000))
    assert np.std(output) == pytest.approx(decoder.noise_gain, rel=0.02)


@pytest.mark.parametrize("name", BANKS)
def test_least_squares_decoder_is_the_minimum_norm_solution(name):
    bank = BANKS[name]
    decoder = decoders.least_squares_decoder(bank, hop_length=HOP, num_frames=8)
    matrix, target, weights = dense_system(bank, decoder)
    expected = target @ np.linalg.pinv(matrix, rcond=1e-10)
    # Singular values around the cut of either method differ in what they keep.
    np.testing.assert_allclose(weights, expected, atol=1e-5 * np.max(np.abs(expected)))


@pytest.mark.parametrize(("rows", "samples"), [(30, 20), (20, 30), (25, 25)])
def test_left_inverse_is_that_of_least_squares(rng, rows, samples):
    matrix = rng.standard_normal((rows, samples))
    target = rng.standard_normal((4, samples))
    solution, residual = decoders.solve_left_inverse(matrix, target)
    expected = np.linalg.lstsq(matrix.T, target.T, rcond=None)[0].T
    # Condition numbers of up to 1e3 for the square one, squared in the Gram matrix.
    np.testing.assert_allclose(solution, expected, rtol=0, atol=1e-7 * np.max(np.abs(expected)))
    error = expected @ matrix - target
    assert residual == pytest.approx(np.sqrt(np.mean(np.sum(error**2, axis=1))), abs=1e-9)


def test_left_inverse_leaves_unseen_directions_alone(rng):
    matrix = rng.standard_normal((12, 8))
    matrix[:, 0] = 0.0  # sample 0 is seen by no frame
    solution, residual = decoders.solve_left_inverse(matrix, np.eye(8))
    expected = np.linalg.pinv(matrix)
    np.testing.assert_allclose(solution, expected, atol=1e-9)
    assert residual == pytest.approx(np.sqrt(1 / 8))


def test_regularisation_without_refinement_is_tikhonov(rng):
    matrix, target = rng.standard_normal((12, 8)), rng.standard_normal((3, 8))
    solution, _ = decoders.solve_left_inverse(matrix, target, regularization=1e-2, refinements=0)
    ridge = 1e-2 * np.trace(matrix @ matrix.T) / 8
    expected = target @ matrix.T @ np.linalg.inv(matrix @ matrix.T + ridge * np.eye(12))
    np.testing.assert_allclose(solution, expected, atol=1e-10)


def test_regularisation_trades_exactness_for_noise_gain():
    bank = BANKS["real_causal"]
    found = [
        decoders.least_squares_decoder(
            bank, hop_length=HOP, num_frames=8, regularization=value, refinements=0
        )
        for value in (1e-12, 1e-6, 1e-3)
    ]
    assert found[0].residual < found[1].residual < found[2].residual
    assert found[0].noise_gain > found[1].noise_gain > found[2].noise_gain


def test_frames_that_do_not_reach_the_block_are_refused():
    with pytest.raises(ValueError, match=r"num_frames=1 do not span a block of hop_length=40"):
        decoders.least_squares_decoder(BANKS["complex"], hop_length=40, num_frames=1)


LAGS = 0.8 ** np.arange(60)
NOISE = {"one number": 1e-3, "per channel": np.geomspace(1e-4, 1e-1, 12)}


@pytest.mark.parametrize("noise", NOISE.values(), ids=NOISE)
def test_wiener_decoder_is_the_textbook_formula(noise):
    bank = BANKS["complex"]
    decoder = decoders.wiener_decoder(
        bank, hop_length=HOP, num_frames=5, autocovariance=LAGS, noise_variance=noise
    )
    matrix, target, weights = dense_system(bank, decoder)
    covariance = scipy.linalg.toeplitz(LAGS[: matrix.shape[1]])
    noise_matrix = np.diag(np.tile(np.broadcast_to(noise, 12), 5))
    expected = (
        target
        @ covariance
        @ matrix.T
        @ np.linalg.inv(matrix @ covariance @ matrix.T + noise_matrix)
    )
    np.testing.assert_allclose(weights, expected, atol=1e-8)
    error = weights @ matrix - target
    power = np.trace(error @ covariance @ error.T) / HOP
    assert decoder.residual == pytest.approx(np.sqrt(power), rel=1e-6)


def test_wiener_decoder_without_noise_or_covariance_is_least_squares():
    bank = BANKS["complex"]
    wiener = decoders.wiener_decoder(bank, hop_length=HOP, num_frames=6, noise_variance=1e-12)
    exact = decoders.least_squares_decoder(bank, hop_length=HOP, num_frames=6)
    # What noise there is counts in the directions that six frames hardly see.
    np.testing.assert_allclose(wiener.kernels, exact.kernels, atol=2e-4)


def mean_squared_error(decoder, bank, *, rng, deviation):
    """Simulated error on coloured signals with noise on their coefficients."""
    matrix, target, weights = dense_system(bank, decoder)
    factor = np.linalg.cholesky(scipy.linalg.toeplitz(LAGS[: matrix.shape[1]]))
    signals = factor @ rng.standard_normal((matrix.shape[1], 20_000))
    noise = deviation * rng.standard_normal((len(matrix), 20_000))
    return float(np.mean((weights @ (matrix @ signals + noise) - target @ signals) ** 2))


def test_wiener_decoder_beats_the_others_under_noise():
    bank, deviation, frames = BANKS["complex"], 0.2, 6
    common = {"hop_length": HOP, "num_frames": frames}
    wiener = decoders.wiener_decoder(
        bank, **common, autocovariance=LAGS, noise_variance=deviation**2
    )
    others = {
        "least squares": decoders.least_squares_decoder(bank, **common),
        "white model": decoders.wiener_decoder(bank, **common, noise_variance=deviation**2),
        "wrong noise": decoders.wiener_decoder(
            bank, **common, autocovariance=LAGS, noise_variance=1e-4
        ),
        "dual": decoders.dual_decoder(bank, **common),
    }

    def error(decoder):
        rng = np.random.default_rng(5)
        return mean_squared_error(decoder, bank, rng=rng, deviation=deviation)

    best = error(wiener)
    assert all(error(other) > 1.05 * best for other in others.values())


def test_wiener_decoder_of_a_bank_that_loses_signals_is_finite():
    decoder = decoders.wiener_decoder(FEW_CHANNELS, hop_length=HOP, num_frames=6)
    assert np.all(np.isfinite(decoder.kernels))
    assert 0.1 < decoder.residual < 1.0


def test_dual_decoder_converges_to_exactness():
    bank = BANKS["complex"]
    found = [
        decoders.dual_decoder(bank, hop_length=HOP, num_frames=count).residual
        for count in (4, 8, 16, 32)
    ]
    assert all(later < earlier for earlier, later in itertools.pairwise(found))
    assert found[-1] < 1e-5


def test_dual_decoder_has_less_noise_gain_than_a_short_exact_one():
    bank = BANKS["complex"]
    dual = decoders.dual_decoder(bank, hop_length=HOP, num_frames=32)
    exact = decoders.least_squares_decoder(bank, hop_length=HOP, num_frames=5)
    assert dual.noise_gain <= exact.noise_gain * (1 + 1e-6)


def test_dual_decoder_of_no_frame_is_refused():
    with pytest.raises(ValueError, match="is no frame"):
        decoders.dual_decoder(FEW_CHANNELS, hop_length=HOP, num_frames=8)


def infinite_product(bank, decoder):
    """Analysis then synthesis of impulses at 0 .. hop - 1, by placing every tap."""
    reach = decoder.kernels.shape[1] + bank.shape[1] + HOP
    output = np.zeros((HOP, 2 * reach))
    for sample in range(HOP):
        for frame in range(-reach // HOP, reach // HOP + 1):
            tap = sample - frame * HOP + bank.shape[1] // 2
            if not 0 <= tap < bank.shape[1]:
                continue
            for n in range(decoder.kernels.shape[1]):
                place = frame * HOP - decoder.lead + n + reach
                output[sample, place] += bank[:, tap] @ decoder.kernels[:, n]
        output[sample, sample + reach] -= 1.0
    return output


@pytest.mark.parametrize("name", BANKS)
@pytest.mark.parametrize("blocks", [3, 7])
def test_measured_residual_is_that_of_the_dense_operator(name, blocks, rng):
    bank = BANKS[name]
    taps = blocks * HOP
    synthesis = decoders.SynthesisKernels(
        rng.standard_normal((len(bank), taps)), lead=(blocks // 2) * HOP, residual=0, noise_gain=0
    )
    found = decoders.measured(synthesis, bank, hop_length=HOP)
    error = infinite_product(bank, synthesis)
    assert found.residual == pytest.approx(np.sqrt(np.mean(np.sum(error**2, axis=1))), rel=1e-10)
    assert found.noise_gain == pytest.approx(np.sqrt(np.sum(synthesis.kernels**2) / HOP), rel=1e-12)


def test_measured_agrees_with_the_solver():
    bank = BANKS["real_causal"]
    solved = decoders.least_squares_decoder(bank, hop_length=HOP, num_frames=9)
    again = decoders.measured(solved, bank, hop_length=HOP)
    assert again.residual == pytest.approx(solved.residual, rel=1e-6, abs=1e-13)
    assert again.noise_gain == pytest.approx(solved.noise_gain, rel=1e-12)


@pytest.mark.parametrize(("taps", "lead"), [(9, 4), (8, 4), (13, 6), (3, 0), (5, 1)])
def test_alignment_pads_to_whole_hops_without_moving_taps(rng, taps, lead):
    bank = rng.standard_normal((2, taps))
    found = decoders.aligned_to_hops(bank, lead=lead, hop_length=HOP)
    assert found.lead % HOP == 0
    assert found.kernels.shape[1] % HOP == 0
    assert found.kernels.shape[1] < taps + 2 * HOP
    for n in range(taps):
        np.testing.assert_array_equal(found.kernels[:, n - lead + found.lead], bank[:, n])
    assert np.sum(found.kernels**2) == pytest.approx(np.sum(bank**2), rel=1e-14)
