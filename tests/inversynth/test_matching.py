"""Refinement of estimates through the renderer, on short clips."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from isincnet_jax.inversynth import matching
from isincnet_jax.inversynth.synth.parameters import NAMES, values_from_levels
from isincnet_jax.inversynth.synth.render import render

LENGTH = 2_048
RATE = 8_192.0
_render = jax.jit(lambda values: render(values, num_samples=LENGTH, sample_rate=RATE))
_distance = jax.jit(lambda p, t: matching.spectral_distance(prediction=p, target=t))
_slope = jax.jit(jax.grad(lambda p, t: jnp.sum(matching.spectral_distance(prediction=p, target=t))))


def _refine(values, target, **numbers):
    return matching.refine(values, target, sample_rate=RATE, **numbers)


@pytest.fixture(scope="module")
def case():
    """Two sounds, and estimates that miss the gate, a carrier and continuous parameters."""
    levels = np.random.default_rng(3).integers(3, 13, (2, len(NAMES))).astype(np.int32)
    missed = levels.copy()
    for name, by in (("gate", -3), ("carrier_saw", 2), ("amplitude_sine", 3), ("cutoff", -2)):
        missed[:, NAMES.index(name)] += by
    target = np.asarray(_render(values_from_levels(levels)))
    return values_from_levels(missed), target, values_from_levels(levels)


@pytest.fixture(scope="module")
def refined(case):
    values, target, _ = case
    return jax.tree.map(np.asarray, _refine(values, target, num_steps=12, num_sweeps=1))


def _expected_distance(prediction, target):
    total = 0.0
    for n_fft, hop in matching.RESOLUTIONS:
        window = scipy.signal.get_window("hann", n_fft)
        spectra = []
        for sound in (prediction, target):
            padded = np.pad(np.asarray(sound, np.float64), n_fft // 2)
            starts = range(0, len(padded) - n_fft + 1, hop)
            frames = np.stack([padded[start : start + n_fft] * window for start in starts])
            spectra.append(np.abs(np.fft.rfft(frames)) * 2 / window.sum())
        found, wanted = spectra
        floor = 1e-3 * wanted.max()
        total += np.mean(np.abs(np.log((found + floor) / (wanted + floor))))
        total += np.linalg.norm(found - wanted) / np.linalg.norm(wanted)
    return total / len(matching.RESOLUTIONS)


def test_the_distance_is_the_formula(case):
    values, target, _ = case
    sound = np.asarray(_render(values))
    expected = [_expected_distance(*pair) for pair in zip(sound, target, strict=True)]
    np.testing.assert_allclose(_distance(sound, target), expected, rtol=2e-3)


def test_the_distance_knows_levels_and_nothing_of_scale(case):
    _, target, _ = case
    np.testing.assert_allclose(_distance(target, target), 0, atol=1e-6)
    louder = np.asarray(_distance(2 * target, target))
    assert np.all(louder > 0.5)
    np.testing.assert_allclose(_distance(8 * target, 4 * target), louder, rtol=1e-4)


def test_gradients_on_silence_are_finite(case):
    _, target, _ = case
    silence = np.zeros_like(target)
    for pair in ((silence, target), (target, silence), (silence, silence)):
        assert np.all(np.isfinite(_slope(*pair)))
        assert np.all(np.isfinite(_distance(*pair)))


@pytest.mark.tail
def test_refinement_comes_nearer_and_reports_what_it_returns(case, refined):
    values, target, _ = case
    np.testing.assert_allclose(refined.before, _distance(_render(values), target), rtol=1e-3)
    np.testing.assert_allclose(
        refined.distance, _distance(_render(refined.values), target), rtol=1e-3
    )
    assert np.all(refined.distance < 0.85 * refined.before)


def test_a_sweep_finds_the_gate(case, refined):
    _, _, truth = case
    place = NAMES.index("gate")
    np.testing.assert_allclose(refined.values[:, place], truth[:, place], rtol=1e-6)


def test_refined_values_are_in_range(refined):
    assert np.all(np.asarray(refined.values) >= matching._LOW * (1 - 1e-6))
    assert np.all(np.asarray(refined.values) <= matching._HIGH * (1 + 1e-6))


def test_without_steps_and_sweeps_nothing_changes(case):
    values, target, _ = case
    found = _refine(values, target, num_steps=0, num_sweeps=0)
    np.testing.assert_allclose(found.values, values, rtol=1e-5)
    np.testing.assert_allclose(found.distance, found.before, rtol=1e-4)


def test_descents_leave_carriers_modulators_deviations_and_the_gate_alone(case):
    values, target, _ = case
    found = _refine(values, target, num_steps=5, num_sweeps=0)
    assert np.all(found.distance < found.before)
    held = [NAMES.index("gate")] + [
        place
        for place, name in enumerate(NAMES)
        if name.split("_")[0] in ("carrier", "modulator", "modulation")
    ]
    np.testing.assert_array_equal(np.asarray(found.values)[:, held], np.asarray(values)[:, held])


def test_the_truth_stays(case):
    _, target, truth = case
    found = _refine(truth, target, num_steps=3, num_sweeps=1)
    np.testing.assert_allclose(found.distance, 0, atol=1e-4)
    np.testing.assert_allclose(found.values, truth, rtol=1e-4)


@pytest.mark.quick(0)
def test_one_sound_needs_no_batch_and_silence_no_care(case):
    values, _, _ = case
    found = _refine(values[0], np.zeros(LENGTH, np.float32), num_steps=2, num_sweeps=1)
    assert found.values.shape == (len(NAMES),)
    assert found.distance.shape == ()
    assert np.all(np.isfinite(found.values))
    assert float(found.distance) <= float(found.before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_steps": -1}, "num_steps=-1, num_sweeps=2: use 0 or more"),
        ({"num_sweeps": -2}, "num_sweeps=-2: use 0 or more"),
        ({"learning_rate": 0.0}, "learning_rate=0.0 must be positive"),
    ],
)
def test_bad_numbers_are_refused(case, change, message):
    values, target, _ = case
    with pytest.raises(ValueError, match=message):
        _refine(values, target, **change)


def test_shapes_must_belong_together(case):
    values, target, _ = case
    with pytest.raises(ValueError, match="a sound for each estimate"):
        _refine(values, target[:1])
    with pytest.raises(ValueError, match="the last axis is 23"):
        _refine(values[:, :5], target)


def test_values_and_targets_that_cannot_be_are_refused():
    values = np.asarray(values_from_levels(np.full(23, 3)))
    silence = np.zeros(2048, np.float32)
    with pytest.raises(ValueError, match="attack"):
        matching.refine(np.where(np.arange(23) == NAMES.index("attack"), -5.0, values), silence)
    with pytest.raises(ValueError, match="not finite"):
        matching.refine(values, np.full(2048, np.nan, np.float32))
