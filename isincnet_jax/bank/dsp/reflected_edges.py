"""Edge decoders of a clip that was framed with reflection.

With frames 0 .. (length - 1) // hop only, the frames outside the clip that a stationary
decoder would use are missing. What they would have said is still there: the reflected samples
are the clip's own. So the samples near an edge are solved for from the frames nearest to it,
with the reflection folded into the analysis matrix. One solution serves the left edge of
every clip; the right edge depends on where the last frame lies alone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from isincnet_jax.bank.dsp import decoders


class EdgeDecoder(NamedTuple):
    """Edge decoder: solves the samples at one edge from the frames at that edge.

    Attributes:
        matrix: float64 [num_frames * channels, num_samples].
        num_frames: frames used, counted from the edge.
        num_samples: samples solved, counted from the edge.
        residual: root mean square of W A - E: the relative error on white noise.
    """

    matrix: np.ndarray
    num_frames: int
    num_samples: int
    residual: float


def reflected_analysis_matrix(
    kernels: Float[np.ndarray, "channels taps"],
    *,
    hop_length: int,
    length: int,
    num_frames: int | None = None,
) -> Float[np.ndarray, "rows length"]:
    """Analysis matrix of a whole clip with reflection, dense.

    Args:
        kernels: analysis channels [channels, taps], centred at ``taps // 2``.
        hop_length: samples between frames.
        length: samples of the clip, 1 or more.
        num_frames: frames from sample 0 on; ``1 + (length - 1) // hop`` if None.

    Returns:
        [frames * channels, length], ``num_frames`` frames from sample 0 on; those that lie in the
        clip, ``0 .. (length - 1) // hop``, if None.
    """
    channels, taps = kernels.shape
    center = taps // 2
    if num_frames is None:
        num_frames = (length - 1) // hop_length + 1
    right = max(0, (num_frames - 1) * hop_length + taps - center - length)
    source = np.pad(np.arange(length), (center, right), mode="reflect" if length > 1 else "edge")
    # K[t, c, n]: frame t of channel c on the extended clip of center + length + right samples
    extended = np.zeros((num_frames, channels, len(source)))
    for frame in range(num_frames):
        start = frame * hop_length
        seen = min(taps, len(source) - start)  # the clip may go on behind the last frame's reach
        extended[frame, :, start : start + seen] = kernels[:, :seen]
    extended = extended.reshape(num_frames * channels, -1)
    # A[:, source[n]] += K[:, n]: a reflected sample is one of the clip's own.
    matrix = np.zeros((num_frames * channels, length))
    for column in range(center):
        matrix[:, source[column]] += extended[:, column]
    matrix += extended[:, center : center + length]
    for column in range(center + length, len(source)):
        matrix[:, source[column]] += extended[:, column]
    return matrix


def _solve(
    matrix: np.ndarray, samples: np.ndarray, noise_variance: float
) -> tuple[np.ndarray, float]:
    """The exact solution, or with noise the Wiener solution for white signals of variance 1."""
    target = np.zeros((len(samples), matrix.shape[1]))
    target[np.arange(len(samples)), samples] = 1.0
    if noise_variance > 0:
        # Ridge lambda = noise variance; solve_left_inverse takes it relative to tr(Gram) / size.
        relative = noise_variance * min(matrix.shape) / float(np.sum(matrix**2))
        solution, residual = decoders.solve_left_inverse(
            matrix, target, regularization=relative, refinements=0
        )
    else:
        solution, residual = decoders.solve_left_inverse(matrix, target)
    return np.ascontiguousarray(solution.T), residual


def whole_clip_decoder(
    kernels: Float[np.ndarray, "channels taps"],
    *,
    hop_length: int,
    length: int,
    num_frames: int | None = None,
    noise_variance: float = 0.0,
) -> EdgeDecoder:
    """Decoder of a short clip, solved as a whole.

    Args:
        kernels: analysis channels [channels, taps], centred at ``taps // 2``.
        hop_length: samples between frames.
        length: samples of the clip.
        num_frames: see :func:`reflected_analysis_matrix`.
        noise_variance: see :func:`right_edge_decoder`; 0 for the exact solution.

    Returns:
        The decoder of all samples from all frames.
    """
    matrix = reflected_analysis_matrix(
        kernels, hop_length=hop_length, length=length, num_frames=num_frames
    )
    solution, residual = _solve(matrix, np.arange(length), noise_variance)
    return EdgeDecoder(solution, len(matrix) // len(kernels), length, residual)


def left_edge_decoder(
    kernels: Float[np.ndarray, "channels taps"],
    *,
    hop_length: int,
    num_samples: int,
    num_frames: int,
    noise_variance: float = 0.0,
) -> EdgeDecoder:
    """Decoder of the first ``num_samples`` samples of a clip, from its first ``num_frames`` frames.

    Args:
        kernels: analysis channels [channels, taps], centred at ``taps // 2``.
        hop_length: samples between frames.
        num_samples: samples to solve.
        num_frames: frames to use, of a clip that is longer than they reach.
        noise_variance: see :func:`right_edge_decoder`; 0 for the exact solution.

    Returns:
        The decoder, the same for clips of any length.
    """
    channels, taps = kernels.shape
    reach = -(-taps // hop_length)
    # So long that the first frames do not see its right edge.
    length = (num_frames + 2 * reach) * hop_length
    matrix = reflected_analysis_matrix(kernels, hop_length=hop_length, length=length)
    matrix = matrix[: num_frames * channels]
    # samples up to the last tap of the last of these frames
    matrix = matrix[:, : (num_frames - 1) * hop_length + taps - taps // 2]
    solution, residual = _solve(matrix, np.arange(num_samples), noise_variance)
    return EdgeDecoder(solution, num_frames, num_samples, residual)


def right_edge_decoder(
    kernels: Float[np.ndarray, "channels taps"],
    *,
    hop_length: int,
    num_samples: int,
    num_frames: int,
    remainder: int,
    noise_variance: float = 0.0,
) -> EdgeDecoder:
    """Decoder of the last ``num_samples`` samples, from the last ``num_frames`` frames.

    Args:
        kernels: analysis channels [channels, taps].
        hop_length: samples between frames.
        num_samples: samples to solve.
        num_frames: frames to use.
        remainder: samples from the last frame's position to the clip's last sample; negative where
            a frame lies beyond the clip.
        noise_variance: of the coefficients, where the signal's is 1: the solution is then the
            best linear one, as it must be for banks that cannot be inverted; 0 for the exact one.

    Returns:
        The decoder, the same for all clips of that remainder.
    """
    channels, taps = kernels.shape
    reach = -(-taps // hop_length)
    # So long that the last frames do not see its left edge, and ending where the clip ends.
    length = (num_frames + 2 * reach - 1) * hop_length + remainder + 1
    matrix = reflected_analysis_matrix(
        kernels, hop_length=hop_length, length=length, num_frames=num_frames + 2 * reach
    )
    matrix = matrix[-num_frames * channels :]
    # the sample of the first tap of the first of these frames
    first = (2 * reach) * hop_length - taps // 2
    matrix = matrix[:, first:]
    samples = np.arange(matrix.shape[1] - num_samples, matrix.shape[1])
    solution, residual = _solve(matrix, samples, noise_variance)
    return EdgeDecoder(solution, num_frames, num_samples, residual)
