"""Time stretching and pitch shifting layers: Linen modules without variables."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from isincnet_jax.dsp import checks, fourier
from isincnet_jax.linen import SettledModule
from isincnet_jax.spectrograms.dsp import time_stretch
from isincnet_jax.typing import Waveform


def _check_frames(
    *, n_fft: int, hop_length: int | None, win_length: int | None, window: str
) -> None:
    """Raises ValueError for frames between which samples would be lost, or unknown windows."""
    checks.check_positive_integers(n_fft=n_fft, hop_length=hop_length, win_length=win_length)
    taps = n_fft if win_length is None else win_length
    if taps > n_fft:
        raise ValueError(f"win_length={taps} exceeds n_fft={n_fft}; use win_length <= {n_fft}")
    hop = taps // 4 if hop_length is None else hop_length
    if not 1 <= hop <= taps // 2:
        raise ValueError(
            f"hop_length={hop}: frames of win_length={taps} samples must overlap by half or more, "
            f"or phases cannot be followed; use hop_length <= {taps // 2}"
        )
    if not np.all(np.isfinite(fourier.stft_window(window, taps, n_fft))):
        raise ValueError(f"window={window!r} has values that are not finite; use 'hann'")


def _frames(layer: SettledModule) -> dict[str, Any]:
    names = ("n_fft", "hop_length", "win_length", "window")
    return {name: getattr(layer, name) for name in names}


class TimeStretch(SettledModule):
    """Time stretching by a phase vocoder: another duration at the same pitch.

    Formulas and references: :func:`.time_stretch.time_stretch`. The layer has
    no variables and is differentiable with respect to the waveform.

    Attributes:
        rate: how many times faster; below 1 is slower.
        n_fft: samples per frame.
        hop_length: samples between frames, ``win_length // 4`` if None.
        win_length: samples of the window, ``n_fft`` if None.
        window: a name of :func:`scipy.signal.get_window`.

    Raises:
        ValueError: at construction, for a rate that is not positive or frames that lose samples.

    Example:
        >>> TimeStretch(rate=2.0).apply({}, np.zeros((3, 8000), np.float32)).shape
        (3, 4000)
    """

    rate: float
    n_fft: int = 2048
    hop_length: int | None = None
    win_length: int | None = None
    window: str = "hann"

    def __post_init__(self) -> None:
        """Checks the attributes."""
        if not (math.isfinite(self.rate) and self.rate > 0):
            raise ValueError(f"rate={self.rate} must be positive and finite; 2.0 is twice as fast")
        _check_frames(**_frames(self))
        super().__post_init__()

    def __call__(self, waveform: Waveform) -> Waveform:
        """Time-stretched waveform.

        Args:
            waveform: [..., time], floating.

        Returns:
            [..., round(time / rate)], in the waveform's dtype.
        """
        return time_stretch.time_stretch(waveform, rate=self.rate, **_frames(self))


class PitchShift(SettledModule):
    """Pitch shifting by a phase vocoder and resampling: another pitch at the same duration.

    Formulas and references: :func:`.time_stretch.pitch_shift`. The layer has
    no variables and is differentiable with respect to the waveform.

    Attributes:
        n_steps: steps upwards; fractions and negative ones are welcome.
        bins_per_octave: steps of an octave, 12 for semitones.
        n_fft: samples per frame.
        hop_length: samples between frames, ``win_length // 4`` if None.
        win_length: samples of the window, ``n_fft`` if None.
        window: a name of :func:`scipy.signal.get_window`.

    Raises:
        ValueError: at construction, for steps that are not finite or frames that lose samples.

    Example:
        >>> PitchShift(n_steps=-3.5).apply({}, np.zeros((3, 8000), np.float32)).shape
        (3, 8000)
    """

    n_steps: float
    bins_per_octave: int = 12
    n_fft: int = 2048
    hop_length: int | None = None
    win_length: int | None = None
    window: str = "hann"

    def __post_init__(self) -> None:
        """Checks the attributes."""
        checks.check_positive_integers(bins_per_octave=self.bins_per_octave)
        if not math.isfinite(self.n_steps):
            raise ValueError(f"n_steps={self.n_steps} must be finite; 12 is an octave up")
        _check_frames(**_frames(self))
        super().__post_init__()

    def __call__(self, waveform: Waveform) -> Waveform:
        """Pitch-shifted waveform.

        Args:
            waveform: [..., time], floating.

        Returns:
            [..., time], in the waveform's dtype.
        """
        return time_stretch.pitch_shift(
            waveform,
            n_steps=self.n_steps,
            bins_per_octave=self.bins_per_octave,
            **_frames(self),
        )
