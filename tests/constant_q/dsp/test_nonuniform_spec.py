"""Bands on a scale or of any centres: where they stand, and what is refused."""

from __future__ import annotations

import dataclasses

import librosa
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isincnet_jax.constant_q.dsp import gabor_bands, nonstationary_gabor, scale_bands
from isincnet_jax.constant_q.dsp.gabor_spec import WINDOWS
from isincnet_jax.constant_q.dsp.nonuniform_spec import NonuniformSpec

RATE = 8000
CENTERS = st.lists(st.integers(0, RATE // 2), min_size=2, max_size=12, unique=True).map(
    lambda centers: tuple(sorted(centers))
)


def test_mel_centres_are_those_of_librosa():
    for scale, htk in (("mel", False), ("mel_htk", True)):
        spec = NonuniformSpec(sample_rate=16_000, num_bins=40, scale=scale)
        expected = librosa.mel_frequencies(40, fmin=0.0, fmax=8000.0, htk=htk)
        found = gabor_bands.design_bands(spec).center
        np.testing.assert_allclose(found, expected, rtol=1e-9)
        assert found[0] == 0
        assert found[-1] == 8000


@given(centers=CENTERS, window=st.sampled_from(["hann", "cosine"]))
def test_any_centres_are_conditioned_alike(centers, window):
    """Hann slopes that meet sum to 1, the squares of cosine slopes do: bounds 1/2 and 1, or 1."""
    spec = NonuniformSpec(sample_rate=RATE, center_hz=centers, window=window, hop_length=1)
    found = gabor_bands._frame_operator(spec, np.linspace(0, RATE / 2, 1501))
    lower = 0.5 if window == "hann" else 1.0
    assert lower - 1e-9 <= found.min() <= found.max() <= 1 + 1e-9


@given(centers=CENTERS)
def test_bands_end_at_their_neighbours(centers):
    spec = NonuniformSpec(sample_rate=RATE, center_hz=centers)
    bands = gabor_bands.design_bands(spec)
    assert bands.center[0] == 0
    assert bands.center[-1] == RATE / 2
    assert bands.center[bands.placed].tolist() == list(centers)
    inner = slice(bands.placed.start + 1, bands.placed.stop - 1)
    np.testing.assert_allclose(bands.lower[inner], centers[:-2])
    np.testing.assert_allclose(bands.upper[inner], centers[2:])
    # Extra bands, of the broadest band's width, leave no gap.
    found = gabor_bands._frame_operator(spec, np.linspace(0, RATE / 2, 801))
    assert 0.45 < found.min() <= found.max() < 1.2


def test_scales_are_the_centres_that_they_stand_for():
    scaled = NonuniformSpec(sample_rate=RATE, num_bins=9, scale="erb", min_hz=100.0, max_hz=3000.0)
    centers = scale_bands.scale_centers(9, scale="erb", min_hz=100.0, max_hz=3000.0)
    given_ones = NonuniformSpec(sample_rate=RATE, center_hz=centers)
    for one, other in zip(
        gabor_bands.design_bands(scaled), gabor_bands.design_bands(given_ones), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    log = NonuniformSpec(sample_rate=RATE, num_bins=12, scale="log")
    assert log.placed_bands.center[0] == 32.703


def test_centres_may_be_lists_and_arrays():
    wanted = NonuniformSpec(sample_rate=RATE, center_hz=(0.0, 100.0), bandwidth_hz=(200.0, 200.0))
    for kind in (list, np.array):
        found = NonuniformSpec(
            sample_rate=RATE, center_hz=kind([0.0, 100.0]), bandwidth_hz=kind([200.0, 200.0])
        )
        assert found == wanted
        assert hash(found) == hash(wanted)


@pytest.mark.parametrize("window", WINDOWS)
def test_widths_of_ones_own_are_symmetric_and_weighted(window):
    spec = NonuniformSpec(
        sample_rate=RATE,
        center_hz=(200, 400, 600, 1000),
        bandwidth_hz=(400, 400, 400, 800),
        window=window,
    )
    bands = gabor_bands.design_bands(spec)
    part = bands.placed
    np.testing.assert_allclose(bands.upper[part] - bands.center[part], [400, 400, 400, 800])
    np.testing.assert_allclose(bands.center[part] - bands.lower[part], [400, 400, 400, 800])
    np.testing.assert_allclose(bands.gain[part] ** 2, [0.5, 0.5, 0.75, 0.5])
    limit = {"hann": 8, "cosine": 6, "blackman": 15, "blackmanharris": 40}[window]
    assert nonstationary_gabor.frame_bounds(1, spec).condition < limit


def test_twice_as_many_wide_bands_are_conditioned_as_well():
    """The weights keep the density level where bands are several deep."""
    center = np.arange(0, 4001, 50)
    spec = NonuniformSpec(sample_rate=RATE, center_hz=center, bandwidth_hz=np.full(81, 200.0))
    assert nonstationary_gabor.frame_bounds(1, spec).condition < 2.1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": "decibel"}, "scale='decibel' is unknown"),
        ({"num_bins": 1}, "num_bins=1: a bank needs at least 2"),
        ({"num_bins": 2.5}, "num_bins=2.5 must be an integer"),
        ({"sample_rate": 0}, "sample_rate"),
        ({"max_hz": 5000.0}, "max_hz=5000.0 lies above .* use max_hz <= 4000"),
        ({"min_hz": 4000.0}, "must lie below"),
        ({"min_hz": 0.0, "scale": "log"}, "log scale has no 0 Hz"),
        ({"hop_length": 100}, "hop_length=100: the broadest band .* use hop_length <= "),
        ({"window": "flat"}, "window='flat' is unknown"),
        ({"normalization": "peak"}, "normalization='peak'"),
        ({"center_hz": 100.0}, "center_hz=100.0 must be a list"),
        ({"center_hz": "low"}, "must be a list"),
        ({"center_hz": [100.0]}, "has 1 centres; give at least 2"),
        ({"center_hz": [100.0, 50.0]}, "must increase, but 50 follows 100"),
        ({"center_hz": [100.0, 100.0]}, "must increase, but 100 follows 100"),
        ({"center_hz": [-1.0, 100.0]}, "must lie from 0 to sample_rate / 2 = 4000"),
        ({"center_hz": [1.0, np.inf]}, "must be finite"),
        ({"center_hz": [1.0, np.nan]}, "must be a number"),
        ({"center_hz": [1.0, 2.0], "num_bins": 3}, "num_bins=3, but center_hz has 2"),
        ({"center_hz": [1.0, 2.0], "min_hz": 0.5}, "use min_hz=None"),
        ({"center_hz": [0, 4000], "bandwidth_hz": [4000]}, "has 1 widths for 2 bands"),
        ({"center_hz": [0, 4000], "bandwidth_hz": [0, 4000]}, "bandwidth_hz=0 must be above 0"),
        ({"center_hz": [0, 4000], "bandwidth_hz": [4000, 5000]}, "bandwidth_hz=5000 must"),
        (
            {"center_hz": [0, 100, 4000], "bandwidth_hz": [100, 100, 4000]},
            "bands at 100 and 4000 Hz, 100 and 4000, .* at least 1.5 times the distance, 5850 Hz",
        ),
    ],
)
def test_wrong_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        NonuniformSpec(**{"sample_rate": RATE, **options})


def test_specs_are_frozen_and_equal_by_value():
    spec = NonuniformSpec(num_bins=20, scale="mel")
    assert spec == NonuniformSpec(num_bins=20, scale="mel_slaney")
    assert spec != NonuniformSpec(num_bins=20, scale="mel_htk")
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.num_bins = 3
