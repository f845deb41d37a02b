"""Synthesis with a dual window: inverse DFT, periodic continuation, window, overlap-add.

Every block of ``hop`` output samples sees, of each frame near it, one stretch of the inverse DFT.
A stretch or its mirror image lies almost within half a period, which is all that is computed: an
even part from the cosine channels, an odd part from the sine channels. Mirroring the frequencies,
``b -> N / 2 - b``, changes the sign of every second offset, so that sums and differences of the
coefficients and their mirror image meet matrices of a quarter of the size. Where N has small
factors, an FFT takes their place.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

from isincnet_jax.bank.dsp import uniform
from isincnet_jax.dsp import batched_fft, framing
from isincnet_jax.dsp.materialized import with_stored
from isincnet_jax.dsp.ranks import match_rank
from isincnet_jax.typing import Array

_FEW_FRAMES = 16
_BINS_PER_GROUP = 32


class _Stretch(NamedTuple):
    """Offsets ``start .. start + hop - 1`` of the inverse DFT, or their mirror image, reversed."""

    start: int
    mirrored: bool


class _Blocks(NamedTuple):
    """How blocks of output follow from frames.

    Attributes:
        steps: hops from an output block to the frames that reach it.
        number: of blocks.
        hop_length: samples of a block.
    """

    steps: range
    number: int
    hop_length: int

    def rows(self, step: int) -> slice:
        """The row of :func:`.framing.rows_for_blocks` that every block finds at a step."""
        first = self.steps[-1] - step
        return slice(first, first + self.number)


def uniform_synthesis(
    spectrogram: Float[Array, "... frames channels"],
    dual: Float[Array, " dual_taps"],
    *,
    num_bins: int,
    hop_length: int,
    lead: int,
    first_frame: int,
    length: int,
    method: uniform.Method | None = None,
    precision: lax.PrecisionLike = lax.Precision.HIGHEST,
) -> Float[Array, "... time"]:
    """Synthesis with a dual window.

    Equal to :func:`.framing.synthesize_frames` with :func:`.uniform.synthesis_kernels`, cut to the
    clip.

    Args:
        spectrogram: [..., frames, channels].
        dual: dual window, a whole number of hops long.
        num_bins: bins.
        hop_length: samples between frames.
        lead: taps of the dual before a frame's position, a whole number of hops.
        first_frame: index of the first frame.
        length: samples of the clip.
        method: of the DFT; if None that of :func:`.uniform.choose_method`, with "folded" for
            "mirrored" on accelerators, where passes over the frames cost more than products.
        precision: of the matrix products on accelerators.

    Returns:
        [..., length].

    Raises:
        ValueError: if the dual window or its lead is no whole number of hops.
    """
    steps = framing.block_steps(dual.shape[0], lead=lead, hop_length=hop_length)
    windows = jnp.reshape(jnp.asarray(dual), (len(steps), hop_length))
    chosen = method or uniform.choose_method(
        num_bins, operation="synthesis", dtype=spectrogram.dtype
    )

    def synthesised(rows: Array, number: int, windows: Array) -> jax.Array:
        blocks = _Blocks(steps, number, hop_length)
        if chosen == "fft":
            return _transformed(rows, windows, blocks=blocks, num_bins=num_bins)
        options = {"blocks": blocks, "num_bins": num_bins, "precision": precision}
        folded = functools.partial(_folded, **options)
        mirrored = functools.partial(_mirrored, **options)
        if method == "mirrored":
            return mirrored(rows, windows)
        if chosen == "mirrored":
            return lax.platform_dependent(rows, windows, cpu=mirrored, default=folded)
        return folded(rows, windows)

    # Row u + steps[-1] - s is the frame s hops before block u, and window s its hop of the dual.
    return framing.map_blocks(
        synthesised,
        spectrogram,
        windows,
        steps=steps,
        first_frame=first_frame,
        num_blocks=-(-length // hop_length),
        # Mirrored coefficients, the inverse DFT's two halves, and the block.
        block_values=4 * num_bins + hop_length,
        samples=(0, length),
    )


def _folded(
    rows: Array,
    windows: Array,
    *,
    blocks: _Blocks,
    num_bins: int,
    precision: lax.PrecisionLike,
) -> jax.Array:
    """Blocks [..., number, hop] by the even and the odd part of the inverse DFT."""
    hop = blocks.hop_length
    stretches, low, high = _stretches(blocks, num_bins)
    # x_t[n] = sum_b w_b (C[b] cos(2 pi b n / N) + S[b] sin(2 pi b n / N)), w_b = 1 or 2: the even
    # and the odd part, [..., rows, offsets low .. high]; barriers keep products and sums apart.
    halves = lax.optimization_barrier((rows[..., :num_bins], rows[..., num_bins:]))
    matrices = [matrix.T for matrix in uniform.inverse_dft_matrices(num_bins, low, high)]
    even, odd = lax.optimization_barrier(products(halves, matrices, precision, few=are_few(rows)))
    total = jnp.zeros((*rows.shape[:-2], blocks.number, hop), rows.dtype)
    for step, window, stretch in zip(blocks.steps, windows, stretches, strict=True):
        # y[u hop + i] += dual[lead + s hop + i] x_{u - s}[s hop + i]
        place = (..., blocks.rows(step), slice(stretch.start - low, stretch.start - low + hop))
        total = total + _values(even[place], odd[place], stretch) * match_rank(window, total)
    return total


def _mirrored(
    rows: Array,
    windows: Array,
    *,
    blocks: _Blocks,
    num_bins: int,
    precision: lax.PrecisionLike,
) -> jax.Array:
    """Blocks [..., number, hop] by mirrored coefficients; every second offset at a time.

    The overlap-add runs over pairs of samples, a last axis of two that becomes one store of both.
    """
    hop = blocks.hop_length
    pairs = -(-hop // 2)
    stretches, low, high = _stretches(blocks, num_bins)
    # A block of an odd hop is one sample shorter than its pairs, which then look one offset beyond
    # the stretch. Products are faster for an even number of columns.
    low -= 1 + (low - 1) % 2
    columns = -(-(high + 2 - low) // 2)
    columns += columns % 2
    even, odd = _mirrored_offsets(rows, num_bins, low, low + 2 * columns - 1, precision)
    padded = jnp.pad(windows, ((0, 0), (0, 2 * pairs - hop)))
    total: Any = jnp.zeros((), rows.dtype)
    for step, window, stretch in zip(blocks.steps, padded, stretches, strict=True):
        # Samples 0, 2, 4, ... of a block, then 1, 3, 5, ...; of a mirrored stretch they run
        # backwards.
        samples = []
        for parity in (0, 1):
            last = 2 * (pairs - 1) + parity
            offset = hop - 1 - last if stretch.mirrored else parity
            # Offset low + 2 column + which: ``which`` says even or odd offsets.
            column, which = divmod(stretch.start + offset - low, 2)
            place = (..., blocks.rows(step), slice(column, column + pairs))
            part = _values(even[which][place], odd[which][place], stretch)
            samples.append(part[..., None])
        first = match_rank(np.array([True, False]), samples[0])
        both = jnp.where(first, *samples)
        total = total + both * match_rank(jnp.reshape(window, (pairs, 2)), both)
    return _cut_blocks(total, (*rows.shape[:-2], blocks.number, 2 * pairs), hop)


def _mirrored_offsets(
    rows: Array, num_bins: int, low: int, high: int, precision: lax.PrecisionLike
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """Even and odd parts of the inverse DFT, each at offsets low, low + 2 .. and between them."""
    half = -(-num_bins // 2)

    def mirror(rows: Array) -> list[Array]:
        # In two dimensions, so that no loop has to divide its index.
        flat = jnp.reshape(rows, (math.prod(rows.shape[:-1]), 2 * num_bins))
        cosine, sine = flat[:, :num_bins], flat[:, num_bins:]
        cosine_back, sine_back = jnp.flip(cosine, axis=-1), jnp.flip(sine, axis=-1)
        # cos(2 pi (N/2 - b) n / N) = (-1)^n cos(2 pi b n / N), and sin likewise times -(-1)^n: sums
        # and
        # differences of b and N/2 - b meet even and odd offsets. low is even.
        pairs = (
            cosine + cosine_back,
            cosine - cosine_back,
            sine - sine_back,
            sine + sine_back,
        )
        return [pair[:, :half] for pair in pairs]

    parts = with_stored(mirror, rows)
    cosines, sines = (
        matrix[:, :half].T for matrix in uniform.inverse_dft_matrices(num_bins, low, high)
    )
    if num_bins % 2:  # the middle bin is its own mirror image
        middle = np.ones((half, 1))
        middle[-1] = 0.5
        cosines, sines = cosines * middle, sines * middle
    matrices = [cosines[:, 0::2], cosines[:, 1::2], sines[:, 0::2], sines[:, 1::2]]
    found = [
        jnp.reshape(product, (*rows.shape[:-1], product.shape[-1]))
        for product in products(parts, matrices, precision, few=are_few(rows))
    ]
    return (found[0], found[1]), (found[2], found[3])


def _transformed(rows: Array, windows: Array, *, blocks: _Blocks, num_bins: int) -> jax.Array:
    """Blocks [..., number, hop] by an inverse FFT of every frame."""
    period, hop = 2 * (num_bins - 1), blocks.hop_length
    # x_t = irfft(C - i S): numpy counts inner bins twice, as the dual asks for.
    spectrum = lax.complex(rows[..., :num_bins], -rows[..., num_bins:])
    frames = batched_fft.irfft(spectrum, period)
    scaled = windows * np.asarray(period, windows.dtype)  # the dual has the 1 / N of the inverse
    total: Any = jnp.zeros((), frames.dtype)
    for step, window in zip(blocks.steps, scaled, strict=True):
        place = frames[..., blocks.rows(step), :]
        # x_t repeats with N: a stretch that wraps around is cut from copies put end to end.
        start = step * hop % period
        turns = -(-(start + hop) // period)
        repeated = jnp.concatenate([place] * turns, axis=-1) if turns > 1 else place
        part = repeated[..., start : start + hop]
        total = total + part * match_rank(window, part)
    return _cut_blocks(total, total.shape, hop)


def _cut_blocks(total: Array, shape: tuple[int, ...], hop_length: int) -> jax.Array:
    """A sum of frames as blocks of a shape, the last axis cut to a hop, in a loop of their own.

    Blocks that were cut or flattened in the loop of the sum would have every sample looked up by a
    division.
    """
    return with_stored(lambda total: jnp.reshape(total, shape)[..., :hop_length], total)


def _values(even: Any, odd: Any, stretch: _Stretch) -> Any:
    """The inverse DFT over a stretch, of its even and its odd part there."""
    return jnp.flip(even - odd, axis=-1) if stretch.mirrored else even + odd


def _stretches(blocks: _Blocks, num_bins: int) -> tuple[list[_Stretch], int, int]:
    """The stretch of every step, and the first and last offset of all of them."""
    hop = blocks.hop_length
    found = [_best_stretch(step * hop, hop, num_bins) for step in blocks.steps]
    starts = [stretch.start for stretch in found]
    return found, min(starts), max(starts) + hop - 1


def _best_stretch(offset: int, size: int, num_bins: int) -> _Stretch:
    """Where ``size`` offsets from ``offset`` on lie, modulo N and up to mirroring.

    Returns:
        The stretch that sticks out of 0 .. N/2 the least.
    """
    period = 2 * (num_bins - 1)
    # x[n] at n = offset .., or its mirror image at -n, from the last offset on; each modulo N in
    # 0 .. N - 1, or a period lower.
    candidates = [
        _Stretch(base % period - period * wrap, mirrored)
        for base, mirrored in ((offset, False), (-offset - size + 1, True))
        for wrap in (0, 1)
    ]
    return min(
        candidates,
        key=lambda item: max(0, -item.start) + max(0, item.start + size - num_bins),
    )


def are_few(rows: Array) -> bool:
    """Whether the rows of a clip are so few that :func:`products` should sum them in groups.

    Args:
        rows: [..., rows, bins].

    Returns:
        True up to 16 rows.
    """
    return rows.shape[-2] <= _FEW_FRAMES


def products(
    parts: Sequence[Any],
    matrices: Sequence[np.ndarray],
    precision: lax.PrecisionLike,
    *,
    few: bool,
) -> tuple[jax.Array, ...]:
    """Products of rows [..., rows, bins] and matrices [bins, offsets].

    A clip of a sample or two turns into sums of equal terms, whose rounding errors all point the
    same way: 128 dB at worst for 256 bins. Sums over few frames are therefore taken in groups of
    bins, for 136 dB.

    Args:
        parts: rows.
        matrices: float64, one for each of them; cast to the rows' dtype.
        precision: of the products on accelerators.
        few: whether to sum in groups, see :func:`are_few`.

    Returns:
        [..., rows, offsets] of every pair.
    """
    num_bins = matrices[0].shape[0]
    size = _BINS_PER_GROUP if few else num_bins
    groups = [slice(start, start + size) for start in range(0, num_bins, size)]

    def product(part: Array, matrix: np.ndarray) -> jax.Array:
        terms = [
            jnp.matmul(
                part[..., group], jnp.asarray(matrix[group], part.dtype), precision=precision
            )
            for group in groups
        ]
        return jnp.asarray(sum(terms[1:], terms[0]))

    return tuple(product(*pair) for pair in zip(parts, matrices, strict=True))
