"""The PCEN layer against librosa, fixed and trained."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest

from isincnet_jax.spectrograms.pcen import PCEN

ENERGIES = (2.0**31 * np.random.default_rng(0).uniform(0, 1e-2, (2, 40, 6))).astype(np.float32)


def _relative(found, wanted):
    return np.linalg.norm(np.asarray(found) - wanted) / np.linalg.norm(wanted)


@pytest.mark.parametrize(
    "options",
    [{}, {"b": 0.2}, {"hop_length": 128, "time_constant": 0.1, "gain": 0.8, "bias": 10.0}],
)
def test_it_is_librosas(options):
    wanted = librosa.pcen(ENERGIES.astype(float), sr=16_000, axis=-2, **options)
    layer = PCEN(sample_rate=16_000, **options)
    assert jax.jit(layer.init)(jax.random.key(0), ENERGIES) == {}
    assert _relative(jax.jit(layer.apply)({}, ENERGIES), wanted) < 1e-5


@pytest.mark.parametrize("state", ["one", "first"])
def test_trained_parameters_start_at_the_fixed_ones_and_stay_valid(state):
    layer = PCEN(trainable=True, initial_state=state)
    variables = jax.jit(layer.init)(jax.random.key(0), ENERGIES)
    names = {"log_gain", "log_bias", "log_power", "logit_smoothing"}
    assert {name: value.shape for name, value in variables["params"].items()} == dict.fromkeys(
        names, (6,)
    )
    wanted = np.asarray(jax.jit(PCEN(initial_state=state).apply)({}, ENERGIES))
    apply = jax.jit(layer.apply)
    assert _relative(apply(variables, ENERGIES), wanted) < 1e-5
    gradient = jax.jit(jax.grad(lambda v: layer.apply(v, ENERGIES).mean()))(variables)
    assert all(np.all(np.asarray(leaf) != 0) for leaf in jax.tree.leaves(gradient))
    for step in (-3.0, 1.0):  # far from the start, every value is still a PCEN's
        moved = jax.tree.map(lambda value, step=step: value + step, variables)
        found = np.asarray(apply(moved, 1e-6 * ENERGIES))
        assert np.all(np.isfinite(found))
        assert np.all(found >= 0)
    silent = jax.jit(jax.grad(lambda v: layer.apply(v, 0 * ENERGIES).sum()))(variables)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(silent))


def test_channels_have_parameters_of_their_own():
    layer = PCEN(trainable=True)
    variables = jax.jit(layer.init)(jax.random.key(0), ENERGIES)
    start = np.asarray(jax.jit(layer.apply)(variables, ENERGIES))
    moved = jax.tree.map(lambda value: value.at[2].add(0.5), variables)
    changed = np.any(np.asarray(jax.jit(layer.apply)(moved, ENERGIES)) != start, axis=(0, 1))
    np.testing.assert_array_equal(changed, np.arange(6) == 2)


def test_double_precision(x64):
    found = PCEN(trainable=True)
    energies = ENERGIES.astype(np.float64)
    variables = jax.jit(found.init)(jax.random.key(0), energies)
    assert jax.jit(found.apply)(variables, energies).dtype == jnp.float64
    wanted = librosa.pcen(energies, axis=-2)
    assert _relative(jax.jit(PCEN().apply)({}, energies), wanted) < 1e-12


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gain": -1.0}, "gain=-1.0 must be finite and 0 or more"),
        ({"bias": 0.0, "trainable": True}, "bias=0.0 must be finite and above 0"),
        ({"power": float("nan")}, "power=nan"),
        ({"eps": 0.0}, "eps=0.0"),
        ({"b": 1.5}, "b=1.5"),
        ({"b": 1.0, "trainable": True}, "b=1.0"),
        ({"time_constant": 0.0}, "time_constant=0.0"),
        ({"b": 0.1, "time_constant": 0.1}, "time_constant=0.1 and b=0.1"),
        ({"hop_length": 0}, "hop_length=0"),
        ({"initial_state": "zero"}, "initial_state='zero'"),
    ],
)
def test_impossible_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        PCEN(**options)


def test_impossible_energies_are_named():
    with pytest.raises(TypeError, match="int32"):
        PCEN().apply({}, jnp.ones((3, 2), jnp.int32))
    with pytest.raises(ValueError, match="must end in 1 frame or more"):
        PCEN().apply({}, jnp.ones(3))


@pytest.mark.parametrize("far", [-80.0, 30.0, 1e9])
def test_trained_numbers_are_finite_at_all_limits(far):
    layer = PCEN(trainable=True, initial_state="first")
    energies = jnp.asarray(ENERGIES, jnp.float32)
    variables = jax.tree.map(
        lambda leaf: jnp.full_like(leaf, far), jax.jit(layer.init)(jax.random.key(0), energies)
    )

    @jax.jit
    def total(variables, energies):
        return jnp.mean(layer.apply(variables, energies))

    for clip in (energies, jnp.zeros_like(energies)):
        found, gradients = jax.jit(jax.value_and_grad(total, argnums=(0, 1)))(variables, clip)
        assert all(bool(jnp.all(jnp.isfinite(g))) for g in jax.tree.leaves((found, gradients)))
