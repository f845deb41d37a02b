"""SincNet as a Flax module: transforms, leading axes, gradients, learning and its errors."""

from __future__ import annotations

import functools
import re
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from isincnet_jax import (
    Analysis,
    DecoderSpec,
    FilterbankSpec,
    NotInvertibleWarning,
    SincNet,
    Synthesis,
    build_codec,
    frame_bounds,
    suggest_invertible,
)
from isincnet_jax.bank import design, projection
from isincnet_jax.bank import solve as decoding

UNIFORM = FilterbankSpec(sample_rate=8000, hop_length=8, num_bins=17, shape="none")
MEL = UNIFORM.replace(scale="mel", num_bins=24)
SPECS = {"uniform": UNIFORM, "mel": MEL, "mel reflect": MEL.replace(padding="reflect")}
LENGTH = 101


@functools.lru_cache
def build(spec, **options):
    model = SincNet(spec, **options)
    return model, jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 8), model.dtype))


def encode(spec, waveform, **options):
    model, variables = build(spec, **options)
    return jax.jit(functools.partial(model.apply, method="encode"))(variables, waveform)


def random(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_jit_equals_eager(spec, rng):
    model, variables = build(spec)
    waveform = jnp.asarray(random(rng, 2, LENGTH))
    # Fused multiplications round differently: a few float32 ulp of sums of unit size.
    np.testing.assert_allclose(
        jax.jit(model.apply)(variables, waveform),
        jax.jit(model.apply)(variables, waveform),
        atol=5e-6,
    )


@pytest.mark.quick(3)
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("leading", [(), (3,), (2, 2)])
def test_leading_axes_are_independent_clips(spec, leading, rng):
    waveform = random(rng, *leading, LENGTH)
    model, variables = build(spec)
    grid = spec.bank.frame_grid(LENGTH)
    coefficients = jax.jit(functools.partial(model.apply, method="encode"))(
        variables, jnp.asarray(waveform)
    )
    assert coefficients.shape == (*leading, grid.num_frames, spec.num_channels)
    decoded = jax.jit(functools.partial(model.apply, length=LENGTH, method="decode"))(
        variables, coefficients
    )
    assert decoded.shape == waveform.shape
    np.testing.assert_allclose(decoded, waveform, atol=1e-5)
    flat = waveform.reshape(-1, LENGTH)
    last = encode(spec, jnp.asarray(flat[-1]))
    np.testing.assert_allclose(coefficients.reshape(len(flat), *last.shape)[-1], last, atol=1e-6)


def test_vmap_equals_a_batch(rng):
    model, variables = build(UNIFORM)
    waveform = jnp.asarray(random(rng, 3, LENGTH))
    one = functools.partial(model.apply, variables, method="encode")
    np.testing.assert_allclose(jax.vmap(one)(waveform), one(waveform), atol=1e-6)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_encoding_is_linear(spec, rng):
    first, second = jnp.asarray(random(rng, 1, LENGTH)), jnp.asarray(random(rng, 1, LENGTH))
    mixed = encode(spec, jnp.float32(0.5) * first - jnp.float32(2.0) * second)
    expected = 0.5 * np.asarray(encode(spec, first)) - 2.0 * np.asarray(encode(spec, second))
    np.testing.assert_allclose(mixed, expected, atol=5e-6)


def test_channels_are_cosines_then_sines():
    time = np.arange(200)
    cosine = np.cos(2 * np.pi * 1000.0 / 8000 * time).astype(np.float32)
    frame = np.asarray(encode(UNIFORM, jnp.asarray(cosine)))[15]  # sample 8 * (15 - 1): phase 0
    bin_1000 = 4  # 17 bins, 250 Hz apart
    assert np.argmax(np.abs(frame[:17])) == bin_1000
    assert abs(frame[17 + bin_1000]) < 1e-2 * abs(frame[bin_1000])


def test_encoding_runs_on_eight_devices(rng):
    assert jax.device_count() == 8
    model, variables = build(UNIFORM)
    waveform = jnp.asarray(random(rng, 8, 1, LENGTH))
    parallel = jax.pmap(
        lambda variables, x: model.apply(variables, x, method="encode"), in_axes=(None, 0)
    )
    found = parallel(variables, waveform)
    assert len(found.devices()) == 8
    np.testing.assert_allclose(found, encode(UNIFORM, waveform), atol=1e-6)


@pytest.mark.quick(3)
@pytest.mark.parametrize("learnable", [False, True])
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_gradients_are_finite_on_silence(spec, learnable):
    model, variables = build(spec, learnable_filters=learnable, learnable_decoder=learnable)

    def loss(variables, waveform):
        return jnp.mean(jnp.abs(model.apply(variables, waveform) - waveform))

    gradients = jax.jit(jax.grad(loss, argnums=(0, 1)))(variables, jnp.zeros((1, LENGTH)))
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradients))


