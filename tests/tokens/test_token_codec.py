"""Token codecs against their linear parts and dense solvers; lengths, silence, gradients."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import isincnet_jax as isn
from isincnet_jax.dsp import companding
from isincnet_jax.tokens import weighted_decoding
from isincnet_jax.tokens.token_codec import TokenCodec

SPEC = isn.FilterbankSpec(sample_rate=8000, hop_length=8, num_bins=9, shape="none")
SMALL = {"width": 8, "num_blocks": 1}
# The ends in every run, what lies between in slow ones.
BITS = [2, pytest.param(4, marks=pytest.mark.tail), 8]


def signal(rng, *shape):
    time = np.arange(shape[-1])
    tone = np.sin(2 * np.pi * 0.031 * time) * np.exp(-time / shape[-1])
    return (0.3 * tone + 0.02 * rng.standard_normal(shape)).astype(np.float32)


def build(model, waveform, *, stir=0.0):
    """The model's variables; ``stir`` adds noise to the parameters, as training would."""
    variables = dict(jax.jit(model.init)(jax.random.key(0), jnp.asarray(waveform)))
    if stir and "params" in variables:
        leaves, tree = jax.tree.flatten(variables["params"])
        keys = jax.random.split(jax.random.key(1), len(leaves))
        pairs = zip(leaves, keys, strict=True)
        variables["params"] = jax.tree.unflatten(
            tree, [leaf + stir * jax.random.normal(key, leaf.shape) for leaf, key in pairs]
        )
    return variables


@functools.cache
def _learned(q_bits):
    model = TokenCodec(SPEC, q_bits=q_bits, iterations_before=1, iterations_after=2, **SMALL)
    return model, build(model, np.zeros((1, 50), np.float32), stir=0.1)


def snr_db(target, prediction):
    error = np.asarray(prediction, np.float64) - target
    return 10 * np.log10(np.sum(np.square(target, dtype=np.float64)) / np.sum(error**2))


@pytest.mark.quick(0)
@pytest.mark.parametrize("q_bits", [*BITS, pytest.param(12, marks=pytest.mark.tail)])
def test_codes_are_the_quantizers(q_bits, rng):
    waveform = signal(rng, 2, 300)
    model, variables = _learned(q_bits)
    tokens = jax.jit(functools.partial(model.apply, method="encode"))(variables, waveform)
    codec = isn.build_codec(isn.SincNet(SPEC))
    spectrogram = codec.encode(waveform)
    quantizer = codec.quantizer(q_bits=q_bits).fit(spectrogram)
    # Compiled apart from each other, coefficients differ by a rounding here and there.
    np.testing.assert_allclose(tokens.scales, quantizer.scale, rtol=1e-5)
    difference = np.abs(np.asarray(tokens.codes) - np.asarray(quantizer.encode(spectrogram)))
    assert np.max(difference[..., np.asarray(quantizer.scale)[0, 0] > 1e-6]) <= 1
    assert np.mean(difference != 0) < 0.01


@pytest.mark.quick(1)
@pytest.mark.parametrize("q_bits", BITS)
def test_without_iterations_and_training_it_decodes_centres_linearly(q_bits, rng):
    waveform = signal(rng, 2, 300)
    model = TokenCodec(SPEC, q_bits=q_bits, iterations_before=0, iterations_after=0, **SMALL)
    variables = build(model, waveform)
    codes, scales = jax.jit(functools.partial(model.apply, method="encode"))(variables, waveform)
    center, _ = weighted_decoding.code_cells(codes, scales, q_bits=q_bits, mu=30.0)
    expected = isn.build_codec(isn.SincNet(SPEC)).decode(center, length=300)
    found = jax.jit(functools.partial(model.apply, length=300, method="decode"))(
        variables, codes, scales
    )
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.tail
def test_untrained_it_is_the_weighted_least_squares_of_its_cells(rng):
    waveform = signal(rng, 80)
    plain = TokenCodec(SPEC, q_bits=4, num_blocks=None, iterations_before=80, iterations_after=0)
    refined = TokenCodec(SPEC, q_bits=4, iterations_before=40, iterations_after=60, **SMALL)
    variables = build(refined, waveform)
    assert "params" not in build(plain, waveform)
    codes, scales = jax.jit(functools.partial(plain.apply, method="encode"))(
        build(plain, waveform), waveform
    )
    filterbank = {"filterbank": variables["filterbank"]}
    analysis = isn.build_codec(isn.SincNet(SPEC))
    matrix = np.stack([np.asarray(analysis.encode(row)).ravel() for row in np.eye(80, dtype="f4")])
    matrix = matrix.T.astype(np.float64)
    scale = np.asarray(scales, np.float64)
    level = np.asarray(codes) - 7
    edges = [np.clip((level + side) / 7, -1, 1) for side in (-0.5, 0.5)]
    low, high = (scale * np.sign(y) * (31 ** np.abs(y) - 1) / 30 for y in edges)
    finest = 1e-3 * (31 ** (0.5 / 7) - 1) / 30 * np.max(scale)
    weight = (1 / ((high - low) ** 2 / 12 + finest**2)).ravel()
    target = ((low + high) / 2).ravel()
    expected = np.linalg.solve(matrix.T @ (weight[:, None] * matrix), matrix.T @ (weight * target))
    for model, chosen in ((plain, filterbank), (refined, variables)):
        found = jax.jit(model.apply)(chosen, waveform)
        # Float32 conjugate gradients on weights that span eight decades.
        assert snr_db(expected, found) > 40


