"""Banks of even and odd kernels: frames folded at their middle, for half of the products.

Cosine channels under a symmetric window are even around their centre, sine channels odd, whatever
their frequencies. A frame's even part ``x[n] + x[-n]`` meets the right halves of the even kernels,
its odd part those of the odd ones: ``taps / 2`` products a channel. So it is in synthesis: even
channels make ``E[n]``, odd ones ``O[n]``, n >= 0, and a frame's samples are ``E[n] + O[n]`` after
its middle and ``E[n] - O[n]`` before it. On CPUs the folding pays where frames go through in
groups; on accelerators a strided convolution does without it.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

from isincnet_jax.dsp import frame_groups, frame_mapping, framing
from isincnet_jax.dsp.materialized import with_stored
from isincnet_jax.typing import Array, Padding

_FEWEST_TAPS = 64
_FEWEST_CHANNELS = 16


def is_symmetric(kernels: Float[np.ndarray, "channels taps"], *, num_even: int, lead: int) -> bool:
    """Symmetric kernels: the first even, the others odd, to 1e-12 of the largest tap.

    Args:
        kernels: float64 [channels, taps].
        num_even: channels that are even.
        lead: taps before the centre; those without a mirror image must be 0.

    Returns:
        Whether they are, and so large that folding them pays: 64 taps and 16 channels or more.
    """
    channels, taps = kernels.shape
    if taps < _FEWEST_TAPS or channels < _FEWEST_CHANNELS:
        return False
    return bool(
        np.max(np.abs(kernels - mirrored(kernels, num_even=num_even, lead=lead)))
        <= 1e-12 * np.max(np.abs(kernels))
    )


def mirrored(
    kernels: Float[np.ndarray, "channels taps"], *, num_even: int, lead: int
) -> Float[np.ndarray, "channels taps"]:
    """Mirror images of kernels, those of odd channels negated; 0 where taps have none.

    Args:
        kernels: [channels, taps].
        num_even: channels that are even.
        lead: taps before the centre.

    Returns:
        [channels, taps]; symmetric kernels are their own.
    """
    place = 2 * lead - np.arange(kernels.shape[1])
    inside = (place >= 0) & (place < kernels.shape[1])
    sign = np.where(np.arange(len(kernels)) < num_even, 1.0, -1.0)[:, None]
    return np.where(inside, sign * kernels[:, np.where(inside, place, 0)], 0.0)


def symmetric_analysis(
    waveform: Float[Array, "... time"],
    kernels: Float[Array, "channels taps"],
    *,
    num_even: int,
    hop_length: int,
    grid: framing.FrameGrid,
    reach: int,
    padding: Padding,
    precision: lax.PrecisionLike = lax.Precision.HIGHEST,
) -> Float[Array, "... frames channels"]:
    """Analysis by even and odd kernels: :func:`.framing.correlate_frames` for half the products.

    Args:
        waveform: [..., time].
        kernels: symmetric around tap ``taps // 2``; only their right halves are read.
        num_even: channels that are even; the others are odd.
        hop_length: samples between frames.
        grid: the frames.
        reach: samples that non-zero taps reach before and after a frame's position.
        padding: how the waveform continues beyond its ends.
        precision: of the products.

    Returns:
        [..., frames, channels].
    """
    mapped = {"taps": 2 * reach + 1, "hop_length": hop_length}

    def fold(frames: Array) -> tuple[Array, ...]:
        # x[n] + x[-n] and x[n] - x[-n], n = 0 .. reach
        later, earlier = frames[..., reach:], jnp.flip(frames[..., : reach + 1], axis=-1)
        parts = []
        if num_even:
            parts.append(later + earlier)
        if num_even < len(kernels):
            parts.append((later - earlier)[..., 1:])
        return tuple(parts)

    def channels(stretch: Array, number: int, *weights: Array) -> jax.Array:
        parts = frame_mapping.map_frames(fold, stretch, num_frames=number, **mapped)
        products = [
            jnp.matmul(part, matrix, precision=precision)
            for part, matrix in zip(parts, weights, strict=True)
        ]
        return jnp.concatenate(products, axis=-1) if len(products) > 1 else products[0]

    line, first = framing.frame_line(
        waveform, grid=grid, hop_length=hop_length, lead=reach, trail=reach, padding=padding
    )
    plan = frame_groups.GroupPlan(
        num_items=grid.num_frames,
        stride=hop_length,
        axis=-1,
        first=first,
        width=lambda number: frame_mapping.mapped_length(number, **mapped),
        # The folded frame, its samples, and the channels, which are joined.
        item_bytes=(2 * reach + hop_length + len(kernels))
        * math.prod(waveform.shape[:-1])
        * waveform.dtype.itemsize,
        multiple=-(-mapped["taps"] // hop_length),
    )
    center = kernels.shape[1] // 2
    right = jnp.transpose(jnp.asarray(kernels)[:, center : center + reach + 1])
    # The middle of a frame is its own mirror image.
    half = jnp.asarray(np.where(np.arange(reach + 1) == 0, 0.5, 1.0)[:, None], right.dtype)
    even, odd = right[:, :num_even] * half, right[1:, num_even:]
    weights = [matrix for matrix in (even, odd) if matrix.shape[1]]
    return frame_groups.in_groups(channels, plan, line, *weights)


def symmetric_synthesis(
    spectrogram: Float[Array, "... frames channels"],
    kernels: Float[Array, "channels taps"],
    *,
    num_even: int,
    hop_length: int,
    lead: int,
    first_frame: int,
    length: int,
    precision: lax.PrecisionLike = lax.Precision.HIGHEST,
) -> Float[Array, "... time"]:
    """Synthesis by even and odd kernels: :func:`.framing.synthesize_frames` for half the products.

    Args:
        spectrogram: [..., frames, channels].
        kernels: symmetric around tap ``lead``; only their right halves are read.
        num_even: channels that are even; the others are odd.
        hop_length: samples between frames.
        lead: taps before a frame's position, a whole number of hops, as the taps are.
        first_frame: index of the first frame.
        length: samples of the clip.
        precision: of the products.

    Returns:
        [..., length].
    """
    steps = framing.block_steps(kernels.shape[1], lead=lead, hop_length=hop_length)
    # Offsets 0 .. reach; tap -lead has no mirror image where the taps end before +lead, and is 0.
    reach = max(lead, kernels.shape[1] - lead - 1)

    def blocks(rows: Array, number: int, *weights: Array) -> jax.Array:
        parts = [rows[..., :num_even], rows[..., num_even:]]
        products = [
            jnp.matmul(part, matrix, precision=precision)
            for part, matrix in zip(parts, weights, strict=True)
            if part.shape[-1]
        ]

        def overlapped(*products: Array) -> jax.Array:
            total: Any = None
            for index, step in enumerate(steps):
                first, ahead = len(steps) - 1 - index, step >= 0
                # Samples step hop + i of a frame, or, before its middle, those of their images.
                begin = step * hop_length if ahead else -(step + 1) * hop_length + 1
                place = (..., slice(first, first + number), slice(begin, begin + hop_length))
                found = products[0][place] if num_even else 0.0
                if num_even < len(kernels):
                    found = found + products[-1][place] if ahead else found - products[-1][place]
                found = found if ahead else jnp.flip(found, axis=-1)
                total = found if total is None else total + found
            return total

        return with_stored(overlapped, *products)

    full = jnp.pad(jnp.asarray(kernels), ((0, 0), (0, lead + reach + 1 - kernels.shape[1])))
    right = full[:, lead:]
    return framing.map_blocks(
        blocks,
        spectrogram,
        right[:num_even],
        right[num_even:],
        steps=steps,
        first_frame=first_frame,
        num_blocks=-(-length // hop_length),
        # The channels, which are split, both products and the block.
        block_values=len(kernels) + 2 * reach + hop_length,
        samples=(0, length),
    )
