"""Targets of optimised banks: their names, and figures of codecs that are known otherwise."""

from __future__ import annotations

import numpy as np
import pytest

import isincnet_jax as isn
from isincnet_jax.bank import targets

CLIPS = (0.1 * np.random.default_rng(0).standard_normal((2, 640))).astype(np.float32)


def _lapped(hop_length=16):
    return isn.build_lapped_codec(isn.LappedBank(isn.LappedSpec(hop_length=hop_length)))


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("SNR at 12 bits", targets.SnrAtBits(12)),
        (" noise of 17.5 dB ", targets.SnrOfNoise(17.5)),
        ("bits at 25 dB", targets.BitsAtSnr(25.0)),
    ],
)
def test_names(name, target):
    assert targets.settle_target(name) == target


def test_noise_comes_out_of_an_orthonormal_bank_as_it_went_in():
    assert targets.SnrOfNoise(20.0).measure(_lapped(), CLIPS) == pytest.approx(20.0, abs=0.2)


def test_six_decibels_cost_a_bit():
    """Nearly: the first frame and the first bins, of which nothing is known, cost more."""
    clips = np.random.default_rng(1).standard_normal((1, 12_800)).astype(np.float32)
    codec = _lapped(128)
    rates = [targets.BitsAtSnr(level).measure(codec, clips) for level in (24.0, 30.02)]
    assert rates[1] - rates[0] == pytest.approx(1.0, abs=0.05)


def test_ratios_of_clips():
    found = targets.snr_db(0.9 * CLIPS, CLIPS)
    np.testing.assert_allclose(found, 20.0, atol=1e-3)
    assert np.all(np.isfinite(targets.snr_db(CLIPS, CLIPS)))
