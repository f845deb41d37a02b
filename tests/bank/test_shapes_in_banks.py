"""Every spectral shape in the autoencoder: exact inverse, learnable filters, and one of a user."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import isincnet_jax as isn
from isincnet_jax import plots
from isincnet_jax.bank.dsp import shapes
from isincnet_jax.classifiers.networks import SincNetClassifier
from isincnet_jax.frontends import sinc_bands

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


@pytest.mark.quick(6)
@pytest.mark.parametrize("shape", shapes.SHAPES)
@pytest.mark.parametrize("learnable", [False, True])
def test_round_trip_is_exact(shape, learnable):
    spec = _spec(shape)
    assert isn.frame_bounds(spec).condition < 1e4
    model = isn.SincNet(spec, learnable_filters=learnable)
    variables = jax.jit(model.init)(KEY, _noise())
    again = jax.jit(model.apply)(variables, _noise())
    # Conditions of up to 1e4 cost a few digits of the 130 dB of well-conditioned banks.
    assert _snr_db(_noise(), again) > 105


@pytest.mark.parametrize("shape", ["pfnet", "gammatone"])
def test_causal_and_uniform_banks(shape):
    for changes in ({"causal": True}, {"scale": "linear", "num_bins": 17}):
        spec = _spec(shape, **changes)
        model = isn.SincNet(spec)
        again = jax.jit(model.apply)(jax.jit(model.init)(KEY, _noise()), _noise())
        assert _snr_db(_noise(), again) > 90, changes


def test_pfnet_learns_its_own_parameters():
    spec = _spec("pfnet")
    model = isn.SincNet(spec, learnable_filters=True)
    variables = jax.jit(model.init)(KEY, _noise())
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


def _two_sided_decay(time_s, bandwidth_hz, xp):
    return xp.exp(-np.pi * bandwidth_hz * xp.abs(time_s))


@pytest.fixture
def lorentz(monkeypatch):
    """A user's shape: the function above and this line; docs/howto/filters.md shows it."""
    monkeypatch.setitem(shapes.SHAPES, "lorentz", shapes.Shape(_two_sided_decay))


@pytest.mark.parametrize("learnable", [False, True, "free"])
def test_a_shape_of_a_user_in_a_bank(lorentz, learnable):
    model = isn.SincNet(_spec("lorentz"), learnable_filters=learnable)
    again = jax.jit(model.apply)(jax.jit(model.init)(KEY, _noise()), _noise())
    assert _snr_db(_noise(), again) > 110


def test_a_shape_of_a_user_in_a_classifier(lorentz):
    options = {"num_filters": (6, 4), "kernel_sizes": (31, 5), "pool_sizes": (3, 3), "hidden": (8,)}
    model = SincNetClassifier(3, **options, shape="lorentz", parametrization="mel")
    variables = jax.jit(model.init)(KEY, _noise())
    layer = isn.SincConv(num_filters=6, kernel_size=31, shape="lorentz", parametrization="mel")
    params = variables["params"]["frontend"]
    filters = jax.jit(lambda v: layer.apply(v, method="filters"))({"params": params})
    low, high = jax.jit(functools.partial(layer.apply, method="bands"))({"params": params})
    time_s = (np.arange(31) - 15) / 16_000
    turns = 0.5 * np.outer(low + high, time_s)
    window = sinc_bands.reference_window(31)
    envelope = _two_sided_decay(time_s, np.asarray(high - low)[:, None], np)
    np.testing.assert_allclose(filters, np.cos(2 * np.pi * turns) * envelope * window, atol=3e-6)

    @jax.jit
    def gradient(params):
        return jax.grad(lambda p: jnp.sum(model.apply({**variables, "params": p}, _noise()) ** 2))(
            params
        )

    for slope in gradient(variables["params"])["frontend"].values():
        assert np.all(np.isfinite(slope))
        assert np.any(np.asarray(slope) != 0)


def test_a_shape_of_a_user_in_the_plots(lorentz):
    spec = _spec("lorentz", scale="linear", num_bins=17)
    figure = plots.plot_filterbank(
        spec.design_kernels(), sample_rate=8000, center_hz=spec.center_hz
    )
    line = figure.axes[1].lines[8]  # at 2000 Hz; the axis is in kHz
    assert line.get_xdata()[np.argmax(line.get_ydata())] == pytest.approx(2.0, abs=0.02)
