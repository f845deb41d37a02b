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
from isincnet_jax.tokens.coding_kernels import Mixer, Predictor, Spread
from isincnet_jax.tokens.coding_tables import tables

_BYTES_PER_SAMPLE = 96  # 31 decisions of 11 bits, and 28 flat bits, at most
_FIRST_MEAN = 64 << 6  # of folded values, in units of 1 / 64: any within a few octaves would do
_FIRST_WEIGHT = 7864  # 0.12, of five contexts: best of 0.12, 0.16, 0.2, 0.24 on training clips


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

    Raises:
        ValueError: for integers beyond plus and minus 2^bits.
    """
    data = np.zeros(residual.size * _BYTES_PER_SAMPLE + 16, np.uint8)
    coder = frame_coder.new_coder(None)
    if not _code(np.array(residual, np.int64, order="C"), base, bits, coder, data, decoding=False):
        raise ValueError(f"a residual beyond {bits} bits and a sign")
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
    coder = frame_coder.new_coder(content)
    if not _code(residual, base, bits, coder, content, decoding=True):
        raise ValueError("a residual of too many bits")
    return residual


def _code(
    residual: np.ndarray,
    base: np.ndarray,
    bits: int,
    coder: np.ndarray,
    data: np.ndarray,
    *,
    decoding: bool,
) -> bool:
    return kernels.code_residual(
        decoding, residual, bits, new_predictor(base, bits), _new_spread(residual.shape[1]),
        bucket_edges(), _new_mixer(), tables(), coder, data,
    )  # fmt: skip


def new_predictor(base: np.ndarray, bits: int) -> Predictor:
    """State of a predictor before the first sample.

    Args:
        base: int64 [time, audio channels], samples of the base layer.
        bits: of the samples.

    Returns:
        Arrays of zeros but for the base layer and the weights of the sum, which are 1.
    """
    length, num_audio = base.shape
    stages, longest = len(kernels.FILTERS), kernels.FILTERS[0]
    taps = 2 * kernels.BASE + 1 + kernels.OWN + (kernels.OTHER if num_audio > 1 else 0)
    beside = ((0, 0), (kernels.BASE, kernels.BASE))
    return Predictor(
        seen=np.zeros((num_audio, stages + 2, longest + length), np.int64),
        # In C order, whatever the channels: one compiled program for all.
        around=np.pad(np.ascontiguousarray(base.T, np.int64) << 24 - bits, beside),
        inputs=np.zeros(taps, np.int64),
        reals=np.zeros(taps),
        linear=np.zeros((num_audio, taps), np.int64),
        moments=np.zeros((num_audio, taps + 1, taps)),
        weights=np.zeros((num_audio, stages, longest), np.int64),
        powers=np.zeros((num_audio, stages), np.int64),
        across=np.zeros((num_audio, kernels.OTHER), np.int64),
        predictions=np.zeros(stages + 2, np.int64),
        shares=np.full((num_audio, stages + 2), 1 << kernels.SHARE_BITS, np.int64),
        loudness=np.ones((num_audio, stages + 2), np.int64),
        sums=np.zeros(num_audio, np.int64),
        misses=np.zeros((num_audio, 2), np.int64),
    )


def _new_spread(num_audio: int) -> Spread:
    return Spread(
        means=np.full((num_audio, 4), _FIRST_MEAN, np.int64),
        last=np.zeros((num_audio, 3), np.int64),
        contexts=np.zeros(kernels.RESIDUAL_CONTEXTS, np.int64),
        selectors=np.zeros(3, np.int64),
    )


def _new_mixer() -> Mixer:
    decisions, contexts = kernels.RESIDUAL_DECISIONS, kernels.RESIDUAL_CONTEXTS
    weights = np.zeros((3, decisions * 64, 2 * contexts + 1), np.int64)
    weights[..., :contexts] = _FIRST_WEIGHT
    shape = (decisions, contexts, kernels.CONTEXT_SIZE)
    return frame_coder.new_mixer(np.full(shape, frame_coder.EVEN, np.uint32), weights)
