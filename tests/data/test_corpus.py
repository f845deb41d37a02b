"""Corpora in memory and in folders: exactness, and damage that is named."""

from __future__ import annotations

import json
import resource
import shutil

import numpy as np
import pytest
from array_corpus import corpus_from_arrays
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from isincnet_jax.data import corpus as corpora
from isincnet_jax.data import corpus_files
from isincnet_jax.data.corpus import CorpusError


def _waveforms(rng, count=4):
    return [
        (f"g{i % 2}/t{i}", f"g{i % 2}", rng.uniform(-1, 1, 50 + i).astype(np.float32) * 2.0**-i)
        for i in range(count)
    ]


@pytest.fixture
def small(rng):
    return corpus_from_arrays(_waveforms(rng), sample_rate=8000)


def _same(a, b):
    assert (a.sample_rate, a.loudness_db, a.source) == (b.sample_rate, b.loudness_db, b.source)
    assert [(t.name, t.group, t.length, t.scale) for t in a.tracks] == [
        (t.name, t.group, t.length, t.scale) for t in b.tracks
    ]
    for index in range(len(a)):
        np.testing.assert_array_equal(a.clip(index), b.clip(index))


def test_clips_are_the_waveforms_within_half_a_step(rng):
    waveforms = _waveforms(rng)
    corpus = corpus_from_arrays(waveforms, sample_rate=8000)
    assert len(corpus) == 4
    assert corpus.duration_s == pytest.approx(sum(len(w) for *_, w in waveforms) / 8000)
    for name, group, waveform in waveforms:
        index = corpus.names.index(name)
        clip = corpus.clip(index)
        assert clip.dtype == np.float32
        assert corpus.tracks[index].group == group
        # Each track has the whole range of integers, however quiet; and float32 rounding.
        step = np.max(np.abs(waveform)) / 32_767
        np.testing.assert_allclose(clip, waveform, atol=0.501 * step)
        np.testing.assert_array_equal(corpus.clip(index, start=7, length=9), clip[7:16])


@given(
    hnp.arrays(np.float32, st.integers(1, 30), elements=st.floats(-4, 4, width=32)),
    st.floats(0.01, 10),
)
def test_quantisation_returns_within_full_scale(waveform, gain):
    integers, scale = corpora.quantize(waveform, gain=gain)
    assert integers.dtype == np.int16
    assert np.float32(scale) == scale
    back = integers * np.float32(scale)
    peak = float(np.max(np.abs(waveform)))
    if gain * peak <= 1:
        assert np.max(np.abs(back)) <= 1.0
    np.testing.assert_allclose(back, gain * waveform, atol=gain * peak * (0.51 / 32_767))


def test_silence_stays_silence():
    integers, scale = corpora.quantize(np.zeros(5, np.float32))
    assert not integers.any()
    assert scale > 0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_not_a_number_is_refused(bad):
    with pytest.raises(ValueError, match="NaN or infinite"):
        corpora.quantize(np.array([0.0, bad]))


def test_selection_shares_samples(small):
    chosen = small.select(["g1/t3", "g0/t0"])
    assert chosen.names == ("g0/t0", "g1/t3")
    assert chosen.samples is small.samples
    np.testing.assert_array_equal(chosen.clip(1), small.clip(small.names.index("g1/t3")))
    with pytest.raises(CorpusError, match="'none' and 1 more: no such tracks among 4"):
        small.select(["none", "nothing", "g0/t0"])


@pytest.mark.parametrize(("start", "length"), [(-1, 5), (0, 51), (50, 1), (60, None), (0, -1)])
def test_parts_outside_a_track_are_refused(small, start, length):
    with pytest.raises(ValueError, match="g0/t0 has samples 0 to 50"):
        small.clip(0, start=start, length=length)


def test_tracks_must_have_samples_and_names_of_their_own():
    with pytest.raises(CorpusError, match="two tracks are called 'a'"):
        corpus_from_arrays([("a", "", np.ones(3))] * 2, sample_rate=8000)
    with pytest.raises(CorpusError, match="'a' has no samples"):
        corpus_from_arrays([("a", "", np.ones(0))], sample_rate=8000)


def test_a_folder_holds_the_same_corpus(small, tmp_path):
    folder = tmp_path / "deep" / "corpus"
    corpus_files.save_corpus(small, folder)
    loaded = corpus_files.load_corpus(folder, verify=True)
    _same(small, loaded)
    assert isinstance(loaded.samples, np.memmap)
    plain = np.load(folder / "samples.npy")
    assert plain.dtype == np.int16
    assert len(plain) == 50 + 51 + 52 + 53
    assert [path.name for path in folder.parent.iterdir()] == ["corpus"]


def test_a_selection_is_written_without_the_rest(small, tmp_path):
    chosen = small.select(["g1/t3"])
    corpus_files.save_corpus(chosen, tmp_path / "corpus")
    loaded = corpus_files.load_corpus(tmp_path / "corpus")
    _same(chosen, loaded)
    assert len(loaded.samples) == 53


