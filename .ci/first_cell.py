"""Writes into every notebook of ``colab/`` what all have in common, and README.md's badges.

The first code cell is ``colab/first_cell.py``. Above it stand a badge that opens the notebook in
Colab, once REPOSITORY in that file says where the repository is, and a table of contents; below
the last cell, a link to the next notebook.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
COLAB = ROOT / "colab"
ORDER = (
    "quickstart",
    "tokens",
    "spectrograms",
    "frontend_nnx",
    "sincconv_step_by_step",
    "filter_shapes",
    "vocoder",
    "inversynth",
    "train",
    "benchmark",
)
BADGE = "https://colab.research.google.com/assets/colab-badge.svg"
_README_BADGE = re.compile(r"https://colab\.research\.google\.com/github/[^)\s]*/([\w-]+)\.ipynb")
_PLACEHOLDER = "https://github.com/OWNER/NAME"  # until REPOSITORY says where
_ANCHOR = re.compile(r' <a name="[^"]*"></a>$')
_OURS = ("colab-badge", "colab-contents", "colab-next")


def repository_in(cell: str) -> str:
    """Address in the one line of the first cell that its owner fills in; "" for none yet."""
    found = re.search(r'^REPOSITORY = "(.*?)"', cell, flags=re.MULTILINE)
    return found[1].removeprefix("git+").removesuffix(".git").rstrip("/") if found else ""


def colab_address(name: str, repository: str) -> str | None:
    """Where Colab opens a notebook; None unless the repository is on GitHub."""
    found = re.fullmatch(r"https://github\.com/([^/]+/[^/]+)", repository)
    path = f"blob/main/colab/{name}.ipynb"
    return f"https://colab.research.google.com/github/{found[1]}/{path}" if found else None


def with_badges(readme: str, cell: str) -> str:
    """README with badges that open the notebooks of the first cell's REPOSITORY."""
    repository = repository_in(cell)

    def address(badge: re.Match[str]) -> str:
        return colab_address(badge[1], repository) or str(colab_address(badge[1], _PLACEHOLDER))

    return _README_BADGE.sub(address, readme)


def furnished(notebook: dict[str, Any], name: str, *, cell: str) -> dict[str, Any]:
    """Notebook with the common cells, new or in place of older ones; the rest as it was.

    Args:
        notebook: as JSON holds it.
        name: of its file, one of ORDER.
        cell: content of ``colab/first_cell.py``.
    """
    repository = repository_in(cell)
    cells = [dict(one) for one in notebook["cells"] if one["id"] not in _OURS]
    first = next(one for one in cells if one["cell_type"] == "code")
    first["source"] = cell.strip().splitlines(keepends=True)
    headings = [heading for one in cells for heading in _anchored(one)]
    contents = "".join(f"\n- [{heading}](#{_slug(heading)})" for heading in headings)
    place = cells.index(first)
    cells[place:place] = [_markdown("colab-contents", f"**Contents**\n{contents}")]
    cells[:0] = [_markdown("colab-badge", _badge(name, repository))]
    cells.append(_markdown("colab-next", _links(name, repository)))
    return {**notebook, "cells": cells}


def _anchored(cell: dict[str, Any]) -> list[str]:
    """Headings of a cell's sections, to which it gets anchors: Colab makes none."""
    if cell["cell_type"] != "markdown":
        return []
    headings, lines = [], "".join(cell["source"]).split("\n")
    for index, line in enumerate(lines):
        if line.startswith("## "):
            heading = _ANCHOR.sub("", line[3:]).strip()
            headings.append(heading)
            lines[index] = f'## {heading} <a name="{_slug(heading)}"></a>'
    cell["source"] = "\n".join(lines).splitlines(keepends=True)
    return headings


def _slug(heading: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-")


def _badge(name: str, repository: str) -> str:
    address = colab_address(name, repository)
    if address is None:
        opened = "In [Colab](https://colab.research.google.com/): File, Upload notebook, this file"
    else:
        opened = f"[![Open in Colab]({BADGE})]({address})"
    return f"{opened} &nbsp; {ORDER.index(name) + 1} of {len(ORDER)} notebooks"


def _links(name: str, repository: str) -> str:
    """Line to the next notebook, by a path or, as Colab knows none, by its address there."""
    place = ORDER.index(name) + 1
    label = "Next" if place < len(ORDER) else "From the beginning"
    following = ORDER[place % len(ORDER)]
    title = _title(json.loads((COLAB / f"{following}.ipynb").read_text(encoding="utf-8")))
    address = colab_address(following, repository) or f"{following}.ipynb"
    return f"**{label}:** [{title}]({address})"


def _title(notebook: dict[str, Any]) -> str:
    texts = ("".join(cell["source"]) for cell in notebook["cells"])
    return next(text.split("\n")[0][2:] for text in texts if text.startswith("# "))


def _markdown(name: str, text: str) -> dict[str, Any]:
    lines = text.splitlines(keepends=True)
    return {"cell_type": "markdown", "id": name, "metadata": {}, "source": lines}


def main() -> None:
    """Rewrites the notebooks and the badges."""
    cell = (COLAB / "first_cell.py").read_text(encoding="utf-8")
    for path in sorted(COLAB.glob("*.ipynb")):
        notebook = furnished(json.loads(path.read_text(encoding="utf-8")), path.stem, cell=cell)
        text = json.dumps(notebook, indent=1, ensure_ascii=False)
        path.write_text(f"{text}\n", encoding="utf-8")
    readme = ROOT / "README.md"
    text = with_badges(readme.read_text(encoding="utf-8"), cell)
    readme.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
