"""Training of estimators: losses against NumPy, metrics, streams, the step on one device and 8."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.special

from isincnet_jax.inversynth import scores as parameter_scores
from isincnet_jax.inversynth import training as parameter_estimation
from isincnet_jax.training import parallel
from isincnet_jax.training import state as train_state

PARAMETERS, LEVELS, SAMPLES, BATCH = 3, 4, 6, 16


def some(rng, clips=5):
    scores = rng.standard_normal((clips, PARAMETERS, LEVELS)).astype(np.float32)
    return scores, rng.integers(0, LEVELS, (clips, PARAMETERS)).astype(np.int32)


def targets_by_hand(levels, smoothing):
    wanted = np.zeros((*levels.shape, LEVELS))
    for place in np.ndindex(levels.shape):
        level = levels[place]
        beside = [other for other in (level - 1, level + 1) if 0 <= other < LEVELS]
        wanted[place][level] = 1 - smoothing
        for other in beside:
            wanted[place][other] = smoothing / len(beside)
    return wanted


@functools.partial(jax.jit, static_argnames=("kind", "smoothing"))
def loss_of(scores, levels, kind, smoothing):
    targets = parameter_estimation.neighbour_targets(
        levels, num_levels=scores.shape[-1], smoothing=smoothing
    )
    loss = parameter_estimation.estimation_loss(scores, levels, kind=kind, smoothing=smoothing)
    return targets, loss


@pytest.mark.parametrize("kind", ["sigmoid", "softmax"])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_losses_are_the_formulas(rng, kind, smoothing):
    scores, levels = some(rng)
    targets, found = loss_of(scores, levels, kind, smoothing)
    wanted = targets_by_hand(levels, smoothing)
    np.testing.assert_allclose(targets, wanted, atol=1e-6)
    exact = scores.astype(np.float64)
    if kind == "softmax":
        expected = -np.mean(np.sum(wanted * scipy.special.log_softmax(exact, axis=-1), axis=-1))
    else:
        one, zero = scipy.special.log_expit(exact), scipy.special.log_expit(-exact)
        expected = -np.mean(wanted * one + (1 - wanted) * zero)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@jax.jit
def metrics_of(scores, levels):
    return parameter_estimation.batch_metrics(scores, levels)


def test_metrics_of_a_batch_are_those_of_the_evaluation(rng):
    scores, levels = some(rng, clips=8)
    scores[:3] = np.round(scores[:3])  # some are equal
    found = metrics_of(scores, levels)
    ranks = parameter_scores.rank_levels(scores, levels)
    total = parameter_scores.score_parameters(ranks, "abc")[-1]
    np.testing.assert_allclose(found["mpr"], total.mpr, rtol=1e-5)
    np.testing.assert_allclose(found["class_mae"], total.class_mae, rtol=1e-5)
    chosen = np.mean(np.argmax(scores, axis=-1) == levels)
    np.testing.assert_allclose(found["accuracy"], chosen, rtol=1e-5)


def sample_levels(key, count):
    return jax.random.randint(key, (count, PARAMETERS), 0, LEVELS, jnp.int32)


def render(levels):
    table = jnp.asarray(np.random.default_rng(0).standard_normal((PARAMETERS, SAMPLES)))
    return levels.astype(jnp.float32) @ table.astype(jnp.float32)


class Tiny(nn.Module):
    @nn.compact
    def __call__(self, waveform):
        return nn.Dense(PARAMETERS * LEVELS)(nn.relu(nn.Dense(8)(waveform))).reshape(
            (-1, PARAMETERS, LEVELS)
        )


@functools.lru_cache
def setup(num_devices, kind="softmax"):
    model, optimizer = Tiny(), optax.adam(3e-2)
    variables = jax.jit(model.init)(jax.random.key(0), np.zeros((1, SAMPLES), np.float32))
    draw = parameter_estimation.stream_drawer(
        sample_levels, render, batch_size=BATCH, clips_per_device=BATCH // num_devices, seed=3
    )
    step = parameter_estimation.make_estimation_step(
        model.apply, optimizer=optimizer, loss=kind, smoothing=0.1, draw=draw
    )
    mapped = parallel.parallel_step(step, devices=jax.devices()[:num_devices])
    return train_state.create_state(variables, optimizer, key=jax.random.key(1)), mapped


def run(num_devices, num_steps, state=None, **options):
    first, mapped = setup(num_devices, **options)
    devices = jax.devices()[:num_devices]
    nothing = parallel.replicate(np.zeros((), np.float32), devices)
    state, history = parallel.replicate(first if state is None else state, devices), []
    for _ in range(num_steps):
        state, metrics = mapped(state, nothing)
        history.append(parallel.first_copy(metrics))
    return parallel.first_copy(state), history


@pytest.mark.quick(1)
@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
def test_a_streamed_run_learns(kind):
    _, history = run(1, 150, kind=kind)
    losses = [row["loss"] for row in history]
    assert np.mean(losses[-20:]) < 0.8 * losses[0]
    assert np.mean([row["mpr"] for row in history[-20:]]) > 75  # 62.5 is chance
    assert history[-1]["skipped"] == 0


def test_eight_devices_train_with_the_same_sounds():
    one, one_history = run(1, 5)
    eight, eight_history = run(8, 5)
    for a, b in zip(jax.tree.leaves(one.params), jax.tree.leaves(eight.params), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    for a, b in zip(one_history, eight_history, strict=True):
        for name in a:
            np.testing.assert_allclose(a[name], b[name], rtol=1e-4, err_msg=name)


def test_a_run_that_goes_on_has_the_sounds_it_would_have_had():
    whole, _ = run(1, 6)
    half, _ = run(1, 3)
    resumed, _ = run(1, 3, state=half)
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(resumed), strict=True):
        np.testing.assert_array_equal(a, b)


def test_sounds_may_come_from_outside(rng):
    """Without ``draw`` the second argument is the batch; one that is not finite changes nothing."""
    model, optimizer = Tiny(), optax.adam(1e-2)
    first, _ = setup(1)
    step = parallel.parallel_step(
        parameter_estimation.make_estimation_step(model.apply, optimizer=optimizer),
        devices=jax.devices()[:1],
    )
    waveform = rng.standard_normal((1, BATCH, SAMPLES)).astype(np.float32)
    levels = rng.integers(0, LEVELS, (1, BATCH, PARAMETERS)).astype(np.int32)
    broken = np.where(np.arange(SAMPLES) == 2, np.nan, waveform).astype(np.float32)
    start = first.params["Dense_0"]["kernel"]
    for sound, moves in ((waveform, True), (broken, False)):
        state, metrics = step(parallel.replicate(first, jax.devices()[:1]), (sound, levels))
        kernel = parallel.first_copy(state).params["Dense_0"]["kernel"]
        assert bool(np.any(kernel != start)) is moves
        assert parallel.first_copy(metrics)["skipped"] == (not moves)


def test_splits_have_keys_of_their_own():
    """No key of 50 batches of a split is one of another's, and none is of another seed."""
    keys = {
        bytes(np.asarray(jax.random.key_data(jax.random.fold_in(stream, number))))
        for seed in (0, 1)
        for split in ("train", "validation", "test")
        for stream in [parameter_estimation.stream_key(seed, split)]
        for number in range(50)
    }
    assert len(keys) == 2 * 3 * 50


def test_what_cannot_be_trained_is_refused():
    with pytest.raises(ValueError, match="'dev' is unknown; use train, validation, test"):
        parameter_estimation.stream_key(0, "dev")
    with pytest.raises(ValueError, match="loss='mse' is unknown; use 'sigmoid' or 'softmax'"):
        parameter_estimation.make_estimation_step(Tiny().apply, optimizer=None, loss="mse")
    with pytest.raises(ValueError, match=r"smoothing=1.0"):
        parameter_estimation.make_estimation_step(Tiny().apply, optimizer=None, smoothing=1.0)


def test_nan_scores_have_no_metrics():
    scores = jnp.full((2, 3, 4), jnp.nan)
    found = jax.jit(parameter_estimation.batch_metrics)(scores, jnp.zeros((2, 3), jnp.int32))
    assert all(np.isnan(value) for value in found.values())