@pytest.mark.quick(0)
def test_weights_beat_the_linear_decoder_and_training_helps(rng):
    waveform = signal(rng, 4, 1200)
    linear = isn.build_codec(isn.SincNet(SPEC))
    model = TokenCodec(SPEC, q_bits=4, iterations_before=2, iterations_after=3, **SMALL)
    variables = build(model, waveform)
    codes, scales = jax.jit(functools.partial(model.apply, method="encode"))(variables, waveform)
    values = scales * companding.decode_symmetric(codes, q_bits=4, mu=30.0)
    start = snr_db(waveform, linear.decode(values, length=1200))

    def loss(params):
        again = model.apply({**variables, "params": params}, waveform)
        return jnp.log(jnp.mean((again - waveform) ** 2))

    @jax.jit
    def descend(params):
        gradient = jax.grad(loss)(params)
        norm = jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(gradient)))
        return jax.tree.map(lambda p, g: p - 0.05 * g / norm, params, gradient)

    params = variables["params"]
    weighted = snr_db(waveform, jax.jit(model.apply)(variables, waveform))
    assert weighted > start + 0.3
    for _ in range(40):
        params = descend(params)
    trained = snr_db(waveform, jax.jit(model.apply)({**variables, "params": params}, waveform))
    assert trained > weighted + 0.3


@pytest.mark.quick(0)
@pytest.mark.parametrize("q_bits", BITS)
def test_targets_lie_in_their_cells(q_bits, rng):
    waveform = signal(rng, 2, 200)
    model, variables = _learned(q_bits)
    codes, scales = jax.jit(functools.partial(model.apply, method="encode"))(variables, waveform)
    estimate = jax.jit(functools.partial(model.apply, length=200, method="estimate"))(
        variables, codes, scales
    )
    unit = jnp.max(scales, axis=-1, keepdims=True)
    center, half = weighted_decoding.code_cells(codes, scales / unit, q_bits=q_bits, mu=30.0)
    assert np.any(np.abs(estimate.target - center) > 0.01 * half)
    assert np.all(np.abs(estimate.target - center) <= half * (1 + 1e-5) + 1e-7)
    assert np.all(np.asarray(estimate.precision) > 0)
    recoded = companding.encode_symmetric(
        jnp.where(half > 1e-6, estimate.target * unit / scales, 0.0), q_bits=q_bits, mu=30.0
    )
    # All but values that float32 puts on the very edge of their cell.
    assert np.mean(np.asarray(recoded != codes)[np.asarray(half) > 1e-6]) < 1e-3


@pytest.mark.quick(0)
@settings(max_examples=4)  # every length is compiled anew
@given(length=st.integers(1, 90), batch=st.sampled_from([(), (1,), (2, 3)]))
def test_any_length_and_any_batch_axes(length, batch):
    model, variables = _learned(4)
    rng = np.random.default_rng(length)
    waveform = signal(rng, *batch, length)
    again = jax.jit(model.apply)(variables, waveform)
    assert again.shape == waveform.shape
    assert again.dtype == jnp.float32
    assert np.all(np.isfinite(again))


