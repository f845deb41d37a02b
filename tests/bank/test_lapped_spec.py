"""LappedSpec: validation, settled values, serialisation, presets."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.signal

from isincnet_jax import LappedSpec, from_pretrained
from isincnet_jax.pretrained import registry


def test_what_follows_from_its_fields():
    spec = LappedSpec(sample_rate=8000, hop_length=16)
    assert (spec.num_bins, spec.num_channels, spec.frame_rate_hz) == (16, 16, 500.0)
    assert spec.redundancy == spec.frame_bounds.condition == 1.0
    np.testing.assert_allclose(spec.center_hz[:2], [125.0, 375.0])
    assert spec.center_hz[-1] == 3875.0
    assert [spec.num_frames(length) for length in (1, 16, 17, 32)] == [1, 1, 2, 2]
    assert spec.describe() == "lapped, 8000 Hz, hop 16, sine window, tiled"
    zeros = spec.replace(framing="zeros", window="kbd")
    assert [zeros.num_frames(length) for length in (1, 16, 17, 32)] == [2, 2, 3, 3]
    assert zeros.describe() == "lapped, 8000 Hz, hop 16, kbd window (beta 12.57), zeros"
    wanted = scipy.signal.windows.kaiser_bessel_derived(32, beta=4 * np.pi)
    np.testing.assert_allclose(zeros.window_taps(), wanted, atol=1e-14)


def test_beta_follows_the_window():
    spec = LappedSpec(window="kbd", beta=9)
    assert spec.beta == 9.0
    assert spec.replace(window="sine").beta is None
    assert spec.replace(hop_length=64).beta == 9.0
    assert LappedSpec(window="kbd").beta == 4 * np.pi


BAD_VALUES = [
    ({"sample_rate": 0}, "sample_rate=0 must be at least 1"),
    ({"hop_length": 511}, "hop_length=511 must be even"),
    ({"hop_length": 8.0}, "hop_length=8.0 must be an integer; use hop_length=8"),
    ({"window": "hann"}, "window='hann' is unknown; use sine, kbd, vorbis"),
    ({"beta": 4.0}, "the others have none"),
    ({"window": "kbd", "beta": -1.0}, "beta=-1.0 must be at least 0"),
    ({"window": "kbd", "beta": "4"}, "beta='4' must be a number"),
    ({"framing": "reflect"}, "framing='reflect' is unknown; use tiled, zeros"),
]


@pytest.mark.parametrize(("fields", "message"), BAD_VALUES)
def test_what_cannot_work_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        LappedSpec(**fields)


def test_it_goes_through_json():
    spec = LappedSpec(window="kbd", hop_length=np.int64(64))  # type: ignore[arg-type]
    again = LappedSpec.from_dict(json.loads(json.dumps(spec.to_dict())))
    assert again == spec
    assert hash(again) == hash(spec)
    assert again.digest() == spec.digest() != LappedSpec(hop_length=64).digest()
    with pytest.raises(ValueError, match="unknown or missing fields of a lapped bank: hop"):
        LappedSpec.from_dict({**spec.to_dict(), "hop": 3})
    with pytest.raises(ValueError, match="beta"):
        LappedSpec.from_dict({"sample_rate": 8000})


def test_presets():
    long, fast = (registry.LAPPED[f"44khz-lapped{end}"].spec for end in ("", "-fast"))
    assert (long.sample_rate, long.hop_length, long.window) == (44_100, 1024, "sine")
    assert (fast.sample_rate, fast.hop_length, fast.framing) == (44_100, 128, "tiled")
    with pytest.raises(ValueError, match="no preset '16khz-laped'; did you mean '16khz-lapped'"):
        from_pretrained("16khz-laped")
