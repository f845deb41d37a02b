"""Filter movement plot: centres and bandwidths before and after training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from isincnet_jax.plots.bands import checked_bands
from isincnet_jax.plots.drawing import empty_figure, importing_matplotlib, styled, theme
from isincnet_jax.plots.ticks import use_mel_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SMALLEST_ARROW = 0.01  # relative change of centre or bandwidth; shorter ones are all head


@styled
def plot_filter_movement(
    before_low_hz: Float[np.ndarray, " filters"] | Mapping[str, Any],
    before_high_hz: Float[np.ndarray, " filters"] | Mapping[str, Any],
    after_low_hz: Float[np.ndarray, " filters"] | None = None,
    after_high_hz: Float[np.ndarray, " filters"] | None = None,
    *,
    sample_rate: float | None = None,
    title: str = "",
) -> Figure:
    """Filter movement plot: every filter's centre and bandwidth before and after training.

    On the left a filter is a point, centre across and bandwidth up, with an arrow from where it
    began to where it is. On the right are the displacements of centres and of bandwidths, at the
    centre where each filter began, each on a scale of its own: filters that hardly moved show it
    by the unit of their axis (mHz), not by an empty picture.

    Args:
        before_low_hz: lower edges in Hz before training, [filters]; or the parameters of a
            :class:`.sincnet.SincNet` before training (the tree with ``center`` and ``bandwidth``,
            or one that has it under "analysis" or "params"), with ``sample_rate``.
        before_high_hz: upper edges; or those parameters after training, and nothing more.
        after_low_hz: lower edges of the same filters after training.
        after_high_hz: upper edges.
        sample_rate: Hz; the axis ends at half of it, or a little above the highest edge if None.
        title: of the figure.

    Returns:
        The figure, which pyplot does not know.

    Raises:
        ValueError: for edges that are no bands, parameters without centres and bandwidths, or
            other numbers of filters after than before.
    """
    if isinstance(before_low_hz, Mapping) or isinstance(before_high_hz, Mapping):
        if after_low_hz is not None or after_high_hz is not None or sample_rate is None:
            raise ValueError("give the parameters before and after, and sample_rate, nothing more")
        start, start_width = _learned_bands(before_low_hz, sample_rate)
        end, end_width = _learned_bands(before_high_hz, sample_rate)
    else:
        start, start_width = _centers_and_widths(before_low_hz, before_high_hz)
        end, end_width = _centers_and_widths(after_low_hz, after_high_hz)
    if start.ndim != 1 or start.shape != end.shape:
        raise ValueError(
            f"before_low_hz.shape={start.shape} and after_low_hz.shape={end.shape}: "
            "give the same filters, [filters], before and after"
        )
    # The highest edge before or after: bands that left the range are shown, too.
    limit = float(max((start + start_width / 2).max(), (end + end_width / 2).max()))
    limit = 1.02 * limit if sample_rate is None else max(sample_rate / 2, limit)

    figure = empty_figure((13, 5))
    axes = figure.subplot_mosaic([["bands", "centers"], ["bands", "widths"]])
    _arrows(axes["bands"], (start, start_width), (end, end_width))
    use_mel_axis(axes["bands"], limit, label="centre (kHz)")
    for name, moved_hz, what in (
        ("centers", end - start, "centre"),
        ("widths", end_width - start_width, "bandwidth"),
    ):
        _displacements(axes[name], start, moved_hz, what)
        use_mel_axis(axes[name], limit, label="centre before training (kHz)")
    figure.suptitle(title, parse_math=False)
    return figure


def _learned_bands(params: Any, sample_rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Centres and bandwidths in Hz of a SincNet's parameters, float64 [filters].

    Raises:
        ValueError: for parameters without centres and bandwidths.
    """
    for name in ("params", "analysis"):
        if isinstance(params, Mapping) and name in params:
            params = params[name]
    if not isinstance(params, Mapping) or not {"center", "bandwidth"} <= set(params):
        found = ", ".join(params) if isinstance(params, Mapping) else type(params).__name__
        raise ValueError(
            f"parameters without center and bandwidth ({found}): only SincNet(..., "
            "learnable_filters=True) has them; give the edges of other bands in Hz"
        )
    nyquist_hz = sample_rate / 2
    center, width = (np.asarray(params[name], np.float64) for name in ("center", "bandwidth"))
    return center * nyquist_hz, np.abs(width) * nyquist_hz


def _centers_and_widths(low_hz: Any, high_hz: Any) -> tuple[np.ndarray, np.ndarray]:
    low, high = checked_bands(low_hz, high_hz)
    return (low + high) / 2, high - low


def _arrows(
    axis: Axes, before: tuple[np.ndarray, np.ndarray], after: tuple[np.ndarray, np.ndarray]
) -> None:
    with importing_matplotlib():
        from matplotlib.ticker import LogLocator, NullLocator

    soft = theme().soft
    for start, end in zip(np.transpose(before), np.transpose(after), strict=True):
        if np.all(np.abs(end - start) <= _SMALLEST_ARROW * np.abs(start)):
            continue
        axis.annotate(
            "",
            xy=end,
            xytext=start,
            arrowprops={"arrowstyle": "->", "color": soft, "lw": 0.7, "shrinkA": 0, "shrinkB": 0},
        )
    axis.plot(*before, "o", color=soft, markersize=5.5, fillstyle="none", label="before")
    axis.plot(*after, "o", color="C0", markersize=3, label="after")
    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.yaxis.set_major_formatter(_hertz())
    axis.yaxis.set_minor_locator(NullLocator())
    axis.set(ylabel="bandwidth", title="centre and bandwidth")
    axis.grid()
    axis.legend(loc="upper left")


def _displacements(axis: Axes, center_hz: np.ndarray, moved_hz: np.ndarray, what: str) -> None:
    axis.vlines(center_hz, 0.0, moved_hz, colors="C0", linewidth=1.2)
    axis.plot(center_hz, moved_hz, "o", color="C0", markersize=2.5)
    axis.axhline(0.0, color=theme().soft, linewidth=0.8)
    if not np.any(moved_hz):
        axis.set_ylim(-1.0, 1.0)
    axis.yaxis.set_major_formatter(_hertz())
    size = np.abs(moved_hz)
    mean, most = (_hertz()(float(f"{value:.3g}")) for value in (np.mean(size), np.max(size)))
    axis.set(ylabel=f"{what} moved by", title=f"{what}s: {mean} on average, {most} at most")
    axis.grid()


def _hertz() -> Any:
    """Numbers with the unit that suits them: 1.23 mHz, 45 Hz, 6.7 kHz."""
    with importing_matplotlib():
        from matplotlib.ticker import EngFormatter

    return EngFormatter(unit="Hz")
