"""Makes ``colab/first_cell.py`` the first code cell of every notebook there."""

from __future__ import annotations

import json
from pathlib import Path

COLAB = Path(__file__).resolve().parents[1] / "colab"


def main() -> None:
    """Rewrites the notebooks."""
    lines = (COLAB / "first_cell.py").read_text(encoding="utf-8").strip().splitlines(keepends=True)
    for path in sorted(COLAB.glob("*.ipynb")):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        cell = next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")
        cell["source"] = lines
        text = json.dumps(notebook, indent=1, ensure_ascii=False)
        path.write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
