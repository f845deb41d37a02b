"""Frequency scales against librosa, published tables and the golden files."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isincnet_jax.dsp import scales

ALL_SCALES = tuple(scales.SCALES)
HZ = np.concatenate([[0.0, 1e-3, 999.9, 1000.0, 1000.1], np.geomspace(1.0, 24_000.0, 60)])


def lowest_hz(scale: str) -> float:
    return 32.7 if scales.SCALES[scale].needs_positive_hz else 0.0


@pytest.mark.parametrize(("scale", "htk"), [("mel_slaney", False), ("mel_htk", True)])
def test_mel_scales_agree_with_librosa(scale, htk):
    # Both sides are a handful of float64 operations: 1e-12 relative.
    expected = librosa.hz_to_mel(HZ, htk=htk)
    np.testing.assert_allclose(scales.hz_to_scale(HZ, scale=scale), expected, rtol=1e-12)
    mels = np.linspace(0.0, float(expected.max()), 77)
    np.testing.assert_allclose(
        scales.scale_to_hz(mels, scale=scale),
        librosa.mel_to_hz(mels, htk=htk),
        rtol=1e-12,
        atol=1e-12,
    )


def test_plain_mel_is_slaney_and_lin_is_linear():
    assert scales.canonical_scale("mel") == "mel_slaney"
    assert scales.canonical_scale("lin") == "linear"
    np.testing.assert_array_equal(scales.hz_to_scale(HZ, scale="lin"), HZ)


@pytest.mark.parametrize(("hz", "bark"), [(400, 4), (920, 8), (1720, 12), (3150, 16), (5300, 19)])
def test_bark_meets_the_critical_band_edges_of_zwicker(hz, bark):
    # Traunmueller 1990 states an accuracy of 0.05 Bark between 0.2 and 6.7 kHz.
    assert float(scales.hz_to_scale(hz, scale="bark")) == pytest.approx(bark, abs=0.05)


@pytest.mark.parametrize(
    ("hz", "erb_hz"), [(100.0, 35.5), (1000.0, 132.6), (4000.0, 456.5), (10_000.0, 1104.1)]
)
def test_erb_rate_grows_by_one_per_equivalent_rectangular_bandwidth(hz, erb_hz):
    # Glasberg and Moore 1990, equation 3: ERB = 24.7 (4.37 F / 1000 + 1), tabulated above. The
    # published 21.4 of equation 4 is rounded, by 0.3 %.
    above = scales.hz_to_scale(hz + erb_hz / 2, scale="erb")
    below = scales.hz_to_scale(hz - erb_hz / 2, scale="erb")
    # The bandwidth is finite, the scale curved: third order, below 3 % at 100 Hz.
    assert float(above - below) == pytest.approx(1.0, abs=0.03)


def test_erb_rate_of_one_kilohertz_is_the_published_value():
    assert float(scales.hz_to_scale(1000.0, scale="erb")) == pytest.approx(15.6, abs=0.05)


def test_log_scale_counts_octaves():
    octaves = np.diff(scales.hz_to_scale(np.array([55.0, 110.0, 440.0]), scale="log"))
    np.testing.assert_allclose(octaves, [1.0, 2.0], rtol=1e-12)


@pytest.mark.parametrize("scale", ALL_SCALES)
@given(hz=st.floats(0.01, 48_000.0))
def test_round_trip_returns_the_frequency(scale, hz):
    unit = scales.hz_to_scale(hz, scale=scale)
    # A logarithm of 1 + x and its inverse lose a few ulp, most where x is small.
    assert float(scales.scale_to_hz(unit, scale=scale)) == pytest.approx(hz, rel=1e-10, abs=1e-9)


@pytest.mark.parametrize("scale", ALL_SCALES)
@given(low=st.floats(0.1, 40_000.0), step=st.floats(1e-3, 5_000.0))
def test_every_scale_increases(scale, low, step):
    low_unit, high_unit = scales.hz_to_scale(np.array([low, low + step]), scale=scale)
    assert high_unit > low_unit


@pytest.mark.parametrize(("scale", "htk"), [("mel_slaney", False), ("mel_htk", True)])
def test_mel_centres_are_those_of_librosa(scale, htk):
    center_hz, _ = scales.centers_and_bandwidths(40, scale=scale, min_hz=20.0, max_hz=8000.0)
    expected = librosa.mel_frequencies(n_mels=40, fmin=20.0, fmax=8000.0, htk=htk)
    np.testing.assert_allclose(center_hz, expected, rtol=1e-11)


@pytest.mark.parametrize("scale", ALL_SCALES)
@given(num_bins=st.integers(2, 90), max_hz=st.floats(2000.0, 24_000.0))
def test_centres_span_the_range_in_equal_steps_and_bands_meet(scale, num_bins, max_hz):
    low = lowest_hz(scale)
    center_hz, bandwidth_hz = scales.centers_and_bandwidths(
        num_bins, scale=scale, min_hz=low, max_hz=max_hz
    )
    assert center_hz.shape == bandwidth_hz.shape == (num_bins,)
    assert center_hz[0] == pytest.approx(low, abs=1e-6)
    assert center_hz[-1] == pytest.approx(max_hz, rel=1e-9)
    assert np.all(bandwidth_hz > 0)
    units = scales.hz_to_scale(center_hz, scale=scale)
    steps = np.diff(units)
    np.testing.assert_allclose(steps, steps.mean(), rtol=1e-7)
    # Bands meet: added up from the lowest edge, they end half a step above the last centre, and
    # each inner edge is the image of the point midway between two centres.
    lowest_edge = scales.scale_to_hz(units[0] - steps.mean() / 2, scale=scale)
    edges = lowest_edge + np.concatenate([[0.0], np.cumsum(bandwidth_hz)])
    midway = scales.scale_to_hz((units[1:] + units[:-1]) / 2, scale=scale)
    np.testing.assert_allclose(edges[1:-1], midway, rtol=1e-7, atol=1e-6)
    assert np.all(edges[:-1] < center_hz)
    assert np.all(center_hz < edges[1:])


@pytest.mark.parametrize(
    ("name", "scale", "rate"),
    [
        ("isincnet_16000hz_128fps_lin_complex", "linear", 16_000),
        ("isincnet_16000hz_128fps_mel_complex", "mel_slaney", 16_000),
        ("isincnet_44100hz_350fps_mel_complex", "mel_slaney", 44_100),
    ],
)
def test_centres_and_bands_are_those_of_the_reference(golden, name, scale, rate):
    file = golden(name)
    center_hz, bandwidth_hz = scales.centers_and_bandwidths(
        128, scale=scale, min_hz=0.0, max_hz=rate / 2
    )
    # The golden values went through float32: 1e-7 of the largest, and a difference of two for
    # the bands.
    np.testing.assert_allclose(center_hz, file["center_hz"], atol=2e-7 * rate)
    np.testing.assert_allclose(bandwidth_hz, file["band_hz"], atol=4e-7 * rate)


@pytest.mark.parametrize("scale", ["linear", "mel_htk"])
def test_reference_0_1_0_drops_the_first_of_one_more_point(scale):
    center_hz, bandwidth_hz = scales.reference_0_1_0_centers(16, scale=scale, max_hz=8000.0)
    if scale == "linear":
        points = np.arange(17) * 500.0
    else:
        points = librosa.mel_frequencies(n_mels=17, fmin=0.0, fmax=8000.0, htk=True)
    np.testing.assert_allclose(center_hz, points[1:], rtol=1e-11)
    np.testing.assert_allclose(bandwidth_hz, np.diff(points), rtol=1e-9)


def test_unknown_scale_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match=r"scale='melodic' is unknown; use one of linear, mel_sl"):
        scales.hz_to_scale(1.0, scale="melodic")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_bins": 1}, "num_bins=1: a bank needs at least 2 bins"),
        ({"min_hz": 500.0, "max_hz": 500.0}, r"min_hz=500.0 must lie below max_hz=500.0"),
        ({"scale": "log", "min_hz": 0.0}, "a log scale has no 0 Hz"),
        ({"min_hz": -1.0}, "min_hz=-1.0 is negative"),
    ],
)
def test_impossible_ranges_are_refused(arguments, message):
    good = {"num_bins": 8, "scale": "linear", "min_hz": 0.0, "max_hz": 4000.0}
    options = good | arguments
    with pytest.raises(ValueError, match=message):
        scales.centers_and_bandwidths(options.pop("num_bins"), **options)
