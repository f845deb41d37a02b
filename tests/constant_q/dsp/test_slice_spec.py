"""Settings and windows of slices."""

from __future__ import annotations

import numpy as np
import pytest

from isincnet_jax.constant_q.dsp import slice_spec
from isincnet_jax.constant_q.dsp.gabor_spec import GaborSpec

SMALL = {"sample_rate": 8000, "fmin": 500.0, "n_bins": 10, "bins_per_octave": 4, "hop_length": 6}


def test_windows_of_slices_add_up():
    for tight in (False, True):
        spec = slice_spec.SliceSpec(GaborSpec(**SMALL, tight=tight), 384, 77)
        window, dual = slice_spec.slice_windows(spec)
        np.testing.assert_allclose(window * dual + np.roll(window * dual, 192), 1, rtol=1e-12)
        power = 2 if tight else 1
        np.testing.assert_allclose(window**power + np.roll(window, 192) ** power, 1, rtol=1e-12)
        assert np.count_nonzero(window > 1e-12) <= 192 + 77


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"slice_length": 1000}, "slice_length=1000 must be a multiple of"),
        ({"slice_length": 0}, "slice_length=0"),
        ({"slice_length": 96}, "slice_length >= 192"),
        ({"transition_length": 0}, "transition_length=0"),
        ({"slice_length": 384, "transition_length": 193}, "= 192"),
        ({"layout": "octaves"}, "layout='octaves'"),
    ],
)
def test_wrong_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        slice_spec.SliceSpec(GaborSpec(**SMALL), **options)
