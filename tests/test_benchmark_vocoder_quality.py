"""Scores of vocoders: sets of clips, rows that are measured anew, their tables."""

from __future__ import annotations

import json

import measured
import measured_tables
import numpy as np
import pytest
import soundfile
import vocoder_quality

from isincnet_jax.benchmark import perceptual


@pytest.fixture
def clips(tmp_path, rng):
    """Three short recordings in a folder, two of them in a list."""
    for name, count in (("a", 6000), ("b", 9000), ("c", 4000)):
        noise = 0.1 * rng.standard_normal(count)
        soundfile.write(tmp_path / f"{name}.wav", noise, 22_050)
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "test.txt").write_text("a\nb # long\n")
    return tmp_path


def test_clips_of_a_list_or_all(clips):
    assert vocoder_quality.load_clips(clips, clips / "lists", "test").names == ("a", "b")
    assert vocoder_quality.load_clips(clips, None, "test").names == ("a", "b", "c")


def test_methods_by_name_and_pattern():
    every = vocoder_quality.methods(None, None)
    names = ["difference map 60", "*Griffin-Lim 60"]
    assert list(vocoder_quality.chosen(every, names)) == [
        "Griffin-Lim 60",
        "fast Griffin-Lim 60",
        "difference map 60",
        "mel inversion, Griffin-Lim 60",
        "mel inversion, fast Griffin-Lim 60",
    ]
    assert vocoder_quality.chosen(every, None) == every
    with pytest.raises(SystemExit, match="--methods gone: no such method; there are Griffin-Lim"):
        vocoder_quality.chosen(every, ["gone"])


@pytest.mark.quick(0)
def test_a_method_is_scored_by_what_it_was_given(clips, monkeypatch):
    monkeypatch.setattr(perceptual.extras, "is_installed", lambda name: False)
    corpus = vocoder_quality.load_clips(clips, clips / "lists", "test")
    linear = vocoder_quality.LINEAR

    def halved(magnitude, length):
        return 0.5 * heard.pop(0)

    heard = [corpus.clip(0), corpus.clip(0), corpus.clip(1)]  # the first to compile
    heard = [np.pad(clip, (0, 9000 - len(clip)))[None] for clip in heard]
    row = vocoder_quality.measure(vocoder_quality.Method(linear, halved, 7), corpus)
    assert (row["input"], row["parameters"]) == ("linear", 7)
    assert row["consistency_db"] == pytest.approx(20 * np.log10(0.5), abs=1e-3)
    assert row["convergence_db"] == pytest.approx(20 * np.log10(0.5), abs=1e-3)
    assert row["mcd_db"] == pytest.approx(0, abs=1e-4)  # the level does not count
    assert row["times_real_time"] > 0
    assert not set(row) & set(perceptual.MODELS)
    heard += [np.ones((1, 2205), np.float32)] * 3
    cut = vocoder_quality.measure(vocoder_quality.Method(linear, halved), corpus, seconds=0.1)
    assert cut["mcd_db"] > 1


def row(name, commit, loss):
    mark = {"command": f"python benchmarks/vocoder_quality.py --{commit}", "date": "2026-11-30"}
    scores = {"input": "linear", "parameters": 0, "multi_stft": loss}
    return {"method": name, **scores, "commit": commit, **mark}


def test_rows_measured_anew_take_the_place_of_the_old():
    whole = {"clips": ["a"], "seconds": None}
    before = {**whole, "rows": [row("one", "old", 1.0), row("gone", "old", 2.0)]}
    origin, fresh = {**whole, "seed": 0}, [row("two", "new", 3.0), row("one", "new", 4.0)]
    merged = vocoder_quality.merge(before, fresh, origin, ["two", "one"])
    assert [(one["method"], one["multi_stft"]) for one in merged["rows"]] == [
        *(("two", 3.0), ("one", 4.0)),
        ("gone", 2.0),
    ]
    assert merged["seed"] == 0
    for other in ({"clips": ["b"]}, {"seconds": 5.0}):
        with pytest.raises(SystemExit, match="the other rows are of other clips"):
            vocoder_quality.merge(before, fresh, {**whole, **other}, [])


def test_tables_show_the_scores_that_were_measured():
    old = {"method": "a", "input": "linear", "parameters": 0, "multi_stft": 0.5}
    old |= {"convergence_db": -20.0}
    new = {**old, "pesq": 3.25, "estoi": 0.9, "visqol_speech": 4.0, "times_real_time": 10.0}
    text = measured_tables.vocoder_scores({"rows": [old]})
    assert text.splitlines()[0].endswith("| multi-resolution loss | convergence, dB |")
    head, _, row = measured_tables.vocoder_scores({"rows": [new]}).splitlines()
    assert head.endswith("dB | ViSQOL, speech mode | PESQ-WB | ESTOI | x real time |")
    assert row == "| a | magnitudes |  | 0.500 | -20.0 | 4.00 | 3.25 | 0.900 | 10 |"


def test_tables_name_each_run_and_show_what_was_measured(tmp_path, monkeypatch):
    rows = [row("one", "old", 1.0), {**row("two", "new", 0.25), "mcd_db": 0.5}]
    origin = {"seed": 0, "device": "a core", "versions": {"jax": "1"}, "clip_count": 12}
    content = {"sets": {"music": {**origin, "clips": ["a"], "rows": rows}}}
    (tmp_path / "vocoder_quality.json").write_text(json.dumps(content))
    monkeypatch.setattr(measured, "RESULTS", tmp_path)
    text = measured.render("vocoder_music")
    lines = text.splitlines()
    assert lines[0].startswith("| method | from | learned parameters | multi-resolution loss | MCD")
    assert lines[2:4] == [
        "| one | magnitudes |  | 1.000 |  |",
        "| two | magnitudes |  | 0.250 | 0.50 |",
    ]
    assert "--old`, commit old" in text
    assert "--new`, commit new" in text
    assert measured.render("vocoder_other_speakers") == "Not measured yet."
    assert measured_tables.vocoder_scores(content["sets"]["music"]) == "\n".join(lines[:4])
