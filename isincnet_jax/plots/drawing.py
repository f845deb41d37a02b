"""Figures, colours, decibels and a mel frequency axis: what all plots share."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from isincnet_jax import extras
from isincnet_jax.dsp import scales

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FLOOR_DB = -80.0
"""The darkest colour of a spectrogram, and the lowest gain of a response."""

_MEL_TICKS_HZ = (0, 200, 500, 1000, 2000, 4000, 8000, 16_000, 32_000, 64_000)


def importing_matplotlib() -> contextlib.AbstractContextManager[None]:
    """Context manager around imports of Matplotlib.

    Returns:
        A context that raises ImportError without Matplotlib; the message names the extra.
    """
    return extras.importing("matplotlib")


def empty_figure(size: tuple[float, float]) -> Figure:
    """Figure that pyplot does not know, without axes.

    Args:
        size: width and height in inches.

    Returns:
        The figure, with the constrained layout.

    Raises:
        ImportError: without Matplotlib; the message names the extra.
    """
    with importing_matplotlib():
        from matplotlib.figure import Figure
    return Figure(figsize=size, layout="constrained")


def new_figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Figure, np.ndarray]:
    """Figure with rows and columns of axes.

    Args:
        rows: of axes.
        columns: of axes.
        size: width and height of the figure in inches.

    Returns:
        An :func:`empty_figure`, and its axes: [columns] or [rows] where the other is 1, else
        [rows, columns].
    """
    figure = empty_figure(size)
    return figure, np.atleast_1d(figure.subplots(rows, columns))


def pixels(figure: Figure, *, dots_per_inch: int = 80) -> UInt8[np.ndarray, "height width 3"]:
    """Pixels of a figure, for logs that take pictures.

    Args:
        figure: its size in inches times the resolution is that of the picture.
        dots_per_inch: resolution.

    Returns:
        Uint8 [height, width, 3], red, green and blue.

    Raises:
        ImportError: without Matplotlib; the message names the extra.
    """
    with importing_matplotlib():
        from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.set_dpi(dots_per_inch)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def decibels(power: np.ndarray, floor_db: float) -> np.ndarray:
    """Level in dB of a power relative to its largest value.

    Args:
        power: not negative, of any shape.
        floor_db: least level, dB, negative.

    Returns:
        dB from ``floor_db`` to 0; the floor everywhere if all is 0.
    """
    reference = max(float(np.max(power)), np.finfo(np.float64).tiny)
    return 10 * np.log10(np.maximum(power / reference, 10 ** (floor_db / 10)))


def colors(count: int) -> np.ndarray:
    """Colours of a sequence from low (dark blue) to high (light green).

    Args:
        count: of colours.

    Returns:
        RGBA, float64 [count, 4], 0 to 1.
    """
    with importing_matplotlib():
        import matplotlib

    return matplotlib.colormaps["viridis"](np.linspace(0, 0.92, count))


def use_mel_axis(axis: Axes, nyquist_hz: float, *, label: str = "frequency (Hz)") -> None:
    """Mel axis: makes the horizontal one of frequencies in Hz, 0 to Nyquist, on HTK's mel scale.

    Args:
        axis: of the picture.
        nyquist_hz: its right end.
        label: of the axis.
    """

    def forward(hz: np.ndarray) -> np.ndarray:
        # Margins ask for values a little below 0, where the scale goes on as a straight line.
        hz = np.asarray(hz, np.float64)
        return scales.hz_to_scale(np.maximum(hz, 0.0), scale="mel_htk") + np.minimum(hz, 0.0)

    def backward(mel: np.ndarray) -> np.ndarray:
        mel = np.asarray(mel, np.float64)
        return scales.scale_to_hz(np.maximum(mel, 0.0), scale="mel_htk") + np.minimum(mel, 0.0)

    axis.set_xscale("function", functions=(forward, backward))
    ticks = [hz for hz in _MEL_TICKS_HZ if hz <= nyquist_hz]
    axis.set_xticks(ticks, [f"{hz // 1000}k" if hz >= 1000 else str(hz) for hz in ticks])
    axis.set_xticks([], minor=True)
    axis.set_xlim(0.0, nyquist_hz)
    axis.set_xlabel(label)
