"""Combined frequency and periodicity: a pitch salience from a spectrum and its cepstrum.

A harmonic tone has peaks at its fundamental and all multiples of it in a spectrum, and at its
period and all multiples of that in a generalised cepstrum. A pitch that shows in both is neither
an overtone nor a subharmonic, so the product of the two, on one logarithmic frequency axis, has a
peak at the pitch alone.

Layer i of the transform raises the positive part of its input to the power ``gammas[i]``, and a
cosine transform leads from each layer to the next: even layers are spectra, odd layers cepstra.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.signal
from jax import lax
from jaxtyping import Float

from isincnet_jax.dsp import centering, framing
from isincnet_jax.typing import Waveform

_TINY = 1e-10
_LOG_FLOOR = 1e-8


class CFPFeatures(NamedTuple):
    """The four spectrograms of :func:`combined_frequency_periodicity`, [..., frames, bins].

    Attributes:
        salience: product of ``spectral`` and ``temporal`` (nnAudio's ``Z``).
        magnitude: of the short-time Fourier transform (``tfrL0``).
        spectral: of the last even layer, the spectrum (``tfrLF``).
        temporal: of the last odd layer, the cepstrum (``tfrLQ``).
    """

    salience: jax.Array
    magnitude: jax.Array
    spectral: jax.Array
    temporal: jax.Array


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


class _Design(NamedTuple):
    """Window and weights in float64, cropped to the bins that some band reads."""

    window: Float[np.ndarray, " taps"]
    spectral: Float[np.ndarray, "lines bands"]
    temporal: Float[np.ndarray, "lags bands"]


@functools.lru_cache(maxsize=16)
def _design(
    *,
    sample_rate: float,
    n_fft: int,
    win_length: int,
    window: str,
    fmin: float,
    tc: float,
    bins_per_octave: int,
) -> _Design:
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
    return _Design(taper / np.linalg.norm(taper), *weights)


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


def combined_frequency_periodicity(
    waveform: Waveform,
    *,
    sample_rate: float = 16_000,
    hop_length: int = 320,
    frequency_resolution: float = 2.0,
    win_length: int = 2049,
    window: str = "blackmanharris",
    fmin: float = 80.0,
    tc: float = 1 / 1000,
    gammas: Sequence[float] = (0.24, 0.6, 1.0),
    bins_per_octave: int = 48,
    center: bool = True,
    pad_mode: str = "constant",
    precision: lax.PrecisionLike = lax.Precision.HIGHEST,
) -> CFPFeatures:
    """Combined frequency and periodicity (CFP), a pitch salience over logarithmic frequency.

    With N the transform length and C the N-point cosine transform ``(C z)[q] =
    N^(-1/2) sum_k z[k] cos(2 pi k q / N)``::

        Z_0 = (|X| / ||w||)^gammas[0]
        Z_i = W_i relu(C Z_{i-1})^gammas[i]

    ``W_i`` removes what is no pitch: from cepstra (odd i) the lags below ``tc``, which are the
    spectral envelope, and from spectra (even i) the lines below ``fmin``. The last spectrum and
    the last cepstrum go through triangles of ``1 / bins_per_octave`` octave
    (:func:`band_weights`) and are multiplied. A first power of 0 stands for
    ``log(|X| / ||w|| + 1e-8)``, which makes Z_1 the positive part of the real cepstrum.

    Args:
        waveform: [..., time], floating.
        sample_rate: Hz.
        hop_length: samples between frames.
        frequency_resolution: spacing of the lines of a spectrum in Hz; N is
            ``int(sample_rate / frequency_resolution)`` (nnAudio: ``fr``).
        win_length: samples of the window, zero-padded to N (``window_size``).
        window: a name of :func:`scipy.signal.get_window`; symmetric.
        fmin: lowest pitch and first band, Hz (``fc``).
        tc: shortest period in seconds; the bands lie below ``1 / tc`` (``tc``).
        gammas: powers of the layers, two or more (``g``).
        bins_per_octave: bands per octave (``NumPerOct``).
        center: whether the middle of frame t is sample ``t hop_length``.
        pad_mode: "constant", "reflect", "edge" or "symmetric"; without effect if not ``center``.
        precision: of the products with the bands on accelerators.

    Returns:
        Four spectrograms [..., frames, bands] in the dtype of the waveform, with
        ``1 + time // hop_length`` frames if ``center``; see :class:`CFPFeatures` and
        :func:`cfp_frequencies`.

    Raises:
        ValueError: for arguments outside these rules, each with its nearest fix.

    References:
        L. Su and Y.-H. Yang, "Combining spectral and temporal representations for multipitch
            estimation of polyphonic music", IEEE/ACM Trans. Audio, Speech and Language
            Processing 23, 2015, section III. https://doi.org/10.1109/TASLP.2015.2442411
        G. Peeters, "Music pitch representation by periodicity measures based on combined
            temporal and spectral representations", ICASSP 2006.
            https://doi.org/10.1109/ICASSP.2006.1661210
        T. Tolonen and M. Karjalainen, "A computationally efficient multipitch analysis model",
            IEEE Trans. Speech and Audio Processing 8, 2000 (the generalised cepstrum).
            https://doi.org/10.1109/89.876309

    Departure: from nnAudio 0.3.3. Line k lies at ``k sample_rate / N`` (there at
    ``k sample_rate / (N - 2)``); a bin exactly at a centre counts fully (there not at all: the
    lags of 160, 320 and 640 Hz are lost); bands narrower than the bins' spacing interpolate
    (there 20 bands of the cepstrum are 0 always); the first band is filled and
    the last one kept (175 bands by default, there 174); the lags and lines that ``W_i`` removes
    are symmetric, and none are removed where fewer than half a bin is asked for (there all);
    the window's middle is sample ``t hop`` (there ``t hop - 1``), every frame is returned, and a
    first power of 0 is a logarithm (there the constant 1).
    """
    check_cfp(
        sample_rate=sample_rate,
        hop_length=hop_length,
        frequency_resolution=frequency_resolution,
        win_length=win_length,
        window=window,
        fmin=fmin,
        tc=tc,
        gammas=gammas,
        bins_per_octave=bins_per_octave,
        pad_mode=pad_mode,
    )
    n_fft = cfp_n_fft(sample_rate=sample_rate, frequency_resolution=frequency_resolution)
    design = _design(
        sample_rate=sample_rate,
        n_fft=n_fft,
        win_length=win_length,
        window=window,
        fmin=fmin,
        tc=tc,
        bins_per_octave=bins_per_octave,
    )
    power = _power_spectrum(
        waveform, design.window, n_fft=n_fft, hop_length=hop_length, center=center, mode=pad_mode
    )
    cuts = (round(fmin * n_fft / sample_rate), round(tc * sample_rate))
    spectrum, cepstrum = _layers(power, n_fft=n_fft, gammas=gammas, cuts=cuts)
    lines, lags = (jnp.asarray(matrix, power.dtype) for matrix in design[1:])

    def banded(values: jax.Array, weights: jax.Array) -> jax.Array:
        return jnp.dot(values[..., : len(weights)], weights, precision=precision)

    spectral, temporal = banded(spectrum, lines), banded(cepstrum, lags)
    magnitude = banded(_raised(power, 0.5, floor=_TINY**2), lines)
    return CFPFeatures(spectral * temporal, magnitude, spectral, temporal)


def _power_spectrum(
    waveform: Waveform,
    taper: Float[np.ndarray, " taps"],
    *,
    n_fft: int,
    hop_length: int,
    center: bool,
    mode: str,
) -> jax.Array:
    """Power [..., frames, 1 + n_fft // 2]; where the frame lies in its transform is no matter."""
    taps = len(taper)
    padded = centering.pad_frames(
        waveform, frame_length=taps, hop_length=hop_length, center=center, pad_mode=mode
    )
    scaled = jnp.asarray(taper, waveform.dtype)
    (frames,) = framing.map_frames(
        lambda rows: (rows * scaled,),
        padded,
        num_frames=(padded.shape[-1] - taps) // hop_length + 1,
        taps=taps,
        hop_length=hop_length,
    )
    spectrum = jnp.fft.rfft(frames, n=n_fft, axis=-1)
    return jnp.real(spectrum) ** 2 + jnp.imag(spectrum) ** 2


def _raised(values: jax.Array, gamma: float, *, floor: float = _TINY) -> jax.Array:
    """``relu(values)^gamma``, 0 with derivative 0 below the floor, where that of a root grows."""
    if gamma == 1:
        return jax.nn.relu(values)
    audible = values > floor
    return jnp.where(audible, jnp.where(audible, values, 1.0) ** gamma, 0.0)


def _layers(
    power: jax.Array, *, n_fft: int, gammas: Sequence[float], cuts: tuple[int, int]
) -> tuple[jax.Array, jax.Array]:
    """The last spectrum and the last cepstrum, [..., frames, 1 + n_fft // 2] each.

    All layers are real and even, so half of each is enough and the cosine transform of one is
    the inverse transform of a real half-spectrum, up to scale.
    """
    if gammas[0] == 0:
        layer = jnp.log(_raised(power, 0.5, floor=_TINY**2) + _LOG_FLOOR)
    else:
        layer = _raised(power, gammas[0] / 2, floor=_TINY**2)
    found = [layer, layer]
    for index, gamma in enumerate(gammas[1:], start=1):
        # With the imaginary part spelt out, strict promotion has nothing to decide.
        half = lax.complex(layer, jnp.zeros_like(layer))
        layer = jnp.fft.irfft(half, n=n_fft, axis=-1)[..., : n_fft // 2 + 1] * n_fft**0.5
        kept = np.arange(n_fft // 2 + 1) >= cuts[index % 2]
        layer = jnp.where(kept, _raised(layer, gamma), 0.0)
        found[index % 2] = layer
    return found[0], found[1]
