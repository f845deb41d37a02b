"""The table of a benchmark as HTML: one row a method, every value with what it is sorted by."""

from __future__ import annotations

import dataclasses
import math
from html import escape
from typing import Any

from isincnet_jax.pages.results import score_value

_MISSING = '<span class="none" title="not defined">–</span>'


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of numbers: what stands in its head, and which end of it is good."""

    key: str
    title: str
    unit: str = ""
    better: str = ""  # "higher", "lower" or "", if neither is better
    digits: int = 0
    is_metric: bool = False
    hint: str = ""


_FACTS = (
    Column(
        "x_real_time",
        "Speed",
        unit="× real time",
        better="higher",
        hint="seconds of audio a second",
    ),
    Column("coefficients_per_s", "Coefficients", unit="1/s", hint="numbers a second of audio"),
    Column("kbit_per_s", "Bit rate", unit="kbit/s", better="lower", digits=1),
    Column("parameters", "Parameters", hint="learned or solved, of the decoder"),
)


def columns(results: dict[str, Any]) -> list[Column]:
    """Metrics in the file's order, then speed, coefficients, bit rate and parameters."""
    metrics = [
        Column(
            key,
            metric["title"],
            unit=metric.get("unit") or "",
            better=metric["better"],
            digits=_digits(metric),
            is_metric=True,
        )
        for key, metric in results["metrics"].items()
    ]
    return [*metrics, *_FACTS]


def _digits(metric: dict[str, Any]) -> int:
    digits = metric.get("digits")
    return 2 if digits is None else max(0, min(12, digits))


def column_value(method: dict[str, Any], column: Column) -> float | None:
    """What a method's cell of a column is sorted by; None where nothing stands there."""
    if column.is_metric:
        return score_value(
            (method["scores"].get(column.key) or {}).get("mean"), better=column.better
        )
    value = method.get(column.key)
    return None if value is None or not math.isfinite(value) else float(value)


