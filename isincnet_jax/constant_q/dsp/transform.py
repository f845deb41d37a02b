"""Constant-Q and variable-Q transforms as pure functions.

The transform is the inner product of frames with the conjugate wavelets of
:mod:`.wavelet_bank`, ``X[t, k] = c_k sum_n x[t hop + n] conj(w_k[n])`` with c_k =
sqrt(length), 1 or 2. Clips are padded once, at their own rate; long wavelets then run at lower
rates (:mod:`.multirate`).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
from jax import lax
from jaxtyping import Float

from isincnet_jax.constant_q.dsp import multirate
from isincnet_jax.constant_q.dsp.multirate_analysis import correlate_multirate
from isincnet_jax.constant_q.dsp.wavelet_bank import WaveletBank, response_scale
from isincnet_jax.dsp import centering, checks
from isincnet_jax.typing import Array, Waveform

DIRECT_TOLERANCE = 7e-6
"""Relative error of a kernel that :class:`.layers.CQT1992v2` allows a multirate kernel."""
RECURSIVE_TOLERANCE = 2e-3
"""Relative error of a kernel that :class:`.recursive.CQT2010v2` allows."""


@functools.lru_cache(maxsize=32)
def plan_groups(
    bank: WaveletBank,
    *,
    hop_length: int,
    normalization_type: str = "librosa",
    tolerance: float = DIRECT_TOLERANCE,
) -> tuple[multirate.KernelGroup, ...]:
    """Kernel groups of the direct transform, scaled; cached.

    Args:
        bank: wavelets at the full rate.
        hop_length: samples between frames; it decides which lower rates pay.
        normalization_type: "librosa", "convolutional" or "wrap", see :func:`.response_scale`.
        tolerance: largest relative error of a kernel; 0 keeps all at the full rate.

    Returns:
        Groups by ascending frequency.

    Raises:
        ValueError: for an unknown ``normalization_type``.
    """
    scale = response_scale(bank, normalization_type)
    kernels = [
        multirate.Kernel(kernel.first, kernel.taps * factor)
        for kernel, factor in zip(bank.wavelets(), scale, strict=True)
    ]
    levels = multirate.choose_levels(kernels, hop_length=hop_length, tolerance=tolerance)
    return multirate.group_kernels(kernels, levels=levels, tolerance=tolerance)


def transform_parts(
    waveform: Waveform,
    groups: tuple[multirate.KernelGroup, ...],
    *,
    frame_length: int,
    hop_length: int,
    tolerance: float,
    center: bool = True,
    pad_mode: str = "reflect",
    kernels: Sequence[tuple[jax.Array, jax.Array]] | None = None,
    precision: lax.PrecisionLike = lax.Precision.HIGHEST,
) -> tuple[Float[Array, "... frames bins"], Float[Array, "... frames bins"]]:
    """Constant-Q transform: a clip, padded once at its own rate, times the kernels of all groups.

    Args:
        waveform: [..., time], float32 or float64.
        groups: kernels, see :func:`plan_groups`.
        frame_length: samples of the frame that decides on padding and number of frames.
        hop_length: samples between frames.
        tolerance: with which the groups were made.
        center: whether the middle of frame 0 is sample 0 of the clip.
        pad_mode: see :func:`.centering.pad_frames`.
        kernels: real and imaginary parts to use instead of the groups' own.
        precision: of the products on accelerators.

    Returns:
        Real and imaginary parts, [..., frames, bins] each, in the waveform's dtype.

    Raises:
        TypeError: for other dtypes.
        ValueError: for an empty clip, or one shorter than a frame if not ``center``.
    """
    waveform = checks.as_waveform(waveform)
    padded = centering.pad_frames(
        waveform,
        frame_length=frame_length,
        hop_length=hop_length,
        center=center,
        pad_mode=pad_mode,
    )
    return correlate_multirate(
        padded,
        groups,
        position=frame_length // 2,
        hop_length=hop_length,
        num_frames=1 + (padded.shape[-1] - frame_length) // hop_length,
        tolerance=tolerance,
        kernels=kernels,
        precision=precision,
    )
