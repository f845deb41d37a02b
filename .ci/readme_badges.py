"""Points the badges of README.md at the repository that ``colab/first_cell.py`` names."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BADGE = re.compile(r"(?<=https://colab\.research\.google\.com/github/)[\w.-]+/[\w.-]+(?=/blob/)")


def with_badges(readme: str, cell: str) -> str:
    """The README's text with badges that lead to the REPOSITORY of the notebooks' first cell."""
    found = re.search(r'^REPOSITORY = ".*?([\w.-]+/[\w.-]+?)(\.git)?/?"', cell, flags=re.MULTILINE)
    return BADGE.sub(found[1] if found else "OWNER/NAME", readme)


if __name__ == "__main__":
    path = ROOT / "README.md"
    cell_text = (ROOT / "colab" / "first_cell.py").read_text(encoding="utf-8")
    path.write_text(with_badges(path.read_text(encoding="utf-8"), cell_text), encoding="utf-8")
