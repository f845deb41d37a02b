"""Folds of real uniform banks and their inverses, against dense kernels and least squares."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from isincnet_jax.bank.dsp import (
    decoders,
    folded_inverse,
    folded_synthesis,
    uniform,
    uniform_analysis,
)
from isincnet_jax.dsp import framing


def causal_window(size):
    """The first half of a Hann window's taps from its centre on, before the frame: w[-size] = 0."""
    window = np.zeros(2 * size + 1)
    window[: size + 1] = np.sin(0.5 * np.pi * np.arange(size + 1) / size) ** 2
    return window


def gains_of(num_bins):
    return 1.0 + np.random.default_rng(num_bins).uniform(0.0, 0.6, num_bins)


@functools.cache
def solved(num_bins, hop_length, size):
    return folded_inverse.solve(causal_window(size), gains_of(num_bins), hop_length=hop_length)


# N = 2 (bins - 1) of an odd and an even number of hops, odd and even hops, no fold at all, N a
# multiple of the hop, more channels than samples
GEOMETRIES = [(16, 15, 30), (16, 14, 28), (17, 16, 32), (17, 10, 20), (17, 7, 14), (12, 5, 20)]


@pytest.mark.parametrize(("num_bins", "hop_length", "size"), GEOMETRIES)
def test_the_filters_invert_with_the_noise_of_the_least_squares(num_bins, hop_length, size):
    kernels = uniform.cosine_channels(causal_window(size), gains=gains_of(num_bins))
    found = folded_inverse.synthesis_kernels(solved(num_bins, hop_length, size), gains_of(num_bins))
    found = decoders.measured(found, kernels, hop_length=hop_length)
    best = decoders.least_squares_decoder(kernels, hop_length=hop_length, num_frames=32)
    assert found.residual < 1e-8
    # Gains that differ by a half make the noise of folded values depend on each other.
    assert best.noise_gain * 0.9999 < found.noise_gain < 1.1 * best.noise_gain


def test_a_sample_takes_a_few_products():
    # The preset's proportions: 128 bins, hop 125, half a Hann window of 250 taps.
    found = solved(128, 125, 250)
    assert found.taps.shape[1] == 1
    assert np.count_nonzero(found.taps) < 11 * 125
    # Even lags of a value at the position (the earliest position has an odd one), odd ones of its
    # mirror image.
    own, image = (np.any(each[0, :, 1:], axis=1) for each in found.taps)
    assert not np.any(own[1::2])
    assert not np.any(image[::2])


@settings(max_examples=4, deadline=None)
@given(
    geometry=st.sampled_from(GEOMETRIES),
    length=st.integers(1, 200),
    seed=st.integers(0, 99),
)
@example(geometry=(16, 15, 30), length=1, seed=0)
@example(geometry=(12, 5, 20), length=200, seed=0)
def test_synthesis_equals_the_dense_kernels(geometry, length, seed):
    num_bins, hop_length, size = geometry
    inverse, gains = solved(*geometry), gains_of(num_bins)
    grid = framing.frame_grid(
        length, hop_length=hop_length, lead=size - 1, trail=0, padding="zeros"
    )
    drawn = np.random.default_rng(seed).standard_normal((2, grid.num_frames, num_bins))
    spectrogram = jnp.asarray(drawn, jnp.float32)
    place = {"first_frame": grid.first, "length": length}
    dense = folded_inverse.synthesis_kernels(inverse, gains)

    @jax.jit  # one program for every geometry and length, not dozens
    def both(spectrogram):
        found = folded_synthesis.folded_synthesis(
            spectrogram,
            jnp.asarray(inverse.taps, jnp.float32),
            inverse=inverse,
            gains=gains,
            **place,
        )
        expected = framing.synthesize_frames(
            spectrogram,
            jnp.asarray(dense.kernels, jnp.float32),
            lead=dense.lead,
            hop_length=hop_length,
            **place,
        )
        return found, expected

    found, expected = both(spectrogram)
    assert found.shape == (2, length)
    scale = float(jnp.max(jnp.abs(expected)))
    np.testing.assert_allclose(found, expected, atol=2e-6 * max(scale, 1.0))


