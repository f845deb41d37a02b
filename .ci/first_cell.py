"""Makes ``colab/first_cell.py`` the first code cell of every notebook there.

Its REPOSITORY is also where the badges of README.md and of the notebooks lead.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COLAB = ROOT / "colab"
BADGE = re.compile(r"(https://colab\.research\.google\.com/github/)[\w.-]+/[\w.-]+(?=/blob/)")


def badge_address(cell: str) -> str:
    """``OWNER/NAME`` of the REPOSITORY that the cell names; these words where it is empty."""
    (repository,) = re.findall(r'^REPOSITORY = "(.*?)"', cell, flags=re.MULTILINE)
    return "/".join(repository.rstrip("/").removesuffix(".git").split("/")[-2:]) or "OWNER/NAME"


def main() -> None:
    """Rewrites the notebooks and the badges."""
    cell_text = (COLAB / "first_cell.py").read_text(encoding="utf-8")
    lines, address = cell_text.strip().splitlines(keepends=True), badge_address(cell_text)
    for path in sorted(COLAB.glob("*.ipynb")):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        cell = next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")
        cell["source"] = lines
        text = json.dumps(notebook, indent=1, ensure_ascii=False)
        path.write_text(BADGE.sub(rf"\g<1>{address}", f"{text}\n"), encoding="utf-8")
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    readme.write_text(BADGE.sub(rf"\g<1>{address}", text), encoding="utf-8")


if __name__ == "__main__":
    main()
