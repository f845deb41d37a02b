"""Refined decoders against their linear parts; lengths, silence, gradients."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import isincnet_jax as isn
from isincnet_jax.tokens.refined_decoder import RefinedDecoder, center_rotation, magnitudes

SPEC = isn.FilterbankSpec(sample_rate=8000, hop_length=8, num_bins=9, shape="none")
LOSSY = isn.FilterbankSpec(sample_rate=8000, hop_length=8, num_bins=4, scale="mel")
WIENER = isn.DecoderSpec(kind="wiener")
SMALL = {"width": 8, "num_blocks": 1}


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


def snr_db(target, prediction):
    error = np.asarray(prediction, np.float64) - target
    return 10 * np.log10(np.sum(np.square(target, dtype=np.float64)) / np.sum(error**2))


# Banks that lose information.


def test_it_starts_as_the_linear_decoder(rng):
    waveform = signal(rng, 2, 300)
    model = RefinedDecoder(LOSSY, decoder=WIENER, iterations=0, **SMALL)
    expected = isn.build_codec(isn.SincNet(LOSSY, WIENER))
    found = jax.jit(model.apply)(build(model, waveform), waveform)
    again = expected.decode(expected.encode(waveform), length=300)
    np.testing.assert_allclose(found, again, atol=1e-6)
    assert snr_db(waveform, found) < 60


@pytest.mark.quick(0)
def test_least_squares_bring_it_back_to_what_was_observed(rng):
    waveform = signal(rng, 300)
    errors = []
    for iterations in (0, 2, 8):
        model = RefinedDecoder(LOSSY, decoder=WIENER, iterations=iterations, **SMALL)
        variables = build(model, waveform, stir=0.1)
        observed = jax.jit(functools.partial(model.apply, method="encode"))(variables, waveform)
        decoded = jax.jit(functools.partial(model.apply, length=300, method="decode"))(
            variables, observed
        )
        again = jax.jit(functools.partial(model.apply, method="encode"))(variables, decoded)
        errors.append(float(jnp.mean((again - observed) ** 2)))
    assert errors[0] > 10 * errors[1] > 10 * errors[2] * 2


# Magnitudes.


def test_magnitudes_are_moduli_with_finite_gradients(rng):
    values = rng.standard_normal((4, 10)).astype(np.float32)
    np.testing.assert_allclose(
        magnitudes(jnp.asarray(values)), np.hypot(values[:, :5], values[:, 5:]), rtol=1e-6
    )
    gradient = jax.jit(jax.grad(lambda s: jnp.sum(magnitudes(s))))(jnp.zeros((4, 10)))
    np.testing.assert_array_equal(gradient, 0.0)


def test_tones_at_centres_turn_as_stated():
    spec = SPEC.replace(padding="reflect")
    frequency = spec.centers_and_bandwidths()[0][3] / spec.sample_rate
    time = np.arange(400)
    codec = isn.build_codec(isn.SincNet(spec))
    found = np.asarray(codec.encode(np.cos(2 * np.pi * frequency * time).astype(np.float32)))
    cosine, sine = center_rotation(spec, len(found))
    inside = slice(10, -10)
    size = np.hypot(found[inside, 3], found[inside, 12])
    np.testing.assert_allclose(found[inside, 3] / size, cosine[inside, 3], atol=1e-3)
    # The sine channel correlates with exp(+i w n), so that its sign follows the phase's.
    turned = found[inside, 12] / size
    assert min(np.max(np.abs(turned - sign * sine[inside, 3])) for sign in (1, -1)) < 1e-3


@pytest.mark.quick(0)
def test_projections_bring_magnitudes_nearer(rng):
    waveform = signal(rng, 400)
    tight = SPEC.replace(tight=True)  # whose projections are orthogonal, so that errors only fall
    errors = []
    for iterations in (0, 5, 40):
        model = RefinedDecoder(tight, "magnitudes", iterations=iterations, **SMALL)
        variables = build(model, waveform)
        observed = jax.jit(functools.partial(model.apply, method="encode"))(variables, waveform)
        assert observed.shape[-1] == SPEC.num_bins
        decoded = jax.jit(functools.partial(model.apply, length=400, method="decode"))(
            variables, observed
        )
        again = jax.jit(functools.partial(model.apply, method="encode"))(variables, decoded)
        errors.append(float(jnp.sum((again - observed) ** 2) / jnp.sum(observed**2)))
    assert errors[0] > errors[1] > errors[2]


@pytest.mark.quick(0)
@pytest.mark.parametrize(
    "model",
    [
        RefinedDecoder(LOSSY, decoder=WIENER, **SMALL),
        RefinedDecoder(SPEC, "magnitudes", **SMALL),
        pytest.param(
            RefinedDecoder(SPEC, "magnitudes", compute_dtype=jnp.bfloat16, **SMALL),
            marks=pytest.mark.tail,
        ),
    ],
)
def test_refined_decoders_take_any_length_and_silence(model, rng):
    variables = build(model, np.zeros((1, 40), np.float32), stir=0.05)

    @jax.jit
    def loss_and_output(params, waveform):
        again = model.apply({**variables, "params": params}, waveform)
        return jnp.sum(again**2), again

    gradient = jax.jit(jax.grad(loss_and_output, argnums=(0, 1), has_aux=True))
    for shape in ((1,), (2, 1, 57)):
        for waveform in (jnp.zeros(shape), jnp.asarray(signal(rng, *shape))):
            gradients, again = gradient(variables["params"], waveform)
            assert again.shape == shape
            if not np.any(waveform):
                assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradients))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"observation": "phases"}, "phases"),
        ({"spec": SPEC.replace(component="real"), "observation": "magnitudes"}, "complex"),
        ({"iterations": -1}, "iterations=-1"),
        ({"working_spec": SPEC.replace(hop_length=4)}, "must coincide"),
        ({"working_spec": SPEC.replace(component="real")}, "must be complex"),
    ],
)
def test_impossible_refined_decoders_are_refused(options, message):
    model = RefinedDecoder(**{"spec": SPEC, **SMALL, **options})
    with pytest.raises(ValueError, match=message):
        model.init(jax.random.key(0), jnp.zeros((1, 40)))
