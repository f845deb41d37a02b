"""Constant-Q layers: what they share, what trains, and faults of nnAudio that must not return."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from isincnet_jax.constant_q.layers import CQT, CQT1992, VQT, CQT1992v2
from isincnet_jax.constant_q.recursive import CQT2010, CQT2010v2

LAYERS = (CQT1992, CQT1992v2, CQT2010, CQT2010v2, VQT)
KEY = jax.random.key(0)
SMALL = {"sample_rate": 8000, "fmin": 220.0, "n_bins": 18, "bins_per_octave": 6, "hop_length": 100}


def relative(got, expected):
    got, expected = np.asarray(got), np.asarray(expected)
    return np.linalg.norm(got - expected) / np.linalg.norm(expected)


@functools.lru_cache
def small_clip():
    return np.random.default_rng(4).standard_normal((2, 1500)).astype(np.float32)


@pytest.mark.parametrize("layer_type", LAYERS)
def test_default_layer_runs_without_variables(layer_type):
    """nnAudio's default CQT1992 raises."""
    layer = layer_type()
    clip = np.zeros((2, 3, 2000), np.float32)
    assert jax.eval_shape(layer.init, KEY, clip[0, 0]) == {}
    result = jax.jit(layer.apply)({}, clip)
    assert result.shape == (2, 3, 4, 84)
    assert result.dtype == jnp.float32
    assert layer.frequencies.shape == (84,)
    np.testing.assert_allclose(layer.frame_times(2000), np.arange(4) * 512 / 22_050)


def test_the_default_cqt_is_cqt1992v2():
    assert CQT is CQT1992v2


@pytest.mark.parametrize(
    "rate",
    [8000, *(pytest.param(r, marks=pytest.mark.tail) for r in (16_000, 22_050, 44_100, 48_000))],
)
def test_440_hz_lands_in_bin_45_at_equal_levels(rate):
    """nnAudio's VQT has it in bin 57, its CQT2010v2 is 2.9 dB too loud, at 44.1 and 48 kHz."""
    time = np.arange(int(0.3 * rate)) / rate
    frequencies = 440.0 * 2.0 ** np.array([-1, 0, 1])
    for layer_type in (CQT1992v2, CQT2010v2, VQT):
        layer = layer_type(
            sample_rate=rate, fmin=55.0 * 2 ** (-9 / 12), hop_length=512, normalization_type="wrap"
        )
        clips = np.sin(2 * np.pi * frequencies[:, None] * time).astype(np.float32)
        result = np.asarray(jax.jit(layer.apply)({}, clips))
        middle = result[:, result.shape[1] // 2]
        assert [int(np.argmax(row)) for row in middle] == [33, 45, 57]
        levels_db = 20 * np.log10(middle.max(axis=1))
        assert np.all(np.abs(levels_db) < 0.1)


@pytest.mark.parametrize(
    ("layer_type", "hop"),
    [(CQT1992, 100), (CQT1992v2, 63), (CQT2010, 63), (CQT2010v2, 100), (VQT, 100)],
)
def test_training_starts_at_the_fixed_design(layer_type, hop):
    """Hops that 2^(octaves - 1) does not divide crash nnAudio."""
    arguments = {**SMALL, "hop_length": hop, "output_format": "complex", "norm": 2}
    fixed = layer_type(**arguments)
    trainable = layer_type(**arguments, trainable_kernels=True)
    variables = jax.jit(trainable.init)(KEY, small_clip())
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))
    expected = jax.jit(fixed.apply)({}, small_clip())
    # The fixed design of the direct layers is within 7e-6 of the full-rate kernels.
    assert relative(jax.jit(trainable.apply)(variables, small_clip()), expected) < 1e-5
    padded_kernels = functools.partial(jax.jit, static_argnames="method")
    kernels = np.asarray(padded_kernels(trainable.apply)(variables, method="padded_kernels"))
    design = fixed.bank.padded_wavelets()
    edge = (kernels.shape[1] - design.shape[1]) // 2
    inner = kernels[:, edge : edge + design.shape[1]]
    assert np.abs(inner - design).max() < 2e-3 * np.abs(design).max()
    np.testing.assert_allclose(
        np.asarray(padded_kernels(fixed.apply)({}, method="padded_kernels")), kernels, atol=1e-6
    )


@pytest.mark.quick(0)
@pytest.mark.parametrize("layer_type", [CQT1992, CQT1992v2, CQT2010, CQT2010v2])
def test_gradients_are_those_of_finite_differences(layer_type, x64):
    layer = layer_type(**{**SMALL, "n_bins": 9, "hop_length": 52}, trainable_kernels=True)
    clip = jnp.asarray(small_clip()[0, :600], jnp.float64)
    variables = jax.jit(layer.init)(KEY, clip)
    variables = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), variables)

    def loss(variables, clip):
        return jnp.mean(jax.jit(layer.apply)(variables, clip) ** 2)

    gradients = jax.jit(jax.grad(loss, (0, 1)))(variables, clip)
    rng = np.random.default_rng(9)
    step = jax.tree.map(
        lambda leaf: jnp.asarray(rng.standard_normal(leaf.shape)), (variables, clip)
    )
    size = 1e-6
    up = loss(*jax.tree.map(lambda a, b: a + size * b, (variables, clip), step))
    down = loss(*jax.tree.map(lambda a, b: a - size * b, (variables, clip), step))
    product = sum(jax.tree.leaves(jax.tree.map(lambda a, b: jnp.sum(a * b), gradients, step)))
    assert float(product) == pytest.approx(float(up - down) / (2 * size), rel=1e-5)


