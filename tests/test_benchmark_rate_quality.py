"""Rates and qualities: intervals, rows, tables and the figure of the results."""

from __future__ import annotations

import math

import measured
import measured_figures
import measured_tables
import numpy as np
import pytest
import rate_quality
import scipy.stats


def scored(visqol, speech=False):
    scores = {"snr_db": 10.0, "visqol": visqol}
    scores |= {"pesq": visqol - 1, "estoi": 0.9} if speech else {}
    interval = {"low": None, "high": None, "count": 1}
    return {name: {"mean": mean, **interval} for name, mean in scores.items()}


def row(curve, marginal, visqol, *, speech=False, shift=0):
    return {
        "name": f"{curve} at {marginal:g}",
        "curve": curve,
        "file_kbps": marginal + 2.0,
        "marginal_kbps": marginal,
        "fixed_kbit": 10.0,
        "shift": shift,
        "failed": 0,
        "scores": scored(visqol, speech),
    }


@pytest.fixture
def results():
    """Scores that are 2 + log2(rate / 10) of ours, and 3 of Opus at any rate."""

    def rows(speech):
        ours = [row("16khz-lapped", 10.0 * 2**k, 2.0 + k, speech=speech) for k in range(3)]
        theirs = [row("Opus", rate, 3.0, speech=speech) for rate in (14.0, 28.0, 90.0)]
        return [*ours, *theirs]

    sets = {
        name: {"speech": name == "speech", "clips": ["a", "b"], "rows": rows(name == "speech")}
        for name in ("one", "two", "three", "speech")
    }
    return {"sets": sets}


def test_intervals_are_students(rng):
    values = [float(value) for value in rng.standard_normal(6)]
    found = rate_quality.student_interval([*values, None, math.inf])
    wanted = scipy.stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert found["mean"] == pytest.approx(np.mean(values))
    assert (found["low"], found["high"]) == pytest.approx((wanted.low, wanted.high))
    assert found["count"] == 6
    assert rate_quality.student_interval([2.0]) == {"mean": 2.0, "low": None, "high": None} | {
        "count": 1
    }
    assert rate_quality.student_interval([None])["mean"] is None


def test_rows_are_codecs_and_token_files_with_a_size_each():
    for sample_rate in {one.sample_rate for one in rate_quality.SETS.values()}:
        found = list(rate_quality.methods(sample_rate))
        assert len({method.name for method in found}) == len(found)
        assert all(method.file_bits is not None and method.curve for method in found)
        ours = [method for method in found if "lapped" in method.name]
        assert len(ours) == len(rate_quality.TOKENS)
        assert {"Opus", "Vorbis", "MP3"} >= {m.curve for m in found if m not in ours}


def test_the_fixed_part_is_what_the_slope_leaves():
    measured_row = {
        "name": "a",
        "curve": "c",
        "kbit_per_s": 12.0,
        "marginal_kbit_per_s": 10.0,
        "failed": {},
        "scores": {"snr_db": {}},
        "clips": {"x": {"snr_db": 3.0}, "y": {"snr_db": 5.0}},
    }
    found = rate_quality.summary(measured_row, 5.0, shift=1)
    assert found["fixed_kbit"] == pytest.approx(10.0)
    assert found["scores"]["snr_db"]["mean"] == 4.0


def test_the_table_has_both_rates_and_all_scores(results):
    text = measured_tables.rate_quality(results)
    assert "| 16khz-lapped at 10 | 12.0 | 10.0 | 10.0 | 10.0 | 2.00 |" in text
    assert "**speech**, 2 clips:" in text
    assert text.count("PESQ-WB") == 1
    assert "No row comes more than 0 samples early or late." in text


def test_opus_is_ahead_where_it_is(results):
    lines = measured_tables.beside_opus(results).splitlines()
    # 2 + log2(1.4) = 2.49 at 14 kbit/s, 2 + log2(2.8) = 3.49 at 28; nothing of ours at 90.
    assert (
        "| one | 14.0 | ViSQOL, audio mode | 3.00 | 2.49 (16khz-lapped) | Opus by 0.51 |" in lines
    )
    assert "| one | 28.0 | ViSQOL, audio mode | 3.00 | 3.49 (16khz-lapped) | `.isn` by 0.49 |" in (
        lines
    )
    assert "| one | 90.0 | ViSQOL, audio mode | 3.00 |  |  |" in lines
    assert "| speech | 14.0 | PESQ-WB | 2.00 | 1.49 (16khz-lapped) | Opus by 0.51 |" in lines


def test_the_figure_has_a_panel_for_every_score(results):
    pytest.importorskip("matplotlib")
    figure = measured_figures.rate_quality(results)
    labels = [axis.get_ylabel() for axis in figure.axes]
    assert labels == ["ViSQOL, audio mode"] * 4 + ["PESQ-WB", "ESTOI"]
    first, second = figure.axes[0].lines
    np.testing.assert_allclose(first.get_xydata(), [[10, 2], [20, 3], [40, 4]])
    assert (first.get_label(), second.get_label()) == (".isn", "Opus")


@pytest.mark.parametrize("name", measured.FIGURES)
def test_figures_are_those_of_the_results(name, monkeypatch):
    assert measured.is_drawn(name), "run: python benchmarks/measured.py"
    text = (measured.IMAGES / f"{name}.svg").read_text(encoding="utf-8")
    assert len(text) < 200_000
    monkeypatch.setattr(measured, "read", lambda names: {names[0]: {"sets": {}}})
    assert not measured.is_drawn(name)
