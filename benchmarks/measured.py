"""Writes the measured tables and figures of README.md and docs/measured/ from the results files.

    python benchmarks/measured.py          # write them anew
    python benchmarks/measured.py --check  # exit status 1 where one is out of date

What stands between ``<!-- NAME:begin -->`` and ``<!-- NAME:end -->`` is what the function NAME of
``measured_tables.py`` makes of ``results/*.json``, whose names are its arguments (``FILE__SET`` for
one set of clips of a file that has several); and where these come from. ``docs/images/NAME.svg`` is
what the function NAME of ``measured_figures.py`` draws of them; a digest of what it was drawn from
stands in it, since other versions of Matplotlib write other lines.
"""

from __future__ import annotations

import argparse
import hashlib
import inspect
import io
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import measured_figures
import measured_tables

from isincnet_jax import extras, files

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
IMAGES = ROOT / "docs" / "images"
HEARING = ("pesq", "pystoi", "visqol-python", "libsndfile")
FIGURES = [
    name
    for name, found in inspect.getmembers(measured_figures, inspect.isfunction)
    if found.__module__ == "measured_figures" and not name.startswith("_")
]
MARKED = re.compile(r"(<!-- (\w+):begin -->\n).*?(<!-- \2:end -->)", re.DOTALL)


def pages() -> list[Path]:
    """Every file that may hold a measured table."""
    return [ROOT / "README.md", *sorted((ROOT / "docs" / "measured").glob("*.md"))]


def inputs(name: str, module: Any = measured_tables) -> list[str]:
    """Results files of a table, or of a figure."""
    return list(inspect.signature(getattr(module, name)).parameters)


def read(names: list[str]) -> dict[str, Any]:
    """Results by name, of files or of their sets; None of a set that has not been measured."""
    found = {}
    for name in names:
        file, _, part = name.partition("__")
        content = json.loads((RESULTS / f"{file}.json").read_text())
        found[name] = content["sets"].get(part) if part else content
    return found


def origin(result: Mapping[str, Any]) -> str:
    """Where a result comes from, a sentence for each of its commands."""
    result = result.get("run", result)
    rows = [*result.get("rows", ()), *result.get("comparisons", ())]
    runs = {(r["command"], r["commit"]): r for r in rows if "command" in r} or {None: result}
    about = [
        *([result["data"].replace("*", "\\*")] if "data" in result else []),  # no emphasis
        *([f"{result['clip_count']} clips"] if "clip_count" in result else []),
        f"seed {result['seed']}, {result['device']}, jax {result['versions']['jax']}",
    ]
    changed = " with uncommitted changes" if result.get("uncommitted_changes") else ""
    versions = result["versions"]
    about += [
        f"{name} {versions[name]}"
        for name in HEARING
        if versions.get(name, "not installed") != "not installed"
    ]
    commands = "; ".join(
        f"`{measured_tables.command(run)}`, commit {run['commit'][:8]}{changed}, {run['date'][:10]}"
        for run in runs.values()
    )
    return f"{commands}; {', '.join(about)}."


def render(name: str) -> str:
    """A table from its results files, with their origins; headlines have a column for those."""
    results = read(inputs(name))
    if None in results.values():
        return "Not measured yet."
    origins = [] if name == "headlines" else [*map(origin, results.values())]
    return "\n\n".join([getattr(measured_tables, name)(**results), *origins])


def update(text: str) -> str:
    """The text with its tables written anew."""
    marks, pairs = re.findall(r"<!-- \w+:(?:begin|end) -->", text), MARKED.findall(text)
    if len(marks) != 2 * len(pairs):
        raise ValueError("<!-- NAME:begin --> and <!-- NAME:end --> must come in pairs")
    return MARKED.sub(lambda found: f"{found[1]}\n{render(found[2])}\n\n{found[3]}", text)


def figure_digest(name: str) -> str:
    """Digest of what a figure is drawn from: its results and the code that draws it."""
    results = json.dumps(read(inputs(name, measured_figures)), sort_keys=True)
    return hashlib.sha256((results + inspect.getsource(measured_figures)).encode()).hexdigest()


def draw(name: str) -> str:
    """A figure as SVG, its digest inside; texts stay texts."""
    with extras.importing("matplotlib"):
        import matplotlib

    target = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure = getattr(measured_figures, name)(**read(inputs(name, measured_figures)))
        about = {"Date": None, "Description": f"drawn from {figure_digest(name)}"}
        figure.savefig(target, format="svg", metadata=about)
    return re.sub(r"[ \t]+$", "", target.getvalue(), flags=re.MULTILINE)


def is_drawn(name: str) -> bool:
    """Whether a figure is that of the results."""
    path = IMAGES / f"{name}.svg"
    return path.is_file() and figure_digest(name) in path.read_text(encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only compare")
    options = parser.parse_args()
    for page in pages():
        text = page.read_text(encoding="utf-8")
        updated = update(text)
        if updated != text and options.check:
            sys.exit(f"{page.relative_to(ROOT)}: out of date; run python benchmarks/measured.py")
        if updated != text:
            files.write_text(page, updated)
    for name in FIGURES:
        if is_drawn(name):
            continue
        if options.check:
            sys.exit(f"docs/images/{name}.svg: out of date; run python benchmarks/measured.py")
        files.write_text(IMAGES / f"{name}.svg", draw(name))


if __name__ == "__main__":
    main()
