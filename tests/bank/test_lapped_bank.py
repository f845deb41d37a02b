"""LappedBank: exact round trips, tokens that survive a 16-bit file, learned windows."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isincnet_jax import LappedBank, LappedSpec, demo_waveform
from isincnet_jax.pretrained.registry import LAPPED

SMALL = LappedSpec(sample_rate=8000, hop_length=8)


@functools.partial(jax.jit, static_argnames="bank")
def encode(waveform, variables=None, *, bank):
    return bank.apply(variables or {}, waveform, method="encode")


@functools.partial(jax.jit, static_argnames=("bank", "length"))
def decode(coefficients, variables=None, *, bank, length=None):
    return bank.apply(variables or {}, coefficients, length=length, method="decode")


@functools.partial(jax.jit, static_argnames="bank")
def reconstruct(waveform, variables=None, *, bank):
    return bank.apply(variables or {}, waveform)


def round_trip_db(spec, waveform):
    again = np.asarray(reconstruct(waveform, bank=LappedBank(spec)))
    assert again.dtype == np.float32
    error = np.sum(np.square(again - waveform, dtype=np.float64))
    # An error of exactly 0 counts as one of 1e-15.
    return 10 * np.log10(np.sum(np.square(waveform, dtype=np.float64)) / max(error, 1e-30))


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    ("name", "length"),
    [
        ("16khz-lapped", 16_384),
        ("16khz-lapped-fast", 16_100),
        ("16khz-lapped", 1),
        ("16khz-lapped", 511),
        ("16khz-lapped", 512),
        ("16khz-lapped", 513),
        ("16khz-lapped", 16_127),
        ("44khz-lapped", 44_100),
    ],
)
def test_round_trips_of_presets(name, length, rng):
    """Some 40 roundings of relative size 2^-24 / sqrt(6): 136 dB, less at odd sizes."""
    waveform = rng.uniform(-1, 1, (1, length)).astype(np.float32)
    assert round_trip_db(LAPPED[name].spec, waveform) > 134


@pytest.mark.quick(0)
@settings(max_examples=8)
@given(
    name=st.sampled_from(["16khz-lapped", "16khz-lapped-fast"]),
    window=st.sampled_from(["sine", "kbd", "vorbis"]),
    framing=st.sampled_from(["tiled", "zeros"]),
    length=st.integers(1, 3000),
)
def test_round_trips_of_every_length(name, window, framing, length):
    """FFTs round most at sizes with a large prime factor, as the last block's may be."""
    waveform = np.random.default_rng(length).uniform(-1, 1, (1, length)).astype(np.float32)
    spec = LAPPED[name].spec.replace(window=window, framing=framing)
    assert round_trip_db(spec, waveform) > 128


@pytest.mark.quick(1)
@pytest.mark.parametrize(
    ("length", "window"), [(16_000, "sine"), (8192, "kbd"), (9001, "vorbis"), (700, "sine")]
)
def test_tokens_of_a_decoded_16_bit_file_are_the_same(length, window):
    """Rounding to 16 bits moves a coefficient by some 0.3 LSB; half a step is 16 LSB."""
    bank, step = LappedBank(LappedSpec(window=window)), 0.001
    waveform = 0.9 * demo_waveform(16_000)[None, :length]
    first = np.round(encode(waveform, bank=bank) / step)
    assert np.count_nonzero(first) > 0.01 * length
    codes = first
    for _ in range(3):
        sound = decode(jnp.asarray(codes * step, jnp.float32), bank=bank, length=length)
        stored = np.round(np.asarray(sound) * 32_768).astype(np.int16)
        codes = np.round(encode((stored / 32_768).astype(np.float32), bank=bank) / step)
        np.testing.assert_array_equal(codes, first)


@pytest.mark.quick(0)
@pytest.mark.parametrize("framing", ["tiled", "zeros"])
def test_latency_is_what_must_have_come(framing, rng):
    """The first sample of an overlap is in two blocks, which then do not change any more."""
    spec = SMALL.replace(framing=framing)
    bank = LappedBank(spec)
    sample = 12 if framing == "tiled" else 8  # half a hop before the border of blocks 1 and 2
    enough = sample + spec.latency + 1
    waveform = rng.standard_normal(40).astype(np.float32)
    late, just, whole = (
        encode(waveform[:length], bank=bank)[1:3] for length in (enough - 1, enough, 40)
    )
    np.testing.assert_allclose(just, whole, atol=1e-6)
    assert np.max(np.abs(late[1] - whole[1])) > 1e-3


