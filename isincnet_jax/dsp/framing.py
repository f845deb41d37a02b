"""Frames of a clip: padding, strided correlation and overlap-add, and every length formula.

A frame ``t`` of a bank with hop M sits at sample ``t M``; its kernel reaches ``lead`` samples
before and ``trail`` samples after it. With "zeros" padding the frames are all those that touch the
signal (``first`` is negative or 0), so nothing is lost at the edges and the stationary decoder is
exact there too. With "reflect" padding the frames are ``0 .. (length - 1) // M``, as in iSincNet,
and one more where those would end before the last sample does.

Analysis is the strided correlation ``S[t, c] = sum_n k_c[n] x[tM + n]``; synthesis with
kernels ``g`` is the adjoint of such a one, ``y[m] = sum_t sum_c S[t, c] g_c[m - tM]``.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Float

from isincnet_jax.dsp import frame_groups
from isincnet_jax.dsp.materialized import with_stored
from isincnet_jax.dsp.padding import continuation
from isincnet_jax.dsp.settling import settles
from isincnet_jax.typing import Array, Padding

_LONGEST_STRIDED = 1 << 24
MOST_MULTIPLIED_STEPS = 4
"""Frames of a block up to which :func:`synthesize_frames` multiplies first and adds up then."""


class FrameGrid(NamedTuple):
    """Frame grid of one clip: where its frames are.

    Attributes:
        first: index of the first frame, at sample ``first * hop_length``.
        num_frames: number of frames.
    """

    first: int
    num_frames: int


def samples_beyond(*, hop_length: int, trail: int) -> int:
    """Samples that frames ``0 .. (length - 1) // hop`` may leave unseen at the end of a clip.

    The last of them lies up to ``hop - 1`` samples before the end and sees ``trail`` of those.

    Args:
        hop_length: samples between frames.
        trail: samples that a frame reaches after its position.

    Returns:
        Samples, 0 to ``hop_length - 1``.
    """
    return max(hop_length - 1 - trail, 0)


@settles
def frame_grid(
    length: int,
    *,
    hop_length: int,
    lead: int,
    trail: int,
    padding: Padding,
    sees_all: bool = True,
) -> FrameGrid:
    """Frame grid of a clip of ``length`` samples (see the module's first paragraph).

    Args:
        length: samples.
        hop_length: samples between frames.
        lead: samples that a frame reaches before its position.
        trail: samples that it reaches after it.
        padding: how the waveform continues.
        sees_all: whether reflected clips have one more frame where the others would not reach the
            last sample; iSincNet's do not.

    Returns:
        Index of the first frame, and the number of frames.

    Example:
        >>> frame_grid(1, hop_length=125, lead=249, trail=249, padding="zeros")
        FrameGrid(first=-1, num_frames=3)
        >>> frame_grid(251, hop_length=125, lead=249, trail=249, padding="reflect")
        FrameGrid(first=0, num_frames=3)
        >>> frame_grid(252, hop_length=125, lead=249, trail=0, padding="reflect")
        FrameGrid(first=0, num_frames=4)

    Raises:
        ValueError: if ``length`` is below 1.
    """
    if length < 1:
        raise ValueError(f"length={length}: an empty waveform has no frames; give >= 1 sample")
    if padding == "reflect":
        beyond = samples_beyond(hop_length=hop_length, trail=trail) if sees_all else 0
        return FrameGrid(0, (length - 1 + beyond) // hop_length + 1)
    # Frame t touches the clip if t hop + trail >= 0 and t hop - lead <= length - 1.
    first = -(trail // hop_length)
    last = (length - 1 + lead) // hop_length
    return FrameGrid(first, last - first + 1)


@settles
def longest_length(
    num_frames: int,
    *,
    hop_length: int,
    lead: int,
    trail: int,
    padding: Padding,
    sees_all: bool = True,
) -> int:
    """The largest length in samples of a clip that has ``num_frames`` frames.

    Args:
        num_frames: frames, 1 or more.
        hop_length: samples between frames.
        lead: samples that a frame reaches before its position.
        trail: samples that it reaches after it.
        padding: how the waveform continues.
        sees_all: as of :func:`frame_grid`.

    Returns:
        Samples; ``frame_grid`` of that length has ``num_frames`` frames.

    Raises:
        ValueError: if no clip has so few frames.
    """
    if padding == "reflect":
        beyond = samples_beyond(hop_length=hop_length, trail=trail) if sees_all else 0
        # The longest with (length - 1 + beyond) // hop + 1 = frames; of zeros, likewise.
        length = num_frames * hop_length - beyond
    else:
        length = (num_frames - trail // hop_length) * hop_length - lead
    if num_frames < 1 or length < 1:
        raise ValueError(f"num_frames={num_frames}: a clip of one sample already has more frames")
    return length


def frame_line(
    waveform: Float[Array, "... time"],
    *,
    grid: FrameGrid,
    hop_length: int,
    lead: int,
    trail: int,
    padding: Padding,
) -> tuple[frame_groups.Line, int]:
    """Waveform whose frames reach beyond its ends, with what stands there.

    Args:
        waveform: [..., time].
        grid: the frames.
        hop_length: samples between frames.
        lead: samples that a frame reaches before its position.
        trail: samples that it reaches after it.
        padding: how the waveform continues; reflection is that of :func:`.padding.continuation`.

    Returns:
        What stands before the waveform, the waveform, and what stands after it, nothing for zeros;
        and the sample of the waveform at which its first frame begins, negative before it.
    """
    left, right = _samples_lacking(
        waveform.shape[-1], grid, hop_length=hop_length, lead=lead, trail=trail
    )
    if padding == "zeros":
        nothing = waveform[..., :0]
        return (nothing, waveform, nothing), -left
    return continuation(waveform, left, right, mode="reflect"), -left


def _samples_lacking(
    length: int, grid: FrameGrid, *, hop_length: int, lead: int, trail: int
) -> tuple[int, int]:
    """Samples that the frames reach before a clip and after it; negative: those that none sees."""
    left = lead - grid.first * hop_length
    return left, (grid.num_frames - 1) * hop_length + lead + trail + 1 - left - length


@settles
def pad_for_frames(
    waveform: Float[Array, "... time"],
    *,
    grid: FrameGrid,
    hop_length: int,
    lead: int,
    trail: int,
    padding: Padding,
) -> Float[Array, "... padded"]:
    """Padded waveform, whose first sample is the first of its first frame.

    Args:
        waveform: [..., time].
        grid: the frames.
        hop_length: samples between frames.
        lead: samples that a frame reaches before its position.
        trail: samples that it reaches after it.
        padding: how the waveform continues, see :func:`frame_line`.

    Returns:
        [..., (num_frames - 1) hop + lead + trail + 1]; samples beyond the last frame's reach
        are cut off.
    """
    length = waveform.shape[-1]
    left, right = _samples_lacking(length, grid, hop_length=hop_length, lead=lead, trail=trail)
    if padding == "zeros":
        # Not lax.pad, which compares every index with the ends and is slower to read, too.
        before, after = (
            jnp.zeros((*waveform.shape[:-1], max(count, 0)), waveform.dtype)
            for count in (left, right)
        )
        kept = waveform[..., max(-left, 0) : length + min(right, 0)]
        return jnp.concatenate([before, kept, after], axis=-1)
    return jnp.concatenate(continuation(waveform, left, right, mode="reflect"), axis=-1)


@settles
def correlate_frames(
    padded: Float[Array, "... padded"],
    kernels: Float[Array, "channels taps"],
    *,
    hop_length: int,
    precision: lax.PrecisionLike = lax.Precision.HIGHEST,
) -> Float[Array, "... frames channels"]:
    """Strided correlation of a padded waveform with every kernel: the direct sum.

    Args:
        padded: [..., padded], the first sample belongs to the first tap of frame 0.
        kernels: [channels, taps].
        hop_length: samples between frames.
        precision: of the products on accelerators.

    Returns:
        [..., (padded - taps) // hop + 1, channels].
    """
    if padded.shape[-1] >= _LONGEST_STRIDED:
        return correlate_blocks(padded, kernels, hop_length=hop_length, precision=precision)
    flat = jnp.reshape(padded, (-1, padded.shape[-1], 1))
    taps_first = jnp.transpose(kernels)[:, None, :]
    frames = _convolve(flat, taps_first, stride=hop_length, precision=precision)
    return frames.reshape((*padded.shape[:-1], *frames.shape[1:]))


def _convolve(
    rows: jax.Array, kernels: jax.Array, *, stride: int, precision: lax.PrecisionLike
) -> jax.Array:
    """Correlates rows [batch, rows, in] with kernels [taps, in, out], valid positions only."""
    return lax.conv_general_dilated(
        rows,
        kernels,
        window_strides=(stride,),
        padding="VALID",
        dimension_numbers=("NWC", "WIO", "NWC"),
        precision=precision,
    )


def correlate_blocks(
    padded: Float[Array, "... padded"],
    kernels: Float[Array, "channels taps"],
    *,
    hop_length: int,
    precision: lax.PrecisionLike = lax.Precision.HIGHEST,
) -> Float[Array, "... frames channels"]:
    """Convolution over hop-sized blocks that equals :func:`correlate_frames`, without a stride.

    For signals of 2^24 samples and more: the CPU backend counts the outputs of a strided
    convolution in float32 and may lose the last one (seen with jaxlib 0.10.2).

    Args:
        padded: [..., padded], the first sample belongs to the first tap of frame 0.
        kernels: [channels, taps].
        hop_length: samples between frames.
        precision: of the products on accelerators.

    Returns:
        [..., (padded - taps) // hop + 1, channels].
    """
    channels, taps = kernels.shape
    # S[t, c] = sum_b sum_i k_c[b hop + i] x[(t + b) hop + i]: block b of the taps meets row t + b.
    num_blocks = -(-taps // hop_length)
    num_frames = (padded.shape[-1] - taps) // hop_length + 1
    rows = num_frames - 1 + num_blocks
    keep = [(0, 0, 0)] * (padded.ndim - 1)
    zero = jnp.zeros((), padded.dtype)
    whole = lax.pad(padded, zero, [*keep, (0, rows * hop_length - padded.shape[-1], 0)])
    long = jnp.pad(kernels, ((0, 0), (0, num_blocks * hop_length - taps)))
    by_block = jnp.transpose(jnp.reshape(long, (channels, num_blocks, hop_length)), (1, 2, 0))
    blocks = jnp.reshape(whole, (-1, rows, hop_length))
    frames = _convolve(blocks, by_block, stride=1, precision=precision)
    return frames.reshape((*padded.shape[:-1], *frames.shape[1:]))


def rows_for_blocks(
    spectrogram: Float[Array, "... frames channels"],
    *,
    steps: range,
    first_frame: int,
    num_blocks: int,
) -> Float[Array, "... rows channels"]:
    """Rows of frames, shifted and zero-extended so that blocks of output find theirs by an offset.

    Block u covers the samples ``[u hop, (u + 1) hop)``. Row ``u + steps[-1] - step`` of the
    result is the frame that lies ``step`` hops before block u.

    Args:
        spectrogram: frames, the first of which has index ``first_frame``.
        steps: consecutive steps, from the latest frame a block uses (negative) to the earliest.
        first_frame: index of the first frame.
        num_blocks: blocks of output.

    Returns:
        [..., num_blocks + len(steps) - 1, channels].
    """
    # Row 0 is the earliest frame of block 0, which has index -steps[-1]; negative pads cut frames.
    before = steps[-1] + first_frame
    after = num_blocks - steps[0] - first_frame - spectrogram.shape[-2]
    keep = [(0, 0, 0)] * (spectrogram.ndim - 2)
    zero = jnp.zeros((), spectrogram.dtype)
    return lax.pad(spectrogram, zero, [*keep, (before, after, 0), (0, 0, 0)])


def map_blocks(
    function: frame_groups.GroupFunction,
    spectrogram: Float[Array, "... frames channels"],
    *weights: Array,
    steps: range,
    first_frame: int,
    num_blocks: int,
    block_values: int,
    samples: tuple[int, int],
) -> Float[jax.Array, "... time"]:
    """Waveform of blocks that are a function of the rows around them, in groups that fit the cache.

    Args:
        function: rows [..., number + len(steps) - 1, channels] as :func:`rows_for_blocks` has them,
            a number of blocks, and the weights, to [..., number, hop].
        spectrogram: frames, the first of which has index ``first_frame``.
        *weights: arrays that the function takes.
        steps: see :func:`rows_for_blocks`.
        first_frame: index of the first frame.
        num_blocks: blocks of output.
        block_values: numbers of a block in temporary arrays, see :mod:`.frame_groups`.
        samples: how many are left out before the clip, and its length.

    Returns:
        [..., length].
    """
    batch = math.prod(spectrogram.shape[:-2])
    plan = frame_groups.GroupPlan(
        num_items=num_blocks,
        stride=1,
        axis=-2,
        first=-steps[-1] - first_frame,
        width=lambda number: number + len(steps) - 1,
        item_bytes=block_values * batch * spectrogram.dtype.itemsize,
        samples=samples,
    )
    nothing = spectrogram[..., :0, :]
    return frame_groups.in_groups(function, plan, (nothing, spectrogram, nothing), *weights)


def block_steps(taps: int, *, lead: int, hop_length: int) -> range:
    """The steps between an output block and the frames whose kernels reach it.

    Args:
        taps: of the synthesis kernels.
        lead: taps before a frame's position.
        hop_length: samples per block.

    Returns:
        Hops from a frame to the blocks that it reaches: ``taps / hop`` from ``-lead / hop`` on.

    Raises:
        ValueError: unless the kernels and their lead are whole numbers of hops long.
    """
    if taps % hop_length or lead % hop_length:
        raise ValueError(
            f"synthesis kernels of {taps} taps with lead={lead}: both must be multiples of "
            f"hop_length={hop_length}"
        )
    return range(-lead // hop_length, (taps - lead) // hop_length)


@settles
def synthesize_frames(
    spectrogram: Float[Array, "... frames channels"],
    kernels: Float[Array, "channels taps"],
    *,
    hop_length: int,
    lead: int,
    first_frame: int,
    length: int,
    precision: lax.PrecisionLike = lax.Precision.HIGHEST,
) -> Float[Array, "... length"]:
    """Synthesis, ``y[m] = sum over t and c of S[t, c] g_c[m - t hop]``, cut to [0, length).

    Kernels that are a whole number of hops long turn the overlap-add into a convolution over
    frames, from channels to the ``hop`` samples of a block.

    Args:
        spectrogram: [..., frames, channels].
        kernels: synthesis kernels [channels, taps].
        hop_length: samples between frames.
        lead: taps before a frame's position.
        first_frame: index of the first frame.
        length: samples of the clip.
        precision: of the products on accelerators.

    Returns:
        [..., length].

    Raises:
        ValueError: unless taps and lead are multiples of the hop.
    """
    channels, taps = kernels.shape
    steps = block_steps(taps, lead=lead, hop_length=hop_length)
    rows = rows_for_blocks(
        spectrogram, steps=steps, first_frame=first_frame, num_blocks=-(-length // hop_length)
    )
    number = -(-length // hop_length)

    def convolved(rows: Any, kernels: Any) -> jax.Array:
        # y[u hop + i] = sum_s sum_c S[u - s, c] g_c[lead + s hop + i]; XLA's convolution flips
        # nothing.
        by_step = jnp.transpose(kernels.reshape(channels, len(steps), hop_length), (1, 0, 2))
        flat = jnp.reshape(rows, (-1, *rows.shape[-2:]))
        blocks = _convolve(flat, jnp.flip(by_step, axis=0), stride=1, precision=precision)
        return jnp.reshape(blocks, (*rows.shape[:-2], number, hop_length))

    def multiplied(rows: Any, kernels: Any) -> jax.Array:
        # All taps of every frame, and their hops summed where they meet.
        flat = jnp.reshape(rows, (-1, channels))  # two axes: the gradient needs no transposed copy
        parts = jnp.matmul(flat, kernels, precision=precision)
        parts = jnp.reshape(parts, (*rows.shape[:-1], taps))
        return _overlapped(parts, number=number, hop_length=hop_length)

    if len(steps) > MOST_MULTIPLIED_STEPS:
        blocks = convolved(rows, kernels)
    else:
        blocks = lax.platform_dependent(rows, kernels, cpu=multiplied, default=convolved)
    return blocks.reshape((*spectrogram.shape[:-2], number * hop_length))[..., :length]


def _overlapped(parts: jax.Array, *, number: int, hop_length: int) -> jax.Array:
    """Blocks [..., number, hop] of frames' taps [..., rows, taps]; the latest row first in time."""

    def summed(parts: jax.Array) -> jax.Array:
        steps = parts.shape[-1] // hop_length
        hops = [
            parts[..., steps - 1 - step :, step * hop_length : (step + 1) * hop_length]
            for step in range(steps)
        ]
        return functools.reduce(jnp.add, [hop[..., :number, :] for hop in hops])

    return with_stored(summed, parts)