@pytest.mark.quick(1)
@pytest.mark.parametrize("spec", [UNIFORM, MEL.replace(shape="gauss")], ids=["uniform", "mel"])
def test_gradients_of_a_waveform_loss_match_finite_differences(x64, rng, spec):
    model, variables = build(
        spec, learnable_filters=True, learnable_decoder=True, dtype=jnp.float64
    )
    params = variables["params"]
    waveform = jnp.asarray(rng.standard_normal((1, 40)))
    wanted = jnp.asarray(rng.standard_normal((1, 40)))
    bins = spec.num_bins
    moves = {
        "center": ("analysis", "center", (bins,)),
        "bandwidth": ("analysis", "bandwidth", (bins,)),
        "kernels": ("synthesis", "kernels", params["synthesis"]["kernels"].shape),
    }

    @jax.jit
    def loss(params, waveform):
        output = model.apply({**variables, "params": params}, waveform)
        return jnp.sum((output - wanted) ** 2)

    gradients, to_waveform = jax.jit(jax.grad(loss, argnums=(0, 1)))(params, waveform)
    step = 1e-6
    for module, name, shape in moves.values():
        direction = jnp.asarray(rng.standard_normal(shape))

        def moved(sign, module=module, name=name, direction=direction):
            values = params[module][name] + sign * step * direction
            return float(loss({**params, module: {**params[module], name: values}}, waveform))

        numeric = (moved(1) - moved(-1)) / (2 * step)
        exact = float(jnp.sum(gradients[module][name] * direction))
        # Central differences: the third derivative times 1e-12, and rounding of 1e-15 / step.
        assert exact == pytest.approx(numeric, rel=1e-5, abs=1e-6)
    direction = jnp.asarray(rng.standard_normal((1, 40)))
    numeric = float(
        loss(params, waveform + step * direction) - loss(params, waveform - step * direction)
    ) / (2 * step)
    assert float(jnp.sum(to_waveform * direction)) == pytest.approx(numeric, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("changes", [{}, {"scale": "mel"}, {"component": "real"}, {"causal": True}])
def test_learnable_filters_start_as_the_fixed_ones(changes, rng):
    spec = UNIFORM.replace(shape="sinc", **changes)
    analysis = Analysis(spec, learnable=True)
    variables = jax.jit(analysis.init)(jax.random.key(0), jnp.zeros((1, 8)))
    filters = jax.jit(functools.partial(analysis.apply, method="filters"))(variables)
    expected = spec.bank.kernels
    # 1e-6 of the largest tap for float32 rounding, centres rounded to float32 included.
    np.testing.assert_allclose(filters, expected, rtol=0, atol=1e-6 * np.abs(expected).max())
    waveform = jnp.asarray(random(rng, 1, LENGTH))
    fixed = Analysis(spec)
    reference = jax.jit(fixed.apply)(jax.jit(fixed.init)(jax.random.key(0), waveform), waveform)
    np.testing.assert_allclose(jax.jit(analysis.apply)(variables, waveform), reference, atol=3e-6)


def test_learnable_filters_are_two_numbers_per_bin():
    _, variables = build(MEL, learnable_filters=True)
    shapes = jax.tree.map(jnp.shape, variables["params"])
    assert shapes == {"analysis": {"center": (24,), "bandwidth": (24,)}}


@pytest.mark.parametrize("spec", [UNIFORM, MEL], ids=["uniform", "mel"])
def test_learnable_decoder_starts_exact(spec, rng):
    model, variables = build(spec, learnable_decoder=True)
    waveform = random(rng, 1, LENGTH)
    assert set(variables["params"]) == {"synthesis"}
    np.testing.assert_allclose(
        jax.jit(model.apply)(variables, jnp.asarray(waveform)), waveform, atol=1e-5
    )


@pytest.mark.parametrize("changes", [{"tight": True}, {"dialect": "0.5", "padding": "reflect"}])
def test_filters_that_follow_no_parameters_cannot_be_learned(changes):
    spec = UNIFORM.replace(**changes)
    with pytest.raises(ValueError, match="such filters cannot be learned"):
        Analysis(spec, learnable=True).init(jax.random.key(0), jnp.zeros((1, 8)))


@pytest.mark.parametrize("spec", [UNIFORM, MEL], ids=["uniform", "mel"])
def test_tight_bank_preserves_energy_and_inverts(spec, rng):
    tight = spec.replace(tight=True)
    model, variables = build(tight)
    waveform = random(rng, 1, LENGTH)
    coefficients = jax.jit(functools.partial(model.apply, method="encode"))(
        variables, jnp.asarray(waveform)
    )
    # Tails of 1e-16 of the energy are cut; float32 sums of 1e4 squares.
    assert float(jnp.sum(coefficients**2)) == pytest.approx(np.sum(waveform**2), rel=1e-5)
    decoded = jax.jit(functools.partial(model.apply, length=LENGTH, method="decode"))(
        variables, coefficients
    )
    np.testing.assert_allclose(decoded, waveform, atol=1e-5)
    assert decoding.design_decoder(tight).method == "adjoint"


LOSSY = {
    "mel": UNIFORM.replace(scale="mel", num_bins=7),
    "linear": UNIFORM.replace(num_bins=4),
    "real": UNIFORM.replace(component="real", num_bins=7, scale="erb"),
    "real causal": UNIFORM.replace(component="real", causal=True, num_bins=7, shape="sinc"),
}


@pytest.mark.quick(1)
@pytest.mark.parametrize("spec", LOSSY.values(), ids=LOSSY)
def test_bank_that_cannot_be_inverted_warns_with_remedies_that_work(spec, rng):
    assert frame_bounds(spec).condition > design.INVERTIBLE_CONDITION
    model = SincNet(spec)
    with pytest.warns(NotInvertibleWarning, match="cannot be inverted") as caught:
        variables = model.init(jax.random.key(0), jnp.zeros((1, 9)))
    message = str(caught[0].message)
    found = suggest_invertible(spec)
    for name, value in found._asdict().items():
        if value is None:  # even filters see the even part of a constant block only: see below
            assert name == "num_bins"
            assert spec == LOSSY["real"]
            assert name + " >=" not in message
            continue
        assert re.search(rf"{name} [<>]= {value}\b", message)
        step = -1 if name == "num_bins" else 1
        mended = frame_bounds(spec.replace(**{name: value})).condition
        too_few = frame_bounds(spec.replace(**{name: value + step})).condition
        assert mended <= design.INVERTIBLE_CONDITION < too_few
    # The best linear decoder still returns most of it.
    waveform = random(rng, 1, 400)
    decoded = np.asarray(jax.jit(model.apply)(variables, jnp.asarray(waveform)))
    assert 0.05 < np.sqrt(np.mean((decoded - waveform) ** 2)) < 0.9


def test_no_number_of_symmetric_real_filters_is_a_frame(rng):
    """Cosines about a frame's position annihilate blocks that are odd around it."""
    spec = LOSSY["real"].replace(num_bins=200)
    hop, center = spec.hop_length, spec.taps // 2
    odd = np.sin(2 * np.pi * (np.arange(spec.taps) - center) / hop)  # repeats every hop
    bank = spec.bank.kernels
    # float64 sums of 33 products that cancel in pairs.
    np.testing.assert_allclose(bank @ odd, 0.0, atol=1e-15)
    assert frame_bounds(spec).condition == float("inf")


def test_suggested_bins_decode_without_a_warning(rng):
    spec = LOSSY["mel"]
    mended = spec.replace(num_bins=suggest_invertible(spec).num_bins)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model, variables = build(mended)
    waveform = random(rng, 1, LENGTH)
    found = np.asarray(jax.jit(model.apply)(variables, jnp.asarray(waveform)))
    # Conditions of up to 1e6 take 60 of float32's 140 dB.
    assert np.sqrt(np.mean((found - waveform) ** 2)) < 1e-3


def test_invertible_spec_is_its_own_suggestion():
    assert suggest_invertible(UNIFORM) == (UNIFORM.num_bins, UNIFORM.hop_length)


@pytest.mark.parametrize("kind", ["least_squares", "dual"])
def test_exact_decoders_of_a_lossy_bank_are_refused(kind):
    model = SincNet(LOSSY["mel"], DecoderSpec(kind))
    with pytest.raises(ValueError, match=r"cannot be inverted .*kind='wiener'"):
        model.init(jax.random.key(0), jnp.zeros((1, 9)))


@pytest.mark.parametrize("kind", ["least_squares", "dual", "wiener"])
def test_every_kind_of_decoder_inverts_a_good_bank(kind, rng):
    decoder = DecoderSpec(kind, noise_variance=1e-12)
    model, variables = build(MEL, decoder=decoder)
    waveform = random(rng, 1, LENGTH)
    found = jax.jit(model.apply)(variables, jnp.asarray(waveform))
    np.testing.assert_allclose(found, waveform, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "best"}, "decoder kind='best' is unknown; use auto"),
        ({"num_frames": 0}, "num_frames=0 must be at least 1"),
        ({"kind": "free"}, "kind='free' needs num_frames and first_frame"),
    ],
)
def test_impossible_decoders_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        DecoderSpec(**options)