def number_text(value: float | None, digits: int) -> str:
    """A number for readers: grouped thousands, a power of ten where the digits show too little."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "exact"
    text = f"{value:,.{digits if value else 0}f}"
    too_small = 10.0 ** (1 - digits if digits > 2 else -digits) / (1 if digits > 2 else 2)
    if value and abs(value) < too_small:
        return f"{value:.1e}".replace("-", "−")
    return "0" if text == "-0" else text.replace("-", "−")


def table_html(results: dict[str, Any]) -> tuple[str, str]:
    """Head row and body rows of the table, as HTML."""
    shown = columns(results)
    best = {column.key: _best(results["methods"], column) for column in shown}
    head = [_head("Method", kind="text", first="ascending")]
    head += [
        _head(
            column.title,
            unit=column.unit,
            better=column.better,
            hint=column.hint,
            first="ascending" if column.better == "lower" else "descending",
        )
        for column in shown
    ]
    head += [_head("Clips", first="ascending", hint="clips that count in the means")]
    rows = [_row(method, shown, best, results) for method in results["methods"]]
    return "<tr>" + "".join(head) + "</tr>", "\n".join(rows)


def _best(methods: list[dict[str, Any]], column: Column) -> float | None:
    values = [value for one in methods if (value := column_value(one, column)) is not None]
    if not values or not column.better or len(methods) < 2:
        return None
    return max(values) if column.better == "higher" else min(values)


def _head(
    title: str,
    *,
    unit: str = "",
    better: str = "",
    hint: str = "",
    kind: str = "number",
    first: str,
) -> str:
    arrow = {"higher": "↑", "lower": "↓"}.get(better, "")
    direction = f'<span class="better" aria-hidden="true">{arrow}</span>' if arrow else ""
    tip = "; ".join(part for part in (hint, f"{better} is better" if better else "") if part)
    unit = f'<span class="unit">{escape(unit)}</span>' if unit else ""
    return (
        f'<th scope="col" aria-sort="none" data-kind="{kind}" data-first="{first}">'
        f'<button type="button" title="{escape(tip)}"><span class="title">{escape(title)}'
        f"{direction}</span>{unit}</button></th>"
    )


def _row(
    method: dict[str, Any],
    shown: list[Column],
    best: dict[str, float | None],
    results: dict[str, Any],
) -> str:
    cells = [_name_cell(method)]
    for column in shown:
        value = column_value(method, column)
        marked = value is not None and value == best[column.key]
        cells.append(_value_cell(method, column, value, is_best=marked))
    cells.append(_clips_cell(method, results))
    return f'<tr data-family="{escape(method["family"])}">{"".join(cells)}</tr>'


def _name_cell(method: dict[str, Any]) -> str:
    chips = [f'<span class="chip">{escape(method["family"])}</span>']
    if method.get("phase") == "blind":
        chips.append('<span class="chip blind" title="is given no phase">phase-blind</span>')
    lines = [
        method.get("description"),
        method.get("domain"),
        f"Checkpoint: {method['checkpoint']}" if method.get("checkpoint") else None,
    ]
    notes = "".join(f'<span class="note">{escape(line)}</span>' for line in lines if line)
    name = escape(method["name"])
    return (
        f'<th scope="row" data-value="{name}"><span class="name">{name}</span>'
        f'<span class="chips">{"".join(chips)}</span>{notes}</th>'
    )


def _value_cell(
    method: dict[str, Any], column: Column, value: float | None, *, is_best: bool
) -> str:
    if value is None:
        return f'<td class="number" data-value="">{_MISSING}</td>'
    digits = column.digits
    if column.key == "x_real_time" and value < 100:
        digits = 1 if value >= 10 else 2
    text = number_text(value, digits)
    if is_best:
        text = f'<strong>{text}</strong><span class="best" title="best"> best</span>'
    if column.is_metric:
        text += _interval(method["scores"][column.key], column)
    return f'<td class="number{" is-best" if is_best else ""}" data-value="{value!r}">{text}</td>'


def _interval(score: dict[str, Any], column: Column) -> str:
    low, high = (score_value(score.get(end), better=column.better) for end in ("low", "high"))
    if low is None or high is None or math.isinf(low) or math.isinf(high):
        return ""
    texts = [number_text(end, column.digits) for end in (low, high)]
    more = f"<br>and {score['exact']} clips exact" if score.get("exact") else ""
    return f'<span class="interval">{texts[0]} … {texts[1]}{more}</span>'


def _clips_cell(method: dict[str, Any], results: dict[str, Any]) -> str:
    """How many clips count; those that failed or have undefined scores with their reasons."""
    total = len(results["corpus"]["clips"])
    failed = method.get("failed") or {}
    undefined = _undefined(method, results)
    counted = max(0, total - len(failed))
    summary = [f"{len(failed)} failed"] if failed else []
    summary += [f"{len(undefined)} undefined"] if undefined else []
    if not summary:
        return f'<td class="clips" data-value="{counted}">{counted}</td>'
    items = [("failed", clip, reason or "no reason given") for clip, reason in failed.items()]
    items += [("undefined", clip, reason) for clip, reason in undefined.items()]
    listing = "".join(
        f'<li><b class="name">{escape(clip)}</b> {kind}: {escape(reason)}</li>'
        for kind, clip, reason in items
    )
    return (
        f'<td class="clips" data-value="{counted}">{counted} of {total}'
        f"<details><summary>{', '.join(summary)}</summary><ul>{listing}</ul></details></td>"
    )


def _undefined(method: dict[str, Any], results: dict[str, Any]) -> dict[str, str]:
    """Clips with undefined scores and which; metrics whose count is known without their clips."""
    titles = {key: metric["title"] for key, metric in results["metrics"].items()}
    found: dict[str, list[str]] = {}
    seen: dict[str, int] = dict.fromkeys(titles, 0)
    for clip, scores in (method.get("clips") or {}).items():
        if clip in (method.get("failed") or {}):
            continue
        for key, title in titles.items():
            if key in scores and score_value(scores[key], better="higher") is None:
                found.setdefault(clip, []).append(title)
                seen[key] += 1
    listed = {clip: ", ".join(names) for clip, names in found.items()}
    for key, title in titles.items():
        count = (method["scores"].get(key) or {}).get("undefined") or 0
        if count > seen[key]:
            listed[f"{count - seen[key]} more of {title}"] = "of clips that are not listed"
    return listed