def test_an_existing_corpus_is_overwritten_only_when_asked(small, tmp_path):
    folder = tmp_path / "corpus"
    corpus_files.save_corpus(small, folder)
    other = small.select(["g0/t0"])
    with pytest.raises(CorpusError, match="corpus: exists and is not empty"):
        corpus_files.save_corpus(other, folder)
    _same(small, corpus_files.load_corpus(folder))
    corpus_files.save_corpus(other, folder, overwrite=True)
    _same(other, corpus_files.load_corpus(folder))
    assert [path.name for path in tmp_path.iterdir()] == ["corpus"]


def test_what_is_no_corpus_is_never_overwritten(small, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "thesis.txt").write_text("years of work")
    with pytest.raises(CorpusError, match="notes: is no corpus, and is not overwritten"):
        corpus_files.save_corpus(small, tmp_path / "notes", overwrite=True)
    (tmp_path / "file").write_text("x")
    with pytest.raises(CorpusError, match="file: a file, not a folder"):
        corpus_files.save_corpus(small, tmp_path / "file", overwrite=True)
    assert (tmp_path / "notes" / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("had_one", [False, True])
def test_a_full_disk_leaves_what_was_there(rng, tmp_path, had_one):
    old = corpus_from_arrays(_waveforms(rng), sample_rate=8000)
    folder = tmp_path / "corpus"
    if had_one:
        corpus_files.save_corpus(old, folder)
    big = corpus_from_arrays([("a", "", rng.uniform(-1, 1, 200_000))], sample_rate=8000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # a write beyond it fails
    try:
        with pytest.raises(CorpusError, match="corpus: cannot be written: File too large"):
            corpus_files.save_corpus(big, folder, overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == (["corpus"] if had_one else [])
    if had_one:
        _same(old, corpus_files.load_corpus(folder, verify=True))


def _edit(folder, **changes):
    index = json.loads((folder / "index.json").read_text())
    (folder / "index.json").write_text(json.dumps(index | changes))


def _edit_track(folder, **changes):
    index = json.loads((folder / "index.json").read_text())
    index["tracks"][0] |= changes
    (folder / "index.json").write_text(json.dumps(index))


def _cut(path, size):
    path.write_bytes(path.read_bytes()[:size])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "index.json").unlink(), r"index\.json: no such file"),
        (lambda f: (f / "samples.npy").unlink(), r"samples\.npy: no such file"),
        (lambda f: _cut(f / "index.json", 200), r"index\.json: cannot be read"),
        (lambda f: _cut(f / "samples.npy", 200), r"samples\.npy: truncated or damaged"),
        (lambda f: _cut(f / "samples.npy", 0), r"samples\.npy: truncated or damaged"),
        (lambda f: (f / "index.json").write_text("[]"), r"index\.json: not the index"),
        (lambda f: _edit(f, version=2), r"index\.json: version=2: this program reads version 1"),
        (lambda f: _edit(f, num_samples=9), r"samples\.npy: damaged: int16 \(206,\), the index"),
        (lambda f: _edit(f, tracks=[{}]), r"index\.json: damaged: KeyError"),
        (lambda f: _edit(f, sample_rate="x"), r"index\.json: damaged: ValueError"),
        (lambda f: _edit_track(f, length=300), r"index\.json: damaged: 'g0/t0' ends at sample 300"),
        (lambda f: _edit_track(f, start=-1), r"index\.json: damaged: 'g0/t0'"),
        (lambda f: _edit_track(f, scale=0), r"index\.json: damaged: 'g0/t0' has the scale 0"),
        (lambda f: np.save(f / "samples.npy", np.zeros(206)), r"samples\.npy: damaged: float64"),
    ],
)
def test_damage_is_named(small, tmp_path, damage, message):
    folder = tmp_path / "corpus"
    corpus_files.save_corpus(small, folder)
    damage(folder)
    with pytest.raises(CorpusError, match=message):
        corpus_files.load_corpus(folder)


def test_changed_samples_are_found_when_verified(small, tmp_path):
    folder = tmp_path / "corpus"
    corpus_files.save_corpus(small, folder)
    content = bytearray((folder / "samples.npy").read_bytes())
    content[-1] ^= 1
    (folder / "samples.npy").write_bytes(content)
    corpus_files.load_corpus(folder)
    with pytest.raises(CorpusError, match="the samples of 'g1/t3' changed"):
        corpus_files.load_corpus(folder, verify=True)


def test_a_new_folder_stays_only_if_the_block_ends_well(tmp_path):
    def interrupted():
        with corpus_files.new_folder(tmp_path / "new") as temporary:
            (temporary / "half").write_text("written")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "new").mkdir()
    with corpus_files.new_folder(tmp_path / "new") as temporary:
        (temporary / "whole").write_text("written")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["whole"]
    shutil.rmtree(tmp_path / "new")
