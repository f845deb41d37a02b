"""Token files: the bank's codes, the ratio that was asked for, every damage named."""

from __future__ import annotations

import contextlib
import struct
import zlib

import fuzz_tokens
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from token_sounds import SPEC, codes_of, music, samples_of, snr_db, write

import isincnet_jax as isn
from isincnet_jax.tokens import block_coder, block_file, frame_coder, token_file
from isincnet_jax.tokens.block_file import TokenFileError
from isincnet_jax.tokens.token_file import TokenReader
from isincnet_jax.tokens.token_header import TokenHeader

STEP = float(np.float32(0.02))


@pytest.mark.parametrize("length", [1, 30, 63, 64, 65, 127, 128, 1000])
def test_codes_are_those_of_the_bank(tmp_path, rng, length):
    samples = music(rng, length)
    path = tmp_path / "a.isn"
    written = write(path, samples, step=STEP)
    codec = isn.build_lapped_codec(isn.LappedBank(SPEC), step=STEP)
    codes = np.asarray(codec.quantizer().encode(codec.encode(samples.T)))
    np.testing.assert_array_equal(codes_of(path), codes.reshape(1, -1)[:, :length])
    decoded = codec.decode(codec.quantizer().decode(codes), length=length)
    np.testing.assert_allclose(samples_of(path), np.asarray(decoded).T, atol=2e-6)
    assert written.num_bytes == path.stat().st_size
    assert written.header.length == length


@given(
    seed=st.integers(0, 2**32 - 1),
    length=st.integers(1, 1500),
    num_audio=st.integers(1, 3),
    optimise=st.booleans(),
)
@example(seed=0, length=1024, num_audio=2, optimise=True)
@example(seed=0, length=1023, num_audio=1, optimise=True)
@example(seed=0, length=5, num_audio=1, optimise=True)
def test_what_is_written_is_what_is_read(tmp_path, seed, length, num_audio, optimise):
    samples = music(np.random.default_rng(seed), length, num_audio)
    path = tmp_path / "a.isn"
    written = write(path, samples, step=STEP, optimise=optimise, original_length=3, original_rate=4)
    with TokenReader(path) as reader:
        assert reader.header == written.header
        assert (reader.header.original_length, reader.header.original_rate) == (3, 4)
    found = samples_of(path)
    assert found.shape == samples.shape
    assert found.dtype == np.float32
    if np.isfinite(written.snr_db):
        np.testing.assert_allclose(snr_db(samples, found), written.snr_db, atol=0.01)


@pytest.mark.parametrize("optimise", [False, True])
@pytest.mark.parametrize("wanted", [6.0, 25.0, 60.0])
def test_the_ratio_is_the_one_that_was_asked_for(tmp_path, rng, wanted, optimise):
    samples = music(rng, 12_000)
    written = write(tmp_path / "a.isn", samples, snr_db=wanted, optimise=optimise)
    assert abs(written.snr_db - wanted) < 0.02
    assert abs(snr_db(samples, samples_of(tmp_path / "a.isn")) - wanted) < 0.03


def test_following_the_recording_saves_bits(tmp_path, rng):
    samples = music(rng, 24_000)
    samples[7000:7010] += 0.5  # an attack in long tones
    plain, following = (
        write(tmp_path / "a.isn", samples, snr_db=20.0, optimise=optimise)
        for optimise in (False, True)
    )
    assert following.num_bytes < 0.95 * plain.num_bytes
    assert following.header.smallest < following.header.largest


def test_two_channels_that_are_alike_cost_little_more_than_one(tmp_path, rng):
    one = music(rng, 16_000)
    alone = write(tmp_path / "a.isn", one, snr_db=25.0).num_bytes
    same = write(tmp_path / "a.isn", np.repeat(one, 2, axis=1), snr_db=25.0).num_bytes
    opposite = np.concatenate([one, -one], axis=1)
    turned = write(tmp_path / "a.isn", opposite, snr_db=25.0).num_bytes
    assert max(same, turned) < 1.1 * alone
    np.testing.assert_allclose(snr_db(opposite, samples_of(tmp_path / "a.isn")), 25.0, atol=0.05)


def test_middle_and_side_are_a_rotation(rng):
    frame = rng.standard_normal((128, 2))
    for sides in (None, np.zeros(14, bool), np.ones(14, bool), rng.random(14) < 0.5):
        turned = block_coder.turn_sides(frame, sides)
        np.testing.assert_allclose(np.sum(turned**2, axis=1), np.sum(frame**2, axis=1))
        np.testing.assert_allclose(block_coder.turn_sides(turned, sides), frame, atol=1e-12)
    low = np.arange(128)[:, None] < 40
    same = np.where(low, frame[:, :1], frame)  # alike below, not above
    sides = block_coder.choose_sides([same])
    assert sides[:8].all()
    assert not sides[-3:].all()  # of 40 to 128 bins


