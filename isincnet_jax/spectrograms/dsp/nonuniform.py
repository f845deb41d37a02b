"""Nonuniform Fourier transform of frames: bases at any frequencies, as kernels and by an FFT.

``X[t, k] = sum_n w[n] x[t hop + n] exp(-2 pi i f_k n / sample_rate)``: a short-time transform whose
frequencies f_k need not be multiples of anything. The direct sum takes one product per sample and
frequency; a frame that is divided by the spectrum of a short bell, transformed at one and a half
times its length and interpolated with that bell has the same values to 1e-6 for a fiftieth of the
products.

References:
    A. Dutt and V. Rokhlin, "Fast Fourier transforms for nonequispaced data", SIAM J. Scientific
        Computing 14, 1993. https://doi.org/10.1137/0914081
    J. Keiner, S. Kunis and D. Potts, "Using NFFT 3", ACM Trans. Mathematical Software 36, 2009,
        section 2 and appendix (the Kaiser-Bessel bell). https://doi.org/10.1145/1555386.1555388
"""

from __future__ import annotations

import functools
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft
import scipy.special
from jax import lax
from jaxtyping import Complex, Float

from isincnet_jax.dsp import batched_fft
from isincnet_jax.dsp.ranks import match_rank
from isincnet_jax.dsp.settling import settles
from isincnet_jax.typing import Array

_FREQUENCY_SCALES = ("none", "linear", "log", "log2")

# Half as many samples again cost a quarter less time than twice as many, with a wider bell.
_OVERSAMPLING = 3 / 2
_BELL_BINS = 12  # FFT bins that the bell spans, and so the products per frequency
_MOST_GROUPS, _GROUP_BINS = 16, 16  # matrices of interpolation, and the fewest bins of each


@settles
def fourier_frequencies(
    *,
    n_fft: int,
    freq_bins: int | None,
    freq_scale: str,
    fmin: float,
    fmax: float,
    sample_rate: float,
) -> Float[np.ndarray, " bins"]:
    """Frequencies in Hz of a Fourier basis.

    ========================  =============================================================
    scale                     frequency of bin k of B
    ========================  =============================================================
    "none"                    ``k sample_rate / n_fft``: multiples, the bins of an FFT
    "linear"                  ``fmin + k (fmax - fmin) / B``
    "log", "log2"             ``fmin (fmax / fmin)^(k / B)``; two names of one progression
    ========================  =============================================================

    Args:
        n_fft: samples per frame.
        freq_bins: B, ``n_fft // 2 + 1`` if None.
        freq_scale: a name of the table.
        fmin: Hz, the first frequency; without effect for "none".
        fmax: Hz, one step above the last frequency; without effect for "none".
        sample_rate: Hz.

    Returns:
        Hz, float64 [bins], increasing.

    Raises:
        ValueError: for an unknown scale, a band outside 0 to half the sample rate, a logarithm
            from 0, or more multiples than a frame has.
    """
    if freq_scale not in _FREQUENCY_SCALES:
        raise ValueError(
            f"freq_scale={freq_scale!r} is unknown; use one of {', '.join(_FREQUENCY_SCALES)}"
        )
    most = n_fft // 2 + 1
    bins = most if freq_bins is None else freq_bins
    if bins < 1 or (freq_scale == "none" and bins > most):
        raise ValueError(
            f"freq_bins={bins}: n_fft={n_fft} has 1 to {most} bins; use another freq_scale for more"
        )
    steps = np.arange(bins)
    if freq_scale == "none":
        return steps * (sample_rate / n_fft)
    if not 0 <= fmin < fmax <= sample_rate / 2:
        raise ValueError(
            f"fmin={fmin}, fmax={fmax}: 0 <= fmin < fmax <= {sample_rate / 2:g} must hold (half "
            f"of sample_rate={sample_rate})"
        )
    if freq_scale == "linear":
        return fmin + steps * ((fmax - fmin) / bins)
    if fmin == 0:
        raise ValueError(f"fmin={fmin}: a logarithmic scale has no 0 Hz; use fmin > 0, say 50")
    return fmin * (fmax / fmin) ** (steps / bins)


