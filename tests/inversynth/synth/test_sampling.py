"""Random sounds from keys."""

from __future__ import annotations

import functools

import jax
import numpy as np
import scipy.stats

from isincnet_jax.inversynth.synth import sampling
from isincnet_jax.inversynth.synth.parameters import values_from_levels
from isincnet_jax.inversynth.synth.render import render

levels_of = jax.jit(sampling.sample_levels, static_argnums=1)
batch_of = jax.jit(functools.partial(sampling.sample_batch, batch=8, num_samples=1000))


def test_levels_are_even_and_independent():
    levels = np.asarray(levels_of(jax.random.key(3), 8000))
    assert levels.dtype == np.int32
    assert levels.shape == (8000, 23)
    counts = np.stack([np.bincount(column, minlength=16) for column in levels.T])
    assert counts.shape == (23, 16)
    assert scipy.stats.chisquare(counts, axis=1).pvalue.min() > 1e-4
    correlation = np.corrcoef(levels.T) - np.eye(23)
    assert np.max(np.abs(correlation)) < 0.06


def test_batches_are_sounds_of_their_levels_and_repeat_with_the_key():
    waveform, levels = batch_of(jax.random.key(5))
    assert (waveform.shape, waveform.dtype) == ((8, 1000), np.float32)
    expected = render(values_from_levels(levels), num_samples=1000)
    np.testing.assert_allclose(waveform, expected, atol=1e-4)
    again, same = batch_of(jax.random.key(5))
    np.testing.assert_array_equal(again, waveform)
    np.testing.assert_array_equal(same, levels)
    _, other = batch_of(jax.random.key(6))
    assert np.any(np.asarray(other) != np.asarray(levels))