@pytest.mark.parametrize(
    ("layer_type", "output_format"),
    [
        (CQT1992v2, "magnitude"),
        (CQT1992v2, "phase"),
        (CQT2010v2, "magnitude"),
        (CQT2010v2, "power"),
        (CQT2010v2, "complex"),
    ],
)
def test_gradients_on_silence_are_finite(layer_type, output_format):
    """nnAudio's magnitude has NaN there."""
    layer = layer_type(**SMALL, output_format=output_format, trainable_kernels=True)
    silence = jnp.zeros(700)
    variables = jax.jit(layer.init)(KEY, silence)

    def loss(variables, clip):
        return jnp.sum(jnp.abs(layer.apply(variables, clip)) ** 2)

    for leaf in jax.tree.leaves(jax.jit(jax.grad(loss, (0, 1)))(variables, silence)):
        assert np.all(np.isfinite(np.asarray(leaf)))


@pytest.mark.quick(1)
@pytest.mark.parametrize("layer_type", [CQT1992v2, CQT2010v2])
@pytest.mark.parametrize("length", [1, 5512])
def test_short_clips_of_any_shape(layer_type, length):
    """nnAudio fails on 0.25 s and on several channels."""
    layer = layer_type(fmin=130.8, n_bins=24, output_format="complex")
    clip = np.random.default_rng(length).standard_normal((2, 1, length)).astype(np.float32)
    eager = jax.jit(layer.apply)({}, clip)
    assert eager.shape == (2, 1, 1 + length // 512, 24)
    # A clip of one sample is constant: far below all bins, where float32 rounding is what is left.
    jitted = jax.jit(lambda x: layer.apply({}, x))(clip)
    np.testing.assert_allclose(np.asarray(jitted), np.asarray(eager), atol=1e-5)
    alone = jax.jit(layer.apply)({}, clip[1, 0])
    np.testing.assert_allclose(np.asarray(alone), np.asarray(eager[1, 0]), atol=1e-5)


def test_frames_that_begin_at_multiples_of_the_hop():
    layer = CQT1992v2(**SMALL, center=False, output_format="complex")
    frame = layer.bank.frame_length
    clip = small_clip()[0]
    result = np.asarray(jax.jit(layer.apply)({}, clip))
    design = layer.bank.padded_wavelets()
    assert len(result) == 1 + (len(clip) - frame) // 100 == len(layer.frame_times(len(clip)))
    assert layer.frame_times(len(clip))[0] == frame // 2 / 8000
    expected = (clip[300 : 300 + frame] @ design.conj().T) * np.sqrt(layer.bank.lengths)
    assert relative(result[3], expected) < 1e-5
    with pytest.raises(ValueError, match="center=True"):
        layer.apply({}, clip[: frame - 1])


@pytest.mark.quick(0)
def test_every_argument_has_an_effect():
    """nnAudio accepts some and ignores them."""
    base = np.asarray(jax.jit(CQT2010v2(**SMALL).apply)({}, small_clip()))
    changes = [
        {"fmin": 230.0},
        {"filter_scale": 0.8},
        {"norm": 2},
        {"window": "hamming"},
        {"pad_mode": "constant"},
        {"normalization_type": "wrap"},
        {"q_convention": "nnaudio"},
        {"bins_per_octave": 7},
        {"output_format": "power"},
    ]
    for change in changes:
        layer = CQT2010v2(**{**SMALL, **change})
        other = np.asarray(jax.jit(layer.apply)({}, small_clip()))
        assert relative(other, base) > 1e-3, change
    assert CQT1992v2(sample_rate=8000, fmin=100.0, fmax=800.0).frequencies[-1] == pytest.approx(800)
    assert relative(jax.jit(VQT(**SMALL, gamma=30.0).apply)({}, small_clip()), base) > 1e-2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_bins": 200}, r"n_bins <= \d+"),
        ({"fmax": 900.0, "n_bins": 20}, "give one"),
        ({"hop_length": 0}, "hop_length"),
        ({"pad_mode": "mirror"}, "pad_mode"),
        ({"output_format": "Magnitude"}, "output_format"),
        ({"normalization_type": "none"}, "normalization_type"),
    ],
)
@pytest.mark.parametrize("layer_type", [CQT1992v2, CQT2010])
def test_impossible_layers_are_refused(layer_type, change, message):
    with pytest.raises(ValueError, match=message):
        layer_type(**change)


def test_integers_are_refused():
    with pytest.raises(TypeError, match="floating"):
        CQT().apply({}, np.zeros(4000, np.int16))


@pytest.mark.quick(0)
def test_kernels_need_a_fifth_of_the_memory_of_nnaudio():
    """252 MiB at 44.1 kHz, 36 bins per octave and 252 bins."""
    large = {"sample_rate": 44_100, "bins_per_octave": 36, "n_bins": 252}
    assert CQT1992v2(**large).kernel_bytes < 2 * 2**20
    assert CQT2010v2(**large).kernel_bytes < 4 * 2**20
    assert CQT1992v2(**large, trainable_kernels=True).kernel_bytes < 50 * 2**20
