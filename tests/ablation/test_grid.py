"""Cells of a grid, what is kept of them, and Student's interval."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from isincnet_jax.ablation.grid import Ablation, grid, one_line, read_ablation, t_interval
from isincnet_jax.benchmark import tables

BASE = {"shape": "sinc", "scale": "linear", "num_bins": 128}
CELLS = grid(BASE, {"shape": ("sinc", "gauss"), "num_bins": (64,)})


def _open(folder, *, cells=CELLS, identity=None, **facts):
    facts = {"commit": "c0", "device": "here", **facts}
    return Ablation(folder / "results.json", cells, identity=identity or {"a": 1}, facts=facts)


def _fail():
    raise RuntimeError("no\n  memory <Array at 0x7f00> left")


def test_cells_state_only_what_differs_from_the_base():
    cells = grid(BASE, {"shape": ("sinc", "gauss"), "scale": (), "num_bins": (128, 64)})
    assert [cell.changes for cell in cells] == [
        {},
        {"num_bins": 64},
        {"shape": "gauss"},
        {"shape": "gauss", "num_bins": 64},
    ]
    assert [cell.name for cell in cells] == [
        "base",
        "num_bins=64",
        "shape=gauss",
        "shape=gauss, num_bins=64",
    ]
    assert cells[3].values == {"shape": "gauss", "scale": "linear", "num_bins": 64}


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"hop": (1,)}, r"axes\.hop: no field of the base; it has shape, scale, num_bins"),
        ({"shape": ("sinc", "sinc")}, r"axes\.shape: 'sinc' comes twice"),
    ],
)
def test_impossible_axes_are_refused(axes, message):
    with pytest.raises(ValueError, match=message):
        grid(BASE, axes)


def test_a_run_goes_on_where_it_stopped(tmp_path):
    first = _open(tmp_path)
    assert first.stored_identity is None
    assert first.measure(CELLS[0], "speed", lambda: {"x": np.float32(2.0), "bound": np.inf})
    stored = read_ablation(tmp_path / "results.json")
    assert stored["cells"][0]["measured"] == {"speed": {"x": 2.0, "bound": "exact"}}

    again = _open(tmp_path, commit="c1", device="there", date="today")
    assert again.stored_identity == {"a": 1}
    assert not again.is_due(CELLS[0], "speed")
    assert again.is_due(CELLS[1], "speed")
    assert again.is_due(CELLS[0], "other")
    again.measure(CELLS[1], "speed", lambda: {"x": 3})
    stored = read_ablation(tmp_path / "results.json")
    assert [cell["measured"]["speed"]["x"] for cell in stored["cells"]] == [2.0, 3]
    assert stored["commits"] == ["c0", "c1"]
    assert stored["devices"] == ["here", "there"]
    assert stored["date"] == "today"
    assert _open(tmp_path).content["date"] == "today"
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


def test_failures_are_kept_and_tried_again_only_if_asked(tmp_path):
    run = _open(tmp_path)
    assert not run.measure(CELLS[0], "speed", _fail)
    message = "RuntimeError: no memory <Array> left"
    assert run.failures() == [(CELLS[0].name, "speed", message)]
    again = _open(tmp_path)
    assert not again.is_due(CELLS[0], "speed")
    assert again.is_due(CELLS[0], "speed", retry_failed=True)
    again.measure(CELLS[0], "speed", lambda: {"x": 1})
    assert again.failures() == []
    assert not again.is_due(CELLS[0], "speed", retry_failed=True)


def test_what_ends_the_program_is_no_failure_of_a_cell(tmp_path):
    run = _open(tmp_path)

    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.measure(CELLS[0], "speed", interrupted)
    assert run.is_due(CELLS[0], "speed")
    assert not run.path.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "no JSON"),
        ('{"methods": []}', "no results of an ablation"),
        ('{"kind": "ablation", "format": 99}', "format=99: this version reads 1"),
    ],
)
def test_other_files_are_not_overwritten(tmp_path, content, message):
    path = tmp_path / "results.json"
    path.write_text(content)
    with pytest.raises(tables.ResultsError, match=message):
        _open(tmp_path)
    assert path.read_text() == content


def test_results_are_plain_json(tmp_path):
    run = _open(tmp_path)
    run.measure(CELLS[0], "speed", lambda: {"x": float("nan"), "n": np.int64(3), "t": (1, 2)})
    text = (tmp_path / "results.json").read_text()
    found = json.loads(text, parse_constant=pytest.fail)
    assert found["cells"][0]["measured"]["speed"] == {"x": None, "n": 3, "t": [1, 2]}


def test_messages_are_one_line_of_300_letters():
    assert one_line(ValueError("a\n" * 400)).startswith("ValueError: a a a")
    assert len(one_line(ValueError("a\n" * 400))) == 300


@given(
    st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=12),
    st.floats(0.5, 0.999),
)
def test_t_interval_is_that_of_scipy(values, confidence):
    low, high = t_interval(values, confidence=confidence)
    spread = scipy.stats.sem(values)
    if spread == 0.0:
        assert low == pytest.approx(high, abs=1e-9)
        return
    wanted = scipy.stats.t.interval(confidence, len(values) - 1, loc=np.mean(values), scale=spread)
    np.testing.assert_allclose((low, high), wanted, rtol=1e-9, atol=1e-9)


def test_t_interval_covers_the_mean_as_often_as_it_says(rng):
    draws = rng.standard_normal((4000, 3))
    hits = [low <= 0.0 <= high for low, high in map(t_interval, draws)]
    assert np.mean(hits) == pytest.approx(0.95, abs=0.015)  # 4 standard deviations: 0.0138


def test_one_seed_has_no_interval():
    assert t_interval([0.7]) is None
    with pytest.raises(ValueError, match="no values"):
        t_interval([])
    with pytest.raises(ValueError, match=r"confidence=1\.0"):
        t_interval([1.0, 2.0], confidence=1.0)
