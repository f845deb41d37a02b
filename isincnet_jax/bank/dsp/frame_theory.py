"""Frame theory of a strided filterbank: bounds, canonical dual and canonical tight banks.

A bank with C real channels and hop M is described at angular frequency w (per frame) by its
polyphase matrix E(w) [C, M]. The analysis is a frame if the eigenvalues of E(w)* E(w) stay
between two positive numbers, the frame bounds A and B, for all w:
``A ||x||^2 <= ||S||^2 <= B ||x||^2``. B / A is the condition number: 1 is a tight frame, a
large one amplifies noise on the coefficients, an infinite one loses part of the signal.

Everything here is float64 NumPy.

References:
    H. Boelcskei, F. Hlawatsch and H. Feichtinger, "Frame-theoretic analysis of oversampled
        filter banks", IEEE Trans. Signal Processing 46, 1998, sections III and IV.
    T. Strohmer, "Numerical algorithms for discrete Gabor expansions", in Gabor Analysis and
        Algorithms, 1998, chapter 8.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Complex, Float

from isincnet_jax.dsp.settling import settles

_SINGULAR = 1e-13


class FrameBounds(NamedTuple):
    """Frame bounds of a bank.

    Attributes:
        lower: A, the smallest eigenvalue of the frame operator; 0 if the bank is no frame.
        upper: B, the largest.
    """

    lower: float
    upper: float

    @property
    def condition(self) -> float:
        """Condition number B / A; infinite if the lower bound is 0."""
        return self.upper / self.lower if self.lower > 0 else float("inf")


def _blocks_of_kernels(
    kernels: Float[np.ndarray, "channels taps"], hop_length: int
) -> tuple[int, Float[np.ndarray, "blocks channels hop"]]:
    """Cuts kernels into the hop-sized blocks of the signal that they weight."""
    channels, taps = kernels.shape
    center = taps // 2
    # Block b holds the samples [b hop, (b + 1) hop) from the frame's position, tap taps // 2, on.
    first = -(-center // hop_length)
    num_blocks = first + -(-(taps - center) // hop_length)
    padded = np.zeros((channels, num_blocks * hop_length))
    start = first * hop_length - center
    padded[:, start : start + taps] = kernels
    return -first, padded.reshape(channels, num_blocks, hop_length).transpose(1, 0, 2)


def polyphase_matrix(
    kernels: Float[np.ndarray, "channels taps"], *, hop_length: int, frequency: np.ndarray
) -> Complex[np.ndarray, "frequencies channels hop"]:
    """Polyphase matrix E(w): analysis of a signal that advances by a phase w from block to block.

    Args:
        kernels: real channels [channels, taps], centred at tap ``taps // 2``.
        hop_length: M.
        frequency: angular frequencies in radians per frame.

    Returns:
        complex128 [frequencies, channels, hop].
    """
    first, blocks = _blocks_of_kernels(np.asarray(kernels, np.float64), hop_length)
    # E(w)[c, m] = sum_b exp(i w b) k_c[b hop + m]
    phases = np.exp(1j * np.outer(frequency, first + np.arange(len(blocks))))
    return np.tensordot(phases, blocks, axes=1)


def _extreme_eigenvalues(
    kernels: np.ndarray, hop_length: int, frequency: np.ndarray
) -> Float[np.ndarray, "frequencies 2"]:
    matrices = polyphase_matrix(kernels, hop_length=hop_length, frequency=frequency)
    extremes = np.empty((len(frequency), 2))
    for index, matrix in enumerate(matrices):
        eigenvalues = np.linalg.eigvalsh(matrix.conj().T @ matrix)
        extremes[index] = eigenvalues[0], eigenvalues[-1]
    return extremes


@settles
def frame_bounds_of_kernels(
    kernels: Float[np.ndarray, "channels taps"],
    *,
    hop_length: int,
    num_frequencies: int = 32,
    refine: bool = True,
) -> FrameBounds:
    """Frame bounds of a bank over all signals.

    The eigenvalues of E(w)* E(w) are sampled at ``num_frequencies`` points of [0, pi] (they
    are even in w) and, with ``refine``, the extremes are polished between the neighbouring
    samples by a bounded scalar search.

    Args:
        kernels: real channels [channels, taps].
        hop_length: samples between frames.
        num_frequencies: samples of w, ends included.
        refine: whether to search between samples; off for a quick estimate.

    Returns:
        The bounds; ``lower`` is exactly 0 where it lies below rounding (1e-13 of ``upper``).
    """
    grid = np.linspace(0.0, np.pi, num_frequencies)
    extremes = _extreme_eigenvalues(kernels, hop_length, grid)
    # A = min over w of the smallest eigenvalue, B = max over w of the largest; 0 is not polished
    lower, upper = float(extremes[:, 0].min()), float(extremes[:, 1].max())
    if refine and lower > _SINGULAR * upper:
        lower = _polish(kernels, hop_length, grid, extremes[:, 0], sign=1.0)
        upper = -_polish(kernels, hop_length, grid, -extremes[:, 1], sign=-1.0)
    return FrameBounds(lower if lower > _SINGULAR * upper else 0.0, upper)


@settles
def condition_of_inverse(
    kernels: Float[np.ndarray, "channels taps"],
    inverse: Float[np.ndarray, "channels inverse_taps"],
    *,
    hop_length: int,
) -> float:
    """Upper bound of the condition number of a bank whose exact inverse is known; no eigenvalues.

    Of ``D A = 1`` follows ``||x|| <= ||D|| ||A x||``: the lower frame bound is at least
    ``1 / ||D||^2``. With the hop-long blocks ``D_l`` of the synthesis kernels
    ``||D(w)|| <= sum_l ||D_l||_F``, and by Schur's test the upper bound is at most the largest sum
    over a channel's taps times the largest sum over a sample's channels, of magnitudes.

    Args:
        kernels: A, real channels [channels, taps].
        inverse: D, synthesis kernels [channels, inverse_taps].
        hop_length: samples between frames.

    Returns:
        At least B / A, often by some factors of ten.

    References:
        J. Schur, "Bemerkungen zur Theorie der beschränkten Bilinearformen mit unendlich vielen
            Veränderlichen", Journal für die reine und angewandte Mathematik 140, 1911.
    """
    magnitudes = np.abs(kernels)
    _, blocks = _blocks_of_kernels(magnitudes, hop_length)
    upper = float(magnitudes.sum(axis=1).max() * blocks.sum(axis=(0, 1)).max())
    _, parts = _blocks_of_kernels(np.asarray(inverse, np.float64), hop_length)
    norm = float(np.sum(np.sqrt(np.sum(parts**2, axis=(1, 2)))))
    return upper * norm**2


def _polish(
    kernels: np.ndarray, hop_length: int, grid: np.ndarray, values: np.ndarray, *, sign: float
) -> float:
    """The minimum of a sampled curve, searched for around its smallest sample."""
    import scipy.optimize  # noqa: PLC0415  (a third of a second; only here)

    best = int(np.argmin(values))
    # The extreme lies between the neighbours of the best sample.
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    column = 0 if sign > 0 else 1

    def curve(frequency: float) -> float:
        point = np.asarray([frequency])
        return sign * float(_extreme_eigenvalues(kernels, hop_length, point)[0, column])

    found: Any = scipy.optimize.minimize_scalar(
        curve, bounds=(low, high), method="bounded", options={"xatol": 1e-5, "maxiter": 25}
    )
    return float(min(found.fun, values[best]))


def _from_polyphase(
    matrices: Complex[np.ndarray, "frequencies channels hop"], num_blocks: int
) -> Float[np.ndarray, "channels taps"]:
    """Kernels centred at tap ``taps // 2`` whose polyphase matrix is sampled around the circle."""
    count, channels, hop_length = matrices.shape
    # k_c[b hop + m] = mean over w of E(w)[c, m] exp(-i w b), w = 2 pi j / count
    blocks = np.fft.fft(matrices, axis=0).real / count
    order = np.arange(-num_blocks, num_blocks + 1)
    kernels = blocks[order % count].transpose(1, 0, 2).reshape(channels, -1)
    return kernels[:, : 2 * num_blocks * hop_length + 1]


