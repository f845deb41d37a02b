"""How far training moved the filters: centres and bandwidths before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from isincnet_jax.plots.bands import checked_bands
from isincnet_jax.plots.drawing import empty_figure, importing_matplotlib, use_mel_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SMALLEST_ARROW = 0.01  # relative change of centre or bandwidth; shorter ones are all head


def plot_filter_movement(
    before_low_hz: Float[np.ndarray, " filters"],
    before_high_hz: Float[np.ndarray, " filters"],
    after_low_hz: Float[np.ndarray, " filters"],
    after_high_hz: Float[np.ndarray, " filters"],
    *,
    sample_rate: float | None = None,
    title: str = "",
) -> Figure:
    """Draws every filter's centre and bandwidth before and after training.

    On the left a filter is a point, centre across and bandwidth up, with an arrow from where it
    began to where it is. On the right are the displacements of centres and of bandwidths, at the
    centre where each filter began, each on a scale of its own: filters that hardly moved show it
    by the unit of their axis (mHz), not by an empty picture.

    Args:
        before_low_hz: lower edges in Hz before training, [filters].
        before_high_hz: upper edges.
        after_low_hz: lower edges of the same filters after training.
        after_high_hz: upper edges.
        sample_rate: Hz; the axis ends at half of it, or a little above the highest edge if None.
        title: of the figure.

    Raises:
        ValueError: for edges that are no bands, or other numbers of filters after than before.
    """
    before_low, before_high = checked_bands(before_low_hz, before_high_hz)
    after_low, after_high = checked_bands(after_low_hz, after_high_hz)
    if before_low.ndim != 1 or before_low.shape != after_low.shape:
        raise ValueError(
            f"before_low_hz.shape={before_low.shape} and after_low_hz.shape={after_low.shape}: "
            "give the same filters, [filters], before and after"
        )
    start, end = (before_low + before_high) / 2, (after_low + after_high) / 2
    start_width, end_width = before_high - before_low, after_high - after_low
    limit = float(max(before_high.max(), after_high.max()))
    limit = 1.02 * limit if sample_rate is None else max(sample_rate / 2, limit)

    figure = empty_figure((13, 5))
    axes = figure.subplot_mosaic([["bands", "centers"], ["bands", "widths"]])
    _arrows(axes["bands"], (start, start_width), (end, end_width))
    use_mel_axis(axes["bands"], limit, label="centre (Hz)")
    for name, moved_hz, what in (
        ("centers", end - start, "centre"),
        ("widths", end_width - start_width, "bandwidth"),
    ):
        _displacements(axes[name], start, moved_hz, what)
        use_mel_axis(axes[name], limit, label="centre before training (Hz)")
    figure.suptitle(title, parse_math=False)
    return figure


def _arrows(
    axis: Axes, before: tuple[np.ndarray, np.ndarray], after: tuple[np.ndarray, np.ndarray]
) -> None:
    with importing_matplotlib():
        from matplotlib.ticker import LogLocator, NullLocator

    for start, end in zip(np.transpose(before), np.transpose(after), strict=True):
        if np.max(np.abs(end / start - 1.0)) < _SMALLEST_ARROW:
            continue
        axis.annotate(
            "",
            xy=end,
            xytext=start,
            arrowprops={"arrowstyle": "->", "color": "0.45", "lw": 0.7, "shrinkA": 0, "shrinkB": 0},
        )
    axis.plot(*before, "o", color="C7", markersize=5.5, fillstyle="none", label="before")
    axis.plot(*after, "o", color="C0", markersize=3, label="after")
    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.yaxis.set_major_formatter(_hertz())
    axis.yaxis.set_minor_locator(NullLocator())
    axis.set(ylabel="bandwidth", title="centre and bandwidth")
    axis.grid(alpha=0.3)
    axis.legend(loc="upper left")


def _displacements(axis: Axes, center_hz: np.ndarray, moved_hz: np.ndarray, what: str) -> None:
    axis.vlines(center_hz, 0.0, moved_hz, colors="C0", linewidth=1.2)
    axis.plot(center_hz, moved_hz, "o", color="C0", markersize=2.5)
    axis.axhline(0.0, color="0.5", linewidth=0.8)
    if not np.any(moved_hz):
        axis.set_ylim(-1.0, 1.0)
    axis.yaxis.set_major_formatter(_hertz())
    size = np.abs(moved_hz)
    mean, most = (_hertz()(float(f"{value:.3g}")) for value in (np.mean(size), np.max(size)))
    axis.set(ylabel=f"{what} moved by", title=f"{what}s: {mean} on average, {most} at most")
    axis.grid(alpha=0.3)


def _hertz() -> Any:
    """Numbers with the unit that suits them: 1.23 mHz, 45 Hz, 6.7 kHz."""
    with importing_matplotlib():
        from matplotlib.ticker import EngFormatter

    return EngFormatter(unit="Hz")
