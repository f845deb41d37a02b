"""Table of a benchmark: one row a method, every value with what it is sorted by."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

from isincnet_jax.pages.results import score_value


class Cell(NamedTuple):
    """Cell of a table: a number.

    Attributes:
        text: what is read.
        sort: what the page's script sorts by.
        is_best: whether it is the best of its column.
        below: smaller lines under it.
    """

    text: str
    sort: str
    is_best: bool
    below: list[str]


@dataclasses.dataclass(frozen=True)
class Column:
    """Column of numbers: what stands in its head, and which end of it is good.

    Attributes:
        key: of the quantity in the results.
        title: in the head.
        unit: in the head, "" for none.
        better: "higher", "lower" or "", if neither is better.
        digits: after the point.
        is_metric: whether it is a score of the clips, or a fact about the method.
        hint: one line for readers.
    """

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
    Column(
        "marginal_kbit_per_s",
        "Marginal rate",
        unit="kbit/s",
        better="lower",
        digits=1,
        hint="what more of the same sound adds, without headers",
    ),
    Column("parameters", "Parameters", hint="learned or solved, of the decoder"),
)


def columns(results: dict[str, Any]) -> list[Column]:
    """Columns of the table: metrics in the file's order, then facts about the methods.

    Args:
        results: of :func:`.results.read_results`.

    Returns:
        The metrics, then speed, coefficients, bit rate, marginal rate where it was measured, and
        parameters.
    """
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
    key = "marginal_kbit_per_s"
    measured = any(method.get(key) is not None for method in results["methods"])
    return [*metrics, *(fact for fact in _FACTS if measured or fact.key != key)]


def _digits(metric: dict[str, Any]) -> int:
    digits = metric.get("digits")
    return 2 if digits is None else max(0, min(12, digits))


def _column_value(method: dict[str, Any], column: Column) -> float | None:
    """What a method's cell of a column is sorted by; None where nothing stands there."""
    if column.is_metric:
        return score_value(
            (method["scores"].get(column.key) or {}).get("mean"), better=column.better
        )
    value = method.get(column.key)
    return None if value is None or not math.isfinite(value) else float(value)


def number_text(value: float | None, digits: int) -> str:
    """Number for readers: grouped thousands, a power of ten where the digits show too little.

    Args:
        value: infinite for an exact score; None or NaN for none.
        digits: after the point; with more than two, which only quantities without a scale of
            their own need, three significant digits instead.

    Returns:
        Text with a true minus sign, "1.23e−7" for powers of ten; "exact" or a dash for these.
    """
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "exact"
    if not value:
        return "0"
    if digits > 2:
        if not 1e-3 <= abs(value) < 1e6:
            return power_text(value, 3)
        digits = max(0, 2 - math.floor(math.log10(abs(value))))
    elif abs(value) < 0.5 * 10.0**-digits:  # less than half a unit of the last digit
        return power_text(value, 2)
    return f"{value:,.{digits}f}".replace("-", "−")


def power_text(value: float, significant: int) -> str:
    """Number for readers as a power of ten.

    Args:
        value: finite.
        significant: digits.

    Returns:
        Text with a true minus sign: "−1.2e−7".
    """
    mantissa, exponent = f"{value:.{significant - 1}e}".split("e")
    return f"{mantissa}e{int(exponent)}".replace("-", "−")


def rows(results: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of the table, one for each method.

    Args:
        results: of :func:`.results.read_results`.

    Returns:
        For each a mapping of "method" (as in the file), "cells" (None where nothing is defined),
        "counted" (clips that count), "summary" and "reasons" (of those that do not).
    """
    shown = columns(results)
    best = [_best(results["methods"], column) for column in shown]
    return [
        {
            "method": method,
            "cells": [_cell(method, *pair) for pair in zip(shown, best, strict=True)],
            **_clips(method, results),
        }
        for method in results["methods"]
    ]


def _best(methods: list[dict[str, Any]], column: Column) -> float | None:
    values = [value for one in methods if (value := _column_value(one, column)) is not None]
    if not values or not column.better or len(methods) < 2:
        return None
    return max(values) if column.better == "higher" else min(values)


def _cell(method: dict[str, Any], column: Column, best: float | None) -> Cell | None:
    value = _column_value(method, column)
    if value is None:
        return None
    digits = column.digits
    if column.key == "x_real_time" and value < 100:
        digits = 1 if value >= 10 else 2
    below = _interval(method["scores"][column.key], column) if column.is_metric else []
    return Cell(number_text(value, digits), repr(value), value == best, below)


def _interval(score: dict[str, Any], column: Column) -> list[str]:
    low, high = (score_value(score.get(end), better=column.better) for end in ("low", "high"))
    if low is None or high is None or math.isinf(low) or math.isinf(high):
        return []
    texts = [number_text(end, column.digits) for end in (low, high)]
    more = [f"and {score['exact']} clips exact"] if score.get("exact") else []
    return [" … ".join(texts), *more]


def _clips(method: dict[str, Any], results: dict[str, Any]) -> dict[str, Any]:
    """How many clips count; those that failed or have undefined scores with their reasons."""
    failed = method.get("failed") or {}
    undefined = _undefined(method, results)
    summary = [f"{len(failed)} failed"] if failed else []
    summary += [f"{len(undefined)} undefined"] if undefined else []
    reasons = [("failed", clip, reason or "no reason given") for clip, reason in failed.items()]
    reasons += [("undefined", clip, reason) for clip, reason in undefined.items()]
    counted = max(0, len(results["corpus"]["clips"]) - len(failed))
    return {"counted": counted, "summary": ", ".join(summary), "reasons": reasons}


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
    # A file without scores of single clips has counts only.
    listed = {clip: ", ".join(names) for clip, names in found.items()}
    for key, title in titles.items():
        count = (method["scores"].get(key) or {}).get("undefined") or 0
        if count > seen[key]:
            listed[f"{count - seen[key]} more of {title}"] = "of clips that are not listed"
    return listed
