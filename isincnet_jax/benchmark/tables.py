"""Tables of scores: means with intervals, results files, Markdown and CSV.

A results file is JSON of :data:`FORMAT`; infinities (no error at all) are the text "exact", what
is undefined is null.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from isincnet_jax import files

FORMAT = 1
"""Of results files."""

_RESAMPLES = 2000
_FACTS = {
    "coefficients_per_s": "coefficients/s",
    "kbit_per_s": "kbit/s",
    "marginal_kbit_per_s": "marginal kbit/s",
    "parameters": "parameters",
    "x_real_time": "x real time",
}


class ResultsError(ValueError):
    """A results file that cannot be used; the message names it and says why."""


def bootstrap_interval(
    values: Sequence[float], *, seed: int = 0, confidence: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap interval of a mean over clips, from 2,000 resamples.

    Lists of one length are resampled alike, whatever they hold, so that the intervals of methods
    on the same clips can be compared.

    Args:
        values: of clips, finite, at least one.
        seed: of the resamples.
        confidence: between 0 and 1.

    Returns:
        Both ends.

    References:
        B. Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7, 1979.

    Raises:
        ValueError: without values, or for a confidence that is not between 0 and 1.
    """
    if len(values) == 0:
        raise ValueError("no values: an interval needs at least one")
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence={confidence}: must lie between 0 and 1, say 0.95")
    array = np.asarray(values, np.float64)
    # Rows of indices, [resamples, clips]: means of clips drawn with replacement; their quantiles.
    picks = np.random.default_rng(seed).integers(0, len(array), (_RESAMPLES, len(array)))
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(np.mean(array[picks], axis=1), [tail, 1.0 - tail])
    return float(low), float(high)


def summarise(values: Sequence[float | None], *, seed: int = 0) -> dict[str, Any]:
    """Mean and 95 % interval of the finite values of clips.

    Args:
        values: of clips; None and NaN are undefined, infinities exact.
        seed: of the bootstrap.

    Returns:
        "mean", "low" and "high" (infinite if no clip has an error, None if none is defined),
        "count" of averaged clips, and those left out: "undefined" and "exact".
    """
    defined = [value for value in values if value is not None and not math.isnan(value)]
    finite = [value for value in defined if math.isfinite(value)]
    counts = {
        "count": len(finite),
        "undefined": len(values) - len(defined),
        "exact": len(defined) - len(finite),
    }
    if finite:
        low, high = bootstrap_interval(finite, seed=seed)
        return {"mean": float(np.mean(finite)), "low": low, "high": high, **counts}
    whole = math.inf if defined else None  # no clip has an error, or none has a value
    return {"mean": whole, "low": whole, "high": whole, **counts}


def plain(value: Any) -> Any:
    """JSON values: infinities become "exact", NaN null, numbers 6 digits.

    Args:
        value: numbers, texts, lists and dictionaries of them, of Python or NumPy.

    Returns:
        What :func:`json.dumps` takes with ``allow_nan=False``.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (float, np.floating)):
        if math.isinf(value):
            return "exact"
        return None if math.isnan(value) else float(f"{value:.6g}")
    return int(value) if isinstance(value, np.integer) else value


def write_json(path: str | Path, content: Mapping[str, Any]) -> None:
    """Writes JSON beside its target and renames it: readers see all or nothing.

    Args:
        path: of the file; its folders are made.
        content: see :func:`plain`.
    """
    target = Path(path)
    write_text(target, json.dumps(plain(content), indent=1, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes a text, all or nothing; folders are made.

    Args:
        path: of the file.
        text: its content, written as UTF-8.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(path, text)


def load_results(path: str | Path) -> dict[str, Any]:
    """Reads a results file.

    Args:
        path: of a JSON file.

    Returns:
        Its content; infinities are the text "exact".

    Raises:
        ResultsError: if it is none, or of an older or newer format.
        OSError: if it cannot be read.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ResultsError(f"{path}: no JSON: {error}; write it again") from error
    if not isinstance(content, dict) or not isinstance(content.get("methods"), list):
        raise ResultsError(f"{path}: no results of a benchmark; isincnet benchmark writes them")
    found = content.get("format")
    if found != FORMAT:
        newer = isinstance(found, int) and found > FORMAT
        advice = "update isincnet_jax" if newer else "run isincnet benchmark again"
        raise ResultsError(
            f"{path}: format={found!r}: this version reads format {FORMAT}; {advice}"
        )
    return content


