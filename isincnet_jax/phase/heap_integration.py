"""Heap integration: phases along the best path to every coefficient, without iterations.

For a Gaussian window ``exp(-pi t^2 / gamma)`` the logarithm of the STFT is analytic up to a known
factor, so that the derivatives of the phase are those of the log magnitude, crosswise. Other
windows are close to a Gaussian. The phase is integrated from the largest coefficient outwards,
always along the largest one that is left (:func:`phase_gradient_heap_integration`), or along the
step that is the surest (:func:`edge_heap_integration`: a maximum spanning tree, grown from one
root as by Prim). It runs on the host, in NumPy, compiled by numba where that is installed (librosa
brings it along).

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
from jaxtyping import Complex, Float

from isincnet_jax.dsp import checks
from isincnet_jax.dsp.settling import settles
from isincnet_jax.phase.beliefs import PhaseBeliefs
from isincnet_jax.typing import Array

WINDOW_GAMMA = {"hann": 0.25645, "hamming": 0.29794, "blackman": 0.17954}
"""gamma of the nearest Gaussian over the squared window length (Prusa et al. 2017)."""

_TRACED = "use sweeps.swept_phase or propagation.propagated_phase there"


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
    values = checks.on_host(magnitude, "magnitude", instead=_TRACED).astype(np.float64)
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
        # Trapezoidal rule: a step is the mean of the slopes at its two ends.
        per_frame[1:] = 0.5 * (per_frame[1:] + per_frame[:-1])
        per_bin[:, 1:] = 0.5 * (per_bin[:, 1:] + per_bin[:, :-1])
        _integrator()(level, (per_frame, per_bin), found, np.log(tolerance))
    return phase


def edge_heap_integration(
    steps: PhaseBeliefs,
) -> Complex[np.ndarray, "... frames bins"]:
    """Phase directions ``exp(i phase)`` along the surest steps: heap integration by edge weight.

    Of all trees of steps that reach every coefficient, it integrates along the one with the largest
    weights: no step is used where a surer way round exists.

    Args:
        steps: complex [..., frames, bins]: directions of the steps, moduli their weights, such as
            :func:`.sweeps.weighted_steps` of beliefs; each clip on its own.

    Returns:
        In the dtype and shape of the steps, of modulus 1; 1 where the surest step ends. Frames are
        centred, if those of the steps are.

    Raises:
        ValueError: for steps along frames and bins of different shapes, or that are not finite.

    References:
        R. C. Prim, "Shortest connection networks and some generalizations", Bell System Technical
            Journal 36, 1957 (the tree). https://doi.org/10.1002/j.1538-7305.1957.tb01515.x

    Example:
        >>> plane = np.exp(1j * (0.3 * np.arange(4)[:, None] + 0.5 * np.arange(3)))
        >>> steps = PhaseBeliefs(np.full((4, 3), np.exp(0.3j)), np.full((4, 3), np.exp(0.5j)))
        >>> found = edge_heap_integration(steps)
        >>> bool(np.allclose(found / plane, found[0, 0] / plane[0, 0]))
        True
    """
    per_frame, per_bin = (checks.on_host(part, "steps", instead=_TRACED) for part in steps)
    if per_frame.shape != per_bin.shape or per_frame.ndim < 2:
        raise ValueError(
            f"steps of shapes {per_frame.shape} and {per_bin.shape}: both are [..., frames, bins]"
        )
    if not (np.all(np.isfinite(per_frame)) and np.all(np.isfinite(per_bin))):
        raise ValueError("steps are not finite: magnitudes or the network's weights are not")
    clips = [part.reshape((-1, *part.shape[-2:])) for part in (per_frame, per_bin)]
    phases = np.empty(clips[0].shape)
    for along_frames, along_bins, found in zip(*clips, phases, strict=True):
        wide = [part.astype(np.complex128) for part in (along_frames, along_bins)]
        # No step ends in the first frame or the first bin.
        wide[0][0], wide[1][:, 0] = 0.0, 0.0
        weights, angles = (np.abs(wide[0]), np.abs(wide[1])), (np.angle(wide[0]), np.angle(wide[1]))
        _integrator()(np.maximum(*weights), angles, found, -np.inf, weights)
    return np.exp(1j * phases).astype(per_frame.dtype).reshape(per_frame.shape)


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
    steps: tuple[np.ndarray, np.ndarray],
    phase: np.ndarray,
    threshold: float,
    weights: tuple[np.ndarray, np.ndarray] | None = None,
) -> None:
    """Heap integration of steps into ``phase`` where ``level >= threshold``, the largest first.

    Written in what numba can compile; the heap holds (-weight, index). The weight of a step is the
    level of where it leads, or its own.

    Args:
        level: [frames, bins]; islands begin at its maxima.
        steps: differences of phase from frame t - 1 to t, without effect in the first frame, and
            from bin k - 1 to k, without effect in the first bin.
        phase: overwritten where the level suffices.
        threshold: least level.
        weights: of the steps along frames and along bins; None for levels.
    """
    frames, bins = level.shape
    done = level < threshold
    # The best weight by which a coefficient has been reached so far.
    best = np.full(level.shape, -np.inf)
    # Each maximum that no path has reached begins an island; ties keep their order.
    for start in np.argsort(-level.ravel(), kind="mergesort"):
        if done[start // bins, start % bins]:
            continue
        phase[start // bins, start % bins] = 0.0
        heap = [(0.0, start)]
        while len(heap) > 0:
            index = heapq.heappop(heap)[1]
            frame, column = index // bins, index % bins
            if done[frame, column]:
                continue
            done[frame, column] = True
            for step_t, step_k in ((1, 0), (-1, 0), (0, 1), (0, -1)):
                t, k = frame + step_t, column + step_k
                if t < 0 or t >= frames or k < 0 or k >= bins or done[t, k]:
                    continue
                # A step belongs to its later end.
                row, line = max(t, frame), max(k, column)
                weight: Any
                if weights is None:
                    weight = level[t, k]
                elif step_t != 0:
                    weight = weights[0][row, line]
                else:
                    weight = weights[1][row, line]
                if weight <= best[t, k]:
                    continue
                best[t, k] = weight
                # phi' = phi + sign step
                step = step_t * steps[0][row, line] + step_k * steps[1][row, line]
                phase[t, k] = phase[frame, column] + step
                heapq.heappush(heap, (-weight, t * bins + k))


@functools.lru_cache(maxsize=1)
def _integrator() -> Callable[..., Any]:
    """:func:`integrate`, compiled if numba is there; nothing is written to disk."""
    try:
        import numba  # noqa: PLC0415  (a second to import, needed here only)
    except ImportError:
        return integrate
    return numba.njit(cache=False)(integrate)
