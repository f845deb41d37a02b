"""Lossless files: every bit of a recording comes back, and both layers can be had."""

from __future__ import annotations

import contextlib
import hashlib
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import example, given
from hypothesis import strategies as st

import isincnet_jax as isn
from isincnet_jax.tokens import block_coder, residual_coder, token_writer
from isincnet_jax.tokens.block_file import TokenFileError
from isincnet_jax.tokens.token_file import TokenReader
from isincnet_jax.tokens.token_header import TokenHeader

RATE = 8000
HEAD = 13 + TokenHeader.SIZE


def make_integers(seed, length, channels, bits):
    rng = np.random.default_rng(seed)
    sound = rng.standard_normal((length, channels)).cumsum(axis=0)
    sound += 3 * np.sin(0.1 * np.arange(length))[:, None]
    top = 2 ** (bits - 1)
    sound = np.rint(sound / np.max(np.abs(sound)) * rng.uniform(0.01, 1.5) * top)
    return np.clip(sound, -top, top - 1).astype(np.int32)


def write_audio(path, integers, bits, rate=RATE):
    subtype = {8: "PCM_U8" if path.endswith(".wav") else "PCM_S8"}.get(bits, f"PCM_{bits}")
    soundfile.write(path, integers << (32 - bits), rate, subtype)  # int32 is left-justified


def read_integers(path, bits):
    return soundfile.read(path, dtype="int32", always_2d=True)[0] >> (32 - bits)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@given(
    seed=st.integers(0, 2**32 - 1),
    length=st.integers(1, 3000),
    channels=st.integers(1, 4),
    bits=st.sampled_from([8, 16, 24]),
    rate=st.sampled_from([8000, 11_025, 44_100, 96_000]),
    suffix=st.sampled_from([".wav", ".flac"]),
)
@example(seed=0, length=1, channels=1, bits=16, rate=44_100, suffix=".wav")
@example(seed=1, length=256, channels=2, bits=24, rate=8000, suffix=".flac")
def test_every_bit_comes_back(here, seed, length, channels, bits, rate, suffix):
    integers = make_integers(seed, length, channels, bits)
    write_audio(f"in{suffix}", integers, bits, rate)
    isn.encode_file(f"in{suffix}", "a.isn", lossless=True)
    for name in ("back.wav", "back.flac"):
        isn.decode_file("a.isn", name)
        info = soundfile.info(name)
        assert (info.samplerate, info.channels, info.frames) == (rate, channels, length)
        assert info.subtype in {f"PCM_{bits}", f"PCM_U{bits}", f"PCM_S{bits}"}
        np.testing.assert_array_equal(read_integers(name, bits), integers)
    with TokenReader("a.isn") as reader:
        header = reader.header
    assert (header.original_length, header.original_rate) == (length, rate)
    assert (header.length, header.spec.sample_rate, header.bits) == (length, rate, bits)


