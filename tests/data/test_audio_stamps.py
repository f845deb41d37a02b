"""What libsndfile writes of the clock and of chance is gone; no sample is another."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import soundfile

from isincnet_jax.data import audio_stamps, audio_writing

WAVE = np.random.default_rng(3).uniform(-0.9, 0.9, (5000, 2))
FLOATS = [(".wav", "FLOAT"), (".wav", "DOUBLE"), (".aiff", "FLOAT"), (".aif", "DOUBLE")]
OGGS = [(".ogg", "VORBIS"), (".oga", "VORBIS"), (".opus", "OPUS")]


def raw(path, subtype, wave=WAVE):
    """The file as libsndfile writes it."""
    container = audio_writing._CONTAINERS[path.suffix]
    soundfile.write(path, wave, 48_000, subtype, format=container)
    return path


def stamp_at(data):
    """Where the time of the PEAK chunk stands: name, size, version, time."""
    return data.index(b"PEAK") + 12


@pytest.mark.parametrize(("suffix", "subtype"), FLOATS)
def test_files_of_two_times_become_one(suffix, subtype, tmp_path):
    path = raw(tmp_path / f"a{suffix}", subtype)
    content = bytearray(path.read_bytes())
    at, order = stamp_at(content), "<I" if suffix == ".wav" else ">I"
    (written_at,) = struct.unpack_from(order, content, at)
    assert written_at > 1_500_000_000  # it is the time, and that of today
    results = set()
    for time in (written_at, 0, 86_400):
        struct.pack_into(order, content, at, time)
        path.write_bytes(content)
        audio_stamps.settle(path)
        results.add(path.read_bytes())
    (result,) = results
    struct.pack_into(order, content, at, 0)
    assert result == content
    np.testing.assert_allclose(soundfile.read(path)[0], WAVE, atol=1e-7)


@pytest.mark.parametrize(("suffix", "subtype"), OGGS)
def test_streams_of_two_serial_numbers_become_one(suffix, subtype, tmp_path):
    first, second = (raw(tmp_path / f"{name}{suffix}", subtype) for name in "ab")
    assert first.read_bytes() != second.read_bytes()  # libsndfile draws a number for each
    decoded = soundfile.read(first)[0]
    for path in (first, second):
        audio_stamps.settle(path)
    assert first.read_bytes() == second.read_bytes()
    np.testing.assert_array_equal(soundfile.read(first)[0], decoded)  # checksums hold
    other = raw(tmp_path / f"c{suffix}", subtype, -WAVE)
    audio_stamps.settle(other)
    assert other.read_bytes()[14:18] != first.read_bytes()[14:18]  # chained streams need others


def test_checksums_are_those_of_ogg(tmp_path):
    page = bytearray(raw(tmp_path / "a.ogg", "VORBIS").read_bytes()[:58])
    (stated,) = struct.unpack_from("<I", page, 22)
    page[22:26] = bytes(4)
    value = 0  # RFC 3533: polynomial 0x04c11db7, from 0, highest bit first, not inverted
    for byte in page:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ (0x04C11DB7 if value >> 31 else 0)) & 0xFFFFFFFF
    assert audio_stamps._checksum(page) == value == stated


@pytest.mark.parametrize("suffix", audio_writing._CONTAINERS)
def test_every_container_is_written_the_same_twice(suffix, tmp_path):
    container = audio_writing._CONTAINERS[suffix]
    subtypes = {audio_writing.output_subtype(f"a{suffix}", name) for name in ("FLOAT", "PCM_16")}
    for subtype in subtypes:
        contents = set()
        for name in "ab":
            path = tmp_path / f"{name}{suffix}"
            audio_writing.write_blocks(
                path,
                [WAVE[:3000], WAVE[3000:]],
                sample_rate=48_000,
                num_channels=2,
                subtype=subtype,
            )
            contents.add(path.read_bytes())
        (content,) = contents
        if b"PEAK" in content[:200]:  # the two may be of one second: look at the stamp itself
            assert content[stamp_at(content) :][:4] == bytes(4)
        else:
            assert container not in ("WAV", "AIFF") or subtype.startswith("PCM")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"RIFF",
        b"RIFF\0\0\0\0WAVEPEAK",
        b"FORM" + bytes(4) + b"AIFCSSND\xff\xff\xff\xff",
        b"OggS",
        b"OggS" + bytes(22) + b"\x03",
    ],
)
def test_a_torn_file_is_left_alone(content, tmp_path):
    path = tmp_path / "torn"
    path.write_bytes(content)
    audio_stamps.settle(path)
    assert path.read_bytes() == content
