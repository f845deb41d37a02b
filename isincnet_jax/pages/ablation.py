"""Page of an ablation in one file: facts, a table that can be sorted, pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from isincnet_jax.pages import ablation_table
from isincnet_jax.pages.page import run_facts, write_page


class Picture(NamedTuple):
    """Picture of the page.

    Attributes:
        caption: one or two sentences.
        content: of the file.
        media_type: "image/svg+xml" or "image/png".
    """

    caption: str
    content: bytes
    media_type: str = "image/svg+xml"


def write_ablation_page(
    results: Mapping[str, Any], html_path: str | Path, *, pictures: Sequence[Picture] = ()
) -> Path:
    """Writes the page of an ablation: one HTML file that needs no network, all or nothing.

    Args:
        results: of :func:`.grid.read_ablation`.
        html_path: file to write; an older one is replaced.
        pictures: below the table.

    Returns:
        The path of the page.

    Raises:
        OSError: if it cannot be written.
    """
    path, cells = Path(html_path), results["cells"]
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_page(
        path,
        "ablation",
        results,
        facts=_facts(results),
        summary=_summary(cells),
        axes=ablation_table.varied(cells),
        columns=ablation_table.shown_columns(cells),
        rows=ablation_table.table_rows(cells),
        pictures=pictures,
        sentences=ablation_table.sentences(results.get("verdicts") or {}),
    )


def _summary(rows: Sequence[ablation_table.Row]) -> str:
    failed = sum(any(kind == "failed" for kind, _ in ablation_table.remarks(row)) for row in rows)
    lost = sum(any(kind != "failed" for kind, _ in ablation_table.remarks(row)) for row in rows)
    parts = [f"{len(rows)} cell{'' if len(rows) == 1 else 's'}"]
    parts += [f"{lost} that cannot be inverted"] if lost else []
    parts += [f"{failed} with failures"] if failed else []
    return ", ".join(parts)


def _facts(results: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "Base": ", ".join(f"{key} {value}" for key, value in (results.get("base") or {}).items()),
        "Data": results.get("data") or "not recorded",
        "Clips": ", ".join(results.get("clips") or []),
        "Tracks": _tracks(results),
        **run_facts(results),
    }


def _tracks(results: Mapping[str, Any]) -> str:
    """What the classifiers learned and were tested with, and their seeds."""
    if not results.get("tracks"):
        return ""
    counts = "; ".join(
        f"{task}: " + ", ".join(f"{count} {split}" for split, count in splits.items())
        for task, splits in results["tracks"].items()
    )
    seeds = ", ".join(str(seed) for seed in results.get("seeds") or [])
    return f"{counts}; seeds {seeds}"
