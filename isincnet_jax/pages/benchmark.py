"""One self-contained page of a benchmark: table, rate-distortion curves, sounds and pictures."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Sequence
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from isincnet_jax import files, provenance
from isincnet_jax.pages import curves as report_curves
from isincnet_jax.pages import media as report_media
from isincnet_jax.pages.results import ReportError, read_results, score_value
from isincnet_jax.pages.table import columns, number_text, table_html

__all__ = ["ReportError", "write_report"]

_DEFAULT_CLIPS = 4
_WIDE_FACTS = ("Versions", "Skipped files")


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
    _write_whole(html_path, _page(results, media, problems))
    return html_path


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
    for column in columns(results):
        if column.is_metric and column.key in scores:
            value = score_value(scores[column.key], better=column.better)
            unit = f" {column.unit}" if column.unit and value is not None else ""
            unit = "" if value is not None and math.isinf(value) else unit
            texts.append(f"{column.title} {number_text(value, column.digits)}{unit}")
    return texts


def _page(results: dict[str, Any], media: list[dict[str, Any]], problems: list[str]) -> str:
    folder = resources.files("isincnet_jax.pages") / "benchmark_page"
    parts = {name: (folder / name).read_text("utf-8") for name in ("page.css", "page.js")}
    style, script = parts["page.css"], parts["page.js"]
    curves = report_curves.drawn_curves(results)
    head, rows = table_html(results)
    payload = {
        "clips": media,
        "curves": curves,
        "scales": {
            "floor_db": report_media.FLOOR_DB,
            "difference_db": report_media.DIFFERENCE_DB,
            "heat": [f"#{bytes(color).hex()}" for color in report_media.HEAT[::8]],
            "signed": [f"#{bytes(color).hex()}" for color in report_media.SIGNED[::8]],
        },
    }
    return Template((folder / "page.html").read_text("utf-8")).substitute(
        title=escape(results["corpus"]["name"]),
        policy=f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; "
        f"script-src '{_digest(script)}'; base-uri 'none'; form-action 'none'",
        style=style,
        script=script,
        facts=_facts_html(results),
        command=escape(results.get("command") or "not recorded"),
        head=head,
        rows=rows,
        families=_families_html(results),
        num_methods=len(results["methods"]),
        curves_hidden="" if curves else "hidden",
        curve_rows=report_curves.rows_html(curves),
        listen_hidden="" if media else "hidden",
        problems=_problems_html(problems),
        data=_embedded_json(payload),
    )


def _facts_html(results: dict[str, Any]) -> str:
    corpus = results["corpus"]
    clips = f"{len(corpus['clips'])} clips"
    if corpus.get("duration_s") is not None:
        clips += f" of {corpus['duration_s']:g} s"
    if corpus.get("sample_rate") is not None:
        clips += f", {corpus['sample_rate'] / 1000:g} kHz"
    if corpus.get("loudness_db") is not None:
        clips += f", at {number_text(corpus['loudness_db'], 0)} dB loudness"
    versions = results.get("versions") or {}
    facts = {
        "Corpus": f"{corpus['name']}: {clips}",
        "Date": results.get("date") or "not recorded",
        "Commit": provenance.code_text(results),
        "Device": results.get("device") or "not recorded",
        "Seed": results.get("seed", "not recorded"),
        "Versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "Skipped files": _skipped(corpus.get("skipped") or {}),
    }
    return "".join(
        f'<div class="{"wide" if name in _WIDE_FACTS else "fact"}"><dt>{name}</dt>'
        f"<dd>{escape(str(fact))}</dd></div>"
        for name, fact in facts.items()
        if fact != ""
    )


def _skipped(files: dict[str, Any]) -> str:
    """What could not be read, and why; the first few of many."""
    few = [f"{name}: {reason}" for name, reason in list(files.items())[:5]]
    more = [f"and {len(files) - 5} more"] if len(files) > 5 else []
    return "; ".join([*few, *more])


def _families_html(results: dict[str, Any]) -> str:
    families = dict.fromkeys(method["family"] for method in results["methods"])
    chips = [("All", ' data-all="" checked'), *((family, "") for family in families)]
    return "".join(
        f'<label><input type="radio" name="family" value="{escape(name)}"{extra}>'
        f"<span>{escape(name)}</span></label>"
        for name, extra in chips
    )


def _problems_html(problems: list[str]) -> str:
    if not problems:
        return ""
    items = "".join(f"<li>{escape(problem)}</li>" for problem in problems)
    plural = "s" if len(problems) > 1 else ""
    return (
        f'<details id="problems" class="problems"><summary>{len(problems)} problem{plural} with '
        f"audio files</summary><ul>{items}</ul></details>"
    )


def _embedded_json(payload: Any) -> str:
    """JSON that ends no script element and begins no comment, whatever names it holds."""
    text = json.dumps(payload, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


def _digest(text: str) -> str:
    """The source expression that lets exactly this inline text run."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _write_whole(path: Path, text: str) -> None:
    # A name may hold half a surrogate pair: HTML has a reference for it, UTF-8 has nothing.
    content = text.encode("utf-8", "xmlcharrefreplace")
    try:
        with files.replacing(path) as temporary:
            temporary.write_bytes(content)
    except files.FileError as error:
        raise ReportError(str(error)) from error
