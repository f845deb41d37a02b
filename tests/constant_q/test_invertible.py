"""The layers of the invertible constant-Q transforms: formats, gradients, refusals."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isincnet_jax.constant_q.invertible import InvertibleCQT, SlicedCQT
from isincnet_jax.dsp.formats import OUTPUT_FORMATS

SMALL = {
    "sample_rate": 8000,
    "fmin": 500.0,
    "n_bins": 10,
    "bins_per_octave": 4,
    "hop_length": 6,
}
LAYERS = [InvertibleCQT, SlicedCQT]
LAYOUTS = ["matrix", "ragged"]


def _snr_db(expected, found):
    expected, found = np.asarray(expected, np.float64), np.asarray(found, np.float64)
    return 10 * np.log10(np.sum(expected**2) / max(np.sum((expected - found) ** 2), 1e-300))


@pytest.mark.parametrize("kind", LAYERS)
def test_no_variables(kind):
    layer = kind(**SMALL)
    assert jax.jit(layer.init)(jax.random.key(0), jnp.zeros(100)) == {}


@settings(max_examples=6)
@given(
    kind=st.sampled_from(LAYERS),
    layout=st.sampled_from(LAYOUTS),
    output_format=st.sampled_from(OUTPUT_FORMATS),
    batch=st.sampled_from([(), (2,), (2, 3)]),
    length=st.sampled_from([1, 2, 131, 1000]),
)
def test_decode_of_encode_is_the_clip(kind, layout, output_format, batch, length):
    """Whatever the output format, of mono, batches and channels (nnAudio takes no channels)."""
    layer = kind(**SMALL, layout=layout, output_format=output_format)
    clip = np.random.default_rng(length).standard_normal((*batch, length)).astype(np.float32)
    coefficients = jax.jit(functools.partial(layer.apply, method="encode"))({}, clip)
    assert all(a.dtype == jnp.complex64 for a in jax.tree.leaves(coefficients))
    found = jax.jit(functools.partial(layer.apply, length=length, method="decode"))(
        {}, coefficients
    )
    assert found.dtype == jnp.float32
    assert found.shape == clip.shape
    assert _snr_db(clip, found) > 122


@pytest.mark.parametrize("kind", LAYERS)
def test_double_precision(kind, x64, rng):
    layer = kind(**SMALL)
    clip = rng.standard_normal(500)
    coefficients = jax.jit(functools.partial(layer.apply, method="encode"))({}, clip)
    assert coefficients.dtype == jnp.complex128
    found = jax.jit(functools.partial(layer.apply, length=500, method="decode"))({}, coefficients)
    assert _snr_db(clip, found) > 280


@pytest.mark.parametrize("kind", LAYERS)
def test_shapes_frequencies_and_times_agree(kind):
    for layout in LAYOUTS:
        layer = kind(**SMALL, layout=layout, output_format="magnitude")
        found = jax.tree.leaves(jax.jit(layer.apply)({}, jnp.ones((2, 700))))
        times = jax.tree.leaves(layer.frame_times(700))
        assert [a.shape[1] for a in found] == [len(t) for t in times]
        assert sum(a.shape[-1] for a in found) == len(layer.frequencies) == len(layer.bandwidths)
        assert times[-1][1] == 6 / 8000
    frequencies = layer.frequencies
    assert frequencies[0] == 0
    assert frequencies[-1] == 4000
    assert np.all(np.diff(frequencies) > 0)
    expected = 500 * 2 ** (np.arange(10) / 4)
    np.testing.assert_allclose(frequencies[layer.constant_q_bins], expected)
    quality = expected / layer.bandwidths[layer.constant_q_bins]
    np.testing.assert_allclose(quality, 2 / (2**0.25 - 2**-0.25))


@pytest.mark.quick(4)
@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("output_format", OUTPUT_FORMATS)
def test_gradients_on_silence_are_finite(kind, output_format):
    """nnAudio's magnitudes have NaN gradients there."""
    layer = kind(**SMALL, output_format=output_format)

    def loss(clip):
        return jnp.sum(jnp.abs(jnp.real(jax.jit(layer.apply)({}, clip)) + 0.1) ** 2)

    assert np.all(np.isfinite(jax.jit(jax.grad(loss))(jnp.zeros(300))))


@pytest.mark.quick(1)
@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_gradients_are_finite_differences(kind, layout, x64, rng):
    """Through analysis, magnitudes and synthesis."""
    layer = kind(**SMALL, layout=layout)
    clip, direction = rng.standard_normal((2, 200))
    weights = rng.standard_normal(200)

    def loss(x):
        coefficients = layer.apply({}, x, method="encode")
        louder = jax.tree.map(lambda c: c * jnp.abs(c).astype(c.dtype), coefficients)
        return jnp.vdot(weights, layer.apply({}, louder, length=200, method="decode"))

    slope = jnp.vdot(jax.jit(jax.grad(loss))(clip), direction)
    step = 1e-5
    difference = (loss(clip + step * direction) - loss(clip - step * direction)) / (2 * step)
    np.testing.assert_allclose(slope, difference, rtol=1e-6)


