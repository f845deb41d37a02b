"""Plots of an ablation: cells side by side in one quantity, and filters moving in training."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float

from isincnet_jax.plots.drawing import (
    empty_figure,
    importing_matplotlib,
    line_style,
    styled,
    theme,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKERS = "osD^vP*X"
_ROW_INCHES = 0.42
_SPREAD = 0.6  # of a row's height that its groups share
_WIDEST = 100.0  # ratio of values beyond which an axis is logarithmic, where it may be


class Point(NamedTuple):
    """Point of a panel: a measured value.

    Attributes:
        row: where it stands, "sinc" say.
        group: its colour and marker, "linear" say.
        value: finite.
        low: end of its interval; None for none.
        high: the other end.
    """

    row: str
    group: str
    value: float
    low: float | None = None
    high: float | None = None


class Panel(NamedTuple):
    """Panel of a plot: one quantity.

    Attributes:
        title: of the quantity.
        unit: of its axis.
        points: at most one for each row and group.
        may_be_logarithmic: whether ratios are what counts: then the axis is logarithmic if
            values differ by a factor of 100, and it begins anywhere.
    """

    title: str
    unit: str
    points: Sequence[Point]
    may_be_logarithmic: bool = False


_NO_GROUP = "others"  # Matplotlib's legends leave out what has no label


@styled
def plot_comparison(panels: Sequence[Panel], *, title: str = "") -> Figure:
    """Dot plot with a panel for each quantity: rows as in a table, groups as colours and markers.

    Args:
        panels: at least one with a point; those without any are left out.
        title: of the figure.

    Returns:
        The figure, which pyplot does not know.

    Raises:
        ValueError: if there is no point at all, or a value is not finite.
    """
    shown = [panel for panel in panels if panel.points]
    every = [point for panel in shown for point in panel.points]
    if not every:
        raise ValueError("panels: no points to draw; give at least one")
    for point in every:
        if not math.isfinite(point.value):
            raise ValueError(f"{point.row}, {point.group}: value={point.value} must be finite")
    rows = list(dict.fromkeys(point.row for point in every))
    groups = list(dict.fromkeys(point.group for point in every))
    columns = 2 if len(shown) == 4 else min(3, len(shown))
    lines = -(-len(shown) // columns)
    # In inches: titles and axes of each line of panels, its rows (higher for many groups), legend.
    height = (1.3 + _ROW_INCHES * len(rows) * max(1.0, 0.3 * len(groups))) * lines + 0.6
    figure = empty_figure((4.6 * columns + 1.0, height))
    axes = np.atleast_1d(figure.subplots(lines, columns, sharey=True, squeeze=False)).ravel()
    for axis, panel in zip(axes, shown, strict=False):
        _panel(axis, panel, rows, groups)
    for axis in axes[len(shown) :]:
        axis.set_visible(False)
    if len(groups) > 1:
        # A panel may lack a group: the legend has all that any of them has.
        found = dict(
            (label, handle)
            for axis in axes[: len(shown)]
            for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
        )
        labels = [group or _NO_GROUP for group in groups]
        handles = [found[label] for label in labels]
        figure.legend(handles, labels, loc="outside lower center", ncols=min(6, len(groups)))
    figure.suptitle(title, parse_math=False)
    return figure


def _panel(axis: Axes, panel: Panel, rows: Sequence[str], groups: Sequence[str]) -> None:
    for index, group in enumerate(groups):
        points = [point for point in panel.points if point.group == group]
        if not points:
            continue
        # Groups stand side by side within a row's height, from -_SPREAD / 2 to _SPREAD / 2.
        shift = _SPREAD * (index / (len(groups) - 1) - 0.5) if len(groups) > 1 else 0.0
        heights = [rows.index(point.row) + shift for point in points]
        color, marker = line_style(index)["color"], _MARKERS[index % len(_MARKERS)]
        axis.plot(
            [point.value for point in points],
            heights,
            color=color,
            marker=marker,
            linestyle="",
            label=group or _NO_GROUP,
        )
        for point, at in zip(points, heights, strict=True):
            if point.low is not None and point.high is not None:
                axis.plot([point.low, point.high], [at, at], color=color, linewidth=1.4)
    values = [point.value for point in panel.points]
    positive = min(values) > 0
    if panel.may_be_logarithmic and positive and max(values) > _WIDEST * min(values):
        axis.set_xscale("log")
    axis.set_yticks(range(len(rows)), rows)
    axis.set_ylim(len(rows) - 0.5, -0.5)  # the first row on top
    axis.set_title(panel.title, fontsize="medium")
    axis.set_xlabel(panel.unit)
    axis.grid(axis="x")
    for line in range(1, len(rows)):
        axis.axhline(line - 0.5, color=theme().line, linewidth=0.8, zorder=0)


@styled
def plot_movement_over_steps(
    curves: Mapping[str, tuple[np.ndarray, Float[np.ndarray, " records"]]], *, title: str = ""
) -> Figure:
    """Line plot of how far centres of filters have moved on average, over the steps of training.

    Args:
        curves: name of a cell to steps [records] and mean distances in Hz [records].
        title: of the figure.

    Returns:
        The figure, which pyplot does not know.

    Raises:
        ValueError: without curves, or if steps and distances differ in number.
    """
    if not curves:
        raise ValueError("curves: none to draw; give at least one")
    figure = empty_figure((9.5, 4.6))
    axis = figure.subplots()
    for index, (name, (steps, moved_hz)) in enumerate(curves.items()):
        if np.shape(steps) != np.shape(moved_hz):
            raise ValueError(
                f"{name}: {np.size(steps)} steps and {np.size(moved_hz)} distances must be as many"
            )
        axis.plot(steps, moved_hz, label=name, **line_style(index))
    axis.set(xlabel="training step", ylabel="mean movement of centres (Hz)")
    axis.set_ylim(bottom=0.0)
    axis.grid()
    figure.legend(loc="outside right upper", fontsize="small")
    figure.suptitle(title, parse_math=False)
    return figure


def svg_bytes(figure: Figure) -> bytes:
    """SVG file of a figure, the same bytes every time; letters are shapes, no font is asked for.

    Args:
        figure: any figure.

    Returns:
        Content of the file.
    """
    with importing_matplotlib():
        import matplotlib

    target = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "ablation", "svg.fonttype": "path"}):
        figure.savefig(target, format="svg", metadata={"Date": None})
    return target.getvalue()
