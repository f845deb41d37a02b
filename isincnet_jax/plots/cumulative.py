"""Cumulative response of filterbanks: where in frequency a bank looks, and how much."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from isincnet_jax.dsp import scales
from isincnet_jax.plots.bands import responses
from isincnet_jax.plots.drawing import line_style, new_figure, styled
from isincnet_jax.plots.ripple import band_note, draw_sum
from isincnet_jax.plots.ticks import use_mel_axis

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_POINTS = 1024  # frequencies of a curve
_LOWEST_DB = -40.0
_MOST_LABELS = 4  # in one line of the legend; more stand beside the axes


@styled
def plot_cumulative_response(
    banks: Mapping[str, np.ndarray], *, sample_rate: float, title: str = ""
) -> Figure:
    """Cumulative response plot: sums over all filters of gains, and of their squares, per bank.

    The sum of gains, relative to its largest value, is SincNet's figure of the cumulative
    response, which shows what a bank has learned to attend to: overlay ``{"before": ...,
    "after": ...}``. The sum of powers shows how evenly a bank covers the spectrum: where it is
    flat, the inverse treats all frequencies alike.

    Args:
        banks: label to filters [filters, taps], complex or real, all at the same rate. Filters of
            equal gain make their sum easy to read ("gain" normalisation).
        sample_rate: Hz.
        title: of the figure.

    Returns:
        The figure, which pyplot does not know.

    Raises:
        ValueError: without banks, or for filters that are not [filters, taps].

    References:
        M. Ravanelli and Y. Bengio, "Interpretable convolutional filters with SincNet", 2018,
            figure 4. https://arxiv.org/abs/1811.09725
    """
    if not banks:
        raise ValueError("banks={}: give one bank or more, label to filters")
    figure, axes = new_figure(1, 2, (12, 4.2))
    # Evenly spaced on the mel axis.
    ends = scales.hz_to_scale(np.array([0.0, sample_rate / 2]), scale="mel_htk")
    frequency_hz = scales.scale_to_hz(np.linspace(ends[0], ends[1], _POINTS), scale="mel_htk")
    for index, (label, bank) in enumerate(banks.items()):
        filters = np.asarray(bank)
        if filters.ndim != 2 or filters.size == 0:
            raise ValueError(f"banks[{label!r}].shape={filters.shape}: give [filters, taps]")
        gains = responses(filters, frequency_hz, sample_rate=sample_rate)
        style = {**line_style(index), "label": label}
        # sum_b |H_b(f)| and sum_b |H_b(f)|^2, over their largest values.
        axes[0].plot(frequency_hz, _relative(np.sum(gains, axis=0)), **style)
        power = _relative(np.sum(gains**2, axis=0))
        draw_sum(axes[1], frequency_hz, power, num_filters=len(filters), **style)
    axes[0].set(ylabel="sum of gains", ylim=(0, 1.05), title="cumulative response, largest 1")
    lowest = min(float(np.min(line.get_ydata())) for line in axes[1].lines)  # type: ignore[arg-type]
    axes[1].set(
        ylabel="sum of powers (dB, relative to largest)",
        ylim=(max(lowest - 3.0, _LOWEST_DB), 2.0),
        title="coverage" + band_note(max(len(bank) for bank in banks.values())),
    )
    for axis in axes:
        use_mel_axis(axis, sample_rate / 2)
        axis.grid()
    if len(banks) > 1:
        many = len(banks) > _MOST_LABELS
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside right center" if many else "outside lower center",
            ncols=1 if many else len(banks),
        )  # fmt: skip
    figure.suptitle(title, parse_math=False)
    return figure


def _relative(values: np.ndarray) -> np.ndarray:
    return values / max(float(np.max(values)), np.finfo(np.float64).tiny)
