"""The step on simulated devices: the same curve on all of them, and nothing lost when it fails."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from isincnet_jax.training import losses, parallel
from isincnet_jax.training import state as train_state
from isincnet_jax.training import step as train_step

STEPS = 10


@pytest.fixture(scope="module")
def one_device(kit):
    setup = kit.make_setup(augmentation=kit.everything)
    return kit.run_steps(setup, 1, [kit.batch(number) for number in range(STEPS)])


def _column(history, name):
    return np.array([metrics[name] for metrics in history])


def test_devices_do_not_change_the_curve(kit, one_device):
    setup = kit.make_setup(augmentation=kit.everything)
    batches = [kit.batch(number) for number in range(STEPS)]
    state, history = kit.run_steps(setup, 8, batches)
    assert set(history[0]) == set(one_device[1][0])
    for name in ("loss", "l1", "l2", "grad_norm"):
        np.testing.assert_allclose(_column(history, name), _column(one_device[1], name), rtol=1e-5)
    np.testing.assert_allclose(_column(history, "snr_db"), _column(one_device[1], "snr_db"), 1e-4)
    # Adam divides small gradients by their own size; a step moves no parameter by more than 1e-3.
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(one_device[0]), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-4)


def test_it_learns_filters_and_decoder(kit, one_device):
    first, last = kit.make_setup(augmentation=kit.everything).state, one_device[0]
    assert last.step == STEPS
    moved = jax.tree.map(lambda a, b: float(np.max(np.abs(np.asarray(a) - b))), first, last).params
    del moved["analysis"]["bandwidth"]  # bands of the shape "none" have no edges
    assert len(jax.tree.leaves(moved)) == 3
    assert min(jax.tree.leaves(moved)) > 1e-3
    curve = _column(one_device[1], "loss")
    assert curve[-1] < 0.8 * curve[0]


def test_terms_and_snr_by_hand(kit, one_device):
    """Without augmentation the first step's metrics are those of the first model."""
    setup = kit.make_setup(augmentation=None)
    clips = np.array(kit.batch(3))
    clips[2] = 0.0
    _, (metrics,) = kit.run_steps(setup, 2, [clips])
    variables = train_state.model_variables(setup.state)
    decoded = np.asarray(jax.jit(setup.model.apply)(variables, jnp.asarray(clips)), np.float64)
    assert metrics["l1"] == metrics["loss"] == pytest.approx(np.mean(np.abs(decoded - clips)), 1e-5)
    assert metrics["l2"] == pytest.approx(np.mean((decoded - clips) ** 2), rel=1e-5)
    audible = np.delete(np.arange(8), 2)
    ratio = np.sum(clips**2, axis=1)[audible] / np.sum((decoded - clips) ** 2, axis=1)[audible]
    assert metrics["snr_db"] == pytest.approx(np.mean(10 * np.log10(ratio)), rel=1e-5)
    assert metrics["skipped"] == metrics["skipped_in_row"] == 0


def test_shard_map_is_pmap(kit):
    setup = kit.make_setup(augmentation=kit.cheap)
    devices = jax.devices()[:2]
    mesh, spec = Mesh(np.array(devices), ("data",)), PartitionSpec("data")

    @functools.partial(
        jax.shard_map,
        mesh=mesh,
        in_specs=(PartitionSpec(), spec),
        out_specs=PartitionSpec(),
        check_vma=False,
    )
    def mapped(state, clips):
        return setup.step(state, clips)

    state = jax.device_put(setup.state, NamedSharding(mesh, PartitionSpec()))
    compiled, curve = jax.jit(mapped), []
    for number in range(3):
        state, metrics = compiled(state, jnp.asarray(kit.batch(number)))
        curve.append(float(metrics["loss"]))
    expected_state, history = kit.run_steps(setup, 2, [kit.batch(number) for number in range(3)])
    np.testing.assert_allclose(curve, _column(history, "loss"), rtol=1e-6)
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(expected_state), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_accumulation_changes_nothing(kit):
    clips = [kit.batch(number) for number in range(3)]
    _, whole = kit.run_steps(kit.make_setup(augmentation=kit.cheap), 2, clips)
    parts = kit.make_setup(augmentation=kit.cheap, accumulate=4)
    _, history = kit.run_steps(parts, 2, clips)
    for name in ("loss", "l2", "snr_db", "grad_norm"):
        np.testing.assert_allclose(_column(history, name), _column(whole, name), rtol=1e-5)
    with pytest.raises(ValueError, match="accumulate=4 does not divide the 3 clips"):
        kit.run_steps(parts, 2, [kit.batch(0, size=6)])


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_a_bad_batch_changes_counters_only(kit, bad):
    setup = kit.make_setup(augmentation=None)
    broken = kit.batch(1).copy()
    broken[5, 7] = bad  # on one device of two
    before, history = kit.run_steps(setup, 2, [kit.batch(0)])
    after, history = kit.run_steps(setup, 2, [kit.batch(0), broken, broken])
    assert [row["skipped_in_row"] for row in history] == [0, 1, 2]
    assert after.step == 3
    kit.assert_equal_trees(after.params, before.params)
    kit.assert_equal_trees(after.opt_state, before.opt_state)
    assert not np.isfinite(history[1]["grad_norm"] + history[1]["loss"])
    after, history = kit.run_steps(setup, 2, [broken, broken, kit.batch(0)])
    assert [row["skipped_in_row"] for row in history] == [1, 2, 0]
    assert history[-1]["skipped"] == after.skipped == 2
    assert np.isfinite(history[-1]["loss"])
    kit.assert_equal_trees(after.params, before.params)  # no augmentation: steps are alike


