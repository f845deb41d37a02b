"""Entropy estimates against their definitions; the coder bit for bit; the model's integers."""

from __future__ import annotations

import fractions
import math
import sys
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import isincnet_jax as isn
from isincnet_jax.tokens import code_model, entropy

LARGEST = 1 << 20
PINNED = (1472, 797605772)  # bytes and CRC-32


def _encoder(num_audio, num_parts, turns):
    return entropy.RowEncoder(num_audio=num_audio, num_parts=num_parts, turns=turns)


def _decoder(num_audio, num_parts, turns):
    return entropy.RowDecoder(num_audio=num_audio, num_parts=num_parts, turns=turns)


def _rotating(rng, frames, bins, turns, amplitude=40.0, noise=1.0):
    """A tone in every bin, on its centre frequency, with noise: [frames, 1, 2 bins]."""
    phase = 2 * np.pi * (np.arange(frames)[:, None] * turns / 65536 + rng.uniform(size=bins))
    tone = amplitude * np.concatenate([np.cos(phase), -np.sin(phase)], axis=1)
    return np.rint(tone + noise * rng.standard_normal(tone.shape)).astype(int)[:, None]


def test_order0_is_the_definition():
    assert entropy.order0_bits(np.zeros(100, int)) == 0
    assert entropy.order0_bits(np.arange(64)) == pytest.approx(64 * 6)
    codes = np.asarray([[3, 3], [3, -1], [3, 5], [3, 7]])
    assert entropy.order0_bits_by_channel(codes) == pytest.approx(8)
    probabilities = np.asarray([5, 1, 1, 1]) / 8
    expected = 8 * -np.sum(probabilities * np.log2(probabilities))
    assert entropy.order0_bits(codes) == pytest.approx(expected)


def test_turns_are_those_of_the_centres():
    spec = isn.FilterbankSpec(sample_rate=16_000, hop_length=125, num_bins=5)
    # 0, 2, 4, 6 and 8 kHz at 128 frames per second turn by 0, 15.625, 31.25, 46.875 and 62.5.
    np.testing.assert_array_equal(entropy.frame_turns(spec), [0, 40960, 16384, 57344, 32768])


@st.composite
def _cases(draw):
    num_audio, num_parts = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    bins, frames = draw(st.integers(1, 9)), draw(st.integers(1, 40))
    seed = draw(st.integers(0, 2**31))
    rng = np.random.default_rng(seed)
    turns = rng.integers(0, 65536, bins)
    shape = (frames, num_audio, num_parts * bins)
    largest = draw(st.sampled_from([1, 2, 20, 21, 127, 5000, LARGEST]))
    kind = draw(st.sampled_from(["uniform", "laplace", "silence", "constant", "extreme", "bursts"]))
    if kind == "uniform":
        codes = rng.integers(-largest, largest + 1, shape)
    elif kind == "laplace":
        codes = np.clip(np.rint(rng.laplace(scale=largest / 8, size=shape)), -largest, largest)
    elif kind == "silence":
        codes = np.zeros(shape)
    elif kind == "constant":
        codes = np.full(shape, draw(st.integers(-largest, largest)))
    elif kind == "extreme":
        codes = largest * rng.choice([-1, 1], shape)
    else:
        codes = np.where(rng.uniform(size=shape) < 0.02, rng.choice([-LARGEST, LARGEST], shape), 0)
    return num_audio, num_parts, turns, codes.astype(np.int64), draw(st.integers(1, frames))


