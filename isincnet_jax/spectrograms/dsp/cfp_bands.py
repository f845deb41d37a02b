"""The bands of a combined frequency and periodicity transform: design and checks, in float64."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.signal
from jaxtyping import Float

from isincnet_jax.dsp import centering
from isincnet_jax.dsp.settling import settles


@settles
def cfp_frequencies(*, fmin: float, tc: float, bins_per_octave: int) -> Float[np.ndarray, " bins"]:
    """Centres ``fmin 2^(i / bins_per_octave)`` of all bands below ``1 / tc``, in Hz.

    Example:
        >>> cfp_frequencies(fmin=80.0, tc=1 / 1000, bins_per_octave=1)
        array([ 80., 160., 320., 640.])
    """
    # A hair below, so that 1 / tc itself is left out however the logarithm rounds.
    count = math.ceil(bins_per_octave * math.log2(1 / (tc * fmin)) - 1e-9)
    return fmin * 2.0 ** (np.arange(count) / bins_per_octave)


def band_weights(
    bin_hz: Float[np.ndarray, " bins"],
    center_hz: Float[np.ndarray, " bands"],
    *,
    bins_per_octave: int,
) -> Float[np.ndarray, "bins bands"]:
    """Weights that take bins of any spacing to bands: triangles over frequency, float64.

    A triangle is 1 at its centre and 0 at the centres of its neighbours. Where the bins lie
    further apart than a triangle is wide to one side, it would catch one bin by chance or none:
    there the band is the linear interpolation of the two bins beside its centre.

    Args:
        bin_hz: strictly increasing or decreasing, Hz.
        center_hz: of the bands, Hz, within the range of the bins.
        bins_per_octave: bands per octave; the neighbours of the first and last follow from it.

    Returns:
        [bins, bands], not negative; a column sums to about the number of bins in half a
        triangle's base, at least 1.
    """
    step = 2.0 ** (1 / bins_per_octave)
    order = np.argsort(bin_hz)
    sorted_hz = bin_hz[order]
    below = np.clip(np.searchsorted(sorted_hz, center_hz, side="right") - 1, 0, len(bin_hz) - 2)
    spacing = sorted_hz[below + 1] - sorted_hz[below]
    rising = center_hz * (1 - 1 / step)
    falling = center_hz * (step - 1)
    offset = sorted_hz[:, None] - center_hz
    weights = np.maximum(0.0, 1 - np.where(offset < 0, -offset / rising, offset / falling))
    position = (center_hz - sorted_hz[below]) / spacing
    bands = np.arange(len(center_hz))
    between = np.zeros_like(weights)
    between[below, bands] = 1 - position
    between[below + 1, bands] = position
    found = np.empty_like(weights)
    found[order] = np.where(rising < spacing, between, weights)
    return found


class Design(NamedTuple):
    """Window and weights in float64, cropped to the bins that some band reads."""

    window: Float[np.ndarray, " taps"]
    spectral: Float[np.ndarray, "lines bands"]
    temporal: Float[np.ndarray, "lags bands"]


@settles
@functools.lru_cache(maxsize=16)
def design_bands(
    *,
    sample_rate: float,
    n_fft: int,
    win_length: int,
    window: str,
    fmin: float,
    tc: float,
    bins_per_octave: int,
) -> Design:
    """Window and weights of a geometry, cached."""
    taper = np.asarray(scipy.signal.get_window(window, win_length, fftbins=False), np.float64)
    taper = np.pad(taper, (cfp_frame_length(win_length) - win_length, 0))
    centers = cfp_frequencies(fmin=fmin, tc=tc, bins_per_octave=bins_per_octave)
    index = np.arange(1, n_fft // 2 + 1)
    weights = []
    # Line k has the frequency k sample_rate / n_fft, lag n the frequency sample_rate / n; the
    # zeroth of both is no frequency and has no weight.
    for bin_hz in (index * sample_rate / n_fft, sample_rate / index):
        matrix = band_weights(bin_hz, centers, bins_per_octave=bins_per_octave)
        last = np.flatnonzero(matrix.any(axis=1))[-1]
        weights.append(np.pad(matrix[: last + 1], ((1, 0), (0, 0))))
    return Design(taper / np.linalg.norm(taper), *weights)


def check_cfp(
    *,
    sample_rate: float,
    hop_length: int,
    frequency_resolution: float,
    win_length: int,
    window: str,
    fmin: float,
    tc: float,
    gammas: Sequence[float],
    bins_per_octave: int,
    pad_mode: str,
) -> None:
    """Raises ValueError for arguments that :func:`combined_frequency_periodicity` refuses."""
    centering.check_framing(frame_length=win_length, hop_length=hop_length, pad_mode=pad_mode)
    if sample_rate <= 0 or frequency_resolution <= 0:
        raise ValueError(
            f"sample_rate={sample_rate} and frequency_resolution={frequency_resolution} must be "
            "positive (Hz)"
        )
    n_fft = cfp_n_fft(sample_rate=sample_rate, frequency_resolution=frequency_resolution)
    if cfp_frame_length(win_length) > n_fft:
        raise ValueError(
            f"win_length={win_length} does not fit into the {n_fft} samples of a transform with "
            f"frequency_resolution={frequency_resolution} Hz; use win_length <= {n_fft - 1} or "
            f"frequency_resolution <= {sample_rate / (win_length + 1):g}"
        )
    if not isinstance(bins_per_octave, (int, np.integer)) or bins_per_octave < 1:
        raise ValueError(f"bins_per_octave={bins_per_octave!r} must be an integer of at least 1")
    if fmin <= 0 or tc <= 0 or fmin * tc >= 1:
        raise ValueError(
            f"fmin={fmin} Hz and tc={tc} s: 0 < fmin < 1 / tc must hold; use tc < 1 / fmin"
        )
    if tc * sample_rate < 2:
        raise ValueError(
            f"tc={tc} s: the highest pitch 1 / tc lies above half of sample_rate={sample_rate}; "
            f"use tc >= {2 / sample_rate:g}"
        )
    if fmin * n_fft < 2 * sample_rate:
        raise ValueError(
            f"fmin={fmin} Hz: two of its periods do not fit into the {n_fft} samples of a "
            f"transform; use fmin >= {2 * sample_rate / n_fft:g} or a finer frequency_resolution"
        )
    _check_gammas(gammas)
    scipy.signal.get_window(window, 4)


def _check_gammas(gammas: Sequence[float]) -> None:
    if len(gammas) < 2:
        raise ValueError(
            f"gammas={tuple(gammas)}: a spectrum and a cepstrum need 2 powers or more, e.g. "
            "(0.24, 0.6, 1.0)"
        )
    if gammas[0] < 0 or min(gammas[1:]) <= 0:
        raise ValueError(
            f"gammas={tuple(gammas)}: powers must be positive; only the first may be 0, which "
            "stands for the logarithm"
        )


def cfp_frame_length(win_length: int) -> int:
    """Samples of a frame: those of the window, and one before it if they are odd.

    The frame's middle, sample ``frame_length // 2``, is then the window's, and centred clips have
    ``1 + time // hop_length`` frames whether the window is even or odd.
    """
    return win_length + win_length % 2


def cfp_n_fft(*, sample_rate: float, frequency_resolution: float) -> int:
    """Samples of the transforms: ``sample_rate / frequency_resolution``, rounded down."""
    # A hair above, so that 22050 / 0.1 is not a sample short.
    return int(sample_rate / frequency_resolution + 1e-6)
