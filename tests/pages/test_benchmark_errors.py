"""Results and options from which no page is made: each refused by name, nothing left behind."""

from __future__ import annotations

import re

import pytest
import report_data
import report_reader

from isincnet_jax.pages.benchmark import ReportError, write_report


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Results with a little sound, and their folder."""
    folder = tmp_path_factory.mktemp("report")
    return folder, report_data.make_results(folder, duration_s=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clips": ["jazz"]}, "'jazz' is not in the corpus; it begins with jazz/jazz.00012"),
        ({"clips": "silence"}, "a sequence of names"),
        ({"max_embedded_mb": -1}, "max_embedded_mb=-1"),
        ({"max_embedded_mb": float("nan")}, "max_embedded_mb=nan"),
    ],
)
def test_wrong_options_are_refused(made, options, message):
    with pytest.raises(ReportError, match=re.escape(message)):
        report_reader.page_of(*made, **options)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "damaged, not a JSON file"),
        (b"\xff\xfe", "damaged, not a JSON file"),
        (b'{"format": 1', "damaged, not a JSON file"),
        (b"[" * 100_000, "damaged, not a JSON file"),
        (b"[]", "no results of a benchmark"),
        (b'{"format": 2}', "results of format 2, this version reads format 1"),
        (b'{"format": "1"}', "results of format '1', this version"),
        (b'{"format": true}', "results of format True, this version"),
        (b'{"format": 1}', "damaged results: the file: 'corpus' is missing"),
    ],
)
def test_damaged_and_other_files_are_refused_and_leave_no_page(tmp_path, content, message):
    path = tmp_path / "results.json"
    path.write_bytes(content)
    with pytest.raises(ReportError, match=re.escape(message)):
        write_report(path, tmp_path / "page.html")
    assert [one.name for one in tmp_path.iterdir()] == ["results.json"]


def spoil(results: dict, where: str, value) -> dict:
    *parents, last = [int(part) if part.isdigit() else part for part in where.split(".")]
    target = results
    for part in parents:
        target = target[part]
    target[last] = value
    return results


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        ("methods.1.scores.snr_db.exact", 1.5, "methods[1].scores['snr_db'].exact=1.5: a count"),
        ("methods", {}, "methods={}: a list is wanted"),
        ("methods.1.name", "16khz-linear", "methods: the name '16khz-linear' stands there twice"),
        ("methods.1.name", None, "methods[1]: 'name' is missing"),
        ("methods.1.scores.snr_db", 3, "methods[1].scores['snr_db']: an object is wanted"),
        ("methods.1.scores.snr_db.mean", "good", "methods[1].scores['snr_db'].mean='good'"),
        ("methods.1.x_real_time", True, "methods[1].x_real_time=True: a number is wanted"),
        ("methods.1.clips.silence", [], "methods[1].clips['silence']: an object is wanted"),
        ("methods.1.audio", {"silence": 3}, "methods[1].audio['silence']: a text is wanted"),
        ("metrics.snr_db.better", "more", "metrics['snr_db'].better='more'"),
        ("corpus.clips.0", "name", "corpus.clips[0]: an object is wanted"),
        ("rate_distortion.0.points.0.snr_db", [], "rate_distortion[0].points[0].snr_db=[]"),
    ],
)
def test_wrong_entries_are_named(tmp_path, where, value, message):
    with pytest.raises(ReportError, match=re.escape(message)):
        report_reader.page_of(tmp_path, spoil(report_reader.silent(), where, value))


def test_missing_results_and_places_that_cannot_be_written(made, tmp_path):
    folder, results = made
    path = report_data.save(folder, results)
    with pytest.raises(ReportError, match=r"none\.json: cannot be read: No such file"):
        write_report(tmp_path / "none.json", tmp_path / "page.html")
    with pytest.raises(ReportError, match="cannot be written: No such file"):
        write_report(path, tmp_path / "none" / "page.html", max_embedded_mb=0)
    with pytest.raises(ReportError, match="a directory, cannot be written as a file"):
        write_report(path, tmp_path, max_embedded_mb=0)
    with pytest.raises(ReportError, match="would overwrite its own results"):
        write_report(path, path)


def test_an_older_page_is_replaced_and_nothing_lies_beside_it(tmp_path):
    (tmp_path / "page.html").write_text("old")
    report_reader.page_of(tmp_path, report_reader.silent())
    assert sorted(one.name for one in tmp_path.iterdir()) == ["page.html", "results.json"]
    assert (tmp_path / "page.html").stat().st_mode & 0o400
