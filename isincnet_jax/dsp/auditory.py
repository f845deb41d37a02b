"""Auditory weights of Fourier bins, designed in float64 NumPy, and what is done with them.

Mel triangles and gammatone responses; then the product of a spectrogram with such weights, and
decibels with a floor.
"""

from __future__ import annotations

import functools
import itertools
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

from isincnet_jax.dsp import checks, scales
from isincnet_jax.dsp.settling import settles
from isincnet_jax.typing import Array

FilterNorm: TypeAlias = Literal["slaney", "l1"] | float | None
Weights = Float[np.ndarray, "filters bins"]

_EAR_Q, _MIN_ERB_HZ = 9.26449, 24.7
_BLOCK_FILTERS = 32
_DENSE_SHARE = 0.7
# Settled, so that the filters kept here do not depend on what a user registers under these names.
_MEL_HTK = scales.ScaleName.settle("mel_htk")
_MEL_SLANEY = scales.ScaleName.settle("mel_slaney")


@settles
def bin_frequencies(sample_rate: float, *, n_fft: int) -> Float[np.ndarray, " bins"]:
    """Frequencies of the bins of an STFT, ``k sample_rate / n_fft`` in Hz.

    Args:
        sample_rate: Hz.
        n_fft: samples per frame.

    Returns:
        float64 [1 + n_fft // 2], Hz.
    """
    return np.arange(1 + n_fft // 2) * (sample_rate / n_fft)


def _edges(filters: int, *, fmin: float, fmax: float, htk: bool) -> Float[np.ndarray, " edges"]:
    if filters < 1 or not 0 <= fmin < fmax:
        raise ValueError(
            f"{filters} filters, fmin={fmin}, fmax={fmax}: use 1 filter or more, 0 <= fmin < fmax"
        )
    scale = _MEL_HTK if htk else _MEL_SLANEY
    first, last = scales.hz_to_scale(np.asarray([fmin, fmax]), scale=scale)
    return scales.scale_to_hz(np.linspace(first, last, filters + 2), scale=scale)


@settles
def mel_frequencies(
    n_mels: int, *, fmin: float, fmax: float, htk: bool = False
) -> Float[np.ndarray, " mels"]:
    """Frequencies in Hz where mel filters peak: equal steps in mel strictly inside the range.

    Args:
        n_mels: filters, 1 or more.
        fmin: lower edge of the first filter, Hz; 0 or more.
        fmax: upper edge of the last one, Hz; above ``fmin``.
        htk: the scale of HTK, logarithmic throughout, for Slaney's.

    Returns:
        float64 [n_mels], Hz.

    Raises:
        ValueError: for no filters or an empty range.
    """
    return _edges(n_mels, fmin=fmin, fmax=fmax, htk=htk)[1:-1]


@settles
@functools.lru_cache(maxsize=32)
def mel_weights(
    sample_rate: float,
    *,
    n_fft: int,
    n_mels: int,
    fmin: float = 0.0,
    fmax: float | None = None,
    htk: bool = False,
    norm: FilterNorm = "slaney",
) -> Weights:
    """Triangles at equal distances on the mel scale, sampled at the bins of an STFT.

    With edges ``e_0 = fmin < e_1 < ... < e_{M+1} = fmax``, equally spaced in mel, filter m is
    ``max(0, min((f - e_m) / (e_{m+1} - e_m), (e_{m+2} - f) / (e_{m+2} - e_{m+1})))``.

    ================  ============================================================
    norm              filter m is divided by
    ================  ============================================================
    "slaney" or 1     ``(e_{m+2} - e_m) / 2``: area 1 in Hz
    "l1"              the sum of its weights
    inf, or p > 0     the maximum, or the p-norm, of its weights
    None              nothing: triangles of height 1
    ================  ============================================================

    Args:
        sample_rate: Hz.
        n_fft: samples per frame.
        n_mels: filters.
        fmin: lower edge of the first filter, Hz.
        fmax: upper edge of the last one, Hz; half the sample rate if None.
        htk: the scale of HTK, logarithmic throughout, for Slaney's.
        norm: a row of the table.

    Returns:
        Float64 [n_mels, 1 + n_fft // 2], read only. A filter narrower than the distance of the
        bins may be all 0.

    Raises:
        ValueError: for an empty range, or an unknown norm.

    References:
        M. Slaney, "Auditory Toolbox", Technical Report 1998-010, Interval Research, 1998.
        Departure: ``norm=1`` means Slaney's, as in nnAudio and librosa before 0.7; librosa's
            numeric 1 is "l1" here.
    """
    fmax = sample_rate / 2 if fmax is None else fmax
    edges = _edges(n_mels, fmin=fmin, fmax=fmax, htk=htk)
    widths = np.diff(edges)[:, None]
    distance = bin_frequencies(sample_rate, n_fft=n_fft) - edges[:, None]
    # (f - e_m) / (e_{m+1} - e_m) and (e_{m+2} - f) / (e_{m+2} - e_{m+1}), [mels, bins]
    rising, falling = distance[:-2] / widths[:-1], -distance[2:] / widths[1:]
    weights = np.maximum(0.0, np.minimum(rising, falling))
    return _frozen(_normalised(weights, norm=norm, widths=(edges[2:] - edges[:-2]) / 2))


@settles
def gammatone_frequencies(
    n_bins: int, *, fmin: float, fmax: float
) -> Float[np.ndarray, " filters"]:
    """Centre frequencies at equal steps in ERBs, from ``fmin``; one more would be at ``fmax``.

    ``f_k + c = (fmin + c) ((fmax + c) / (fmin + c))^(k / n_bins)`` with ``c = 9.26449 * 24.7 Hz``.

    Args:
        n_bins: filters, 1 or more.
        fmin: first centre, Hz; 0 or more.
        fmax: centre of the filter after the last one, Hz.

    Returns:
        float64 [n_bins], Hz.

    Raises:
        ValueError: for no filters or an empty range.
    """
    if n_bins < 1 or not 0 <= fmin < fmax:
        raise ValueError(f"n_bins={n_bins}, fmin={fmin}, fmax={fmax}: use 1 or more, fmin < fmax")
    shift = _EAR_Q * _MIN_ERB_HZ
    steps = np.arange(n_bins) / n_bins
    return (fmin + shift) * ((fmax + shift) / (fmin + shift)) ** steps - shift


@settles
@functools.lru_cache(maxsize=32)
def gammatone_weights(
    sample_rate: float,
    *,
    n_fft: int,
    n_bins: int = 64,
    fmin: float = 20.0,
    fmax: float | None = None,
    norm: FilterNorm | Literal["n_fft"] = "n_fft",
) -> Weights:
    """Magnitude responses of Slaney's digital gammatone filters at the bins of an STFT.

    The filter of fourth order at f has poles ``p, p* = r exp(+-i theta)``, ``theta = 2 pi f / fs``,
    ``r = exp(-2 pi 1.019 ERB / fs)``, ``ERB = f / 9.26449 + 24.7``, each four times, and zeros
    ``z = r (cos theta +- sqrt(3 +- 2^1.5) sin theta)``. At ``u = exp(i omega)`` its response is
    ``|G(u)| = prod |u - z| / (|u - p| |u - p*|)^4``; weights are ``|G(u)|`` divided by their value
    at ``exp(i theta)``.

    Args:
        sample_rate: Hz.
        n_fft: samples per frame.
        n_bins: filters.
        fmin: centre of the first filter, Hz.
        fmax: centre of the filter after the last one, Hz; half the sample rate if None.
        norm: "n_fft" divides by ``n_fft``, as Ellis does; None leaves 1 at the centres; "slaney"
            or 1 divides by ``pi / 2 * 1.019 ERB``, the area in Hz of the ideal filter's response;
            "l1", inf and p as in :func:`mel_weights`.

    Returns:
        Float64 [n_bins, 1 + n_fft // 2], read only.

    Raises:
        ValueError: for an empty range, or an unknown norm.

    References:
        M. Slaney, "An efficient implementation of the Patterson-Holdsworth auditory filter bank",
            Apple Technical Report 35, 1993.
        D. Ellis, "Gammatone-like spectrograms", 2009.
            https://www.ee.columbia.edu/~dpwe/resources/matlab/gammatonegram/
        Departure: nnAudio accepts a norm and ignores it; its weights are those of "n_fft".
    """
    fmax = sample_rate / 2 if fmax is None else fmax
    center_hz = gammatone_frequencies(n_bins, fmin=fmin, fmax=fmax)
    bandwidth_hz = 1.019 * (center_hz / _EAR_Q + _MIN_ERB_HZ)
    theta = 2 * np.pi * center_hz[:, None] / sample_rate
    radius = np.exp(-2 * np.pi * bandwidth_hz[:, None] / sample_rate)
    # The four zeros r (cos theta +- sqrt(3 +- 2^1.5) sin theta), [filters, 1] each.
    spread = [sign * np.sqrt(3 + root * 2**1.5) for sign in (1, -1) for root in (1, -1)]
    zeros = [radius * (np.cos(theta) + one * np.sin(theta)) for one in spread]
    pole = radius * np.exp(1j * theta)

    def response(angle: np.ndarray) -> np.ndarray:
        point = np.exp(1j * angle)
        # |u - p| |u - p*|, once per zero: the poles are fourfold
        resonance = np.abs((point - pole) * (point - pole.conj()))
        return np.prod([np.abs(point - zero) / resonance for zero in zeros], axis=0)

    # |G(exp(i omega_k))| / |G(exp(i theta))|: 1 at the centre of each filter
    weights = response(2 * np.pi * np.arange(1 + n_fft // 2) / n_fft) / response(theta)
    if norm == "n_fft":
        return _frozen(weights / n_fft)
    # The area below |b / (b + i f)|^4, the response of a gammatone of fourth order.
    return _frozen(_normalised(weights, norm=norm, widths=np.pi / 2 * bandwidth_hz))


def _normalised(weights: np.ndarray, *, norm: Any, widths: np.ndarray) -> np.ndarray:
    if norm is None:
        return weights
    if norm == "slaney" or (not isinstance(norm, str) and norm == 1):
        return weights / widths[:, None]
    if isinstance(norm, str) and norm != "l1":
        raise ValueError(f"norm={norm!r} is unknown; use 'slaney', 'l1', None, inf or a number")
    order = 1.0 if norm == "l1" else float(norm)
    if not order > 0:
        raise ValueError(f"norm={norm} must be positive; use inf, 2, 'l1' or 'slaney'")
    # |w_m|_p over bins; a filter that meets no bin stays 0 instead of 0 / 0
    sizes = np.linalg.norm(weights, ord=order, axis=1, keepdims=True)
    return weights / np.where(sizes > 0, sizes, 1.0)


def _frozen(values: np.ndarray) -> np.ndarray:
    values.setflags(write=False)
    return values


def weigh_bins(
    spectrogram: Float[Array, "... frames bins"],
    weights: Weights | Float[jax.Array, "filters bins"],
    *,
    precision: lax.PrecisionLike = lax.Precision.HIGHEST,
) -> Float[jax.Array, "... frames filters"]:
    """Weighted sums over bins, ``y[t, m] = sum_k weights[m, k] x[t, k]``.

    Fixed weights (NumPy) of many filters are split into blocks of filters that leave out the bins
    where all of theirs are 0: a quarter of the products of 128 mel filters.

    Args:
        spectrogram: [..., frames, bins].
        weights: [filters, bins], NumPy if they are fixed.
        precision: of the products on accelerators.

    Returns:
        [..., frames, filters], the dtype of the spectrogram.
    """
    checks.check_floating(spectrogram, "spectrogram", ndim=1)

    def product(values: Any, matrix: Any) -> jax.Array:
        return jnp.matmul(values, jnp.asarray(matrix, values.dtype).T, precision=precision)

    if not isinstance(weights, np.ndarray):
        return product(spectrogram, weights)
    parts = [
        product(spectrogram[..., span], weights[rows, span]) for rows, span in _blocks(weights)
    ]
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis=-1)


def _blocks(weights: Weights) -> list[tuple[slice, slice]]:
    """Rows and columns of blocks that hold all weights but 0; a single one if that hardly pays."""
    filters, bins = weights.shape
    bounds = np.linspace(0, filters, max(filters // _BLOCK_FILTERS, 1) + 1).astype(int)
    blocks = []
    for start, stop in itertools.pairwise(bounds):
        # The bins that some filter of the block weighs; one bin, of weight 0, if there are none.
        used = np.flatnonzero(weights[start:stop].any(axis=0))
        columns = slice(used[0], used[-1] + 1) if used.size else slice(0, 1)
        blocks.append((slice(start, stop), columns))
    # Several small products only pay if they leave out 30 % of the whole one.
    if sum(weights[block].size for block in blocks) > _DENSE_SHARE * weights.size:
        return [(slice(0, filters), slice(0, bins))]
    return blocks


def power_to_db(
    power: Float[Array, "... frames bins"], *, amin: float = 1e-10, top_db: float | None = 80.0
) -> Float[jax.Array, "... frames bins"]:
    """Decibels ``10 log10(max(power, amin))``, not below the loudest of the clip minus ``top_db``.

    The loudest is sought over the last two axes, so that a clip's result does not depend on its
    batch. Gradients are finite everywhere, 0 below ``amin``.

    Args:
        power: [..., frames, bins], not negative.
        amin: the floor, positive.
        top_db: dB, not negative; None for no such floor.

    Returns:
        [..., frames, bins], dB.

    References:
        Departure: librosa.power_to_db seeks the loudest in the whole array, batch and channels.
    """
    power = checks.as_floating(power, "power", ndim=1 if top_db is None else 2)
    level_db = 10.0 * jnp.log10(jnp.maximum(power, amin))
    if top_db is None:
        return level_db
    return jnp.maximum(level_db, jnp.max(level_db, axis=(-2, -1), keepdims=True) - top_db)
