"""Inverse lapped transform of codes in integers, the same on every machine.

The base layer of a lossless file is subtracted from the samples, and added to them again elsewhere:
both sides must have it bit for bit. So this is :func:`.lapped_frames.synthesise` of plain codes
once more, without a rounding that a processor or library could do in another way:

- the DCT-IV of codes, integers up to 2^20, is a matrix product with cosines in units of 2^-20. Its
  partial sums are integers below 2^53 for up to 8192 coefficients, so that float64 products have
  them exactly, in whatever order a BLAS adds;
- all else is int64: the step in units of 2^-14 of a sample's last bit, the rotations at the borders
  with sines and cosines in units of 2^-20;
- the tables come from whole numbers of 128 binary digits, not from a library's cosine.

Samples are within half a unit of the last bit of the float inverse, but for rounding (tested).
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable, Iterator

import numpy as np

from isincnet_jax.tokens import block_coder
from isincnet_jax.tokens.block_coder import Layout

LARGEST_HOP = 4096
"""Samples: a last frame of twice as many keeps the sums below 2^53."""

_PI = 0x3243F6A8885A308D313198A2E03707344
"""Pi in units of 2^-128."""
_DIGITS = 128
_TABLE_BITS = 20
_STEP_BITS = 14
_HALF_ROOT = 46341
"""sqrt(1/2) in units of 2^-16, for middle and side."""
_LARGEST_SUM = 1 << 46
_LOUDEST = 1 << 40
"""Samples in units of 2^-14, clipped: beyond what any recording has."""
_COLUMNS = 512


def quantiser_step(step: float, bits: int) -> int:
    """A step as the integer that the inverse multiplies codes with.

    Args:
        step: float32, of samples in [-1, 1).
        bits: of the samples.

    Returns:
        Units of 2^-14 of a sample's last bit, 0 to 2^40.
    """
    # A float32 times a power of two is exact, and so is its rounding.
    return int(np.rint(min(float(step) * 2.0 ** (bits - 1 + _STEP_BITS), float(_LOUDEST))))


def synthesise(
    blocks: Iterable[tuple[Layout, list[np.ndarray]]], *, num_blocks: int, step: int, bits: int
) -> Iterator[np.ndarray]:
    """Samples of blocks of codes of one frame size, with a sine window.

    Args:
        blocks: layouts, and int64 [size, audio channels] of each frame.
        num_blocks: how many there are.
        step: of :func:`quantiser_step`.
        bits: of the samples.

    Yields:
        For each block the samples that it completes, int64 [time, audio channels] within the range
        of the bits: all up to its last frame, which the next block overlaps, and that frame behind
        the last block.
    """
    last: np.ndarray | None = None
    for index, (layout, codes) in enumerate(blocks):
        frames = _inverse_frames(layout, codes, step)
        if last is not None:
            frames.insert(0, last)
        for left, right in itertools.pairwise(frames):
            _turn_back(left, right, layout.frames[0])
        last = None if index == num_blocks - 1 else frames.pop()
        yield _rounded(np.concatenate(frames), bits) if frames else codes[0][:0]


def _rounded(samples: np.ndarray, bits: int) -> np.ndarray:
    top = 1 << (bits - 1)
    return np.clip((samples + (1 << (_STEP_BITS - 1))) >> _STEP_BITS, -top, top - 1)


def _inverse_frames(layout: Layout, codes: list[np.ndarray], step: int) -> list[np.ndarray]:
    """Frames of a block before their borders are turned back, int64 [size, audio channels]."""
    found: list[np.ndarray] = []
    for size, group in itertools.groupby(codes, len):
        frames = np.stack(list(group))  # [frames, size, audio channels]
        sides = block_coder.side_bins(layout.sides, size)
        sums = _products(frames[:, ~sides], np.flatnonzero(~sides), size)
        if sides.any():
            middle, side = frames[:, sides, 0], frames[:, sides, 1]
            turned = np.stack([middle + side, middle - side], axis=-1)
            products = _products(turned, np.flatnonzero(sides), size)
            sums += products * _HALF_ROOT >> 16
        # Clipped far beyond any recording, so that nothing overflows.
        most = (1 << 62) // max(step, 1)
        samples = np.clip(sums, -most, most) * step >> _TABLE_BITS
        found += list(np.clip(samples, -_LOUDEST, _LOUDEST))
    return found


def _products(codes: np.ndarray, bins: np.ndarray, size: int) -> np.ndarray:
    """Inverse DCT-IV of some bins, in units of 2^-20 of a step, with sign and order of the frames.

    Args:
        codes: int64 [frames, bins, audio channels].
        bins: int64 [bins], which they are.
        size: N, of the transform.

    Returns:
        int64 [frames, N, audio channels], below 2^46.
    """
    quarter = _cosines(size, 2, size)  # sqrt(2 / N) cos(pi (2 i + 1) / (4 N)), i below N
    table = np.concatenate([quarter, -quarter[::-1], -quarter, quarter[::-1]]).astype(np.float64)
    rows = (
        codes.transpose(0, 2, 1).reshape(len(codes) * codes.shape[2], len(bins)).astype(np.float64)
    )
    sums = np.empty((len(rows), size), np.int64)
    for begin in range(0, size, _COLUMNS):
        times = np.arange(begin, min(begin + _COLUMNS, size))
        # (2 k + 1) (2 n + 1) = 2 (2 k n + k + n) + 1, of the N - 1 - n of a reversed frame
        back = size - 1 - times
        index = (2 * bins[:, None] * back + bins[:, None] + back) % (4 * size)
        sums[:, times] = -(rows @ table[index])
    sums = np.clip(sums, -_LARGEST_SUM, _LARGEST_SUM)
    return sums.reshape(len(codes), -1, size).transpose(0, 2, 1)


def _turn_back(left: np.ndarray, right: np.ndarray, hop_length: int) -> None:
    """Turns the pairs around a border back, in place, as :func:`.lapped_frames.synthesise`."""
    half = hop_length // 2
    cosines = _cosines(hop_length, 1, 1)[:, None]
    sines = cosines[::-1][:half]  # sin(a) = cos(pi / 2 - a)
    cosines = cosines[:half]
    before, behind = left[len(left) - half :], right[:half][::-1]
    rounding = 1 << (_TABLE_BITS - 1)
    turned = cosines * before - sines * behind + rounding >> _TABLE_BITS
    right[:half] = (cosines * behind + sines * before + rounding >> _TABLE_BITS)[::-1]
    left[len(left) - half :] = turned


@functools.lru_cache(maxsize=16)
def _cosines(size: int, numerator: int, denominator: int) -> np.ndarray:
    """sqrt(numerator / denominator) cos(pi (2 i + 1) / (4 size)), i below size, by whole numbers.

    Args:
        size: N.
        numerator: under the root.
        denominator: under the root.

    Returns:
        int64 [N], in units of 2^-20; shared, not to be changed.
    """
    cosine, sine = _cos_sin(_PI // (4 * size))
    # Of twice the angle, by which each differs from the one before.
    turn = (cosine * cosine - sine * sine >> _DIGITS, 2 * cosine * sine >> _DIGITS)
    root = math.isqrt((numerator << 2 * _DIGITS) // denominator)
    shift = 2 * _DIGITS - _TABLE_BITS
    found = []
    for _ in range(size):
        found.append(cosine * root + (1 << (shift - 1)) >> shift)
        cosine, sine = (
            cosine * turn[0] - sine * turn[1] >> _DIGITS,
            sine * turn[0] + cosine * turn[1] >> _DIGITS,
        )
    values = np.array(found, np.int64)
    values.flags.writeable = False
    return values


def _cos_sin(angle: int) -> tuple[int, int]:
    """Cosine and sine by their Taylor series; all in units of 2^-128."""
    sums, term, order = [0, 0], 1 << _DIGITS, 0
    while term:
        sums[order % 2] += -term if order % 4 >= 2 else term
        order += 1
        term = (term * angle >> _DIGITS) // order
    return sums[0], sums[1]
