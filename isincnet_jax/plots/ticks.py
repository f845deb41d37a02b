"""Ticks of frequency axes: round numbers, in kHz."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from isincnet_jax.dsp import scales

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MEL_TICKS_HZ = (0, 200, 500, 1000, 2000, 4000, 8000, 16_000, 32_000, 64_000)
_MOST_TICKS = 8  # of a frequency axis


def khz_text(hz: float) -> str:
    """Frequency for readers, in kHz, to three digits.

    Args:
        hz: frequency.

    Returns:
        "0.125", "2", "11.3".
    """
    return f"{hz / 1000:.3g}"


def frequency_ticks(frequencies_hz: Float[np.ndarray, " rows"]) -> tuple[np.ndarray, list[str]]:
    """Ticks of an axis whose rows are frequencies: round ones, in kHz.

    Args:
        frequencies_hz: of the rows; where they do not increase, ticks stand at rows.

    Returns:
        Places in rows, float64, and labels. On a linear scale frequencies in steps of 1, 2 or
        5 times a power of ten, on others those numbers themselves, as far as there is room.
    """
    known = np.asarray(frequencies_hz, np.float64)
    rows = np.arange(len(known))
    if len(known) < 3 or not np.all(np.diff(known) > 0):
        places = np.unique(np.linspace(0, len(known) - 1, min(_MOST_TICKS, len(known))).astype(int))
        return places.astype(np.float64), [khz_text(float(known[place])) for place in places]
    # Half a row beyond the ends still belongs to them.
    low, high = 1.5 * known[0] - 0.5 * known[1], 1.5 * known[-1] - 0.5 * known[-2]
    middle = np.interp((known[0] + known[-1]) / 2, known, rows) / rows[-1]
    ticks_hz = [] if abs(middle - 0.5) < 0.1 else _spread_ticks(low, high, known)
    if len(ticks_hz) < 2:
        ticks_hz = _even_ticks(low, high)
    return np.interp(ticks_hz, known, rows), [f"{hz / 1000:g}" for hz in ticks_hz]


def _even_ticks(low: float, high: float) -> list[float]:
    """Multiples of the smallest round step that gives few enough."""
    rough = (high - low) / (_MOST_TICKS - 1)
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first, last = np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9)
    return [k * step for k in range(int(first), int(last) + 1)]


def _spread_ticks(low: float, high: float, known: np.ndarray) -> list[float]:
    """Powers of ten, then their fives and twos, each where none stands too near."""
    least = max(low, known[1] / 2)  # a first bin at 0 Hz has no power of ten, but a tick
    powers = 10.0 ** np.arange(np.floor(np.log10(least)), np.log10(high) + 1)
    wanted = [factor * power for factor in (1, 5, 2) for power in powers]
    kept: list[float] = []
    places: list[float] = []
    for hz in ([0.0] if low <= 0 else []) + [hz for hz in wanted if least <= hz <= high]:
        place = float(np.interp(hz, known, np.arange(len(known))))
        near = [one for one in places if abs(one - place) < (len(known) - 1) / (_MOST_TICKS + 2)]
        if not near:
            kept.append(float(hz))
            places.append(place)
    return sorted(kept)


def use_mel_axis(axis: Axes, nyquist_hz: float, *, label: str = "frequency (kHz)") -> None:
    """Mel axis: makes the horizontal one of frequencies in Hz, 0 to Nyquist, on HTK's mel scale.

    It is labelled in kHz.

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
    axis.set_xticks(ticks, [khz_text(hz) for hz in ticks])
    axis.set_xticks([], minor=True)
    axis.set_xlim(0.0, nyquist_hz)
    axis.set_xlabel(label)
