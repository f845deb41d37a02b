"""Filters whose every tap is learned: where they start, what they keep, and their exact inverse."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from isincnet_jax import FilterbankSpec, NotInvertibleWarning, SincNet, build_codec, plots
from isincnet_jax.bank import design, learned_inverse
from isincnet_jax.bank import solve as decoding
from isincnet_jax.bank.codec import Codec
from isincnet_jax.bank.dsp import frame_theory, shapes
from isincnet_jax.classifiers.networks import SincNetClassifier
from isincnet_jax.frontends import measured_bands
from isincnet_jax.frontends.sinc_conv import SincConv
from isincnet_jax.pretrained import stored
from isincnet_jax.pretrained.folder import export_pretrained

KEY = jax.random.key(0)
SMALL = {"num_filters": 6, "kernel_size": 31}
LINEAR = FilterbankSpec(sample_rate=8000, hop_length=8, num_bins=17, shape="sinc")
ERB = FilterbankSpec(sample_rate=8000, hop_length=8, num_bins=40, scale="erb", shape="gauss")


@functools.lru_cache(maxsize=1)
def _noise():
    return np.random.default_rng(5).standard_normal((2, 700)).astype(np.float32)


def _snr_db(expected, found):
    error = np.sum((np.asarray(found, np.float64) - expected) ** 2)
    return 10 * np.log10(np.sum(np.asarray(expected, np.float64) ** 2) / error)


def _round_trip_db(model, variables, waveform=None):
    waveform = _noise() if waveform is None else waveform
    return _snr_db(waveform, jax.jit(model.apply)(variables, waveform))


def _start(model, waveform=None):
    return jax.jit(model.init)(KEY, _noise() if waveform is None else waveform)


def _perturbed(variables, amount, seed=1):
    """Learned parameters moved by noise relative to their largest value, as a training does."""
    rng = np.random.default_rng(seed)

    def move(leaf):
        size = amount * np.max(np.abs(leaf))
        return leaf + (size * rng.standard_normal(leaf.shape)).astype(leaf.dtype)

    moved = jax.tree.map(move, variables["params"]["analysis"])
    return {**variables, "params": {**variables["params"], "analysis": moved}}


# The autoencoder.


@pytest.mark.quick(5)
@pytest.mark.parametrize("shape", shapes.SHAPES)
def test_taps_start_as_the_bank_and_its_decoder_is_exact(shape):
    spec = ERB.replace(shape=shape)
    model = SincNet(spec, learnable_filters="free")
    variables = _start(model)
    taps = variables["params"]["analysis"]["taps"]
    assert taps.shape == (80, spec.taps)
    np.testing.assert_array_equal(taps, spec.bank.kernels.astype(np.float32))
    # Conditions of up to 1e4 cost a few digits of the 130 dB of well-conditioned banks.
    well_conditioned = design.frame_bounds(spec).condition < 10
    assert _round_trip_db(model, variables) > (120 if well_conditioned else 105)


@pytest.mark.parametrize(
    "changes", [{"tight": True}, {"dialect": "0.5", "shape": "none"}, {"component": "real"}]
)
def test_banks_that_follow_no_parameters_can_be_freed(changes):
    if changes.get("component") == "real":
        changes = {**changes, "causal": True, "num_bins": 24}
    spec = LINEAR.replace(**changes)
    model = SincNet(spec, learnable_filters="free")
    variables = _start(model)
    assert variables["params"]["analysis"]["taps"].shape == spec.bank.kernels.shape
    fixed = SincNet(spec)
    wanted = jax.jit(fixed.apply)(_start(fixed), _noise())
    np.testing.assert_allclose(jax.jit(model.apply)(variables, _noise()), wanted, atol=3e-6)


@pytest.mark.quick(2)
@pytest.mark.parametrize("learnable_decoder", [False, True])
@pytest.mark.parametrize("spec", [LINEAR, ERB, LINEAR.replace(tight=True)])
def test_round_trip_of_learned_taps_is_exact(spec, learnable_decoder):
    """At least 120 dB in float32, where the decoder of the start has less than 40."""
    model = SincNet(spec, learnable_filters="free", learnable_decoder=learnable_decoder)
    variables = _perturbed(_start(model), 0.03)
    filters = np.asarray(
        jax.jit(functools.partial(model.apply, method="filters"))(variables), np.float64
    )
    assert frame_theory.frame_bounds_of_kernels(filters, hop_length=8).condition < 20
    assert _round_trip_db(model, variables) < 40
    solved_model, solved = learned_inverse.with_exact_decoder(model, variables)
    np.testing.assert_array_equal(
        jax.jit(functools.partial(solved_model.apply, method="filters"))(solved), filters
    )
    assert learned_inverse.solve_decoder(model, variables).residual < 1e-11
    for length in (700, 37, 1):
        clip = _noise()[:, :length]
        assert _round_trip_db(solved_model, solved, clip) > 120, length


def test_round_trip_of_trained_taps_is_exact():
    """Gradient descent on taps: coefficients of little energy, for an exact inverse later."""
    model = SincNet(LINEAR, learnable_filters="free")
    variables = _start(model)
    held = {name: tree for name, tree in variables.items() if name != "params"}

    @jax.jit
    def step(params):
        def loss(params):
            coefficients = model.apply({**held, "params": params}, _noise(), method="encode")
            return jnp.mean(jnp.sqrt(coefficients**2 + 1e-4))

        return jax.tree.map(lambda p, g: p - 3e-2 * g, params, jax.grad(loss)(params))

    params = variables["params"]
    for _ in range(5):
        params = step(params)
    trained = {**held, "params": params}
    change = params["analysis"]["taps"] - variables["params"]["analysis"]["taps"]
    assert np.max(np.abs(change)) > 1e-3
    assert _round_trip_db(model, trained) < 60
    codec = Codec(*learned_inverse.with_exact_decoder(model, trained))
    again = codec.decode(codec.encode(_noise()), length=700)
    assert _snr_db(_noise(), again) > 120


def test_a_solved_codec_of_learned_taps_can_be_stored(tmp_path):
    model = SincNet(LINEAR, learnable_filters="free")
    variables = _perturbed(_start(model), 0.03)
    codec = Codec(*learned_inverse.with_exact_decoder(model, variables))
    loaded = stored.read_model(export_pretrained(codec, tmp_path / "model")).restore()
    assert loaded.model == codec.model
    again = loaded.decode(loaded.encode(_noise()), length=700)
    assert _snr_db(_noise(), again) > 120


@pytest.mark.quick(0)
def test_learned_centres_and_bandwidths_have_their_exact_decoder_too():
    for shape in ("sinc", "pfnet"):
        model = SincNet(LINEAR.replace(shape=shape), learnable_filters=True)
        variables = _perturbed(_start(model), 0.01)
        assert _round_trip_db(model, variables) < 60
        assert _round_trip_db(*learned_inverse.with_exact_decoder(model, variables)) > 120


def test_training_can_go_on_from_the_solved_decoder():
    model = SincNet(LINEAR, learnable_filters="free", learnable_decoder=True)
    variables = _perturbed(_start(model), 0.03)
    model, variables = learned_inverse.with_exact_decoder(model, variables)
    again_model, again = learned_inverse.with_exact_decoder(model, variables)
    assert again_model.decoder == model.decoder
    kernels = again["params"]["synthesis"]["kernels"]
    np.testing.assert_allclose(kernels, variables["params"]["synthesis"]["kernels"], atol=1e-6)
    gradient = jax.jit(jax.grad(lambda v: jnp.sum(again_model.apply(v, _noise()) ** 2)))(again)
    assert np.any(np.asarray(gradient["params"]["analysis"]["taps"]) != 0)


def test_learned_filters_that_cannot_be_inverted_say_so():
    model = SincNet(LINEAR, learnable_filters="free")
    variables = _start(model)
    taps = variables["params"]["analysis"]["taps"]
    variables["params"]["analysis"]["taps"] = taps.at[3:].set(0.0)
    with pytest.warns(NotInvertibleWarning, match="the filters in use cannot be inverted"):
        solved = learned_inverse.solve_decoder(model, variables)
    assert solved.is_wiener
    with pytest.raises(ValueError, match="kind='wiener'"):
        learned_inverse.solve_decoder(model, variables, decoding.DecoderSpec("least_squares"))
    for value in (0.0, np.nan):
        variables["params"]["analysis"]["taps"] = jnp.full_like(taps, value)
        with pytest.raises(ValueError, match="0 throughout or have taps that are not finite"):
            learned_inverse.solve_decoder(model, variables)
    with pytest.raises(ValueError, match="padding='reflect'"):
        learned_inverse.with_exact_decoder(SincNet(LINEAR.replace(padding="reflect")), {})


def test_causal_taps_stay_causal_and_clips_keep_their_frames():
    spec = LINEAR.replace(causal=True, window="hann")
    model = SincNet(spec, learnable_filters="free")
    fixed = SincNet(spec)
    variables = _perturbed(_start(model), 0.05)
    filters = jax.jit(functools.partial(model.apply, method="filters"))(variables)
    np.testing.assert_array_equal(filters[:, spec.taps // 2 + 1 :], 0.0)
    np.testing.assert_array_equal(filters[:, 0], 0.0)  # as the window's first tap
    wanted = jax.eval_shape(lambda x: fixed.init_with_output(KEY, x, method="encode")[0], _noise())
    found = jax.jit(functools.partial(model.apply, method="encode"))(variables, _noise())
    assert found.shape == wanted.shape
    early = _noise().copy()
    early[:, 400:] = 0.0
    others = jax.jit(functools.partial(model.apply, method="encode"))(variables, early)
    grid = spec.bank.frame_grid(700)
    before = 400 // 8 - grid.first
    np.testing.assert_allclose(others[:, :before], found[:, :before], atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learnable_filters": "taps"}, "learnable='taps' is unknown; use False, True"),
        ({"learnable_filters": "free", "window_terms": 2}, "needs learnable=True"),
    ],
)
def test_bad_arguments_are_refused_at_construction(options, message):
    with pytest.raises(ValueError, match=message):
        SincNet(LINEAR, **options)


# The classifier's front end.


@pytest.mark.quick(3)
@pytest.mark.parametrize("component", ["real", "complex"])
@pytest.mark.parametrize("initial_shape", [None, "gammatone", "pfnet"])
def test_sincconv_starts_free_filters_as_its_bands(component, initial_shape):
    options = {**SMALL, "component": component, "stride": 4, "normalization": "gain"}
    free = SincConv(**options, shape="free", initial_shape=initial_shape)
    bands = SincConv(**options, shape=initial_shape or "sinc")
    found, variables = jax.jit(free.init_with_output)(KEY, _noise())
    wanted, others = jax.jit(bands.init_with_output)(KEY, _noise())
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    taps = variables["params"]["taps"]
    assert set(variables["params"]) == {"taps"}
    assert taps.shape == ((6 if component == "real" else 12), 31)
    wanted = jax.jit(functools.partial(bands.apply, method="filters"))(others)
    np.testing.assert_allclose(taps, wanted, atol=1e-6)


def test_every_free_tap_has_its_own_gradient(rng, x64):
    """The folded products of symmetric filters would give mirrored taps the same."""
    layer = SincConv(num_filters=16, kernel_size=65, shape="free", dtype=jnp.float64)
    waveform = jnp.asarray(rng.standard_normal(400))
    variables = _start(layer, waveform)
    weights = jnp.asarray(rng.standard_normal((400 - 64, 16)))

    @jax.jit
    def gradient(variables):
        return jax.grad(lambda v: jnp.sum(weights * layer.apply(v, waveform)))(variables)

    found = gradient(variables)["params"]["taps"]
    seen = np.lib.stride_tricks.sliding_window_view(np.asarray(waveform), 65)
    np.testing.assert_allclose(found, weights.T @ seen, rtol=1e-12, atol=1e-11)


@pytest.mark.quick(0)
def test_bands_of_free_filters_are_measured(rng):
    layer = SincConv(kernel_size=1001, shape="free")
    variables = _start(layer, jnp.zeros(1001, jnp.float32))
    low, high = jax.jit(lambda v: layer.apply(v, method="bands"))(variables)
    bands = SincConv(kernel_size=1001)
    wanted_low, wanted_high = jax.jit(functools.partial(bands.apply, method="bands"))(
        _start(bands, jnp.zeros(1001))
    )
    np.testing.assert_allclose((low + high) / 2, (wanted_low + wanted_high) / 2, rtol=2e-3)
    # The window rounds the edges, over 16 Hz here: less of the power of narrow bands lies there.
    width, wanted = np.asarray(high - low), np.asarray(wanted_high - wanted_low)
    np.testing.assert_allclose(width, wanted, atol=14, rtol=0)
    silent = measured_bands.measured_bands(jnp.zeros((2, 31)), sample_rate=8000)
    np.testing.assert_allclose(silent, [[0.0, 0.0], [4000.0, 4000.0]])


def test_a_trained_sincconv_fast_can_be_freed(golden):
    stored = golden("sincconv_fast_80x251_16000hz_stride160")
    layer = SincConv(shape="free", stride=160)
    loaded = layer.load_reference(stored["perturbed_low_hz_"], stored["perturbed_band_hz_"])
    assert np.max(np.abs(loaded["taps"] - stored["perturbed_filters"])) < 3e-6


def test_free_filters_in_the_published_classifier_learn():
    model = SincNetClassifier(
        3,
        num_filters=(6, 4),
        kernel_sizes=(31, 5),
        pool_sizes=(3, 3),
        hidden=(8,),
        shape="free",
    )
    variables = _start(model, _noise())
    assert variables["params"]["frontend"]["taps"].shape == (6, 31)

    @jax.jit
    def gradient(params, waveform):
        def loss(params):
            return jnp.sum(model.apply({**variables, "params": params}, waveform) ** 2)

        return jax.grad(loss)(params)

    slopes = gradient(variables["params"], _noise())["frontend"]["taps"]
    assert np.all(np.isfinite(slopes))
    assert np.all(np.any(np.asarray(slopes) != 0, axis=1))
    silent = gradient(variables["params"], np.zeros_like(_noise()))
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(silent))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"initial_shape": "gauss"}, "initial_shape='gauss' has no effect with shape='sinc'"),
        ({"shape": "free", "initial_shape": "box"}, "shape='box' is unknown"),
        ({"shape": "box"}, "use one of none, .*, free"),
    ],
)
def test_bad_shapes_of_a_sincconv_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SincConv(**options)


# Pictures.


def test_free_filters_are_drawn_like_all_others():
    """plot_filterbank takes kernels; those of a complex bank are cosines and i times sines."""
    codec = build_codec(SincNet(LINEAR, learnable_filters="free"))
    cosines, sines = np.split(
        np.asarray(
            jax.jit(functools.partial(codec.model.apply, method="filters"))(codec.variables)
        ),
        2,
    )
    figure = plots.plot_filterbank(
        cosines + 1j * sines, sample_rate=8000, center_hz=LINEAR.center_hz, title="free"
    )
    drawn = figure.axes[1].lines
    assert len(drawn) == 17
    # The loudest frequency of the fifth filter is its centre, 1000 Hz; the axis is in kHz.
    assert drawn[4].get_xdata()[np.argmax(drawn[4].get_ydata())] == pytest.approx(1.0, abs=0.02)
    layer = SincConv(shape="free")
    variables = _start(layer, jnp.zeros(251, jnp.float32))
    low, high = jax.jit(functools.partial(layer.apply, method="bands"))(variables)
    filters = np.asarray(jax.jit(functools.partial(layer.apply, method="filters"))(variables))
    middles = np.asarray(low + high) / 2
    figure = plots.plot_filterbank(filters, sample_rate=16_000, center_hz=middles)
    assert len(figure.axes[1].lines) == 1 + 7  # the envelope of all, and some
    assert "of 80" in figure.axes[1].get_title()