def show(value: Any, digits: int) -> str:
    """A number as tables show it; "exact" without any error, a dash if undefined.

    Args:
        value: a number, a text or None.
        digits: behind the point; with five or more, small numbers are powers of ten.

    Returns:
        Thousands are divided by commas.
    """
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    if math.isinf(value):
        return "exact"
    small = 0 < abs(value) < 10.0 ** (3 - digits)  # fewer than four digits would be left
    return f"{value:.2e}" if small and digits > 4 else f"{value:,.{digits}f}"


def markdown_table(
    results: Mapping[str, Any],
    *,
    metrics: Sequence[str] | None = None,
    intervals: Sequence[str] = (),
) -> str:
    """A table of methods: facts, then means, with their intervals if wanted.

    Args:
        results: of :func:`load_results`.
        metrics: columns; all if None.
        intervals: metrics that show their 95 % interval behind the mean.

    Returns:
        Lines without a line end behind the last.

    Raises:
        ValueError: for a metric that the results do not have.
    """
    known: Mapping[str, Any] = results["metrics"]
    shown = list(known) if metrics is None else list(metrics)
    for name in shown:
        if name not in known:
            raise ValueError(f"metric {name!r}: the results have {', '.join(known)}")
    titles = [_title(known[name]) for name in shown]
    # Of codecs' and token files only: what each second more of the same sound adds.
    marginal = any(method.get("marginal_kbit_per_s") is not None for method in results["methods"])
    rates = ["kbit/s", *(["marginal"] if marginal else [])]
    head = ["method", "phase", "coefficients/s", *rates, *titles, "x real time"]
    rows = [head, ["---"] * len(head)]
    for method in results["methods"]:
        cells = [
            _score(method["scores"].get(name), known[name], name in intervals) for name in shown
        ]
        rows.append(
            [
                f"{method['name']}{_failures(method)}",
                method["phase"],
                show(method["coefficients_per_s"], 0),
                show(method["kbit_per_s"], 1),
                *([show(method.get("marginal_kbit_per_s"), 1)] if marginal else []),
                *cells,
                show(method["x_real_time"], 0 if (method["x_real_time"] or 0) >= 10 else 1),
            ]
        )
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _title(metric: Mapping[str, Any]) -> str:
    return f"{metric['title']} ({metric['unit']})" if metric["unit"] else str(metric["title"])


def _score(score: Mapping[str, Any] | None, metric: Mapping[str, Any], intervals: bool) -> str:
    if score is None:
        return "–"
    digits = int(metric["digits"])
    text = show(score["mean"], digits)
    bounds = (score["low"], score["high"])
    if intervals and all(isinstance(one, float) and math.isfinite(one) for one in bounds):
        text += f" ({show(bounds[0], digits)} to {show(bounds[1], digits)})"
    return text


def _failures(method: Mapping[str, Any]) -> str:
    return f" ({len(method['failed'])} failed)" if method["failed"] else ""


def csv_text(results: Mapping[str, Any]) -> str:
    """CSV of all means, bounds and counts, a row per method and metric.

    Args:
        results: of :func:`load_results`.

    Returns:
        A head and rows, each with a line end; nothing for None.
    """
    target = io.StringIO()
    writer = csv.writer(target, lineterminator="\n")
    facts = ["name", "family", "phase", *_FACTS, "checkpoint"]
    counts = ["mean", "low", "high", "count", "undefined", "exact"]
    writer.writerow([*facts, "metric", "unit", *counts, "failed"])
    for method in results["methods"]:
        for name, score in method["scores"].items():
            unit = results["metrics"][name]["unit"]
            row = [method.get(fact) for fact in facts]
            row += [name, unit, *(score.get(count) for count in counts), len(method["failed"])]
            writer.writerow(["" if value is None else value for value in row])
    return target.getvalue()


def write_csv(path: str | Path, results: Mapping[str, Any]) -> None:
    """Writes :func:`csv_text`, all or nothing.

    Args:
        path: of the file; its folders are made.
        results: of :func:`load_results`.
    """
    write_text(Path(path), csv_text(results))
