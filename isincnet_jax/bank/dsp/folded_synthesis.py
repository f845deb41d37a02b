"""Synthesis by a folded inverse: the inverse cosine matrix, then short filters over frames.

One matrix product gives the folded values of every frame in the order of a block's samples, see
:class:`.folded_inverse.FoldedInverse`. The filter of the mirror images runs in that order, too, and
only its sum is reversed: one loop over the frames, each sample a few products.

Mirroring the frequencies, ``k -> N / 2 - k``, changes the sign of odd folded values, so that they
are sums over half the bins of differences of coefficients and their mirror images, and even ones
sums of sums: half the rounding errors. The products are not fewer, since even and odd values stand
side by side, and the matrix that holds both is half zeros; what that costs, putting them apart and
together again would cost, too.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float

from isincnet_jax.bank.dsp import folded_inverse, uniform_synthesis
from isincnet_jax.bank.dsp.folded_inverse import MIRROR, OWN, FoldedInverse
from isincnet_jax.dsp import framing
from isincnet_jax.dsp.materialized import with_stored
from isincnet_jax.dsp.ranks import match_rank
from isincnet_jax.typing import Array


def folded_synthesis(
    spectrogram: Float[Array, "... frames channels"],
    taps: Float[Array, "2 slots lags hop"],
    *,
    inverse: FoldedInverse,
    gains: Float[np.ndarray, " channels"],
    first_frame: int,
    length: int,
    precision: lax.PrecisionLike = lax.Precision.HIGHEST,
) -> Float[Array, "... time"]:
    """Synthesis by a folded inverse.

    Equal to :func:`.framing.synthesize_frames` with :func:`.folded_inverse.synthesis_kernels`, cut
    to the clip.

    Args:
        spectrogram: [..., frames, channels].
        taps: in the place of the inverse's own; where all positions of those are 0, these count as
            0, too.
        inverse: of the fold.
        gains: of the bank's channels.
        first_frame: index of the first frame.
        length: samples of the clip.
        precision: of the matrix products on accelerators.

    Returns:
        [..., length].
    """
    slots, hop = inverse.rows.shape
    # Block u has the samples u hop + start .. : blocks from the one of sample 0 on.
    first_block, skipped = divmod(-inverse.start, hop)
    number = -(-(skipped + length) // hop)
    # Mirror images are read from position M + p - 1 down to p, modulo M: a few positions of the
    # shorter stretch are written twice, before the block or behind it.
    turn = inverse.split
    before = hop - turn if 2 * turn >= hop else 0
    columns = (np.arange(hop + min(turn, hop - turn)) - before) % hop
    # With those before it, mirror images are read from the first column on, else from p on.
    last = before + turn if before else turn + hop
    places = {OWN: slice(before, before + hop), MIRROR: slice(last - hop, last)}
    matrices = [_split_matrix(row[columns], num_bins=len(gains)) for row in inverse.rows]

    def unfolded(rows: Array, count: int, taps: Array) -> jax.Array:
        # No barrier: the mirror image belongs into the loop that pads the rows.
        split = _with_mirror_image(rows, gains)
        few = uniform_synthesis.are_few(rows)
        values = uniform_synthesis.products([split] * slots, matrices, precision, few=few)

        def filtered(side: int, values: Any, taps: Any) -> Any:
            # y[u, i] = sum over slots q and lags k of taps[q, k, i] v_q[u - k, i]
            terms = []
            for slot, index in np.argwhere(np.any(inverse.taps[side], axis=-1)):
                first = len(inverse.lags) - 1 - index
                seen = values[slot][..., first : first + count, places[side]]
                terms.append(seen * match_rank(taps[slot, index], seen))
            return sum(terms[1:], terms[0])

        def unfold(own: Array, image: Array, *values: Array) -> Array:
            blocks = filtered(OWN, values, own)
            if not np.any(inverse.taps[MIRROR]):
                return blocks
            return blocks + jnp.flip(filtered(MIRROR, values, image), axis=-1)

        # Taps of mirror images in the order of the values that they meet.
        image = jnp.flip(taps[MIRROR], axis=-1)
        return with_stored(unfold, taps[OWN], image, *values)

    # Row u - first_block + lags[-1] - k is the frame k hops before block u.
    return framing.map_blocks(
        unfolded,
        spectrogram,
        taps,
        steps=inverse.lags,
        first_frame=first_frame - first_block,
        num_blocks=number,
        # The row, its sums and differences, folded values of every slot, and the block.
        block_values=2 * len(gains) + slots * len(columns) + hop,
        # Blocks that were flattened in the loop would have every sample looked up by a division.
        samples=(skipped, length),
    )


def _with_mirror_image(rows: Array, gains: np.ndarray) -> Array:
    """``d[N/2 - k] + d[k]`` in the lower half of the bins, ``d[N/2 - k] - d[k]`` in the upper one.

    d are the coefficients without their gains.
    """
    signs = np.where(_is_lower(len(gains)), 1.0, -1.0)
    plain = rows * match_rank(jnp.asarray(1.0 / gains, rows.dtype), rows)
    return jnp.flip(plain, axis=-1) + plain * match_rank(np.asarray(signs, rows.dtype), rows)


def _split_matrix(rows: np.ndarray, *, num_bins: int) -> np.ndarray:
    """Folded values [bins, values] of :func:`_with_mirror_image`; the lower bins give even ones."""
    matrix = folded_inverse.unfolding_matrix(rows, np.ones(num_bins))
    lower, even = _is_lower(num_bins)[:, None], rows % 2 == 0
    # Difference k stands in the place of its mirror image.
    matrix = np.where(lower, matrix * even, matrix[::-1] * ~even)
    if num_bins % 2:  # the middle bin is its own mirror image
        matrix[num_bins // 2] *= 0.5
    return matrix


def _is_lower(num_bins: int) -> np.ndarray:
    return np.arange(num_bins) < -(-num_bins // 2)
