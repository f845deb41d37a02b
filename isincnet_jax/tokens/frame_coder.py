"""Entropy coder of frames of codes: integers to bytes and back, bit for bit.

The model, :mod:`.coding_kernels`, begins with what was found on training clips
(``frame_coder.json``, written by ``python benchmarks/frame_coder_prior.py``) and adapts from there.
Frames may differ in size: what is remembered is spread over, or gathered into, the bins of the next
one.
"""

from __future__ import annotations

import functools
import json
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from isincnet_jax.bank.uniform_quantizer import LARGEST_LEVEL
from isincnet_jax.tokens import coding_kernels as kernels
from isincnet_jax.tokens.coding_kernels import PAD, Mixer, Model, Past
from isincnet_jax.tokens.coding_tables import tables

_BYTES_PER_CODE = 96  # 28 decisions of 11 bits at most, and 19 flat bits
_CURVE = 33
_FLAGS = 640
EVEN = 1 << 31
"""Estimate that has seen nothing: probability 1/2 in 22 bits, and 10 bits of a count."""
_KNOWN = 128  # decisions that the prior of the weighted sum counts as


class Prior(NamedTuple):
    """What a coder begins with, found on training clips.

    Attributes:
        weights: of the mixer, int64 [decisions, 2 contexts + 1].
        chances: of decisions by the weighted sum, int64 [decisions, 96], 16 bits.
        neighbours: weights of the sum by size of the frame, {size: int64 [12]}, in 1 / 256.
    """

    weights: np.ndarray
    chances: np.ndarray
    neighbours: dict[int, np.ndarray]


@functools.cache
def read_prior() -> Prior:
    """The prior that comes with the package.

    Returns:
        Shared arrays; not to be changed.
    """
    content = json.loads(Path(__file__).with_name("frame_coder.json").read_text())
    return Prior(
        np.array(content["weights"], np.int64),
        np.array(content["chances"], np.int64),
        {int(size): np.array(row, np.int64) for size, row in content["neighbours"].items()},
    )


def _new_model(prior: Prior) -> Model:
    shape = (kernels.DECISIONS, kernels.CONTEXTS, kernels.CONTEXT_SIZE)
    estimates = np.full(shape, EVEN, np.uint32)
    estimates[:, 0, : kernels.LEVELS] = prior.chances << 16 | _KNOWN
    mixer = new_mixer(estimates, np.repeat(prior.weights, 64, axis=0)[None].repeat(3, axis=0))
    return Model(mixer, np.full((kernels.CLASSES + 1, 4, 4), kernels.FLAT, np.int64))


def new_mixer(estimates: np.ndarray, weights: np.ndarray) -> Mixer:
    """State of the probabilities of decisions before the first one.

    Args:
        estimates: uint32 [decisions, contexts, 4096].
        weights: int64 [3, decisions * 64, 2 contexts + 1].

    Returns:
        A mixer whose curves are the logistic function itself.
    """
    curve = tables().chances[np.minimum(np.arange(_CURVE) * 128, 4095)]
    return Mixer(
        estimates=estimates,
        weights=weights,
        curves=np.tile(curve, (len(estimates), 128, 1)),
        inputs=np.zeros(weights.shape[-1], np.int64),
        output=np.zeros(4, np.int64),
    )


def new_coder(data: np.ndarray | None) -> np.ndarray:
    """State of a range coder before the first bit.

    Args:
        data: uint8, to decode; None to encode.

    Returns:
        int64 [4], see :func:`.coding_kernels.code_bit`.
    """
    coder = np.array([0, 0xFFFFFFFF, 0, 0], np.int64)
    if data is not None:
        head = data[:4].tobytes().ljust(4, b"\0")
        coder[kernels.CODE] = int.from_bytes(head, "big")
        coder[kernels.POSITION] = 4
    return coder


