"""Inverse of a real uniform bank: a cosine matrix undone, then a fold undone by short filters.

A frame of such a bank is a cosine transform of its fold, ``c = diag(g) C y``, see
:mod:`.uniform`, with ``y[r] = sum of w[o] x[tM + o]`` over the offsets o that are r
or -r modulo N. C is square and known, so that ``y = C^-1 diag(1 / g) c``; what is left is to find x
of y, and that is sparse: if a fold takes a sample to its mirror image only, ``o -> s - o`` modulo
the hop, samples stand in equations with samples of their own residue and of one other. Every such
pair of residues is a small system of its own, solved here for the least noise; its filters are
short, since windows decay.

With blocks of M samples the mirror image of position i is position ``p - 1 - i``, or ``M + p - 1 -
i`` for i from p on. A block is then a filter over frames of the folded values that stand at its
positions, plus a reversed filter of those that stand at their mirror images:
:mod:`.folded_synthesis`.

References:
    J. P. Princen and A. B. Bradley, "Analysis/synthesis filter bank design based on time domain
        aliasing cancellation", IEEE Trans. ASSP 34(5), 1986: folds of a window, undone by the
        frames beside it. Departure: the windows are whatever they are, so that frames further away
        are needed, too.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from isincnet_jax.bank.dsp import decoders, uniform

OWN, MIRROR = 0, 1
_REACHES = (8, 16, 32)
_SOLVED = 1e-9
_NEGLIGIBLE = 5e-9
_ROUNDING = 1e-12
_NOISIER = 1.01
_WHOLE_HOPS = 1.05
_RIDGE = 1e-11
_REFINEMENTS = 12
_AT_ONCE = 64


class FoldedInverse(NamedTuple):
    """Filters over frames that undo a fold.

    Attributes:
        taps: float64 [2, slots, lags, hop], for every position of a block: those of the folded
            values at the position, then those of the values at its mirror image.
        rows: the folded value r that stands in a slot at a position, [slots, hop]; -1 for none.
        start: sample of a block's position 0, relative to the block's frame.
        split: p, positions of the first of the two stretches that are their own mirror images.
        first_lag: hops from the latest frame of a block to the block; negative if it lies behind.
    """

    taps: Float[np.ndarray, "2 slots lags hop"]
    rows: Int[np.ndarray, "slots hop"]
    start: int
    split: int
    first_lag: int

    @property
    def lags(self) -> range:
        """Hops from frames to the blocks that they reach."""
        return range(self.first_lag, self.first_lag + self.taps.shape[2])


class _Place(NamedTuple):
    """Where blocks lie, and what their mirror images are, see :class:`FoldedInverse`."""

    start: int
    split: int
    hop_length: int


class _Fold(NamedTuple):
    """Fold of a window: ``y_t[r] = sum over entries of weight x[t M + offset]``."""

    value: np.ndarray  # r of every entry
    offset: np.ndarray
    weight: np.ndarray


def mirrored(split: int, hop_length: int) -> Int[np.ndarray, " hop"]:
    """Mirror image of every position of a block.

    Args:
        split: p, see :class:`FoldedInverse`.
        hop_length: M, positions.

    Returns:
        ``(p - 1 - i) mod M``.
    """
    return (split - 1 - np.arange(hop_length)) % hop_length


def unfolding_matrix(
    rows: Int[np.ndarray, " *values"], gains: Float[np.ndarray, " bins"]
) -> Float[np.ndarray, " bins *values"]:
    """Columns of the transposed inverse, ``(C^-1 diag(1 / g))^T``.

    Args:
        rows: folded values r, of any shape; -1 for a column of zeros.
        gains: g.

    Returns:
        float64 [bins, *values].
    """
    # C^-1 = 4 / N D C D, D = diag(1/2, 1, .., 1, 1/2)
    half = np.ones(len(gains))
    half[[0, -1]] = 0.5
    cosine = uniform.dft_matrices(len(gains), 0, len(gains) - 1)[0]
    inverse = 2.0 / (len(gains) - 1) * half[:, None] * cosine * half / gains[:, None]
    return np.where(rows >= 0, inverse[:, rows], 0.0)


def solve(
    window: Float[np.ndarray, " taps"], gains: Float[np.ndarray, " bins"], *, hop_length: int
) -> FoldedInverse | None:
    """Filters that undo the fold of a bank with the least noise gain.

    A block is solved from 8, 16 or 32 hops of frames on either side, as many as it takes; lags with
    less than 5e-9 of the filters' root energy are left out. Where the bank has more channels than
    the hop has samples, as few folded values are used as have a noise gain within 1 % of all of
    them.

    Args:
        window: w, centred at tap ``taps // 2``.
        gains: of the channels.
        hop_length: M.

    Returns:
        The filters; None if the fold mixes more than two residues, or hides samples.
    """
    fold = _fold(window, period=2 * (len(gains) - 1))
    mirror = _mirror_sum(fold, hop_length)
    if mirror is None or len(np.unique(fold.offset % hop_length)) < hop_length:
        return None
    # A block is the stretch that its own frame weighs most; a whole hop before or behind the frame
    # if that is almost as good, so that blocks begin with the clip.
    energy = np.zeros(np.ptp(fold.offset) + 1)
    energy[fold.offset - np.min(fold.offset)] = fold.weight**2
    stretches = np.convolve(energy, np.ones(hop_length), mode="valid")
    starts = np.min(fold.offset) + np.arange(len(stretches))
    start = int(starts[np.argmax(stretches * np.where(starts % hop_length, 1.0, _WHOLE_HOPS))])
    place = _Place(start, (mirror - 2 * start + 1) % hop_length, hop_length)
    variance = np.sum(unfolding_matrix(np.arange(len(gains)), gains) ** 2, axis=0)
    for reach in _REACHES:
        found = _fewest_slots(fold, variance, place, reach)
        if found is not None:
            return found
    return None


def synthesis_kernels(
    inverse: FoldedInverse, gains: Float[np.ndarray, " bins"]
) -> decoders.SynthesisKernels:
    """Synthesis kernels, dense, that a folded inverse stands for: the oracle of the fast path.

    Args:
        inverse: filters over frames.
        gains: g of the bank.

    Returns:
        Kernels [bins, whole hops]; residual and noise gain are 0: not measured.
    """
    _, slots, lags, hop = inverse.taps.shape
    kernels = np.zeros((len(gains), lags, hop))
    mirror = mirrored(inverse.split, hop)
    for slot in range(slots):
        own = unfolding_matrix(inverse.rows[slot], gains)[:, None, :]
        kernels += own * inverse.taps[OWN, slot] + own[..., mirror] * inverse.taps[MIRROR, slot]
    lead = -inverse.first_lag * hop - inverse.start
    whole = kernels.reshape(len(gains), -1)
    if lead < 0:  # the first block lies behind its frame
        whole, lead = np.pad(whole, ((0, 0), (-lead, 0))), 0
    return decoders.aligned_to_hops(whole, lead=lead, hop_length=hop)


def _fold(window: np.ndarray, *, period: int) -> _Fold:
    taps = np.flatnonzero(window)
    offset = taps - len(window) // 2
    # |o| modulo N, mirrored into 0 .. N / 2
    value = offset % period
    return _Fold(np.minimum(value, period - value), offset, window[taps])


def _mirror_sum(fold: _Fold, hop_length: int) -> int | None:
    """s with ``o + o' = s`` modulo the hop for all offsets of one value that differ modulo it."""
    sums = set()
    for value in np.unique(fold.value):
        offsets = np.unique(fold.offset[fold.value == value] % hop_length)
        if len(offsets) > 2:
            return None
        if len(offsets) == 2:
            sums.add(int(np.sum(offsets)) % hop_length)
    return None if len(sums) > 1 else sums.pop() if sums else 0


