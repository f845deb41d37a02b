"""The CFP layer: its function's values, no variables, frequencies, frame times, refusals."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from isincnet_jax.spectrograms.cfp import CFP
from isincnet_jax.spectrograms.dsp import cfp

SMALL = {"sample_rate": 4000, "hop_length": 100, "frequency_resolution": 5.0, "win_length": 401}


def test_values_are_those_of_the_function_and_there_are_no_variables(rng):
    layer = CFP(**SMALL)
    clip = jnp.asarray(rng.standard_normal((2, 900)), jnp.float32)
    assert not jax.jit(layer.init)(jax.random.key(0), clip)
    features = jax.jit(lambda x: layer.apply({}, x, method="features"))(clip)
    expected = jax.jit(functools.partial(cfp.combined_frequency_periodicity, **SMALL))(clip)
    for found, part in zip(features, expected, strict=True):
        np.testing.assert_allclose(found, part, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
        jax.jit(layer.apply)({}, clip), expected.salience, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("win_length", [400, 401])
def test_frequencies_and_frame_times_are_those_of_the_output(center, win_length):
    """A click's salience is highest, in the mean over bands, in the frame whose middle it is."""
    layer = CFP(**{**SMALL, "win_length": win_length}, center=center)
    samples = 2345
    times = layer.frame_times(samples)
    clip = np.zeros(samples, np.float32)
    clip[round(times[7] * layer.sample_rate)] = 1.0
    features = jax.jit(lambda x: layer.apply({}, x, method="features"))(jnp.asarray(clip))
    magnitude = features.magnitude
    assert magnitude.shape == (len(times), len(layer.frequencies))
    assert int(jnp.argmax(jnp.sum(magnitude, axis=-1))) == 7
    assert times[0] == (0.0 if center else (win_length + 1) // 2 / 4000)
    assert layer.n_fft == 800


@pytest.mark.parametrize("samples", [1, 2, 57, 401])
def test_short_clips(samples):
    layer = CFP(**SMALL)
    found = jax.jit(layer.apply)({}, jnp.ones((3, samples), jnp.float32))
    assert found.shape == (3, 1 + samples // 100, len(layer.frequencies))
    assert np.all(np.isfinite(found))


def test_what_cannot_be_is_refused_at_construction():
    with pytest.raises(ValueError, match="win_length=2049"):
        CFP(frequency_resolution=8.0)
    with pytest.raises(ValueError, match="2 powers"):
        CFP(gammas=(1.0,))
    with pytest.raises(TypeError, match="int16"):
        CFP().apply({}, jnp.zeros(4000, jnp.int16))
    with pytest.raises(ValueError, match="shorter than a frame"):
        CFP(**SMALL, center=False).apply({}, jnp.zeros(300, jnp.float32))
