"""Bands on a frequency scale, or of any centres: each reaches from one neighbour to the other.

With bands at increasing centres ``f_b``, band b begins at ``f_(b-1)``, rises to ``f_b`` and falls
to ``f_(b+1)``: the slopes of two neighbours share the whole way between them, however far that is,
so that two windows overlap everywhere. Hann slopes sum to 1 there, and the frame has bounds 1/2 and
1; of "cosine" slopes the squares do, and the frame is tight. A band that lies on 0 Hz or Nyquist is
its own mirror image. Where there is none, extra bands (:mod:`.gabor_bands`) cover the rest, and
their neighbour's slope towards them is as wide as the one away from them.

Bands that are given widths of their own are symmetric instead, weighted by ``sqrt(spacing /
width)``, and may be several deep.

References:
    P. Balazs, M. Doerfler, F. Jaillet, N. Holighaus and G. Velasco, "Theory, implementation and
        applications of nonstationary Gabor frames", J. Comput. Appl. Math. 236, 2011, section 4.
        https://doi.org/10.1016/j.cam.2011.09.011
    T. Necciari, N. Holighaus, P. Balazs, Z. Prusa, P. Majdak and O. Derrien, "Audlet filter banks:
        A versatile analysis/synthesis framework using auditory frequency scales", Applied
        Sciences 8, 2018. https://doi.org/10.3390/app8010096

Departure: Necciari et al. give bands a bandwidth by the scale, symmetric around the centre. Here
the ends of a band are its neighbours' centres, which fits any centres.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from isincnet_jax.constant_q.dsp.octave_bands import PlacedBands
from isincnet_jax.dsp import scales

LOWEST_LOG_HZ = 32.703
"""C1, where a log scale begins unless told otherwise."""


def scale_centers(
    num_bins: int, *, scale: str, min_hz: float, max_hz: float
) -> Float[np.ndarray, " bins"]:
    """Centre frequencies at equal distances on a scale, the ends exactly as given.

    Args:
        num_bins: centres, at least 2.
        scale: a name in :data:`.scales.SCALES`.
        min_hz: first centre in Hz; positive on a log scale.
        max_hz: last centre in Hz.

    Returns:
        Float64 [bins], Hz.

    Raises:
        ValueError: for fewer than 2 bins, an unknown scale, or an empty or impossible range.

    Example:
        >>> scale_centers(4, scale="mel", min_hz=0.0, max_hz=8000.0).round(1).tolist()
        [0.0, 1005.6, 2836.4, 8000.0]
    """
    center, _ = scales.centers_and_bandwidths(num_bins, scale=scale, min_hz=min_hz, max_hz=max_hz)
    center[[0, -1]] = min_hz, max_hz  # to_hz(from_hz(f)) is f but for rounding
    return center


def place_centers(
    center: Float[np.ndarray, " bands"],
    width: Float[np.ndarray, " bands"] | None = None,
    *,
    nyquist: float,
) -> PlacedBands:
    """Bands of given centres.

    Args:
        center: increasing, two or more from 0 to Nyquist, [bands] Hz.
        width: half of the support of every band, [bands] Hz; None: up to the neighbours' centres.
        nyquist: half the sample rate, Hz.

    Returns:
        The bands.

    Example:
        >>> bands = place_centers(np.array([0.0, 10.0, 40.0, 50.0]), nyquist=100.0)
        >>> bands.lower.tolist(), bands.upper.tolist()
        ([-10.0, 0.0, 10.0, 40.0], [10.0, 40.0, 50.0, 60.0])
    """
    distance = np.diff(center)
    # Towards extra bands: as to the other side. At 0 Hz and Nyquist: the mirror image.
    low = distance[0] if center[0] == 0 else min(center[0], distance[0])
    high = distance[-1] if center[-1] == nyquist else min(nyquist - center[-1], distance[-1])
    rise, fall = np.concatenate([[low], distance]), np.concatenate([distance, [high]])
    spacing = (rise + fall) / 2
    if width is not None:
        rise = fall = width
    gain = np.sqrt(2 * spacing / (rise + fall))
    # Bands on 0 Hz and Nyquist meet their mirror images, and count twice.
    gain[[0, -1]] *= np.where([center[0] == 0, center[-1] == nyquist], np.sqrt(0.5), 1.0)
    half = (rise + fall) / 2
    excess = np.maximum(half - spacing, 0.0)
    return PlacedBands(
        center=center,
        spacing=spacing,
        width=half,
        lower=center - rise,
        upper=center + fall,
        rise=rise,
        fall=fall,
        gain=gain,
        margin=(float(excess[0]), float(excess[-1])),
    )
