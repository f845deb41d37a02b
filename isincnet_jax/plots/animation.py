"""Animation of filters over training steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from isincnet_jax.dsp import scales
from isincnet_jax.plots.bands import band_kernels, check_nyquist, checked_bands, responses
from isincnet_jax.plots.drawing import (
    colors,
    empty_figure,
    importing_matplotlib,
    settle_ticks,
    styled,
    theme,
)
from isincnet_jax.plots.ticks import use_mel_axis

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation
    from matplotlib.axes import Axes
    from matplotlib.collections import LineCollection

_POINTS = 800  # frequencies of a response
_LOWEST_GAIN, _HIGHEST_GAIN = -0.02, 1.25


@styled
def animate_filters(
    low_hz: Float[np.ndarray, "steps filters"],
    high_hz: Float[np.ndarray, "steps filters"],
    steps: Int[np.ndarray, " steps"],
    *,
    sample_rate: float,
    kernel_size: int = 251,
    shape: str = "sinc",
    num_shown: int = 16,
    max_frames: int = 40,
    frames_per_second: float = 10.0,
    title: str = "",
) -> FuncAnimation:
    """Animation of a bank over training: responses above, the paths of the centres below.

    Above are the frequency responses of some filters, the initial ones in grey behind them. Below
    all centres move to the right and to the left as training goes upwards; both panels have the
    same frequency axis. Save it with ``animation.save("training.gif", writer="pillow")``, or show
    it in a notebook with ``HTML(animation.to_jshtml())``.

    Args:
        low_hz: lower edges in Hz, [steps, filters].
        high_hz: upper edges.
        steps: of training, increasing, [steps].
        sample_rate: Hz.
        kernel_size: taps of the filters, odd.
        shape: of the bands, a name in :data:`.shapes.SHAPES`; one with parameters of its own is
            drawn with its initial ones.
        num_shown: responses to draw.
        max_frames: of the animation; of more steps some are left out, never the first or last.
        frames_per_second: when played.
        title: of the figure.

    Returns:
        A :class:`matplotlib.animation.FuncAnimation`. Keep it until it is saved or shown.

    Raises:
        ValueError: for edges that are no bands below half of the rate, or steps that do not
            belong to them or do not increase.
    """
    low, high = checked_bands(low_hz, high_hz)
    steps = np.asarray(steps)
    if low.ndim != 2 or steps.shape != low.shape[:1]:
        raise ValueError(
            f"low_hz.shape={low.shape} and steps.shape={steps.shape}: give [steps, filters] and "
            "[steps]"
        )
    if np.any(np.diff(steps) <= 0):
        raise ValueError("steps must increase")
    if max_frames < 1 or num_shown < 1 or not frames_per_second > 0:
        raise ValueError(
            f"max_frames={max_frames}, num_shown={num_shown} and "
            f"frames_per_second={frames_per_second} must be positive"
        )
    check_nyquist(high, sample_rate)
    with importing_matplotlib():
        from matplotlib.animation import FuncAnimation

    figure = empty_figure((9, 6.5))
    above, below = figure.subplots(2, 1)
    # Filters by their first centre, so that colours go from low to high; ``num_shown`` of them,
    # evenly spaced, first and last included.
    order = np.argsort(low[0] + high[0], kind="stable")
    shown = order[np.unique(np.linspace(0, len(order) - 1, num_shown).astype(int))]
    drawn = _Responses(
        above,
        low[:, shown],
        high[:, shown],
        sample_rate=sample_rate,
        kernel_size=kernel_size,
        shape=shape,
    )
    paths = _Paths(below, (low + high)[:, order] / 2, steps)
    for axis in (above, below):
        use_mel_axis(axis, sample_rate / 2)
    heading = figure.suptitle(_heading(title, steps[-1]), parse_math=False)
    settle_ticks(figure)
    # The layout is settled once: solving it for every frame is slow, and the axes would tremble.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")

    def draw(index: int) -> list[Any]:
        heading.set_text(_heading(title, steps[index]))
        return [heading, *drawn.move_to(index), *paths.move_to(index)]

    # Steps evenly spaced among those recorded, first and last included; of one frame the last.
    frames = np.unique(np.linspace(0, len(steps) - 1, max_frames).round().astype(int))
    if max_frames == 1:
        frames = np.array([len(steps) - 1])
    return FuncAnimation(
        figure, draw, frames=frames.tolist(), interval=1000 / frames_per_second, blit=False
    )


def _heading(title: str, step: int) -> str:
    return f"{title}: step {step}" if title else f"step {step}"


def _curves(axis: Axes, shades: np.ndarray, *, width: float) -> LineCollection:
    """Curves that are filled in later; one artist draws much faster than a line for each."""
    with importing_matplotlib():
        from matplotlib.collections import LineCollection

    curves = LineCollection([], colors=list(shades), linewidths=width)
    axis.add_collection(curves, autolim=False)
    return curves


class _Responses:
    """Gains of some filters over frequency, and the initial ones behind them."""

    def __init__(
        self,
        axis: Axes,
        low_hz: np.ndarray,
        high_hz: np.ndarray,
        *,
        sample_rate: float,
        kernel_size: int,
        shape: str,
    ) -> None:
        self._bands = low_hz, high_hz
        self._design = {"sample_rate": sample_rate, "kernel_size": kernel_size, "shape": shape}
        ends = scales.hz_to_scale(np.array([0.0, sample_rate / 2]), scale="mel_htk")
        self._hz = scales.scale_to_hz(np.linspace(ends[0], ends[1], _POINTS), scale="mel_htk")
        gains = self._gains(0)
        axis.plot(self._hz, gains.T, color=theme().soft, alpha=0.45, linewidth=0.8)
        self._lines = _curves(axis, colors(low_hz.shape[1]), width=1.3)
        axis.set(
            ylabel="gain",
            ylim=(_LOWEST_GAIN, _HIGHEST_GAIN),
            title=f"frequency responses of {low_hz.shape[1]} filters (grey: before training)",
        )
        axis.grid()

    def _gains(self, index: int) -> np.ndarray:
        filters = band_kernels(self._bands[0][index], self._bands[1][index], **self._design)
        return responses(filters, self._hz, sample_rate=self._design["sample_rate"])

    def move_to(self, index: int) -> list[Any]:
        gains = self._gains(index)
        self._lines.set_segments([np.column_stack([self._hz, gain]) for gain in gains])
        return [self._lines]


class _Paths:
    """Centres of all filters over training steps, up to the current one."""

    def __init__(self, axis: Axes, center_hz: np.ndarray, steps: np.ndarray) -> None:
        self._centers, self._steps = center_hz, steps
        shades = colors(center_hz.shape[1])
        self._lines = _curves(axis, shades, width=0.9)
        self._dots = axis.scatter(
            center_hz[0], np.full(center_hz.shape[1], steps[0]), s=9, color=shades
        )
        first, last = float(steps[0]), float(steps[-1])
        margin = 0.04 * (last - first) or 1.0
        axis.set(
            ylabel="training step",
            ylim=(first - margin, last + margin),
            title=f"centres of all {center_hz.shape[1]} filters",
        )
        axis.grid()

    def move_to(self, index: int) -> list[Any]:
        past = self._steps[: index + 1]
        paths = [np.column_stack([path, past]) for path in self._centers[: index + 1].T]
        self._lines.set_segments(paths)
        now = np.full(self._centers.shape[1], self._steps[index])
        self._dots.set_offsets(np.column_stack([self._centers[index], now]))
        return [self._lines, self._dots]
