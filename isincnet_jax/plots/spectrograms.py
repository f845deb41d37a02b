"""Spectrogram plots: signed coefficients, and magnitudes of any bins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from isincnet_jax.plots.drawing import (
    FLOOR_DB,
    color_bar,
    decibels,
    new_figure,
    signed_colormap,
    styled,
)
from isincnet_jax.plots.ticks import frequency_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure


_MOST_CELLS = (192, 640)  # rows and columns of a picture: about its pixels on a page
_LIMIT_PERCENTILE = 98.0  # of magnitudes: what is louder has the colour of this one


@styled
def plot_spectrogram(
    spectrogram: Float[np.ndarray, "frames channels"],
    *,
    frame_times_s: Float[np.ndarray, " frames"],
    center_hz: Float[np.ndarray, " bins"],
    is_complex: bool,
    title: str = "",
) -> Figure:
    """Spectrogram plot: signed coefficients as cube roots, and their magnitude in dB.

    The colours of the signed panel reach to the 98th percentile of the magnitudes, so that one
    loud moment does not leave the rest without contrast. Where there are more cells than a page
    has pixels, the loudest of several neighbours stands for them, with its sign.

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
    size = np.abs(cosine)
    limit = float(np.percentile(size, _LIMIT_PERCENTILE)) or float(np.max(size)) or 1.0
    panels = (
        # A cube root shows the signs of quiet coefficients beside loud ones.
        (np.cbrt(cosine / limit), "cosine channels, signed", "cube root (1: 98th percentile)"),
        (decibels(power, FLOOR_DB), "magnitude", "dB, relative to largest"),
    )
    for axis, (image, heading, label) in zip(axes, panels, strict=True):
        is_signed = axis is axes[0]
        _draw_bins(
            figure,
            axis,
            image.T,
            frame_times_s=frame_times_s,
            frequencies_hz=center_hz,
            colormap=signed_colormap() if is_signed else "magma",
            limits=(-1.0, 1.0) if is_signed else (FLOOR_DB, 0.0),
            label=label,
            extend="both" if is_signed else "min",
        )
        axis.set_title(heading, loc="left")
    axes[0].set_xlabel("")  # the panel below has the same axis
    figure.suptitle(title, parse_math=False)  # a file name may have $ signs
    return figure


@styled
def plot_magnitude(
    magnitude: Float[np.ndarray, "frames bins"] | Sequence[Float[np.ndarray, "frames bins"]],
    *,
    frame_times_s: Float[np.ndarray, " frames"] | Sequence[Float[np.ndarray, " frames"]],
    frequencies_hz: Float[np.ndarray, " bins"],
    title: str = "",
    floor_db: float = FLOOR_DB,
) -> Figure:
    """Magnitude plot of any spectrogram in dB, one row of pixels per bin.

    A ragged spectrogram, whose bins have hops of their own, is drawn over one time axis, the finest
    there is: every frame lasts until the middle between it and the next.

    Args:
        magnitude: [frames, bins], not negative; complex values are drawn by their modulus. Ragged:
            a tuple of them, by frequency.
        frame_times_s: seconds, [frames]; ragged: a tuple of them.
        frequencies_hz: what the bins are labelled with, [bins]; need not be evenly spaced.
        title: of the figure.
        floor_db: the darkest colour, dB relative to the largest value.

    Returns:
        The figure, which pyplot does not know.
    """
    figure, axes = new_figure(1, 1, (11, 4))
    if isinstance(magnitude, (tuple, list)):
        magnitude, frame_times_s = _on_one_axis(magnitude, frame_times_s)
    power = np.abs(np.asarray(magnitude)).astype(np.float64) ** 2
    image = decibels(power, floor_db).T
    _draw_bins(
        figure,
        axes[0],
        image,
        frame_times_s=np.asarray(frame_times_s),
        frequencies_hz=frequencies_hz,
        colormap="magma",
        limits=(floor_db, 0.0),
        label="dB, relative to largest",
        extend="min",
    )
    axes[0].set_title(title, parse_math=False)
    return figure


def _on_one_axis(arrays: Sequence[np.ndarray], times_s: Any) -> tuple[np.ndarray, np.ndarray]:
    """Magnitudes of arrays of different hops at the times of the one with most frames."""
    if len(arrays) != len(times_s):
        raise ValueError(
            f"frame_times_s has times of {len(times_s)} arrays, but there are {len(arrays)}; give "
            "those of every array"
        )
    common = max(times_s, key=len)
    rows = []
    for array, own in zip(arrays, times_s, strict=True):
        nearest = np.searchsorted((own[1:] + own[:-1]) / 2, common, side="right")
        rows.append(np.abs(np.asarray(array))[nearest])
    return np.concatenate(rows, axis=-1), common


def _draw_bins(
    figure: Figure,
    axis: Axes,
    image: np.ndarray,
    *,
    frame_times_s: np.ndarray,
    frequencies_hz: np.ndarray,
    colormap: Colormap | str,
    limits: tuple[float, float],
    label: str,
    extend: str,
) -> None:
    """An image [bins, frames] over time, some of its rows labelled with round frequencies."""
    bins = len(image)
    step = frame_times_s[1] - frame_times_s[0] if len(frame_times_s) > 1 else 1.0
    edges_s = np.append(frame_times_s, frame_times_s[-1] + step) - step / 2
    rows = np.arange(bins + 1) - 0.5
    # Blocks of neighbours, the last one of each axis perhaps smaller.
    is_signed = limits[1] > 0
    across, along = (-(-size // most) for size, most in zip(image.shape, _MOST_CELLS, strict=True))
    mesh = axis.pcolormesh(
        np.append(edges_s[:-1:along], edges_s[-1]),
        np.append(rows[:-1:across], rows[-1]),
        _loudest(_loudest(image, across, is_signed).T, along, is_signed).T,
        cmap=colormap,
        rasterized=True,
        vmin=limits[0],
        vmax=limits[1],
    )
    places, labels = frequency_ticks(frequencies_hz)
    axis.set_yticks(places, labels)
    axis.set(xlabel="time (s)", ylabel="frequency (kHz)")
    color_bar(figure, axis, mesh, label=label, extend=extend)


def _loudest(image: np.ndarray, count: int, is_signed: bool) -> np.ndarray:
    """Of every ``count`` rows the largest value, or that of the largest magnitude."""
    starts = np.arange(0, len(image), count)
    high, low = np.maximum.reduceat(image, starts), np.minimum.reduceat(image, starts)
    return np.where(-low > high, low, high) if is_signed else high
