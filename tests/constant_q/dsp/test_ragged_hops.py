"""Hops of the ragged layout: whole frames, few arrays, few numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isincnet_jax.constant_q.dsp import gabor_tables, ragged_hops
from isincnet_jax.constant_q.dsp.nonuniform_spec import NonuniformSpec

LONGEST = st.lists(st.floats(1.0, 500.0), min_size=1, max_size=40).map(np.array)


@given(longest=LONGEST, hop=st.one_of(st.none(), st.integers(1, 40)))
def test_hops_divide_the_unit_and_are_what_bands_allow(longest, hop):
    longest = np.maximum(longest, hop or 1)
    unit = ragged_hops.choose_unit(longest, hop_length=hop)
    hops = ragged_hops.divisor_hops(unit, longest)
    assert unit % 2 == 0
    assert unit % (hop or 1) == 0
    assert np.all(unit % hops == 0)
    assert np.all(hops <= longest * (1 + 1e-6))
    assert ragged_hops.largest_divisor(unit, longest.min()) == hops.min()


@given(longest=LONGEST)
def test_joining_costs_twelve_percent_at_most(longest):
    """Unless the divisors alone cost more."""
    unit = ragged_hops.choose_unit(longest)
    hops = ragged_hops.divisor_hops(unit, longest)
    divisors = [d for d in range(1, unit + 1) if unit % d == 0]
    capped = np.minimum(longest, 256 * longest.min())
    alone = [max(d for d in divisors if d <= one * (1 + 1e-9)) for one in capped]
    least = max(1.12 * np.sum(1 / capped), np.sum(1 / np.array(alone)))
    assert np.sum(1 / hops) <= least * (1 + 1e-6)


def test_by_octave():
    unit, hops = ragged_hops.octave_hops(3, np.array([700.0, 23.9, 24.0, 3.0]))
    assert (unit, hops.tolist()) == (192, [192, 12, 24, 3])
    assert ragged_hops.octave_hops(5, np.array([5.0]))[0] == 10


@pytest.mark.parametrize("scale", ["mel", "mel_htk", "erb"])
@pytest.mark.parametrize("sample_rate", [8000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("num_bins", [64, 128, 256])
def test_scales_take_at_most_2_4_numbers_a_sample(scale, sample_rate, num_bins):
    """Of a second of sound, without the padding of a clip; and arrays are few."""
    spec = NonuniformSpec(sample_rate=sample_rate, num_bins=num_bins, scale=scale)
    grid = gabor_tables.array_grid(spec, "ragged")
    assert 2.0 < 2 * sum(bins / hop for bins, hop in grid) < 2.4
    assert len(grid) <= 17
