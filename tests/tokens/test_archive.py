"""Spectrogram archives: exact round trips, and every damage named."""

from __future__ import annotations

import dataclasses
import functools
import json
import tracemalloc
import zipfile

import numpy as np
import pytest

import isincnet_jax as isn
from isincnet_jax.tokens import archive
from isincnet_jax.tokens.archive import ArchiveError, Header

LENGTH = 1000


@functools.cache
def _spec(num_bins: int = 17) -> isn.FilterbankSpec:
    return isn.FilterbankSpec(sample_rate=8000, hop_length=16, num_bins=num_bins, shape="none")


FRAMES = _spec().bank.frame_grid(LENGTH).num_frames
COEFFICIENTS = Header(_spec(), "custom", LENGTH, LENGTH, 8000)
CODES = dataclasses.replace(COEFFICIENTS, q_bits=8, mu=30.0)


def _write(path, rows, *, header=COEFFICIENTS, scales=None):
    chunks = np.array_split(rows, 3)
    return archive.write_archive(path, chunks, make_header=lambda: header, scales=scales)


def _read(path):
    with archive.ArchiveReader(path) as reader:
        return np.concatenate(list(reader.rows()))


@pytest.fixture
def rows(rng):
    return rng.standard_normal((FRAMES, 2, 34)).astype(np.float32)


@pytest.fixture
def codes(rng):
    return rng.integers(0, 256, (FRAMES, 2, 34)).astype(np.uint8)


SCALES = np.full((2, 1, 34), 0.5, np.float32)


def test_coefficients_come_back_bit_for_bit(tmp_path, rows):
    path = tmp_path / "a.npz"
    assert _write(path, rows) == FRAMES
    with archive.ArchiveReader(path) as reader:
        assert reader.header == COEFFICIENTS
        assert reader.quantizer() is None
        chunks = list(reader.rows(frames_per_chunk=7))
    assert {len(chunk) for chunk in chunks[:-1]} == {7}
    np.testing.assert_array_equal(np.concatenate(chunks), rows)
    assert sorted(child.name for child in tmp_path.iterdir()) == ["a.npz"]


@pytest.mark.parametrize("q_bits", [2, 8, 9, 16])
@pytest.mark.parametrize("shape", [(2, 1, 34), (1, 1, 34), (34,), ()])
def test_codes_come_back_bit_for_bit(tmp_path, rng, q_bits, shape):
    header = dataclasses.replace(CODES, q_bits=q_bits)
    dtype = np.uint8 if q_bits <= 8 else np.uint16
    rows = rng.integers(0, 2**q_bits, (FRAMES, 2, 34)).astype(dtype)
    scales = rng.uniform(0.1, 1, shape).astype(np.float32)
    _write(tmp_path / "a.npz", rows, header=header, scales=scales)
    with archive.ArchiveReader(tmp_path / "a.npz") as reader:
        assert reader.header == header
        found = np.concatenate(list(reader.rows()))
        quantizer = reader.quantizer()
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, rows)
    assert (quantizer.q_bits, quantizer.mu, quantizer.code) == (q_bits, 30.0, "symmetric")
    np.testing.assert_array_equal(quantizer.scale.reshape(shape), scales)


def test_numpy_can_read_it(tmp_path, codes):
    path = tmp_path / "a.npz"
    _write(path, codes, header=CODES, scales=SCALES)
    with np.load(path, allow_pickle=False) as stored:
        assert sorted(stored.files) == ["codes", "header", "scales"]
        np.testing.assert_array_equal(stored["codes"], codes)
        np.testing.assert_array_equal(stored["scales"], SCALES)
        header = json.loads(str(stored["header"]))
    assert header["format"] == 1
    assert header["spec"]["hop_length"] == 16