@settles
def fourier_kernels(
    frequencies: Float[np.ndarray, " bins"], *, n_fft: int, sample_rate: float
) -> Complex[np.ndarray, "bins n_fft"]:
    """Fourier kernels ``exp(-2 pi i f n / sample_rate)``, without a window.

    Args:
        frequencies: f, Hz, [bins].
        n_fft: samples per frame; n runs from 0 to ``n_fft - 1``.
        sample_rate: Hz.

    Returns:
        Complex128 [bins, n_fft].
    """
    cycles = np.outer(np.asarray(frequencies, float) / sample_rate, np.arange(n_fft))
    # Whole cycles are taken off first: the sine of a large angle loses digits.
    return np.exp(-2j * np.pi * (cycles % 1.0))


class _Group(NamedTuple):
    """Neighbouring output bins: they read FFT bins start to stop by two matrices [read, bins]."""

    start: int
    stop: int
    real: np.ndarray
    imag: np.ndarray


class Interpolation(NamedTuple):
    """Interpolation tables: how spectra at arbitrary frequencies come from one longer FFT.

    Attributes:
        length: samples of the FFT, even.
        taper: weights of the frame's samples, float64 [n_fft].
        groups: ranges of FFT bins with the matrices [read, bins] that interpolate them.
        order: position of every frequency in the groups' outputs.
        turns: ``exp(-2 pi i f c / sample_rate)``, c the middle of the frame; complex128 [bins].
    """

    length: int
    taper: np.ndarray
    groups: tuple[_Group, ...]
    order: np.ndarray
    turns: np.ndarray


def design_interpolation(
    frequencies: Float[np.ndarray, " bins"], *, n_fft: int, sample_rate: float
) -> Interpolation:
    """Interpolation from one FFT to frequencies between 0 and half the sample rate; cached.

    Args:
        frequencies: Hz, [bins], in any order.
        n_fft: samples per frame.
        sample_rate: Hz.

    Returns:
        Tables in float64 for :func:`interpolated_spectra`.
    """
    return _design_interpolation(tuple(np.asarray(frequencies, float)), n_fft, sample_rate)


