"""The table of an ablation and its page, which is opened in Chromium where there is one."""

from __future__ import annotations

import re

import chromium
import pytest

from isincnet_jax.pages import ablation_table as table
from isincnet_jax.pages.ablation import Picture, write_ablation_page

SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="30" height="20"><rect/></svg>'


def _snr(mean):
    return {"mean": mean, "low": mean, "high": mean, "count": 2, "worst": mean - 1.0}


def _row(name, shape, num_bins=128, classification=None, **measured):
    return {
        "name": name,
        "values": {"shape": shape, "num_bins": num_bins, "window": "hann"},
        "measured": measured,
        "classification": classification,
    }


def _accuracy(mean, *, seeds=True):
    ends = (mean - 0.01, mean + 0.01) if seeds else (None, None)
    return {
        "accuracy": mean,
        "seeds_low": ends[0],
        "seeds_high": ends[1],
        "tracks_low": mean - 0.1,
        "tracks_high": mean + 0.1,
        "filter_movement_hz": None,
    }


ROWS = [
    _row(
        "base",
        "sinc",
        reconstruction={"condition": 2.5, "snr_db": _snr(130.0)},
        classification={"genre, learned": _accuracy(0.7)},
    ),
    _row(
        "shape=gauss",
        "gauss",
        reconstruction={"condition": 12.0, "snr_db": _snr(125.5)},
        classification={"genre, learned": _accuracy(0.725, seeds=False)},
    ),
    _row(
        "num_bins=8",
        "sinc",
        8,
        reconstruction={"condition": "infinite", "reason": "use <more> bins"},
    ),
    _row("shape=<b>", "<b>", reconstruction={"error": "ValueError: shape='<b>' is unknown"}),
]
RESULTS = {
    "cells": ROWS,
    "command": "python experiments/ablate_filters.py --config.workdir=<w>",
    "commits": ["0123456789abcdef"],
    "devices": ["a machine"],
    "base": {"shape": "sinc"},
    "seeds": [0, 1],
    "clips": ["one.wav"],
    "data": "gtzan_mini",
    "q_bits": 8,
    "noise_snr_db": 20.0,
    "verdicts": {
        "genre, learned": {
            "best": "shape=gauss",
            "accuracy": 0.725,
            "seeds": [0],
            "tracks": 120,
            "alike": ["base"],
            "worse": [],
        }
    },
}


def test_text_table_says_what_failed_and_why():
    lines = table.text_table(ROWS).splitlines()
    assert lines[0].split() == ["cell", "B/A", "SNR", "dB", "genre", "%"]
    assert lines[1].split() == ["base", "2.50", "130.0", "70.0"]
    assert lines[3].split() == ["num_bins=8", "infinite", "–", "–"]
    assert lines[5:] == [
        "num_bins=8: not invertible: use <more> bins",
        "shape=<b>: failed: reconstruction: ValueError: shape='<b>' is unknown",
    ]


def test_fields_that_vary_become_columns():
    assert table.varied(ROWS) == ["shape", "num_bins"]
    assert [column.key for column in table.shown_columns(ROWS)] == [
        "condition",
        "snr_db",
        "accuracy",
    ]


def test_points_are_the_finite_values_with_their_intervals():
    columns = {column.key: column for column in table.shown_columns(ROWS)}
    assert table.points(ROWS, columns["condition"]) == [
        ("sinc", "128", 2.5, None, None),
        ("gauss", "128", 12.0, None, None),
    ]
    assert table.points(ROWS, columns["snr_db"])[0] == ("sinc", "128", 130.0, 130.0, 130.0)
    seeds, tracks = table.points(ROWS, columns["accuracy"])
    assert seeds[2:] == pytest.approx((70.0, 69.0, 71.0))
    assert tracks[2:] == pytest.approx((72.5, 62.5, 82.5))  # a single seed has none over seeds


def test_the_page_is_one_file_that_asks_for_nothing(tmp_path):
    page = write_ablation_page(RESULTS, tmp_path / "a.html", pictures=[Picture("A plot", SVG)])
    text = page.read_text()
    assert not re.search(r"(src|href)=\"(?!data:)", text)
    assert "<b>'" not in text
    assert "use &lt;more&gt; bins" in text
    assert "--config.workdir=&lt;w&gt;" in text
    assert "4 cells, 1 that cannot be inverted, 1 with failures" in text
    assert "012345678" in text
    assert text.count("is-best") == text.count('title="best"') + text.count(".is-best")
    assert "seeds 69.0 … 71.0" in text
    assert "shape=gauss is best with 72.5 % (1 seed, 120 tracks), and none of the 1 others" in text
    assert "tracks 60.0 … 80.0" in text
    assert text.count("<li>") == 3  # notes on the columns that are there
    assert list(tmp_path.iterdir()) == [page]


def test_a_page_without_pictures_and_results_is_written_too(tmp_path):
    results = {**RESULTS, "cells": [_row("base", "sinc")], "base": {}, "clips": None}
    text = write_ablation_page(results, tmp_path / "a.html").read_text()
    assert 'aria-labelledby="pictures-title" hidden' in text
    assert text.count("<li>") == 0


@pytest.mark.skipif(chromium.find() is None, reason="no Chromium here to test the page in")
def test_the_page_sorts_in_a_browser(tmp_path):
    path = write_ablation_page(RESULTS, tmp_path / "a.html", pictures=[Picture("A plot", SVG)])
    names = "[...document.querySelectorAll('#table tbody tr')].map((r) => r.cells[0].dataset.value)"
    heads = "[...document.querySelectorAll('#table thead th')].map((h) => h.dataset.title)"
    with chromium.started(chromium.find()) as page:
        page.open(path)
        column = page.run(heads).index("Condition") + 1
        page.click(f"#table thead th:nth-child({column}) button")
        assert page.run(names) == ["base", "shape=gauss", "num_bins=8", "shape=<b>"]
        page.click(f"#table thead th:nth-child({column}) button")
        assert page.run(names) == ["num_bins=8", "shape=gauss", "base", "shape=<b>"]
        assert "sorted by Condition, descending" in page.run("count.textContent")
        page.wait("document.querySelector('.drawn img').naturalWidth === 30")
        assert page.complaints == []
        assert [url for url in page.requests if not url.startswith("data:")] == [path.as_uri()]