def finish(coder: np.ndarray, data: np.ndarray) -> bytes:
    """Ends an encoder.

    Args:
        coder: its state.
        data: uint8, what it wrote.

    Returns:
        All its bytes, with as few as tell the last interval, no zeros at their end.
    """
    low, high, written = (
        int(coder[kernels.LOW]),
        int(coder[kernels.HIGH]),
        int(coder[kernels.POSITION]),
    )
    # The number of fewest bytes in low .. high; the decoder reads zeros behind it.
    for size in range(5):
        unit = 1 << (8 * (4 - size))
        value = -(-low // unit) * unit
        if value <= high:
            tail = value.to_bytes(4, "big")[:size]
            return (data[:written].tobytes() + tail).rstrip(b"\0")
    raise AssertionError("unreachable: 4 bytes tell low itself")


def _resized(padded: np.ndarray, size: int) -> np.ndarray:
    """What was remembered of bins, for as many others: repeated, or averaged."""
    old = len(padded) - 2 * PAD
    inner = padded[PAD : PAD + old]
    if old < size:
        inner = inner[np.arange(size) * old // size]
    elif old > size:
        ends = np.arange(size + 1) * old // size
        sums = np.concatenate([[0], np.cumsum(inner)])
        widths = np.diff(ends)
        inner = (sums[ends[1:]] - sums[ends[:-1]] + widths // 2) // widths
    return np.pad(inner, PAD)


class FrameCoder:
    """Coder of the frames of a block: encodes frame after frame, or decodes them.

    Args:
        num_audio: audio channels.
        data: of :meth:`finish`, to decode them; None to encode.
        prior: what it begins with.
    """

    def __init__(
        self, num_audio: int, *, data: bytes | None = None, prior: Prior | None = None
    ) -> None:
        self._prior = read_prior() if prior is None else prior
        self.model = _new_model(self._prior)
        self._decoding = data is not None
        if data is None:
            self._data = np.zeros(1 << 12, np.uint8)
            self._coder = new_coder(None)
        else:
            self._data = np.frombuffer(data, np.uint8).copy()  # one compiled program for both
            self._coder = new_coder(self._data)
        empty = np.zeros(1 + 2 * PAD, np.int64)
        self._past = [Past(empty, empty, empty, empty) for _ in range(num_audio)]
        self._chances = np.full(_FLAGS, kernels.FLAT, np.int64)

    @property
    def num_bytes(self) -> int:
        """Bytes written or read so far."""
        return int(self._coder[kernels.POSITION])

    def encode(
        self, frame: np.ndarray, *, ratios: np.ndarray | None = None, trade: float = 0.0
    ) -> np.ndarray:
        """Encodes the next frame.

        Args:
            frame: signed codes, integers [audio channels, size], up to 2^20 either way.
            ratios: magnitudes of the coefficients over the step, float64 in the same shape, if
                codes up to 7 may be rounded towards 0 where that is worth it.
            trade: squared error, in steps, that a bit is worth; 0 to change nothing.

        Returns:
            The codes that were encoded, int64.

        Raises:
            ValueError: for codes beyond plus and minus 2^20.
        """
        frame = np.array(frame, np.int64)
        if frame.size and int(np.max(np.abs(frame))) > LARGEST_LEVEL:
            raise ValueError(
                f"codes up to {int(np.max(np.abs(frame)))}: at most {LARGEST_LEVEL} can be coded; "
                "use a larger step"
            )
        self._reserve(frame.size)
        if ratios is None:
            ratios, trade = np.zeros(frame.shape), 0.0
        return self._code(frame, ratios, trade)

    def decode(self, size: int) -> np.ndarray:
        """Decodes the next frame.

        Args:
            size: codes of each audio channel.

        Returns:
            Signed codes, int64 [audio channels, size].

        Raises:
            ValueError: for bytes that no encoder writes; not all of those are found.
        """
        shape = (len(self._past), size)
        return self._code(np.zeros(shape, np.int64), np.zeros(shape), 0.0)

    def flag(self, context: int, bit: int = 0) -> int:
        """Encodes a flag, or decodes it.

        Args:
            context: below 64; flags of one context are expected to be alike.
            bit: 0 or 1, to encode.

        Returns:
            The bit.
        """
        self._reserve(0)
        return kernels.code_flag(
            self._coder, self._data, self._decoding, bit, self._chances, context
        )

    def finish(self) -> bytes:
        """Ends an encoder.

        Returns:
            The bytes of all its frames.
        """
        return finish(self._coder, self._data)

    def _reserve(self, num_codes: int) -> None:
        needed = self.num_bytes + num_codes * _BYTES_PER_CODE + 16
        if needed > len(self._data) and not self._decoding:
            self._data = np.concatenate([self._data, np.zeros(needed, np.uint8)])

    def _code(self, frame: np.ndarray, ratios: np.ndarray, trade: float) -> np.ndarray:
        size = frame.shape[1]
        other = np.zeros(size + 2 * PAD, np.int64)
        for channel, codes in enumerate(frame):
            past = self._past[channel]
            if len(past.last) != len(other):
                past = Past(*(_resized(one, size) for one in past))
            sizes = kernels.code_frame(
                self._decoding, codes, ratios[channel], trade, past, other, channel > 0,
                self._neighbours(size), self.model, tables(), self._coder, self._data,
            )  # fmt: skip
            if not len(sizes):
                raise ValueError("a code of too many bits")
            slow = past.slow + ((sizes * 16 - past.slow + 4) >> 3)
            self._past[channel] = Past(sizes, past.last, past.second, slow)
            other = sizes
        return frame

    def _neighbours(self, size: int) -> np.ndarray:
        """Weights of the sum for frames of a size: those of the nearest size that has some."""
        known = self._prior.neighbours
        return known[min(known, key=lambda one: abs(math.log2(one / size)))]
