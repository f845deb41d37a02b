"""Figures of measured results: each function takes results files by name, and returns a figure.

``measured.py`` writes them to docs/images/.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from isincnet_jax.plots.drawing import line_style, new_figure, styled

_MARKERS = "osD^v"
_SPEECH = {"visqol": "ViSQOL, audio mode", "pesq": "PESQ-WB", "estoi": "ESTOI"}


@styled
def rate_quality(rate_quality: Mapping[str, Any]) -> Any:
    """Scores over marginal rates: ViSQOL of each set of music, three scores of speech."""
    figure, axes = new_figure(2, 3, (11, 6.6))
    panels, order = [], list[str]()
    for title, found in rate_quality["sets"].items():
        order += [_label(row["curve"]) for row in found["rows"]]
        shown = _SPEECH if found["speech"] else {"visqol": "ViSQOL, audio mode"}
        panels += [(f"{title} ({len(found['clips'])} clips)", found, *one) for one in shown.items()]
    order = list(dict.fromkeys(order))  # a curve has the same colour in all panels
    for axis, (title, found, score, label) in zip(axes.flat, panels, strict=True):
        curves: dict[str, list[tuple[float, float]]] = {name: [] for name in order}
        for row in found["rows"]:
            point = row["marginal_kbps"], row["scores"][score]["mean"]
            curves[_label(row["curve"])].append(point)
        for index, (name, points) in enumerate(curves.items()):
            style = {**line_style(index), "marker": _MARKERS[index % len(_MARKERS)]}
            axis.plot(*np.transpose(sorted(points)), label=name, markersize=4, **style)
        axis.set(title=title, xscale="log", xlabel="marginal kbit/s", ylabel=label)
        ticks = (5, 10, 20, 50, 100)
        axis.set_xticks(ticks, [str(tick) for tick in ticks])
        axis.minorticks_off()
        axis.grid()
    handles, names = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names))
    return figure


def _label(curve: str) -> str:
    """Curves of token files by what is the same at every rate: ".isn, optimised"."""
    return re.sub(r"^\d+khz-lapped", ".isn", curve).replace(", quality", " for ears")
