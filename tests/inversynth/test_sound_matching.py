"""Draws from the network's belief, heard and refined."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from isincnet_jax.inversynth import drawing, matching, sound_matching
from isincnet_jax.inversynth.sound_matching import match_sound
from isincnet_jax.inversynth.synth.parameters import NAMES, values_from_levels
from isincnet_jax.inversynth.synth.render import render

TRUE = np.random.default_rng(5).integers(0, 16, 23).astype(np.int32)


class Believer:
    """An estimator that knows the truth of most parameters, and hears two for the others."""

    def scores(self, waveform):
        assert waveform.shape == (16_384,)
        unsure = (np.arange(23) % 4 == 2)[:, None]
        true, other = jax.nn.one_hot(TRUE, 16), jax.nn.one_hot((TRUE + 7) % 16, 16)
        return jnp.where(unsure, 6.0 * true + 6.5 * other, 8.0 * true)


@pytest.fixture(scope="module")
def sound():
    return np.asarray(render(values_from_levels(TRUE)))


def test_draws_follow_their_probabilities():
    scores = jnp.asarray(np.random.default_rng(0).standard_normal((23, 16)), jnp.float32)
    for temperature in (0.5, 1.0):
        drawn = np.asarray(
            drawing.draw_levels(jax.random.key(0), scores, 20_000, temperature=temperature)
        )
        counts = np.stack([np.bincount(column, minlength=16) for column in drawn.T]) / 20_000
        expected = np.exp(np.asarray(scores, np.float64) / temperature)
        expected /= expected.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(counts, expected, atol=0.016)


def test_log_probability_is_the_sum_over_parameters():
    scores = jnp.asarray(np.random.default_rng(1).standard_normal((23, 16)), jnp.float32)
    levels = np.random.default_rng(2).integers(0, 16, (3, 23))
    chances = np.exp(np.asarray(scores, np.float64))
    chances /= chances.sum(axis=1, keepdims=True)
    expected = [np.log(chances[np.arange(23), row]).sum() for row in levels]
    np.testing.assert_allclose(drawing.log_probability(scores, levels), expected, rtol=1e-5)


def test_beliefs_say_how_sure_the_network_is():
    scores = np.zeros((23, 16), np.float32)
    scores[0, 3] = 40.0
    found = drawing.beliefs(scores)
    assert list(found) == list(NAMES)
    sure, unsure = found[NAMES[0]], found["modulator_sine"]
    assert (sure.low, sure.high, sure.bits) == pytest.approx((sure.likeliest,) * 2 + (0.0,))
    assert unsure.bits == pytest.approx(4.0)
    assert unsure.probability == pytest.approx(1 / 16)
    assert (unsure.high - unsure.low) / 29 == pytest.approx(12 / 15)  # 13 of 16 levels


def test_distances_are_those_of_the_sounds(sound):
    values = values_from_levels(np.random.default_rng(3).integers(0, 16, (11, 23)).astype("i4"))
    found = sound_matching._heard(values, jnp.asarray(sound), None)
    expected = matching.spectral_distance(
        prediction=render(values), target=jnp.asarray(sound)[None]
    )
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_more_draws_come_nearer(sound):
    few, many = (match_sound(sound, Believer(), num_draws=count) for count in (0, 31))
    assert few.distance[0] == pytest.approx(few.estimate_distance)
    assert many.estimate_distance == pytest.approx(few.estimate_distance)
    assert many.distance[0] == pytest.approx(many.drawn_distance)
    assert many.drawn_distance < few.estimate_distance
    again = match_sound(sound, Believer(), num_draws=31)
    np.testing.assert_array_equal(again.values, many.values)
    other = match_sound(sound, Believer(), num_draws=31, seed=1)
    assert not np.array_equal(other.values, many.values)


@pytest.mark.slow
def test_refinement_of_the_nearest_draws(sound):
    found = match_sound(sound, Believer(), num_draws=7, num_steps=6, num_solutions=2)
    assert found.distance[0] < found.drawn_distance
    assert found.distance[0] <= found.distance[-1]


def test_a_distance_of_ones_own(sound):
    def loudness(prediction, target):
        power = jnp.mean(prediction**2, axis=-1)
        return jnp.abs(power - jnp.mean(target**2))

    found = match_sound(sound, Believer(), num_draws=15, distance=loudness)
    expected = loudness(render(found.values[0]), jnp.asarray(sound))
    assert found.distance[0] == pytest.approx(float(expected), abs=1e-6)


def test_solutions_lie_apart():
    low = np.asarray(values_from_levels(np.zeros(23, np.int32)))
    near, far = (values_from_levels(np.full(23, level, np.int32)) for level in (1, 3))
    rows = np.stack([low, near, far])
    assert sound_matching._apart(rows, 3) == [0, 2]
    assert sound_matching._apart(rows, 3, fill=True) == [0, 2, 1]
    assert sound_matching._apart(rows, 1) == [0]


@pytest.mark.parametrize(
    ("waveform", "options", "message"),
    [
        (np.zeros(16_384, np.float32), {}, "silent"),
        (np.full(16_384, np.nan, np.float32), {}, "not finite"),
        (np.ones((1, 16_384), np.float32), {}, "give one sound"),
        (np.ones(16_384, np.float32), {"num_draws": -1}, "num_draws=-1"),
        (np.ones(16_384, np.float32), {"temperature": 0.0}, "temperature=0"),
        (np.ones(16_384, np.float32), {"num_refined": 0}, "num_refined"),
    ],
)
def test_what_cannot_be_matched_is_refused(waveform, options, message):
    with pytest.raises(ValueError, match=message):
        match_sound(waveform, Believer(), **options)
