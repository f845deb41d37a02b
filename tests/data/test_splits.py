"""Splits: stable, stratified, disjoint; and files that say otherwise."""

from __future__ import annotations

import hashlib
import logging
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isincnet_jax.data import splits
from isincnet_jax.data.corpus import CorpusError


class Named(NamedTuple):
    name: str
    group: str


def _tracks(sizes):
    return [Named(f"g{g}/t{t}", f"g{g}") for g, size in enumerate(sizes) for t in range(size)]


@given(
    sizes=st.lists(st.integers(1, 25), min_size=1, max_size=6),
    fractions=st.sampled_from(
        [None, {"train": 1, "validation": 1}, {"train": 0.98, "validation": 0.01, "test": 0.01}]
    ),
    seed=st.integers(0, 5),
    data=st.data(),
)
def test_every_track_is_in_one_split_whatever_the_order(sizes, fractions, seed, data):
    tracks = _tracks(sizes)
    found = splits.split_tracks(tracks, fractions=fractions, seed=seed)
    names = [name for members in found.values() for name in members]
    assert sorted(names) == sorted(track.name for track in tracks)
    shuffled = data.draw(st.permutations(tracks))
    assert splits.split_tracks(shuffled, fractions=fractions, seed=seed) == found
    group_of = dict(tracks)
    for group, size in ((f"g{g}", size) for g, size in enumerate(sizes)):
        counts = [sum(group_of[name] == group for name in found[split]) for split in found]
        if size >= len(found):
            assert min(counts) >= 1
            shares = splits.FRACTIONS if fractions is None else fractions
            for count, share in zip(counts, shares.values(), strict=True):
                exact = size * share / sum(shares.values())
                assert count >= 1
                assert abs(count - exact) < len(found)


def test_the_division_is_the_one_of_the_documentation():
    tracks = _tracks([20])
    found = splits.split_tracks(tracks, seed=4)
    ordered = sorted(
        (hashlib.sha256(f"4:{track.name}".encode()).hexdigest(), track.name) for track in tracks
    )
    names = [name for _, name in ordered]
    assert set(found["train"]) == set(names[:16])
    assert set(found["validation"]) == set(names[16:18])
    assert set(found["test"]) == set(names[18:])
    assert splits.split_tracks(tracks, seed=5) != found


def test_groups_too_small_to_divide_are_put_together():
    found = splits.split_tracks(_tracks([1] * 10))
    assert [len(members) for members in found.values()] == [8, 1, 1]
    assert [len(m) for m in splits.split_tracks(_tracks([1, 1])).values()] == [1, 1, 0]
    assert [len(m) for m in splits.split_tracks(_tracks([1])).values()] == [1, 0, 0]


def test_a_fraction_of_zero_leaves_a_split_empty():
    found = splits.split_tracks(_tracks([9]), fractions={"train": 0.9, "validation": 0.1, "x": 0})
    assert [len(members) for members in found.values()] == [8, 1, 0]


@pytest.mark.parametrize("fractions", [{}, {"train": 0}, {"train": 1, "test": -0.1}])
def test_impossible_fractions_are_refused(fractions):
    with pytest.raises(ValueError, match="shares are 0 or more"):
        splits.split_tracks(_tracks([3]), fractions=fractions)


def test_two_tracks_of_one_name_are_refused():
    with pytest.raises(CorpusError, match="two tracks are called 'a'"):
        splits.split_tracks([Named("a", "x"), Named("a", "y")])


NAMES = [f"{genre}/{genre}.{i:05d}" for genre in ("blues", "rock") for i in range(8)]


@pytest.mark.parametrize(
    "line",
    [
        "blues/blues.00003",
        "blues.00003",
        "blues/blues.00003.wav",
        "blues.00003.AU",
        "genres/blues/blues.00003.wav",
        "./blues/blues.00003.wav",
        "blues\\blues.00003.wav",
    ],
)
def test_a_track_is_meant_by_any_of_its_names(line):
    found = splits.match_splits({"train": [line]}, NAMES)
    assert found == {"train": ("blues/blues.00003",)}


def test_patterns_stay_within_a_folder():
    assert len(splits.match_splits({"a": ["*.0000[0-4]"]}, NAMES)["a"]) == 10
    assert len(splits.match_splits({"a": ["blues/*"]}, NAMES)["a"]) == 8
    assert splits.match_splits({"a": ["r*k/*.0000[6-7].wav"]}, NAMES)["a"] == (
        "rock/rock.00006",
        "rock/rock.00007",
    )
    with pytest.raises(CorpusError, match="none of its 1 entries"):
        splits.match_splits({"a": ["bl*6"]}, ["blues/x/blues.00006.b"])


def test_a_name_with_brackets_is_taken_literally_first():
    names = ["song [live]/mixture", "song l/mixture"]
    assert splits.match_splits({"a": ["song [live]/mixture"]}, names)["a"] == (names[0],)
    assert splits.match_splits({"a": ["song [l]/mixture"]}, names)["a"] == (names[1],)


def test_files_are_read_with_comments(split_files):
    found = splits.read_split_files(split_files)
    assert found == {
        "train": ("*.0000[0-2]", "*.00003.wav"),
        "validation": ("blues/blues.00004.wav", "jazz.00004", "rock/rock.00004"),
    }
    (split_files / "test.txt").write_text("a # b\n")
    assert splits.read_split_files(split_files)["test"] == ("a",)
    (split_files / "train.txt").unlink()
    assert splits.read_split_files(split_files, ("test",)) == {"test": ("a",)}
    (split_files / "test.txt").unlink()
    with pytest.raises(CorpusError, match=r"test\.txt: cannot be read: .* has test\.txt"):
        splits.read_split_files(split_files, ("test",))


def test_files_that_are_missing_or_empty_are_named(split_files):
    (split_files / "train.txt").write_text("# nothing\n")
    with pytest.raises(CorpusError, match=r"train\.txt: names no track"):
        splits.read_split_files(split_files)
    (split_files / "train.txt").unlink()
    with pytest.raises(CorpusError, match=r"train\.txt: cannot be read"):
        splits.read_split_files(split_files)


def test_overlap_names_the_track():
    with pytest.raises(CorpusError, match=r"rock/rock\.00001: in the splits train and validation"):
        splits.match_splits({"train": ["*.0000[0-1]"], "validation": ["rock.00001.wav"]}, NAMES)


def test_names_that_are_not_there_are_counted(caplog):
    lines = ["blues.00001", "pop.00001", "pop.00002"]
    with caplog.at_level(logging.INFO):
        splits.match_splits({"train": lines, "validation": ["rock.*"]}, NAMES)
    assert "split train: 2 of 3 entries name no track, pop.00001 for instance" in caplog.text
    assert "7 of 16 tracks are in no split" in caplog.text


def test_an_empty_split_is_refused():
    with pytest.raises(CorpusError, match="split validation: none of its 1 entries"):
        splits.match_splits({"train": ["blues.*"], "validation": ["pop.*"]}, NAMES)