@functools.lru_cache(maxsize=16)
def _design_interpolation(
    frequencies: tuple[float, ...], n_fft: int, sample_rate: float
) -> Interpolation:
    in_hz = np.asarray(frequencies)
    # The FFT has an even fast length M of at least 3/2 n_fft, and more bins than the bell is wide.
    length = max(int(_OVERSAMPLING * n_fft), 2 * _BELL_BINS + 2)
    length = 2 * cast(int, scipy.fft.next_fast_len(-(-length // 2), real=True))
    # With beta = pi B (1 - n_fft / (2 M)) the main lobe of the bell's transform ends at sample
    # M - n_fft / 2, where the first alias of the frame begins; 0.995 is a margin.
    beta = np.pi * _BELL_BINS * (1.0 - n_fft / (2.0 * length)) * 0.995
    # The transform of i0(beta sqrt(1 - (2 u / B)^2)) at sample n of M is B sinh(r) / r with
    # r = sqrt(beta^2 - (pi B n / M)^2); the taper divides the frame by it.
    offsets = np.arange(n_fft) - n_fft // 2
    root = np.sqrt(np.maximum(beta**2 - (np.pi * _BELL_BINS * offsets / length) ** 2, 1e-12))
    taper = root / (_BELL_BINS * np.sinh(root))
    # i0 grows as exp(beta), sinh(r) likewise: both are scaled down by it.
    scale = np.exp(beta)
    places = in_hz / sample_rate * length  # in bins of the FFT
    order = np.argsort(places, kind="stable")
    groups = []
    count = min(_MOST_GROUPS, -(-len(order) // _GROUP_BINS))
    for members in np.array_split(order, count):
        groups.append(_interpolation_group(places[members], length, beta, scale))
    turns = np.exp(-2j * np.pi * (in_hz / sample_rate * (n_fft // 2) % 1.0))
    return Interpolation(length, taper * scale, tuple(groups), np.argsort(order), turns)


def _interpolation_group(places: np.ndarray, length: int, beta: float, scale: float) -> _Group:
    first = int(np.ceil(places.min() - _BELL_BINS / 2))
    last = int(np.floor(places.max() + _BELL_BINS / 2))
    read = np.arange(first, last + 1)
    distance = np.abs(read[:, None] - places) * (2.0 / _BELL_BINS)
    inside = distance < 1.0
    root = np.sqrt(np.where(inside, 1.0 - distance**2, 0.0))
    bell = np.where(inside, scipy.special.i0(beta * root), 0.0) / scale
    # A real signal's spectrum continues as its own mirror image, conjugated.
    nyquist = length // 2
    mirrored = (read < 0) | (read > nyquist)
    source = np.where(read < 0, -read, np.where(read > nyquist, length - read, read))
    start, stop = int(source.min()), int(source.max()) + 1
    real, imag = np.zeros((2, stop - start, len(places)))
    np.add.at(real, source - start, bell)
    np.add.at(imag, source - start, np.where(mirrored[:, None], -bell, bell))
    return _Group(start, stop, real, imag)


def interpolated_spectra(
    frames: Float[Array, "... frames n_fft"],
    interpolation: Interpolation,
    *,
    precision: lax.PrecisionLike = lax.Precision.HIGHEST,
) -> tuple[jax.Array, jax.Array]:
    """Spectra at the frequencies of a design, real and imaginary parts, up to the turns of phase.

    ``sum_n frames[n] exp(-2 pi i f (n - n_fft // 2) / sample_rate)``: multiplied by the design's
    ``turns`` it is the transform of the module's first paragraph.

    Args:
        frames: windowed, [..., frames, n_fft].
        interpolation: of :func:`design_interpolation`.
        precision: of the products on accelerators.

    Returns:
        Two arrays [..., frames, bins].
    """
    dtype = frames.dtype
    n_fft = frames.shape[-1]
    weighted = frames * match_rank(jnp.asarray(interpolation.taper, dtype), frames)
    # The middle of the frame becomes sample 0 of the transform: its bell is real there.
    spread = interpolation.length - n_fft
    keep = [(0, 0)] * (frames.ndim - 1)
    middle = n_fft // 2
    turned = jnp.concatenate(
        [
            weighted[..., middle:],
            jnp.pad(weighted[..., :middle], [*keep, (spread, 0)]),
        ],
        axis=-1,
    )
    spectrum = batched_fft.rfft(turned)
    # X(f_k) = sum_j bell(j - f_k M / sample_rate) F[j]: real matrices, so that real and imaginary
    # parts go each by themselves; mirrored bins count negative in the imaginary one.
    parts = []
    for values, name in ((jnp.real(spectrum), "real"), (jnp.imag(spectrum), "imag")):
        outputs = [
            jnp.matmul(
                values[..., group.start : group.stop],
                jnp.asarray(getattr(group, name), dtype),
                precision=precision,
            )
            for group in interpolation.groups
        ]
        part = jnp.concatenate(outputs, axis=-1)  # frequencies ascending
        if not np.array_equal(interpolation.order, np.arange(len(interpolation.order))):
            part = part[..., interpolation.order]
        parts.append(part)
    return parts[0], parts[1]


def turn(
    real: jax.Array, imag: jax.Array, turns: Complex[np.ndarray, " bins"]
) -> tuple[jax.Array, jax.Array]:
    """Phase rotation of spectra, ``(real + i imag) turns``.

    Args:
        real: real parts, [..., frames, bins].
        imag: imaginary parts, likewise.
        turns: fixed numbers of modulus 1, complex [bins].

    Returns:
        Real and imaginary parts of the products, [..., frames, bins] each.
    """
    cosine, sine = (
        match_rank(jnp.asarray(part, real.dtype), real) for part in (np.real(turns), np.imag(turns))
    )
    return real * cosine - imag * sine, real * sine + imag * cosine
