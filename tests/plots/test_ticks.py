"""Ticks of frequency axes: where they stand, and that they leave room for each other."""

from __future__ import annotations

import numpy as np
import pytest

from isincnet_jax.dsp import scales
from isincnet_jax.plots import ticks


def _mel(bins: int) -> np.ndarray:
    ends = scales.hz_to_scale(np.array([40.0, 8000.0]), scale="mel_htk")
    return scales.scale_to_hz(np.linspace(*ends, bins), scale="mel_htk")


@pytest.mark.parametrize(
    ("frequencies_hz", "labels"),
    [
        (np.linspace(0, 4000, 17), ["0", "1", "2", "3", "4"]),
        (31.25 + 62.5 * np.arange(128), ["0", "2", "4", "6", "8"]),
        (32.7 * 2 ** (np.arange(84) / 12), ["0.05", "0.1", "0.2", "0.5", "1", "2"]),
        (np.linspace(1000, 1040, 20), ["1", "1.01", "1.02", "1.03", "1.04"]),
        (np.array([0.0, *_mel(40)]), ["0", "0.2", "0.5", "1", "2", "5"]),
        (np.array([500.0]), ["0.5"]),
        (np.array([300.0, 200.0, 250.0]), ["0.3", "0.2", "0.25"]),
    ],
    ids=["linear", "half a bin off", "octaves", "narrow", "from 0", "one", "in no order"],
)
def test_ticks_are_round_and_where_they_say(frequencies_hz, labels):
    places, texts = ticks.frequency_ticks(frequencies_hz)
    assert texts == labels
    found = np.interp(places, np.arange(len(frequencies_hz)), frequencies_hz)
    near = 1e-6 + np.max(np.abs(np.diff(frequencies_hz)), initial=0) / 2  # half a row beyond
    np.testing.assert_allclose(found, [1000 * float(text) for text in texts], atol=near)


@pytest.mark.parametrize("bins", [3, 10, 64, 576])
def test_ticks_of_a_mel_axis_leave_room_for_each_other(bins):
    places, texts = ticks.frequency_ticks(_mel(bins))
    assert 2 <= len(texts) <= 10
    assert np.min(np.diff(places)) >= (bins - 1) / 12
