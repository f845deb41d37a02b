"""Folded DFT banks against the direct sums that they stand for."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from isincnet_jax.bank.dsp import decoders, kernels, uniform, uniform_analysis, uniform_synthesis
from isincnet_jax.dsp import framing


def dense_analysis(window, *, num_bins):
    """window * exp(2 pi i b n / N) as real channels."""
    offset = np.arange(len(window)) - len(window) // 2
    phase = 2 * np.pi * np.outer(np.arange(num_bins), offset) / (2 * (num_bins - 1))
    return np.concatenate([np.cos(phase) * window, np.sin(phase) * window])


def direct_analysis(waveform, window, *, num_bins, hop_length, grid, padding):
    """S[t, c] by the definition, sample by sample."""
    bank, center = dense_analysis(window, num_bins=num_bins), len(window) // 2
    length = len(waveform)
    coefficients = np.zeros((grid.num_frames, len(bank)))
    for t in range(grid.num_frames):
        for n in range(len(window)):
            index = (grid.first + t) * hop_length + n - center
            if padding == "reflect" and length > 1:
                index %= 2 * (length - 1)
                index = min(index, 2 * (length - 1) - index)
            elif padding == "reflect":
                index = 0
            if 0 <= index < length:
                coefficients[t] += bank[:, n] * waveform[index]
    return coefficients


@settings(max_examples=10)
@given(
    hop_length=st.integers(2, 9),
    num_bins=st.integers(2, 9),
    half_taps=st.integers(0, 16),
    causal=st.booleans(),
    padding=st.sampled_from(["zeros", "reflect"]),
    length=st.integers(1, 40),
    method=st.sampled_from([None, "folded", "fft"]),
    seed=st.integers(0, 99),
)
@example(
    hop_length=4,
    num_bins=3,
    half_taps=8,
    causal=False,
    padding="reflect",
    length=1,
    method=None,
    seed=0,
)
@example(
    hop_length=4,
    num_bins=3,
    half_taps=8,
    causal=True,
    padding="reflect",
    length=5,
    method="folded",
    seed=1,
)
@example(
    hop_length=5,
    num_bins=4,
    half_taps=0,
    causal=False,
    padding="zeros",
    length=4,
    method="folded",
    seed=2,
)
@example(
    hop_length=5,
    num_bins=9,
    half_taps=16,
    causal=True,
    padding="zeros",
    length=6,
    method="fft",
    seed=3,
)
def test_analysis_is_the_direct_sum(
    x64, hop_length, num_bins, half_taps, causal, padding, length, method, seed
):
    rng = np.random.default_rng(seed)
    window = rng.uniform(0.1, 1.0, 2 * half_taps + 1)
    if causal:
        window[half_taps + 1 :] = 0.0
    lead, trail = kernels.window_support(window)
    grid = framing.frame_grid(
        length, hop_length=hop_length, lead=lead, trail=trail, padding=padding
    )
    waveform = rng.standard_normal(length)
    analyse = jax.jit(
        functools.partial(
            uniform_analysis.uniform_analysis,
            num_bins=num_bins,
            hop_length=hop_length,
            grid=grid,
            lead=lead,
            trail=trail,
            padding=padding,
            method=method,
        )
    )
    found = analyse(jnp.asarray(waveform), jnp.asarray(window))
    expected = direct_analysis(
        waveform, window, num_bins=num_bins, hop_length=hop_length, grid=grid, padding=padding
    )
    np.testing.assert_allclose(found, expected, atol=1e-11)


def direct_synthesis(spectrogram, bank, *, hop_length, lead, first_frame, length):
    output = np.zeros(length)
    for t in range(len(spectrogram)):
        for n in range(bank.shape[1]):
            sample = (first_frame + t) * hop_length + n - lead
            if 0 <= sample < length:
                output[sample] += spectrogram[t] @ bank[:, n]
    return output


@settings(max_examples=12)
@given(
    hop_length=st.integers(1, 7),
    num_bins=st.integers(2, 9),
    before=st.integers(0, 5),
    after=st.integers(1, 5),
    first_frame=st.integers(-4, 1),
    num_frames=st.integers(1, 8),
    length=st.integers(1, 40),
    method=st.sampled_from([None, "folded", "mirrored", "fft"]),
    seed=st.integers(0, 99),
)
def test_synthesis_is_the_direct_sum(
    x64, hop_length, num_bins, before, after, first_frame, num_frames, length, method, seed
):
    rng = np.random.default_rng(seed)
    dual = rng.standard_normal((before + after) * hop_length)
    spectrogram = rng.standard_normal((num_frames, 2 * num_bins))
    options = {
        "hop_length": hop_length,
        "lead": before * hop_length,
        "first_frame": first_frame,
        "length": length,
    }
    found = jax.jit(
        functools.partial(
            uniform_synthesis.uniform_synthesis, num_bins=num_bins, method=method, **options
        )
    )(jnp.asarray(spectrogram), jnp.asarray(dual))
    # The inverse DFT without 1 / N: bins 0 and N / 2 once, the others with their mirror images.
    offset = np.arange(len(dual)) - before * hop_length
    phase = 2 * np.pi * np.outer(np.arange(num_bins), offset) / (2 * (num_bins - 1))
    weight = np.full((num_bins, 1), 2.0)
    weight[[0, -1]] = 1.0
    bank = np.concatenate([weight * np.cos(phase), weight * np.sin(phase)]) * dual
    expected = direct_synthesis(spectrogram, bank, **options)
    np.testing.assert_allclose(found, expected, atol=1e-10)
    dense = uniform.synthesis_kernels(
        dual, num_bins=num_bins, lead=before * hop_length, hop_length=hop_length
    )
    np.testing.assert_allclose(dense.kernels, bank, atol=1e-12)
    assert dense.lead == before * hop_length


@pytest.mark.parametrize("leading", [(), (3,), (2, 3), (0,), (2, 0)])
def test_leading_axes_are_kept(leading, rng):
    window = np.hanning(11)[1:-1].astype(np.float32)
    grid = framing.frame_grid(20, hop_length=4, lead=4, trail=4, padding="zeros")
    waveform = rng.standard_normal((*leading, 20)).astype(np.float32)
    analyse = functools.partial(
        uniform_analysis.uniform_analysis,
        num_bins=5,
        hop_length=4,
        grid=grid,
        lead=4,
        trail=4,
        padding="zeros",
    )
    spectrogram = jax.jit(analyse)(waveform, window)
    assert spectrogram.shape == (*leading, grid.num_frames, 10)
    synthesise = functools.partial(
        uniform_synthesis.uniform_synthesis,
        num_bins=5,
        hop_length=4,
        lead=4,
        first_frame=grid.first,
        length=20,
    )
    again = jax.jit(synthesise)(spectrogram, np.ones(8, np.float32))
    assert again.shape == (*leading, 20)


@pytest.mark.parametrize(
    ("hop_length", "num_bins", "taps", "reach", "causal"),
    [
        (4, 5, 17, 7, False),
        (4, 9, 17, 8, False),
        (5, 6, 21, 10, False),
        (3, 9, 15, 8, False),
        (4, 9, 33, 16, True),
    ],
)
def test_dual_window_reconstructs_exactly(hop_length, num_bins, taps, reach, causal):
    window = kernels.make_window("hann", taps, causal=causal)
    ahead = reach + (-(2 * reach + 1)) % hop_length
    dual, violation = uniform.dual_window(
        window, hop_length=hop_length, num_bins=num_bins, reach=reach, reach_ahead=ahead
    )
    assert violation < 1e-11
    # The oracle: impulses through the dense bank and the dense synthesis kernels.
    dense = uniform.synthesis_kernels(dual, num_bins=num_bins, lead=reach, hop_length=hop_length)
    whole = decoders.aligned_to_hops(dense.kernels, lead=reach, hop_length=hop_length)
    bank = dense_analysis(window, num_bins=num_bins)
    found = decoders.measured(whole, bank, hop_length=hop_length)
    # A residual of float64 rounding, times the noise gain of a few.
    assert found.residual < 1e-11


def test_dual_window_is_of_least_energy():
    window = kernels.make_window("hann", 33)
    dual, violation = uniform.dual_window(window, hop_length=4, num_bins=17, reach=16)
    assert violation < 1e-12
    # With N >= taps (the painless case) the canonical dual is window / (N sum_t window^2).
    squares = np.zeros(4)
    for n, value in enumerate(window**2):
        squares[(n - 16) % 4] += value
    expected = window / (32 * squares[(np.arange(33) - 16) % 4])
    np.testing.assert_allclose(dual, expected, atol=1e-14)


@pytest.mark.parametrize(
    ("hop_length", "num_bins", "taps"),
    [
        (3, 4, 31),  # 6 frequencies for a window of 31 taps at a hop of 3: no exact dual
        (4, 2, 9),  # fewer channels than samples
    ],
)
def test_impossible_duals_are_reported(hop_length, num_bins, taps):
    window = kernels.make_window("hann", taps)
    dual, violation = uniform.dual_window(
        window, hop_length=hop_length, num_bins=num_bins, reach=3 * hop_length
    )
    assert np.all(np.isfinite(dual))
    assert violation > 1e-3


def test_dual_that_reaches_no_sample_of_some_residue_is_reported():
    _, violation = uniform.dual_window(
        kernels.make_window("hann", 33), hop_length=8, num_bins=17, reach=0, reach_ahead=2
    )
    assert violation == 1.0


def test_dual_of_broken_hops_is_refused():
    with pytest.raises(ValueError, match="must be multiples of hop_length=4"):
        uniform_synthesis.uniform_synthesis(
            jnp.zeros((3, 10)),
            jnp.zeros(9),
            num_bins=5,
            hop_length=4,
            lead=4,
            first_frame=0,
            length=8,
        )


@pytest.mark.parametrize(
    ("num_bins", "operation", "dtype", "expected"),
    [
        (128, "analysis", np.float32, "folded"),  # N = 254 = 2 x 127
        (257, "analysis", np.float32, "fft"),
        (257, "analysis", jnp.bfloat16, "folded"),
        (257, "synthesis", np.float64, "fft"),
        (257, "synthesis", np.float16, "mirrored"),
        (512, "synthesis", np.float32, "fft"),  # N = 1022 = 2 x 7 x 73
        (258, "synthesis", np.float32, "mirrored"),  # N = 514 = 2 x 257
        (2, "analysis", np.float32, "fft"),
    ],
)
def test_the_rule(num_bins, operation, dtype, expected):
    assert uniform.choose_method(num_bins, operation=operation, dtype=dtype) == expected
