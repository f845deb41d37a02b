"""Spectrogram plots: signed coefficients, and magnitudes of any bins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from isincnet_jax.plots.drawing import FLOOR_DB, decibels, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_spectrogram(
    spectrogram: Float[np.ndarray, "frames channels"],
    *,
    frame_times_s: Float[np.ndarray, " frames"],
    center_hz: Float[np.ndarray, " bins"],
    is_complex: bool,
    title: str = "",
) -> Figure:
    """Spectrogram plot: signed coefficients as cube roots, and their magnitude in dB.

    Args:
        spectrogram: [frames, channels]; a complex bank's cosine channels first.
        frame_times_s: seconds, [frames].
        center_hz: [bins].
        is_complex: whether the second half of the channels are sines.
        title: of the figure.

    Returns:
        The figure, which pyplot does not know.
    """
    figure, axes = new_figure(2, 1, (11, 7))
    bins = len(center_hz)
    spectrogram = np.asarray(spectrogram, np.float64)  # squares of quiet ones leave float32
    cosine = spectrogram[:, :bins]
    power = cosine**2 + (spectrogram[:, bins:] ** 2 if is_complex else 0.0)
    limit = float(np.max(np.abs(cosine))) or 1.0
    # A cube root shows the signs of quiet coefficients beside loud ones.
    signed = np.cbrt(cosine / limit)
    drawings = (
        (signed.T, "RdBu_r", (-1.0, 1.0), "signed cosine channels (cube root, re largest)"),
        (decibels(power, FLOOR_DB).T, "magma", (FLOOR_DB, 0.0), "magnitude (dB re largest)"),
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
    floor_db: float = FLOOR_DB,
) -> Figure:
    """Magnitude plot of any spectrogram in dB, one row of pixels per bin.

    Args:
        magnitude: [frames, bins], not negative; complex values are drawn by their modulus.
        frame_times_s: seconds, [frames].
        frequencies_hz: what the bins are labelled with, [bins]; need not be evenly spaced.
        title: of the figure.
        floor_db: the darkest colour, dB relative to the largest value.

    Returns:
        The figure, which pyplot does not know.
    """
    figure, axes = new_figure(1, 1, (11, 4))
    power = np.abs(np.asarray(magnitude)).astype(np.float64) ** 2
    image = decibels(power, floor_db).T
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
