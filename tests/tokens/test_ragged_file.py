"""Files of ragged codes: what is written is what is read, every damage named."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isincnet_jax.tokens import block_file, ragged_file
from isincnet_jax.tokens.block_file import TokenFileError
from isincnet_jax.tokens.ragged_file import RaggedHeader, RaggedReader, write_ragged_file
from isincnet_jax.tokens.token_file import TokenReader

HEADER = RaggedHeader(
    bank={"num_bins": 3}, arrays=((5, 2), (9, 4)), audio_channels=2, length=40,
    original_length=41, original_rate=8000, step=0.5,
)  # fmt: skip


def codes_of(header, seed=0):
    rng = np.random.default_rng(seed)
    shapes = [(header.audio_channels, *shape) for shape in header.arrays]
    return [rng.geometric(0.3, shape) * rng.choice([-1, 0, 1], shape) for shape in shapes]


@given(
    shapes=st.lists(st.tuples(st.integers(1, 40), st.integers(1, 9)), min_size=1, max_size=4),
    audio=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_what_is_written_is_what_is_read(tmp_path_factory, shapes, audio, seed):
    path = tmp_path_factory.mktemp("ragged") / "a.isn"
    header = dataclasses.replace(HEADER, arrays=tuple(shapes), audio_channels=audio)
    codes = codes_of(header, seed)
    assert write_ragged_file(path, header, codes) == path.stat().st_size
    assert block_file.read_version(path) == ragged_file.VERSION
    with RaggedReader(path) as reader:
        assert reader.header == header
        found = reader.codes()
    for one, other in zip(found, codes, strict=True):
        np.testing.assert_array_equal(one, other)


def test_large_arrays_are_cut_into_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(ragged_file, "_BLOCK_CODES", 12)
    assert list(HEADER.blocks()) == [(0, 3), (0, 2), *[(1, 1)] * 9]
    assert HEADER.count_blocks() == 11
    codes = codes_of(HEADER)
    write_ragged_file(tmp_path / "a.isn", HEADER, codes)
    with RaggedReader(tmp_path / "a.isn") as reader:
        np.testing.assert_array_equal(reader.codes()[1], codes[1])


def test_every_damaged_byte_is_found(tmp_path):
    path = tmp_path / "a.isn"
    write_ragged_file(path, HEADER, codes_of(HEADER))
    data = path.read_bytes()
    for index in range(len(data)):
        path.write_bytes(data[:index] + bytes([data[index] ^ 1]) + data[index + 1 :])
        with pytest.raises(TokenFileError), RaggedReader(path) as reader:
            reader.codes()
    for wrong in (data[:-1], data + b"\0", data[:20], b""):
        path.write_bytes(wrong)
        with pytest.raises(TokenFileError), RaggedReader(path) as reader:
            reader.codes()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"arrays": ()}, "0 arrays"),
        ({"arrays": ((5, 2, 1),)}, "of two sizes"),
        ({"arrays": ((0, 2),)}, "positive integers"),
        ({"arrays": ((1, 1 << 21),)}, "codes in a frame"),
        ({"audio_channels": 65}, "65 audio channels"),
        ({"length": 1 << 28}, "use a lapped bank"),
        ({"original_rate": 0.5}, "positive integers"),
        ({"step": 0.1}, "positive float32"),
        ({"step": 1}, "positive float32"),
        ({"bank": [1]}, "fields of a spec"),
    ],
)
def test_headers_that_no_recording_has_are_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(HEADER, **changed)


def test_other_files_and_shapes_are_refused(tmp_path):
    path = tmp_path / "a.isn"
    with pytest.raises(ValueError, match="the header has"):
        write_ragged_file(path, HEADER, codes_of(HEADER)[:1])
    write_ragged_file(path, HEADER, codes_of(HEADER))
    with pytest.raises(TokenFileError, match="format 3, this version reads 2"):
        TokenReader(path)
    text = json.dumps({**dataclasses.asdict(HEADER), "arrays": [[10**9, 1]]}).encode()
    head = block_file.MAGIC + b"\3" + len(text).to_bytes(4, "little") + text
    path.write_bytes(head + block_file.zlib.crc32(head).to_bytes(4, "little"))
    with pytest.raises(TokenFileError, match="ends early"):  # before anything is allocated
        RaggedReader(path)
    assert block_file.read_version(tmp_path / "none.isn") == 0