@pytest.mark.quick(0)
def test_clips_do_not_see_each_other(rng):
    waveform = signal(rng, 3, 120) * np.array([1.0, 1e-3, 0.0], np.float32)[:, None]
    model, variables = _learned(4)
    together = jax.jit(model.apply)(variables, waveform)
    one_by_one = jax.jit(jax.vmap(model.apply, in_axes=(None, 0)))(variables, waveform)
    np.testing.assert_allclose(one_by_one[0], together[0], atol=1e-4)
    np.testing.assert_allclose(one_by_one[1], together[1], atol=1e-7)
    # 1000 times softer: the same codes, so the same waveform 1000 times softer.
    softer = jax.jit(model.apply)(variables, waveform[:1] * np.float32(2**-10))
    np.testing.assert_allclose(softer[0] * 2**10, together[0], atol=1e-4)


@pytest.mark.quick(0)
@pytest.mark.parametrize("padding", ["zeros", pytest.param("reflect", marks=pytest.mark.tail)])
def test_silence_stays_silent_with_finite_gradients(padding):
    model = TokenCodec(SPEC.replace(padding=padding), q_bits=4, **SMALL)
    silence = jnp.zeros((2, 100)).at[1, 50].set(0.5)
    variables = build(model, silence, stir=0.1)

    def loss(params, waveform):
        again = model.apply({**variables, "params": params}, waveform)
        error = again - waveform
        return jnp.sum(jnp.log(jnp.sum(error**2, axis=-1) + 1e-9)), again

    gradient = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))
    gradients, again = gradient(variables["params"], silence)
    assert np.max(np.abs(again[0])) < 1e-20
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradients))


@pytest.mark.quick(0)
def test_half_precision_blocks_keep_float32_filters(rng):
    waveform = signal(rng, 2, 200)
    model = TokenCodec(SPEC, q_bits=4, compute_dtype=jnp.bfloat16, **SMALL)
    variables = build(model, waveform, stir=0.05)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype(jnp.float32)}
    exact = jax.jit(TokenCodec(SPEC, q_bits=4, **SMALL).apply)(variables, waveform)
    found = jax.jit(model.apply)(variables, waveform)
    assert found.dtype == jnp.float32
    assert not np.array_equal(found, exact)
    assert snr_db(exact, found) > 20


def test_variables_are_sorted_into_collections(rng):
    _, variables = _learned(4)
    assert set(variables) == {"params", "filterbank"}
    assert set(variables["params"]) == {"refiner", "level_shift", "level_log_precision"}


@pytest.mark.quick(0)
def test_scales_may_be_one_per_channel(rng):
    waveform = signal(rng, 2, 100)
    model, variables = _learned(4)
    codes, scales = jax.jit(functools.partial(model.apply, method="encode"))(variables, waveform)
    common = jnp.max(scales, axis=(0, 1))
    spread = jnp.broadcast_to(common, scales.shape)
    np.testing.assert_allclose(
        jax.jit(functools.partial(model.apply, length=100, method="decode"))(
            variables, codes, common
        ),
        jax.jit(functools.partial(model.apply, length=100, method="decode"))(
            variables, codes, spread
        ),
        atol=1e-5,
    )


def test_impossible_codecs_and_codes_are_refused(rng):
    waveform = signal(rng, 1, 100)
    for options, message in (
        ({"q_bits": 1}, "q_bits=1"),
        ({"mu": 0.0}, "mu="),
        ({"iterations_after": -1}, "iterations_after=-1"),
    ):
        with pytest.raises(ValueError, match=message):
            build(TokenCodec(SPEC, **{**SMALL, **options}), waveform)
    model, variables = _learned(4)
    codes, scales = jax.jit(functools.partial(model.apply, method="encode"))(variables, waveform)
    decode = functools.partial(model.apply, variables, method="decode")
    with pytest.raises(TypeError, match="integers"):
        decode(codes.astype(jnp.float32), scales, length=100)
    with pytest.raises(ValueError, match="length=900"):
        decode(codes, scales, length=900)
    plain = TokenCodec(SPEC, num_blocks=None)
    with pytest.raises(ValueError, match="no refiner"):
        plain.apply(build(plain, waveform), codes, scales, length=100, method="estimate")
