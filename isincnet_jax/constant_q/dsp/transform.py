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
import jax.numpy as jnp
from jax import lax
from jaxtyping import Complex, Float

from isincnet_jax.constant_q.dsp import multirate
from isincnet_jax.constant_q.dsp.multirate_analysis import correlate_multirate
from isincnet_jax.constant_q.dsp.octave_kernels import plan_octaves
from isincnet_jax.constant_q.dsp.wavelet_bank import NormalizationType, WaveletBank, response_scale
from isincnet_jax.dsp import centering, checks
from isincnet_jax.dsp.settling import settles
from isincnet_jax.typing import Array, Waveform

DIRECT_TOLERANCE = 7e-6
"""Relative error of a kernel that :func:`cqt` allows a multirate kernel."""
RECURSIVE_TOLERANCE = 2e-3
"""Relative error of a kernel that :func:`recursive_cqt` allows."""


@functools.lru_cache(maxsize=32)
def plan_groups(
    bank: WaveletBank,
    *,
    hop_length: int,
    normalization_type: str = "librosa",
    tolerance: float = DIRECT_TOLERANCE,
) -> tuple[multirate.KernelGroup, ...]:
    """Kernels of :func:`cqt`, scaled; direct ones with ``tolerance=0``."""
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
    """Pads a clip once, at its own rate, and takes the inner products of all groups.

    Args:
        waveform: [..., time].
        groups: kernels, see :func:`plan_groups`.
        frame_length: samples of the frame that decides on padding and number of frames.
        hop_length: samples between frames.
        tolerance: with which the groups were made.
        center: whether the middle of frame 0 is sample 0 of the clip.
        pad_mode: see :func:`.centering.pad_frames`.
        kernels: real and imaginary parts to use instead of the groups' own.
        precision: of the products on accelerators.

    Returns:
        Real and imaginary parts, [..., frames, bins] each.
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


@settles
def cqt(
    waveform: Waveform,
    *,
    bank: WaveletBank | None = None,
    hop_length: int = 512,
    center: bool = True,
    pad_mode: str = "reflect",
    normalization_type: NormalizationType = "librosa",
    tolerance: float = DIRECT_TOLERANCE,
    precision: lax.PrecisionLike = lax.Precision.HIGHEST,
) -> Complex[Array, "... frames bins"]:
    """Constant-Q or variable-Q transform: ``X[t, k] = c_k sum_n x[t hop + n] conj(w_k[n])``.

    Equal to the direct sum with librosa's wavelets within ``tolerance``: long kernels run at lower
    rates where that is cheaper, for any hop.

    Departure: :func:`librosa.cqt` convolves instead of correlating, and re-designs wavelets at
    every octave's rate; odd windows lie half a sample of that rate to the other side, and its
    coefficients differ by about 1 %. nnAudio's magnitudes differ by its own Q.

    Args:
        waveform: [..., time], floating, of the bank's rate.
        bank: the wavelets; default 84 bins from 32.70 Hz, 12 per octave, at 22 050 Hz.
        hop_length: samples between frames.
        center: whether clips are padded so that frame t stands at sample ``t hop``.
        pad_mode: "constant", "reflect", "edge" or "symmetric".
        normalization_type: see :func:`response_scale`.
        tolerance: largest relative error of a kernel; 0 computes directly.
        precision: of the products on accelerators.

    Returns:
        [..., frames, bins], complex, as precise as the waveform.

    Raises:
        ValueError: for unknown names, or clips without a frame.
    """
    bank = WaveletBank() if bank is None else bank
    groups = plan_groups(
        bank, hop_length=hop_length, normalization_type=normalization_type, tolerance=tolerance
    )
    return lax.complex(
        *transform_parts(
            waveform,
            groups,
            frame_length=bank.frame_length,
            hop_length=hop_length,
            tolerance=tolerance,
            center=center,
            pad_mode=pad_mode,
            precision=precision,
        )
    )


@settles
def recursive_cqt(
    waveform: Waveform,
    *,
    bank: WaveletBank | None = None,
    hop_length: int = 512,
    center: bool = True,
    pad_mode: str = "reflect",
    normalization_type: NormalizationType = "librosa",
    earlydownsample: bool = True,
    tolerance: float = RECURSIVE_TOLERANCE,
    precision: lax.PrecisionLike = lax.Precision.HIGHEST,
) -> Complex[Array, "... frames bins"]:
    """:func:`cqt` octave by octave at half the rate each, within 2e-3 instead of 7e-6.

    Args:
        waveform: [..., time], floating, of the bank's rate.
        bank: the wavelets, see :func:`cqt`.
        hop_length: samples between frames; need not be divisible by anything.
        center: see :func:`cqt`.
        pad_mode: see :func:`cqt`.
        normalization_type: see :func:`response_scale`.
        earlydownsample: whether the top octave may leave the full rate. Levels do not change.
        tolerance: largest relative error of a kernel.
        precision: of the products on accelerators.

    Returns:
        [..., frames, bins], complex.

    Raises:
        ValueError: for unknown names, or clips without a frame.
    """
    bank = WaveletBank() if bank is None else bank
    plan = plan_octaves(bank, earlydownsample=earlydownsample, tolerance=tolerance)
    real, imag = transform_parts(
        waveform,
        plan.groups,
        frame_length=bank.frame_length,
        hop_length=hop_length,
        tolerance=tolerance,
        center=center,
        pad_mode=pad_mode,
        precision=precision,
    )
    scale = jnp.asarray(plan.scale * response_scale(bank, normalization_type), real.dtype)
    return lax.complex(real * scale, imag * scale)