def test_noise_variance_must_fit_the_channels():
    decoder = DecoderSpec("wiener", noise_variance=(1e-3, 1e-3))
    with pytest.raises(ValueError, match="noise_variance has 2 entries"):
        decoding.design_decoder(UNIFORM, decoder)


def test_free_decoder_starts_at_zero():
    decoder = DecoderSpec("free", num_frames=3, first_frame=-1)
    model, variables = build(UNIFORM, decoder=decoder, learnable_decoder=True)
    assert variables["params"]["synthesis"]["kernels"].shape == (34, 24)
    np.testing.assert_array_equal(jax.jit(model.apply)(variables, jnp.ones((1, 30))), 0.0)


@pytest.mark.parametrize("dtype", [jnp.int16, jnp.int32])
def test_integer_samples_are_refused_with_the_remedy(dtype):
    with pytest.raises(TypeError, match=r"floating samples .* pcm16 / 32768.0"):
        encode(UNIFORM, jnp.zeros((1, 30), dtype))


def test_other_float_types_are_refused():
    with pytest.raises(TypeError, match="float16 but the layer works in float32"):
        encode(UNIFORM, jnp.zeros((1, 30), jnp.float16))
    model, variables = build(UNIFORM)
    with pytest.raises(TypeError, match="decode codes with their quantizer first"):
        model.apply(variables, jnp.zeros((1, 9, 34), jnp.int32), method="decode")


