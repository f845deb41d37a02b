"""Overlap-add: frames summed at their places, weighted so that windowed frames add up to one."""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

from isincnet_jax.dsp.ranks import match_rank
from isincnet_jax.dsp.settling import settles
from isincnet_jax.typing import Array, Waveform

_MOST_SLICES = 32


@settles
def overlap_frames(
    frames: Float[Array, "... frames n_fft"],
    taper: Float[Array, " n_fft"],
    *,
    hop_length: int,
    center: bool,
    length: int,
) -> Waveform:
    """Overlap-add of :func:`.fourier.istft`: frames times the window, over the summed squares.

    Args:
        frames: [..., frames, n_fft], floating.
        taper: the window; a NumPy array is squared and summed in float64 beforehand, a JAX array
            in its own dtype, differentiably.
        hop_length: samples between frames.
        center: whether sample 0 is the middle of frame 0.
        length: samples of the waveform.

    Returns:
        [..., length]; samples that no window reaches are 0.
    """
    num_frames, n_fft = frames.shape[-2:]
    weighted = frames * match_rank(jnp.asarray(taper, frames.dtype), frames)
    summed = overlap_add(weighted, hop_length=hop_length)
    tiny = np.finfo(np.float32).tiny
    gain: Any
    if isinstance(taper, np.ndarray):
        # y[m] = sum_t w[m - t hop] x_t[m - t hop] / sum_t w[m - t hop]^2
        squares = np.zeros(summed.shape[-1])
        for frame in range(num_frames):
            squares[frame * hop_length : frame * hop_length + n_fft] += taper**2
        gain = np.divide(1.0, squares, out=np.zeros(len(squares)), where=squares > tiny)
    else:
        repeated = jnp.broadcast_to(taper**2, (num_frames, n_fft))
        squares = overlap_add(repeated, hop_length=hop_length)
        # The inner where keeps 1 / 0 out of the gradient.
        reached = squares > tiny
        gain = jnp.where(reached, 1.0 / jnp.where(reached, squares, 1.0), 0.0)
    start = n_fft // 2 if center else 0
    kept = summed[..., start : start + length]
    gains = jnp.asarray(gain[start : start + kept.shape[-1]], kept.dtype)
    kept = kept * match_rank(gains, kept)
    return jnp.pad(kept, [(0, 0)] * (kept.ndim - 1) + [(0, length - kept.shape[-1])])


@settles
def overlap_add(
    frames: Float[Array, "... frames taps"], *, hop_length: int
) -> Float[Array, "... samples"]:
    """Overlap-add of frames, ``y[m] = sum_t frames[t, m - t hop]``, without a scatter.

    Frames are cut into blocks of one hop (the last one zero-padded), and a block of output is the
    sum of the blocks of its frames: as many shifted slices as frames overlap, or a loop over them
    where they overlap more than 32-fold.

    Args:
        frames: [..., frames, taps].
        hop_length: samples between frames; need not divide the taps.

    Returns:
        [..., (frames - 1 + ceil(taps / hop)) hop].
    """
    *batch, num_frames, taps = frames.shape
    steps = -(-taps // hop_length)
    rows = num_frames + steps - 1
    edge = [(0, 0)] * len(batch)
    if steps <= _MOST_SLICES:
        # The barrier keeps the inverse transforms out of the loop over the slices.
        padded = jnp.pad(frames, [*edge, (steps - 1,) * 2, (0, steps * hop_length - taps)])
        padded = lax.optimization_barrier(padded)
        # [..., rows, steps, hop]: block k of frame t is part of output row t + k.
        blocks = padded.reshape((*batch, rows + steps - 1, steps, hop_length))
        parts = [blocks[..., steps - 1 - k : steps - 1 - k + rows, k, :] for k in range(steps)]
        return functools.reduce(jnp.add, parts).reshape((*batch, rows * hop_length))
    # Many steps: a loop adds block k of all frames to the output rows k .. k + frames - 1.
    padded = jnp.pad(frames, [*edge, (0, 0), (0, steps * hop_length - taps)])
    blocks = padded.reshape((math.prod(batch), num_frames, steps, hop_length)).transpose(2, 0, 1, 3)

    def add(total: jax.Array, step: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        index, block = step
        start = (jnp.zeros_like(index), index, jnp.zeros_like(index))
        part = lax.dynamic_slice(total, start, block.shape) + block
        return lax.dynamic_update_slice(total, part, start), None

    total = jnp.zeros((blocks.shape[1], rows, hop_length), frames.dtype)
    summed, _ = lax.scan(add, total, (jnp.arange(steps, dtype=jnp.int32), blocks))
    return summed.reshape((*batch, rows * hop_length))
