"""Token files: exact round trips, every damage named, sizes near the estimate."""

from __future__ import annotations

import contextlib
import functools
import json
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import isincnet_jax as isn
from isincnet_jax.bank.quantizer import make_quantizer
from isincnet_jax.bank.uniform_quantizer import UniformQuantizer, make_uniform_quantizer
from isincnet_jax.tokens import entropy, token_file
from isincnet_jax.tokens.token_file import TokenFileError
from isincnet_jax.tokens.token_header import TokenHeader

LARGEST = 1 << 20


@functools.cache
def _spec(num_bins: int = 5, component: str = "complex") -> isn.FilterbankSpec:
    return isn.FilterbankSpec(
        sample_rate=8000, hop_length=16, num_bins=num_bins, component=component, shape="none"
    )


def _header(length=300, num_audio=1, *, spec=None, quantizer=None) -> TokenHeader:
    quantizer = make_uniform_quantizer(0.01) if quantizer is None else quantizer
    return TokenHeader(
        spec=spec or _spec(),
        model="custom",
        length=length,
        original_length=2 * length,
        original_rate=16_000,
        audio_channels=num_audio,
        **TokenHeader.describe_quantizer(quantizer),
    )


def _codes(rng, header, largest=5):
    frames = header.spec.bank.frame_grid(header.length).num_frames
    shape = (frames, header.audio_channels, header.spec.num_channels)
    return rng.integers(-largest, largest + 1, shape).astype(np.int32)


def _write(path, codes, header, scales=None, pieces=3):
    chunks = np.array_split(codes, pieces)
    return token_file.write_token_file(path, chunks, header=header, scales=scales)


def _read(path):
    with token_file.TokenReader(path) as reader:
        return np.concatenate(list(reader.rows()))


@st.composite
def _recordings(draw):
    spec = _spec(draw(st.integers(2, 12)), draw(st.sampled_from(["complex", "real"])))
    length = draw(st.integers(1, 700))
    num_audio = draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    scales = None
    if draw(st.booleans()):
        q_bits = draw(st.integers(2, 16))
        code = draw(st.sampled_from(["symmetric", "reference"]))
        quantizer = make_quantizer(spec, q_bits=q_bits, code=code)
        if code == "symmetric":
            shape = draw(st.sampled_from([(), (1,), (spec.num_channels,), (num_audio, 1, 1)]))
            scales = rng.uniform(0.1, 1, shape).astype(np.float32)
            quantizer = quantizer.replace(scale=scales)
        low, high, zero = 0, 2**q_bits - 1, 2 ** (q_bits - 1) - 1
    else:
        quantizer = make_uniform_quantizer(draw(st.floats(1e-6, 10.0)))
        high = draw(st.sampled_from([0, 1, 3, 30, 4000, LARGEST]))
        low, zero = -high, 0
    header = _header(length, num_audio, spec=spec, quantizer=quantizer)
    like = _codes(rng, header)
    kind = draw(st.sampled_from(["uniform", "laplace", "silence", "constant", "extreme"]))
    if kind == "uniform":
        codes = rng.integers(low, high + 1, like.shape)
    elif kind == "laplace":
        codes = np.clip(np.rint(zero + rng.laplace(scale=high / 30, size=like.shape)), low, high)
    elif kind == "silence":
        codes = np.full(like.shape, zero)
    elif kind == "constant":
        codes = np.full(like.shape, rng.integers(low, high + 1))
    else:
        codes = rng.choice([low, high], like.shape)
    return header, codes.astype(quantizer.storage_dtype), scales, draw(st.integers(1, 5))


def _check_round_trip(folder, recording):
    header, codes, scales, pieces = recording
    path = folder / "a.isn"
    written = _write(path, codes, header, scales, min(pieces, len(codes)))
    assert written.num_frames == len(codes)
    assert written.num_bytes == path.stat().st_size
    with token_file.TokenReader(path) as reader:
        assert reader.header == header
        quantizer = reader.quantizer()
        found = np.concatenate(list(reader.rows()))
    assert found.dtype == codes.dtype
    np.testing.assert_array_equal(found, codes)
    assert quantizer.storage_dtype == codes.dtype
    if scales is not None:
        np.testing.assert_array_equal(quantizer.scale.reshape(scales.shape), scales)
    assert not any(child != path for child in folder.iterdir())


@given(_recordings())
@settings(max_examples=120)
def test_codes_come_back_bit_for_bit(tmp_path, recording):
    _check_round_trip(tmp_path, recording)