@pytest.mark.parametrize("shape", [(1, 0), ()])
def test_waveform_without_samples_is_refused(shape):
    with pytest.raises(ValueError, match="the last axis is time and needs a sample"):
        encode(UNIFORM, jnp.zeros(shape))


@pytest.mark.parametrize(
    ("shape", "length", "message"),
    [
        ((1, 9, 33), None, r"expected \[..., frames, 34 channels\]"),
        ((34,), None, r"expected \[..., frames, 34 channels\]"),
        ((1, 9, 34), 999, r"length=999 has 128 frames of hop_length=8, but the .* has 9"),
        ((1, 2, 34), None, "num_frames=2: a clip of one sample already has more frames"),
    ],
)
def test_spectrogram_that_does_not_fit_is_refused(shape, length, message):
    model, variables = build(UNIFORM)
    with pytest.raises(ValueError, match=message):
        model.apply(variables, jnp.zeros(shape), length=length, method="decode")


def test_analysis_and_synthesis_alone_are_the_two_halves(rng):
    waveform = jnp.asarray(random(rng, 1, LENGTH))
    analysis, synthesis = Analysis(MEL), Synthesis(MEL)
    coefficients = jax.jit(analysis.apply)(
        jax.jit(analysis.init)(jax.random.key(0), waveform), waveform
    )
    np.testing.assert_array_equal(coefficients, encode(MEL, waveform))
    variables = synthesis.init(jax.random.key(0), coefficients, LENGTH)
    decoded = synthesis.apply(variables, coefficients, LENGTH)
    np.testing.assert_allclose(decoded, waveform, atol=1e-5)