def test_nothing_of_the_clock_is_stored(tmp_path, rows, codes):
    for path, values, more in (
        (tmp_path / "rows.npz", rows, {}),
        (tmp_path / "codes.npz", codes, {"header": CODES, "scales": SCALES}),
    ):
        _write(path, values, **more)
        with zipfile.ZipFile(path) as stored:
            assert {member.date_time for member in stored.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_codes_are_compressed(tmp_path):
    zeros = np.full((FRAMES, 2, 34), 127, np.uint8)
    _write(tmp_path / "a.npz", zeros, header=CODES, scales=SCALES)
    assert (tmp_path / "a.npz").stat().st_size < zeros.nbytes


def test_rows_are_read_in_chunks(tmp_path, rows, monkeypatch):
    _write(tmp_path / "a.npz", rows)
    largest = 0
    read = zipfile.ZipExtFile.read

    def counted(self, count=-1):
        nonlocal largest
        data = read(self, count)
        largest = max(largest, len(data))
        return data

    monkeypatch.setattr(zipfile.ZipExtFile, "read", counted)
    with archive.ArchiveReader(tmp_path / "a.npz") as reader:
        largest = 0
        for _ in reader.rows(frames_per_chunk=5):
            pass
    assert largest == 5 * rows[0].nbytes


def test_nothing_is_not_stored(tmp_path):
    with pytest.raises(ValueError, match="without frames"):
        archive.write_archive(tmp_path / "a.npz", [], make_header=lambda: COEFFICIENTS)


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_truncated_archives_are_refused(tmp_path, rows, fraction):
    path = tmp_path / "a.npz"
    _write(path, rows)
    content = path.read_bytes()
    path.write_bytes(content[: int(fraction * len(content))])
    with pytest.raises(ArchiveError, match=r"a\.npz: "):
        _read(path)


@pytest.mark.parametrize("is_coded", [False, True])
def test_flipped_bits_are_found(tmp_path, rows, codes, is_coded, rng):
    path = tmp_path / "a.npz"
    if is_coded:
        _write(path, codes, header=CODES, scales=SCALES)
    else:
        _write(path, rows)
    content = path.read_bytes()
    good = _read(path)
    found = 0
    for position in rng.integers(0, len(content), 60):
        damaged = bytearray(content)
        damaged[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            again = _read(path)
        except ArchiveError:
            found += 1
        else:  # a date, or a length that nobody reads: the rows must be right
            np.testing.assert_array_equal(again, good)
    assert found > 40


def test_other_files_are_refused(tmp_path):
    with pytest.raises(ArchiveError, match=r"none\.npz: no such file"):
        archive.ArchiveReader(tmp_path / "none.npz")
    with pytest.raises(ArchiveError, match="not a file"):
        archive.ArchiveReader(tmp_path)
    text = tmp_path / "text.npz"
    text.write_text("some words")
    with pytest.raises(ArchiveError, match=r"text\.npz: no spectrogram archive"):
        archive.ArchiveReader(text)
    plain = tmp_path / "plain.npz"
    np.savez(plain, a=np.ones(3))
    with pytest.raises(ArchiveError, match=r"plain\.npz: no spectrogram archive .*header"):
        archive.ArchiveReader(plain)


class _Bomb:
    def __reduce__(self):
        return (pytest.fail, ("unpickled",))


def test_pickles_are_not_loaded(tmp_path):
    path = tmp_path / "a.npz"
    bomb = np.empty((), object)
    bomb[()] = _Bomb()
    np.savez(path, header=bomb, allow_pickle=True)
    with pytest.raises(ArchiveError, match=r"a\.npz: no spectrogram archive"):
        archive.ArchiveReader(path)


def _forge(path, values, **members):
    """An archive with intact checksums and any content."""
    np.savez(path, header=np.asarray(json.dumps(values)), **members)


def _header(**changes):
    return {**json.loads(COEFFICIENTS.to_json()), **changes}


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 2},
        {"length": 0},
        {"length": "1000"},
        {"length": 1000.5},
        {"original_rate": -1},
        {"original_length": 0},
        {"model": 3},
        {"spec": {**_spec().to_dict(), "hop_length": 0}},
        {"colour": "red"},
        {"q_bits": 17},
        {"q_bits": 8, "mu": 0.0},
        {"q_bits": 8, "mu": 1e400},
        {"q_bits": 8, "mu": 30.0, "code": "morse"},
    ],
)
def test_impossible_headers_are_refused(tmp_path, rows, changes):
    path = tmp_path / "a.npz"
    _forge(path, _header(), coefficients=rows)
    np.testing.assert_array_equal(_read(path), rows)  # the forgery works
    _forge(path, _header(**changes), coefficients=rows, codes=rows, scales=SCALES)
    with pytest.raises(ArchiveError, match=r"a\.npz: no spectrogram archive"):
        archive.ArchiveReader(path)


