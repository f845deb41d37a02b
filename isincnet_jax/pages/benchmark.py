"""Page of a benchmark in one file: table, rate-distortion curves, sounds and pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from isincnet_jax.pages import media as report_media
from isincnet_jax.pages import table
from isincnet_jax.pages.curves import drawn_curves, shown_axes
from isincnet_jax.pages.page import run_facts, write_page
from isincnet_jax.pages.results import ReportError, read_results, score_value

__all__ = ["ReportError", "write_report"]

_DEFAULT_CLIPS = 4
_SCALES = {
    "floor_db": report_media.FLOOR_DB,
    "difference_db": report_media.DIFFERENCE_DB,
    "heat": [f"#{bytes(color).hex()}" for color in report_media.HEAT[::8]],
    "signed": [f"#{bytes(color).hex()}" for color in report_media.SIGNED[::8]],
}


def write_report(
    results_path: str | Path,
    html_path: str | Path,
    *,
    clips: Sequence[str] | None = None,
    max_embedded_mb: float = 24,
) -> Path:
    """Writes the page of a results file: one HTML file that needs no network.

    Sounds and pictures of a clip are embedded whole or, beyond the limit, not at all; what is
    missing is said in the page. The file appears complete or not at all.

    Args:
        results_path: JSON file of a benchmark (format 1); audio lies relative to it.
        html_path: file to write; an older one is replaced.
        clips: names of the clips to listen to; by default the first four with audio.
        max_embedded_mb: limit of all embedded sounds and pictures, in megabytes (10^6 bytes) of
            the page.

    Returns:
        The path of the page.

    Raises:
        ReportError: for results that are missing, damaged or of another version, a clip that is
            not in the corpus, a limit that is no size, or a page that cannot be written.
    """
    results_path, html_path = Path(results_path), Path(html_path)
    if not (math.isfinite(max_embedded_mb) and max_embedded_mb >= 0):
        raise ReportError(f"max_embedded_mb={max_embedded_mb}: a size is wanted, 0 for no sounds")
    results = read_results(results_path)
    if html_path.exists() and html_path.samefile(results_path):
        raise ReportError(f"{html_path}: the page would overwrite its own results")
    chosen = _chosen_clips(results, clips)
    media, problems = _media(results, chosen, results_path.parent, int(max_embedded_mb * 1e6))
    curves = drawn_curves(results)
    try:
        return write_page(
            html_path,
            "benchmark",
            results,
            facts=_facts(results),
            columns=table.columns(results),
            rows=table.rows(results),
            curves=curves,
            axes=shown_axes(curves),
            media=media,
            scales=_SCALES,
            problems=problems,
        )
    except OSError as error:
        raise ReportError(str(error)) from error


def _chosen_clips(results: dict[str, Any], wanted: Sequence[str] | None) -> list[dict[str, Any]]:
    known = {clip["name"]: clip for clip in results["corpus"]["clips"]}
    if wanted is None:
        audible = [clip for clip in known.values() if any(_paths(results, clip))]
        return audible[:_DEFAULT_CLIPS]
    if isinstance(wanted, str):
        raise ReportError(f"clips={wanted!r}: a sequence of names is wanted, give [{wanted!r}]")
    unknown = [name for name in wanted if name not in known]
    if unknown:
        few = ", ".join(list(known)[:5])
        raise ReportError(f"clips: {unknown[0]!r} is not in the corpus; it begins with {few}")
    return [known[name] for name in dict.fromkeys(wanted)]


def _paths(results: dict[str, Any], clip: dict[str, Any]) -> list[str | None]:
    """Audio of the original, then of each method."""
    methods = [(method.get("audio") or {}).get(clip["name"]) for method in results["methods"]]
    return [clip.get("audio"), *methods]


def _media(
    results: dict[str, Any], chosen: list[dict[str, Any]], folder: Path, budget: int
) -> tuple[list[dict[str, Any]], list[str]]:
    """What the page plays and shows for each chosen clip, and what it must do without."""
    media, problems, used = [], [], 0
    for clip in chosen:
        found, faults = report_media.clip_media(folder, _paths(results, clip))
        problems += faults
        # Clips are embedded whole or not at all; later and smaller ones may still fit.
        size = report_media.text_bytes(found["tracks"])
        if not size:
            problems.append(f"{clip['name']}: no audio to play")
            continue
        if used + size > budget:
            problems.append(
                f"{clip['name']}: left out, its {size / 1e6:.1f} MB would exceed the page's limit "
                f"of {budget / 1e6:g} MB (max_embedded_mb)"
            )
            continue
        used += size
        media.append({**found, "name": clip["name"], "tracks": _tracks(results, clip, found)})
    return media, problems


def _tracks(
    results: dict[str, Any], clip: dict[str, Any], found: dict[str, Any]
) -> list[dict[str, Any]]:
    """Sounds with their names and this clip's scores; methods without a sound say why."""
    tracks = []
    heads = [{"name": "Original", "family": ""}, *results["methods"]]
    for head, media in zip(heads, found["tracks"], strict=True):
        why = (head.get("failed") or {}).get(clip["name"])
        tracks.append(
            {
                "name": head["name"],
                "family": head["family"],
                "scores": _clip_scores(results, head, clip["name"]),
                "why": f"failed: {why}" if why else "no audio",
                **(media or {"audio": None}),
            }
        )
    return tracks


def _clip_scores(results: dict[str, Any], method: dict[str, Any], clip: str) -> list[str]:
    scores = (method.get("clips") or {}).get(clip) or {}
    texts = []
    for column in table.columns(results):
        if column.is_metric and column.key in scores:
            value = score_value(scores[column.key], better=column.better)
            unit = f" {column.unit}" if column.unit and value is not None else ""
            unit = "" if value is not None and math.isinf(value) else unit
            texts.append(f"{column.title} {table.number_text(value, column.digits)}{unit}")
    return texts


def _facts(results: dict[str, Any]) -> dict[str, str]:
    corpus = results["corpus"]
    clips = f"{len(corpus['clips'])} clips"
    if corpus.get("duration_s") is not None:
        clips += f" of {corpus['duration_s']:g} s"
    if corpus.get("sample_rate") is not None:
        clips += f", {corpus['sample_rate'] / 1000:g} kHz"
    if corpus.get("loudness_db") is not None:
        clips += f", at {table.number_text(corpus['loudness_db'], 0)} dB loudness"
    return {
        "Corpus": f"{corpus['name']}: {clips}",
        **run_facts(results, Seed=results.get("seed", "not recorded")),
        "Skipped files": _skipped(corpus.get("skipped") or {}),
    }


def _skipped(files: dict[str, Any]) -> str:
    """What could not be read, and why; the first few of many."""
    few = [f"{name}: {reason}" for name, reason in list(files.items())[:5]]
    more = [f"and {len(files) - 5} more"] if len(files) > 5 else []
    return "; ".join([*few, *more])