@settings(max_examples=12, deadline=None)
@given(
    hop_length=st.integers(2, 9),
    num_bins=st.integers(2, 9),
    half_taps=st.integers(1, 16),
    causal=st.booleans(),
    padding=st.sampled_from(["zeros", "reflect"]),
    length=st.integers(20, 60),
    method=st.sampled_from([None, "folded", "fft"]),
)
@example(hop_length=4, num_bins=3, half_taps=16, causal=False, padding="zeros", length=20,
         method="folded")  # fmt: skip
def test_analysis_equals_the_dense_kernels(
    hop_length, num_bins, half_taps, causal, padding, length, method
):
    rng = np.random.default_rng(length)
    window = rng.uniform(0.1, 1.0, 2 * half_taps + 1)
    if causal:
        window[half_taps + 1 :] = 0.0
    gains = gains_of(num_bins)
    lead, trail = half_taps, 0 if causal else half_taps
    common = {"hop_length": hop_length, "padding": padding}
    grid = framing.frame_grid(length, lead=lead, trail=trail, **common)
    waveform = jnp.asarray(rng.standard_normal((2, length)), jnp.float32)
    channels = uniform.cosine_channels(window, gains=gains)

    @jax.jit
    def both(waveform):
        found = uniform_analysis.uniform_analysis(
            waveform, jnp.asarray(window, jnp.float32), num_bins=num_bins, grid=grid, lead=lead,
            trail=trail, gains=gains, method=method, **common,
        )  # fmt: skip
        padded = framing.pad_for_frames(
            waveform, grid=grid, lead=half_taps, trail=half_taps, **common
        )
        kernels = jnp.asarray(channels, jnp.float32)
        return found, framing.correlate_frames(padded, kernels, hop_length=hop_length)

    found, expected = both(waveform)
    assert found.shape == (2, grid.num_frames, num_bins)
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_gradients_and_batches_are_those_of_the_dense_kernels():
    geometry = GEOMETRIES[0]
    inverse, gains = solved(*geometry), gains_of(geometry[0])
    dense = folded_inverse.synthesis_kernels(inverse, gains)
    taps, kernels = (jnp.asarray(each, jnp.float32) for each in (inverse.taps, dense.kernels))
    place = {"first_frame": 0, "length": 70}

    def fast(spectrogram):
        return folded_synthesis.folded_synthesis(
            spectrogram, taps, inverse=inverse, gains=gains, **place
        )

    def slow(spectrogram):
        return framing.synthesize_frames(
            spectrogram, kernels, lead=dense.lead, hop_length=geometry[1], **place
        )

    rng = np.random.default_rng(0)
    spectrogram = jnp.asarray(rng.standard_normal((3, 7, geometry[0])), jnp.float32)
    weights = jnp.asarray(rng.standard_normal(70), jnp.float32)
    found, expected = (
        jax.jit(jax.grad(lambda s, run=run: jnp.sum(jax.vmap(run)(s) * weights)))(spectrogram)
        for run in (fast, slow)
    )
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_other_kernels_have_no_gains():
    kernels = uniform.cosine_channels(causal_window(30), gains=np.asarray([1.0, *gains_of(15)]))
    found = uniform.cosine_gains(kernels)
    assert found is not None
    np.testing.assert_allclose(found, [1.0, *gains_of(15)], rtol=1e-12)
    moved = kernels.copy()
    moved[3, 40 % 30] += 1e-10
    assert uniform.cosine_gains(moved) is None
    assert uniform.cosine_gains(kernels[:, :-1]) is None
    assert uniform.cosine_gains(kernels[:1]) is None
    assert uniform.cosine_gains(np.zeros_like(kernels)) is None


@pytest.mark.parametrize(
    ("window", "num_bins", "hop_length"),
    [
        (causal_window(50), 17, 15),  # folds twice: a translation and a reflection
        (causal_window(10), 16, 15),  # samples in no frame
        (np.hanning(33)[1:-1], 17, 16),  # a sample and its mirror image look alike
    ],
)
def test_folds_that_cannot_be_undone_by_short_filters(window, num_bins, hop_length):
    assert folded_inverse.solve(window, gains_of(num_bins), hop_length=hop_length) is None
