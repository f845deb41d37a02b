"""Lapped transform against direct cosine sums, dense linear algebra and SciPy's windows."""

from __future__ import annotations

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st

from isincnet_jax.bank.dsp import lapped_transform as lapped

HOP = 8
SINE = lapped.window_angles("sine", HOP)


def textbook(waveform, window):
    """MDCT of a signal, frame by frame, by the formula: window t begins at sample t N."""
    hop = len(window) // 2
    n, k = np.arange(2 * hop), np.arange(hop)
    cosines = np.cos(np.pi / hop * np.outer(k + 0.5, n + 0.5 + hop / 2))
    starts = range(0, len(waveform) - 2 * hop + 1, hop)
    frames = np.stack([waveform[start : start + 2 * hop] * window for start in starts])
    return np.sqrt(2 / hop) * frames @ cosines.T


def direct_tiles(length, window):
    """Rows of the tiled transform, by the formula for every block: [length, length]."""
    hop = len(window) // 2
    half = hop // 2
    edges = [*range(0, max(length // hop, 1) * hop, hop), length]
    rows = []
    for begin, end in itertools.pairwise(edges):
        size, weight = end - begin, np.zeros(length)
        weight[begin:end] = 1
        if begin > 0:
            weight[begin - half : begin + half] = window[:hop]
        if end < length:
            weight[end - half : end + half] = window[hop:]
        phase = np.outer(np.arange(size) + 0.5, np.arange(length) - begin + 0.5 + size)
        rows.append(np.sqrt(2 / size) * np.cos(np.pi / size * phase) * weight)
    return np.concatenate(rows)


@functools.partial(jax.jit, static_argnames="framing")
def analyse(waveform, angles=None, *, framing="tiled"):
    angles = SINE if angles is None else angles
    return lapped.analyse_lapped(waveform, angles, framing=framing)


@functools.partial(jax.jit, static_argnames=("length", "framing"))
def synthesise(coefficients, angles=None, *, length=None, framing="tiled"):
    angles = SINE if angles is None else angles
    return lapped.synthesise_lapped(coefficients, angles, length=length, framing=framing)


class TestWindows:
    @pytest.mark.parametrize("hop", [2, 8, 34])
    def test_they_are_what_their_papers_say(self, hop):
        x = np.pi * (np.arange(2 * hop) + 0.5) / (2 * hop)
        known = {
            ("sine", None): np.sin(x),
            ("vorbis", None): np.sin(np.pi / 2 * np.sin(x) ** 2),
            ("kbd", 9.0): scipy.signal.windows.kaiser_bessel_derived(2 * hop, beta=9.0),
        }
        for (name, beta), wanted in known.items():
            angles = lapped.window_angles(name, hop, beta=beta)
            assert angles.dtype == np.float64
            np.testing.assert_allclose(lapped.window_of_angles(angles), wanted, atol=1e-14)

    def test_any_angles_are_a_window_of_perfect_reconstruction(self, rng):
        window = lapped.window_of_angles(rng.uniform(-9, 9, 5))
        np.testing.assert_allclose(window[:10] ** 2 + window[10:] ** 2, 1.0)
        np.testing.assert_array_equal(window, window[::-1])

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("hann", 8, None), "window='hann' is unknown; use sine, kbd, vorbis"),
            (("sine", 7, None), "hop_length=7 must be even .* use 8"),
            (("sine", 0, None), "hop_length=0 must be even and at least 2: .* use 2"),
            (("kbd", 8, None), "'kbd' needs a beta"),
            (("sine", 8, 4.0), "the others have none"),
            (("kbd", 8, -1.0), "beta=-1.0 must be at least 0"),
            (("kbd", 8, np.inf), "beta=inf must be at least 0 and finite"),
        ],
    )
    def test_others_are_refused(self, arguments, message):
        window, hop, beta = arguments
        with pytest.raises(ValueError, match=message):
            lapped.window_angles(window, hop, beta=beta)


@pytest.mark.quick(4)
@pytest.mark.parametrize("length", [1, 7, 17, 24, 29, 8, 2, 9, 15, 16, 23, 25, 31, 32, 33])
def test_tiled_is_an_orthogonal_matrix_of_direct_sums(length, x64):
    frames = -(-length // HOP)
    found = analyse(np.eye(length))
    assert found.shape == (length, frames, HOP)
    matrix = np.reshape(found, (length, -1))
    wanted = direct_tiles(length, lapped.window_of_angles(SINE))
    np.testing.assert_allclose(matrix[:, :length].T, wanted, atol=1e-13)
    np.testing.assert_array_equal(matrix[:, length:], 0)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(length), atol=1e-13)
    np.testing.assert_allclose(synthesise(found, length=length), np.eye(length), atol=1e-13)


