"""Streaming filterbanks, block by block, with the past as explicit state.

A block is ``hop`` new samples, and every block completes exactly one frame: the frame at sample
``t hop`` is complete when its last sample, ``t hop + trail``, has come, so blocks are aligned to
end there. Likewise every frame completes exactly one block of ``hop`` output samples, those from
``t hop - lead`` on, if synthesis kernels have ``lead`` taps before their frame. No sample waits
longer than the kernels ask for.

:func:`analyze_blocks` and :func:`synthesize_blocks` are pure and compile once per number of blocks;
cut into powers of two (:func:`.streams.power_of_two_sizes`), any amount of signal needs few
compilations.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

from isincnet_jax.typing import Array


@functools.partial(jax.jit, static_argnames=("hop_length", "precision"))
def analyze_blocks(
    context: Float[Array, "... context"],
    blocks: Float[Array, "... time"],
    matrix: Float[Array, "taps channels"],
    *,
    hop_length: int,
    precision: lax.PrecisionLike = lax.Precision.HIGHEST,
) -> tuple[Float[jax.Array, "... context"], Float[jax.Array, "... frames channels"]]:
    """Analysis step: blocks of samples in, as many frames out.

    Args:
        context: samples before the blocks, at least ``taps - hop_length``; those before them are
            carried along only.
        blocks: [..., frames * hop_length], the next samples.
        matrix: kernels [taps, channels]; a frame's last tap meets the last sample of its block.
        hop_length: samples per block.
        precision: of the products on accelerators.

    Returns:
        The next context, and the frames that the blocks complete.
    """
    taps = matrix.shape[0]
    signal = jnp.concatenate([context, blocks], axis=-1)
    start = context.shape[-1] + hop_length - taps
    count = blocks.shape[-1] // hop_length
    # S[t, c] = sum_n matrix[n, c] signal[start + t hop + n]
    seen = [
        signal[..., start + index * hop_length : start + index * hop_length + taps]
        for index in range(count)
    ]
    frames = jnp.matmul(jnp.stack(seen, axis=-2), matrix, precision=precision)
    return signal[..., blocks.shape[-1] :], frames


@functools.partial(jax.jit, static_argnames=("precision",))
def synthesize_blocks(
    history: Float[Array, "... past channels"],
    frames: Float[Array, "... frames channels"],
    matrix: Float[Array, "inputs hop"],
    *,
    precision: lax.PrecisionLike = lax.Precision.HIGHEST,
) -> tuple[Float[jax.Array, "... past channels"], Float[jax.Array, "... time"]]:
    """Synthesis step: frames in, as many blocks of samples out.

    Args:
        history: the ``past`` frames before.
        frames: the next frames.
        matrix: [(past + 1) * channels, hop], see :func:`synthesis_matrix`.
        precision: of the products on accelerators.

    Returns:
        The next history, and [..., frames * hop] samples.
    """
    rows = jnp.concatenate([history, frames], axis=-2)
    past, count = history.shape[-2], frames.shape[-2]
    # Block t sees the frames t - past .. t side by side, [..., frames, (past + 1) channels].
    seen = [rows[..., index : index + count, :] for index in range(past + 1)]
    blocks = jnp.matmul(jnp.concatenate(seen, axis=-1), matrix, precision=precision)
    return rows[..., count:, :], lax.collapse(blocks, blocks.ndim - 2)


class StreamKernels(NamedTuple):
    """Streaming kernels, laid out as matrices.

    Attributes:
        matrix: float64, [taps, channels] of an analysis, [frames * channels, hop] of a synthesis.
        lead: samples that they reach before their frame.
    """

    matrix: Float[np.ndarray, "rows columns"]
    lead: int


def analysis_matrix(
    kernels: Float[np.ndarray, "channels taps"], *, lead: int, trail: int, hop_length: int
) -> StreamKernels:
    """Analysis matrix: kernels from ``lead`` samples before their frame to ``trail`` after it.

    Args:
        kernels: [channels, taps], centred at ``taps // 2``.
        lead: samples before a frame that they may reach.
        trail: samples after it.
        hop_length: samples per block; the matrix is a hop long or more.

    Returns:
        [taps, channels], and the lead that it has.

    Raises:
        ValueError: if there is more of them than rounding elsewhere.
    """
    center = kernels.shape[1] // 2
    # lead + trail + 1 taps are a hop or more, so that a context of taps - hop samples is possible.
    lead = max(lead, hop_length - 1 - trail)
    before = max(lead - center, 0)
    padded = np.pad(kernels, ((0, 0), (before, max(trail + center + 1 - kernels.shape[1], 0))))
    first = before + center - lead
    used = padded[:, first : first + lead + trail + 1]
    outside = float(np.sum(padded**2) - np.sum(used**2))
    if outside > 1e-14 * float(np.sum(used**2)):
        raise ValueError(
            f"kernels reach beyond the {lead} samples before and {trail} after a frame that the "
            "bank's frames allow for; use filters of the spec's own support"
        )
    return StreamKernels(np.ascontiguousarray(used.T), lead)


def synthesis_matrix(
    kernels: Float[np.ndarray, "channels taps"],
    *,
    lead: int,
    hop_length: int,
    least_lead: int,
    negligible: float,
) -> StreamKernels:
    """Synthesis matrix of one step: kernels without their negligible ends.

    Args:
        kernels: [channels, taps].
        lead: taps before a frame's position.
        hop_length: samples per block.
        least_lead: what ``lead`` is not reduced below, as no sample can come earlier.
        negligible: root energy of the ends to drop, relative to that of all taps; 0 drops zeros
            only.

    Returns:
        [frames * channels, hop]: the earliest frame first, as rows of a history come.
    """
    # Taps are dropped from either end while their root energy is negligible relative to all.
    energy = np.sum(np.square(kernels), axis=0)
    limit = negligible**2 * float(np.sum(energy))
    first = int(np.searchsorted(np.cumsum(energy), limit, side="right"))
    last = len(energy) - 1 - int(np.searchsorted(np.cumsum(energy[::-1]), limit, side="right"))
    first = min(first, lead - least_lead, len(energy) - 1)
    used = kernels[:, max(first, 0) : max(last, first, 0) + 1]
    # Zeros at both ends make whole hops of it; at the front where the lead is raised to the least.
    before = max(-first, 0)
    num_frames = -(-(before + used.shape[1]) // hop_length)
    after = num_frames * hop_length - before - used.shape[1]
    whole = np.pad(used, ((0, 0), (before, after)))
    # [channels, frames, hop], the kernel's last hop first: it belongs to the earliest frame.
    by_frame = whole.reshape(len(kernels), num_frames, hop_length)[:, ::-1]
    matrix = by_frame.transpose(1, 0, 2).reshape(-1, hop_length)
    return StreamKernels(np.ascontiguousarray(matrix), lead - first)


def reflection_before(signal: Float[np.ndarray, "... time"], count: int) -> Any:
    """Reflection of a signal at its first sample, which it excludes.

    Args:
        signal: [..., time], more than ``count`` samples.
        count: samples before the signal.

    Returns:
        [..., count].
    """
    return signal[..., count:0:-1]


def reflection_after(signal: Float[np.ndarray, "... time"], count: int) -> Any:
    """Reflection of a signal at its last sample, which it excludes.

    Args:
        signal: [..., time], more than ``count`` samples.
        count: samples after the signal.

    Returns:
        [..., count].
    """
    length = signal.shape[-1]
    return signal[..., length - 1 - count : length - 1][..., ::-1]
