"""Distances against their formulas in extended precision."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isincnet_jax.dsp import distances
from isincnet_jax.dsp.distances import ErrorSums, error_sums, snr_db

ALL = ("count", "target_energy", "prediction_energy", "cross", "squared_error", "absolute_error")


def _snr(prediction, target):
    prediction, target = (np.asarray(x, np.longdouble).ravel() for x in (prediction, target))
    return float(10 * np.log10(np.sum(target**2) / np.sum((target - prediction) ** 2)))


def _si_sdr(prediction, target):
    """Equation 4 of Le Roux et al., by projection."""
    prediction, target = (np.asarray(x, np.longdouble).ravel() for x in (prediction, target))
    explained = (prediction @ target) / (target @ target) * target
    return float(10 * np.log10(np.sum(explained**2) / np.sum((explained - prediction) ** 2)))


def _si_sdr_db(**waveforms):
    return error_sums(**waveforms).si_sdr_db


def _pair(seed, *, noise_db, gain=1.0, shape=(2, 3000)):
    generator = np.random.default_rng(seed)
    target = generator.standard_normal(shape)
    noise = generator.standard_normal(shape) * 10 ** (noise_db / 20)
    return gain * (target + noise), target


@given(
    seed=st.integers(0, 1000),
    noise_db=st.floats(-110, 20),
    gain=st.sampled_from([1.0, 0.7, -1.0, 3.0]),
)
def test_every_figure_against_its_formula(seed, noise_db, gain):
    prediction, target = _pair(seed, noise_db=noise_db, gain=gain)
    sums = error_sums(prediction=prediction, target=target)
    difference = prediction.astype(np.longdouble) - target
    assert sums.count == 6000
    assert sums.mse == pytest.approx(float(np.mean(difference**2)), rel=1e-12)
    assert sums.mae == pytest.approx(float(np.mean(np.abs(difference))), rel=1e-12)
    assert sums.prediction_peak == np.max(np.abs(prediction))
    assert sums.target_energy == pytest.approx(np.sum(target**2), rel=1e-12)
    assert sums.prediction_energy == pytest.approx(np.sum(prediction**2), rel=1e-12)
    assert sums.cross == pytest.approx(np.sum(target * prediction), rel=1e-12)
    assert sums.snr_db == pytest.approx(_snr(prediction, target), abs=1e-9)
    # With a gain, the residual is a difference of energies: known to some 1e-15 of the signal's,
    # 1e-4 of its own at 110 dB. Without one nothing is lost.
    tolerance = 1e-6 if gain == 1.0 else 0.01
    assert sums.si_sdr_db == pytest.approx(_si_sdr(prediction, target), abs=tolerance)


@given(seed=st.integers(0, 1000), gain=st.floats(0.01, 100), is_flipped=st.booleans())
def test_si_sdr_does_not_depend_on_the_gain(seed, gain, is_flipped):
    prediction, target = _pair(seed, noise_db=-40)
    scaled = prediction * (-gain if is_flipped else gain)
    plain = _si_sdr_db(prediction=prediction, target=target)
    assert plain == pytest.approx(40, abs=0.3)
    assert _si_sdr_db(prediction=scaled, target=target) == pytest.approx(plain, abs=1e-6)
    assert _si_sdr_db(prediction=prediction, target=target * gain) == pytest.approx(plain, abs=1e-6)


def test_snr_depends_on_the_gain():
    _, target = _pair(0, noise_db=0)
    assert snr_db(prediction=0.5 * target, target=target) == pytest.approx(6.0206, abs=1e-4)


def test_means_are_kept():
    prediction, target = _pair(1, noise_db=-60)
    assert _si_sdr_db(prediction=prediction + 1, target=target) < 1
    assert _si_sdr_db(prediction=prediction + 1, target=target) == pytest.approx(
        _si_sdr(prediction + 1, target), abs=1e-9
    )


@given(seed=st.integers(0, 1000), cuts=st.lists(st.integers(0, 3000), max_size=5))
def test_blocks_add_up(seed, cuts):
    prediction, target = _pair(seed, noise_db=-30)
    whole = error_sums(prediction=prediction, target=target)
    total = ErrorSums()
    places = sorted(cuts)
    for some, others in zip(
        np.split(prediction, places, axis=1), np.split(target, places, axis=1), strict=True
    ):
        total += error_sums(prediction=some, target=others)
    for name in ALL:
        assert getattr(total, name) == pytest.approx(getattr(whole, name), rel=1e-12)
    assert total.prediction_peak == whole.prediction_peak
    assert total.snr_db == pytest.approx(whole.snr_db, abs=1e-9)
    assert total.si_sdr_db == pytest.approx(whole.si_sdr_db, abs=1e-9)


def test_float32_arrays_are_summed_in_double(rng):
    target = rng.uniform(-1, 1, 200_000).astype(np.float32)
    prediction = target + rng.uniform(-1e-7, 1e-7, 200_000).astype(np.float32)
    expected = _snr(prediction, target)
    assert snr_db(prediction=prediction, target=target) == pytest.approx(expected, abs=1e-6)
    assert snr_db(prediction=jnp.asarray(prediction), target=jnp.asarray(target)) == pytest.approx(
        expected, abs=1e-6
    )


SILENCE, SOUND = np.zeros(10), np.linspace(-1, 1, 10)


@pytest.mark.parametrize("figure", [snr_db, _si_sdr_db])
def test_silence_and_perfection(figure):
    assert figure(prediction=SOUND, target=SOUND) == math.inf
    assert figure(prediction=SILENCE, target=SILENCE) == math.inf
    assert figure(prediction=SOUND, target=SILENCE) == -math.inf


def test_a_silent_prediction_has_nothing_of_the_target():
    assert snr_db(prediction=SILENCE, target=SOUND) == 0.0
    assert _si_sdr_db(prediction=SILENCE, target=SOUND) == -math.inf
    sums = error_sums(prediction=SILENCE, target=SOUND)
    assert (sums + sums).si_sdr_db == -math.inf


def test_nothing_has_no_error():
    sums = ErrorSums()
    assert (sums.mse, sums.mae, sums.prediction_peak) == (0.0, 0.0, 0.0)
    empty = error_sums(prediction=np.zeros((0, 2)), target=np.zeros((0, 2)))
    assert empty == sums


def test_not_a_number_is_not_hidden():
    broken = np.where(np.arange(10) == 4, np.nan, SOUND)
    good = error_sums(prediction=SOUND, target=SOUND)
    bad = error_sums(prediction=broken, target=SOUND)
    for sums in (bad, good + bad, bad + good):
        figures = (sums.mse, sums.mae, sums.snr_db, sums.si_sdr_db, sums.prediction_peak)
        assert all(math.isnan(value) for value in figures)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"prediction\.shape=\(10,\) and target\.shape=\(1, 10\)"):
        distances.error_sums(prediction=SOUND, target=SOUND[None])


def test_names_are_required():
    with pytest.raises(TypeError):
        snr_db(SOUND, SOUND)
