"""Every spectral shape in the autoencoder: exact inverse, learnable filters, and one of a user."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import isincnet_jax as isn
from isincnet_jax.dsp import shapes

KEY = jax.random.key(0)
LENGTH = 700


def _spec(shape, **changes):
    options = {"sample_rate": 8000, "hop_length": 8, "num_bins": 40, "scale": "mel"}
    return isn.FilterbankSpec(**(options | {"shape": shape} | changes))


@functools.lru_cache(maxsize=1)
def _noise():
    return np.random.default_rng(5).standard_normal((2, LENGTH)).astype(np.float32)


def _snr_db(expected, found):
    error = np.sum((np.asarray(found, np.float64) - expected) ** 2)
    return 10 * np.log10(np.sum(np.asarray(expected, np.float64) ** 2) / error)


@pytest.mark.parametrize("shape", shapes.SHAPES)
@pytest.mark.parametrize("learnable", [False, True])
def test_round_trip_is_exact(shape, learnable):
    spec = _spec(shape)
    assert isn.frame_bounds(spec).condition < 1e4
    model = isn.SincNet(spec, learnable_filters=learnable)
    variables = model.init(KEY, _noise())
    again = jax.jit(model.apply)(variables, _noise())
    # Conditions of up to 1e4 cost a few digits of the 130 dB of well-conditioned banks.
    assert _snr_db(_noise(), again) > 105


@pytest.mark.parametrize("shape", ["pfnet", "gammatone"])
def test_causal_and_uniform_banks(shape):
    for changes in ({"causal": True}, {"scale": "linear", "num_bins": 17}):
        spec = _spec(shape, **changes)
        model = isn.SincNet(spec)
        again = jax.jit(model.apply)(model.init(KEY, _noise()), _noise())
        assert _snr_db(_noise(), again) > 90, changes


def test_pfnet_learns_its_own_parameters():
    spec = _spec("pfnet")
    model = isn.SincNet(spec, learnable_filters=True)
    variables = model.init(KEY, _noise())
    found = {name: value.shape for name, value in variables["params"]["analysis"].items()}
    assert found == {"center": (40,), "bandwidth": (40,), "heights": (40, 5), "gaps": (40, 4)}

    @jax.jit
    def gradient(params, waveform):
        def loss(params):
            return jnp.sum(model.apply({**variables, "params": params}, waveform) ** 2)

        return jax.grad(loss)(params)

    for waveform in (_noise(), np.zeros_like(_noise())):
        for value in jax.tree.leaves(gradient(variables["params"], waveform)):
            assert np.all(np.isfinite(value))
    slopes = gradient(variables["params"], _noise())["analysis"]
    assert all(np.any(np.asarray(slopes[name]) != 0) for name in found)


def test_a_shape_of_a_user_in_a_bank(monkeypatch):
    """One function and one entry; the README shows it."""

    def two_sided_decay(time_s, bandwidth_hz, xp):
        return xp.exp(-np.pi * bandwidth_hz * xp.abs(time_s))

    monkeypatch.setitem(shapes.SHAPES, "lorentz", shapes.Shape(two_sided_decay))
    spec = _spec("lorentz")
    model = isn.SincNet(spec, learnable_filters=True)
    again = jax.jit(model.apply)(model.init(KEY, _noise()), _noise())
    assert _snr_db(_noise(), again) > 110
