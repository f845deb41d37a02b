"""Rate-distortion curves of a benchmark: the points that its page draws and lists."""

from __future__ import annotations

import math
from typing import Any

from isincnet_jax.pages.results import score_value

_AXES = {
    "rates": {"rate": "kbit/s", "marginal": "marginal kbit/s"},
    "qualities": {"snr_db": "SNR (dB)", "visqol": "ViSQOL (MOS)"},
}


def drawn_curves(results: dict[str, Any]) -> list[dict[str, Any]]:
    """Rate-distortion curves of the page; methods with a bit rate follow as lone points.

    Args:
        results: of :func:`.results.read_results`.

    Returns:
        For each curve a mapping of "name", "points" (mappings of "rate" in kbit/s, "snr_db" and
        "label", finite, by rate; "marginal" in kbit/s and "visqol", None where not measured) and,
        of those without a line, "lone". Empty ones are left out.
    """
    curves = [
        {"name": curve["name"], "points": _points(curve["points"])}
        for curve in results.get("rate_distortion") or []
    ]
    curves = [curve for curve in curves if curve["points"]]
    if not curves or "snr_db" not in results["metrics"]:
        return curves
    # Methods that stand on a curve already are not drawn twice.
    drawn = {(point["rate"], point["snr_db"]) for curve in curves for point in curve["points"]}
    lone = [
        {
            "kbit_per_s": method.get("kbit_per_s"),
            "marginal_kbit_per_s": method.get("marginal_kbit_per_s"),
            "visqol": (method["scores"].get("visqol") or {}).get("mean"),
            "snr_db": (method["scores"].get("snr_db") or {}).get("mean"),
            "label": method["name"],
        }
        for method in results["methods"]
    ]
    points = [one for one in _points(lone) if (one["rate"], one["snr_db"]) not in drawn]
    if points:
        curves.append({"name": "other methods of the table", "points": points, "lone": True})
    return curves


def shown_axes(curves: list[dict[str, Any]]) -> dict[str, dict[str, str]]:
    """Axes that curves can be drawn over: those of which something was measured.

    Args:
        curves: of :func:`drawn_curves`.

    Returns:
        Titles by the key of a point, of "rates" and of "qualities"; what is drawn first comes
        first.
    """
    points = [point for curve in curves for point in curve["points"]]
    return {
        kind: {
            key: title
            for key, title in titles.items()
            if any(point[key] is not None for point in points)
        }
        for kind, titles in _AXES.items()
    }


def _points(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Points that can be drawn on a logarithmic axis of rates, by rate."""
    drawn = []
    for point in points:
        rate, snr_db = point["kbit_per_s"], score_value(point.get("snr_db"), better="higher")
        if rate is None or snr_db is None or not (0 < rate < math.inf and math.isfinite(snr_db)):
            continue
        marginal, mos = point.get("marginal_kbit_per_s"), point.get("visqol")
        drawn.append(
            {
                "rate": rate,
                "marginal": marginal if marginal and 0 < marginal < math.inf else None,
                "snr_db": snr_db,
                "visqol": mos if mos is not None and math.isfinite(mos) else None,
                "label": point.get("label") or "",
            }
        )
    return sorted(drawn, key=lambda point: point["rate"])
