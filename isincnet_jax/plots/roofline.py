"""Roofline plot: measured operations under the roof of a machine, and beside their peers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from isincnet_jax.plots.drawing import colors, line_style, new_figure, styled, theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OURS = "ours"
"""The name in :class:`MeasuredOperation`'s ``times_real_time`` that is drawn first, darkest."""

_ROW_INCHES = 0.42
_LABEL_POINTS = 12.0  # from a dot to the middle of its number


class MeasuredOperation(NamedTuple):
    """Measured operation: what it needs, and how fast it ran.

    Attributes:
        label: what it is.
        flops: additions and multiplications that it needs.
        bytes: that it has to move.
        seconds: that ours took.
        times_real_time: seconds of audio per second, by who ran it; "ours" among them.
    """

    label: str
    flops: float
    bytes: float
    seconds: float
    times_real_time: Mapping[str, float]


@styled
def plot_roofline(
    rows: Sequence[MeasuredOperation], ceiling: tuple[float, float], *, title: str = ""
) -> Figure:
    """Roofline plot of operations, and how they compare with their peers.

    On the left, what each reaches (10^9 operations per second) over its operations per byte, with
    the roof ``min(rate, bandwidth x operations per byte)``; arrays that fit into a cache may lie
    above its slope. On the right, times real time of ours and all peers. The numbers in the left
    picture are those of the lines on the right.

    Args:
        rows: the operations, from top to bottom.
        ceiling: 10^9 operations and 10^9 bytes per second that the machine can do.
        title: of the figure.

    Returns:
        The figure, which pyplot does not know.

    Raises:
        ValueError: without rows, and for counts, times or rates that are not positive.

    References:
        S. Williams, A. Waterman and D. Patterson, "Roofline: an insightful visual performance
            model for multicore architectures", Communications of the ACM 52, 2009.
            https://doi.org/10.1145/1498765.1498785
    """
    if not rows:
        raise ValueError("rows=(): give one operation or more")
    for row in rows:
        numbers = {"flops": row.flops, "bytes": row.bytes, "seconds": row.seconds}
        for name, value in (numbers | dict(row.times_real_time)).items():
            _check_positive(f"{row.label!r}: {name}", value)
    gflops, gb_per_s = ceiling
    _check_positive("ceiling: gflops", gflops)
    _check_positive("ceiling: gb_per_s", gb_per_s)
    figure, axes = new_figure(1, 2, (14, max(4.8, 1.6 + _ROW_INCHES * len(rows))))
    _draw_roof(axes[0], rows, gflops, gb_per_s)
    _draw_bars(axes[1], rows)
    figure.suptitle(title, parse_math=False)
    return figure


def _check_positive(name: str, value: float) -> None:
    if not (np.isfinite(value) and value > 0):
        raise ValueError(f"{name}={value}: must be positive")


def _draw_roof(
    axis: Axes, rows: Sequence[MeasuredOperation], gflops: float, gb_per_s: float
) -> None:
    intensity = np.array([row.flops / row.bytes for row in rows])
    reached = np.array([1e-9 * row.flops / row.seconds for row in rows])
    # Operations per byte at which the roof bends: beyond, the rate limits, not the bandwidth.
    ridge = gflops / gb_per_s
    left, right = min(intensity.min(), ridge) / 3, max(intensity.max(), ridge) * 3
    ends = np.array([left, ridge, right])
    axis.plot(ends, np.minimum(gflops, gb_per_s * ends), color=theme().soft, linewidth=1.5)
    axis.scatter(intensity, reached, c=colors(len(rows)), s=42, zorder=3, edgecolors=theme().page)
    axis.set(
        xscale="log", yscale="log", xlim=(left, right),
        ylim=(min(reached.min(), gb_per_s * left) / 2, max(reached.max(), gflops) * 2),
        xlabel="operations per byte", ylabel="GFLOP/s", title="ours under the roof",
    )  # fmt: skip
    # In points, 72 to an inch, on the logarithmic axes as they are now.
    dots = axis.transData.transform(np.stack([intensity, reached], axis=1))
    offsets = _label_offsets(dots * (72 / axis.figure.dpi))
    for number, (x, y, offset) in enumerate(zip(intensity, reached, offsets, strict=True), 1):
        axis.annotate(
            str(number), (x, y), offset, textcoords="offset points", fontsize=9,
            ha="center", va="center",
        )  # fmt: skip
    axis.annotate(
        f"{gflops:.3g} GFLOP/s", (right, gflops), (-4, 5), textcoords="offset points", ha="right"
    )
    axis.annotate(
        f"{gb_per_s:.3g} GB/s", (left, gb_per_s * left), (16, -2), textcoords="offset points"
    )
    axis.grid()


def _label_offsets(dots: np.ndarray) -> list[tuple[float, float]]:
    """Where numbers stand beside their dots [dots, 2], in points: as far from others as can be."""
    angles = np.pi * (1 / 6 + np.arange(8) / 4)
    sides = _LABEL_POINTS * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    placed = np.empty((0, 2))
    offsets = []
    for index, dot in enumerate(dots):
        others = np.concatenate([np.delete(dots, index, axis=0), placed])
        room = np.full(len(sides), 1.0)
        if len(others):
            distances = np.linalg.norm((dot + sides)[:, None] - others, axis=-1)
            room = np.minimum(np.min(distances, axis=1), 2 * _LABEL_POINTS)
        side = sides[np.argmax(room)]
        placed = np.concatenate([placed, [dot + side]])
        offsets.append((float(side[0]), float(side[1])))
    return offsets


def _draw_bars(axis: Axes, rows: Sequence[MeasuredOperation]) -> None:
    found = dict.fromkeys(name for row in rows for name in row.times_real_time)
    names = [name for name in (OURS,) if name in found] + [name for name in found if name != OURS]
    peers = [name for name in names if name != OURS]
    shades = {name: line_style(index)["color"] for index, name in enumerate(peers)}
    lowest = min(min(row.times_real_time.values()) for row in rows if row.times_real_time)
    seen: set[str] = set()
    for place, row in enumerate(rows):
        # Bars of a row side by side around its place, as thin as three at least.
        mine = [name for name in names if name in row.times_real_time]
        height = 0.84 / max(len(mine), 3)
        for index, name in enumerate(mine):
            axis.barh(
                place + (index - (len(mine) - 1) / 2) * height,
                row.times_real_time[name],
                height=height,
                color=shades.get(name, theme().ink),
                label=None if name in seen else name,
            )
            seen.add(name)
    labels = [f"{row.label}  {number}" for number, row in enumerate(rows, 1)]
    axis.set_yticks(range(len(rows)), labels)
    axis.set(
        xscale="log", xlim=(10 ** np.floor(np.log10(lowest)), None), xlabel="x real time",
        title="ours and peers", ylim=(len(rows) - 0.4, -0.6),
    )  # fmt: skip
    axis.grid(axis="x")
    # A row may lack a name: the legend has all in the order of the bars.
    handles, texts = axis.get_legend_handles_labels()
    order = sorted(range(len(texts)), key=lambda index: names.index(texts[index]))
    axis.legend(
        [handles[index] for index in order], [texts[index] for index in order],
        loc="upper center", bbox_to_anchor=(0.4, -0.75 / (1.6 + _ROW_INCHES * len(rows))),
        ncols=4, fontsize=9,
    )  # fmt: skip