def _check_round_trip(case):
    num_audio, num_parts, turns, codes, size = case
    coder, decoder = (make(num_audio, num_parts, turns) for make in (_encoder, _decoder))
    total = 0
    for start in range(0, len(codes), size):
        rows = codes[start : start + size]
        data = coder.encode(rows)
        total += 8 * len(data)
        found = decoder.decode(data, len(rows))
        assert found.dtype == np.int32
        np.testing.assert_array_equal(found, rows)
    blocks = -(-len(codes) // size)
    assert coder.model_bits * 0.999 - 1 <= total <= coder.model_bits * 1.001 + 64 * blocks


@given(_cases())
@settings(max_examples=150)
def test_rows_come_back_bit_for_bit(case):
    _check_round_trip(case)


def test_the_estimate_is_that_of_the_coder(rng):
    spec = isn.FilterbankSpec(sample_rate=8000, hop_length=16, num_bins=17)
    codes = np.rint(3 * rng.laplace(size=(300, 2, 34))).astype(int)
    coder = _encoder(2, 2, entropy.frame_turns(spec))
    size = 8 * len(coder.encode(codes))
    assert coder.model_bits == entropy.model_bits(codes, spec)
    assert size == pytest.approx(coder.model_bits, rel=0.003)
    # Independent codes have nothing to learn from: the model costs little more than order 0.
    assert 0.98 < coder.model_bits / entropy.order0_bits(codes) < 1.06


def test_the_model_finds_tones_and_envelopes(rng):
    turns = rng.integers(0, 65536, 32)
    tones = _rotating(rng, 400, 32, turns)
    coder = _encoder(1, 2, turns)
    coder.encode(tones)
    assert coder.model_bits < 0.7 * entropy.order0_bits(tones)
    unprepared = _encoder(1, 2, 0 * turns)  # the weights find the turns by themselves
    unprepared.encode(tones)
    assert unprepared.model_bits < 0.7 * entropy.order0_bits(tones)
    loudness = np.exp(3 * np.sin(np.arange(400) / 30))[:, None, None]
    breathing = np.rint(loudness * rng.laplace(size=(400, 1, 64))).astype(int)
    coder = _encoder(1, 2, turns)
    coder.encode(breathing)
    assert coder.model_bits < 0.9 * entropy.order0_bits(breathing)


def test_codes_that_are_too_large_are_refused():
    coder = _encoder(1, 1, np.zeros(3, int))
    with pytest.raises(ValueError, match=r"codes up to 1048577: at most 1048576.*larger step"):
        coder.encode(np.full((1, 1, 3), LARGEST + 1))
    with pytest.raises(ValueError, match="codes per frame: use 1 to 262144"):
        _encoder(1025, 2, np.zeros(128, int))


def test_damaged_blocks_are_an_error_or_other_codes(rng):
    turns = np.zeros(4, int)
    codes = np.rint(30 * rng.standard_normal((20, 1, 8))).astype(int)
    data = _encoder(1, 2, turns).encode(codes)
    refused = 0
    for _ in range(100):
        damaged = rng.integers(0, 256, len(data), dtype=np.uint8).tobytes()
        try:
            assert _decoder(1, 2, turns).decode(damaged, 20).shape == codes.shape
        except ValueError:
            refused += 1
    assert refused > 10
    with pytest.raises(ValueError, match="4-byte words"):
        _decoder(1, 2, turns).decode(data[:-1], 20)
    with pytest.raises(ValueError, match="words beyond the last row"):
        _decoder(1, 2, turns).decode(data, 5)


def test_without_constriction_the_error_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "constriction", None)
    with pytest.raises(ImportError, match=r"pip install 'isincnet-jax\[entropy\]'"):
        _encoder(1, 1, np.zeros(1, int))


def test_the_cosine_table_is_the_same_everywhere():
    """No entry lies near a tie, so that a cosine with an error of 1e-6 rounds alike."""
    cosine, sine = code_model.cosine_table()
    exact = [4096 * _cosine(fractions.Fraction(i, 1024)) for i in range(1024)]
    for i, value in enumerate(exact):
        assert cosine[i] == math.floor(value + fractions.Fraction(1, 2))
        assert abs(value - math.floor(value) - fractions.Fraction(1, 2)) > 0.005
        assert sine[(i + 256) % 1024] == cosine[i]


def _cosine(turns: fractions.Fraction) -> fractions.Fraction:
    """Taylor's series in rational numbers, to 30 digits."""
    pi = fractions.Fraction(3141592653589793238462643383279502884, 10**36)
    angle = 2 * pi * (turns if turns <= fractions.Fraction(1, 2) else turns - 1)
    term = total = fractions.Fraction(1)
    for order in range(1, 22):
        term = -term * angle**2 / ((2 * order - 1) * 2 * order)
        term = fractions.Fraction(round(term * 10**40), 10**40)
        total += term
    return total


def test_tables_are_what_their_names_say():
    thresholds = code_model.scale_thresholds()
    for k, smallest in enumerate(thresholds[:50].tolist(), start=1):
        assert (1 + smallest) ** 4 >= 2 ** (2 * k - 1)
        assert smallest == 0 or smallest**4 < 2 ** (2 * k - 1)
    counts = code_model.prior_counts()
    assert counts.min() >= 1
    np.testing.assert_array_equal(counts[:, : 2 * 20 + 1].argmax(axis=1) // 20, 1)
    # Quarters 0 and 3, 1 and 2 mirror each other.
    mirrored = counts.reshape(-1, 4, code_model.ALPHABET)[:, :, :41]
    np.testing.assert_allclose(mirrored[:, 0], mirrored[:, 3, ::-1], atol=1)
    np.testing.assert_allclose(mirrored[:, 1], mirrored[:, 2, ::-1], atol=1)


def test_the_model_is_pinned():
    """A changed model cannot read older files: change the format's version with it."""
    mixed = (np.arange(60 * 2 * 12) * 7919 % 1009).reshape(60, 2, 12)
    codes = (mixed % 41 - 20) * (1 + mixed % 7 // 6 * 50)
    data = _encoder(2, 2, np.arange(6) * 9000).encode(codes)
    assert (len(data), zlib.crc32(data)) == PINNED
