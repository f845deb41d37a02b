"""Multirate kernels: the fit is what it says it is, and any hop is right."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isincnet_jax.constant_q.dsp import multirate
from isincnet_jax.constant_q.dsp.multirate_analysis import correlate_multirate, expand_kernels

TOLERANCE = 7e-6


def hann_kernel(frequency: float, length: int) -> multirate.Kernel:
    n = np.arange(length) - length // 2
    taps = np.hanning(length) * np.exp(2j * np.pi * frequency * n)
    return multirate.Kernel(-(length // 2), taps / np.abs(taps).sum())


def direct_frames(signal, kernel, *, position, hop, num_frames):
    """Inner products with the conjugate kernel, the signal being 0 beyond its ends."""
    reach = num_frames * hop + 2 * len(kernel.taps)
    padded = np.pad(signal, (reach, reach))
    starts = reach + position + kernel.first + hop * np.arange(num_frames)
    rows = padded[starts[:, None] + np.arange(len(kernel.taps))]
    return rows @ kernel.taps.conj()


@pytest.mark.parametrize("tolerance", [7e-6, 2e-3])
def test_halfband_filter_has_no_delay_and_passes_low_frequencies(tolerance):
    taps = multirate.halfband(tolerance)
    reach = len(taps) // 2
    np.testing.assert_array_equal(taps, taps[::-1])
    assert taps.sum() == pytest.approx(1.0)
    assert np.count_nonzero(taps[(np.arange(-reach, reach + 1) % 2) == 0]) == 1
    stop = np.abs(np.fft.rfft(taps, 4096))[int(4096 * 0.36) :]
    assert 20 * np.log10(stop.max()) < (-105 if tolerance < 1e-4 else -75)


@pytest.mark.parametrize("level", [1, 2, 4])
def test_reported_error_is_that_of_the_expanded_kernel(level, x64):
    kernel = hann_kernel(0.02 / level, 301 * level)
    short, error = multirate.fit_kernel(kernel, level=level, tolerance=TOLERANCE)
    first, taps = expand_kernels(
        jnp.asarray(short.taps)[None], first=short.first, level=level, tolerance=TOLERANCE
    )
    whole = np.array(taps[0])
    start = kernel.first - first
    whole[start : start + len(kernel.taps)] -= kernel.taps
    measured = np.linalg.norm(whole) / np.linalg.norm(kernel.taps)
    assert measured == pytest.approx(error, rel=0.05, abs=2e-8)
    assert len(short.taps) < len(kernel.taps) / 2**level + 8


def test_fit_beats_any_other_kernel_on_the_same_support(rng, x64):
    kernel = hann_kernel(0.06, 200)
    short, error = multirate.fit_kernel(kernel, level=2, tolerance=TOLERANCE)

    def error_of(taps):
        first, full = expand_kernels(
            jnp.asarray(taps)[None], first=short.first, level=2, tolerance=TOLERANCE
        )
        whole = np.array(full[0])
        start = kernel.first - first
        whole[start : start + len(kernel.taps)] -= kernel.taps
        return np.linalg.norm(whole) / np.linalg.norm(kernel.taps)

    for _ in range(5):
        step = rng.standard_normal(len(short.taps)) * 1e-5
        assert error_of(short.taps + step) > error_of(short.taps)
    assert error_of(short.taps) == pytest.approx(error, rel=0.05)


def test_broad_kernels_stay_at_the_full_rate():
    click = multirate.Kernel(-8, np.hanning(17).astype(complex))
    high = hann_kernel(0.45, 400)
    assert multirate.choose_levels([click], hop_length=64, tolerance=TOLERANCE) == [0]
    assert multirate.choose_levels([high], hop_length=64, tolerance=TOLERANCE) == [0]
    long = hann_kernel(0.002, 8000)
    assert multirate.choose_levels([long], hop_length=64, tolerance=0.0) == [0]
    assert multirate.choose_levels([long], hop_length=64, tolerance=TOLERANCE)[0] >= 3


@pytest.mark.tail
@settings(max_examples=6)
@given(
    hop=st.sampled_from([1, 7, 24, 64]),
    level=st.integers(0, 4),
    num_frames=st.integers(1, 12),
    position=st.integers(-50, 400),
    seed=st.integers(0, 99),
)
def test_any_hop_and_level_equals_the_direct_sum(hop, level, num_frames, position, seed):
    kernels = [hann_kernel(0.004, 2400), hann_kernel(0.0053, 1801), hann_kernel(0.2, 50)]
    levels = [level, level, 0]
    groups = multirate.group_kernels(kernels, levels=levels, tolerance=TOLERANCE)
    assert sum(group.taps.shape[0] for group in groups) == 3
    signal = np.random.default_rng(seed).standard_normal(3000)
    correlate = functools.partial(
        correlate_multirate,
        groups=groups,
        position=position,
        hop_length=hop,
        num_frames=num_frames,
        tolerance=TOLERANCE,
    )
    real, imag = jax.jit(correlate)(np.asarray(signal, np.float32)[None])
    expected = np.stack(
        [
            direct_frames(signal, k, position=position, hop=hop, num_frames=num_frames)
            for k in kernels
        ],
        axis=-1,
    )
    got = np.asarray(real[0]) + 1j * np.asarray(imag[0])
    assert got.shape == expected.shape
    assert np.linalg.norm(got - expected) <= 1e-5 * np.linalg.norm(expected) + 1e-7
