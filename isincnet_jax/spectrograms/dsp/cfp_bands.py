"""Bands of the combined frequency and periodicity transform: design and checks, in float64."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from isincnet_jax.dsp import centering, windows
from isincnet_jax.dsp.settling import settles


@settles
def cfp_frequencies(*, fmin: float, tc: float, bins_per_octave: int) -> Float[np.ndarray, " bins"]:
    """Centre frequencies ``fmin 2^(i / bins_per_octave)`` of all bands below ``1 / tc``.

    Args:
        fmin: centre of the first band, Hz.
        tc: shortest period, seconds; ``fmin tc < 1``.
        bins_per_octave: bands per octave, 1 or more.

    Returns:
        Hz, float64 [bands].

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
    """Band weights of bins of any spacing: triangles over frequency, float64.

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
    # Lags have decreasing frequencies: sorted here, put back in the last lines.
    order = np.argsort(bin_hz)
    sorted_hz = bin_hz[order]
    below = np.clip(np.searchsorted(sorted_hz, center_hz, side="right") - 1, 0, len(bin_hz) - 2)
    spacing = sorted_hz[below + 1] - sorted_hz[below]
    # Slopes from f / step up to f and down to f step, which are the neighbours' centres.
    rising = center_hz * (1 - 1 / step)
    falling = center_hz * (step - 1)
    offset = sorted_hz[:, None] - center_hz  # [bins, bands]
    weights = np.maximum(0.0, 1 - np.where(offset < 0, -offset / rising, offset / falling))
    # Interpolation at f between bins a and b: (b - f) / (b - a) of a, (f - a) / (b - a) of b.
    position = (center_hz - sorted_hz[below]) / spacing
    bands = np.arange(len(center_hz))
    between = np.zeros_like(weights)
    between[below, bands] = 1 - position
    between[below + 1, bands] = position
    found = np.empty_like(weights)
    # The rising slope is the narrower one (1 - 1 / step < step - 1).
    found[order] = np.where(rising < spacing, between, weights)
    return found


class Design(NamedTuple):
    """Window and band weights in float64, cropped to the bins that some band reads.

    Attributes:
        window: of unit L2 norm, [taps].
        spectral: weights of the lines of a spectrum, [lines, bands].
        temporal: weights of the lags of a cepstrum, [lags, bands].
    """

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
    """Window and band weights of a transform, cached.

    Args:
        sample_rate: Hz.
        n_fft: samples of the transform.
        win_length: samples of the window, at most ``n_fft``.
        window: a name of :func:`scipy.signal.get_window`; symmetric.
        fmin: centre of the first band, Hz.
        tc: shortest period, seconds.
        bins_per_octave: bands per octave.

    Returns:
        The design, float64; a window of odd length has a zero before it.
    """
    taper = windows.get_window(window, win_length, fftbins=False)
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
    """Checks the arguments of :func:`.cfp.combined_frequency_periodicity`.

    Args:
        sample_rate: Hz, positive.
        hop_length: samples between frames, 1 or more.
        frequency_resolution: spacing of the lines, Hz, positive.
        win_length: samples of the window, at most those of the transform.
        window: a name of :func:`scipy.signal.get_window`.
        fmin: lowest pitch, Hz; two of its periods fit into the transform.
        tc: shortest period, seconds; two samples or more, and below ``1 / fmin``.
        gammas: two powers or more, positive; the first may be 0.
        bins_per_octave: an integer of 1 or more.
        pad_mode: a name of :data:`.centering.PAD_MODES`.

    Raises:
        ValueError: for arguments outside these rules, with the nearest fix.
    """
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
    windows.get_window(window, 4, fftbins=False)


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
    """Frame length in samples: that of the window, and one more before it if that is odd.

    The frame's middle, sample ``frame_length // 2``, is then the window's, and centred clips have
    ``1 + time // hop_length`` frames whether the window is even or odd.

    Args:
        win_length: samples of the window.

    Returns:
        ``win_length``, or ``win_length + 1`` if it is odd.
    """
    return win_length + win_length % 2


def cfp_n_fft(*, sample_rate: float, frequency_resolution: float) -> int:
    """Transform length in samples: ``sample_rate / frequency_resolution``, rounded down.

    Args:
        sample_rate: Hz.
        frequency_resolution: spacing of the lines, Hz.

    Returns:
        N, the samples that frames are zero-padded to.
    """
    # A hair above, so that 22050 / 0.1 is not a sample short.
    return int(sample_rate / frequency_resolution + 1e-6)
