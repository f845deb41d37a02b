"""Filterbank plot: impulse responses, frequency responses, their sum."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from isincnet_jax.plots.drawing import FLOOR_DB, colors, new_figure, styled, theme
from isincnet_jax.plots.ripple import band_note, draw_sum
from isincnet_jax.plots.ticks import khz_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_RESPONSES = 24  # of larger banks some are drawn, and the envelope of all
_HIGHLIGHTED = 7  # of those


@styled
def plot_filterbank(
    kernels: np.ndarray,
    *,
    sample_rate: int,
    center_hz: Float[np.ndarray, " bins"],
    num_shown: int = 12,
    title: str = "",
) -> Figure:
    """Filterbank plot: some impulse responses, the frequency responses, and the sum of powers.

    Of more than 24 filters seven responses are drawn, and the envelope of all behind them. Where
    the sum of powers has more ripples than can be seen, a line is its local mean, and a band
    reaches from its local minimum to its maximum.

    Args:
        kernels: complex (or real) [bins, taps], or what the filters of a
            :class:`.sincnet.SincNet` are: real [2 bins, taps], cosine channels before sine
            channels, or the window [taps] of a uniform bank.
        sample_rate: Hz.
        center_hz: [bins].
        num_shown: impulse responses to draw.
        title: of the figure.

    Returns:
        The figure, which pyplot does not know.

    Raises:
        ValueError: for kernels of another number of bins.
    """
    center_hz = np.asarray(center_hz, np.float64)
    kernels = _complex_kernels(np.asarray(kernels), center_hz, sample_rate)
    figure, axes = new_figure(1, 3, (15, 4.2))
    shown = np.unique(np.linspace(0, len(kernels) - 1, num_shown).astype(int))
    _impulse_responses(axes[0], kernels[shown], center_hz[shown], sample_rate)
    # |H_b(f)|^2 from 0 Hz to Nyquist, in steps of at most sample_rate / (4 taps).
    size = 1 << (4 * kernels.shape[1] - 1).bit_length()
    response = np.fft.fft(kernels, size, axis=1)[:, : size // 2 + 1]
    frequency_hz = np.linspace(0, sample_rate / 2, size // 2 + 1)
    power = np.abs(response) ** 2
    level_db = 10 * np.log10(np.maximum(power / np.max(power), 1e-12))
    _frequency_responses(axes[1], frequency_hz / 1000, level_db)
    # sum_b |H_b(f)|^2, flat where a bank weighs all frequencies alike.
    total = np.sum(power, axis=0)
    draw_sum(axes[2], frequency_hz / 1000, total / np.mean(total), num_filters=len(kernels))
    heading = "sum of all powers" + band_note(len(kernels))
    axes[2].set(xlabel="frequency (kHz)", ylabel="dB, relative to mean", title=heading)
    for axis in axes[1:]:
        axis.set_xlim(0, sample_rate / 2000)
        axis.grid()
    figure.suptitle(title, parse_math=False)  # a file name may have $ signs
    return figure


def _complex_kernels(kernels: np.ndarray, center_hz: np.ndarray, sample_rate: float) -> np.ndarray:
    """Filters in any of their forms as [bins, taps]."""
    bins = len(center_hz)
    if kernels.ndim == 1:
        time_s = (np.arange(len(kernels)) - len(kernels) // 2) / sample_rate
        return kernels * np.exp(2j * np.pi * center_hz[:, None] * time_s)
    if kernels.ndim == 2 and len(kernels) == 2 * bins and not np.iscomplexobj(kernels):
        return kernels[:bins] + 1j * kernels[bins:]
    if kernels.ndim != 2 or len(kernels) != bins:
        raise ValueError(
            f"kernels.shape={kernels.shape} with {bins} centres: give [bins, taps], the real "
            "channels [2 bins, taps] of a complex bank, or the window [taps] of a uniform one"
        )
    return kernels


def _frequency_responses(axis: Axes, frequency_khz: np.ndarray, level_db: np.ndarray) -> None:
    shown = np.arange(len(level_db))
    heading = "frequency responses"
    if len(level_db) > _MOST_RESPONSES:
        shown = np.linspace(0, len(level_db) - 1, _HIGHLIGHTED).round().astype(int)
        heading = f"{_HIGHLIGHTED} of {len(level_db)} frequency responses, envelope of all"
        envelope = np.max(level_db, axis=0)
        axis.plot(frequency_khz, envelope, color=theme().soft, linewidth=0.6)
    for index, shade in zip(shown, colors(len(shown)), strict=True):
        axis.plot(frequency_khz, level_db[index], color=shade, linewidth=1.0)
    axis.set(
        xlabel="frequency (kHz)",
        ylabel="gain (dB, relative to largest)",
        ylim=(FLOOR_DB, 3),
        title=heading,
    )


def _impulse_responses(
    axis: Axes, kernels: np.ndarray, center_hz: np.ndarray, sample_rate: int
) -> None:
    offset_ms = (np.arange(kernels.shape[1]) - kernels.shape[1] // 2) / sample_rate * 1000
    shades = colors(len(kernels))
    for row, kernel in enumerate(kernels):
        largest = np.max(np.abs(kernel)) or 1.0
        axis.plot(offset_ms, row + 0.45 * kernel.real / largest, color=shades[row], linewidth=0.9)
    axis.set_yticks(range(len(kernels)), [khz_text(hz) for hz in center_hz])
    axis.set(xlabel="time (ms)", ylabel="centre (kHz)", title="impulse responses (real parts)")
