"""PCM: samples of audio files as integers, their bytes and their checksum."""

from __future__ import annotations

import hashlib

import numpy as np


def as_integers(samples: np.ndarray, bits: int) -> np.ndarray:
    """Integers of samples that were integers.

    Args:
        samples: float32, or float64 with such values, in [-1, 1).
        bits: of the integers, up to 24: a float32 has them exactly.

    Returns:
        int64, the same shape.

    Raises:
        ValueError: for samples between integers, or beyond them.
    """
    scaled = samples.astype(np.float64) * (1 << (bits - 1))
    found = np.rint(scaled)
    top = 1 << (bits - 1)
    if not np.array_equal(found, scaled) or (found.size and not -top <= found.min()):
        raise ValueError(f"samples that are no integers of {bits} bits cannot be kept exactly")
    if found.size and found.max() >= top:
        raise ValueError(f"samples beyond {bits} bits cannot be kept exactly")
    return found.astype(np.int64)


def as_floats(samples: np.ndarray, bits: int) -> np.ndarray:
    """The inverse of :func:`as_integers`.

    Args:
        samples: integers of so many bits.
        bits: up to 24.

    Returns:
        float32 in [-1, 1), exactly.
    """
    return samples.astype(np.float32) * np.float32(2.0 ** (1 - bits))


class Checksum:
    """MD5 of samples as FLAC defines it: signed, little-endian, audio channels interleaved.

    Args:
        bits: of the samples, a multiple of 8.

    References:
        RFC 9639, "Free Lossless Audio Codec (FLAC)", 2024, section 8.2.
            https://www.rfc-editor.org/rfc/rfc9639
    """

    def __init__(self, bits: int) -> None:
        self._bytes = bits // 8
        self._digest = hashlib.md5(usedforsecurity=False)

    def update(self, samples: np.ndarray) -> None:
        """Takes in samples.

        Args:
            samples: integers [time, audio channels].
        """
        words = np.ascontiguousarray(samples, "<i4").view(np.uint8).reshape(-1, 4)
        self._digest.update(words[:, : self._bytes].tobytes())

    def digest(self) -> bytes:
        """The checksum of all samples so far.

        Returns:
            16 bytes.
        """
        return self._digest.digest()
