"""Pictures of filterbanks and spectrograms: the only module that draws.

Functions take arrays and plain numbers, return a Matplotlib figure and show nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt8

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FLOOR_DB = -80.0


def _new_figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Figure, np.ndarray]:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("drawing needs Matplotlib: pip install 'isincnet-jax[plots]'") from error
    figure = Figure(figsize=size, layout="constrained")
    return figure, np.atleast_1d(figure.subplots(rows, columns))


def pixels(figure: Figure, *, dots_per_inch: int = 80) -> UInt8[np.ndarray, "height width 3"]:
    """Renders a figure, for logs that take pictures: uint8 [height, width, 3]."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.set_dpi(dots_per_inch)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _decibels(power: np.ndarray, floor_db: float) -> np.ndarray:
    """Power in dB relative to its largest value."""
    reference = max(float(np.max(power)), np.finfo(np.float64).tiny)
    return 10 * np.log10(np.maximum(power / reference, 10 ** (floor_db / 10)))


def plot_filterbank(
    kernels: np.ndarray,
    *,
    sample_rate: int,
    center_hz: Float[np.ndarray, " bins"],
    num_shown: int = 12,
    title: str = "",
) -> Figure:
    """Draws a bank: some impulse responses, all frequency responses, and their sum.

    Args:
        kernels: complex (or real) [bins, taps].
        sample_rate: Hz.
        center_hz: [bins].
        num_shown: impulse responses to draw.
        title: of the figure.
    """
    figure, axes = _new_figure(1, 3, (15, 4.2))
    shown = np.unique(np.linspace(0, len(kernels) - 1, num_shown).astype(int))
    _impulse_responses(axes[0], kernels[shown], center_hz[shown], sample_rate)
    size = 1 << (4 * kernels.shape[1] - 1).bit_length()
    response = np.fft.fft(kernels, size, axis=1)[:, : size // 2 + 1]
    frequency_hz = np.linspace(0, sample_rate / 2, size // 2 + 1)
    power = np.abs(response) ** 2
    peak = np.max(power)
    colors = _colors(len(kernels))
    step = max(1, len(kernels) // 48)
    for index in range(0, len(kernels), step):
        level = 10 * np.log10(np.maximum(power[index] / peak, 1e-12))
        axes[1].plot(frequency_hz / 1000, level, color=colors[index], linewidth=0.8)
    axes[1].set(
        xlabel="frequency (kHz)",
        ylabel="gain (dB, re largest)",
        ylim=(-80, 3),
        title=f"frequency responses (every {step})" if step > 1 else "frequency responses",
    )
    total = np.sum(power, axis=0)
    axes[2].plot(
        frequency_hz / 1000, 10 * np.log10(np.maximum(total / np.mean(total), 1e-12)), "C0"
    )
    axes[2].set(
        xlabel="frequency (kHz)",
        ylabel="level (dB, re mean)",
        title="sum of all powers",
    )
    for axis in axes[1:]:
        axis.set_xlim(0, sample_rate / 2000)
        axis.grid(alpha=0.3)
    figure.suptitle(title, parse_math=False)  # a file name may have $ signs
    return figure


def _colors(count: int) -> np.ndarray:
    import matplotlib

    return matplotlib.colormaps["viridis"](np.linspace(0, 0.92, count))


def _impulse_responses(
    axis: Axes, kernels: np.ndarray, center_hz: np.ndarray, sample_rate: int
) -> None:
    offset_ms = (np.arange(kernels.shape[1]) - kernels.shape[1] // 2) / sample_rate * 1000
    colors = _colors(len(kernels))
    for row, kernel in enumerate(kernels):
        largest = np.max(np.abs(kernel)) or 1.0
        axis.plot(offset_ms, row + 0.45 * kernel.real / largest, color=colors[row], linewidth=0.8)
    axis.set_yticks(range(len(kernels)), [f"{hz:.0f}" for hz in center_hz])
    axis.set(xlabel="time (ms)", ylabel="centre (Hz)", title="impulse responses (real parts)")


def plot_spectrogram(
    spectrogram: Float[np.ndarray, "frames channels"],
    *,
    frame_times_s: Float[np.ndarray, " frames"],
    center_hz: Float[np.ndarray, " bins"],
    is_complex: bool,
    title: str = "",
) -> Figure:
    """Draws the signed coefficients as cube roots, and their magnitude in dB.

    Args:
        spectrogram: [frames, channels]; a complex bank's cosine channels first.
        frame_times_s: seconds, [frames].
        center_hz: [bins].
        is_complex: whether the second half of the channels are sines.
        title: of the figure.
    """
    figure, axes = _new_figure(2, 1, (11, 7))
    bins = len(center_hz)
    spectrogram = np.asarray(spectrogram, np.float64)  # squares of quiet ones leave float32
    cosine = spectrogram[:, :bins]
    power = cosine**2 + (spectrogram[:, bins:] ** 2 if is_complex else 0.0)
    limit = float(np.max(np.abs(cosine))) or 1.0
    # A cube root shows the signs of quiet coefficients beside loud ones.
    signed = np.cbrt(cosine / limit)
    drawings = (
        (signed.T, "RdBu_r", (-1.0, 1.0), "signed cosine channels (cube root, re largest)"),
        (_decibels(power, _FLOOR_DB).T, "magma", (_FLOOR_DB, 0.0), "magnitude (dB re largest)"),
    )
    for axis, (image, colormap, limits, label) in zip(axes, drawings, strict=True):
        _draw_bins(
            figure,
            axis,
            image,
            frame_times_s=frame_times_s,
            frequencies_hz=center_hz,
            colormap=colormap,
            limits=limits,
            label=label,
        )
    figure.suptitle(title, parse_math=False)  # a file name may have $ signs
    return figure


def plot_magnitude(
    magnitude: Float[np.ndarray, "frames bins"],
    *,
    frame_times_s: Float[np.ndarray, " frames"],
    frequencies_hz: Float[np.ndarray, " bins"],
    title: str = "",
    floor_db: float = _FLOOR_DB,
) -> Figure:
    """Draws the magnitudes of any spectrogram in dB, one row of pixels per bin.

    Args:
        magnitude: [frames, bins], not negative; complex values are drawn by their modulus.
        frame_times_s: seconds, [frames].
        frequencies_hz: what the bins are labelled with, [bins]; need not be evenly spaced.
        title: of the figure.
        floor_db: the darkest colour, relative to the largest value.
    """
    figure, axes = _new_figure(1, 1, (11, 4))
    power = np.abs(np.asarray(magnitude)).astype(np.float64) ** 2
    image = _decibels(power, floor_db).T
    _draw_bins(
        figure,
        axes[0],
        image,
        frame_times_s=frame_times_s,
        frequencies_hz=frequencies_hz,
        colormap="magma",
        limits=(floor_db, 0.0),
        label="magnitude (dB re largest)",
    )
    axes[0].set_title(title, parse_math=False)
    return figure


def _draw_bins(
    figure: Figure,
    axis: Axes,
    image: np.ndarray,
    *,
    frame_times_s: np.ndarray,
    frequencies_hz: np.ndarray,
    colormap: str,
    limits: tuple[float, float],
    label: str,
) -> None:
    """An image [bins, frames] over time, its rows labelled with some of the frequencies."""
    bins = len(image)
    step = frame_times_s[1] - frame_times_s[0] if len(frame_times_s) > 1 else 1.0
    edges_s = np.append(frame_times_s, frame_times_s[-1] + step) - step / 2
    rows = np.arange(bins + 1) - 0.5
    mesh = axis.pcolormesh(
        edges_s, rows, image, cmap=colormap, rasterized=True, vmin=limits[0], vmax=limits[1]
    )
    ticks = np.unique(np.linspace(0, bins - 1, 9).astype(int))
    axis.set_yticks(ticks, [f"{frequencies_hz[tick]:.0f}" for tick in ticks])
    axis.set(xlabel="time (s)", ylabel="centre (Hz)")
    figure.colorbar(mesh, ax=axis, label=label)