def test_tokens_of_a_decoded_file_are_the_same(tmp_path, rng):
    """Ten rounds through 16 bits at 15 to 60 dB."""
    samples = music(rng, 5000)
    for step in (0.08, 0.02, 0.001):
        write(tmp_path / "a.isn", samples, step=step)
        first = codes_of(tmp_path / "a.isn")
        for _ in range(10):
            rounded = np.rint(samples_of(tmp_path / "a.isn") * 32768) / 32768
            write(tmp_path / "a.isn", rounded.astype(np.float32), step=step)
            np.testing.assert_array_equal(codes_of(tmp_path / "a.isn"), first)


def test_the_header_is_small():
    assert block_file.PREFIX + TokenHeader.SIZE + 4 == 90


def test_every_damaged_byte_is_found(tmp_path, rng):
    path = tmp_path / "a.isn"
    write(path, music(rng, 100, 2), step=STEP)
    content = path.read_bytes()
    for position in range(len(content)):
        for change in (1, 0x80, 0xFF, int(rng.integers(1, 256))):
            damaged = bytearray(content)
            damaged[position] ^= change
            path.write_bytes(damaged)
            with pytest.raises(TokenFileError, match=r"^[^\n]*a\.isn: (no token|damaged)[^\n]*$"):
                codes_of(path)