def _power_of_frame_operator(
    kernels: Float[np.ndarray, "channels taps"], *, hop_length: int, num_blocks: int, power: float
) -> Float[np.ndarray, "channels result_taps"]:
    """E (E* E)^power as kernels that reach ``num_blocks`` hops to either side."""
    # Sampling w aliases blocks ``count`` apart: twice the reach leaves tails that have decayed.
    count = max(4 * num_blocks, 64)
    grid = 2 * np.pi * np.arange(count) / count
    matrices = polyphase_matrix(kernels, hop_length=hop_length, frequency=grid)
    result = np.empty_like(matrices)
    for index in range(count // 2 + 1):
        eigenvalues, vectors = np.linalg.eigh(matrices[index].conj().T @ matrices[index])
        if eigenvalues[0] <= _SINGULAR * eigenvalues[-1]:
            raise ValueError(
                "the bank is no frame (its lower bound is 0), so it has no canonical dual; "
                "use more bins or a smaller hop_length"
            )
        # (E* E)^p = V diag(lambda^p) V*, then E (E* E)^p; real kernels have E(-w) = conj E(w)
        operator = (vectors * eigenvalues**power) @ vectors.conj().T
        result[index] = matrices[index] @ operator
        result[-index % count] = result[index].conj()
    return _from_polyphase(result, num_blocks)


@settles
def canonical_dual(
    kernels: Float[np.ndarray, "channels taps"], *, hop_length: int, num_blocks: int = 16
) -> Float[np.ndarray, "channels result_taps"]:
    """The canonical dual bank E (E* E)^-1: of all exact decoders the one of least noise gain.

    Its impulse responses are infinitely long and decay exponentially, the faster the nearer
    the condition number is to 1; they are cut ``num_blocks`` hops either side of the centre.

    Args:
        kernels: real channels [channels, taps].
        hop_length: samples between frames.
        num_blocks: reach of the result in hops.

    Returns:
        float64 [channels, 2 num_blocks hop + 1], centred.

    Raises:
        ValueError: if the bank is no frame.
    """
    return _power_of_frame_operator(
        kernels, hop_length=hop_length, num_blocks=num_blocks, power=-1.0
    )


@settles
def canonical_tight(
    kernels: Float[np.ndarray, "channels taps"], *, hop_length: int, num_blocks: int = 16
) -> Float[np.ndarray, "channels result_taps"]:
    """The canonical tight bank E (E* E)^-1/2: the nearest bank with frame bounds 1 and 1.

    Analysis with it preserves energy, ``||S|| = ||x||``, and its adjoint inverts it.

    Args:
        kernels: real channels [channels, taps].
        hop_length: samples between frames.
        num_blocks: reach of the result in hops; longer for ill-conditioned banks.

    Returns:
        float64 [channels, 2 num_blocks hop + 1], centred.

    Raises:
        ValueError: if the bank is no frame.
    """
    return _power_of_frame_operator(
        kernels, hop_length=hop_length, num_blocks=num_blocks, power=-0.5
    )