def test_the_state_is_donated(kit):
    setup = kit.make_setup(augmentation=None)
    devices = jax.devices()[:2]
    state = parallel.replicate(setup.state, devices)
    clips = parallel.shard(parallel.split_batch(kit.batch(0), 2), devices)
    copy = parallel.first_copy(state)
    kit.make_parallel(setup.step, 2)(state, clips)
    kernels = state.params["synthesis"]["kernels"]
    assert kernels.is_deleted()
    assert not clips.is_deleted()
    kit.assert_equal_trees(copy.params, parallel.first_copy(parallel.replicate(setup.state)).params)


def test_bfloat16_keeps_parameters_in_float32(kit):
    setup = kit.make_setup(augmentation=None, compute_dtype=jnp.bfloat16)
    state, history = kit.run_steps(setup, 2, [kit.batch(number) for number in range(4)])
    _, others = kit.run_steps(kit.make_setup(augmentation=None), 2, [kit.batch(0)])
    assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {np.dtype(np.float32)}
    curve = _column(history, "loss")
    assert curve.dtype == np.float32
    assert np.isfinite(curve).all()
    # bfloat16 has 8 bits; were it not used, the losses would agree to 1e-7.
    assert 1e-6 < abs(curve[0] / others[0]["loss"] - 1) < 0.05
    assert curve[-1] < curve[0]


@pytest.fixture(scope="module")
def outcome():
    """One step of a model of two numbers, whose gradients are known."""
    optimizer = optax.sgd(1.0)
    variables = {"params": {"gain": jnp.float32(0.5)}, "fixed": {"power": jnp.float32(3.0)}}
    state = train_state.create_state(variables, optimizer, key=jax.random.key(0))
    step = train_step.make_step(
        lambda variables, waveform, key: variables["params"]["gain"] * waveform,
        loss=losses.weighted_loss({"l2": 2.0}),
        optimizer=optimizer,
        sample_rate=8000,
        penalties={
            "cube": lambda variables, key: (
                variables["params"]["gain"] ** variables["fixed"]["power"]
            ),
            "random": lambda variables, key: variables["params"]["gain"] * jax.random.uniform(key),
        },
    )
    devices = jax.devices()[:2]
    clips = np.float32([[[1.0, -1.0]], [[2.0, -2.0]]])
    return parallel.parallel_step(step, devices=devices)(
        parallel.replicate(state, devices), parallel.shard(clips, devices)
    )


class TestPenalties:
    def test_values_are_added_and_reported(self, outcome):
        metrics = parallel.first_copy(outcome[1])
        assert metrics["l2"] == pytest.approx(0.25 * 2.5)
        assert metrics["cube"] == pytest.approx(0.125)
        assert 0 < metrics["random"] < 0.5
        total = 2 * metrics["l2"] + metrics["cube"] + metrics["random"]
        assert metrics["loss"] == pytest.approx(total)

    def test_gradients_are_added(self, outcome):
        state, metrics = (parallel.first_copy(tree) for tree in outcome)
        drawn = float(metrics["random"]) / 0.5

        def total(gain):
            return 2 * (gain - 1) ** 2 * 2.5 + gain**3 + gain * drawn

        numeric = (total(0.5 + 1e-5) - total(0.5 - 1e-5)) / 2e-5
        assert metrics["grad_norm"] == pytest.approx(abs(numeric), rel=1e-4)
        assert state.params["gain"] == pytest.approx(0.5 - numeric, rel=1e-4)

    def test_all_devices_agree(self, outcome):
        for leaf in jax.tree.leaves(outcome):
            np.testing.assert_array_equal(*np.asarray(leaf))


def test_a_model_without_parameters_is_refused():
    with pytest.raises(ValueError, match="no parameters to learn; use learnable_decoder=True"):
        train_state.create_state({"filterbank": {}}, optax.sgd(1.0), key=jax.random.key(0))


def test_draw_replaces_the_batch():
    optimizer = optax.sgd(0.1)
    state = train_state.create_state(
        {"params": {"gain": jnp.zeros(())}}, optimizer, key=jax.random.key(0)
    )
    step = train_step.make_step(
        lambda variables, waveform, key: variables["params"]["gain"] * waveform,
        loss=losses.weighted_loss({"l1": 1.0}),
        optimizer=optimizer,
        sample_rate=8000,
        draw=lambda data, number: data[None, :] * (number + 1).astype(jnp.float32),
    )
    devices = jax.devices()[:1]
    state = parallel.replicate(state, devices).replace(
        step=parallel.replicate(np.int32(4), devices)
    )
    _, metrics = parallel.parallel_step(step, devices=devices)(state, jnp.full((1, 6), 0.1))
    assert parallel.first_copy(metrics)["l1"] == pytest.approx(0.5)
