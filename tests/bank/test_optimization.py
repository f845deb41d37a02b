"""Banks optimised through their solved decoders: what is reached, kept and refused."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import isincnet_jax as isn
from isincnet_jax import jax_names
from isincnet_jax.bank import free_parts, optimization, targets
from isincnet_jax.bank.dsp import frame_theory
from isincnet_jax.pretrained.folder import export_pretrained

SPEC = isn.FilterbankSpec(sample_rate=8000, hop_length=8, num_bins=9, shape="none")
ERB = isn.FilterbankSpec(
    sample_rate=8000, hop_length=16, num_bins=17, scale="erb", shape="gauss", kernel_size=65
)
LAPPED = isn.LappedSpec(sample_rate=8000, hop_length=16)
TARGETS = ("SNR at 4 bits", "noise of 20 dB", "bits at 25 dB")


@functools.cache
def _clips(count=6, length=400):
    """Noise that falls with frequency, as music does."""
    rng = np.random.default_rng(0)
    noise = np.cumsum(rng.standard_normal((count, length)), axis=1)
    noise -= noise.mean(axis=1, keepdims=True)
    return (0.1 * noise / noise.std(axis=1, keepdims=True)).astype(np.float32)


@functools.cache
def _found(target, **options):
    return isn.optimize_bank(SPEC, _clips(), target=target, steps=8, **options)


def _round_trip_db(codec, clips):
    again = codec.decode(codec.encode(clips), length=clips.shape[-1])
    return targets.snr_db(again, clips).min()


# What is reached.


@pytest.mark.quick(1)
@pytest.mark.parametrize("target", TARGETS)
def test_held_out_clips_gain_and_come_back(target):
    found = _found(target)
    told = found.certificate
    assert told.gain > 0
    assert told.gain == pytest.approx(abs(told.reached - told.start))
    assert told.held_out_clips == 1
    assert found.losses[-1] < found.losses[0]
    assert min(told.worst_snr_db, told.expected_snr_db) > 115
    assert _round_trip_db(found.codec, _clips()) > 115
    filters = np.asarray(found.codec.model.apply(found.codec.variables, method="filters"))
    bounds = frame_theory.frame_bounds_of_kernels(filters.astype(np.float64), hop_length=8)
    assert told.bounds.condition == pytest.approx(bounds.condition, rel=1e-6)
    assert told.start_bounds.condition == pytest.approx(4.0)


def test_parameters_stay_in_their_ranges():
    found = _found(TARGETS[0]).codec.variables["params"]["analysis"]
    center_hz, bandwidth_hz = SPEC.centers_and_bandwidths()
    shift = np.abs(np.asarray(found["center"]) * 4000 - center_hz)
    assert np.all(shift <= 0.1 * center_hz + 1e-3)
    assert np.max(found["center"]) <= 1.0
    factor = np.asarray(found["bandwidth"]) * 4000 / bandwidth_hz
    assert np.all((factor < 1.5001) & (factor > 1 / 1.5001))
    assert np.all(np.abs(found["window"]) <= 2.0)
    assert _found(TARGETS[0]).certificate.largest_shift == pytest.approx(
        np.max(shift[1:] / center_hz[1:]), rel=1e-4
    )


def test_it_is_stored_as_any_codec(tmp_path):
    codec = _found(TARGETS[0]).codec
    again = isn.from_pretrained(export_pretrained(codec, tmp_path / "mine.zip"))
    np.testing.assert_array_equal(again.encode(_clips()), codec.encode(_clips()))
    assert _round_trip_db(again, _clips()) > 115


def test_it_says_what_it_found():
    text = _found(TARGETS[0]).certificate.describe()
    assert "1 held-out clips" in text
    assert "dB at the start" in text
    assert "condition number 4 at the start" in text


def test_short_kernels_follow_the_filters(tmp_path):
    with jax_names.enable_x64(True):
        problem = free_parts.FilterParts(SPEC, {"kernel": 3}, None)
        values = np.random.default_rng(3).uniform(-1, 1, len(problem.bounds))
        found = np.asarray(problem.kernels(jnp.asarray(values)))
        bare = np.asarray(problem.kernels(jnp.zeros(len(values))))
    short = values.reshape(18, 3) * 0.5 + np.array([0.0, 1.0, 0.0])
    for kernel, own, one in zip(found, bare, short, strict=True):
        # Ends at which no filter of the bank has a tap stay empty.
        expected = np.convolve(own, one, mode="same") * SPEC.bank.tap_support
        np.testing.assert_allclose(kernel, expected, atol=1e-14)
    best = isn.optimize_bank(SPEC, _clips(), target=TARGETS[0], free={"kernel": 3}, steps=8)
    assert best.certificate.gain > 0
    again = isn.from_pretrained(export_pretrained(best.codec, tmp_path / "mine.zip"))
    assert _round_trip_db(again, _clips()) > 115


@pytest.mark.slow
def test_a_bank_without_an_inverse_gets_one():
    with pytest.warns(isn.NotInvertibleWarning):
        lost = isn.build_codec(isn.SincNet(ERB))
    assert _round_trip_db(lost, _clips()) < 60
    found = isn.optimize_bank(
        ERB, _clips(), target="noise of 20 dB", free={"center": 0.1, "bandwidth": 2.0}
    )
    assert found.certificate.bounds.condition < 1e5
    assert found.certificate.largest_shift <= 0.1 + 1e-6
    assert _round_trip_db(found.codec, _clips()) > 90


@pytest.mark.tail
def test_a_latency_is_kept():
    spec = SPEC.replace(causal=True)
    found = isn.optimize_bank(
        spec, _clips(), target="SNR at 4 bits", free={"window": 3}, latency_ms=2, steps=5
    )
    assert found.certificate.latency_ms <= 2
    assert found.certificate.gain > 0
    assert _round_trip_db(found.codec, _clips()) > 115
    assert isn.stream_decoder(found.codec).total_latency <= 16


@pytest.mark.slow
def test_eight_milliseconds_at_16_khz():
    spec = isn.FilterbankSpec(hop_length=32, num_bins=33, kernel_size=129, shape="gauss")
    clips = _clips(6, 3200)
    for free in ({"window": 3}, {"kernel": 5}):
        found = isn.optimize_bank(
            spec, clips, target="SNR at 4 bits", free=free, latency_ms=8, steps=10
        )
        assert found.certificate.latency_ms <= 8
        assert found.certificate.gain > 0
        assert _round_trip_db(found.codec, clips) > 100


@pytest.mark.tail
def test_a_function_of_the_user():
    """The fourth powers of the error behind coefficients that are too small to be kept."""

    def forgotten(spectrogram, decode):
        kept = spectrogram * jax.nn.sigmoid(200 * (jnp.abs(spectrogram) - 0.02))
        return 1e4 * jnp.mean((decode(kept) - decode(spectrogram)) ** 2)

    found = isn.optimize_bank(SPEC, _clips(), target=forgotten, steps=8, free={"window": 4})
    assert found.certificate.unit == ""
    assert found.certificate.gain > 0
    assert "at the start" in found.certificate.describe()


def test_a_lapped_window_stays_orthonormal():
    found = isn.optimize_bank(LAPPED, _clips(), target="bits at 25 dB", steps=8)
    told = found.certificate
    assert found.losses[-1] < found.losses[0]
    assert told.bounds.condition == told.noise_gain == 1.0
    assert told.unit == "bits per sample"
    coefficients = np.asarray(found.codec.encode(_clips()), np.float64)
    assert np.sum(coefficients**2) == pytest.approx(np.sum(_clips().astype("f8") ** 2), rel=1e-5)
    assert told.worst_snr_db > 120


def test_clips_of_any_lengths_are_cut_and_silence_is_left_out():
    rng = np.random.default_rng(2)
    ragged = [rng.standard_normal(n).astype("f4") for n in (500, 1100, 400, 900)]
    train, measured = optimization._split([*ragged, np.zeros(800, np.float32)], None)
    assert train.shape[1] == measured.shape[1] == 400
    assert len(train) + len(measured) == 1 + 2 + 1 + 2
    np.testing.assert_array_equal(train[2], ragged[1][400:800].astype("f8"))
    own = optimization._split(ragged, ragged[:1])
    assert (len(own[0]), len(own[1])) == (6, 1)


# Gradients.


@pytest.mark.quick(1)
@pytest.mark.parametrize("latency_ms", [None, 2.0])
@pytest.mark.parametrize("target", TARGETS)
def test_gradients_through_the_decoder_against_finite_differences(target, latency_ms):
    spec = SPEC.replace(causal=latency_ms is not None)
    with jax_names.enable_x64(True):
        problem = free_parts.FilterParts(spec, None, latency_ms)
        wanted = targets.settle_target(target)
        clips = _clips(2, 200).astype("f8")
        prepared, power = problem.prepare(clips), targets.power_of(jnp.asarray(clips))

        @jax.jit
        def loss(values):
            spectrogram, bank = problem.apply(values, prepared, jnp.asarray(1e-10))
            return wanted.loss(spectrogram, power, bank)

        rng = np.random.default_rng(1)
        values, way = (jnp.asarray(rng.uniform(-0.3, 0.3, len(problem.bounds))) for _ in range(2))
        slope = jnp.vdot(jax.jit(jax.grad(loss))(values), way)
        step = 1e-5
        expected = (loss(values + step * way) - loss(values - step * way)) / (2 * step)
        assert float(slope) == pytest.approx(float(expected), rel=1e-5)


def test_coefficients_are_those_of_the_bank():
    with jax_names.enable_x64(True):
        problem = free_parts.FilterParts(SPEC, None, None)
        prepared = problem.prepare(_clips(2, 203).astype("f8"))
        found, _ = problem.apply(jnp.zeros(len(problem.bounds)), prepared, 0.0)
    expected = isn.build_codec(isn.SincNet(SPEC)).encode(_clips(2, 203))
    np.testing.assert_allclose(found, expected, atol=1e-6)


# What is refused.


@pytest.mark.parametrize(
    ("options", "pattern"),
    [
        ({"target": "SNR of 4 bits"}, r"target='SNR of 4 bits' is unknown; use 'bits at 25 dB'"),
        ({"free": {"centre": 0.1}}, r"free part 'centre' is unknown; use center, bandwidth"),
        ({"free": {}}, r"free names no part; use center"),
        ({"free": {"center": 2.0}}, r"free\['center'\]=2.0: a reach lies above 0, up to 1"),
        ({"free": {"kernel": 4}}, r"free\['kernel'\]=4: short kernels have an odd"),
        ({"free": {"bandwidth": 1.0}}, r"free\['bandwidth'\]=1.0: a reach lies above 1"),
        ({"free": {"window": 1, "shape": 0.5}}, r"shape='none' has no parameters of its own"),
        ({"free": {"window": 0}}, r"window=0 must be an integer of at least 1"),
        ({"latency_ms": 1.0}, r"latency_ms=1: frames of this bank wait 1.88 ms .*causal=True"),
        ({"steps": 0}, r"steps=0 must be an integer of at least 1"),
        ({"spec": SPEC.replace(padding="reflect")}, r"padding='reflect': the decoders of its edge"),
        ({"spec": SPEC.replace(tight=True)}, r"tight=True.* cannot be learned"),
        ({"corpus": np.zeros((3, 400), np.float32)}, r"corpus holds no sound; give clips"),
        ({"corpus": np.full((3, 400), np.nan, "f4")}, r"corpus holds samples that are not finite"),
        ({"corpus": np.ones((1, 400), "f4")}, r"corpus has 1 clip: some are held out"),
        ({"corpus": np.ones((2, 2, 9), "f4")}, r"corpus: a clip of shape \(2, 9\)"),
        ({"corpus": np.ones((2, 400), int)}, r"int64"),
        ({"held_out": []}, r"held_out holds no sound"),
        ({"spec": LAPPED, "free": {"center": 0.1}}, r"free part 'center' is unknown; use window"),
        ({"spec": LAPPED, "free": {"window": 9}}, r"hop_length=16 has 8 angles"),
        ({"spec": LAPPED, "latency_ms": 1}, r"latency_ms=1: this bank waits 4.88 ms whatever"),
        ({"target": "SNR at 1 bits"}, r"q_bits=1: a code has 2 to 16 bits"),
    ],
)
def test_mistakes_are_named(options, pattern):
    given = {"spec": SPEC, "corpus": _clips(), "target": "noise of 20 dB", **options}
    with pytest.raises((ValueError, TypeError), match=pattern):
        isn.optimize_bank(given.pop("spec"), given.pop("corpus"), **given)
