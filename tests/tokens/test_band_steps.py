"""Step indices of bands: any of them come back, bands cover every frame, hearing bounds them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from isincnet_jax.dsp.scales import hz_to_scale
from isincnet_jax.tokens import band_steps
from isincnet_jax.tokens.frame_coder import FrameCoder

RATES = (8000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000)


def written(groups) -> bytes:
    coder, before = FrameCoder(len(groups[0])), None
    for indices in groups:
        before = band_steps.code_indices(coder, indices, before, indices.shape)
    return coder.finish()


def read(data, count, shape):
    coder, found = FrameCoder(shape[0], data=data), []
    for _ in range(count):
        found.append(band_steps.code_indices(coder, None, found[-1] if found else None, shape))
    return found


@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 5),
    num_audio=st.integers(1, 3),
    num_bands=st.integers(1, 25),
    spread=st.sampled_from([0, 1, 3, 20, 127]),
)
@example(seed=0, count=3, num_audio=2, num_bands=16, spread=127)
def test_indices_come_back(seed, count, num_audio, num_bands, spread):
    rng = np.random.default_rng(seed)
    shape = num_audio, num_bands
    groups = [rng.integers(-spread, spread + 1, shape) for _ in range(count)]
    for found, one in zip(read(written(groups), count, shape), groups, strict=True):
        np.testing.assert_array_equal(found, one)


def test_the_largest_indices_come_back():
    groups = [np.full((2, 7), sign * band_steps.LARGEST_INDEX) for sign in (1, -1, -1, 1)]
    np.testing.assert_array_equal(read(written(groups), 4, (2, 7)), groups)


@given(data=st.binary(max_size=60), num_audio=st.integers(1, 2))
@example(data=b"\0" * 60, num_audio=1)
@example(data=b"\xff" * 60, num_audio=2)
def test_bytes_of_any_making_are_refused_or_indices(data, num_audio):
    try:
        found = read(data, 4, (num_audio, 16))
    except ValueError as error:
        assert "no encoder writes" in str(error)  # noqa: PT017 - most bytes are indices
    else:
        assert np.abs(found).max() <= band_steps.LARGEST_INDEX


def test_indices_that_stay_cost_a_tenth_of_a_bit_each():
    one = np.arange(16)[None]
    cost = len(written([one] * 210)) - len(written([one] * 10))
    assert 8 * cost < 0.11 * 200 * 16  # an adaptive flag has at least 1 - 2^-6 for what it expects


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("size", [0, 1, 2, 3, 64, 77, 256, 1024, 4096])
def test_bands_cover_a_frame(rate, size):
    edges = band_steps.band_edges(size, rate)
    assert edges[0] == 0
    assert edges[-1] == size
    assert (np.diff(edges) >= 0).all()
    assert len(edges) == band_steps.count_bands(rate) + 1
    factors = band_steps.step_factors(np.zeros((2, len(edges) - 1), np.int64), size, rate)
    np.testing.assert_array_equal(factors, np.ones((size, 2)))


@pytest.mark.parametrize("rate", RATES)
def test_bands_are_equally_wide_in_bark(rate):
    edges = band_steps.band_edges(1 << 16, rate)
    widths = np.diff(hz_to_scale(edges[1:] * (rate / 2**17), scale="bark"))
    np.testing.assert_allclose(widths[:-1], 1.5, atol=0.01)
    assert 0.7 < widths[-1] < 2.3  # what is left, to half the rate


def test_an_index_is_3_db():
    indices = np.arange(-7, 8)[None]  # 15 bands
    factors = band_steps.step_factors(indices, 1 << 14, 22_050)[:, 0]
    edges = band_steps.band_edges(1 << 14, 22_050)
    np.testing.assert_allclose(factors[edges[:-1]], 2.0 ** (indices[0] / 2))


def test_the_threshold_is_that_of_the_tables():
    """ISO 389-7:2005, table 1: free field, from the front, in dB SPL.

    Up to 4 kHz: beyond, the table has what the outer ear does to sound from the front.
    """
    table = {125: 22.1, 250: 11.4, 500: 4.4, 1000: 2.4, 2000: -1.3, 4000: -5.4}
    found = band_steps.hearing_threshold_db(np.array(list(table), float))
    np.testing.assert_allclose(found, list(table.values()), atol=4.5)  # a formula, not a fit
    assert band_steps.hearing_threshold_db(np.array([0.0, 1.0])).max() < 90


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("size", [64, 256, 1024])
def test_noise_at_the_threshold_is_as_loud_as_the_threshold(rate, size, rng):
    """By rounding white noise to these steps, band by band."""
    steps = band_steps.threshold_steps(size, rate)
    edges = band_steps.band_edges(size, rate)
    frames = rng.standard_normal((4000, size)) * 100 * steps.max()
    every = np.repeat(steps, np.diff(edges))
    error = frames - every * np.rint(frames / every)
    for first, end in itertools.pairwise(edges):
        if first == end:
            continue
        power = np.mean(np.sum(np.square(error[:, first:end]), axis=1)) / size
        level_db = 96 + 10 * np.log10(2 * power)
        hz = (np.arange(first, end) + 0.5) * rate / 2 / size
        assert abs(level_db - band_steps.hearing_threshold_db(hz).min()) < 0.5


@given(
    level_db=st.floats(-300, 20),
    quality=st.floats(0, 20),
    rate=st.sampled_from(RATES),
)
@example(level_db=-300, quality=20, rate=48_000)
def test_no_step_is_finer_than_the_threshold(level_db, quality, rate):
    """But for the rounding of an index, 3 dB."""
    size = 512
    step = band_steps.quality_step(quality)
    energies = band_steps.band_energies([np.full((size, 2), 10 ** (level_db / 20))], rate)
    found = band_steps.choose_indices(energies, step=step, size=size, sample_rate=rate, before=None)
    steps = step * 2.0 ** (found / 2)
    lowest = band_steps.threshold_steps(size, rate)
    assert (steps >= lowest * 2**-0.5 * (1 - 1e-9)).all()
    if level_db < -250:
        assert (steps <= lowest * 2**0.5 * (1 + 1e-9)).all()


def test_steps_follow_levels_by_the_exponent():
    size, rate = 1024, 44_100
    indices = []
    for level_db in (-20.0, -40.0):
        energies = band_steps.band_energies([np.full((size, 1), 10 ** (level_db / 20))], rate)
        step = band_steps.quality_step(12.0)
        indices.append(
            band_steps.choose_indices(energies, step=step, size=size, sample_rate=rate, before=None)
        )
    # 20 dB are 16 dB of a step at the exponent 0.8, in indices of 3.01 dB, each rounded.
    # The lowest band is at the threshold.
    assert (np.abs(indices[0] - indices[1] - 16 / 3.0103) < 1)[:, 1:].all()


def test_an_index_stays_while_it_nearly_fits():
    size, rate = 1024, 44_100

    def choose(level_db, before=None):
        energies = band_steps.band_energies([np.full((size, 1), 10 ** (level_db / 20))], rate)
        return band_steps.choose_indices(
            energies, step=0.05, size=size, sample_rate=rate, before=before
        )

    first = choose(-30.0)
    np.testing.assert_array_equal(choose(-30.8, first), first)
    assert (choose(-36.0, first) < first).all()


def test_quality_is_3_db():
    steps = [band_steps.quality_step(quality) for quality in (4.0, 5.0, 6.0)]
    np.testing.assert_allclose(np.diff(np.log2(steps)), -0.5, atol=1e-6)
    np.testing.assert_allclose([band_steps.step_quality(step) for step in steps], [4, 5, 6], 1e-6)


def test_quality_5_is_as_much_noise_as_sound_at_60_db_below_full_scale(rng):
    """In music, whose steps have no tilt; an index is rounded to 3 dB."""
    frames = [1e-3 * rng.standard_normal((4096, 1)) for _ in range(4)]
    energies = band_steps.band_energies(frames, 44_100)
    for quality in (5.0, 9.0):
        step = band_steps.quality_step(quality)
        indices = band_steps.choose_indices(
            energies, step=step, size=4096, sample_rate=44_100, before=None
        )
        steps = step * 2.0 ** (indices / 2)
        found_db = 10 * np.log10(energies[0] / energies[1] / (np.square(steps) / 12))
        bounded = steps < 1.5 * band_steps.threshold_steps(4096, 44_100)
        assert (np.abs(found_db - 3.0103 * (quality - 5)) < 2)[~bounded].all()
        assert (~bounded).sum() >= 8


@given(size=st.integers(1, 2048), rate=st.sampled_from((100, *RATES)))
def test_enough_samples_share_indices(size, rate):
    count = band_steps.num_shared(2 * size, rate)
    assert 3 <= count <= 63
    assert count * 2 * size >= band_steps.LEAST_SHARED