class TestLearnableWindow:
    BANK = LappedBank(SMALL, learnable=True)

    @staticmethod
    @jax.jit
    def window(variables):
        return TestLearnableWindow.BANK.apply(variables, method="window")

    def test_it_starts_as_the_spec_says(self, rng):
        waveform = rng.standard_normal((1, 30)).astype(np.float32)
        variables = jax.jit(self.BANK.init)(jax.random.key(0), waveform)
        assert jax.tree.map(jnp.shape, variables) == {"params": {"angles": (4,)}}
        np.testing.assert_allclose(self.window(variables), SMALL.window_taps(), atol=1e-6)
        wanted = encode(waveform, bank=LappedBank(SMALL))
        np.testing.assert_allclose(encode(waveform, variables, bank=self.BANK), wanted, atol=1e-6)

    def test_any_angles_are_exact_and_orthonormal(self, rng):
        variables = {"params": {"angles": jnp.asarray(rng.uniform(-3, 3, 4), jnp.float32)}}
        matrix = np.reshape(
            encode(np.eye(30, dtype=np.float32), variables, bank=self.BANK), (30, -1)
        )
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(30), atol=1e-6)
        again = reconstruct(np.eye(30, dtype=np.float32), variables, bank=self.BANK)
        np.testing.assert_allclose(again, np.eye(30), atol=1e-6)
        window = np.asarray(self.window(variables))
        np.testing.assert_allclose(window[:8] ** 2 + window[8:] ** 2, 1.0, atol=1e-6)
        np.testing.assert_array_equal(window, window[::-1])

    def test_gradients_make_spectra_sparser(self, rng):
        """A step against the gradient of the sum of magnitudes lowers it."""
        waveform = np.sin(0.3 * np.arange(80, dtype=np.float32))[None]

        @jax.jit
        def loss(angles):
            found = self.BANK.apply({"params": {"angles": angles}}, waveform, method="encode")
            return jnp.sum(jnp.sqrt(found**2 + 1e-4))

        angles = jnp.asarray(rng.uniform(0, 1.5, 4), jnp.float32)
        start, slope = jax.jit(jax.value_and_grad(loss))(angles)
        assert loss(angles - np.float32(1e-3) * slope) < start


def test_a_fixed_bank_has_no_variables():
    init = functools.partial(LappedBank(SMALL).init, jax.random.key(0))
    assert jax.eval_shape(init, jnp.zeros((1, 9))) == {}


def test_float64(rng, x64):
    waveform = rng.standard_normal(21)
    bank = LappedBank(SMALL, dtype=jnp.float64)
    np.testing.assert_allclose(reconstruct(waveform, bank=bank), waveform, atol=1e-14)


def test_wrong_arguments_are_refused():
    bank = LappedBank(SMALL)
    with pytest.raises(ValueError, match="dtype=bfloat16: use float32 or float64"):
        LappedBank(SMALL, dtype=jnp.bfloat16)
    with pytest.raises(TypeError, match="scale integers first"):
        bank.apply({}, np.zeros(9, np.int16))
    with pytest.raises(TypeError, match="the layer works in float32"):
        bank.apply({}, np.zeros(9))
    with pytest.raises(ValueError, match="3 frames: 30 samples have 4"):
        bank.apply({}, jnp.zeros((3, 8)), length=30, method="decode")
    with pytest.raises(ValueError, match="7 bins"):
        bank.apply({}, jnp.zeros((3, 7)), method="decode")
    with pytest.raises(TypeError, match="is a list"):
        bank.apply({}, [0.0])


@pytest.mark.parametrize("window", ["sine", "kbd", "vorbis"])
def test_kernels_are_what_a_frame_is_weighed_by(window):
    spec = LappedSpec(sample_rate=8000, hop_length=16, window=window)
    kernels = spec.design_kernels()
    np.testing.assert_allclose(kernels @ kernels.T, np.eye(16), atol=1e-12)
    waveform = np.random.default_rng(0).uniform(-1, 1, 80).astype(np.float32)
    coefficients = LappedBank(spec).apply({}, waveform, method="encode")
    # Frame 2 begins half a hop before its block.
    np.testing.assert_allclose(coefficients[2], kernels @ waveform[24:56], atol=1e-5)
