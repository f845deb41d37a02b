"""Combined frequency and periodicity: a pitch salience from a spectrum and its cepstrum.

A harmonic tone has peaks at its fundamental and all multiples of it in a spectrum, and at its
period and all multiples of that in a generalised cepstrum. A pitch that shows in both is neither
an overtone nor a subharmonic, so the product of the two, on one logarithmic frequency axis, has a
peak at the pitch alone.

Layer i of the transform raises the positive part of its input to the power ``gammas[i]``, and a
cosine transform leads from each layer to the next: even layers are spectra, odd layers cepstra.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from isincnet_jax.dsp import batched_fft, centering, checks, fourier
from isincnet_jax.dsp.ranks import match_rank
from isincnet_jax.dsp.settling import settles
from isincnet_jax.spectrograms.dsp import cfp_bands
from isincnet_jax.typing import Waveform

_TINY = 1e-10  # values below have power and derivative 0
_LOG_FLOOR = 1e-8  # added to magnitudes before the logarithm


class CFPFeatures(NamedTuple):
    """Spectrograms of :func:`combined_frequency_periodicity`, [..., frames, bins] each.

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


@settles
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
    (:func:`.cfp_bands.band_weights`) and are multiplied. A first power of 0 stands for
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
        :func:`.cfp_bands.cfp_frequencies`.

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
    waveform = checks.as_waveform(waveform)
    cfp_bands.check_cfp(
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
    n_fft = cfp_bands.cfp_n_fft(sample_rate=sample_rate, frequency_resolution=frequency_resolution)
    design = cfp_bands.design_bands(
        sample_rate=sample_rate,
        n_fft=n_fft,
        win_length=win_length,
        window=window,
        fmin=fmin,
        tc=tc,
        bins_per_octave=bins_per_octave,
    )
    # W_i as the first index that is kept: line fmin / (sample_rate / N) of spectra (even i), lag
    # tc sample_rate of cepstra (odd i).
    cuts = (round(fmin * n_fft / sample_rate), round(tc * sample_rate))
    # The matrices [lines, bands] and [lags, bands] end with the last row that is not 0.
    lines, lags = (jnp.asarray(matrix, waveform.dtype) for matrix in design[1:])

    def banded(values: jax.Array, weights: jax.Array) -> jax.Array:
        return jnp.dot(values[..., : len(weights)], weights, precision=precision)

    def features(frames: jax.Array) -> jax.Array:
        # The window has unit norm, so this is |X|^2 / ||w||^2.
        spectrum = batched_fft.rfft(frames, n_fft)
        power = jnp.real(spectrum) ** 2 + jnp.imag(spectrum) ** 2
        spectral, temporal = _layers(power, n_fft=n_fft, gammas=gammas, cuts=cuts)
        magnitude = _raised(power, 0.5, floor=_TINY**2)
        found = [banded(magnitude, lines), banded(spectral, lines), banded(temporal, lags)]
        return jnp.concatenate(found, axis=-1)  # [..., frames, 3 bands]

    padded = centering.pad_frames(
        waveform,
        frame_length=len(design.window),
        hop_length=hop_length,
        center=center,
        pad_mode=pad_mode,
    )
    # Where a frame lies in its transform is no matter: the phase is dropped.
    found = fourier.map_windowed_frames(
        features,
        padded,
        jnp.asarray(design.window, waveform.dtype),
        hop_length=hop_length,
        frame_samples=n_fft,
    )
    magnitude, spectral, temporal = jnp.split(found, 3, axis=-1)
    return CFPFeatures(spectral * temporal, magnitude, spectral, temporal)


def _raised(values: jax.Array, gamma: float, *, floor: float = _TINY) -> jax.Array:
    """``relu(values)^gamma``, 0 with derivative 0 below the floor, where that of a root grows."""
    if gamma == 1:
        return jax.nn.relu(values)
    audible = values > floor
    # exp and log are vectorised on CPUs, a power is not (measured: 3 times as long).
    logarithm = jnp.log(jnp.where(audible, values, 1.0))
    return jnp.where(audible, jnp.exp(gamma * logarithm), 0.0 * values)  # NaN stays NaN


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
        # (|X|^2)^(gamma / 2) = |X|^gamma, and the floor is squared likewise.
        layer = _raised(power, gammas[0] / 2, floor=_TINY**2)
    found = [layer, layer]
    for index, gamma in enumerate(gammas[1:], start=1):
        # With the imaginary part spelt out, strict promotion has nothing to decide.
        half = lax.complex(layer, jnp.zeros_like(layer))
        # irfft divides by N where C divides by sqrt(N): N / sqrt(N) = sqrt(N).
        layer = batched_fft.irfft(half, n_fft)[..., : n_fft // 2 + 1] * n_fft**0.5
        kept = np.arange(n_fft // 2 + 1) >= cuts[index % 2]
        layer = jnp.where(match_rank(kept, layer), _raised(layer, gamma), 0.0)
        found[index % 2] = layer
    return found[0], found[1]
