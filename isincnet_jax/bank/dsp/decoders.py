"""Linear decoders of a bank, solved in float64: least squares, Wiener, canonical dual.

J consecutive frames see N samples: s = A x, with A [J C, N]. A decoder that emits the M
samples of one block from those J frames is a matrix W [M, J C]; it is exact for every signal
if and only if W A = E, where E picks the block. The columns of W, read per channel, are
synthesis kernels: each frame adds ``S[t, c] g_c`` around its own position, so every decoder
of this module is a set of kernels for :func:`.framing.synthesize_frames`.

References:
    T. Strohmer, "Numerical algorithms for discrete Gabor expansions", in Gabor Analysis and
        Algorithms, 1998, chapter 8 (finite sections).
    J. Wexler and S. Raz, "Discrete Gabor expansions", Signal Processing 21, 1990 (dual
        windows by biorthogonality).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy  # and its linalg where it is used: importing that takes a tenth of a second
from jaxtyping import Float

from isincnet_jax.bank.dsp import frame_theory
from isincnet_jax.dsp.settling import settles


class SynthesisKernels(NamedTuple):
    """Synthesis kernels and how well they invert.

    Attributes:
        kernels: float64 [channels, taps], a whole number of hops long.
        lead: taps before the frame's own position, a whole number of hops.
        residual: root mean square of W A - E over one block: the relative error on white noise
            (1e-7 is 140 dB). 0 if not measured.
        noise_gain: root mean square of the output for white noise of variance 1 on the
            coefficients.
    """

    kernels: np.ndarray
    lead: int
    residual: float
    noise_gain: float


def analysis_matrix(
    kernels: Float[np.ndarray, "channels taps"], *, hop_length: int, num_frames: int
) -> Float[np.ndarray, "rows samples"]:
    """Analysis matrix of ``num_frames`` frames, dense, frame by frame.

    Args:
        kernels: [channels, taps].
        hop_length: samples between frames.
        num_frames: frames, 1 or more.

    Returns:
        [num_frames * channels, (num_frames - 1) * hop + taps].
    """
    channels, taps = kernels.shape
    matrix = np.zeros((num_frames, channels, (num_frames - 1) * hop_length + taps))
    for frame in range(num_frames):
        matrix[frame, :, frame * hop_length : frame * hop_length + taps] = kernels
    return matrix.reshape(num_frames * channels, -1)


def solve_left_inverse(
    matrix: Float[np.ndarray, "rows samples"],
    target: Float[np.ndarray, "outputs samples"],
    *,
    regularization: float = 1e-11,
    refinements: int = 12,
) -> tuple[Float[np.ndarray, "outputs rows"], float]:
    """Left inverse: the smallest W with W A = E, by Tikhonov's method iterated to convergence.

    One step, W = E A^T (A A^T + lambda)^-1, errs by lambda / (sigma^2 + lambda) along each
    singular vector; solving again for the residual multiplies that error by itself. So one
    Cholesky factor of the smaller Gram matrix gives the exact solution without its square-root
    loss, while directions that the frames cannot see stay untouched.

    Args:
        matrix: A.
        target: E.
        regularization: lambda, relative to the mean diagonal of the Gram matrix.
        refinements: steps at most; they end when the residual stops shrinking.

    Returns:
        W and the root mean square over outputs of ||W A - E||.
    """
    rows, samples = matrix.shape
    tall = rows >= samples
    # The smaller of A^T A and A A^T: (A^T A + l)^-1 A^T = A^T (A A^T + l)^-1.
    gram = matrix.T @ matrix if tall else matrix @ matrix.T
    ridge = regularization * float(np.trace(gram)) / len(gram)
    gram[np.diag_indices_from(gram)] += ridge
    factor = scipy.linalg.cho_factor(gram, lower=True, overwrite_a=True, check_finite=False)
    solution = np.zeros((len(target), rows))
    # E_0 = E; W += E_i (A^T A + l)^-1 A^T; E_{i+1} = E - W A, until it shrinks no more
    error = target
    size = float(np.sqrt(np.mean(np.sum(error**2, axis=1))))
    for _ in range(1 + refinements):
        if tall:
            update = scipy.linalg.cho_solve(factor, error.T, check_finite=False).T @ matrix.T
        else:
            update = scipy.linalg.cho_solve(factor, matrix @ error.T, check_finite=False).T
        candidate = solution + update
        candidate_error = target - candidate @ matrix
        candidate_size = float(np.sqrt(np.mean(np.sum(candidate_error**2, axis=1))))
        if candidate_size >= size:
            break
        # Shrunk by less than half: directions that the frames cannot see are left, or rounding.
        converged = candidate_size > 0.5 * size
        solution, error, size = candidate, candidate_error, candidate_size
        if converged or size < 1e-14:
            break
    return solution, size


def _first_frame(kernels: np.ndarray, hop_length: int, num_frames: int) -> int:
    """The first of the frames that sit most evenly around the block [0, hop)."""
    taps = np.flatnonzero(np.any(kernels != 0.0, axis=0))
    middle = (taps[0] + taps[-1]) / 2 - kernels.shape[1] // 2
    return round((hop_length / 2 - middle) / hop_length - (num_frames - 1) / 2 - 1e-9)


def _block_system(
    kernels: np.ndarray, hop_length: int, num_frames: int, lead: int | None
) -> tuple[np.ndarray, np.ndarray, int]:
    """A, E and the lead, for the samples [-lead, hop - lead) around the newest of the frames."""
    matrix = analysis_matrix(kernels, hop_length=hop_length, num_frames=num_frames)
    # Sample of the position of the last frame, from the first tap of the first frame on.
    newest = kernels.shape[1] // 2 + (num_frames - 1) * hop_length
    seen = range(matrix.shape[1])
    frames_given, nearest = f"num_frames={num_frames}", "use more frames"
    if lead is None:
        first = _first_frame(kernels, hop_length, num_frames)
        lead = (first + num_frames - 1) * hop_length
    else:
        # Samples that some frame sees: causal kernels, and those of a Hann window, end in zeros.
        columns = np.flatnonzero(np.any(matrix != 0.0, axis=0))
        seen = range(int(columns[0]), int(columns[-1]) + 1)
        frames_given += f" with lead={lead}"
        least, most = newest + hop_length - 1 - seen[-1], newest - seen[0]
        nearest = f"use lead={least} to {most}" if least <= most else nearest
    start = newest - lead
    if start not in seen or start + hop_length - 1 not in seen:
        raise ValueError(
            f"{frames_given} do not span a block of hop_length={hop_length} samples; {nearest}"
        )
    target = np.zeros((hop_length, matrix.shape[1]))
    target[np.arange(hop_length), start + np.arange(hop_length)] = 1.0
    return matrix, target, lead


def _as_kernels(
    solution: np.ndarray, *, hop_length: int, num_frames: int, lead: int, residual: float
) -> SynthesisKernels:
    """Reorders W [hop, frames * channels] into kernels [channels, whole hops]."""
    # The block lies at the first taps of the newest frame's kernel: g_c[(J - 1 - j) hop + i] =
    # W[i, j, c]. [hop, frames, channels]
    blocks = solution.reshape(hop_length, num_frames, -1)
    kernels = blocks[:, ::-1, :].transpose(2, 1, 0).reshape(blocks.shape[2], -1)
    # White noise of variance 1 on the coefficients: sample i has the variance sum_jc W[i, j, c]^2.
    gain = float(np.sqrt(np.sum(solution**2) / hop_length))
    aligned = aligned_to_hops(np.ascontiguousarray(kernels), lead=lead, hop_length=hop_length)
    return aligned._replace(residual=residual, noise_gain=gain)


@settles
def least_squares_decoder(
    kernels: Float[np.ndarray, "channels taps"],
    *,
    hop_length: int,
    num_frames: int,
    lead: int | None = None,
    regularization: float = 1e-11,
    refinements: int = 12,
) -> SynthesisKernels:
    """The exact decoder of ``num_frames`` frame taps with the least noise gain.

    Args:
        kernels: analysis channels [channels, taps], centred at ``taps // 2``.
        hop_length: samples between frames.
        num_frames: frames that contribute to each block of output (J).
        lead: samples that the newest of them emits before its own position: the block is
            [-lead, hop - lead) around it. Small is early, at the price of noise gain. If None, the
            frames lie evenly around the block.
        regularization: relative to the mean channel energy. The dial between exactness (small)
            and noise gain (large); with ``refinements=0`` the plain Tikhonov solution.
        refinements: see :func:`solve_left_inverse`.

    Returns:
        Kernels of ``num_frames * hop`` taps, and zeros at their ends where ``lead`` is no whole
        number of hops. The residual tells whether the bank can be inverted with so few frames.

    Raises:
        ValueError: if the frames do not span a block.
    """
    matrix, target, lead = _block_system(kernels, hop_length, num_frames, lead)
    solution, residual = solve_left_inverse(
        matrix, target, regularization=regularization, refinements=refinements
    )
    return _as_kernels(
        solution, hop_length=hop_length, num_frames=num_frames, lead=lead, residual=residual
    )


@settles
def wiener_decoder(
    kernels: Float[np.ndarray, "channels taps"],
    *,
    hop_length: int,
    num_frames: int,
    lead: int | None = None,
    autocovariance: Float[np.ndarray, " lags"] | None = None,
    noise_variance: float | Float[np.ndarray, " channels"] = 1e-8,
) -> SynthesisKernels:
    """The linear decoder of least mean squared error: W = E R A^T (A R A^T + N)^-1.

    The best that any linear decoder of so many frame taps can do, also for banks that cannot
    be inverted and for coefficients that carry noise.

    Args:
        kernels: analysis channels [channels, taps].
        hop_length: samples between frames.
        num_frames: frames that contribute to each block.
        lead: see :func:`least_squares_decoder`.
        autocovariance: of the signal, lags 0, 1, ... (missing lags count as 0); white noise of
            variance 1 if None.
        noise_variance: of the coefficients, one number or one per channel, in the unit of
            ``autocovariance`` times the kernels'.

    Returns:
        Kernels as of :func:`least_squares_decoder`; ``residual`` is the root mean squared error of
        the decoder on such a signal, relative to its level, without the noise.

    Raises:
        ValueError: if the frames do not span a block.
    """
    matrix, target, lead = _block_system(kernels, hop_length, num_frames, lead)
    lags = np.zeros(matrix.shape[1])
    given = np.asarray([1.0] if autocovariance is None else autocovariance, np.float64)
    count = min(len(given), len(lags))
    lags[:count] = given[:count]
    covariance = scipy.linalg.toeplitz(lags)
    # E R A^T and A R A^T + N, R Toeplitz in the lags; N repeats the channels' noise per frame
    cross = target @ covariance @ matrix.T
    system = matrix @ covariance @ matrix.T
    noise = np.broadcast_to(np.asarray(noise_variance, np.float64), (len(kernels),))
    system[np.diag_indices_from(system)] += np.tile(noise, num_frames)
    # A floor of rounding size keeps the factor alive where neither signal nor noise reaches.
    system[np.diag_indices_from(system)] += 1e-14 * float(np.trace(system)) / len(system)
    solution = scipy.linalg.solve(system, cross.T, assume_a="pos", overwrite_a=True).T
    error = solution @ matrix - target
    # mean over outputs of e R e^T, e = W A - E: the error of the signal without the noise
    power = np.mean(np.einsum("ij,jk,ik->i", error, covariance, error, optimize=True))
    residual = float(np.sqrt(max(power, 0.0) / lags[0])) if lags[0] > 0 else 0.0
    return _as_kernels(
        solution, hop_length=hop_length, num_frames=num_frames, lead=lead, residual=residual
    )


@settles
def dual_decoder(
    kernels: Float[np.ndarray, "channels taps"], *, hop_length: int, num_frames: int
) -> SynthesisKernels:
    """The canonical dual, cut to ``num_frames // 2`` hops either side.

    Args:
        kernels: analysis channels [channels, taps].
        hop_length: samples between frames.
        num_frames: frame taps, rounded down to an even number.

    Returns:
        Kernels of an even number of hops, with their residual and noise gain measured.

    Raises:
        ValueError: if the bank is no frame.
    """
    num_blocks = max(num_frames // 2, 1)
    dual = frame_theory.canonical_dual(kernels, hop_length=hop_length, num_blocks=num_blocks)
    whole = aligned_to_hops(dual[:, :-1], lead=num_blocks * hop_length, hop_length=hop_length)
    return measured(whole, kernels, hop_length=hop_length)


def aligned_to_hops(
    kernels: Float[np.ndarray, "channels taps"], *, lead: int, hop_length: int
) -> SynthesisKernels:
    """Synthesis kernels zero-padded so that taps and lead are whole numbers of hops.

    Args:
        kernels: [channels, taps].
        lead: taps before a frame's position.
        hop_length: samples between frames.

    Returns:
        Kernels with zeros before and after; residual and noise gain are 0: not measured.
    """
    before = -lead % hop_length
    after = -(kernels.shape[1] + before) % hop_length
    padded = np.pad(kernels, ((0, 0), (before, after)))
    return SynthesisKernels(padded, lead + before, 0.0, 0.0)


def measured(
    decoder: SynthesisKernels,
    kernels: Float[np.ndarray, "channels taps"],
    *,
    hop_length: int,
) -> SynthesisKernels:
    """Residual and noise gain of a decoder for a bank, filled in.

    The residual is exact: ``sqrt(mean_m sum_n (T[m, n] - delta[m - n])^2)`` over one hop of output
    samples m, T being analysis and synthesis as one matrix.

    Args:
        decoder: synthesis kernels; any residual and gain are replaced.
        kernels: analysis channels [channels, taps], centred at ``taps // 2``.
        hop_length: samples between frames.

    Returns:
        The decoder with both figures.
    """
    center, taps = kernels.shape[1] // 2, decoder.kernels.shape[1]
    total = np.zeros((hop_length, taps + kernels.shape[1] + hop_length))
    # y[n] for x = delta at m: sum over t and c of k_c[m - tM] g_c[n - tM].
    # gram[j, n] = sum_c g_c[j] k_c[n], [synthesis taps, analysis taps]
    gram = decoder.kernels.T @ kernels
    reach_back, reach_ahead = decoder.lead, taps - 1 - decoder.lead
    origin = reach_ahead + center
    # Output m sees, through frame t, the inputs that the frame sees: row gram[m - t hop + lead].
    for sample in range(hop_length):
        frame_first = -((reach_ahead - sample) // hop_length)
        frame_last = (sample + reach_back) // hop_length
        for frame in range(frame_first, frame_last + 1):
            start = frame * hop_length - center + origin
            row = gram[sample - frame * hop_length + decoder.lead]
            total[sample, start : start + len(row)] += row
        total[sample, sample + origin] -= 1.0
    residual = float(np.sqrt(np.mean(np.sum(total**2, axis=1))))
    gain = float(np.sqrt(np.sum(decoder.kernels**2) / hop_length))
    return decoder._replace(residual=residual, noise_gain=gain)