def test_weights_of_the_uniform_code_come_back(tmp_path, rng):
    weight = rng.uniform(0.5, 2, 10).astype(np.float32)
    quantizer = make_uniform_quantizer(0.01, weight=weight)
    header = _header(quantizer=quantizer)
    codes = _codes(rng, header)
    _write(tmp_path / "a.isn", codes, header, weight)
    with token_file.TokenReader(tmp_path / "a.isn") as reader:
        found = reader.quantizer()
    assert isinstance(found, UniformQuantizer)
    assert found.step == quantizer.step == np.float32(0.01)
    np.testing.assert_array_equal(np.ravel(found.weight), weight)
    expected = np.asarray(quantizer.decode(codes))
    np.testing.assert_array_equal(np.asarray(found.decode(codes)), expected)


def test_every_damaged_byte_is_found(tmp_path, rng):
    header = _header(60, 2)
    codes = _codes(rng, header)
    path = tmp_path / "a.isn"
    _write(path, codes, header)
    content = path.read_bytes()
    np.testing.assert_array_equal(_read(path), codes)
    for position in range(len(content)):
        for change in (1, 0x80, 0xFF, int(rng.integers(1, 256))):
            damaged = bytearray(content)
            damaged[position] ^= change
            path.write_bytes(damaged)
            with pytest.raises(TokenFileError, match=r"^[^\n]*a\.isn: (no token|damaged)[^\n]*$"):
                _read(path)


