"""Lapped frames on the host: the bank's coefficients, exact inverses, frames that follow."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import isincnet_jax as isn
from isincnet_jax import jax_names
from isincnet_jax.bank.dsp import lapped_transform
from isincnet_jax.tokens import lapped_frames
from isincnet_jax.tokens.lapped_frames import Tiling


def sizes_of(samples, tiling, step):
    chosen = lapped_frames.choose_sizes([samples], tiling, step=step)
    return [size for sizes in chosen for size in sizes]


def analyse(samples, sizes, rest, spec, cut=7):
    blocks = [samples[:cut], samples[cut:]]
    return list(lapped_frames.analyse(blocks, sizes, rest, spec))


@pytest.mark.parametrize("window", ["sine", "kbd", "vorbis"])
@pytest.mark.parametrize("length", [1, 5, 15, 16, 17, 31, 32, 33, 100])
def test_frames_of_one_size_are_those_of_the_bank(rng, window, length):
    spec = isn.LappedSpec(sample_rate=8000, hop_length=16, window=window)
    samples = rng.standard_normal((length, 2))
    tiling = Tiling(spec, 16, 16)
    tail, rest = tiling.tail(length)
    frames = analyse(samples, [16] * (length // 16) + tail, rest, spec)
    flat = np.concatenate([frame.values for frame in frames])
    with jax_names.enable_x64(True):
        bank = lapped_transform.analyse_lapped(samples.T, spec.window_angles())
        expected = np.asarray(bank).reshape(2, -1)[:, :length].T
    np.testing.assert_allclose(flat, expected, atol=1e-12)


@given(
    seed=st.integers(0, 2**32 - 1),
    length=st.integers(1, 400),
    depth=st.integers(0, 3),
    window=st.sampled_from(["sine", "kbd", "vorbis"]),
)
@example(seed=0, length=63, depth=3, window="sine")
@example(seed=0, length=64, depth=3, window="sine")
@example(seed=0, length=7, depth=3, window="sine")
def test_frames_of_any_sizes_are_orthonormal(seed, length, depth, window):
    rng = np.random.default_rng(seed)
    spec = isn.LappedSpec(sample_rate=8000, hop_length=64, window=window)
    samples = rng.standard_normal((length, 1)) * np.exp(rng.normal(size=(length, 1)))
    tiling = Tiling(spec, 64, 64 >> depth)
    tail, rest = tiling.tail(length)
    frames = analyse(samples, sizes_of(samples, tiling, 0.1) + tail, rest, spec)
    assert sum(len(frame.values) for frame in frames) == length
    energy = sum(np.sum(np.square(frame.values)) for frame in frames)
    np.testing.assert_allclose(energy, np.sum(np.square(samples)), rtol=1e-12)
    again = np.concatenate(list(lapped_frames.synthesise(frames, spec)))
    np.testing.assert_allclose(again, samples, atol=1e-12 * np.abs(samples).max())


def test_frames_are_short_at_attacks_and_long_in_tones():
    spec = isn.LappedSpec(sample_rate=16_000, hop_length=512)
    tiling = Tiling(spec, 2048, 128)
    time = np.arange(8192)
    tone = np.sin(0.1 * time)[:, None]
    assert sizes_of(tone, tiling, 0.01)[:3] == [2048] * 3  # it breaks off in the last one
    click = np.zeros((8192, 1))
    click[5000:5010] = 1.0
    sizes = sizes_of(click, tiling, 0.01)
    starts = np.cumsum([0, *sizes])
    hit = int(np.searchsorted(starts, 5000, side="right")) - 1
    assert sizes[hit] <= 256
    assert min(sizes) == 128
    assert sizes[0] == 2048


def test_sizes_are_the_cheapest_of_all_cuts(rng):
    """Oracle: every way to halve a superframe, by the same price of a coefficient."""
    spec = isn.LappedSpec(sample_rate=8000, hop_length=16)
    tiling = Tiling(spec, 16, 4)
    samples = rng.standard_normal((16, 1)) * np.array([0.01] * 9 + [2.0] * 7)[:, None]
    halves = [[8], [4, 4]]
    cuts = [[16], *(left + right for left, right in itertools.product(halves, halves))]

    def price(sizes):
        # Each frame is priced among frames of its own size, as the choice does it.
        total, start = 4.0 * (len(sizes) - 1), 0
        for size in sizes:
            frames = analyse(samples, [size] * (16 // size), 0, spec)
            values = frames[start // size].values
            total += float(np.sum(np.log2(1 + np.square(2 * values / 0.05)))) / 2
            start += size
        return total

    best = min(cuts, key=price)
    assert sizes_of(samples, tiling, 0.05) == best


def test_pieces_do_not_matter(rng):
    spec = isn.LappedSpec(sample_rate=8000, hop_length=16)
    samples = rng.standard_normal((200, 2))
    whole = analyse(samples, [16] * 12, 8, spec)
    for cut in (1, 15, 16, 150):
        for one, other in zip(whole, analyse(samples, [16] * 12, 8, spec, cut), strict=True):
            np.testing.assert_array_equal(one.values, other.values)


def test_missing_samples_are_said():
    spec = isn.LappedSpec(sample_rate=8000, hop_length=16)
    with pytest.raises(ValueError, match="16 samples wanted, 8 left"):
        list(lapped_frames.analyse([np.zeros((24, 1))], [16, 16], 0, spec))
