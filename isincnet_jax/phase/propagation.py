"""Phase propagation: from differences of phase and their confidences, frame after frame.

Phase gradient heap integration (:mod:`.heap_integration`) follows one path to every coefficient,
the loudest first, on the host. Here every coefficient of a frame is the mean over many short paths:
from all neighbouring bins of the frame before, one step along time and then a few along frequency.
In complex numbers, with ``p`` of modulus 1, loudness ``w``, and steps ``a`` along frames and ``b``
along bins whose directions are the expected differences of phase and whose moduli, up to 1, are the
confidence in them:

    z[t, k] = sum_j  w[t, j] p[t - 1, j] a[t, j]  prod of b[t, .] between j and k,   p = z / |z|

The sum over j is a recursion along the bins, upwards with ``b`` and downwards with its conjugate,
cut off after ``2^levels - 1`` bins and taken by doubling. What comes after an onset says more about
its phases than the silence before it: a second pass goes back through the frames, with the paths
from the frame before as the first pass left it, and those from the frame after, ``conj(a)``. Two
passes are enough; more do not settle at anything better. The steps may be the analytic ones of a
Gaussian window (:func:`gaussian_steps`), or what a network makes of them. Everything is
differentiable; ``benchmarks/vocoder_quality.py`` compares it with heap integration and Griffin-Lim.

References:
    Z. Prusa, P. Balazs and P. Sondergaard, "A noniterative method for reconstruction of phase from
        STFT magnitude", IEEE/ACM Trans. Audio, Speech and Language Processing 25, 2017, section II
        (the analytic differences). https://doi.org/10.1109/TASLP.2017.2678166
    Y. Masuyama, K. Yatabe, Y. Koizumi, Y. Oikawa and N. Harada, "Phase reconstruction based on
        recurrent phase unwrapping with deep neural networks", ICASSP 2020 (differences of phase
        from a network, then one frame after the other). https://arxiv.org/abs/2002.05832
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Complex, Float

from isincnet_jax.dsp import checks
from isincnet_jax.dsp.ranks import match_rank
from isincnet_jax.dsp.settling import settles
from isincnet_jax.typing import Array

_FLOOR = 1e-7
_SILENCE = 1e-15  # its square is a normal number in float32
_QUIETEST = float(np.log(1e-5))  # paths through what is quieter count as this loud
_LEAST_POWER = 1e-24  # of a sum of paths; the slope of its root is within float32


class Steps(NamedTuple):
    """Phase differences expected between neighbours of centred frames, in radians.

    Attributes:
        per_frame: from frame t - 1 to frame t, [..., frames, bins]; no effect in the first frame.
        per_bin: from bin k - 1 to bin k, [..., frames, bins]; no effect in the first bin.
    """

    per_frame: jax.Array
    per_bin: jax.Array


def relative_level(
    magnitude: Float[Array, "... frames bins"], *, reference: float | None = None
) -> jax.Array:
    """Relative level: log of magnitudes over a reference, log(1e-7) (-140 dB) at least.

    Args:
        magnitude: [..., frames, bins], not negative.
        reference: positive; the largest magnitude of each clip if None, which only the whole clip
            tells.

    Returns:
        [..., frames, bins], natural logarithms; all log(1e-7) for silence. Without a reference 0
        at most.
    """
    magnitude = checks.as_floating(magnitude, "magnitude", ndim=2)
    if reference is not None:
        return jnp.log(jnp.maximum(magnitude * (1.0 / reference), _FLOOR))
    top = jnp.max(magnitude, axis=(-2, -1), keepdims=True)
    return jnp.log(jnp.maximum(magnitude / jnp.maximum(top, _SILENCE), _FLOOR))


def gaussian_steps(
    level: Float[Array, "... frames bins"],
    *,
    n_fft: int,
    hop_length: int,
    gamma: float,
    every: int = 1,
) -> Steps:
    """Phase differences that the level of a Gaussian window implies (Prusa et al., equation 12).

    Args:
        level: natural logarithm of the magnitude, [..., frames, 1 + n_fft // 2]; two frames or
            more.
        n_fft: samples per frame.
        hop_length: samples between frames.
        gamma: of the window in samples squared, see :func:`.heap_integration.window_gamma`.
        every: gives every so many bins only, ``1 + (bins - 1) // every`` of them, from the
            gradients of all.

    Returns:
        Differences of all frames, at ``1 + (bins - 1) // every`` bins, in the dtype of the level.

    Raises:
        ValueError: unless the bins are a multiple of ``every`` plus one, and for a single frame.
    """
    *_, frames, bins = level.shape
    if frames < 2 or (bins - 1) % every or bins < 3:
        raise ValueError(
            f"frames={frames}, bins={bins}, every={every}: needs 2 frames, 3 bins, and bins - 1 a "
            "multiple of every"
        )
    if n_fft < 1 or hop_length < 1 or not gamma > 0:
        raise ValueError(
            f"n_fft={n_fft}, hop_length={hop_length}, gamma={gamma}: use positive ones"
        )
    values = jnp.asarray(level)
    by_frame, by_bin = _gradient(values, axis=-2), _gradient(values, axis=-1)
    keep = [(0, 0)] * (level.ndim - 2)
    # d phi / dt per hop = 2 pi hop k / n_fft + (n_fft hop / gamma) ds/dk
    rotation = np.arange((bins - 1) // every + 1) * (2.0 * np.pi * hop_length / n_fft * every)
    slope = by_bin[..., ::every] * (n_fft * hop_length / gamma)
    # Trapezoidal rule: a step is the mean of the slopes at its two ends, as in heap integration.
    between = 0.5 * (slope[..., 1:, :] + slope[..., :-1, :])
    per_frame = jnp.pad(between, [*keep, (1, 0), (0, 0)])
    per_frame = per_frame + match_rank(jnp.asarray(rotation, level.dtype), per_frame)
    # d phi / dk per bin = -gamma / (n_fft hop) ds/dt, of frames that count from their middle
    slope = by_frame * (-gamma / (n_fft * hop_length))
    single = 0.5 * (slope[..., 1:] + slope[..., :-1])
    # A step over ``every`` bins is the sum of its single steps, [..., frames, joined].
    joined = jnp.sum(
        single.reshape((*single.shape[:-1], single.shape[-1] // every, every)), axis=-1
    )
    return Steps(per_frame, jnp.pad(joined, [*keep, (0, 0), (1, 0)]))


@settles
def propagated_phase(
    magnitude: Float[Array, "... frames bins"],
    *,
    n_fft: int,
    hop_length: int,
    gamma: float,
    confidence: float = 0.7,
    levels: int = 3,
    passes: int = 2,
) -> Complex[jax.Array, "... frames bins"]:
    """Phase directions ``exp(i phase)`` of :func:`.fourier.stft` from its magnitude alone.

    A start for Griffin-Lim that is jitted and batched, and needs no random numbers.

    Args:
        magnitude: [..., frames, 1 + n_fft // 2], not negative; two frames or more.
        n_fft: samples per frame, even.
        hop_length: samples between frames.
        gamma: of the window in samples squared, see :func:`.heap_integration.window_gamma`.
        confidence: weight of a path over one bin more, 0 to 1.
        levels: paths reach over ``2^levels - 1`` bins.
        passes: 1 goes forward only, 2 also back.

    Returns:
        [..., frames, bins], of modulus 1; 0 where no path leads.

    Raises:
        ValueError: for bins that are not those of ``n_fft``, an odd ``n_fft``, or a single frame.
        TypeError: for what is not floating.

    Example:
        >>> magnitude = jnp.ones((2, 5, 9), jnp.float32)
        >>> directions = propagated_phase(magnitude, n_fft=16, hop_length=4, gamma=60.0)
        >>> directions.shape, bool(jnp.allclose(jnp.abs(directions), 1.0))
        ((2, 5, 9), True)
    """
    check_bins(magnitude, n_fft=n_fft)
    if not 0 <= confidence <= 1:
        raise ValueError(f"confidence={confidence} must be 0 to 1")
    level = relative_level(magnitude)
    steps = gaussian_steps(level, n_fft=n_fft, hop_length=hop_length, gamma=gamma)
    flat, per_frame, per_bin = as_clips((level, *steps))
    turns = directions(per_bin)
    found = propagate(
        flat,
        directions(per_frame),
        scaled(turns, jnp.asarray(confidence, level.dtype)),
        levels=levels,
        passes=passes,
    )
    return counted_from_start(jnp.reshape(found, magnitude.shape))


def check_bins(magnitude: Float[Array, "... frames bins"], *, n_fft: int) -> None:
    """Checks that a magnitude has the bins of an even ``n_fft``.

    Args:
        magnitude: [..., frames, bins].
        n_fft: samples per frame.

    Raises:
        ValueError: for an odd ``n_fft``, or another number of bins.
    """
    if n_fft % 2 or magnitude.shape[-1] != 1 + n_fft // 2:
        raise ValueError(
            f"n_fft={n_fft}, {magnitude.shape[-1]} bins: an even n_fft has 1 + n_fft // 2 bins"
        )


def as_clips(tree: Any) -> Any:
    """Arrays with their leading axes as one.

    Args:
        tree: pytree of arrays [..., frames, bins].

    Returns:
        The same of [clips, frames, bins].
    """
    return jax.tree.map(lambda part: jnp.reshape(part, (-1, *part.shape[-2:])), tree)


def counted_from_start(
    directions: Complex[Array, "... frames bins"],
) -> Complex[jax.Array, "... frames bins"]:
    """Directions of centred frames as those of frames that count from their first sample, or back.

    Args:
        directions: [..., frames, bins] of an even ``n_fft``.

    Returns:
        Times ``(-1)^k``: half a frame lies between the two.
    """
    real = jnp.real(directions)
    alternating = jnp.asarray((-1.0) ** np.arange(real.shape[-1]), real.dtype)
    return scaled(directions, match_rank(alternating, real))


def _gradient(values: jax.Array, *, axis: int) -> jax.Array:
    """Central differences, one-sided at the ends."""
    found: Any = jnp.gradient(values, axis=axis)
    return found


def propagate(
    level: Float[Array, "batch frames bins"],
    along_frames: Complex[Array, "batch frames bins"],
    along_bins: Complex[Array, "batch frames bins"],
    *,
    levels: int = 3,
    passes: int = 2,
) -> Complex[jax.Array, "batch frames bins"]:
    """Phase directions ``exp(i phase)`` of centred frames from steps and their confidences.

    The first frame is integrated along its bins, from phase 0 at bin 0.

    Args:
        level: natural logarithm of the magnitude, for the loudness of paths.
        along_frames: steps from frame t - 1 to frame t; modulus 0 to 1.
        along_bins: steps from bin k - 1 to bin k; modulus 0 to 1.
        levels: paths reach over ``2^levels - 1`` bins.
        passes: 1 goes forward only, 2 also back.

    Returns:
        Complex numbers of modulus 1 (0 where no path leads). A STFT whose frames count from their
        first sample has these times ``(-1)^k``.

    Raises:
        ValueError: for another number of passes or levels.
    """
    if passes not in (1, 2) or levels < 1:
        raise ValueError(f"passes={passes}, levels={levels}: use 1 or 2, and 1 or more")
    turns = jnp.asarray(along_bins).at[..., 0].set(0)
    # A step of confidence 0 has no direction; phase goes on as it is.
    lost = turns[:, 0] == 0
    angle = jnp.angle(jnp.where(lost, jnp.ones_like(turns[:, 0]), turns[:, 0]))
    first = directions(jnp.cumsum(angle, axis=-1))
    # Both ends of a step in time count: a loud onset says nothing about its silent past.
    loudness = jnp.maximum(level, _QUIETEST)
    weights = jnp.exp(loudness[:, 1:] + loudness[:, :-1])
    # Frames first: [frames - 1, batch, bins], and [frames, levels, batch, bins].
    steps = jnp.moveaxis(scaled(jnp.asarray(along_frames)[:, 1:], weights), 1, 0)
    reaches = jnp.moveaxis(_reaches(turns, levels), 2, 0)

    def forward(before: jax.Array, inputs: tuple[jax.Array, jax.Array]) -> tuple:
        step, reach = inputs
        found = normalized(_spread(before * step, reach))
        return found, found

    # z[t] = spread of p[t - 1] a[t] w[t] w[t - 1] along the bins, p = z / |z|
    _, rest = lax.scan(forward, first, (steps, reaches[1:]))
    found = jnp.concatenate([first[None], rest])
    if passes == 1:
        return jnp.moveaxis(found, 0, 1)

    def back(after: jax.Array, inputs: tuple[jax.Array, jax.Array, jax.Array]) -> tuple:
        past, step, reach = inputs
        found = normalized(_spread(past + after * jnp.conj(step), reach))
        return found, found

    # Backwards: paths from frame t - 1 as the first pass left it, and from t + 1 by conj(a).
    nothing = jnp.zeros_like(first)[None]
    past = jnp.concatenate([nothing, found[:-1] * steps])
    following = jnp.concatenate([steps, nothing])
    _, found = lax.scan(back, nothing[0], (past, following, reaches), reverse=True)
    return jnp.moveaxis(found, 0, 1)


def _reaches(turns: jax.Array, levels: int) -> jax.Array:
    """Products of 1, 2, 4, ... steps up to each bin, [levels, batch, frames, bins]."""
    reaches = [turns]
    for power in range(levels - 1):
        # R_{i+1}[k] = R_i[k] R_i[k - 2^i]: twice as many steps up to bin k
        reaches.append(reaches[-1] * _moved(reaches[-1], 1 << power))
    return jnp.stack(reaches)


def _spread(sources: jax.Array, reach: jax.Array) -> jax.Array:
    """Sums over the paths of a frame, from sources [batch, bins] and reaches [levels, ...]."""
    up = down = sources
    for power, turn in enumerate(reach):
        # Paths of up to 2^i - 1 bins, then of 2^(i+1) - 1: those, and those carried on by 2^i bins.
        up = up + turn * _moved(up, 1 << power)
        down = down + _moved(jnp.conj(turn) * down, -(1 << power))
    # The source itself is in both sums.
    return up + down - sources


def _moved(values: jax.Array, bins: int) -> jax.Array:
    """``values[..., k - bins]``, 0 beyond the ends."""
    keep = [(0, 0, 0)] * (values.ndim - 1)
    return lax.pad(values, jnp.zeros((), values.dtype), [*keep, (bins, -bins, 0)])


def normalized(values: Complex[Array, "..."]) -> Complex[jax.Array, "..."]:
    """Complex numbers divided by their modulus, fading to 0 below 1e-12; finite gradients.

    Args:
        values: complex, any shape.

    Returns:
        Complex, in their shape, of modulus 1 or less.
    """
    power = jnp.real(values) ** 2 + jnp.imag(values) ** 2
    return scaled(values, lax.rsqrt(power + _LEAST_POWER))


def directions(angle: Float[Array, "..."]) -> Complex[jax.Array, "..."]:
    """Unit phasors ``exp(i angle)``.

    Args:
        angle: radians, any shape.

    Returns:
        Complex, in the shape of the angles.
    """
    return lax.complex(jnp.cos(angle), jnp.sin(angle))


def scaled(values: Complex[Array, "..."], factor: Float[Array, "..."]) -> Complex[jax.Array, "..."]:
    """Complex values times real factors.

    Args:
        values: complex, any shape.
        factor: real, of a shape that goes with theirs.

    Returns:
        Complex, in the dtype of the values.
    """
    return lax.complex(jnp.real(values) * factor, jnp.imag(values) * factor)
