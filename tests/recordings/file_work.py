"""Work on files without a model."""

from __future__ import annotations

from pathlib import Path


def make():
    return upper


def upper(source: Path, target: Path) -> float:
    """Upper case; some contents make trouble."""
    text = source.read_text()
    target.write_text(text[: len(text) // 2])  # half of it is there when trouble comes
    if text == "bad":
        raise ValueError(f"{source}: a bad text")
    if text == "full":
        raise ValueError(f"{target}: cannot be written") from OSError("no space left")
    if text == "odd":
        raise RuntimeError("who knows")
    if text == "gone":
        target.unlink()
        return 0.0
    if text.startswith("once"):  # fails the first time
        mark = Path(text.split()[1])
        if not mark.exists():
            mark.touch()
            raise OSError("the network is down")
    target.write_text(text.upper())
    return float(len(text))
