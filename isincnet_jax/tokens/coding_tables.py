"""Integer tables of the entropy coder, the same on every machine."""

from __future__ import annotations

import functools
import math

import numpy as np

from isincnet_jax.tokens.coding_kernels import Tables

_LOGARITHMS = 1 << 14


@functools.cache
def tables() -> Tables:
    """The tables, rounded from Python's floats, the logarithms found in integers.

    No value lies within 1e-6 of a tie, so that every libm gives the same (tested).

    Returns:
        Shared arrays; not to be changed.
    """
    rounded = [[math.floor(value + 0.5) for value in exact] for exact in exact_tables()]
    arrays = [np.array(values, np.int64) for values in (*rounded, _logarithms())]
    for array in arrays:
        array.flags.writeable = False
    return Tables(*arrays)


def exact_tables() -> tuple[list[float], list[float], list[float]]:
    """What :func:`tables` rounds.

    Returns:
        Logits, probabilities and reciprocals.
    """
    odds = [(2 * index + 1) / (8192 - (2 * index + 1)) for index in range(4096)]
    logits = [256 * math.log(value) for value in odds]
    chances = [65536 / (1 + math.exp(-(index - 2048) / 256)) for index in range(4096)]
    return logits, chances, [655360 / (10 * count + 16) for count in range(1024)]


def _logarithms() -> list[int]:
    # round(6 log2(x)) is the largest k with x^12 >= 2^(2 k - 1), where x = (4 + v) / 4.
    values, level = [], 0
    for value in range(_LOGARITHMS):
        power = (4 + value) ** 12
        while power >= 1 << (2 * level + 1 + 24):
            level += 1
        values.append(level)
    return values
