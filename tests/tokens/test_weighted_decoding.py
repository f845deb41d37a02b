"""Weighted least squares against dense linear algebra; cells and statistics against formulas."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from isincnet_jax import DecoderSpec, FilterbankSpec
from isincnet_jax.bank import solve as decoding
from isincnet_jax.bank import statistics
from isincnet_jax.bank.dsp import covariance
from isincnet_jax.bank.synthesis import apply_synthesis
from isincnet_jax.dsp import companding
from isincnet_jax.tokens import weighted_decoding

SPEC = FilterbankSpec(sample_rate=8000, hop_length=8, num_bins=9, shape="none")
REFLECTED = SPEC.replace(padding="reflect")
REAL = FilterbankSpec(sample_rate=8000, hop_length=8, num_bins=12, component="real", causal=True)
EXACT = DecoderSpec()
LOSSY = FilterbankSpec(sample_rate=8000, hop_length=8, num_bins=4, scale="mel")


def operators_of(spec, length, batch=(), decoder=EXACT):
    solved = decoding.design_decoder(spec, decoder)
    filters = spec.bank.filters
    operators = weighted_decoding.bank_operators(
        jnp.asarray(filters, jnp.float32),
        jnp.asarray(solved.values, jnp.float32),
        spec=spec,
        decoder=decoder,
        shape=(*batch, length),
    )
    return type(operators)(*map(jax.jit, operators))


def dense_analysis(operators, length):
    """The analysis as a float64 matrix [frames * channels, samples], sample by sample."""
    columns = [np.asarray(operators.analysis(row)).ravel() for row in jnp.eye(length)]
    return np.stack(columns, axis=1).astype(np.float64)


# Weighted least squares.


@pytest.mark.quick(4)
@pytest.mark.parametrize("spec", [SPEC, REFLECTED, REAL, LOSSY])
@pytest.mark.parametrize("length", [1, 37, 200])
def test_adjoints_are_transposes(spec, length, rng):
    decoder = DecoderSpec(kind="wiener") if spec is LOSSY else DecoderSpec()
    operators = operators_of(spec, length, (2,), decoder)
    x = jnp.asarray(rng.standard_normal((2, length)), jnp.float32)
    image = operators.analysis(x)
    s = jnp.asarray(rng.standard_normal(image.shape), jnp.float32)
    for one, other in (
        (jnp.vdot(image, s), jnp.vdot(x, operators.analysis_adjoint(s))),
        (jnp.vdot(operators.synthesis(s), x), jnp.vdot(s, operators.synthesis_adjoint(x))),
    ):
        assert float(one) == pytest.approx(float(other), rel=1e-3, abs=1e-3)


@pytest.mark.quick(1)
@pytest.mark.parametrize("spec", [SPEC, REFLECTED])
def test_weighted_least_squares_against_a_dense_solver(spec, rng):
    length = 60
    operators = operators_of(spec, length, (3,))
    matrix = dense_analysis(operators_of(spec, length), length)
    shape = (3, *operators.analysis(jnp.zeros((3, length))).shape[1:])
    target = rng.standard_normal(shape).astype(np.float32)
    weights = np.exp(rng.uniform(-2, 2, shape)).astype(np.float32)
    solve = functools.partial(
        weighted_decoding.weighted_least_squares, operators=operators, num_iterations=60
    )
    found = jax.jit(solve)(target, weights)
    for clip in range(3):
        w = weights[clip].ravel().astype(np.float64)
        expected = np.linalg.solve(
            matrix.T @ (w[:, None] * matrix), matrix.T @ (w * target[clip].ravel())
        )
        # Float32 conjugate gradients, condition number about 4 e^4.
        np.testing.assert_allclose(found[clip], expected, atol=1e-3 * np.max(np.abs(expected)))


@pytest.mark.quick(0)
def test_iterations_approach_the_solution_and_weights_help(rng):
    length = 400
    operators = operators_of(SPEC, length)
    x = jnp.asarray(rng.standard_normal(length), jnp.float32)
    clean = operators.analysis(x)
    deviation = np.exp(rng.uniform(-3, 1, clean.shape)).astype(np.float32)
    noisy = clean + deviation * rng.standard_normal(clean.shape).astype(np.float32)
    errors = [
        float(
            jnp.mean(
                (
                    weighted_decoding.weighted_least_squares(
                        noisy, 1.0 / deviation**2, operators=operators, num_iterations=count
                    )
                    - x
                )
                ** 2
            )
        )
        for count in (0, 2, 8, 32)
    ]
    assert errors[0] > errors[1] > errors[2] > errors[3]
    assert errors[3] < 0.3 * errors[0]


def test_without_iterations_it_is_the_linear_decoder_or_the_start(rng):
    operators = operators_of(SPEC, 50)
    target = jnp.asarray(rng.standard_normal(operators.analysis(jnp.zeros(50)).shape), jnp.float32)
    solve = weighted_decoding.weighted_least_squares
    options = {"operators": operators, "num_iterations": 0}
    solved = decoding.design_decoder(SPEC)
    expected = apply_synthesis(
        target,
        jnp.asarray(solved.values, jnp.float32),
        bank=SPEC.bank,
        solved=solved,
        length=50,
    )
    np.testing.assert_allclose(solve(target, target**2 + 1, **options), expected, atol=2e-6)
    start = jnp.arange(50.0)
    np.testing.assert_array_equal(solve(target, target**2 + 1, start=start, **options), start)


@pytest.mark.quick(0)
def test_a_preconditioner_changes_the_way_not_the_end(rng):
    operators = operators_of(SPEC, 60)
    shape = operators.analysis(jnp.zeros(60)).shape
    target = jnp.asarray(rng.standard_normal(shape), jnp.float32)
    weights = jnp.asarray(np.exp(rng.uniform(-1, 1, shape)), jnp.float32)
    other = jnp.asarray(np.exp(rng.uniform(-1, 1, shape)), jnp.float32)

    def solve(count, **options):
        return np.asarray(
            weighted_decoding.weighted_least_squares(
                target, weights, operators=operators, num_iterations=count, **options
            )
        )

    assert np.max(np.abs(solve(2) - solve(2, preconditioner=other))) > 1e-3
    np.testing.assert_allclose(solve(50), solve(50, preconditioner=other), atol=1e-3)


@pytest.mark.quick(0)
def test_consistent_targets_and_silence_stay_as_they_are(rng):
    operators = operators_of(SPEC, 80, (2,))
    x = jnp.asarray(rng.standard_normal((2, 80)), jnp.float32).at[1].set(0.0)
    target = operators.analysis(x)

    def solve(target, log_weights):
        return weighted_decoding.weighted_least_squares(
            target, jnp.exp(log_weights), operators=operators, num_iterations=5
        )

    found = solve(target, jnp.zeros_like(target))
    np.testing.assert_allclose(found, x, atol=1e-5)
    np.testing.assert_array_equal(found[1], 0.0)
    gradients = jax.jit(jax.grad(lambda *args: jnp.sum(solve(*args) ** 2), argnums=(0, 1)))(
        target, jnp.zeros_like(target)
    )
    assert all(np.all(np.isfinite(gradient)) for gradient in gradients)


@pytest.mark.quick(0)
def test_gradients_are_those_of_finite_differences(rng, x64):
    solved = decoding.design_decoder(SPEC)
    operators = weighted_decoding.bank_operators(
        jnp.asarray(SPEC.bank.filters),
        jnp.asarray(solved.values),
        spec=SPEC,
        decoder=DecoderSpec(),
        shape=(40,),
    )
    target = jnp.asarray(rng.standard_normal(operators.analysis(jnp.zeros(40)).shape))
    log_weights = jnp.asarray(rng.uniform(-1, 1, target.shape))
    direction = jnp.asarray(rng.standard_normal(target.shape))

    def loss(log_weights):
        waveform = weighted_decoding.weighted_least_squares(
            target, jnp.exp(log_weights), operators=operators, num_iterations=4
        )
        return jnp.sum(waveform**2)

    slope = jnp.vdot(jax.jit(jax.grad(loss))(log_weights), direction)
    step = 1e-5
    ahead, behind = loss(log_weights + step * direction), loss(log_weights - step * direction)
    assert float(slope) == pytest.approx(float((ahead - behind) / (2 * step)), rel=1e-6)


# Cells.


@pytest.mark.quick(1)
@pytest.mark.parametrize("q_bits", [2, 3, 4, 8])
def test_values_lie_in_the_cells_of_their_codes_and_cells_tile(q_bits, rng):
    values = jnp.asarray(rng.uniform(-1, 1, (50, 7)), jnp.float32)
    scales = jnp.asarray(rng.uniform(0.1, 3.0, (1, 7)), jnp.float32)
    codes = companding.encode_symmetric(values, q_bits=q_bits, mu=30.0)
    center, half = weighted_decoding.code_cells(codes, scales, q_bits=q_bits, mu=30.0)
    assert np.all(np.abs(values * scales - center) <= half * (1 + 1e-4) + 1e-6)
    every = jnp.arange(2**q_bits - 1)[:, None]
    center, half = weighted_decoding.code_cells(every, jnp.ones((1, 1)), q_bits=q_bits, mu=30.0)
    np.testing.assert_allclose((center + half)[:-1], (center - half)[1:], atol=1e-6)
    assert float((center - half)[0, 0]) == pytest.approx(-1.0)
    assert float((center + half)[-1, 0]) == pytest.approx(1.0)


# Statistics.


def test_measured_autocovariance_is_the_sum_written_out(rng):
    clips = rng.standard_normal((3, 50))
    lags = covariance.measured_autocovariance(clips, num_lags=60)
    expected = [np.mean([x[: 50 - k] @ x[k:] / 50 for x in clips]) for k in range(50)]
    np.testing.assert_allclose(lags[:50], expected, atol=1e-12)
    np.testing.assert_array_equal(lags[50:], 0.0)
    np.testing.assert_allclose(covariance.measured_autocovariance(clips[0], num_lags=1)[0],
                               np.mean(clips[0] ** 2))  # fmt: skip


def test_measured_autocovariance_refuses_what_is_no_clip():
    for clips, lags, message in (
        (np.zeros((0, 4)), 3, "not empty"),
        (np.zeros(4), 0, "num_lags=0"),
        (np.array([1.0, np.nan]), 2, "not finite"),
    ):
        with pytest.raises(ValueError, match=message):
            covariance.measured_autocovariance(clips, num_lags=lags)


def test_measured_noise_is_the_codes_mean_squared_error(rng):
    clips = rng.standard_normal((2, 300)).astype(np.float32)
    noise = statistics.measured_noise(clips, spec=SPEC, q_bits=4)
    spectrogram = np.asarray(operators_of(SPEC, 300, (2,)).analysis(jnp.asarray(clips)))
    peak = np.max(np.abs(spectrogram), axis=1, keepdims=True) + 1e-30
    step = np.round(7 * np.sign(spectrogram) * np.log1p(30 * np.abs(spectrogram / peak))
                    / np.log(31)) / 7  # fmt: skip
    decoded = peak * np.sign(step) * (31 ** np.abs(step) - 1) / 30
    expected = np.mean((decoded - spectrogram) ** 2, axis=(0, 1))
    # A coefficient on the edge of a cell may fall to either side.
    np.testing.assert_allclose(noise, expected, rtol=0.02, atol=1e-12)


@pytest.mark.quick(0)
@pytest.mark.parametrize(("spec", "q_bits"), [(SPEC, 3), (LOSSY, None)])
def test_measured_wiener_beats_a_decoder_for_white_signals(spec, q_bits, rng):
    pink = np.cumsum(rng.standard_normal((4, 2000)), axis=1)
    pink = (pink - pink.mean(axis=1, keepdims=True)) / np.std(pink) / 10
    clips, held_out = pink[:3].astype(np.float32), jnp.asarray(pink[3], jnp.float32)
    fitted = statistics.measured_wiener(clips, spec=spec, q_bits=q_bits)
    assert fitted.kind == "wiener"
    assert hash(fitted) == hash(statistics.measured_wiener(clips, spec=spec, q_bits=q_bits))
    errors = []
    for decoder in (fitted, DecoderSpec(kind="wiener") if q_bits is None else DecoderSpec()):
        operators = operators_of(spec, 2000, (), decoder)
        spectrogram = operators.analysis(held_out)
        if q_bits is not None:
            peak = jnp.max(jnp.abs(spectrogram), axis=0) + 1e-30
            codes = companding.encode_symmetric(spectrogram / peak, q_bits=q_bits, mu=30.0)
            spectrogram = peak * companding.decode_symmetric(codes, q_bits=q_bits, mu=30.0)
        errors.append(float(jnp.mean((operators.synthesis(spectrogram) - held_out) ** 2)))
    assert errors[0] < 0.95 * errors[1]
