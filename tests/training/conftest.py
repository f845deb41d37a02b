"""A model small enough to train in the blink of an eye, and a step for it."""

from __future__ import annotations

import functools
import types
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from isincnet_jax import FilterbankSpec, SincNet
from isincnet_jax.training import losses, optimizers, parallel
from isincnet_jax.training import state as train_state
from isincnet_jax.training import step as train_step
from isincnet_jax.training.augmentation import AugmentationSpec

SPEC = FilterbankSpec(sample_rate=8000, hop_length=8, num_bins=9, shape="none")
SAMPLES = 64
BATCH = 8
EVERYTHING = AugmentationSpec(
    reversal=0.5,
    polarity=0.5,
    impulse_response=0.5,
    impulse_decay_s=(0.001, 0.003),
    gain=0.5,
    noise=0.5,
    requantize=0.5,
    silent_items=1,
)
CHEAP = AugmentationSpec(polarity=0.5, silent_items=1)
"""Quick to compile."""


class Setup(NamedTuple):
    """A model, its optimiser, its first state, and the step for one device."""

    model: Any
    optimizer: Any
    state: train_state.TrainState
    step: train_step.Step


@functools.lru_cache
def make_setup(
    *,
    augmentation: AugmentationSpec | None = None,
    accumulate: int = 1,
    compute_dtype: Any = None,
    rate: float = 1e-3,
    learnable_filters: bool = True,
) -> Setup:
    model = SincNet(
        SPEC,
        learnable_filters=learnable_filters,
        learnable_decoder=True,
        window_terms=2 if learnable_filters else 0,
        compute_dtype=compute_dtype,
    )
    variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 8)))
    # From the exact decoder there is nothing to learn.
    kernels = variables["params"]["synthesis"]["kernels"]
    variables["params"]["synthesis"]["kernels"] = 0.9 * kernels
    spec = optimizers.OptimizerSpec(learning_rate=rate, total_steps=100)
    optimizer = optimizers.make_optimizer(spec)
    step = train_step.make_step(
        lambda variables, waveform, key: model.apply(variables, waveform),
        loss=losses.weighted_loss({"l1": 1.0, "l2": 0.0}),
        optimizer=optimizer,
        augmentation=augmentation,
        sample_rate=8000,
        accumulate=accumulate,
    )
    state = train_state.create_state(variables, optimizer, key=jax.random.key(7))
    return Setup(model, optimizer, state, step)


@functools.lru_cache
def make_parallel(step: train_step.Step, num_devices: int) -> train_step.Step:
    return parallel.parallel_step(step, devices=jax.devices()[:num_devices])


def batch(number: int, size: int = BATCH) -> np.ndarray:
    noise = np.random.default_rng(number).uniform(-0.5, 0.5, (size, SAMPLES))
    return noise.astype(np.float32)


def run_steps(setup: Setup, num_devices: int, batches: list[np.ndarray]):
    """The last state and the metrics of every step."""
    devices = jax.devices()[:num_devices]
    step, state = make_parallel(setup.step, num_devices), parallel.replicate(setup.state, devices)
    history = []
    for clips in batches:
        shards = parallel.shard(parallel.split_batch(clips, num_devices), devices)
        state, metrics = step(state, shards)
        history.append(parallel.first_copy(metrics))
    return parallel.first_copy(state), history


def assert_equal_trees(one: Any, other: Any) -> None:
    """Bit by bit, in structure, dtype and values."""
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert np.asarray(a).dtype == np.asarray(b).dtype
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


@pytest.fixture(scope="session")
def kit():
    """What tests of the trainer share: its functions, under one name."""
    return types.SimpleNamespace(
        make_setup=make_setup,
        make_parallel=make_parallel,
        batch=batch,
        run_steps=run_steps,
        assert_equal_trees=assert_equal_trees,
        everything=EVERYTHING,
        cheap=CHEAP,
        samples=SAMPLES,
        size=BATCH,
        spec=SPEC,
    )
