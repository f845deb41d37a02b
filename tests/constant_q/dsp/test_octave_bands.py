"""Constant-Q bands with a number of their own in every octave."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isincnet_jax.constant_q.dsp import gabor_bands, octave_bands
from isincnet_jax.constant_q.dsp import nonstationary_gabor as gabor
from isincnet_jax.constant_q.dsp.gabor_spec import WINDOWS, GaborSpec
from isincnet_jax.dsp.settling import SettingError

RESOLUTIONS = st.lists(st.sampled_from([2, 3, 8, 12, 32, 48]), min_size=1, max_size=6)
analyse = jax.jit(gabor.analyse, static_argnames=("spec", "layout"))
synthesise = jax.jit(gabor.synthesise, static_argnames=("spec", "length", "layout"))


def _centers(spec):
    bands = gabor_bands.design_bands(spec)
    return bands.center[bands.placed]


def _round_trip_db(clip, spec, layout):
    coefficients = analyse(clip, spec=spec, layout=layout)
    found = synthesise(coefficients, spec=spec, length=len(clip), layout=layout)
    error = np.asarray(found, np.float64) - clip
    return 10 * np.log10(np.sum(clip.astype(np.float64) ** 2) / max(np.sum(error**2), 1e-300))


@settings(max_examples=6)
@given(
    octaves=st.lists(st.sampled_from([2, 3, 8, 12, 24]), min_size=1, max_size=5),
    length=st.sampled_from([1, 127, 4096, 7919]),
    gamma=st.sampled_from([0.0, 3.0, 40.0]),
    tight=st.booleans(),
    window=st.sampled_from(sorted(WINDOWS)),
    layout=st.sampled_from(["matrix", "ragged"]),
)
def test_every_clip_comes_back(octaves, length, gamma, tight, window, layout):
    spec = GaborSpec(
        sample_rate=8000,
        fmin=110.0,
        n_bins=None,
        bins_per_octave=tuple(octaves),
        gamma=gamma,
        tight=tight,
        window=window,
    )
    clip = np.random.default_rng(length).standard_normal(length).astype(np.float32)
    assert _round_trip_db(clip, spec, layout) > 122


@pytest.mark.parametrize("length", [1, 4095, 30_011])
@pytest.mark.parametrize("layout", ["matrix", "ragged"])
def test_a_known_list_is_as_exact_as_one_number(length, layout, rng):
    """A condition of 2, as one number has: 126 dB and more."""
    octaves = (8, 8, 8, 16, 16, 16, 16, 32, 32)
    spec = GaborSpec(sample_rate=44_100, fmin=43.0, n_bins=None, bins_per_octave=octaves)
    clip = rng.standard_normal(length).astype(np.float32)
    assert _round_trip_db(clip, spec, layout) > 126


@pytest.mark.parametrize("gamma", [0.0, 7.0])
@pytest.mark.parametrize("n_bins", [None, 60])
def test_the_same_number_in_every_octave_is_that_number(gamma, n_bins, rng):
    options = {"fmin": 110.0, "n_bins": n_bins, "gamma": gamma}
    one = GaborSpec(bins_per_octave=12, **options)
    several = GaborSpec(bins_per_octave=(12,) * 9, **options)
    jax.tree.map(
        np.testing.assert_array_equal,
        gabor_bands.design_bands(one)[:-1],
        gabor_bands.design_bands(several)[:-1],
    )
    clip = rng.standard_normal(3000).astype(np.float32)
    found = (gabor.analyse(clip, spec=spec) for spec in (one, several))
    np.testing.assert_array_equal(*found)


def test_octaves_have_their_centres_and_quality():
    spec = GaborSpec(fmin=110.0, n_bins=None, bins_per_octave=(3, 6, 12))
    centers = _centers(spec)
    expected = [110 * 2 ** (o + i / b) for o, b in enumerate((3, 6, 12)) for i in range(b)]
    np.testing.assert_allclose(centers, expected)
    # Away from the jumps the half width is alpha f, as with that number everywhere.
    bands = spec.placed_bands
    for band, number in ((1, 3), (5, 6), (15, 12)):
        ratio = 2 ** (1 / number)
        np.testing.assert_allclose(bands.width[band], centers[band] * (ratio - 1 / ratio) / 2)


@settings(max_examples=20)
@given(octaves=RESOLUTIONS, cosine=st.booleans())
def test_jumps_do_not_spoil_the_condition(octaves, cosine):
    """Hann windows: 2, and 2.5 where the last band ends just below Nyquist; their roots: 1.4."""
    window = "cosine" if cosine else "hann"
    spec = GaborSpec(fmin=60.0, n_bins=None, bins_per_octave=tuple(octaves), window=window)
    assert gabor.frame_bounds(1, spec).condition < (1.5 if cosine else 2.6)


@settings(max_examples=20)
@given(octaves=RESOLUTIONS, gamma=st.floats(0.0, 60.0))
def test_no_support_exceeds_its_frame_rate(octaves, gamma):
    spec = GaborSpec(fmin=60.0, n_bins=None, bins_per_octave=tuple(octaves), gamma=gamma)
    bands = gabor_bands.design_bands(spec)
    assert np.all(bands.upper - bands.lower <= spec.frame_rate * (1 + 1e-9))
    np.testing.assert_allclose(bands.width, (bands.upper - bands.lower) / 2)
    assert np.all(bands.rise + bands.fall <= bands.upper - bands.lower + 1e-9)
    assert np.all((bands.lower + bands.rise)[1:-1] <= bands.center[1:-1] + 1e-9)
    assert np.all(np.diff(bands.center[bands.placed]) > 0)


def test_limits_of_lists():
    """The list is all there is; fmax and Nyquist may end it before."""
    options = {"fmin": 110.0, "n_bins": None}
    assert len(_centers(GaborSpec(bins_per_octave=(4, 8), **options))) == 12
    assert len(_centers(GaborSpec(bins_per_octave=(4, 8), fmax=220.0, **options))) == 5
    assert len(_centers(GaborSpec(bins_per_octave=(4, 8), fmax=9000.0, **options))) == 12
    long = _centers(GaborSpec(bins_per_octave=(4,) * 6 + (24,) * 6, **options))
    assert 7000 < long[-1] < 11_025


def test_lists_and_arrays_become_tuples():
    for value in ([4, 8], np.array([4, 8], np.int16), (np.int8(4), 8)):
        spec = GaborSpec(fmin=110.0, n_bins=None, bins_per_octave=value)
        assert spec.bins_per_octave == (4, 8)
        assert hash(spec) == hash(GaborSpec(fmin=110.0, n_bins=None, bins_per_octave=(4, 8)))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "for every octave"),
        ([12, 0], "for every octave"),
        ([4, 8], r"n_bins=84: bins_per_octave=\(4, 8\) has 12; use n_bins=None"),
    ],
)
def test_wrong_lists_are_refused(value, message):
    with pytest.raises(ValueError, match=message):
        GaborSpec(bins_per_octave=value)


@pytest.mark.parametrize("value", [12.0, [12, 8.5], True, "12"])
def test_what_is_no_integer_is_refused(value):
    with pytest.raises(SettingError, match="must be an integer"):
        octave_bands.settled_bins_per_octave(value)