def test_projection_approximates_the_other_bank(rng):
    model, variables = build(UNIFORM, projections=("mel",))
    waveform = np.cumsum(random(rng, 1, 800), axis=1)  # falling spectrum, as the model has it
    waveform = jnp.asarray(waveform - waveform.mean(), jnp.float32)
    found = model.apply(variables, waveform, scale="mel", method="encode")
    imitated = encode(projection.target_spec(UNIFORM, "mel"), waveform)
    error = np.linalg.norm(found - imitated) / np.linalg.norm(imitated)
    assert error < 0.1
    assert error < 0.5 * np.linalg.norm(encode(UNIFORM, waveform) - imitated) / np.linalg.norm(
        imitated
    )


def test_projection_and_back_keeps_most_of_the_signal(rng):
    model, variables = build(UNIFORM, projections=("mel",))
    waveform = np.cumsum(random(rng, 1, 800), axis=1)
    waveform = jnp.asarray(waveform - waveform.mean(), jnp.float32)
    mel = model.apply(variables, waveform, scale="mel", method="encode")
    decoded = model.apply(variables, mel, length=800, scale="mel", method="decode")
    assert np.linalg.norm(decoded - waveform) < 0.2 * np.linalg.norm(waveform)


def test_own_scale_needs_no_projection_and_others_must_be_listed(rng):
    model, variables = build(UNIFORM)
    waveform = jnp.asarray(random(rng, 1, 50))
    np.testing.assert_allclose(  # one is compiled as a whole, the other is not
        model.apply(variables, waveform, scale="lin", method="encode"),
        encode(UNIFORM, waveform),
        atol=1e-6,
    )
    with pytest.raises(ValueError, match=r"this model offers linear; list others"):
        model.apply(variables, waveform, scale="mel", method="encode")


def test_codec_casts_numpy_float64_and_knows_its_frames(rng):
    codec = build_codec(SincNet(UNIFORM))
    waveform = rng.standard_normal(LENGTH)
    coefficients = codec.encode(waveform)
    assert coefficients.dtype == jnp.float32
    assert coefficients.shape[-2] == codec.num_frames(LENGTH)
    times = codec.frame_times_s(LENGTH)
    assert len(times) == codec.num_frames(LENGTH)
    np.testing.assert_allclose(np.diff(times), 8 / 8000)
    assert times[0] <= 0 <= LENGTH / 8000 <= times[-1] + 33 / 8000
    np.testing.assert_allclose(codec.decode(coefficients, length=LENGTH), waveform, atol=1e-5)


def test_codec_is_a_pytree(rng):
    codec = build_codec(SincNet(UNIFORM))
    waveform = jnp.asarray(random(rng, 1, 50))
    through_jit = jax.jit(lambda codec, x: codec.encode(x))(codec, waveform)
    np.testing.assert_allclose(through_jit, codec.encode(waveform), atol=1e-6)
    leaves, structure = jax.tree.flatten(codec)
    assert jax.tree.unflatten(structure, leaves).spec == codec.spec