def test_the_coder_never_sees_damaged_bytes(tmp_path, rng, monkeypatch):
    path = tmp_path / "a.isn"
    write(path, music(rng, 300), step=STEP)
    content = path.read_bytes()
    monkeypatch.setattr(frame_coder.FrameCoder, "decode", lambda *_: pytest.fail("it decoded"))
    for position in range(98, len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 4
        path.write_bytes(damaged)
        with pytest.raises(TokenFileError, match="checksum of block 0"):
            codes_of(path)


def test_every_truncation_and_extension_is_found(tmp_path, rng):
    path = tmp_path / "a.isn"
    write(path, music(rng, 100), step=STEP)
    content = path.read_bytes()
    for size in range(len(content)):
        path.write_bytes(content[:size])
        with pytest.raises(TokenFileError, match=r"a\.isn: "):
            codes_of(path)
    path.write_bytes(content + b"\0")
    with pytest.raises(TokenFileError, match="bytes beyond its end"):
        codes_of(path)


@pytest.mark.parametrize("optimise", [False, True])
def test_blocks_stand_alone_and_in_order(tmp_path, rng, monkeypatch, optimise):
    monkeypatch.setattr(block_coder, "_BLOCK_CODES", 3000)
    path = tmp_path / "a.isn"
    samples = music(rng, 10_000)
    write(path, samples, step=STEP, optimise=optimise)
    with TokenReader(path) as reader:
        blocks = list(reader.blocks())
        plans = list(block_coder.plan_blocks(reader.header.tiling, 10_000, 1))
        assert len(blocks) == len(plans) == token_file._count_blocks(reader.header) > 3
        tiling = reader.header.tiling
    content, begin, payloads = path.read_bytes(), 90, []
    while begin < len(content):
        size = struct.unpack("<I", content[begin : begin + 4])[0]
        payloads.append(content[begin : begin + 8 + size])
        begin += 8 + size
    # The third block by itself, without the two before it.
    layout, codes = block_coder.decode_block(payloads[2][8:], plans[2], tiling, 1)
    assert layout.sizes == blocks[2][0].sizes
    np.testing.assert_array_equal(np.concatenate(codes), np.concatenate(blocks[2][1]))
    swapped = [payloads[1], payloads[0], *payloads[2:]]
    path.write_bytes(content[:90] + b"".join(swapped))
    with pytest.raises(TokenFileError, match="checksum of block 0 is wrong"):
        codes_of(path)


FIELDS = struct.Struct("<BBHHHIIIQQdffffB16s")


def forge(path, payload=b"", **changes):
    """A file with right checksums and any header and payload."""
    values = {
        **{
            "window": 0,
            "mode": 0,
            "audio": 1,
            "smallest": 64,
            "largest": 64,
            "hop": 64,
            "rate": 8000,
        },
        **{"original_rate": 8000, "length": 300, "original_length": 300, "beta": 0.0},
        **{"step": STEP, "first": 0.0, "second": 0.0, "third": 0.0},
        **{"bits": 0, "md5": bytes(16)},
        **changes,
    }
    head = block_file.MAGIC + b"\2" + FIELDS.pack(*values.values())
    size = struct.pack("<I", len(payload))
    checksum = zlib.crc32(payload, zlib.crc32(struct.pack("<I", 0) + size))
    body = size + struct.pack("<I", checksum) + payload
    path.write_bytes(head + struct.pack("<I", zlib.crc32(head)) + body)


@pytest.mark.parametrize(
    "changes",
    [
        {"window": 3},
        {"mode": 2},
        {"mode": 3},
        {"mode": 4},
        {"mode": 5},
        {"mode": 2 + 4 * 31, "smallest": 2, "largest": 2, "hop": 2},
        {"audio": 0},
        {"audio": 65},
        {"length": 0},
        {"length": 1 << 48},
        {"length": 1 << 47},
        {"original_length": 0},
        {"original_rate": 0},
        {"rate": 0},
        {"hop": 0},
        {"hop": 63},
        {"hop": 1 << 31},
        {"largest": 65},
        {"smallest": 0},
        {"smallest": 1},
        {"smallest": 48},
        {"largest": 32, "smallest": 64},
        {"step": 0.0},
        {"step": -1.0},
        {"step": np.nan},
        {"step": np.inf},
        {"first": 0.6},
        {"third": np.nan},
        {"window": 1, "beta": -1.0},
        {"window": 1, "beta": np.nan},
        {"bits": 1},
        {"bits": 32},
        {"bits": 16, "window": 2},
        {"bits": 16, "first": 0.1},
        {"bits": 16, "original_rate": 16_000},
        {"bits": 16, "original_length": 301},
        {"bits": 16, "largest": 128},
        {"bits": 16, "hop": 8192, "smallest": 8192, "largest": 8192},
    ],
)
def test_impossible_headers_are_refused(tmp_path, changes):
    path = tmp_path / "a.isn"
    forge(path)
    TokenReader(path).__exit__()  # the forgery works
    forge(path, **changes)
    with pytest.raises(TokenFileError, match=r"a\.isn: no token file \("):
        TokenReader(path)


def test_forged_blocks_are_an_error_or_codes(tmp_path, rng):
    """Whoever gets the checksums right can store other codes, but can do no harm."""
    path = tmp_path / "a.isn"
    for size in (0, 4, 40, 400):
        for changes in (
            {},
            {"audio": 2},
            {"smallest": 2, "largest": 128},
            {"hop": 2},
            {"mode": 1},
            {"mode": 6},
        ):
            for _ in range(5):
                payload = rng.integers(0, 256, size, dtype=np.uint8).tobytes()
                forge(path, payload, **changes)
                with contextlib.suppress(TokenFileError):
                    assert codes_of(path).shape == (changes.get("audio", 1), 300)


def test_damage_of_any_kind_is_refused_or_decoded(tmp_path, rng):
    """What ``benchmarks/fuzz_tokens.py`` does a hundred thousand times."""
    files = fuzz_tokens.make_files(tmp_path, rng)
    outcomes = set()
    for index in range(250):
        kind = fuzz_tokens.KINDS[index % 5]
        (tmp_path / "a.isn").write_bytes(fuzz_tokens.damage(files[index % len(files)], kind, rng))
        outcomes.add((kind, fuzz_tokens.decode(tmp_path / "a.isn")))
    assert {outcome for _, outcome in outcomes} == {"refused", "decoded"}
    assert ("bytes", "decoded") not in outcomes
    assert ("bytes and checksums", "decoded") in outcomes


def test_other_files_are_refused(tmp_path):
    with pytest.raises(TokenFileError, match=r"none\.isn: no such file"):
        TokenReader(tmp_path / "none.isn")
    with pytest.raises(TokenFileError, match="not a file"):
        TokenReader(tmp_path)
    text = tmp_path / "text.isn"
    for content in (b"", b"words", b"some words that are long enough for a header"):
        text.write_bytes(content)
        with pytest.raises(TokenFileError, match=r"text\.isn: no token file \(it "):
            TokenReader(text)
    text.write_bytes(block_file.MAGIC + struct.pack("<IIII", 1, 0, 0, 0))
    with pytest.raises(
        TokenFileError, match="format 1, this version reads 2: encode the recording"
    ):
        TokenReader(text)


def test_what_has_no_codes_is_refused(tmp_path, rng):
    path = tmp_path / "a.isn"
    samples = music(rng, 300)
    for wrong, options, message in (
        (samples[:0], {"step": STEP}, "the recording has no samples"),
        (samples * np.nan, {"step": STEP}, "no finite numbers"),
        (samples * 0, {"snr_db": 25.0}, "the recording is silent"),
        (samples, {}, "step= or snr_db= is needed"),
        (samples * 1e6, {"step": 1e-6}, "at most 1048576 can be coded; use a larger step"),
        (np.repeat(samples, 65, axis=1), {"step": STEP}, "65 audio channels: use 1 to 64"),
        (samples, {"step": STEP, "spec": SPEC.replace(framing="zeros")}, "tiled frames"),
    ):
        with pytest.raises(ValueError, match=message):
            write(path, wrong, **options)
    assert write(path, samples * 0, step=STEP).snr_db == np.inf
    assert not samples_of(path).any()


def test_nothing_is_left_beside_the_file(tmp_path, rng):
    write(tmp_path / "a.isn", music(rng, 300), snr_db=25.0, optimise=True)
    assert [path.name for path in tmp_path.iterdir()] == ["a.isn"]
