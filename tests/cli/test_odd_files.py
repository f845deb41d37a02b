"""Runs over folders with odd files: names of any bytes, pipes, links that lead nowhere."""

from __future__ import annotations

import json
import os
import re
import struct

import numpy as np
import pytest
import soundfile

ODD = [b"caf\xe9.wav", b"new\nline.wav", b"-dash.wav", b"a #1.wav", b"quo'te\".wav", b"<b>.wav"]


@pytest.fixture
def corpus(tmp_path):
    """``in/a``: 18 sounds of half a second, six with odd names, and four that are no sounds."""
    folder = tmp_path / "in" / "a"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in (*(b"%d.wav" % n for n in range(12)), *ODD):
        soundfile.write(folder / "x.wav", 0.1 * rng.standard_normal(16_000), 16_000)
        try:
            os.rename(folder / "x.wav", os.fsencode(folder) + b"/" + name)
        except OSError:
            pytest.skip("a file system that takes UTF-8 only")
    (folder / "folder.wav").mkdir()
    os.mkfifo(folder / "pipe.wav")
    (folder / "gone.wav").symlink_to("nothing")
    (folder / "loop.wav").symlink_to("loop.wav")
    content = bytearray((folder / "0.wav").read_bytes())
    content[24:28] = struct.pack("<I", 0)
    (folder / "zero.wav").write_bytes(content)
    return folder


BAD = ("gone", "loop", "pipe", "zero")


def test_prepare_takes_odd_names_and_skips_the_rest(corpus, run, tmp_path):
    status, out, _ = run("prepare in out --source folder")
    assert status == 0
    assert "skipped: 4" in out
    assert all(f"a/{name}" in out for name in BAD)
    names = set()
    for index in (tmp_path / "out").glob("*/index.json"):
        names |= {track["name"] for track in json.loads(index.read_text("utf-8"))["tracks"]}
    assert len(names) == 18
    assert {r"a/caf\xe9", r"a/new\nline", "a/a #1"} <= names


def test_preprocess_and_its_lists_agree(corpus, run, tmp_path):
    from isincnet_jax.data import sources, splits

    status, out, _ = run("vocoder preprocess in index")
    assert status == 0, out
    assert "skipped: 4" in out
    tracks = [track.name for track in sources.folder_source(tmp_path / "in").tracks]
    found = splits.match_splits(splits.read_split_files(tmp_path / "index"), tracks)
    assert sum(map(len, found.values())) == 18


def test_benchmark_takes_odd_names_and_skips_the_rest(corpus, run, tmp_path):
    status, out, _ = run(
        "benchmark in --out r.json --html r.html --csv r.csv --duration 1 --listen 18 "
        "--no-loudness --methods 16khz-linear --metrics snr_db"
    )
    assert status == 0, out
    assert "skipped tracks: 4" in out
    page = (tmp_path / "r.html").read_text("utf-8")
    assert "a/<b>" not in page
    assert len(json.loads((tmp_path / "r.json").read_text("utf-8"))["corpus"]["clips"]) == 18


def test_encode_takes_odd_names_and_names_the_rest(corpus, run, tmp_path):
    status, out, _ = run("encode in out --model 16khz-linear")
    assert status == 1
    assert "encoded 18 files" in out
    assert "4 of 22 files failed" in out
    assert os.fsdecode(b"caf\xe9.npz") in os.listdir(tmp_path / "out" / "a")
    again, out, _ = run("encode in out --model 16khz-linear")
    assert (again, "18 of 22 files are done already" in out) == (1, True)
    status, out, _ = run("decode out back")
    assert status == 0, out
    assert os.fsdecode(b"caf\xe9.wav") in os.listdir(tmp_path / "back" / "a")


def test_single_odd_files(corpus, run, tmp_path):
    source, target = os.fsdecode(ODD[0]), os.fsdecode(b"n\xe9u.wav")
    os.rename(corpus / source, tmp_path / source)
    status, out, _ = run(f"reconstruct {source} {target}")
    assert status == 0
    assert r"wrote   n\xe9u.wav" in out
    for name, reason in (
        ("pipe", "a pipe or device"),
        ("gone", "a link to a file that is missing|no such file"),
        ("loop", "Too many levels|no such file"),
        ("zero", "impossible sample rate"),
    ):
        status, _, err = run(f"reconstruct in/a/{name}.wav out.wav")
        assert status == 1
        assert re.fullmatch(rf"isincnet: error: in/a/{name}\.wav: .*({reason}).*\n", err), err
    assert not (tmp_path / "out.wav").exists()


def test_cut_audio_is_kept_on_demand_and_said_once(run, tmp_path):
    soundfile.write("whole.wav", 0.1 * np.random.default_rng(0).standard_normal(8000), 16_000)
    (tmp_path / "cut.wav").write_bytes((tmp_path / "whole.wav").read_bytes()[:9000])
    for command in ("encode {} a.npz --q-bits 8", "reconstruct {} a.wav", "stream {} b.wav"):
        status, _, err = run(command.format("cut.wav"))
        assert status == 1
        assert re.fullmatch(r"isincnet: error: cut\.wav: truncated: [^\n]*\n", err)
        status, _, err = run(f"{command.format('cut.wav')} --truncated keep")
        assert status == 0
        assert re.fullmatch(r"cut\.wav: the 0\.280 s that could be read are used: .*\n", err), err
    assert soundfile.info("a.wav").frames == soundfile.info("b.wav").frames == 4478