LEARNED = {"learnable_filters": True, "learnable_decoder": True}


@pytest.mark.tail
def test_a_learnable_window_starts_as_the_specs_and_multiplies_it(rng):
    model, variables = build(MEL, **LEARNED, window_terms=2)
    plain, others = build(MEL, **LEARNED)
    filters = functools.partial(model.apply, method="filters")
    same = jax.jit(functools.partial(plain.apply, method="filters"))(others)
    np.testing.assert_array_equal(variables["params"]["analysis"]["window"], np.zeros(2))
    np.testing.assert_allclose(filters(variables), same, atol=1e-7)
    changed = jax.tree.map(lambda leaf: leaf, variables)
    changed["params"]["analysis"]["window"] = jnp.asarray([0.3, -0.1])
    taps = MEL.taps
    turn = 2 * np.pi * (np.arange(taps) - taps // 2) / (taps - 1)
    expected = np.asarray(same) * (1 + 0.3 * np.cos(turn) - 0.1 * np.cos(2 * turn))
    found = np.asarray(filters(changed))
    audible = np.linalg.norm(expected, axis=1) > 0  # a sine of 0 Hz is not
    assert np.sum(audible) >= MEL.num_channels - 2
    np.testing.assert_array_equal(found[~audible], 0.0)
    # The kernels are normalised after the window.
    found, expected = (
        bank[audible] / np.linalg.norm(bank[audible], axis=1, keepdims=True)
        for bank in (found, expected)
    )
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("options", [{"window_terms": -1, **LEARNED}, {"window_terms": 2}])
def test_a_learnable_window_needs_learnable_filters(options):
    with pytest.raises(ValueError, match="a learnable window has 1 term or more and needs"):
        build(MEL, **options)


def test_bfloat16_is_for_the_products_of_the_decoder_only(rng):
    model, variables = build(MEL, **LEARNED, compute_dtype=jnp.bfloat16)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype(jnp.float32)}
    waveform = jnp.asarray(random(rng, 2, LENGTH))
    plain, _ = build(MEL, **LEARNED)
    coded = jax.jit(functools.partial(model.apply, method="encode"))(variables, waveform)
    np.testing.assert_array_equal(
        coded, jax.jit(functools.partial(plain.apply, method="encode"))(variables, waveform)
    )
    decoded = jax.jit(functools.partial(model.apply, length=LENGTH, method="decode"))(
        variables, coded
    )
    assert decoded.dtype == jnp.float32
    error = np.linalg.norm(decoded - waveform) / np.linalg.norm(waveform)
    assert 1e-4 < error < 2e-2  # 8 bits of each factor, not 24


@pytest.mark.parametrize("projections", [(), ("mel",)])
def test_fixed_codecs_are_built_without_a_program(projections, compilations):
    """Their variables are those that Flax's ``init`` makes by running the model."""
    spec = FilterbankSpec(sample_rate=8000, hop_length=8, num_bins=9, shape="none")
    model = SincNet(spec, projections=projections)
    traced = model.init(jax.random.key(3), jnp.zeros((1, 80)))
    with compilations() as durations:
        codec = build_codec(model)
    assert len(durations) == 0
    assert jax.tree.structure(codec.variables) == jax.tree.structure(traced)
    for found, wanted in zip(
        jax.tree.leaves(codec.variables), jax.tree.leaves(traced), strict=True
    ):
        np.testing.assert_array_equal(found, wanted)


def test_learned_codecs_start_as_before():
    spec = FilterbankSpec(sample_rate=8000, hop_length=8, num_bins=9, shape="none")
    model = SincNet(spec, learnable_filters=True, learnable_decoder=True, window_terms=2)
    codec = build_codec(model, key=jax.random.key(3))
    traced = jax.jit(model.init)(jax.random.key(3), jnp.zeros((1, 80)))
    assert jax.tree.structure(codec.variables) == jax.tree.structure(traced)
    for found, wanted in zip(
        jax.tree.leaves(codec.variables), jax.tree.leaves(traced), strict=True
    ):
        np.testing.assert_array_equal(found, wanted)
