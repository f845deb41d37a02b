"""Filterbanks on any scale, of whole clips and of slices: exact, and what dense algebra says."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isincnet_jax.constant_q.dsp import nonstationary_gabor as gabor
from isincnet_jax.constant_q.dsp.gabor_spec import NORMALIZATIONS
from isincnet_jax.constant_q.dsp.nonuniform_spec import NonuniformSpec
from isincnet_jax.constant_q.nonuniform_bank import NonuniformBank, SlicedNonuniformBank

LAYERS = [NonuniformBank, SlicedNonuniformBank]
LAYOUTS = ["matrix", "ragged"]
SCALES = ["mel", "mel_htk", "erb", "bark", "linear", "log"]
RATE = 8000
SMALL = {"sample_rate": RATE, "num_bins": 12}
# 400 Hz beside 2000 Hz: padded clips of some hundred samples, which dense algebra can hold.
CENTERS = (300, 700, 1000, 3000)


def _snr_db(expected, found):
    expected, found = np.asarray(expected, np.float64), np.asarray(found, np.float64)
    return 10 * np.log10(np.sum(expected**2) / max(np.sum((expected - found) ** 2), 1e-300))


def _round_trip_db(layer, clip):
    length = clip.shape[-1]

    @jax.jit
    def both(clip):
        return layer.decode(layer.encode(clip), length=length)

    found = both(clip)
    assert found.shape == clip.shape
    return _snr_db(clip, found)


# --- exactness ---------------------------------------------------------------------------------


@settings(max_examples=4)
@given(
    kind=st.sampled_from(LAYERS),
    scale=st.sampled_from(SCALES),
    length=st.one_of(st.integers(1, 40), st.sampled_from([997, 4096, 7919])),
    layout=st.sampled_from(LAYOUTS),
    num_bins=st.integers(8, 64),
    tight=st.booleans(),
    window=st.sampled_from(["hann", "cosine"]),
    normalization=st.sampled_from(NORMALIZATIONS),
)
def test_every_clip_comes_back(kind, length, num_bins, **options):
    layer = kind(sample_rate=RATE, num_bins=num_bins, **options)
    noise = np.random.default_rng(length).standard_normal(length).astype(np.float32)
    assert _round_trip_db(layer, noise) > 126


@settings(max_examples=3)
@given(
    kind=st.sampled_from(LAYERS),
    centers=st.lists(st.integers(0, 40), min_size=2, max_size=8, unique=True),
    length=st.integers(1, 3000),
    layout=st.sampled_from(LAYOUTS),
)
def test_any_centres_come_back(kind, centers, length, layout):
    layer = kind(sample_rate=RATE, center_hz=sorted(100 * c for c in centers), layout=layout)
    noise = np.random.default_rng(length).standard_normal(length).astype(np.float32)
    assert _round_trip_db(layer, noise) > 126


@pytest.mark.quick(0)
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("kind", LAYERS)
def test_scales_come_back_at_every_length(kind, scale):
    for sample_rate, bins in ((16_000, 128), (44_100, 64)):
        for layout in LAYOUTS:
            layer = kind(sample_rate=sample_rate, num_bins=bins, scale=scale, layout=layout)
            for length in (1, 2, 5, 127, 4095, 30_011):
                rng = np.random.default_rng(length)
                noise = rng.standard_normal(length).astype(np.float32)
                edges = np.zeros((2, length), np.float32)
                edges[0, 0] = edges[1, -1] = 1.0
                for clip in (noise, edges):
                    assert _round_trip_db(layer, clip) > 126, (layout, length)


SIGNALS = {
    "DC": np.ones,
    "Nyquist": lambda n: (-1.0) ** np.arange(n),
    "loud low, soft high": lambda n: 1 + 1e-3 * (-1.0) ** np.arange(n),
}


@pytest.mark.parametrize("name", SIGNALS)
def test_hard_signals_come_back(name):
    layer = NonuniformBank(**SMALL, layout="ragged")
    assert _round_trip_db(layer, SIGNALS[name](3001).astype(np.float32)) > 126


def test_double_precision(x64, rng):
    layer = SlicedNonuniformBank(**SMALL, scale="erb", layout="ragged")
    assert _round_trip_db(layer, rng.standard_normal((2, 777))) > 280


def test_widths_of_ones_own_come_back(rng):
    layer = NonuniformBank(
        sample_rate=RATE, center_hz=CENTERS, bandwidth_hz=(500, 500, 900, 2500), layout="ragged"
    )
    assert _round_trip_db(layer, rng.standard_normal(2000).astype(np.float32)) > 126


# --- dense linear algebra ----------------------------------------------------------------------


@functools.cache
def _dense(layout, tight=False, **options):
    """Spec, padded length and the real analysis matrix [numbers, padded], by columns."""
    spec = NonuniformSpec(sample_rate=RATE, tight=tight, normalization="energy", **options)
    padded = gabor.padded_length(1, spec)
    columns = gabor.analyse_padded(jnp.eye(padded), spec=spec, layout=layout)
    arrays = [np.asarray(array).reshape(padded, -1) for array in jax.tree.leaves(columns)]
    parts = [part for array in arrays for part in (array.real, array.imag)]
    return spec, padded, np.concatenate(parts, -1).T


@pytest.mark.quick(6)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "options",
    [
        {"center_hz": CENTERS},
        {"center_hz": (0, 500, 4000)},
        {"num_bins": 8, "scale": "bark"},
        {"center_hz": CENTERS, "bandwidth_hz": (500, 500, 900, 2500)},
    ],
    ids=["extra bands", "irregular", "bark", "widths"],
)
def test_frame_bounds_are_the_extreme_singular_values(options, layout, x64):
    spec, padded, matrix = _dense(layout, **options)
    singular = np.linalg.svd(matrix, compute_uv=False)
    bounds = gabor.frame_bounds(1, spec)
    assert len(singular) == padded
    np.testing.assert_allclose(bounds.lower, singular[-1] ** 2, rtol=1e-9)
    np.testing.assert_allclose(bounds.upper, singular[0] ** 2, rtol=1e-9)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_synthesis_is_the_pseudo_inverse(layout, x64, rng):
    spec, padded, matrix = _dense(layout, center_hz=CENTERS)
    example = gabor.analyse_padded(jnp.zeros(padded), spec=spec, layout=layout)
    random = jax.tree.map(
        lambda a: jnp.asarray(rng.standard_normal(a.shape) + 1j * rng.standard_normal(a.shape)),
        example,
    )
    arrays = tuple(random) if layout == "ragged" else (random,)
    found = gabor.synthesise_padded(arrays, padded=padded, spec=spec, layout=layout)
    flat = [np.asarray(a).ravel() for a in arrays]
    vector = np.concatenate([part for a in flat for part in (a.real, a.imag)])
    np.testing.assert_allclose(found, np.linalg.pinv(matrix) @ vector, atol=1e-11)


def test_tight_frames_preserve_energy(x64):
    _, padded, matrix = _dense("ragged", tight=True, center_hz=CENTERS)
    np.testing.assert_allclose(matrix.T @ matrix, np.eye(padded), atol=1e-12)


def test_cosine_slopes_are_tight_by_themselves():
    for scale in SCALES:
        layer = NonuniformBank(**SMALL, scale=scale, window="cosine")
        assert layer.frame_bounds(1).condition == pytest.approx(1.0, abs=1e-9)
        hann = NonuniformBank(**SMALL, scale=scale).frame_bounds(1)
        assert 0.5 - 1e-9 <= hann.lower <= hann.upper <= 1 + 1e-9


# --- what the coefficients mean ----------------------------------------------------------------


@pytest.mark.quick(1)
@pytest.mark.parametrize("kind", LAYERS)
def test_a_partial_has_its_amplitude_phase_and_place(kind):
    """In the ragged layout too, whose frames lie at times of their own."""
    layer = kind(sample_rate=RATE, num_bins=24, scale="erb", layout="ragged")
    band = 15
    frequency = layer.frequencies[band]
    clip = 0.5 * np.cos(2 * np.pi * frequency * np.arange(16_000) / RATE + 0.7)
    found = jax.jit(layer.apply)({}, clip.astype(np.float32))
    start = 0
    for array, times in zip(found, layer.frame_times(16_000), strict=True):
        if start <= band < start + array.shape[-1]:
            middle = (times > 0.7) & (times < 1.3)
            value = np.asarray(array)[middle, band - start]
            expected = 0.5 * np.exp(1j * (2 * np.pi * frequency * times[middle] + 0.7))
            np.testing.assert_allclose(value, expected, atol=5e-4)
        start += array.shape[-1]
    assert start == 24


def test_a_log_scale_is_nearly_the_constant_q_transform(rng):
    """Whose windows are symmetric, and so end a little beside their neighbours."""
    from isincnet_jax.constant_q.invertible import InvertibleCQT

    bins = 36
    top = 220.0 * 2 ** ((bins - 1) / 12)
    log = NonuniformBank(
        sample_rate=RATE, num_bins=bins, scale="log", min_hz=220.0, max_hz=top, hop_length=16
    )
    cqt = InvertibleCQT(sample_rate=RATE, fmin=220.0, n_bins=bins, hop_length=16)
    np.testing.assert_allclose(
        log.frequencies[log.placed_bins], cqt.frequencies[cqt.constant_q_bins]
    )
    clip = rng.standard_normal(4000).astype(np.float32)
    ours = np.asarray(log.apply({}, clip))[20:230, log.placed_bins][:, 1:-1]
    theirs = np.asarray(cqt.apply({}, clip))[20:230, cqt.constant_q_bins][:, 1:-1]
    assert np.linalg.norm(ours - theirs) < 0.1 * np.linalg.norm(theirs)


# --- layers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", LAYERS)
def test_redundancy_counts_the_coefficients(kind):
    for layout in LAYOUTS:
        layer = kind(sample_rate=16_000, num_bins=64, layout=layout)
        shape = jax.eval_shape(
            functools.partial(layer.apply, {}, method="encode"), jnp.zeros(160_000)
        )
        arrays = jax.tree.leaves(shape)
        assert layer.redundancy(160_000) == 2 * sum(a.size for a in arrays) / 160_000
        assert len(layer.hop_lengths) == len(arrays)
        assert sum(a.shape[-1] for a in arrays) == len(layer.frequencies) == len(layer.bandwidths)


@pytest.mark.parametrize(("scale", "most"), [("mel", 2.4), ("mel_htk", 2.4), ("bark", 2.4)])
def test_ten_seconds_take_at_most_2_4_numbers_a_sample(scale, most):
    layer = NonuniformBank(sample_rate=16_000, scale=scale, layout="ragged")
    assert 2 < layer.redundancy(160_000) < most


@pytest.mark.quick(1)
@pytest.mark.parametrize("kind", LAYERS)
def test_gradients_are_finite_differences(kind, x64, rng):
    layer = kind(**SMALL, layout="ragged")
    clip, direction, weights = rng.standard_normal((3, 200))

    @jax.jit
    def loss(x):
        coefficients = layer.encode(x)
        louder = jax.tree.map(lambda c: c * jnp.abs(c).astype(c.dtype), coefficients)
        return jnp.vdot(weights, layer.decode(louder, length=200))

    slope = jnp.vdot(jax.jit(jax.grad(loss))(clip), direction)
    step = 1e-5
    difference = (loss(clip + step * direction) - loss(clip - step * direction)) / (2 * step)
    np.testing.assert_allclose(slope, difference, rtol=1e-6)


@pytest.mark.quick(0)
def test_every_attribute_has_an_effect():
    base = {"sample_rate": RATE, "num_bins": 12}
    changes = {
        "sample_rate": 9000,
        "hop_length": 4,
        "num_bins": 11,
        "scale": "erb",
        "min_hz": 50.0,
        "max_hz": 3000.0,
        "bandwidth_hz": [800.0] * 12,
        "window": "cosine",
        "tight": True,
        "normalization": "energy",
        "layout": "ragged",
        "output_format": "magnitude",
        "slice_length": 2 * SlicedNonuniformBank(**base).slice_spec.samples,
        "transition_length": 33,
    }
    clip = np.random.default_rng(0).standard_normal(400).astype(np.float32)
    before = _flat(SlicedNonuniformBank(**base), clip)
    for name, value in changes.items():
        after = _flat(SlicedNonuniformBank(**{**base, name: value}), clip)
        assert before.shape != after.shape or not np.allclose(before, after, atol=1e-7), name
    own = SlicedNonuniformBank(sample_rate=RATE, center_hz=CENTERS)
    assert own.frequencies[own.placed_bins].tolist() == list(CENTERS)


def _flat(layer, clip):
    found = jax.tree.leaves(jax.jit(layer.apply)({}, clip))
    return np.concatenate([np.asarray(a).ravel() for a in found])


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output_format": "db"}, "output_format='db'"),
        ({"layout": "octaves"}, "layout='octaves'"),
        ({"scale": "musical"}, "scale='musical' is unknown"),
        ({"center_hz": [200, 100]}, "must increase"),
    ],
)
def test_wrong_attributes_are_refused_at_construction(kind, options, message):
    with pytest.raises(ValueError, match=message):
        kind(**options)


@pytest.mark.quick(1)
@pytest.mark.parametrize("kind", LAYERS)
def test_wrong_data_is_refused(kind):
    layer = kind(**SMALL, layout="ragged")
    with pytest.raises(TypeError, match="floating"):
        layer.encode(jnp.zeros(100, jnp.int16))
    with pytest.raises(ValueError, match="needs a sample"):
        layer.encode(jnp.zeros((2, 0)))
    coefficients = jax.eval_shape(layer.encode, jnp.ones(100))
    zeros = tuple(jnp.zeros(a.shape, a.dtype) for a in coefficients)
    with pytest.raises(ValueError, match="coefficients of shapes"):
        layer.decode(zeros[:-1], length=100)
    with pytest.raises(TypeError, match="phase retrieval"):
        layer.decode(tuple(map(jnp.abs, zeros)), length=100)
