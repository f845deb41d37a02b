"""The built-in clip."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal

from isincnet_jax.data.demo import demo_waveform


@pytest.mark.parametrize("sample_rate", [4000, 16_000, 44_100])
def test_the_clip_has_four_seconds_and_its_peak(sample_rate):
    clip = demo_waveform(sample_rate)
    assert clip.shape == (4 * sample_rate,)
    assert clip.dtype == np.float32
    assert np.max(np.abs(clip)) == pytest.approx(0.8)
    assert np.all(np.isfinite(clip))


def test_the_clip_is_deterministic_and_never_silent():
    clip = demo_waveform(8000)
    np.testing.assert_array_equal(clip, demo_waveform(8000))
    level = np.sqrt(np.mean(clip.reshape(-1, 2000) ** 2, axis=1))
    assert np.min(level) > 0.01


def test_the_clip_is_the_same_piece_at_every_rate():
    low = demo_waveform(16_000)
    high = demo_waveform(48_000)
    lowered = scipy.signal.resample_poly(high, 1, 3)
    # Below 2 kHz, where both have all partials.
    band = scipy.signal.butter(6, 2000, fs=16_000, output="sos")
    both = scipy.signal.sosfiltfilt(band, np.stack([low, lowered]), axis=1)
    both /= np.linalg.norm(both, axis=1, keepdims=True)
    assert both[0] @ both[1] > 0.99


def test_a_low_rate_is_refused():
    with pytest.raises(ValueError, match="sample_rate=3999"):
        demo_waveform(3999)
