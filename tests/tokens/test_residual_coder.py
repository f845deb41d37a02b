"""Coder of residuals: every integer comes back, of awkward signals too, in few bits."""

from __future__ import annotations

import contextlib
import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isincnet_jax.tokens import coding_kernels, residual_coder

SIGNALS = ("silence", "square", "noise", "alternating", "impulse", "quiet", "tone", "ramp")


def make_signal(kind, rng, length, num_audio, bits):
    """Integers [time, audio channels] of the full range of the bits, or nearly none of it."""
    top = 2 ** (bits - 1)
    time = np.arange(length)[:, None] + np.arange(num_audio)
    found = {
        "silence": lambda: np.zeros((length, num_audio)),
        "square": lambda: np.where(time // 37 % 2, top - 1, -top),
        "noise": lambda: rng.integers(-top, top, (length, num_audio)),
        "alternating": lambda: np.where(time % 2, top - 1, -top),
        "impulse": lambda: np.where(time == length // 2, -top, 0),
        "quiet": lambda: rng.integers(-1, 2, (length, num_audio)),
        "tone": lambda: np.rint((top - 1) * np.sin(0.3 * time)),
        "ramp": lambda: (time * 97) % (2 * top) - top,
    }[kind]()
    return found.astype(np.int64)


def round_trip(samples, base, bits):
    data = residual_coder.encode_residual(samples - base, base, bits=bits)
    found = residual_coder.decode_residual(data, base, bits=bits)
    np.testing.assert_array_equal(found, samples - base)
    return data


@given(
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(SIGNALS),
    length=st.integers(0, 3000),
    num_audio=st.integers(1, 4),
    bits=st.sampled_from([8, 16, 24]),
    with_base=st.booleans(),
)
def test_every_integer_comes_back(seed, kind, length, num_audio, bits, with_base):
    rng = np.random.default_rng(seed)
    samples = make_signal(kind, rng, length, num_audio, bits)
    base = np.zeros_like(samples)
    if with_base:
        base = make_signal(SIGNALS[seed % len(SIGNALS)], rng, length, num_audio, bits)
    round_trip(samples, base, bits)


@pytest.mark.parametrize("bits", [8, 16, 24])
@pytest.mark.parametrize("kind", SIGNALS)
def test_long_awkward_signals(rng, kind, bits):
    samples = make_signal(kind, rng, 12_000, 2, bits)
    # The base is at the other end of the range: residuals have one bit more than the samples.
    base = np.where(samples >= 0, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    round_trip(samples, base, bits)


def test_what_can_be_predicted_costs_little(rng):
    def bits_of(kind, num_audio=1):
        samples = make_signal(kind, rng, 20_000, num_audio, 16)
        return 8 * len(round_trip(samples, np.zeros_like(samples), 16)) / samples.size

    assert bits_of("silence") < 0.02
    assert bits_of("noise") < 16.25
    assert bits_of("quiet") < 1.67  # log2(3) = 1.585
    assert bits_of("tone") < 1.5
    assert bits_of("alternating") < 0.3
    samples = np.repeat(make_signal("noise", rng, 20_000, 1, 16), 2, axis=1)
    same = 8 * len(round_trip(samples, np.zeros_like(samples), 16)) / 20_000
    assert same < 16.5  # a channel like the one before it costs next to nothing


def test_noise_costs_its_entropy(rng):
    """Laplacian noise of a deviation that changes within the block."""
    scale = np.where(np.arange(40_000) < 20_000, 12.0, 300.0)[:, None]
    samples = np.rint(rng.laplace(scale=scale)).astype(np.int64)
    entropy = np.mean(np.log2(2 * np.e * scale))
    found = 8 * len(round_trip(samples, np.zeros_like(samples), 16)) / samples.size
    assert entropy < found < 1.02 * entropy


def test_garbage_is_refused_or_decoded(rng):
    base = np.zeros((500, 2), np.int64)
    samples = make_signal("noise", rng, 500, 2, 16)
    data = residual_coder.encode_residual(samples, base, bits=16)
    outcomes = set()
    for _ in range(100):
        damaged = bytearray(data)
        # Early or late: what follows a damaged byte is soon beyond all bits.
        for position in len(data) - 1 - rng.geometric(0.02, 3) % len(data):
            damaged[position] ^= int(rng.integers(1, 256))
        with contextlib.suppress(ValueError):
            found = residual_coder.decode_residual(bytes(damaged), base, bits=16)
            assert np.max(np.abs(found)) <= 1 << 16
            outcomes.add("decoded")
            continue
        outcomes.add("refused")
    assert outcomes == {"decoded", "refused"}
    for size in (0, 1, 10, 2000):
        garbage = b"\0" * 4 + rng.integers(0, 256, size, dtype=np.uint8).tobytes()
        with pytest.raises(ValueError, match="a residual of too many bits"):
            residual_coder.decode_residual(garbage, base, bits=8)


def test_least_squares_are_the_same_in_python_and_compiled(rng):
    """Nothing is reordered or fused: every bit is that of one IEEE operation after the other."""
    taps = 57
    changed = False
    for scale in (1.0, 1e3, 1e7):
        steps = rng.integers(-1000, 1000, (400, taps)).astype(np.float64)
        values = np.rint(scale * steps.cumsum(axis=1))  # badly conditioned
        moments, plain = np.zeros((2, taps + 1, taps))
        reals = np.zeros(taps)
        for row in values.astype(np.int64):
            coding_kernels._observe(moments, row, reals, row[3] + row[5] // 3)
            coding_kernels._observe.py_func(plain, row, reals, row[3] + row[5] // 3)
        np.testing.assert_array_equal(moments, plain)
        found, wanted = np.zeros((2, taps), np.int64)
        coding_kernels.solve(moments, 1.0, found)
        coding_kernels.solve.py_func(plain, 1.0, wanted)
        np.testing.assert_array_equal(found, wanted)
        changed = changed or bool(found.any())
        if scale == 1.0:
            full = np.tril(plain[:taps]) + np.tril(plain[:taps], -1).T
            oracle = np.linalg.solve(full + np.eye(taps), plain[taps])
            np.testing.assert_allclose(found / 2**20, oracle, atol=1e-5)
    assert changed


def test_dependent_inputs_leave_the_weights_alone():
    moments = np.zeros((4, 3))
    weights = np.array([1, 2, 3])
    moments[:, 0] = np.nan
    coding_kernels.solve(moments, 1.0, weights)
    np.testing.assert_array_equal(weights, [1, 2, 3])


def test_what_is_no_residual_is_refused():
    base = np.zeros((5, 1), np.int64)
    with pytest.raises(ValueError, match="beyond 16 bits and a sign"):
        residual_coder.encode_residual(base + (1 << 16) + 1, base, bits=16)


def test_edges_are_far_from_ties():
    fractions = np.abs(np.array(residual_coder.exact_edges()) % 1 - 0.5)
    assert np.min(fractions) > 1e-6
    assert np.all(np.diff(residual_coder.bucket_edges()) > 0)


def test_every_machine_writes_the_same_bytes():
    rng = np.random.Generator(np.random.PCG64(7))
    digest = hashlib.sha256()
    for num_audio, bits in ((1, 16), (2, 24), (3, 8)):
        noise = rng.integers(-9, 10, (3000, num_audio)).cumsum(axis=0)
        samples = np.clip(noise << (bits - 8) // 2, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        base = np.clip(samples // 50 * 50, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        digest.update(round_trip(samples, base, bits))
    assert digest.hexdigest()[:32] == "053798e964ba9258500c7f5f5e0d86e6"
