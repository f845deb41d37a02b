"""Means, intervals, results files, Markdown and CSV."""

from __future__ import annotations

import csv
import io
import json
import math

import numpy as np
import pytest
import scipy.stats

from isincnet_jax.benchmark import tables


def test_interval_agrees_with_scipy(rng):
    values = rng.standard_normal(40) * 3.0 + 10.0
    low, high = tables.bootstrap_interval(list(values))
    wanted = scipy.stats.bootstrap(
        (values,), np.mean, n_resamples=9999, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert low == pytest.approx(wanted.low, abs=0.1)
    assert high == pytest.approx(wanted.high, abs=0.1)
    assert low < np.mean(values) < high


def test_interval_is_a_function_of_values_and_seed():
    values = [1.0, 4.1, 2.3, 8.7, 3.9, 0.2]
    assert tables.bootstrap_interval(values) == tables.bootstrap_interval(values)
    assert tables.bootstrap_interval(values) != tables.bootstrap_interval(values, seed=1)
    assert tables.bootstrap_interval([3.0]) == (3.0, 3.0)
    with pytest.raises(ValueError, match="at least one"):
        tables.bootstrap_interval([])
    with pytest.raises(ValueError, match=r"confidence=95"):
        tables.bootstrap_interval(values, confidence=95)


def test_undefined_and_exact_clips_are_counted_not_averaged():
    found = tables.summarise([10.0, None, math.inf, 20.0, math.nan])
    assert found["mean"] == 15.0
    assert (found["count"], found["undefined"], found["exact"]) == (2, 2, 1)
    assert tables.summarise([math.inf, None])["mean"] == math.inf
    nothing = tables.summarise([None])
    assert (nothing["mean"], nothing["count"], nothing["undefined"]) == (None, 0, 1)


@pytest.fixture
def results():
    score = tables.summarise([10.0, 20.0, None])
    exact = tables.summarise([math.inf])
    small = tables.summarise([1.2345e-7])
    common = {
        "family": "f",
        "phase": "kept",
        "parameters": 0,
        "checkpoint": None,
        "failed": {},
        "coefficients_per_s": 32768.0,
    }
    metric = {"title": "SNR", "unit": "dB", "better": "higher", "digits": 1}
    error = {"title": "MSE", "unit": "", "better": "lower", "digits": 6}
    first = {"name": "a", "kbit_per_s": None, "x_real_time": 1234.56}
    second = {"name": "b", "kbit_per_s": 52.04, "x_real_time": 1.27, "failed": {"c": "why"}}
    methods = [
        {**common, **first, "scores": {"snr_db": score, "mse": small}},
        {**common, **second, "scores": {"snr_db": exact, "mse": small}},
    ]
    return {
        "format": tables.FORMAT,
        "metrics": {"snr_db": metric, "mse": error},
        "methods": methods,
    }


def test_markdown_shows_what_was_measured(results):
    lines = tables.markdown_table(results, intervals=["snr_db"]).splitlines()
    assert lines[0] == (
        "| method | phase | coefficients/s | kbit/s | SNR (dB) | MSE | x real time |"
    )
    low, high = (results["methods"][0]["scores"]["snr_db"][end] for end in ("low", "high"))
    interval = f"15.0 ({low:.1f} to {high:.1f})"
    assert lines[2] == f"| a | kept | 32,768 | – | {interval} | 1.23e-07 | 1,235 |"
    assert lines[3] == "| b (1 failed) | kept | 32,768 | 52.0 | exact | 1.23e-07 | 1.3 |"
    short = tables.markdown_table(results, metrics=["snr_db"])
    assert "| 15.0 | 1,235 |" in short
    with pytest.raises(ValueError, match="metric 'mae': the results have snr_db, mse"):
        tables.markdown_table(results, metrics=["mae"])


def test_csv_has_a_row_per_method_and_metric(results):
    rows = list(csv.DictReader(io.StringIO(tables.csv_text(tables.plain(results)))))
    assert [(row["name"], row["metric"]) for row in rows] == [
        ("a", "snr_db"),
        ("a", "mse"),
        ("b", "snr_db"),
        ("b", "mse"),
    ]
    assert (rows[0]["mean"], rows[0]["undefined"], rows[0]["kbit_per_s"]) == ("15.0", "1", "")
    assert rows[2]["mean"] == "exact"


def test_results_survive_the_file(results, tmp_path):
    path = tmp_path / "new" / "results.json"
    tables.write_json(path, results)
    assert tables.load_results(path) == tables.plain(results)
    assert [file.name for file in path.parent.iterdir()] == ["results.json"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"format": 0, "methods": []}', r"format=0: .* reads format 1; run isincnet benchmark"),
        ('{"format": 2, "methods": []}', r"format=2: .* reads format 1; update isincnet_jax"),
        ('{"methods": []}', r"format=None: this version reads format 1"),
        ('{"format": 1}', "no results of a benchmark"),
        ("[]", "no results of a benchmark"),
        ('{"format": 1', "no JSON"),
    ],
)
def test_other_files_are_refused_by_name(content, message, tmp_path):
    path = tmp_path / "old.json"
    path.write_text(content)
    with pytest.raises(tables.ResultsError, match=message) as caught:
        tables.load_results(path)
    assert str(path) in str(caught.value)


def test_nothing_is_left_of_a_write_that_failed(tmp_path):
    path = tmp_path / "results.json"
    path.write_text("old")
    with pytest.raises(TypeError):
        tables.write_json(path, {"value": object()})
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_json_cannot_hold_becomes_text():
    found = tables.plain(
        {"a": [math.inf, math.nan, np.float32(0.1), np.int64(3)], "b": (1.23456789,)}
    )
    assert found == {"a": ["exact", None, 0.1, 3], "b": [1.23457]}
    json.dumps(found, allow_nan=False)