def test_a_header_that_is_no_header_is_refused(tmp_path):
    for text in ("", "[]", "3", "{", "{}"):
        path = tmp_path / "a.npz"
        np.savez(path, header=np.asarray(text))
        with pytest.raises(ArchiveError, match=r"a\.npz: no spectrogram archive"):
            archive.ArchiveReader(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.astype(np.float64), "float64 of shape"),
        (lambda rows: rows.astype(np.uint8), "uint8 of shape"),
        (lambda rows: rows[..., :-1], "does not fit its header"),
        (lambda rows: rows[:, 0], "does not fit its header"),
        (lambda rows: rows[:-1], "frames of 2 audio channels, but 1000 samples"),
        (lambda rows: rows[:0], "0 frames of 2"),
        (lambda rows: rows[:, :0], "frames of 0 audio channels"),
        (lambda rows: np.where(rows == rows[3, 1, 5], np.float32(np.nan), rows), "NaN or inf"),
        (lambda rows: np.where(rows == rows[-1, 0, 0], np.float32(np.inf), rows), "NaN or inf"),
        (np.asfortranarray, "unexpected array layout"),
    ],
)
def test_rows_that_do_not_fit_are_refused(tmp_path, rows, change, message):
    path = tmp_path / "a.npz"
    _forge(path, _header(), coefficients=change(rows))
    with pytest.raises(ArchiveError, match=rf"a\.npz: .*{message}"):
        _read(path)


def test_rows_of_another_bank_are_refused(tmp_path, rows):
    path = tmp_path / "a.npz"
    _forge(path, _header(spec=_spec(18).to_dict()), coefficients=rows)
    with pytest.raises(ArchiveError, match=r"a\.npz: .* does not fit its header \(36 channels"):
        _read(path)


@pytest.mark.parametrize(
    ("scales", "message"),
    [
        (np.full((2, 1, 33), 0.5, np.float32), "scales of 33 channels"),
        (np.full((2, 2, 34), 0.5, np.float32), "scales of type"),
        (np.full((34,), 0.5, np.float32), "scales of type"),
        (np.full((2, 1, 34), 0.5), "scales of type float64"),
        (np.zeros((2, 1, 34), np.float32), "not positive"),
        (np.full((2, 1, 34), np.nan, np.float32), "not positive"),
        (np.full((3, 1, 34), 0.5, np.float32), "scales of 3 audio channels"),
    ],
)
def test_scales_that_do_not_fit_are_refused(tmp_path, codes, scales, message):
    path = tmp_path / "a.npz"
    _forge(path, _header(q_bits=8, mu=30.0), codes=codes, scales=scales)
    with pytest.raises(ArchiveError, match=rf"a\.npz: .*{message}"):
        _read(path)


def test_codes_beyond_their_bits_are_refused(tmp_path, codes):
    path = tmp_path / "a.npz"
    _forge(path, _header(q_bits=6, mu=30.0), codes=codes, scales=SCALES)
    with pytest.raises(ArchiveError, match=r"a\.npz: damaged \(codes of more than 6 bits"):
        _read(path)
    _forge(path, _header(q_bits=6, mu=30.0), codes=codes % 64, scales=SCALES)
    np.testing.assert_array_equal(_read(path), codes % 64)


@pytest.mark.parametrize("name", ["header", "scales"])
def test_sizes_are_checked_before_they_are_believed(tmp_path, codes, name):
    path = tmp_path / "a.npz"
    _write(path, codes, header=CODES, scales=SCALES)
    with zipfile.ZipFile(path) as old:
        members = {entry: old.read(entry) for entry in old.namelist()}
    members[f"{name}.npy"] = members[f"{name}.npy"][:128] + bytes(100 << 20)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for entry, data in members.items():
            new.writestr(entry, data)
    del members, data
    tracemalloc.start()
    try:
        with pytest.raises(ArchiveError, match=rf"a\.npz: .*its {name} is of \d+ bytes"):
            archive.ArchiveReader(path)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


def test_a_bank_of_impossible_size_is_not_made(tmp_path, rows):
    path = tmp_path / "a.npz"
    spec = {**dataclasses.asdict(_spec()), "num_bins": 1 << 40}
    text = json.dumps({"format": 1, **dataclasses.asdict(COEFFICIENTS), "spec": spec})
    np.savez(path, header=text, coefficients=rows)
    with pytest.raises(ArchiveError, match="is out of bounds"):
        archive.ArchiveReader(path)
