"""README.md and the measured pages: short, with links that lead somewhere and figures of today."""

from __future__ import annotations

import inspect
import re
import runpy
from pathlib import Path

import measured
import measured_tables
import pytest

import isincnet_jax as isn

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = measured.pages()


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 200


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_measured_figures_are_those_of_the_results(page):
    text = page.read_text(encoding="utf-8")
    assert measured.update(text) == text, "run: python benchmarks/measured.py"


def test_another_figure_is_seen():
    assert "29 kbit/s" in README
    assert measured.update(README.replace("29 kbit/s", "28 kbit/s")) == README


@pytest.mark.parametrize("text", ["<!-- chunks:begin -->", "<!-- chunks:end -->"])
def test_a_lone_marker_is_refused(text):
    with pytest.raises(ValueError, match="in pairs"):
        measured.update(text)


def test_every_table_and_every_result_is_on_a_page():
    shown = {name for page in PAGES for _, name, _ in measured.MARKED.findall(page.read_text())}
    tables = {
        name
        for name, made in inspect.getmembers(measured_tables, inspect.isfunction)
        if made.__module__ == "measured_tables" and not name.startswith("_") and name != "command"
    }
    assert shown == tables
    results = {path.stem for path in measured.RESULTS.glob("*.json")}
    inputs = {each for name in shown for each in measured.inputs(name)}
    assert {each.partition("__")[0] for each in inputs} == results


BADGES = runpy.run_path(str(ROOT / ".ci" / "first_cell.py"))["with_badges"]
CELL = (ROOT / "colab" / "first_cell.py").read_text(encoding="utf-8")


def test_every_notebook_has_a_badge():
    for path in (ROOT / "colab").glob("*.ipynb"):
        assert f"(colab/{path.name})" in README
        assert re.search(rf"/github/[\w.-]+/[\w.-]+/blob/main/colab/{path.name}\)", README)
    assert BADGES(README, CELL) == README, "run: python .ci/first_cell.py"


@pytest.mark.parametrize(
    ("repository", "shown"),
    [
        ("", "OWNER/NAME"),
        ("https://github.com/some-one/the.name", "some-one/the.name"),
        ("git+https://github.com/some-one/the.name.git", "some-one/the.name"),
    ],
)
def test_badges_lead_to_the_repository_of_the_notebooks(repository, shown):
    cell = CELL.replace('REPOSITORY = ""', f'REPOSITORY = "{repository}"')
    text = BADGES(README, cell)
    assert f"/github/{shown}/blob/main/colab/quickstart.ipynb" in text
    assert BADGES(text, CELL) == README


def test_the_citation_is_of_this_version():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {isn.__version__}\n" in citation
