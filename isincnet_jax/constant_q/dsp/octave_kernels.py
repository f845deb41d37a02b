"""Octave kernels of the recursive constant-Q transform: one octave of wavelets for all.

At half the rate an octave's wavelets look like those of the octave above at the full rate; one
octave of kernels would do, but that lengths are rounded to whole samples of the full rate (and
odd windows are not centred on a sample). Octave o therefore has the kernels

    K_o = S M_o + C_o

with the shared octave S, a constant C_o that holds the difference of the roundings, and a
matrix M_o that is 1 wherever the signal of the octave's rate exists: where the rate would have
to be above the clip's own, M_o lowers the rate of the kernels instead. Training moves S, and
all octaves follow.

References:
    C. Schoerkhuber and A. Klapuri, "Constant-Q transform toolbox for music processing", Sound and
        Music Computing, 2010, section 3. https://doi.org/10.5281/zenodo.849741
"""

from __future__ import annotations

import dataclasses
import functools
from typing import NamedTuple

import numpy as np
from jaxtyping import Complex, Float

from isincnet_jax.constant_q.dsp import multirate
from isincnet_jax.constant_q.dsp.wavelet_bank import WaveletBank

_MOST_EARLY = 8  # halvings before the top octave that are tried
_LEAST_EARLY = -10


class Octave(NamedTuple):
    """Octave of the plan: how its kernels follow from the shared ones.

    Attributes:
        slots: first of the shared kernels that the octave uses; it uses all after that, too.
        matrix: M_o [shared taps, taps], or None for 1.
        correction: C_o [bins, taps], complex128.
    """

    slots: int
    matrix: Float[np.ndarray, "shared taps"] | None
    correction: Complex[np.ndarray, "bins taps"]


class OctavePlan(NamedTuple):
    """Octave plan: kernels of the recursive transform, octaves by ascending frequency.

    Attributes:
        shared: S [bins per octave, taps], complex128, each with an absolute sum of about 1.
        groups: one per octave, its taps being K_o.
        octaves: the maps from S to the groups' taps.
        scale: factors of all bins that ``norm`` asks for.
    """

    shared: Complex[np.ndarray, "slots taps"]
    groups: tuple[multirate.KernelGroup, ...]
    octaves: tuple[Octave, ...]
    scale: Float[np.ndarray, " bins"]


def _halving_matrix(
    first: int, taps: int, *, tolerance: float, times: int
) -> tuple[int, Float[np.ndarray, "taps fewer"]]:
    """Matrix that lowers the rate of kernels ``times`` halvings, and the result's first index.

    ``k'[m] = 2 sum_n k[n] h[n - 2 m]`` keeps the sum of the taps.
    """
    filter_taps = multirate.halfband(tolerance)
    reach = len(filter_taps) // 2
    matrix = np.eye(taps)
    for _ in range(times):
        size = matrix.shape[1]
        low, high = -((reach - first) // 2), (first + size - 1 + reach) // 2
        lag = first + np.arange(size)[:, None] - 2 * np.arange(low, high + 1)
        inside = np.abs(lag) <= reach
        stage = np.where(inside, filter_taps[np.clip(lag + reach, 0, 2 * reach)], 0.0)
        matrix, first = matrix @ (2 * stage), low
    return first, matrix


def _early_levels(bank: WaveletBank, *, slots: int, most: int, tolerance: float) -> int:
    """Halvings before the top octave: as many as the tolerance allows, negative for a deficit."""
    for early in range(most, _LEAST_EARLY, -1):
        octave = max(0, 1 - early)
        numbers = bank.n_bins - bank.bins_per_octave * octave - slots + np.arange(slots)
        frequencies = bank.fmin * 2.0 ** (numbers / bank.bins_per_octave)
        if all(
            multirate.fit_kernel(bank.wavelet(f), level=early + octave, tolerance=tolerance)[1]
            <= tolerance
            for f in frequencies[::-1]
        ):
            return early
    return _LEAST_EARLY


@functools.lru_cache(maxsize=32)
def plan_octaves(bank: WaveletBank, *, earlydownsample: bool, tolerance: float) -> OctavePlan:
    """Octave plan of a bank: kernels of the recursive transform, cached.

    Args:
        bank: the wavelets. Its ``gamma`` must be 0: other lengths do not repeat per octave.
        earlydownsample: whether the top octave may leave the clip's own rate.
        tolerance: largest relative error of a kernel.

    Returns:
        Shared kernels, groups, maps between them, and the factors that ``norm`` asks for.

    Raises:
        ValueError: for ``gamma`` other than 0.
    """
    if bank.gamma != 0:
        raise ValueError(f"gamma={bank.gamma}: octaves share kernels only with gamma=0; use VQT")
    # With norm 1 the kernels of all octaves are alike; what another norm makes of their lengths
    # goes into ``scale``.
    plain = dataclasses.replace(bank, norm=1)
    per_octave = bank.bins_per_octave
    slots = min(per_octave, bank.n_bins)
    most = _MOST_EARLY if earlydownsample else 0
    early = _early_levels(plain, slots=slots, most=most, tolerance=tolerance)
    # Octave o, counted from the top, belongs at level early + o. The first one for which that is
    # 0 or more gives the shared kernels.
    reference = max(0, -early)
    count = -(-bank.n_bins // per_octave)

    def octave_kernels(octave: int) -> list[multirate.Kernel]:
        numbers = bank.n_bins - per_octave * octave - slots + np.arange(slots)
        return [plain.wavelet(bank.fmin * 2.0 ** (k / per_octave)) for k in numbers]

    # One span for all octaves at levels of 0 and more: they share the geometry.
    level = early + reference
    deep = [(o, octave_kernels(o)) for o in range(reference, max(count, reference + 1))]
    spans = [multirate.support(kernel, early + o) for o, kernels in deep for kernel in kernels]
    span = (min(low for low, _ in spans), max(high for _, high in spans))
    shared = np.stack([multirate.place_kernel(k, level, tolerance, span) for k in deep[0][1]])
    groups: list[multirate.KernelGroup] = []
    octaves: list[Octave] = []
    for octave in reversed(range(count)):
        # The lowest octave may be incomplete, and lacks the first of the shared kernels.
        slot = max(0, slots + per_octave * octave - bank.n_bins)
        kernels = octave_kernels(octave)[slot:]
        here, matrix, level = span, None, early + octave
        if level < 0:
            # The shared kernels come from -level octaves below, where wavelets are 2^-level times
            # as long: M_o halves their rate as often, and the octave runs at the full rate.
            first, matrix = _halving_matrix(
                span[0], shared.shape[1], tolerance=tolerance, times=-level
            )
            here, level = (first, first + matrix.shape[1] - 1), 0
        taps = np.stack([multirate.place_kernel(k, level, tolerance, here) for k in kernels])
        # C_o = K_o - S M_o.
        start = shared[slot:] if matrix is None else shared[slot:] @ matrix
        groups.append(multirate.KernelGroup(level, here[0], taps))
        octaves.append(Octave(slot, matrix, taps - start))
    scale = np.array([np.sum(np.abs(kernel.taps)) for kernel in bank.wavelets()])
    return OctavePlan(shared, tuple(groups), tuple(octaves), scale)
