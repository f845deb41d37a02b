"""The layers over the phase vocoder: their functions' values, no variables, refusals."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from isincnet_jax.spectrograms.dsp import time_stretch
from isincnet_jax.spectrograms.time_scale import PitchShift, TimeStretch

FRAMES = {"n_fft": 256, "hop_length": 50, "win_length": 200, "window": "blackman"}


@pytest.mark.quick(0)
@pytest.mark.parametrize(
    ("layer", "function", "options"),
    [
        (TimeStretch, time_stretch.time_stretch, {"rate": 1.3}),
        (PitchShift, time_stretch.pitch_shift, {"n_steps": 2.5, "bins_per_octave": 24}),
    ],
)
def test_values_are_those_of_the_function(layer, function, options, rng):
    clip = jnp.asarray(rng.standard_normal((2, 600)), jnp.float32)
    module = layer(**options, **FRAMES)
    assert not jax.jit(module.init)(jax.random.key(0), clip)
    found = jax.jit(lambda x: module.apply({}, x))(clip)
    expected = jax.jit(lambda x: function(x, **options, **FRAMES))(clip)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    # Every option has an effect.
    for name, value in {"hop_length": 40, "win_length": 180, "window": "hann"}.items():
        changed = layer(**options, **{**FRAMES, name: value})
        other = jax.jit(lambda x, changed=changed: changed.apply({}, x))(clip)
        assert np.max(np.abs(np.asarray(other) - found)) > 1e-3, name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_fft": 0}, "n_fft=0"),
        ({"win_length": 4096}, "win_length=4096"),
        ({"hop_length": 1025}, "hop_length=1025"),
        ({"win_length": 3}, "hop_length=0"),
        ({"window": "nonesuch"}, "[Ww]indow"),
    ],
)
def test_what_cannot_be_is_refused_at_construction(options, message):
    with pytest.raises(ValueError, match=message):
        TimeStretch(rate=2.0, **options)
    with pytest.raises(ValueError, match=message):
        PitchShift(n_steps=1, **options)


def test_other_refusals():
    with pytest.raises(ValueError, match="rate=0"):
        TimeStretch(rate=0.0)
    with pytest.raises(ValueError, match="n_steps=inf"):
        PitchShift(n_steps=float("inf"))
    with pytest.raises(ValueError, match="bins_per_octave=0"):
        PitchShift(n_steps=1, bins_per_octave=0)
    with pytest.raises(TypeError, match="int32"):
        TimeStretch(rate=2.0).apply({}, jnp.zeros(4000, jnp.int32))
