"""Frequency bands of an invertible filterbank: centres, widths and spectral windows.

``n_bins`` constant-Q bands with centres ``f_b = fmin 2^(b / bins_per_octave)``, or with a number
of their own in every octave (:mod:`.octave_bands`), or bands on any scale (:mod:`.scale_bands`),
together with extra bands that reach down to 0 Hz and up to the Nyquist frequency where they do not,
cover the whole spectrum, so that the transform can be inverted. All is a function of frequency
alone: neither shapes nor frame bounds depend on the length of the clip
(:mod:`.nonstationary_gabor` samples them).

========================  ====================================================================
band                      spectral window
========================  ====================================================================
constant-Q band b         symmetric around f_b, half width ``w_b = alpha f_b + gamma`` with
                          ``alpha = (r - 1 / r) / 2``, ``r = 2^(1 / bins_per_octave)``: with
                          gamma = 0 it ends near the centres of its neighbours
band on a scale           between the centres of its neighbours, with two slopes of its own
extra bands below, above  linearly spaced from 0 Hz to the first centre, and from the last one to
                          Nyquist (gamma further inside), as few as the frame rate allows, which
                          no band's support exceeds; flat where the neighbour is narrower. The
                          first (0 Hz) and the last (Nyquist) are symmetric: real coefficients
========================  ====================================================================

Windows are weighted by ``sqrt(spacing / w_b)``: with gamma > 0 low bands are broader than their
distance and overlap many-fold, and without that weight they would count many-fold too.

References:
    P. Balazs, M. Doerfler, F. Jaillet, N. Holighaus and G. Velasco, "Theory, implementation and
        applications of nonstationary Gabor frames", J. Comput. Appl. Math. 236, 2011, section 4.
        https://doi.org/10.1016/j.cam.2011.09.011
    G. Velasco, N. Holighaus, M. Doerfler and T. Grill, "Constructing an invertible constant-Q
        transform with nonstationary Gabor frames", DAFx 2011, section 3.
    C. Schoerkhuber, A. Klapuri, N. Holighaus and M. Doerfler, "A Matlab toolbox for efficient
        perfect reconstruction time-frequency transforms with log-frequency resolution",
        AES 53rd Conference on Semantic Audio, 2014, section 3 (variable Q).

Departure: Velasco et al. round centres and widths to bins of the clip's DFT and give all
frequencies below the first and above the last centre to one band each. Here windows are sampled
where the DFT's bins happen to lie, and the rest is shared out among narrow bands, without which
the matrix layout would need the frame rate of the broadest. Gamma adds to the half width w_b, and
so means what it means in :func:`librosa.vqt`.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from isincnet_jax.constant_q.dsp.gabor_spec import WINDOWS, BandSpec


class Bands(NamedTuple):
    """Frequency bands of a :class:`BandSpec`, by increasing centre; float64 [bands], Hz.

    Attributes:
        center: centres; the first is 0, the last the Nyquist frequency.
        width: half widths, half of the support.
        lower: where the window begins; may be negative, where the spectrum is mirrored.
        upper: where the window ends; may exceed the Nyquist frequency.
        rise: width of the rising slope.
        fall: width of the falling slope; between the slopes the window is flat.
        gain: height of the window, without unit.
        placed: the slice of bands that the settings place; the others are extra.
    """

    center: Float[np.ndarray, " bands"]
    width: Float[np.ndarray, " bands"]
    lower: Float[np.ndarray, " bands"]
    upper: Float[np.ndarray, " bands"]
    rise: Float[np.ndarray, " bands"]
    fall: Float[np.ndarray, " bands"]
    gain: Float[np.ndarray, " bands"]
    placed: slice


@functools.lru_cache(maxsize=64)
def design_bands(spec: BandSpec) -> Bands:
    """Frequency bands of a transform, the extra ones included; see the module's table. Cached.

    Args:
        spec: settings, checked at construction.

    Returns:
        The bands, from 0 Hz to the Nyquist frequency.

    Example:
        >>> from isincnet_jax.constant_q.dsp.gabor_spec import GaborSpec
        >>> bands = design_bands(GaborSpec(n_bins=None))
        >>> len(bands.center), bands.placed, bands.center[[0, 1, -1]].tolist()
        (103, slice(1, 101, None), [0.0, 32.7, 11025.0])
    """
    placed, nyquist = spec.placed_bands, spec.sample_rate / 2
    inside_below, inside_above = placed.margin
    below = _extra_bands(placed.center[0], inside_below, placed.lower[0], spec.frame_rate)
    above = _extra_bands(
        nyquist - placed.center[-1], inside_above, nyquist - placed.upper[-1], spec.frame_rate
    )
    # Distances from Nyquist become frequencies, in increasing order; the slope towards Nyquist is
    # the falling one.
    above = above._replace(
        center=nyquist - above.center[::-1],
        width=above.width[::-1],
        inner=above.outer[::-1],
        outer=above.inner[::-1],
        gain=above.gain[::-1],
    )
    return Bands(
        center=np.concatenate([below.center, placed.center, above.center]),
        width=np.concatenate([below.width, placed.width, above.width]),
        lower=np.concatenate(
            [below.center - below.width, placed.lower, above.center - above.width]
        ),
        upper=np.concatenate(
            [below.center + below.width, placed.upper, above.center + above.width]
        ),
        rise=np.concatenate([below.inner, placed.rise, above.inner]),
        fall=np.concatenate([below.outer, placed.fall, above.outer]),
        gain=np.concatenate([below.gain, placed.gain, above.gain]),
        placed=slice(len(below.center), len(below.center) + len(placed.center)),
    )


class _Extra(NamedTuple):
    """Extra bands by their distance from 0 Hz (or Nyquist): slopes towards it, and away."""

    center: np.ndarray
    width: np.ndarray
    inner: np.ndarray
    outer: np.ndarray
    gain: np.ndarray


def _extra_bands(first: float, margin: float, flat_until: float, broadest: float) -> _Extra:
    """Bands that cover 0 to ``first + margin``, none if the first band that is placed is at 0.

    The last of them begins to fall at ``flat_until``, if it can.
    """
    if first == 0:
        return _Extra(*[np.zeros(0)] * 5)
    end = first + margin
    # Bands are spaced by their half width, and their supports, 2 step, are at most ``broadest``.
    count = math.ceil(2 * end / broadest - 1e-9)
    step = end / count
    width = np.full(count, step)
    inner, outer, gain = width.copy(), width.copy(), np.ones(count)
    outer[-1] = min(step, end - flat_until)
    # The band around 0 is symmetric, and counts once where the others count with their mirror.
    inner[0], gain[0] = outer[0], math.sqrt(0.5)
    return _Extra(np.arange(count) * step, width, inner, outer, gain)


def _window_slope(window: str, position: np.ndarray) -> np.ndarray:
    """A window by the distance from its middle: 1 at 0, falling to (nearly) 0 at 1."""
    angle = np.pi * np.clip(position, 0.0, 1.0)
    if window == "cosine":
        return np.cos(angle / 2)
    return np.sum([a * np.cos(k * angle) for k, a in enumerate(WINDOWS[window])], axis=0)


def sample_windows(
    spec: BandSpec, band: Int[np.ndarray, " n"], frequency: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """Spectral windows ``h_b(f)`` at pairs of a band and a frequency, before any tightening.

    Args:
        spec: settings of the bands.
        band: indices b of bands, [n].
        frequency: f in Hz, one for each band, [n]; any sign.

    Returns:
        Float64 [n], 0 outside of a band's support.
    """
    bands = design_bands(spec)
    # Places on the slopes, 0 at their tops and 1 at their feet; negative on the flat part, whose
    # larger one counts.
    below = (bands.lower[band] + bands.rise[band] - frequency) / bands.rise[band]
    above = (frequency - bands.upper[band] + bands.fall[band]) / bands.fall[band]
    inside = (frequency > bands.lower[band]) & (frequency < bands.upper[band])
    slope = _window_slope(spec.window, np.maximum(below, above))
    return np.where(inside, bands.gain[band] * slope, 0.0)


def _frame_operator(spec: BandSpec, frequency: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """The diagonal of the frame operator at frequencies of [0, Nyquist], before tightening.

    ``S(f) = sum_b h_b(f)^2 + h_b(-f)^2 + h_b(sample_rate - f)^2``: a real signal meets every
    window and its mirror image.
    """
    bands = design_bands(spec)
    total = np.zeros(len(frequency))
    for images in (frequency, -frequency, spec.sample_rate - frequency):
        for band in range(len(bands.center)):
            inside = np.flatnonzero((images > bands.lower[band]) & (images < bands.upper[band]))
            chosen = np.full(len(inside), band)
            total[inside] += sample_windows(spec, chosen, images[inside]) ** 2
    return total


def band_scales(
    spec: BandSpec, hop_length: Int[np.ndarray, " bands"]
) -> Float[np.ndarray, " bands"]:
    """Scale factors of the bands: what energy-normalised coefficients are multiplied with.

    A sinusoid of amplitude a at the centre has energy-normalised coefficients of magnitude
    ``a h_b(f_b) sqrt(hop / 2)``; at 0 Hz and Nyquist, where it has no mirror image, twice that.

    Args:
        spec: settings of the bands, ``normalization`` among them.
        hop_length: samples between the frames of each band, [bands].

    Returns:
        Float64 [bands]; 1 for "energy".
    """
    if spec.normalization == "energy":
        return np.ones(len(hop_length))
    bands = design_bands(spec)
    peak = sample_windows(spec, np.arange(len(bands.center)), bands.center)
    if spec.tight:
        peak = peak / np.sqrt(_frame_operator(spec, bands.center))
    peak[[0, -1]] *= 2
    scale = np.sqrt(2 / hop_length) / peak
    if spec.normalization == "librosa":
        scale *= np.sqrt(spec.sample_rate / bands.width) / 2
    return scale


@functools.lru_cache(maxsize=64)
def narrowest_support(spec: BandSpec) -> float:
    """Support of the narrowest band.

    Args:
        spec: settings of the bands.

    Returns:
        Hz, twice the least half width.
    """
    return float(np.min(2 * design_bands(spec).width))
