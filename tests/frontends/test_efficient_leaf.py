"""EfficientLEAF against its formulas in float64, medians against a sort."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isincnet_jax.dsp.medians import low_median
from isincnet_jax.frontends.efficient_leaf import EfficientLeafFrontend

SMALL = functools.partial(
    EfficientLeafFrontend, 6, num_groups=3, pool_size=81, hop_length=40, stride_factor=4.0
)


def _edges(filters, low_hz=60.0, high_hz=7800.0):
    """Peaks of a mel bank, and the standard deviations of its filters in samples."""
    mels = np.linspace(*(1127 * np.log1p(np.array([low_hz, high_hz]) / 700)), filters + 2)
    peaks = 700 * np.expm1(mels / 1127)
    return peaks[1:-1], 8000 / (peaks[2:] - peaks[:-2])


def _direct(layer, waveform):
    """Energies by complex exponentials, at every stride, and weighted sums."""
    centers, sigmas = _edges(layer.num_filters)
    frames = -(-waveform.shape[1] // layer.hop_length)
    half = layer.pool_size // 2
    found = np.zeros((len(waveform), frames, layer.num_filters))
    for first, last, taps, stride in layer.groups:
        offset = np.arange(taps) - taps // 2
        for band in range(first, last):
            gauss = np.exp(-0.5 * (offset / sigmas[band]) ** 2)
            wave = np.exp(2j * np.pi * centers[band] / 16_000 * offset)
            kernel = gauss / gauss.sum() * wave
            padded = np.pad(waveform, [(0, 0), (taps // 2, taps // 2)])
            rows = np.lib.stride_tricks.sliding_window_view(padded, taps, axis=1)
            energies = np.abs(rows[:, ::stride] @ kernel) ** 2
            place = np.arange(-(half // stride), half // stride + 1)
            window = np.exp(-0.5 * (place * stride / (0.4 * half)) ** 2)
            edges = [(0, 0), (half // stride, half // stride)]
            rows = np.lib.stride_tricks.sliding_window_view(
                np.pad(energies, edges), len(place), axis=1
            )
            pooled = rows[:, :: layer.hop_length // stride] @ (window / window.sum())
            found[:, :, band] = pooled
    return found


@pytest.mark.quick(1)
@pytest.mark.parametrize("length", [399, 40, 1000])
def test_energies_are_those_of_the_formulas(rng, length):
    layer = SMALL()
    waveform = rng.uniform(-0.5, 0.5, (3, length)).astype(np.float32)
    variables = jax.jit(layer.init)(jax.random.key(0), waveform)
    found = jax.jit(functools.partial(layer.apply, method="energies"))(variables, waveform)
    wanted = _direct(layer, waveform.astype(np.float64))
    assert found.shape == wanted.shape == (3, len(layer.frame_times(length)), 6)
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-5 * wanted.max())


def test_groups_are_the_papers():
    layer = EfficientLeafFrontend()
    centers, sigmas = _edges(40)
    np.testing.assert_allclose(layer.frequencies, centers, rtol=1e-9)
    divisors = np.array([n for n in range(1, 161) if 160 % n == 0])
    for index, group in enumerate(layer.groups):
        assert (group.first, group.last) == (5 * index, 5 * index + 5)
        taps = int(6 * sigmas[group.first : group.last].max())
        assert group.taps == taps + (taps % 2 == 0)
        stride = 16 * 8000 / centers[group.last - 1]
        assert group.stride == divisors[divisors <= stride].max()


def test_features_are_logarithms_medians_and_batch_norm(rng):
    layer = SMALL()
    waveform = rng.uniform(-0.5, 0.5, (3, 900)).astype(np.float32)
    variables = jax.jit(layer.init)(jax.random.key(0), waveform)
    train = jax.jit(functools.partial(layer.apply, train=True, mutable=["batch_stats"]))
    found, state = train(variables, waveform)
    logs = np.log(1e-5 + _direct(layer, waveform.astype(np.float64)))
    medians = np.sort(logs, axis=1)[:, (logs.shape[1] - 1) // 2][:, None]
    wanted = np.concatenate([logs, logs - medians], axis=-1)
    mean, variance = wanted.mean(axis=(0, 1)), wanted.var(axis=(0, 1))
    np.testing.assert_allclose(
        found, (wanted - mean) / np.sqrt(variance + 1e-5), rtol=1e-3, atol=2e-3
    )
    np.testing.assert_allclose(state["batch_stats"]["norm"]["mean"], 0.1 * mean, atol=1e-4)
    running = layer.apply({**variables, **state}, waveform)
    kept = 0.9 + 0.1 * variance
    np.testing.assert_allclose(
        running, (wanted - 0.1 * mean) / np.sqrt(kept + 1e-5), rtol=1e-3, atol=2e-3
    )


@pytest.mark.parametrize(("median", "channels"), [("append", 12), ("subtract", 6), ("none", 6)])
def test_medians_are_optional(rng, median, channels):
    layer = SMALL(median=median, normalize=False)
    waveform = jnp.asarray(rng.uniform(-0.5, 0.5, (2, 900)), jnp.float32)
    features, variables = layer.init_with_output(jax.random.key(0), waveform)
    assert features.shape == (2, 23, channels)
    assert set(variables) == {"params"}
    middle = np.sort(np.asarray(features), axis=1)[:, 11, -6:]
    assert np.all(middle == 0) == (median != "none")


@pytest.mark.quick(0)
def test_gradients_are_finite_on_silence_and_reach_every_parameter(rng):
    layer = SMALL()
    waveform = jnp.asarray(rng.uniform(-0.5, 0.5, (2, 600)), jnp.float32)
    variables = jax.jit(layer.init)(jax.random.key(0), waveform)

    @jax.jit
    @functools.partial(jax.grad, argnums=(0, 1))
    def slope(params, waveform):
        features, _ = layer.apply(
            {**variables, "params": params}, waveform, train=True, mutable=["batch_stats"]
        )
        return jnp.sum(jnp.sin(3 * features))

    found = jax.tree.map(np.asarray, slope(variables["params"], waveform))
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(found))
    params = found[0]
    for name in ("low", "band", "width"):
        assert np.all(params[name] != 0)
    silent = slope(variables["params"], jnp.zeros_like(waveform))
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(silent))


@settings(max_examples=20)
@given(
    st.lists(
        st.floats(width=32, allow_nan=False, allow_infinity=True), min_size=1, max_size=9
    ).filter(lambda values: all(v == 0 or abs(v) > 1e-37 for v in values))
)
def test_medians_are_elements_of_sorted_values(values):
    array = np.array(values, np.float32)[:, None] + np.zeros((1, 2), np.float32)
    found = low_median(jnp.asarray(array), axis=0)
    np.testing.assert_array_equal(found, np.sort(array, axis=0)[[(len(values) - 1) // 2]])


def test_the_gradient_of_a_median_is_one_element():
    values = jnp.array([[3.0, -1.0, 2.0, 2.0, 5.0]])
    found = jax.grad(lambda x: low_median(x, axis=1).sum())(values)
    assert found.tolist() == [[0.0, 0.0, 1.0, 0.0, 0.0]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_groups": 7}, "num_groups=7 exceeds num_filters=6"),
        ({"pool_size": 80}, "pool_size=80 must be odd"),
        ({"window_factor": 0.0}, "window_factor=0.0 must be positive"),
        ({"median": "mean"}, "median='mean' is unknown; use one of append, subtract, none"),
        ({"high_hz": 9000.0}, "high_hz=9000"),
        ({"parametrization": "bark"}, "parametrization='bark' is unknown"),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        SMALL(**options)
