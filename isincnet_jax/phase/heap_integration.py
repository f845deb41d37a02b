"""Phase gradient heap integration: a phase from a magnitude alone, without iterations.

For a Gaussian window ``exp(-pi t^2 / gamma)`` the logarithm of the STFT is analytic up to a known
factor, so that the derivatives of the phase are those of the log magnitude, crosswise. Other
windows are close to a Gaussian. The phase is integrated from the largest coefficient outwards,
always along the largest one that is left. It runs on the host, in NumPy, compiled by numba where
that is installed (librosa brings it along).

References:
    Z. Prusa, P. Balazs and P. Sondergaard, "A noniterative method for reconstruction of phase from
        STFT magnitude", IEEE/ACM Trans. Audio, Speech and Language Processing 25, 2017.
        https://doi.org/10.1109/TASLP.2017.2678166
"""

from __future__ import annotations

import functools
import heapq
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from isincnet_jax.dsp import checks
from isincnet_jax.dsp.settling import settles
from isincnet_jax.typing import Array

WINDOW_GAMMA = {"hann": 0.25645, "hamming": 0.29794, "blackman": 0.17954}
"""gamma of the nearest Gaussian over the squared window length (Prusa et al. 2017)."""


def window_gamma(window: str, win_length: int) -> float:
    """Window parameter gamma of the Gaussian ``exp(-pi t^2 / gamma)`` nearest to a window.

    A Gaussian window of standard deviation sigma has ``gamma = 2 pi sigma^2`` itself.

    Args:
        window: "hann", "hamming" or "blackman".
        win_length: samples of the window.

    Returns:
        Samples squared.

    Raises:
        ValueError: for another window.

    Example:
        >>> window_gamma("hann", 1000)
        256450.0
    """
    if window not in WINDOW_GAMMA:
        raise ValueError(
            f"window={window!r} has no entry; use one of {', '.join(WINDOW_GAMMA)}, or pass the "
            "gamma of a Gaussian that is near to it"
        )
    return WINDOW_GAMMA[window] * win_length**2


@settles
def phase_gradient_heap_integration(
    magnitude: Float[Array, "... frames bins"],
    *,
    n_fft: int,
    hop_length: int,
    gamma: float,
    key: jax.Array,
    tolerance: float = 1e-6,
) -> Float[np.ndarray, "... frames bins"]:
    """Phase of :func:`.fourier.stft` from its magnitude.

    With ``s = log m``, frames t and bins k::

        dphi/dt = 2 pi hop k / n_fft + (n_fft hop / gamma) ds/dk
        dphi/dk = -gamma / (n_fft hop) ds/dt - 2 pi (n_fft // 2) / n_fft

    (the last term because our frames count from their first sample), with central differences,
    integrated by the trapezoidal rule. Each connected island of coefficients above the tolerance
    starts at its maximum with phase 0; all others have a random phase.

    Args:
        magnitude: [..., frames, bins], not negative; each clip on its own.
        n_fft: samples per frame; ``bins`` are ``1 + n_fft // 2``.
        hop_length: samples between frames; an eighth of the window or less is best.
        gamma: of the window in samples squared, see :func:`window_gamma`.
        key: PRNG key of the random phases.
        tolerance: relative to the largest magnitude of the clip.

    Returns:
        Radians, float64, not wrapped, in the shape of the magnitude.

    Raises:
        ValueError: if the bins are not those of ``n_fft``, for fewer than 2 frames, or for a gamma
            or a tolerance out of range.
    """
    checks.check_floating(magnitude, "magnitude", ndim=2)
    values = np.asarray(magnitude, np.float64)
    _check(values, n_fft=n_fft, gamma=gamma, tolerance=tolerance)
    phase = np.asarray(jax.random.uniform(key, values.shape, np.float32), np.float64) * 2 * np.pi
    clips = values.reshape((-1, *values.shape[-2:]))
    phases = phase.reshape(clips.shape)
    bins = np.arange(values.shape[-1])
    for clip, found in zip(clips, phases, strict=True):
        top = clip.max()
        if top == 0:
            continue
        # Far below the tolerance, so that no gradient meets an infinity.
        level = np.log(np.maximum(clip / top, tolerance * 1e-4))
        # ds/dt per frame and ds/dk per bin, [frames, bins] each
        by_frame, by_bin = np.gradient(level)
        per_frame = 2 * np.pi * hop_length / n_fft * bins + n_fft * hop_length / gamma * by_bin
        per_bin = -gamma / (n_fft * hop_length) * by_frame - 2 * np.pi * (n_fft // 2) / n_fft
        _integrator()(level, per_frame, per_bin, found, np.log(tolerance))
    return phase


def _check(values: np.ndarray, *, n_fft: int, gamma: float, tolerance: float) -> None:
    frames, bins = values.shape[-2:]
    if bins != 1 + n_fft // 2:
        raise ValueError(f"{bins} bins: n_fft={n_fft} has {1 + n_fft // 2}; give its magnitudes")
    if frames < 2 or bins < 2:
        raise ValueError(f"frames={frames}, bins={bins}: a gradient needs 2 of each; give more")
    if gamma <= 0:
        raise ValueError(f"gamma={gamma} must be positive; see window_gamma")
    if not 0 < tolerance <= 1:
        raise ValueError(f"tolerance={tolerance} must be above 0 and at most 1, say 1e-6")


def integrate(
    level: np.ndarray,
    per_frame: np.ndarray,
    per_bin: np.ndarray,
    phase: np.ndarray,
    threshold: float,
) -> None:
    """Heap integration of gradients into ``phase`` where ``level >= threshold``, the largest first.

    Written in what numba can compile; the heap holds (-level, index).

    Args:
        level: [frames, bins], what decides on the order.
        per_frame: derivative of the phase along frames.
        per_bin: derivative along bins.
        phase: overwritten where the level suffices.
        threshold: least level.
    """
    frames, bins = level.shape
    done = level < threshold
    # Each maximum that no path has reached begins an island; ties keep their order.
    for start in np.argsort(-level.ravel(), kind="mergesort"):
        frame, column = start // bins, start % bins
        if done[frame, column]:
            continue
        phase[frame, column] = 0.0
        done[frame, column] = True
        heap = [(-level[frame, column], frame * bins + column)]
        while len(heap) > 0:
            index = heapq.heappop(heap)[1]
            frame, column = index // bins, index % bins
            for step_t, step_k in ((1, 0), (-1, 0), (0, 1), (0, -1)):
                t, k = frame + step_t, column + step_k
                if t < 0 or t >= frames or k < 0 or k >= bins or done[t, k]:
                    continue
                # trapezoidal rule: phi' = phi + sign (g + g') / 2
                slope = step_t * (per_frame[frame, column] + per_frame[t, k])
                slope += step_k * (per_bin[frame, column] + per_bin[t, k])
                phase[t, k] = phase[frame, column] + 0.5 * slope
                done[t, k] = True
                heapq.heappush(heap, (-level[t, k], t * bins + k))


@functools.lru_cache(maxsize=1)
def _integrator() -> Callable[..., Any]:
    """:func:`integrate`, compiled if numba is there; nothing is written to disk."""
    try:
        import numba  # noqa: PLC0415  (a second to import, needed here only)
    except ImportError:
        return integrate
    return numba.njit(cache=False)(integrate)
