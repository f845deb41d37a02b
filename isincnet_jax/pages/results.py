"""Results file of a benchmark: its reader, which names every fault before anything is drawn."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

FORMAT = 1
"""The version of the results file that this module reads."""

_KINDS = {
    str: "a text",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    dict: "an object",
    list: "a list",
}

_TOP: dict[str, tuple[type, bool]] = {
    "command": (str, False),
    "date": (str, False),
    "package": (str, False),
    "commit": (str, False),
    "uncommitted_changes": (bool, False),
    "versions": (dict, False),
    "device": (str, False),
    "corpus": (dict, True),
    "metrics": (dict, True),
    "methods": (list, True),
    "rate_distortion": (list, False),
}
_CORPUS: dict[str, tuple[type, bool]] = {
    "name": (str, True),
    "sample_rate": (float, False),
    "duration_s": (float, False),
    "loudness_db": (float, False),
    "skipped": (dict, False),
    "clips": (list, True),
}
_CLIP: dict[str, tuple[type, bool]] = {
    "name": (str, True),
    "duration_s": (float, False),
    "audio": (str, False),
}
_METRIC: dict[str, tuple[type, bool]] = {
    "title": (str, True),
    "unit": (str, False),
    "better": (str, True),
    "digits": (int, False),
}
_METHOD: dict[str, tuple[type, bool]] = {
    "name": (str, True),
    "family": (str, True),
    "description": (str, False),
    "phase": (str, False),
    "domain": (str, False),
    "coefficients_per_s": (float, False),
    "kbit_per_s": (float, False),
    "marginal_kbit_per_s": (float, False),
    "parameters": (float, False),
    "checkpoint": (str, False),
    "x_real_time": (float, False),
    "scores": (dict, True),
    "clips": (dict, False),
    "failed": (dict, False),
    "audio": (dict, False),
}
_CURVE: dict[str, tuple[type, bool]] = {"name": (str, True), "points": (list, True)}
_POINT: dict[str, tuple[type, bool]] = {
    "kbit_per_s": (float, True),
    "marginal_kbit_per_s": (float, False),
    "snr_db": (float, False),
    "visqol": (float, False),
    "label": (str, False),
}


class ReportError(ValueError):
    """Error of a results file from which no page can be made."""


def read_results(path: str | Path) -> dict[str, Any]:
    """Checked content of a results file.

    Optional entries that are missing or null stay so; the rest has the documented type.

    Args:
        path: of the JSON file.

    Returns:
        The file's object; a score is a number, the text "exact" (infinitely good) or None.

    Raises:
        ReportError: if the file is missing, damaged, of another format version, or incomplete.
    """
    path = Path(path)
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ReportError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:  # no UTF-8, no JSON, or nested without end
        raise ReportError(f"{path}: damaged, not a JSON file: {error}") from error
    if not isinstance(results, dict) or "format" not in results:
        raise ReportError(f'{path}: no results of a benchmark; an object with "format" is wanted')
    if results["format"] != FORMAT or isinstance(results["format"], bool):
        raise ReportError(
            f"{path}: results of format {results['format']!r}, this version reads format {FORMAT}; "
            "run the benchmark again, or use the version of isincnet-jax that wrote the file"
        )
    try:
        _check(results)
    except ReportError as error:
        raise ReportError(f"{path}: damaged results: {error}") from error
    return results


def _check(results: dict[str, Any]) -> None:
    # Fields first: what follows reads them without asking.
    _check_fields(results, _TOP, "the file")
    _check_fields(results["corpus"], _CORPUS, "corpus")
    clips = results["corpus"]["clips"]
    for index, clip in enumerate(clips):
        _check_fields(clip, _CLIP, f"corpus.clips[{index}]")
    _check_unique([clip["name"] for clip in clips], "corpus.clips")
    for key, metric in results["metrics"].items():
        _check_fields(metric, _METRIC, f"metrics[{key!r}]")
        if metric["better"] not in ("higher", "lower"):
            raise ReportError(
                f'metrics[{key!r}].better={metric["better"]!r}: "higher" or "lower" is wanted'
            )
    for index, method in enumerate(results["methods"]):
        _check_method(method, f"methods[{index}]")
    _check_unique([method["name"] for method in results["methods"]], "methods")
    for index, curve in enumerate(results.get("rate_distortion") or []):
        _check_fields(curve, _CURVE, f"rate_distortion[{index}]")
        for place, point in enumerate(curve["points"]):
            _check_fields(point, _POINT, f"rate_distortion[{index}].points[{place}]")


def _check_method(method: Any, where: str) -> None:
    _check_fields(method, _METHOD, where)
    for key, score in method["scores"].items():
        if not isinstance(score, dict):
            raise ReportError(f"{where}.scores[{key!r}]: an object is wanted")
        for part in ("mean", "low", "high"):
            _check_score(score.get(part), f"{where}.scores[{key!r}].{part}")
        for part in ("count", "undefined", "exact"):
            _check_count(score.get(part), f"{where}.scores[{key!r}].{part}")
    for clip, scores in (method.get("clips") or {}).items():
        if not isinstance(scores, dict):
            raise ReportError(f"{where}.clips[{clip!r}]: an object is wanted")
        for key, value in scores.items():
            _check_score(value, f"{where}.clips[{clip!r}].{key}")
    for part in ("failed", "audio"):
        for clip, value in (method.get(part) or {}).items():
            if value is not None and not isinstance(value, str):
                raise ReportError(f"{where}.{part}[{clip!r}]: a text is wanted")


def _check_score(value: Any, where: str) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (value is None or value == "exact" or number):
        raise ReportError(f'{where}={value!r}: a number, null or "exact" is wanted')


def _check_count(value: Any, where: str) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise ReportError(f"{where}={value!r}: a count is wanted")


def _check_fields(value: Any, fields: dict[str, tuple[type, bool]], where: str) -> None:
    if not isinstance(value, dict):
        raise ReportError(f"{where}: an object is wanted")
    for name, (kind, required) in fields.items():
        entry = value.get(name)
        if entry is None:
            if required:
                raise ReportError(f"{where}: {name!r} is missing")
            continue
        accepted = (int, float) if kind is float else kind
        if not isinstance(entry, accepted) or (kind is not bool and isinstance(entry, bool)):
            raise ReportError(f"{where}.{name}={entry!r:.60}: {_KINDS[kind]} is wanted")


def _check_unique(names: list[str], where: str) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ReportError(f"{where}: the name {repeated[0]!r} stands there twice")


def score_value(value: Any, *, better: str) -> float | None:
    """Score as a number to sort by.

    Args:
        value: a number, "exact" or None, as a results file has it.
        better: "higher" or "lower".

    Returns:
        The number, infinite on the good side for "exact", None for None and NaN.
    """
    if value == "exact":
        return math.inf if better == "higher" else -math.inf
    return None if value is None or math.isnan(value) else float(value)
