"""SincConv: SincConv_fast's numbers, padding, channels, and filters that move."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from isincnet_jax.bank.dsp import polyline
from isincnet_jax.frontends.sinc_conv import SincConv

KEY = jax.random.key(0)
SMALL = {"num_filters": 6, "kernel_size": 31}


def _relative(found, wanted):
    return np.max(np.abs(np.asarray(found) - wanted)) / np.max(np.abs(wanted))


@pytest.mark.parametrize("stride", [1, 160])
def test_golden_output_of_sincconv_fast(golden, stride):
    stored = golden(f"sincconv_fast_80x251_16000hz_stride{stride}")
    layer = SincConv(stride=stride)
    waveform = jnp.asarray(stored["waveform"])
    variables = jax.jit(layer.init)(KEY, waveform)
    loaded = {"params": layer.load_reference(stored["low_hz_"][:, None], stored["band_hz_"])}
    every = 8 if stride == 1 else 1
    for values in (variables, loaded):
        found = jax.jit(layer.apply)(values, waveform)
        assert _relative(found[::every].T, stored["output"]) < 2e-6
        filters = jax.jit(functools.partial(layer.apply, method="filters"))(values)
        assert np.max(np.abs(filters - stored["filters"])) < 2e-6
    perturbed = {
        "params": layer.load_reference(stored["perturbed_low_hz_"], stored["perturbed_band_hz_"])
    }
    filters = np.asarray(jax.jit(functools.partial(layer.apply, method="filters"))(perturbed))
    assert np.max(np.abs(filters - stored["perturbed_filters"])) < 3e-6  # see test_sinc_bands


@pytest.mark.parametrize(
    "options",
    [
        {"stride": 3},
        {"stride": 5, "padding": "same"},
        {"stride": 2, "padding": "same", "dilation": 3},
        {"padding": "same", "pad_mode": "reflect", "component": "complex"},
        {"shape": "gammatone", "window": "hann", "normalization": "energy"},
        {"shape": "pfnet", "component": "complex", "stride": 40},
    ],
)
def test_output_is_the_dense_sum_of_the_filters(options, rng, x64):
    layer = SincConv(**SMALL, **options, dtype=jnp.float64)
    waveform = rng.standard_normal((2, 3, 200))
    found, variables = jax.jit(layer.init_with_output)(KEY, jnp.asarray(waveform))
    filters = np.asarray(jax.jit(functools.partial(layer.apply, method="filters"))(variables))
    dilation, stride = options.get("dilation", 1), options.get("stride", 1)
    reach, padded = 30 * dilation + 1, waveform
    if layer.padding == "same":
        mode = "reflect" if "pad_mode" in options else "constant"
        padded = np.pad(waveform, [(0, 0), (0, 0), (reach // 2, reach // 2)], mode=mode)
    frames = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=-1)
    wanted = frames[..., ::stride, ::dilation] @ filters.T
    assert found.shape == wanted.shape
    assert found.shape[-2] == len(layer.frame_times(200))
    np.testing.assert_allclose(found, wanted, atol=1e-11)


def test_an_impulse_answers_at_the_frame_times():
    waveform = jnp.zeros(400, jnp.float32).at[200].set(1.0)
    for padding in ("valid", "same"):
        layer = SincConv(**SMALL, stride=10, padding=padding)
        frames, _ = jax.jit(layer.init_with_output)(KEY, waveform)
        peak = int(jnp.argmax(jnp.sum(frames**2, axis=-1)))
        assert abs(layer.frame_times(400)[peak] * 16_000 - 200) <= 5


@pytest.mark.quick(0)
def test_mixed_channels_start_as_their_mean_and_are_learned(rng):
    waveform = jnp.asarray(rng.standard_normal((2, 3, 100)), jnp.float32)
    plain = SincConv(**SMALL, component="complex", padding="same", stride=4)
    mixing = SincConv(**SMALL, component="complex", padding="same", stride=4, mix_channels=True)
    variables = jax.jit(mixing.init)(KEY, waveform)
    assert variables["params"]["mixing"].shape == (3, 6)
    apart = np.asarray(jax.jit(plain.apply)(jax.jit(plain.init)(KEY, waveform), waveform))
    assert _relative(jax.jit(mixing.apply)(variables, waveform), apart.mean(axis=1)) < 2e-6
    chosen = jnp.zeros((3, 6), jnp.float32).at[1].set(1.0)
    variables = {"params": {**variables["params"], "mixing": chosen}}
    assert _relative(jax.jit(mixing.apply)(variables, waveform), apart[:, 1]) < 2e-6
    with pytest.raises(ValueError, match=r"needs \[..., channels, time\]"):
        mixing.init(KEY, waveform[0, 0])


def test_low_pfnet_filters_are_the_integrals_of_their_polylines(rng):
    """1e-5 of a float64 integration, where the published form loses 1e-3 in float32."""
    layer = SincConv(
        num_filters=8,
        min_low_hz=0.0,
        min_band_hz=0.0,
        low_hz=5.0,
        high_hz=300.0,
        parametrization="mel",
        shape="pfnet",
        component="complex",
        window="rectangular",
    )
    params = dict(jax.jit(layer.init)(KEY, jnp.zeros(251, jnp.float32))["params"])
    params["heights"] = jnp.asarray(rng.uniform(-0.5, 0.5, (8, 5)), jnp.float32)
    params["gaps"] = jnp.asarray(rng.standard_normal((8, 4)), jnp.float32)
    filters = np.asarray(jax.jit(lambda p: layer.apply({"params": p}, method="filters"))(params))
    low, high = (
        np.float64(edge)
        for edge in jax.jit(functools.partial(layer.apply, method="bands"))({"params": params})
    )
    amplitudes, places = (
        np.asarray(value)
        for value in polyline.points(np.float64(params["heights"]), np.float64(params["gaps"]), np)
    )
    breakpoints = low[:, None] + (high - low)[:, None] * places
    assert np.all(np.diff(breakpoints) > 0)
    nodes, weights = np.polynomial.legendre.leggauss(40)
    share = (nodes + 1.0) / 2.0
    steps = np.diff(breakpoints)[..., None]
    frequency = breakpoints[:, :-1, None] + steps * share
    spectrum = amplitudes[:, :-1, None] + np.diff(amplitudes)[..., None] * share
    spectrum = spectrum * steps * weights / 2.0
    nu = 2 * np.pi * (np.arange(251) - 125) / 16_000
    wanted = np.einsum("bsnt,bsn->bt", np.exp(1j * frequency[..., None] * nu), spectrum)
    wanted /= np.sum(spectrum, axis=(1, 2))[:, None]
    assert np.max(np.abs(filters[:8] + 1j * filters[8:] - wanted)) < 1e-5

    single = np.float32(nu[:125])

    def published(f, slope, amplitude):
        f, slope, amplitude = (np.float32(value)[:, None] for value in (f, slope, amplitude))
        return slope * np.cos(f * single) / single**2 + amplitude * np.sin(f * single) / single

    found = np.zeros((8, 125), np.float32)
    for j in range(4):
        slope = (amplitudes[:, j + 1] - amplitudes[:, j]) / np.diff(breakpoints)[:, j]
        found += published(breakpoints[:, j + 1], slope, amplitudes[:, j + 1])
        found -= published(breakpoints[:, j], slope, amplitudes[:, j])
    found /= np.sum(spectrum, axis=(1, 2))[:, None].astype(np.float32)
    assert np.max(np.abs(found - np.real(wanted[:, :125]))) > 1e-3


def test_bands_and_frequencies_agree():
    for parametrization in ("hz", "mel", "normalized"):
        layer = SincConv(parametrization=parametrization, initial_scale="erb")
        variables = jax.jit(layer.init)(KEY, jnp.zeros(251, jnp.float32))
        low, high = jax.jit(functools.partial(layer.apply, method="bands"))(variables)
        np.testing.assert_allclose((low + high) / 2, layer.frequencies, rtol=1e-6)


@pytest.mark.quick(0)
def test_filters_move_with_mel_and_normalized_parameters():
    """A target bank 40 % higher: Adam at 1e-3 moves centres in Hz, at most 1e-3 Hz a step."""
    noise = jax.random.normal(KEY, (2, 400))
    target = SincConv(**SMALL, low_hz=200.0, stride=8, normalization="gain")
    wanted, _ = jax.jit(target.init_with_output)(KEY, noise)
    energies = jnp.mean(wanted**2, axis=-2)
    moved = {}
    for parametrization in ("hz", "mel", "normalized"):
        layer = SincConv(**SMALL, stride=8, normalization="gain", parametrization=parametrization)
        variables = jax.jit(layer.init)(KEY, noise)
        first = second = jax.tree.map(jnp.zeros_like, variables)

        def loss(variables, layer=layer):
            return jnp.mean((jnp.mean(layer.apply(variables, noise) ** 2, -2) - energies) ** 2)

        gradient = jax.jit(jax.grad(loss))
        start = sum(jax.jit(functools.partial(layer.apply, method="bands"))(variables))
        for step in range(1, 21):  # Adam
            slope = gradient(variables)
            first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, slope)
            second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g**2, second, slope)
            rate = 1e-3 * (1 - 0.999**step) ** 0.5 / (1 - 0.9**step)
            variables = jax.tree.map(
                lambda p, m, v, rate=rate: p - rate * m / (jnp.sqrt(v) + 1e-8),
                variables,
                first,
                second,
            )
        end = sum(jax.jit(functools.partial(layer.apply, method="bands"))(variables))
        moved[parametrization] = float(jnp.mean(jnp.abs(end - start)) / 2)
    assert moved["hz"] < 0.05
    assert moved["mel"] > 20 * moved["hz"]
    assert moved["normalized"] > 20 * moved["hz"]


@pytest.mark.quick(1)
@pytest.mark.parametrize("component", ["real", "complex"])
def test_gradients_are_finite_on_silence(component):
    layer = SincConv(component=component)
    waveform = jnp.zeros((1, 300), jnp.float32)
    variables = jax.jit(layer.init)(KEY, waveform)
    gradient = jax.jit(
        jax.grad(lambda v, x: jnp.sum(layer.apply(v, x) ** 2 + layer.apply(v, x)), argnums=(0, 1))
    )(variables, waveform)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_size": 250}, "kernel_size=250 must be odd .* use 251"),
        ({"padding": "full"}, "padding='full' is unknown"),
        ({"pad_mode": "reflect"}, "has no effect with padding='valid'"),
        ({"stride": 0}, "stride=0"),
        ({"min_band_hz": -1.0}, "must be 0 or more"),
        ({"high_hz": 9000.0}, "above half of sample_rate"),
        ({"initial_scale": "log", "low_hz": 0.0}, "low_hz=0"),
        ({"shape": "square"}, "shape='square'"),
        ({"window": "nothing"}, "window='nothing'"),
        ({"parametrization": "bark"}, "parametrization='bark'"),
    ],
)
def test_arguments_are_checked_at_construction(options, message):
    with pytest.raises(ValueError, match=message):
        SincConv(**options)


def test_bad_waveforms_are_refused(x64):
    with pytest.raises(TypeError, match="float64"):
        SincConv(dtype=jnp.float64).init(KEY, jnp.zeros(300, jnp.float32))
    with pytest.raises(ValueError, match="length=250 is shorter"):
        SincConv().init(KEY, jnp.zeros(250, jnp.float32))
    with pytest.raises(ValueError, match="num_filters=80"):
        SincConv().load_reference(np.zeros(3), np.zeros(3))