def _fewest_slots(
    fold: _Fold, variance: np.ndarray, place: _Place, reach: int
) -> FoldedInverse | None:
    rows = _by_position(fold, variance, place)
    best, noise = _solve_slots(fold, variance, rows, place, reach)
    if best is None:
        return None
    for slots in range(1, len(rows)):
        found, other = _solve_slots(fold, variance, rows[:slots], place, reach)
        if found is not None and other <= _NOISIER**2 * noise:
            return found
    return best


def _by_position(fold: _Fold, variance: np.ndarray, place: _Place) -> Int[np.ndarray, "slots hop"]:
    """Folded values of every position, those with the least noise first, -1 where there are fewer.

    A value belongs to the sample that it weighs most.
    """
    found: list[list[tuple[float, int]]] = [[] for _ in range(place.hop_length)]
    for value in np.unique(fold.value):
        entries = np.flatnonzero(fold.value == value)
        largest = entries[np.argmax(np.abs(fold.weight[entries]))]
        noise = float(variance[value] / fold.weight[largest] ** 2)
        found[(fold.offset[largest] - place.start) % place.hop_length].append((noise, int(value)))
    slots = max(map(len, found))
    return np.asarray([([v for _, v in sorted(each)] + [-1] * slots)[:slots] for each in found]).T


