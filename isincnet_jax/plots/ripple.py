"""Ripple of a sum over many filters: a line that can be read, and how far it ripples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from scipy import ndimage

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FEW = 40  # filters whose ripples can be told apart on a page
_SHARE = 0.025  # of the axis over which more of them are averaged
_LEAST_RANGE_DB = 6.0  # of the axis: ripples of a tenth of a decibel are no mountains


def smoothed(
    power: Float[np.ndarray, " points"], *, num_filters: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Local mean, minimum and maximum of a sum of powers.

    Args:
        power: over frequency, evenly spaced on the axis of the picture.
        num_filters: that it is a sum of; of few there is no ripple too dense to be seen.

    Returns:
        Mean, minimum and maximum, each the power itself for 40 filters or fewer.
    """
    if num_filters <= _FEW:
        return power, power, power
    # Two windows of the same width one after the other: a triangle, which lets less ripple through.
    width = max(1, round(_SHARE * len(power)))
    mean = power
    for _ in range(2):
        mean = ndimage.uniform_filter1d(mean, width, mode="reflect")
    least = ndimage.minimum_filter1d(power, width, mode="nearest")
    most = ndimage.maximum_filter1d(power, width, mode="nearest")
    return mean, least, most


def band_note(num_filters: int) -> str:
    """Note for the title of a picture that has a band of ripples; "" where it has none.

    Args:
        num_filters: of the largest bank in it.

    Returns:
        What follows the title.
    """
    return ": local mean, band of its ripples" if num_filters > _FEW else ""


def draw_sum(
    axis: Axes,
    frequency: Float[np.ndarray, " points"],
    power: Float[np.ndarray, " points"],
    *,
    num_filters: int,
    **style: Any,
) -> None:
    """Line of a sum of powers in dB, with a band of its ripples where there are too many to see.

    Args:
        axis: of the picture; its range in dB becomes 6 or more.
        frequency: in its unit.
        power: the sum, relative to what is 0 dB.
        num_filters: that it is a sum of.
        **style: of the line.
    """
    mean, least, most = (
        10 * np.log10(np.maximum(one, 1e-12)) for one in smoothed(power, num_filters=num_filters)
    )
    [line] = axis.plot(frequency, mean, **style)
    if num_filters > _FEW:
        axis.fill_between(frequency, least, most, color=line.get_color(), alpha=0.2, linewidth=0)
    # A zero at an end of the spectrum goes down without end: it has no part in the range.
    low, high = min(np.percentile(least, 3), np.min(mean)), np.max(most)
    margin = max(0.05 * (high - low), (_LEAST_RANGE_DB - (high - low)) / 2)
    axis.set_ylim(low - margin, high + margin)
