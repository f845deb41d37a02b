"""Coder of the residual of a lossless file: what its base layer leaves of the samples.

The samples minus those of the base layer are predicted by adaptive filters, and what these miss is
coded by adaptive probabilities, see :func:`.coding_kernels.code_residual`. Everything begins afresh
in every block. Where the base layer is coarse, its samples help to predict, and most of them are
known ahead of time.

References:
    T. Robinson, "SHORTEN: Simple lossless and near-lossless waveform compression", Cambridge
        University CUED/F-INFENG/TR.156, 1994: prediction and a code for what it misses.
    T. Liebchen et al., "The MPEG-4 Audio Lossless Coding (ALS) standard - technology and
        applications", AES 119th Convention 2005; D.-Y. Huang et al., "RLS-LMS prediction" therein:
        a cascade of least squares and of normalised LMS filters, whose predictions are added.
    M. T. Ashland, "Monkey's Audio": cascades of adaptive filters of falling lengths.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from isincnet_jax.tokens import coding_kernels as kernels
from isincnet_jax.tokens import frame_coder
from isincnet_jax.tokens.coding_kernels import Mixer
from isincnet_jax.tokens.coding_tables import tables

_BYTES_PER_SAMPLE = 96  # 31 decisions of 11 bits, and 28 flat bits, at most
_FIRST_WEIGHT = 15_729  # 1.2 / 5: contexts agree more often than they tell


@functools.cache
def bucket_edges() -> np.ndarray:
    """Where buckets begin, over the expected size: quantiles of an exponential distribution.

    Returns:
        int64 [16], ``-ln(1 - i / 16)`` in units of 2^-14; shared, not to be changed.
    """
    edges = np.array([round(value) for value in exact_edges()], np.int64)
    edges.flags.writeable = False
    return edges


def exact_edges() -> list[float]:
    """What :func:`bucket_edges` rounds; none is near a tie (tested)."""
    leaves = kernels.LEAVES
    # 2^20 / 64: sizes are in units of 1 / 64.
    return [-(2.0**14) * math.log(1 - index / leaves) for index in range(leaves)]


def encode_residual(residual: np.ndarray, base: np.ndarray, *, bits: int) -> bytes:
    """Encodes the residual of a block.

    Args:
        residual: int64 [time, audio channels]: samples minus base.
        base: int64 [time, audio channels], samples of the base layer.
        bits: of the samples, 8 to 24.

    Returns:
        Its bytes.
    """
    data = np.zeros(residual.size * _BYTES_PER_SAMPLE + 16, np.uint8)
    coder = frame_coder.new_coder(None)
    _code(False, np.array(residual, np.int64), base, bits, coder, data)
    return frame_coder.finish(coder, data)


def decode_residual(data: bytes, base: np.ndarray, *, bits: int) -> np.ndarray:
    """Decodes the residual of a block.

    Args:
        data: of :func:`encode_residual`.
        base: as there.
        bits: as there.

    Returns:
        int64 [time, audio channels].

    Raises:
        ValueError: for bytes that no encoder writes; not all of those are found.
    """
    content = np.frombuffer(data, np.uint8).copy()  # one compiled program for both
    residual = np.zeros(base.shape, np.int64)
    if not _code(True, residual, base, bits, frame_coder.new_coder(content), content):
        raise ValueError("a residual of too many bits")
    return residual


def _code(
    decoding: bool,
    residual: np.ndarray,
    base: np.ndarray,
    bits: int,
    coder: np.ndarray,
    data: np.ndarray,
) -> bool:
    base = np.ascontiguousarray(base, np.int64)
    return kernels.code_residual(
        decoding, residual, base, bits, bucket_edges(), _new_mixer(), tables(), coder, data
    )


def _new_mixer() -> Mixer:
    decisions, contexts = kernels.RESIDUAL_DECISIONS, kernels.RESIDUAL_CONTEXTS
    weights = np.zeros((3, decisions * 64, 2 * contexts + 1), np.int64)
    weights[..., :contexts] = _FIRST_WEIGHT
    shape = (decisions, contexts, kernels.CONTEXT_SIZE)
    return frame_coder.new_mixer(np.full(shape, frame_coder.EVEN, np.uint32), weights)
