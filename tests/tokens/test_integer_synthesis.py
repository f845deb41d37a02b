"""The inverse in integers: the float inverse to half a bit, and the same bits everywhere."""

from __future__ import annotations

import decimal
import functools
import hashlib
import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import isincnet_jax as isn
from isincnet_jax.tokens import block_coder, integer_synthesis, token_writer
from isincnet_jax.tokens.block_coder import Layout
from isincnet_jax.tokens.lapped_frames import Tiling
from isincnet_jax.tokens.token_file import TokenReader


def random_blocks(rng, *, hop, length, audio, largest=40):
    """Codes of a recording in blocks, with their layouts."""
    tiling = Tiling(isn.LappedSpec(sample_rate=8000, hop_length=hop), hop, hop)
    found = []
    for superframes, tail, rest in block_coder.plan_blocks(tiling, length, audio):
        sides = rng.random(block_coder.NUM_BANDS) < 0.5 if audio == 2 else None
        layout = Layout(sides, [[hop]] * superframes, tail, rest)
        sizes = layout.frames
        sizes[-1] += rest
        found.append(
            (layout, [rng.integers(-largest, largest + 1, (size, audio)) for size in sizes])
        )
    return found


def integers_of(blocks, *, step, bits):
    return list(
        integer_synthesis.synthesise(iter(blocks), num_blocks=len(blocks), step=step, bits=bits)
    )


@given(
    seed=st.integers(0, 2**32 - 1),
    length=st.integers(1, 1500),
    audio=st.integers(1, 3),
    hop=st.sampled_from([6, 64, 100, 512]),
    bits=st.sampled_from([8, 16, 24]),
)
@example(seed=1, length=1024, audio=2, hop=512, bits=16)
@example(seed=2, length=1023, audio=2, hop=512, bits=24)
def test_it_is_the_float_inverse(tmp_path, seed, length, audio, hop, bits):
    rng = np.random.default_rng(seed)
    samples = 0.02 * rng.standard_normal((length, audio)).cumsum(axis=0)
    samples = (0.9 * samples / np.max(np.abs(samples))).astype(np.float32)
    spec = isn.LappedSpec(sample_rate=8000, hop_length=hop)
    written = token_writer.write_token_file(
        tmp_path / "a.isn", functools.partial(iter, [samples]), spec=spec, snr_db=25.0
    )
    with TokenReader(tmp_path / "a.isn") as reader:
        wanted = np.concatenate(list(reader.samples())) * 2.0 ** (bits - 1)
    with TokenReader(tmp_path / "a.isn") as reader:
        blocks = list(reader.blocks())
    step = integer_synthesis.quantiser_step(written.header.step, bits)
    found = np.concatenate(integers_of(blocks, step=step, bits=bits))
    assert found.shape == wanted.shape
    wanted = np.clip(wanted, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    # Half a unit by rounding, and relative errors of tables (2^-20) and of float32 at 24 bits.
    np.testing.assert_allclose(found, wanted, atol=0.55 + 2.0 ** (bits - 17))


@pytest.mark.parametrize("length", [900, 1024, 1])
def test_blocks_are_completed_one_after_the_other(rng, monkeypatch, length):
    monkeypatch.setattr(block_coder, "_BLOCK_CODES", 300)
    blocks = random_blocks(rng, hop=64, length=length, audio=1)
    parts = integers_of(blocks, step=1 << 20, bits=16)
    assert len(parts) == len(blocks)
    sizes = [sum(map(len, codes)) for _, codes in blocks]
    if len(parts) > 1:
        assert len(parts[0]) == sizes[0] - 64  # all but the last frame
        assert len(parts[-1]) == sizes[-1] + 64
    layouts = [layout for layout, _ in blocks]
    together = Layout(
        None, [size for one in layouts for size in one.sizes], layouts[-1].tail, layouts[-1].rest
    )
    joined = (together, [frame for _, codes in blocks for frame in codes])
    whole = integers_of([joined], step=1 << 20, bits=16)
    np.testing.assert_array_equal(np.concatenate(parts), whole[0])


def test_every_machine_finds_the_same_bits():
    rng = np.random.Generator(np.random.PCG64(5))
    digest = hashlib.sha256()
    for hop, length, audio, bits in ((64, 1000, 1, 16), (512, 3000, 2, 24), (100, 777, 3, 16)):
        blocks = random_blocks(rng, hop=hop, length=length, audio=audio, largest=1 << 8)
        found = np.concatenate(integers_of(blocks, step=54_321 << bits // 3, bits=bits))
        assert len(np.unique(found)) > 100
        digest.update(found.astype("<i4").tobytes())
    assert digest.hexdigest()[:32] == "a298632aaeab7b15f3b837e5568ed65c"


@pytest.mark.parametrize("size", [1, 2, 63, 512, 5000])
def test_tables_are_cosines(size):
    found = integer_synthesis._cosines(size, 2, size)
    angles = np.pi / (4 * size) * (2 * np.arange(size) + 1)
    exact = 2.0**20 * math.sqrt(2 / size) * np.cos(angles)
    np.testing.assert_allclose(found, exact, atol=0.5001)


def test_pi_is_pi():
    with decimal.localcontext(prec=60):
        # Machin's formula
        def arctan_inverse(x):
            total, term, order = decimal.Decimal(0), decimal.Decimal(1) / x, 1
            while abs(term) > decimal.Decimal(10) ** -55:
                total += term / order * (1 if order % 4 == 1 else -1)
                term /= x * x
                order += 2
            return total

        pi = 4 * (4 * arctan_inverse(5) - arctan_inverse(239))
        assert int(pi * 2**128) == integer_synthesis._PI


def test_nothing_overflows(rng):
    """Codes and steps that no recording has give samples of the range."""
    for hop in (2, 512):
        blocks = random_blocks(rng, hop=hop, length=2 * hop + 1, audio=2, largest=1 << 20)
        for step in (0, 1, 1 << 40):
            found = np.concatenate(integers_of(blocks, step=step, bits=24))
            assert -(2**23) <= found.min() <= found.max() < 2**23
    loud = np.full((2 * 4096 - 1, 1), 1 << 20)
    layout = Layout(None, [[4096]], [], 4095)
    assert integers_of([(layout, [loud])], step=1 << 40, bits=24)[0].shape == loud.shape


def test_sums_are_exact():
    """The largest sums of a product of matrices, against Python's integers."""
    size = 2 * integer_synthesis.LARGEST_HOP - 1
    codes = np.full((1, size, 1), (1 << 21) - 1)
    bins = np.arange(size)
    found = integer_synthesis._products(codes, bins, size)[0, :, 0]
    table = integer_synthesis._cosines(size, 2, size)
    full = np.concatenate([table, -table[::-1], -table, table[::-1]])
    for time in (0, 1, size // 2, size - 1):
        index = (2 * bins * (size - 1 - time) + bins + size - 1 - time) % (4 * size)
        exact = -sum(int(value) * ((1 << 21) - 1) for value in full[index])
        assert found[time] == max(min(exact, 1 << 46), -(1 << 46))
