"""Writes the measured tables of README.md and docs/measured/ from the results files.

    python benchmarks/measured.py          # write them anew
    python benchmarks/measured.py --check  # exit status 1 where one is out of date

What stands between ``<!-- NAME:begin -->`` and ``<!-- NAME:end -->`` is what the function NAME of
``measured_tables.py`` makes of ``results/*.json``, whose names are its arguments; and where these
come from.
"""

from __future__ import annotations

import argparse
import inspect
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import measured_tables

from isincnet_jax import files

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
MARKED = re.compile(r"(<!-- (\w+):begin -->\n).*?(<!-- \2:end -->)", re.DOTALL)


def pages() -> list[Path]:
    """Every file that may hold a measured table."""
    return [ROOT / "README.md", *sorted((ROOT / "docs" / "measured").glob("*.md"))]


def inputs(name: str) -> list[str]:
    """Results files of a table."""
    return list(inspect.signature(getattr(measured_tables, name)).parameters)


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
    commands = "; ".join(
        f"`{measured_tables.command(run)}`, commit {run['commit'][:8]}{changed}, {run['date'][:10]}"
        for run in runs.values()
    )
    return f"{commands}; {', '.join(about)}."


def render(name: str) -> str:
    """A table from its results files, with their origins; headlines have a column for those."""
    read = {file: json.loads((RESULTS / f"{file}.json").read_text()) for file in inputs(name)}
    origins = [] if name == "headlines" else [*map(origin, read.values())]
    return "\n\n".join([getattr(measured_tables, name)(**read), *origins])


def update(text: str) -> str:
    """The text with its tables written anew."""
    marks, pairs = re.findall(r"<!-- \w+:(?:begin|end) -->", text), MARKED.findall(text)
    if len(marks) != 2 * len(pairs):
        raise ValueError("<!-- NAME:begin --> and <!-- NAME:end --> must come in pairs")
    return MARKED.sub(lambda found: f"{found[1]}\n{render(found[2])}\n\n{found[3]}", text)


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


if __name__ == "__main__":
    main()