@pytest.mark.parametrize("kind", LAYERS)
def test_jitted_is_eager(kind, rng):
    layer = kind(**SMALL, output_format="magnitude")
    clip = rng.standard_normal((2, 555)).astype(np.float32)
    eager = jax.jit(layer.apply)({}, clip)
    jitted = jax.jit(lambda x: layer.apply({}, x))(clip)
    np.testing.assert_allclose(jitted, eager, atol=1e-6)


@pytest.mark.quick(0)
def test_every_attribute_has_an_effect(rng):
    """nnAudio accepts arguments and ignores them."""
    clip = rng.standard_normal(400).astype(np.float32)
    base = {**SMALL, "layout": "matrix"}
    changes = {
        "sample_rate": 9000,
        "hop_length": 5,
        "fmin": 510.0,
        "n_bins": 9,
        "bins_per_octave": 5,
        "gamma": 10.0,
        "window": "cosine",
        "tight": True,
        "normalization": "energy",
        "layout": "ragged",
        "output_format": "magnitude",
        "slice_length": 480,
        "transition_length": 33,
    }
    before = layer_output(SlicedCQT(**base), clip)
    for name, value in changes.items():
        after = layer_output(SlicedCQT(**{**base, name: value}), clip)
        assert before.shape != after.shape or not np.allclose(before, after, atol=1e-7), name
    limited = SlicedCQT(**{**base, "n_bins": None, "fmax": 1000.0})
    assert len(limited.frequencies[limited.constant_q_bins]) == 5


def layer_output(layer, clip):
    found = jax.tree.leaves(jax.jit(layer.apply)({}, clip))
    return np.concatenate([np.asarray(a).ravel() for a in found])


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_bins_per_octave_may_be_a_list(kind, layout, rng):
    """Of the lowest octave first; the layer keeps a tuple, as jitted functions hash it."""
    options = {**SMALL, "n_bins": None, "hop_length": None, "layout": layout}
    layer = kind(**{**options, "bins_per_octave": [4, 6]})
    assert layer == kind(**{**options, "bins_per_octave": (4, 6)})
    assert hash(layer) == hash(kind(**{**options, "bins_per_octave": (4, 6)}))
    centers = layer.frequencies[layer.constant_q_bins]
    expected = [500 * 2 ** (o + i / b) for o, b in enumerate((4, 6)) for i in range(b)]
    np.testing.assert_allclose(centers, expected)
    clip = rng.standard_normal((2, 700)).astype(np.float32)
    coefficients = jax.jit(functools.partial(layer.apply, method="encode"))({}, clip)
    found = layer.apply({}, coefficients, length=700, method="decode")
    assert _snr_db(clip, found) > 122


def test_bounds_and_redundancy():
    layer = InvertibleCQT(window="cosine")
    assert 1 < layer.frame_bounds(22_050).condition < 1.1
    assert InvertibleCQT(tight=True).frame_bounds(1).condition == pytest.approx(1, abs=1e-9)
    assert 2 < InvertibleCQT(layout="ragged").redundancy(220_500) < 4
    sliced = SlicedCQT(tight=True)
    assert sliced.frame_bounds().condition == pytest.approx(1, abs=1e-9)
    assert sliced.frame_bounds(5) == sliced.frame_bounds()
    assert 4 < SlicedCQT(layout="ragged").redundancy(2_205_000) < 8


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output_format": "db"}, "output_format='db'"),
        ({"layout": "octaves"}, "layout='octaves'"),
        ({"n_bins": 500}, "n_bins <= "),
        ({"bins_per_octave": [12, 24]}, "has 36; use n_bins=None"),
        ({"bins_per_octave": [12, 0]}, "for every octave"),
        ({"hop_length": 1000}, "hop_length <= "),
    ],
)
def test_wrong_attributes_are_refused_at_construction(kind, options, message):
    with pytest.raises(ValueError, match=message):
        kind(**options)


def test_wrong_slices_are_refused_at_construction():
    with pytest.raises(ValueError, match="slice_length=1000"):
        SlicedCQT(slice_length=1000)


@pytest.mark.parametrize("kind", LAYERS)
def test_wrong_data_is_refused(kind):
    layer = kind(**SMALL)
    with pytest.raises(TypeError, match="floating"):
        layer.apply({}, jnp.zeros(100, jnp.int16))
    with pytest.raises(ValueError, match="needs a sample"):
        layer.apply({}, jnp.zeros((2, 0)))
    coefficients = jax.jit(functools.partial(layer.apply, method="encode"))({}, jnp.ones(100))
    with pytest.raises(TypeError, match="phase retrieval"):
        layer.apply({}, jnp.abs(coefficients), length=100, method="decode")