def _solve_slots(
    fold: _Fold, variance: np.ndarray, rows: np.ndarray, place: _Place, reach: int
) -> tuple[FoldedInverse | None, float]:
    """Filters of the values of some slots, and their noise power, folded values independent."""
    slots, hop = rows.shape
    position = np.full(len(variance), -1)
    slot = np.zeros_like(position)
    for index, row in enumerate(rows):
        used = np.flatnonzero(row >= 0)
        position[row[used]] = used
        slot[row[used]] = index
    # weights[i, q, side, m] of the sample that lies m blocks after the frame, at position i or at
    # its mirror image, in the value of slot q at position i; over its deviation, for equal noise.
    kept = position[fold.value] >= 0
    value, offset = fold.value[kept], fold.offset[kept] - place.start
    shift = offset // hop
    first = int(np.min(shift))
    weights = np.zeros((hop, slots, 2, int(np.max(shift)) - first + 1))
    at = position[value]
    side = np.where(offset % hop == at, OWN, MIRROR)
    weights[at, slot[value], side, shift - first] = fold.weight[kept] / np.sqrt(variance[value])
    mirror = mirrored(place.split, hop)
    taps, residual = _solve_pairs(weights, mirror, first, reach)
    if residual > _SOLVED:
        return None, np.inf
    noise = float(np.sum(taps**2))
    # [hop, side, slot, frame t] to [side, slot, lag -t, hop]
    taps = taps[..., ::-1].transpose(1, 2, 3, 0)
    # A position that is its own mirror image takes its filter from where the others have taps.
    alone = mirror == np.arange(hop)
    energy = np.sum(np.where(alone, 0.0, taps**2), axis=-1)
    swapped = (energy[MIRROR] > energy[OWN])[..., None] & alone
    taps = np.stack([np.where(swapped, 0.0, taps[OWN]), np.where(swapped, taps[OWN], taps[MIRROR])])
    taps[np.sum(taps**2, axis=-1) <= _NEGLIGIBLE**2 * noise] = 0.0
    taps[np.abs(taps) <= _ROUNDING * np.max(np.abs(taps))] = 0.0
    lags = np.flatnonzero(np.any(taps, axis=(0, 1, 3)))
    taps = taps[:, :, lags[0] : lags[-1] + 1]
    # Back from values of variance 1; those of the mirror image have their own.
    deviation = np.sqrt(np.where(rows >= 0, variance[rows], 1.0))[:, None]
    taps = np.stack([taps[OWN] / deviation, taps[MIRROR] / deviation[..., mirror]])
    return FoldedInverse(taps, rows, place.start, place.split, int(lags[0]) - reach), noise


def _solve_pairs(
    weights: np.ndarray, mirror: np.ndarray, first: int, reach: int
) -> tuple[np.ndarray, float]:
    """Filters [hop, 2, slots, frames] of the least energy, and their residual."""
    hop, slots, _, shifts = weights.shape
    frames = 2 * reach + 1
    blocks = frames + shifts - 1
    # Values at a position, then those at its mirror image, whose own samples are its mirror's.
    both = np.stack([weights, weights[mirror][:, :, ::-1]], axis=1)
    both[mirror == np.arange(hop), 1] = 0.0
    # The sample wanted is that of block 0; the first frame, -reach, sees blocks from first - reach.
    wanted = np.zeros((1, 2 * blocks))
    wanted[0, reach - first] = 1.0
    found, squares = [], 0.0
    for begin in range(0, hop, _AT_ONCE):
        some = both[begin : begin + _AT_ONCE]
        # A[i, (side, slot, t), (side, u)] = weight at u - t, [hop, 2, slots, frames, 2, blocks]
        system = np.zeros((len(some), 2, slots, frames, 2, blocks))
        for frame in range(frames):
            system[:, :, :, frame, :, frame : frame + shifts] = some
        system = system.reshape(len(some), 2 * slots * frames, 2 * blocks)
        solution, error = _solve_rows(system, wanted)
        found.append(solution)
        squares += error
    residual = float(np.sqrt(squares / hop))
    return np.concatenate(found).reshape(hop, 2, slots, frames), residual


def _solve_rows(system: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, float]:
    """``W A = E`` for many A at once, as :func:`.decoders.solve_left_inverse`; sum of squares."""
    transposed = system.transpose(0, 2, 1)
    tall = system.shape[1] >= system.shape[2]
    # (A^T A + l)^-1 A^T = A^T (A A^T + l)^-1, by the smaller of the two
    gram = transposed @ system if tall else system @ transposed
    size = gram.shape[1]
    ridge = _RIDGE * np.trace(gram, axis1=1, axis2=2) / size
    inverse = np.linalg.inv(gram + ridge[:, None, None] * np.eye(size))
    solution, error, square = np.zeros(()), wanted, np.inf
    for _ in range(1 + _REFINEMENTS):
        # E (A^T A + l)^-1 A^T, or E A^T (A A^T + l)^-1
        step = error @ inverse @ transposed if tall else error @ transposed @ inverse
        candidate = solution + step
        remaining = wanted - candidate @ system
        found = float(np.sum(remaining**2))
        if found >= square:
            break
        solution, error, square = candidate, remaining, found
    return solution, square
