"""Exact decoders for noise that differs from channel to channel."""

from __future__ import annotations

import numpy as np
import pytest

from isincnet_jax import DecoderSpec, FilterbankSpec
from isincnet_jax.bank.solve import design_decoder

SPEC = FilterbankSpec(sample_rate=8000, hop_length=8, num_bins=17, scale="mel", shape="gauss")
NOISE = np.geomspace(1.0, 0.1, SPEC.num_channels)


def _heard(decoder, noise=NOISE):
    return float(np.sum(noise[:, None] * decoder.values**2) / SPEC.hop_length)


@pytest.mark.parametrize("kind", ["least_squares", "dual"])
def test_it_is_exact_and_lets_less_through(kind):
    plain = design_decoder(SPEC, DecoderSpec(kind, num_frames=24))
    found = design_decoder(SPEC, DecoderSpec(kind, 24, noise_variance=tuple(NOISE)))
    assert max(plain.residual, found.residual) < 1e-4
    assert _heard(found) < 0.99 * _heard(plain)
    # For equal noise it is the worse one.
    assert found.noise_gain > plain.noise_gain


def test_no_exact_decoder_lets_less_through():
    """Whatever the coefficients of no signal add up to may be added to it: at the least, no slope.

    The difference of two exact decoders is such a one.
    """
    found = design_decoder(SPEC, DecoderSpec("least_squares", 8, noise_variance=tuple(NOISE)))
    other = design_decoder(SPEC, DecoderSpec("least_squares", 8))
    inner = np.sum(NOISE[:, None] * found.values * (other.values - found.values))
    assert abs(inner) < 1e-6 * np.sum(NOISE[:, None] * found.values**2)


def test_only_ratios_count_and_equal_noise_changes_nothing():
    plain = design_decoder(SPEC, DecoderSpec("dual", 16)).values
    even = DecoderSpec("dual", 16, noise_variance=(4.0,) * SPEC.num_channels)
    np.testing.assert_allclose(design_decoder(SPEC, even).values, plain, atol=1e-12)
    one, ten = (
        design_decoder(SPEC, DecoderSpec("dual", 16, noise_variance=tuple(scale * NOISE))).values
        for scale in (1.0, 10.0)
    )
    np.testing.assert_allclose(one, ten, atol=1e-12)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"an exact decoder needs a positive variance of every"):
        DecoderSpec("least_squares", noise_variance=(1.0, 0.0))
    with pytest.raises(ValueError, match=r"noise_variance has 2 entries; give one number or one"):
        design_decoder(SPEC, DecoderSpec("least_squares", 8, noise_variance=(1.0, 1.0)))
