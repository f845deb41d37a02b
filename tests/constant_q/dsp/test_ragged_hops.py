"""Hops of the ragged layout: whole frames, few arrays, few numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isincnet_jax.constant_q.dsp import gabor_tables, ragged_hops
from isincnet_jax.constant_q.dsp.nonuniform_spec import NonuniformSpec

LONGEST = st.lists(st.floats(1.0, 500.0), min_size=1, max_size=40).map(np.array)


@given(longest=LONGEST, hop=st.integers(1, 40))
def test_hops_divide_the_unit_and_are_what_bands_allow(longest, hop):
    longest = np.maximum(longest, hop)
    unit, hops = ragged_hops.divisor_hops(hop, longest)
    assert unit % 2 == 0
    assert unit % hop == 0
    assert np.all(unit % hops == 0)
    assert np.all(hops <= longest * (1 + 1e-6))
    # No worse than what all bands may have.
    assert np.sum(1 / hops) <= len(hops) / hop * (1 + 1e-9)


@given(longest=LONGEST)
def test_joining_costs_twelve_percent_at_most(longest):
    """Unless the divisors alone cost more."""
    hop = int(longest.min())
    unit, hops = ragged_hops.divisor_hops(hop, longest)
    divisors = [d for d in range(1, unit + 1) if unit % d == 0]
    capped = np.minimum(longest, 256 * hop)
    alone = [max(d for d in divisors if d <= one * (1 + 1e-9)) for one in capped]
    least = max(1.12 * np.sum(1 / capped), np.sum(1 / np.array(alone)))
    assert np.sum(1 / hops) <= least * (1 + 1e-6)


def test_by_octave():
    unit, hops = ragged_hops.octave_hops(3, np.array([700.0, 23.9, 24.0, 3.0]))
    assert (unit, hops.tolist()) == (192, [192, 12, 24, 3])
    assert ragged_hops.octave_hops(5, np.array([5.0]))[0] == 10


@pytest.mark.parametrize("scale", ["mel", "mel_htk", "erb", "bark"])
@pytest.mark.parametrize("sample_rate", [16_000, 44_100])
def test_scales_take_at_most_2_3_numbers_a_sample(scale, sample_rate):
    """Of a second of sound, without the padding of a clip; and arrays are few."""
    spec = NonuniformSpec(sample_rate=sample_rate, num_bins=128, scale=scale)
    grid = gabor_tables.array_grid(spec, "ragged")
    assert 2.0 < 2 * sum(bins / hop for bins, hop in grid) < 2.36
    assert len(grid) <= 20