def test_the_coder_never_sees_damaged_bytes(tmp_path, rng, monkeypatch):
    header = _header()
    path = tmp_path / "a.isn"
    _write(path, _codes(rng, header), header)
    content = path.read_bytes()
    monkeypatch.setattr(entropy.RowDecoder, "decode", lambda *_: pytest.fail("it decoded"))
    for position in range(len(content) - 40, len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 4
        path.write_bytes(damaged)
        with pytest.raises(TokenFileError, match="checksum of block 0"):
            _read(path)


def test_every_truncation_and_extension_is_found(tmp_path, rng):
    header = _header(40)
    path = tmp_path / "a.isn"
    _write(path, _codes(rng, header), header)
    content = path.read_bytes()
    for size in range(len(content)):
        path.write_bytes(content[:size])
        with pytest.raises(TokenFileError, match=r"a\.isn: "):
            _read(path)
    path.write_bytes(content + b"\0")
    with pytest.raises(TokenFileError, match="bytes beyond its end"):
        _read(path)


def test_long_recordings_have_blocks_in_order(tmp_path, rng, monkeypatch):
    monkeypatch.setattr(token_file, "_BLOCK_FRAMES", 7)
    header = _header(500)
    codes = _codes(rng, header)
    path = tmp_path / "a.isn"
    _write(path, codes, header, pieces=5)
    with token_file.TokenReader(path) as reader:
        blocks = list(reader.rows())
    assert {len(block) for block in blocks[:-1]} == {7}
    np.testing.assert_array_equal(np.concatenate(blocks), codes)
    content = path.read_bytes()
    begin = 24 + sum(struct.unpack("<II", content[12:20]))
    first = begin + 12 + struct.unpack("<I", content[begin + 4 : begin + 8])[0]
    second = first + 12 + struct.unpack("<I", content[first + 4 : first + 8])[0]
    swapped = content[:begin] + content[first:second] + content[begin:first] + content[second:]
    path.write_bytes(swapped)
    with pytest.raises(TokenFileError, match="checksum of block 0 is wrong"):
        _read(path)


def _forge(path, values, tables=None, payload=None, num_frames=None, extra=b""):
    """A file with right checksums and any content."""
    text = zlib.compress(json.dumps(values).encode())
    tables = zlib.compress(bytes(2 * 5)) if tables is None else tables
    prefix = struct.pack("<8sIII", token_file.MAGIC, 1, len(text), len(tables))
    content = prefix + struct.pack("<I", zlib.crc32(prefix + text + tables)) + text + tables
    if payload is not None:
        head = struct.pack("<II", num_frames, len(payload))
        checksum = zlib.crc32(struct.pack("<I", 0) + head + payload)
        content += head + struct.pack("<I", checksum) + payload
    path.write_bytes(content + extra)


def _values(**changes):
    return {**json.loads(_header().to_json()), **changes}


def _spec_values(**changes):
    return {**_spec().to_dict(), **changes}


@pytest.mark.parametrize(
    "changes",
    [
        {"length": 0},
        {"length": True},
        {"length": "300"},
        {"original_rate": -1},
        {"audio_channels": 0},
        {"audio_channels": 1 << 30},
        {"model": 3},
        {"digest": "0" * 16},
        {"code": "morse"},
        {"step": 0.0},
        {"step": -1.0},
        {"step": 0.1},
        {"step": 1e300},
        {"step": "big"},
        {"q_bits": 8},
        {"code": "symmetric", "step": 0.0, "q_bits": 17, "mu": 30.0},
        {"code": "symmetric", "step": 0.0, "q_bits": 8, "mu": 0.0},
        {"scales_shape": [2, 1, 10]},
        {"scales_shape": [1, 1, 9]},
        {"scales_shape": [1, 10]},
        {"scales_shape": [1, 1, 10]},
        {"spec": _spec_values(num_bins=1 << 40)},
        {"spec": _spec_values(kernel_size=1 << 40)},
        {"spec": _spec_values(num_bins=0)},
        {"spec": _spec_values(num_bins="5")},
        {"spec": _spec_values(hop_length=0)},
        {"spec": 3},
        {"colour": "red"},
    ],
)
def test_impossible_headers_are_refused(tmp_path, changes):
    path = tmp_path / "a.isn"
    _forge(path, _values())
    token_file.TokenReader(path).__exit__()  # the forgery works
    _forge(path, _values(**changes))
    with pytest.raises(TokenFileError, match=r"a\.isn: no token file \("):
        token_file.TokenReader(path)


def test_headers_of_the_wrong_size_are_refused(tmp_path):
    path = tmp_path / "a.isn"
    for tables in (b"", zlib.compress(bytes(9)), zlib.compress(bytes(1 << 26)), b"no zlib"):
        _forge(path, _values(), tables)
        with pytest.raises(TokenFileError, match=r"a\.isn: no token file"):
            token_file.TokenReader(path)
    for values in ([], 3, {}):
        _forge(path, values)
        with pytest.raises(TokenFileError, match=r"a\.isn: no token file"):
            token_file.TokenReader(path)
    nan = np.full(10, np.nan, "<f4").tobytes()
    _forge(path, _values(scales_shape=[1, 1, 10]), zlib.compress(bytes(10) + nan))
    with pytest.raises(TokenFileError, match="not positive numbers"):
        token_file.TokenReader(path)


def test_forged_blocks_are_an_error_or_codes(tmp_path, rng):
    """Whoever gets the checksums right can store other codes, but can do no harm."""
    path = tmp_path / "a.isn"
    frames = _spec().bank.frame_grid(300).num_frames
    for count in (0, frames + 1, 1 << 31):
        _forge(path, _values(), payload=bytes(40), num_frames=count)
        with pytest.raises(TokenFileError, match=r"damaged \(block 0 has"):
            _read(path)
    _forge(path, _values(), payload=bytes(39), num_frames=frames)
    with pytest.raises(TokenFileError, match="4-byte words"):
        _read(path)
    for size in (0, 4, 40, 400):
        for _ in range(20):
            payload = rng.integers(0, 256, size, dtype=np.uint8).tobytes()
            _forge(path, _values(), payload=payload, num_frames=frames)
            with contextlib.suppress(TokenFileError):
                assert _read(path).shape == (frames, 1, 10)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(TokenFileError, match=r"none\.isn: no such file"):
        token_file.TokenReader(tmp_path / "none.isn")
    with pytest.raises(TokenFileError, match="not a file"):
        token_file.TokenReader(tmp_path)
    text = tmp_path / "text.isn"
    for content in (b"", b"words", b"some words that are long enough for a header"):
        text.write_bytes(content)
        with pytest.raises(TokenFileError, match=r"text\.isn: no token file \(it "):
            token_file.TokenReader(text)
    text.write_bytes(token_file.MAGIC + struct.pack("<IIII", 2, 0, 0, 0))
    with pytest.raises(TokenFileError, match="format 2, this version reads 1"):
        token_file.TokenReader(text)


def test_codes_that_do_not_fit_are_not_written(tmp_path, rng):
    header = _header()
    codes = _codes(rng, header)
    path = tmp_path / "a.isn"
    for wrong, message in (
        (codes[:-1], "frames, but 300 samples have"),
        (codes[:0], "0 frames, but"),
        (codes[..., 1:], "codes of shape"),
        (codes + LARGEST, "codes from .* go from -1048576 to 1048576"),
    ):
        with pytest.raises(ValueError, match=message):
            _write(path, wrong, header)
    with pytest.raises(TypeError, match="codes are integers"):
        _write(path, codes.astype(np.float32), header)
    coded = make_quantizer(_spec(), q_bits=4)
    header = _header(quantizer=coded)
    with pytest.raises(ValueError, match="go from 0 to 15"):
        _write(path, codes + 20, header, coded.scale)
    assert not path.exists()


@pytest.mark.quick(1)
@pytest.mark.parametrize("step", [3e-4, 1e-3, 3e-3])
def test_sizes_are_those_of_the_estimate(tmp_path, step):
    codec = isn.from_pretrained("16khz-linear")
    waveform = isn.demo_waveform(16_000)
    quantizer = make_uniform_quantizer(step)
    codes = np.asarray(quantizer.encode(codec.encode(waveform)))[:, None]
    header = _header(len(waveform), spec=codec.spec, quantizer=quantizer)
    written = _write(tmp_path / "a.isn", codes, header)
    assert written.model_bits == entropy.model_bits(codes, codec.spec)
    assert 1.0 < 8 * written.num_bytes / written.model_bits < 1.03
    assert written.model_bits < entropy.order0_bits(codes)
