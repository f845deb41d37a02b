"""One self-contained page of an ablation: facts, a table that can be sorted, pictures."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

from isincnet_jax import files, provenance
from isincnet_jax.pages import ablation_table

_NOTES = {
    "condition": "<b>Condition</b> is the upper over the lower frame bound: the square of how much "
    "worse the worst signal fares than the best. A bank that cannot be inverted is no failure; "
    "its remark says what would mend it.",
    "snr_db": "<b>SNR, exact</b> is that of the exact decoder on float32 coefficients: mean over "
    "clips, and the worst clip.",
    "quantized_snr_db": "<b>SNR, few bits</b>: coefficients are rounded to $q_bits bits each.",
    "noisy_snr_db": "<b>SNR, noise</b>: white noise $noise_snr_db dB below the coefficients is "
    "added to them. What lies above that figure, the redundancy of the bank has averaged away.",
    "encode_x_real_time": "<b>Encoding and decoding</b> are seconds of audio per second of "
    "computing on the device named above, the fastest of some repeats; other work on the device "
    "makes them smaller.",
    "accuracy": "<b>Accuracy</b> is the share of held-out tracks that are right, mean over seeds. "
    "<i>seeds</i>: Student's 95&nbsp;% interval of that mean, about another training on these "
    "tracks. <i>tracks</i>: Wilson's 95&nbsp;% interval of it as a share of the tracks, all seeds "
    "pooled and each track counted once, about other tracks.",
    "filter_movement_hz": "<b>Movement</b> is how far the middles of the bands are after training "
    "from where they began, mean over filters and seeds.",
}


class Picture(NamedTuple):
    """A drawing for the page.

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
    path = Path(html_path)
    own = resources.files("isincnet_jax.pages") / "ablation_page"
    shared = resources.files("isincnet_jax.pages") / "benchmark_page"
    style = (shared / "page.css").read_text("utf-8") + (own / "page.css").read_text("utf-8")
    script = (own / "page.js").read_text("utf-8")
    head, rows = ablation_table.table_html(results["cells"])
    text = Template((own / "page.html").read_text("utf-8")).substitute(
        policy=f"default-src 'none'; img-src data:; style-src '{_hash_source(style)}'; "
        f"script-src '{_hash_source(script)}'; base-uri 'none'; form-action 'none'",
        style=style,
        script=script,
        facts=_facts(results),
        command=escape(results.get("command") or "not recorded"),
        summary=escape(_summary(results["cells"])),
        head=head,
        rows=rows,
        notes=_notes(results),
        pictures_hidden="" if pictures else "hidden",
        pictures="\n".join(map(_figure, pictures)),
    )
    # A name may hold half a surrogate pair: HTML has a reference for it, UTF-8 has nothing.
    files.write_text(path, text.encode("utf-8", "xmlcharrefreplace").decode("utf-8"))
    return path


def _hash_source(text: str) -> str:
    """The source expression of a content security policy for exactly this inline text."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _summary(rows: Sequence[ablation_table.Row]) -> str:
    failed = sum(any(kind == "failed" for kind, _ in ablation_table.remarks(row)) for row in rows)
    lost = sum(any(kind != "failed" for kind, _ in ablation_table.remarks(row)) for row in rows)
    parts = [f"{len(rows)} cell{'' if len(rows) == 1 else 's'}"]
    parts += [f"{lost} that cannot be inverted"] if lost else []
    parts += [f"{failed} with failures"] if failed else []
    return ", ".join(parts)


def _facts(results: Mapping[str, Any]) -> str:
    commits = [provenance.code_text({"commit": one}) for one in results.get("commits") or [None]]
    if results.get("uncommitted_changes"):
        commits[-1] += " with uncommitted changes"
    facts = {
        "Base": ", ".join(f"{key} {value}" for key, value in (results.get("base") or {}).items()),
        "Data": results.get("data") or "not recorded",
        "Clips": ", ".join(results.get("clips") or []),
        "Tracks": _tracks(results),
        "Date": results.get("date") or "not recorded",
        "Commit": ", ".join(commits),
        "Device": ", ".join(results.get("devices") or ["not recorded"]),
        "Versions": ", ".join(
            f"{name} {version}" for name, version in (results.get("versions") or {}).items()
        ),
    }
    wide = ("Base", "Clips", "Versions")
    return "".join(
        f'<div class="{"wide" if name in wide else "fact"}"><dt>{name}</dt>'
        f"<dd>{escape(str(fact))}</dd></div>"
        for name, fact in facts.items()
        if fact
    )


def _tracks(results: Mapping[str, Any]) -> str:
    """What the classifiers learned and were tested with, and their seeds."""
    if not results.get("tracks"):
        return ""
    counts = ", ".join(f"{count} {split}" for split, count in results["tracks"].items())
    seeds = ", ".join(str(seed) for seed in results.get("seeds") or [])
    return f"{counts}; seeds {seeds}"


def _notes(results: Mapping[str, Any]) -> str:
    """What the columns that are there mean, with the settings of the run."""
    settings = {name: results.get(name, "some") for name in ("q_bits", "noise_snr_db")}
    shown = [column.key for column in ablation_table.shown_columns(results["cells"])]
    texts = [Template(_NOTES[key]).substitute(settings) for key in shown if key in _NOTES]
    return "".join(f"<li>{text}</li>" for text in texts)


def _figure(picture: Picture) -> str:
    content = base64.b64encode(picture.content).decode()
    caption = escape(picture.caption)
    return (
        f'<figure class="drawn"><figcaption>{caption}</figcaption>'
        f'<img alt="{caption}" src="data:{picture.media_type};base64,{content}"></figure>'
    )