AWKWARD = {
    "silence": lambda time, top: 0 * time,
    "square": lambda time, top: np.where(time // 50 % 2, top - 1, -top),
    "alternating": lambda time, top: np.where(time % 2, top - 1, -top),
    "constant": lambda time, top: 0 * time - top,
    "impulse": lambda time, top: np.where(time == 700, top - 1, 0),
    "noise": lambda time, top: np.random.default_rng(0).integers(-top, top, time.shape),
    "last bit": lambda time, top: np.random.default_rng(0).integers(0, 2, time.shape),
}


@pytest.mark.parametrize("bits", [8, 16, 24])
@pytest.mark.parametrize("kind", AWKWARD)
def test_awkward_signals(here, kind, bits):
    integers = AWKWARD[kind](np.arange(1500)[:, None] + [0, 3], 2 ** (bits - 1)).astype(np.int32)
    write_audio("in.wav", integers, bits)
    for options in ({}, {"snr_db": 40.0}, {"step": 0.5}):
        isn.encode_file("in.wav", "a.isn", lossless=True, **options)
        isn.decode_file("a.isn", "back.wav")
        np.testing.assert_array_equal(read_integers("back.wav", bits), integers)
    if kind == "silence":
        assert Path("a.isn").stat().st_size < 150


def test_codes_leave_the_last_bits_to_the_residual(here, rng):
    """A step is not made finer than 4 units of the last bit, unless that is asked for."""
    write_audio("in.wav", rng.integers(-1, 2, (4000, 1)).astype(np.int32), 16)
    sizes = []
    for options in ({}, {"snr_db": 15.0}):
        isn.encode_file("in.wav", "a.isn", lossless=True, **options)
        with TokenReader("a.isn") as reader:
            assert (reader.header.step == 2.0**-13) == (not options)
        sizes.append(Path("a.isn").stat().st_size)
        np.testing.assert_array_equal(_both("a.isn"), read_integers("in.wav", 16))
    assert sizes[0] < 0.8 * sizes[1]


@pytest.mark.parametrize("window", ["vorbis", "kbd"])
def test_windows_that_the_integer_inverse_does_not_know(here, window):
    write_audio("in.wav", make_integers(0, 900, 1, 16), 16)
    spec = isn.LappedSpec(
        sample_rate=RATE, hop_length=64, window=window, beta=4.0 if window == "kbd" else None
    )
    codec = isn.build_lapped_codec(isn.LappedBank(spec), step=0.01)
    with pytest.raises(ValueError, match="lossless files have sine windows"):
        isn.encode_file("in.wav", "a.isn", lossless=True, model=codec)
    assert not Path("a.isn").exists()


@pytest.mark.parametrize("bits", [16, 24])
def test_the_checksum_is_that_of_flac(here, bits):
    integers = make_integers(3, 2000, 2, bits)
    write_audio("in.flac", integers, bits)
    isn.encode_file("in.flac", "a.isn", lossless=True)
    flac = Path("in.flac").read_bytes()
    # "fLaC", the head of the first block, and 18 bytes of it before its MD5
    with TokenReader("a.isn") as reader:
        assert reader.header.md5 == flac[26:42]
    words = b"".join(int(one).to_bytes(bits // 8, "little", signed=True) for one in integers.flat)
    assert hashlib.md5(words).digest() == flac[26:42]


def test_both_layers_can_be_had(here):
    integers = make_integers(0, 5000, 2, 16)
    write_audio("in.wav", integers, 16)
    said = []
    isn.encode_file("in.wav", "a.isn", lossless=True, say=said.append)
    assert re.match(r"wrote a\.isn: 2 x 5000 codes, and 16-bit samples exactly, step ", said[-1])
    with TokenReader("a.isn") as reader:
        step = reader.header.step
    isn.encode_file("in.wav", "codes.isn", step=step)
    for source in ("a.isn", "codes.isn"):
        isn.decode_file(source, f"{source}.wav", base=True)
    assert Path("a.isn.wav").read_bytes() == Path("codes.isn.wav").read_bytes()
    assert soundfile.info("a.isn.wav").subtype == "PCM_24"
    noise = read_integers("a.isn.wav", 24) / 2**23 - integers / 2**15
    ratio = 10 * np.log10(np.mean((integers / 2**15) ** 2) / np.mean(noise**2))
    assert abs(ratio - 15) < 0.1
    with TokenReader("a.isn") as reader, TokenReader("codes.isn") as other:
        np.testing.assert_array_equal(reader.codes(), other.codes())
    with TokenReader("codes.isn") as reader, pytest.raises(ValueError, match=r"use samples\(\)"):
        list(reader.pcm())


def test_the_base_layer_does_not_read_the_other(here):
    write_audio("in.wav", make_integers(0, 5000, 1, 16), 16)
    isn.encode_file("in.wav", "a.isn", lossless=True)
    isn.decode_file("a.isn", "intact.wav", base=True)
    content = bytearray(Path("a.isn").read_bytes())
    content[-3] ^= 1
    Path("a.isn").write_bytes(content)
    isn.decode_file("a.isn", "damaged.wav", base=True)
    assert Path("damaged.wav").read_bytes() == Path("intact.wav").read_bytes()
    with pytest.raises(TokenFileError, match=r"a\.isn: damaged \(the checksum of residual 0"):
        isn.decode_file("a.isn", "never.wav")
    assert not Path("never.wav").exists()


def _both(path):
    with TokenReader(path) as reader:
        list(reader.samples())
    with TokenReader(path) as reader:
        return np.concatenate(list(reader.pcm()))


def test_every_damaged_byte_and_length_is_found(here):
    write_audio("in.wav", make_integers(0, 40, 1, 16), 16)
    isn.encode_file("in.wav", "a.isn", lossless=True)
    content = Path("a.isn").read_bytes()
    line = r"^[^\n]*a\.isn: (no token|damaged)[^\n]*$"
    for position in range(len(content)):
        for change in (1, 0x80):
            damaged = bytearray(content)
            damaged[position] ^= change
            Path("a.isn").write_bytes(damaged)
            with pytest.raises(TokenFileError, match=line):
                _both("a.isn")
        Path("a.isn").write_bytes(content[:position])
        with pytest.raises(TokenFileError, match=line):
            _both("a.isn")
    Path("a.isn").write_bytes(content + b"\0")
    with pytest.raises(TokenFileError, match="bytes beyond its end"):
        _both("a.isn")


def _blocks(content):
    """Payloads of a file, base and residual in turn, with their heads."""
    begin, found = HEAD, []
    while begin < len(content):
        size = struct.unpack("<I", content[begin : begin + 4])[0]
        found.append(content[begin : begin + 8 + size])
        begin += 8 + size
    return found


def test_layers_and_blocks_do_not_change_places(here, monkeypatch):
    monkeypatch.setattr(block_coder, "_BLOCK_CODES", 3000)
    integers = make_integers(0, 10_000, 1, 16)
    write_audio("in.wav", integers, 16)
    isn.encode_file("in.wav", "a.isn", lossless=True)
    np.testing.assert_array_equal(_both("a.isn"), integers)
    content = Path("a.isn").read_bytes()
    head, blocks = content[:HEAD], _blocks(content)
    assert len(blocks) >= 6
    for order, reason in (
        ([1, 0, *range(2, len(blocks))], "block 0"),
        ([0, 3, 2, 1, *range(4, len(blocks))], "residual 0"),
        ([0, 0, *range(2, len(blocks))], "residual 0"),
    ):
        Path("a.isn").write_bytes(head + b"".join(blocks[index] for index in order))
        message = f"the checksum of {reason} is wrong"
        with TokenReader("a.isn") as reader, pytest.raises(TokenFileError, match=message):
            list(reader.pcm())


def _with_residual(content, payload, index=0):
    """A file of one block with another residual, and right checksums."""
    base = _blocks(content)[0]
    head = struct.pack("<II", index + (1 << 31), len(payload))
    checksum = zlib.crc32(payload, zlib.crc32(head))
    return content[:HEAD] + base + struct.pack("<II", len(payload), checksum) + payload


def test_what_only_the_md5_of_the_samples_tells(here):
    integers = make_integers(0, 300, 1, 16)
    write_audio("in.wav", integers, 16)
    isn.encode_file("in.wav", "a.isn", lossless=True)
    content = Path("a.isn").read_bytes()
    forged = bytearray(content[: HEAD - 4])
    forged[-1] ^= 1  # the last byte of the MD5
    forged += struct.pack("<I", zlib.crc32(forged)) + content[HEAD:]
    Path("a.isn").write_bytes(forged)
    with pytest.raises(TokenFileError, match=r"a\.isn: damaged \(the MD5 of its samples is not"):
        isn.decode_file("a.isn", "never.wav")
    assert not Path("never.wav").exists()


def test_forged_residuals_are_an_error_or_samples(here, rng):
    write_audio("in.wav", make_integers(0, 300, 1, 16), 16)
    isn.encode_file("in.wav", "a.isn", lossless=True)
    content = Path("a.isn").read_bytes()
    for size in (0, 1, 40, 4000):
        for _ in range(10):
            forged = rng.integers(0, 256, size, dtype=np.uint8).tobytes()
            Path("a.isn").write_bytes(_with_residual(content, forged))
            with pytest.raises(TokenFileError, match=r"^a\.isn: damaged \([^\n]*\)$"):
                _both("a.isn")
    samples = np.full((300, 1), -(2**15))
    base = np.zeros_like(samples)
    data = residual_coder.encode_residual(3 * samples // 2, base, bits=16)
    Path("a.isn").write_bytes(_with_residual(content, data))
    with contextlib.suppress(TokenFileError), TokenReader("a.isn") as reader:
        assert max(np.abs(block).max() for block in reader.pcm()) <= 2**15


def test_what_is_not_lossless_is_refused(here):
    samples = 0.1 * isn.demo_waveform(RATE)[:800]
    for name, subtype in (("f.wav", "FLOAT"), ("l.wav", "PCM_32"), ("u.wav", "ULAW")):
        soundfile.write(name, samples, RATE, subtype)
    soundfile.write("m.mp3", samples, RATE)
    for name in ("f.wav", "l.wav", "u.wav", "m.mp3"):
        with pytest.raises(ValueError, match=rf"^{name}: its samples .* leave lossless= out"):
            isn.encode_file(name, "a.isn", lossless=True)
    soundfile.write("in.wav", samples, RATE, "PCM_16")
    for call, message in (
        (
            {"model": "16khz-lapped"},
            r"^in.wav: has 8000 Hz, the model 16000 Hz.*; leave model= out",
        ),
        ({"optimise": True}, "^lossless= and optimise= exclude each other"),
    ):
        with pytest.raises(ValueError, match=message):
            isn.encode_file("in.wav", "a.isn", lossless=True, **call)
    with pytest.raises(ValueError, match=r"^a\.npz: lossless= makes .* use a\.isn"):
        isn.encode_file("in.wav", "a.npz", lossless=True)
    assert not Path("a.isn").exists()
    isn.encode_file("in.wav", "a.npz", model=isn.build_codec(isn.SincNet(isn.FilterbankSpec(
        sample_rate=RATE, hop_length=16, num_bins=17, shape="none"))))  # fmt: skip
    with pytest.raises(ValueError, match=r"^base=: a\.npz has one layer; .*leave it out"):
        isn.decode_file("a.npz", "b.wav", base=True)


def test_samples_between_integers_are_refused(here):
    spec = isn.LappedSpec(sample_rate=RATE, hop_length=64)
    for samples, message in (
        (np.full((90, 1), 0.3, np.float32), "are no integers of 16 bits"),
        (np.ones((90, 1), np.float32), "beyond 16 bits"),
        (np.full((90, 1), -2, np.float32), "are no integers of 16 bits"),
    ):
        with pytest.raises(ValueError, match=message):
            token_writer.write_token_file("a.isn", lambda s=samples: iter([s]), spec=spec,
                                        step=0.1, bits=16)  # fmt: skip


def test_a_preset_of_the_rate_gives_its_tokens(here):
    write_audio("in.wav", np.rint(2**15 * isn.demo_waveform(16_000)[:3000, None]).clip(
        -(2**15), 2**15 - 1).astype(np.int32), 16, 16_000)  # fmt: skip
    isn.encode_file("in.wav", "a.isn", lossless=True, model="16khz-lapped")
    isn.encode_file("in.wav", "b.isn", model="16khz-lapped")
    with TokenReader("a.isn") as reader, TokenReader("b.isn") as other:
        assert reader.header.step == other.header.step
        np.testing.assert_array_equal(reader.codes(), other.codes())
    isn.decode_file("a.isn", "back.wav", model="16khz-lapped")
    assert Path("back.wav").read_bytes() == Path("in.wav").read_bytes()


def test_folders(here):
    Path("in/b").mkdir(parents=True)
    for index, name in enumerate(("in/a.wav", "in/b/c.flac", "in/d.wav")):
        write_audio(name, make_integers(index, 900, 1 + index, 16), 16)
    soundfile.write("in/lossy.mp3", np.zeros(3000), RATE)
    report = isn.encode_folder("in", "out", lossless=True, jobs=2)
    assert report.num_made == 3
    assert "leave lossless= out" in report.failed["lossy.mp3"]
    assert isn.encode_folder("in", "out", lossless=True, jobs=1).num_done_before == 3
    with pytest.raises(ValueError, match="made with"):
        isn.encode_folder("in", "out", snr_db=15.0)
    assert isn.decode_folder("out", "back", jobs=1).num_made == 3
    for source, back in (("a.wav", "a.wav"), ("b/c.flac", "b/c.wav"), ("d.wav", "d.wav")):
        wanted = read_integers(f"in/{source}", 16)
        np.testing.assert_array_equal(read_integers(f"back/{back}", 16), wanted)
    assert isn.decode_folder("out", "base", base=True, jobs=1).num_made == 3
    assert soundfile.info("base/a.wav").subtype == "PCM_24"
    with pytest.raises(ValueError, match="made with"):
        isn.decode_folder("out", "base", jobs=1)
