"""Decoding at the edges of a clip that was framed with reflection.

With frames 0 .. (length - 1) // hop only, the frames outside the clip that a stationary
decoder would use are missing. What they would have said is still there: the reflected samples
are the clip's own. So the samples near an edge are solved for from the frames nearest to it,
with the reflection folded into the analysis matrix. One solution serves the left edge of
every clip; the right edge depends on ``(length - 1) % hop`` alone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from isincnet_jax.dsp import decoders


class EdgeDecoder(NamedTuple):
    """Solves the samples at one edge from the frames at that edge.

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
    kernels: Float[np.ndarray, "channels taps"], *, hop_length: int, length: int
) -> Float[np.ndarray, "rows length"]:
    """The analysis of a whole clip with reflection, as a dense matrix.

    Returns:
        [frames * channels, length], frames ``0 .. (length - 1) // hop``.
    """
    channels, taps = kernels.shape
    center = taps // 2
    num_frames = (length - 1) // hop_length + 1
    right = max(0, (num_frames - 1) * hop_length + taps - center - length)
    source = np.pad(np.arange(length), (center, right), mode="reflect" if length > 1 else "edge")
    matrix = np.zeros((num_frames, channels, length))
    for frame in range(num_frames):
        seen = source[frame * hop_length : frame * hop_length + taps]
        np.add.at(matrix[frame].T, seen, kernels.T)
    return matrix.reshape(num_frames * channels, length)


def _solve(
    matrix: np.ndarray, samples: np.ndarray, noise_variance: float
) -> tuple[np.ndarray, float]:
    """The exact solution, or with noise the Wiener solution for white signals of variance 1."""
    target = np.zeros((len(samples), matrix.shape[1]))
    target[np.arange(len(samples)), samples] = 1.0
    if noise_variance > 0:
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
    noise_variance: float = 0.0,
) -> EdgeDecoder:
    """Solves a short clip as a whole; ``noise_variance`` as in :func:`right_edge_decoder`."""
    matrix = reflected_analysis_matrix(kernels, hop_length=hop_length, length=length)
    solution, residual = _solve(matrix, np.arange(length), noise_variance)
    return EdgeDecoder(solution, (length - 1) // hop_length + 1, length, residual)


def left_edge_decoder(
    kernels: Float[np.ndarray, "channels taps"],
    *,
    hop_length: int,
    num_samples: int,
    num_frames: int,
    noise_variance: float = 0.0,
) -> EdgeDecoder:
    """Solves the first ``num_samples`` samples of a clip from its first ``num_frames`` frames."""
    channels, taps = kernels.shape
    reach = -(-taps // hop_length)
    length = (num_frames + 2 * reach) * hop_length
    matrix = reflected_analysis_matrix(kernels, hop_length=hop_length, length=length)
    matrix = matrix[: num_frames * channels]
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
    """Solves the last ``num_samples`` samples from the last ``num_frames`` frames.

    Args:
        kernels: analysis channels [channels, taps].
        hop_length: samples between frames.
        num_samples: samples to solve.
        num_frames: frames to use.
        remainder: ``(length - 1) % hop_length`` of the clip.
        noise_variance: of the coefficients, where the signal's is 1: the solution is then the
            best linear one, as it must be for banks that cannot be inverted; 0 for the exact one.
    """
    channels, taps = kernels.shape
    reach = -(-taps // hop_length)
    length = (num_frames + 2 * reach - 1) * hop_length + remainder + 1
    matrix = reflected_analysis_matrix(kernels, hop_length=hop_length, length=length)
    matrix = matrix[-num_frames * channels :]
    first = (2 * reach) * hop_length - taps // 2
    matrix = matrix[:, first:]
    samples = np.arange(matrix.shape[1] - num_samples, matrix.shape[1])
    solution, residual = _solve(matrix, samples, noise_variance)
    return EdgeDecoder(solution, num_frames, num_samples, residual)
