"""Curl of phase differences: none for true ones, and where a wrong one shows."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from isincnet_jax.phase import curl, propagation
from isincnet_jax.phase.propagation import Steps


def _differences(phase):
    per_frame = np.diff(phase, axis=-2, prepend=phase[..., :1, :])
    per_bin = np.diff(phase, axis=-1, prepend=phase[..., :1])
    return Steps(jnp.asarray(per_frame, jnp.float32), jnp.asarray(per_bin, jnp.float32))


def test_differences_of_any_phase_have_none_whole_turns_apart(rng):
    steps = _differences(rng.uniform(-3, 3, (2, 5, 7)))
    turns = 2 * np.pi * rng.integers(-2, 3, (2, 5, 7)).astype(np.float32)
    found = curl.curl(Steps(steps.per_frame + turns, steps.per_bin - turns))
    assert found.shape == (2, 4, 6)
    np.testing.assert_allclose(found, 0.0, atol=2e-5)


def test_a_wrong_step_shows_in_the_cells_on_both_sides(rng):
    steps = _differences(rng.uniform(-3, 3, (5, 7)))
    in_time = steps._replace(per_frame=steps.per_frame.at[2, 3].add(0.5))
    wanted = np.zeros((4, 6))
    # Cell (t, k) lies between frames t and t + 1, bins k and k + 1.
    wanted[1, 2], wanted[1, 3] = -0.5, 0.5
    np.testing.assert_allclose(curl.curl(in_time), wanted, atol=1e-5)
    in_frequency = steps._replace(per_bin=steps.per_bin.at[2, 3].add(0.5))
    wanted = np.zeros((4, 6))
    wanted[1, 2], wanted[2, 2] = 0.5, -0.5
    np.testing.assert_allclose(curl.curl(in_frequency), wanted, atol=1e-5)


def test_confidence_is_that_of_the_two_cells_beside_a_step(rng):
    steps = Steps(*(jnp.asarray(rng.uniform(-3, 3, (4, 5)), jnp.float32) for _ in range(2)))
    squares = np.asarray(curl.curl(steps)) ** 2
    sure = curl.curl_confidence(steps, sharpness=7.0)
    for t in range(4):
        for k in range(5):
            below = squares[t - 1, k - 1] if t and k else 0.0
            above = squares[t - 1, k] if t and k < 4 else 0.0
            behind = squares[t, k - 1] if t < 3 and k else 0.0
            np.testing.assert_allclose(sure.per_frame[t, k], 1 / (1 + 7 * (below + above)), 1e-5)
            np.testing.assert_allclose(sure.per_bin[t, k], 1 / (1 + 7 * (below + behind)), 1e-5)


def test_beliefs_keep_their_directions(rng):
    steps = Steps(*(jnp.asarray(rng.uniform(-3, 3, (4, 5)), jnp.float32) for _ in range(2)))
    sure = curl.curl_confidence(steps)
    directions = propagation.directions(steps.per_frame)
    beliefs = curl.believed(steps)
    np.testing.assert_allclose(
        beliefs.per_frame, np.asarray(directions) * np.asarray(sure.per_frame), atol=1e-6
    )
    tripled = jax.tree.map(lambda part: 3 * np.asarray(part) / np.abs(part), beliefs)
    again = curl.curl_weighted(tripled)
    for one, other in zip(again, beliefs, strict=True):
        np.testing.assert_allclose(one, 3 * np.asarray(other), atol=1e-4)


def test_gradients_are_those_of_finite_differences(rng, x64):
    steps = Steps(*(jnp.asarray(rng.uniform(-3, 3, (3, 4))) for _ in range(2)))

    @jax.jit
    def total(steps):
        return sum(jnp.sum(part**2) for part in curl.curl_confidence(steps, sharpness=2.0))

    slopes = jax.jit(jax.grad(total))(steps)
    for name, place in (("per_frame", (1, 2)), ("per_bin", (2, 1))):
        moved = [
            total(steps._replace(**{name: getattr(steps, name).at[place].add(by)}))
            for by in (1e-6, -1e-6)
        ]
        slope = getattr(slopes, name)[place]
        np.testing.assert_allclose(slope, (moved[0] - moved[1]) / 2e-6, rtol=1e-5, atol=1e-8)


def test_impossible_arguments_are_named():
    steps = Steps(jnp.ones((1, 4)), jnp.ones((1, 4)))
    with pytest.raises(ValueError, match=r"frames=1, bins=4: a cell needs 2"):
        curl.curl(steps)
    with pytest.raises(ValueError, match=r"sharpness=-1 must be 0 or more"):
        curl.curl_confidence(steps, sharpness=-1)