@pytest.mark.quick(1)
@pytest.mark.parametrize("length", [20, 1, 8, 9, 16])
def test_zeros_are_the_textbooks_mdct(length, x64):
    frames = -(-length // HOP) + 1
    found = analyse(np.eye(length), framing="zeros")
    assert found.shape == (length, frames, HOP)
    padded = np.pad(np.eye(length), [(0, 0), (HOP, frames * HOP - length)])
    wanted = [textbook(row, lapped.window_of_angles(SINE)) for row in padded]
    np.testing.assert_allclose(found, wanted, atol=1e-13)
    again = synthesise(found, length=length, framing="zeros")
    np.testing.assert_allclose(again, np.eye(length), atol=1e-13)


def test_tiled_is_the_textbooks_mdct_away_from_the_ends(rng, x64):
    waveform = rng.standard_normal(45)
    wanted = textbook(waveform[HOP // 2 :], lapped.window_of_angles(SINE))
    np.testing.assert_allclose(analyse(waveform)[1:4], wanted[:3], atol=1e-13)


def test_slices_on_the_grid_have_the_same_coefficients(rng):
    waveform = rng.standard_normal(90).astype(np.float32)
    whole, part = analyse(waveform), analyse(waveform[16:75])
    np.testing.assert_allclose(part[1:-2], whole[3:8], atol=1e-6)


@pytest.mark.quick(0)
@settings(max_examples=8)
@given(
    half=st.integers(1, 70),
    length=st.integers(1, 400),
    framing=st.sampled_from(["tiled", "zeros"]),
    seed=st.integers(0, 99),
)
def test_round_trips_are_exact_for_any_angles(half, length, framing, seed):
    rng = np.random.default_rng(seed)
    angles = rng.uniform(-4, 4, half).astype(np.float32)
    waveform = rng.uniform(-1, 1, (2, length)).astype(np.float32)
    found = analyse(waveform, angles, framing=framing)
    energy = np.sum(np.square(found, dtype=np.float64), axis=(1, 2))
    np.testing.assert_allclose(energy, np.sum(np.square(waveform, dtype=np.float64), 1), rtol=1e-5)
    again = synthesise(found, angles, length=length, framing=framing)
    assert again.shape == waveform.shape
    np.testing.assert_allclose(again, waveform, atol=3e-6)


def test_gradients_are_those_of_finite_differences(rng, x64):
    waveform, angles, *ways = (rng.standard_normal(size) for size in (21, HOP // 2) * 2)

    @jax.jit
    def loss(waveform, angles):
        found = jnp.tanh(lapped.analyse_lapped(waveform, angles))
        return jnp.sum(lapped.synthesise_lapped(found, angles, length=21) ** 3)

    gradients = jax.jit(jax.grad(loss, (0, 1)))(waveform, angles)
    for index, way in enumerate(ways):
        step = [np.zeros(21), np.zeros(HOP // 2)]
        step[index] = 1e-6 * way
        ahead = float(loss(waveform + step[0], angles + step[1]))
        behind = float(loss(waveform - step[0], angles - step[1]))
        assert np.dot(gradients[index], way) == pytest.approx((ahead - behind) / 2e-6, rel=1e-6)


def test_batches_map_and_may_be_empty(rng):
    waveform = rng.standard_normal((2, 3, 20)).astype(np.float32)
    found = analyse(waveform)
    assert found.shape == (2, 3, 3, HOP)
    np.testing.assert_allclose(jax.vmap(analyse)(waveform), found, atol=1e-6)
    assert synthesise(analyse(waveform[:0]), length=20).shape == (0, 3, 20)


@pytest.mark.parametrize(("framing", "length"), [("tiled", 24), ("zeros", 16)])
def test_lengths_follow_from_frames(framing, length):
    decode = functools.partial(synthesise, framing=framing)
    assert jax.eval_shape(decode, jnp.zeros((3, HOP))).shape == (length,)


class TestWrongArguments:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"length": 25}, "3 frames: 25 samples have 4"),
            ({"length": 16}, "3 frames: 16 samples have 2"),
            ({"length": 0}, "length=0 must be an integer of at least 1"),
            ({"framing": "reflect"}, "framing='reflect' is unknown; use tiled, zeros"),
            ({"framing": "zeros", "length": 24}, "3 frames: 24 samples have 4"),
        ],
    )
    def test_synthesis(self, options, message):
        with pytest.raises(ValueError, match=message):
            lapped.synthesise_lapped(jnp.zeros((3, HOP)), SINE, **options)

    def test_shapes(self):
        with pytest.raises(ValueError, match="9 bins: the window has a hop of 8"):
            lapped.synthesise_lapped(jnp.zeros((3, 9)), SINE)
        with pytest.raises(ValueError, match="needs 2 axes"):
            lapped.synthesise_lapped(jnp.zeros(HOP), SINE)
        with pytest.raises(ValueError, match="half a hop of angles"):
            lapped.analyse_lapped(jnp.zeros(9), SINE[:0])
        with pytest.raises(ValueError, match="the last axis is time and needs a sample"):
            lapped.analyse_lapped(jnp.zeros((2, 0)), SINE)
        with pytest.raises(ValueError, match="framing='same' is unknown"):
            lapped.analyse_lapped(jnp.zeros(9), SINE, framing="same")

    def test_one_frame_of_zeros_alone_has_no_samples(self):
        with pytest.raises(ValueError, match="length=0 must be an integer of at least 1"):
            lapped.synthesise_lapped(jnp.zeros((1, HOP)), SINE, framing="zeros")

    def test_dtypes(self):
        with pytest.raises(TypeError, match="scale integers first"):
            lapped.analyse_lapped(np.zeros(9, np.int16), SINE)
        with pytest.raises(TypeError, match=r"coefficients\.dtype=int32"):
            lapped.synthesise_lapped(jnp.zeros((1, HOP), jnp.int32), SINE)
