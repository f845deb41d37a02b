"""Pictures of the page of a benchmark, and how it writes numbers."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from isincnet_jax.pages import media as report_media
from isincnet_jax.pages.table import number_text


@given(
    arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=40), elements=st.integers(0, 64))
)
def test_png_is_what_pillow_reads(indices):
    image = pytest.importorskip("PIL.Image")
    content = report_media.encode_png(indices, colors=report_media.SIGNED)
    with image.open(io.BytesIO(content)) as picture:
        np.testing.assert_array_equal(
            np.asarray(picture.convert("RGB")), report_media.SIGNED[indices]
        )


def test_a_tone_is_brightest_in_its_row_and_a_click_in_its_column():
    rate = 16_000
    tone = np.sin(2 * np.pi * 3000 * np.arange(rate) / rate)
    power = report_media.spectrogram_power(tone, sample_rate=rate)
    assert power.shape == (128, 100)
    assert np.all(np.argmax(power[:, 3:-3], axis=0) == 3000 * 128 // 8000)
    click = np.zeros(rate)
    click[12_000] = 1
    power = report_media.spectrogram_power(click, sample_rate=rate)
    assert abs(int(np.argmax(power.sum(axis=0))) - 75) <= 1


@pytest.mark.parametrize(
    ("length", "rate"), [(1, 16_000), (100, 16_000), (999, 4000), (50, 48_000)]
)
def test_short_clips_and_other_rates_have_pictures(length, rate):
    power = report_media.spectrogram_power(np.ones(length), sample_rate=rate)
    assert power.shape[0] == 128
    assert power.shape[1] >= 1
    assert np.all(np.isfinite(report_media.decibels(power, reference=1.0)))


def test_levels_clip_and_zero_difference_is_the_middle():
    indices = report_media.levels(np.array([-99.0, -24, 0, 24, 99]), low=-24, high=24)
    assert indices.tolist() == [0, 0, 32, 64, 64]
    assert report_media.SIGNED[32].tolist() == [0xF7] * 3


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (None, 1, "–"), (float("nan"), 1, "–"), (float("inf"), 1, "exact"), (0.0, 6, "0"),
        (1234.56, 1, "1,234.6"), (-1.25, 1, "−1.2"), (-0.01, 1, "−1.0e−2"), (0.05, 1, "0.1"),
        (0.0, 1, "0"), (0.0012, 2, "1.2e−3"), (1.2e-7, 6, "1.20e−7"), (1e-16, 6, "1.00e−16"),
        (4.2e-5, 6, "4.20e−5"), (0.010615, 6, "0.0106"), (0.0038159, 6, "0.00382"),
        (0.12345, 6, "0.123"), (3.14159, 6, "3.14"), (-271.8, 6, "−272"), (2.5e7, 6, "2.50e7"),
        (32768, 0, "32,768"),
    ],
)  # fmt: skip
def test_numbers_for_readers(value, digits, text):
    assert number_text(value, digits) == text
