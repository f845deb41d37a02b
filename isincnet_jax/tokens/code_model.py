"""Adaptive model of codes: how likely the next frame's are, in integer arithmetic.

An entropy coder is as good as its probabilities, and its decoder must compute the very same ones
on any machine. Everything here that decides a probability is int64 arithmetic (sums, products,
shifts, floor division), so that it is. Two tables come from elsewhere: a cosine table that is
rounded to integers no entry of which lies within 0.005 of a tie, so that every libm gives the
same one; and the turns per frame of the bins, which are stored in the file. Counts reach the
range coder as float32 holding integers below 2^24, exactly.

**Prediction.** Frames overlap and bins are narrow, so that a bin turns by nearly
``2 pi center_hz hop_length / sample_rate`` per frame. The last two frames, turned to where they
should be by now, predict the next one with two complex weights per bin. The weights are the
least squares over the past, with a memory of 16 frames, pulled towards what white noise would
give. On music that takes 10 to 15 % off the rate.

**Context.** The scale of a code is a weighted sum of what is known around it: prediction errors
of the last two frames and of neighbouring bins, magnitudes, the prediction itself, and averages
over some 8 and 32 frames. Its logarithm, in half octaves, and the fraction of the prediction,
in quarters, choose one of 256 adaptive histograms, which begin as Laplace distributions.

**Symbols.** A code minus its rounded prediction, divided by a power of two that depends on the
context; what is lost in the division, and what lies beyond the histogram, is coded flat.

References:
    K. Sayood, "Introduction to Data Compression", 5th ed., 2017, chapters 4 and 7 (adaptive
        range coding with contexts).
    S. Haykin, "Adaptive Filter Theory", 5th ed., 2014, chapter 10 (recursive least squares).
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np

HALF_ALPHABET = 20
ALPHABET = 2 * HALF_ALPHABET + 2  # -20 .. 20 and the escape
ESCAPE = ALPHABET - 1

_FRACTION_BITS = 4  # of predictions and their errors
_UNIT = 1 << _FRACTION_BITS
_SCALES = 64
_LARGEST = 1 << 24  # of a prediction, in 1 / 16: the largest code
_INCREMENT = 24
_PRIOR = 48 * _INCREMENT
_LIMIT = 1 << 19
_FORGET_EVERY = 1 << 14  # symbols
MOST_SYMBOLS = 1 << 18
"""Most symbols per frame: with more, counts could leave the integers of float32."""

_REGULARISATION = 4 << (2 * _FRACTION_BITS)
_WHITE_NOISE = (1.0, -0.55)
_WEIGHT_BITS = 10
_MEMORY_SHIFT = 4

# Weights of the scale in 1 / 256, fitted by non-negative least squares to 20 clips of music.
_PREDICTED_WEIGHTS = (46, 28, 14, 8, 5, 70, 40, 10)
_PLAIN_WEIGHTS = (70, 40, 24, 0, 0, 0, 0, 60)


class Context(NamedTuple):
    """Context of a frame of codes; all int64 [parts, audio channels, bins].

    Attributes:
        histogram: its index, ``4 * scale + quarter``.
        sign: 1 or -1; codes are coded times this.
        center: rounded prediction, not negative.
        shift: low bits that are coded flat.
    """

    histogram: np.ndarray
    sign: np.ndarray
    center: np.ndarray
    shift: np.ndarray


@functools.cache
def cosine_table() -> tuple[np.ndarray, np.ndarray]:
    """Cosine and sine of a 1024th of a turn, times 4096, rounded.

    Returns:
        round(4096 cos) and round(4096 sin) of i / 1024 turns, int64 [1024] each.
    """
    angle = 2.0 * np.pi * np.arange(1024) / 1024
    cosine, sine = np.rint(4096 * np.cos(angle)), np.rint(4096 * np.sin(angle))
    return cosine.astype(np.int64), sine.astype(np.int64)


@functools.cache
def scale_thresholds() -> np.ndarray:
    """Thresholds between the half octaves of a scale.

    Returns:
        Smallest v with 2 log2(1 + v) >= k - 1 / 2, for k = 1, 2, ...: int64 [63].
    """
    # (1 + v)^4 >= 2^(2 k - 1), in integers.
    roots = [math.isqrt(math.isqrt((1 << (2 * k - 1)) - 1)) for k in range(1, _SCALES)]
    return np.asarray(roots, np.int64)


@functools.cache
def _scale_shifts() -> np.ndarray:
    """Low bits coded flat at each scale: what leaves a mean magnitude of 3 to 4."""
    return np.maximum((np.arange(_SCALES) + 1) // 2 - 7, 0).astype(np.int64)


@functools.cache
def prior_counts() -> np.ndarray:
    """Laplace histograms from which the adaptive ones begin, in Python's integers.

    A cell is cut into eighths, in which the density falls by ``m / (m + 1)`` where m is eight
    times the mean magnitude; the mode lies at -3/8, -1/8, 1/8 or 3/8 by the quarter.

    Returns:
        Counts, int64 [4 * 64, 42]: a row for each scale and quarter, the escape last.
    """
    rows = []
    for scale in range(_SCALES):
        # Mean magnitude 2^(scale / 2 - 5 - shift), eight times that is m: m^2 = 2^exponent.
        # Here times 2^16, and an eighth more.
        exponent = scale - 4 - 2 * int(_scale_shifts()[scale])
        mean = math.isqrt(1 << (32 + exponent)) + (1 << 13)
        # density[k + 1] = density[k] m / (m + 1), with m = mean / 2^16.
        density = [1 << 60]
        for _ in range(8 * (HALF_ALPHABET + 2)):
            density.append(density[-1] * mean // (mean + (1 << 16)))
        for quarter in range(4):
            row = []
            for symbol in range(-HALF_ALPHABET, HALF_ALPHABET + 1):
                # The eighths of this symbol's cell, counted from the mode: |2 (first + i) + 1| / 2
                # is the distance of an eighth's middle from it.
                first = 8 * symbol - 4 - (2 * quarter - 3)
                eighths = (density[min(abs(2 * (first + i) + 1) // 2, len(density) - 1)]
                           for i in range(8))  # fmt: skip
                row.append(sum(eighths))
            # The escape is as likely as the two outermost symbols.
            row.append(row[0] + row[-1])
            total = sum(row)
            # No count is 0: every symbol can be coded.
            rows.append([1 + _PRIOR * value // total for value in row])
    return np.asarray(rows, np.int64)


def _neighbours(values: np.ndarray) -> np.ndarray:
    """Sum of the bins below and above, 0 beyond the ends."""
    total = np.zeros_like(values)
    total[..., 1:] += values[..., :-1]
    total[..., :-1] += values[..., 1:]
    return total


class CodeModel:
    """Probabilities of frame after frame of signed codes; encoder and decoder hold one each.

    Args:
        num_audio: audio channels, coded together.
        num_bins: filters.
        num_parts: 2 if the first half of a frame are cosine and the second half sine channels.
        turns: int64 [num_bins], 2^-16 turns per frame of each bin; None to predict nothing.

    Raises:
        ValueError: for a frame of no or of too many codes.
    """

    def __init__(
        self, *, num_audio: int, num_bins: int, num_parts: int, turns: np.ndarray | None
    ) -> None:
        shape = (num_audio, num_bins)
        self.shape = (num_parts, *shape)
        if not 1 <= math.prod(self.shape) <= MOST_SYMBOLS:
            raise ValueError(f"{self.shape} codes per frame: use 1 to {MOST_SYMBOLS}")
        self.counts = prior_counts().astype(np.int32)
        self._fresh = 0
        self._last = np.zeros((2, *shape), np.int64)
        self._predicted = np.zeros((2, *shape), np.int64)
        self._errors = [np.zeros(shape, np.int64), np.zeros(shape, np.int64)]
        self._size = np.zeros(shape, np.int64)
        self._slow_error = np.zeros(shape, np.int64)
        self._slow_size = np.zeros(shape, np.int64)
        self._context: Context | None = None
        self._is_predicting = turns is not None
        self._weights = _PLAIN_WEIGHTS
        if turns is not None:
            cosine, sine = cosine_table()
            # 10 of the 16 bits of a turn: 1024 steps.
            angle = (np.asarray(turns, np.int64) >> 6) & 1023
            self._cosine, self._sine = cosine[angle], sine[angle]
            self._turned = np.zeros((2, 2, *shape), np.int64)  # [re / im, frame, ...]
            self._statistics = np.zeros((8, *shape), np.int64)
            self._weights = _PREDICTED_WEIGHTS
            pull = [int(_REGULARISATION * weight) for weight in _WHITE_NOISE]
            is_complex = num_parts == 2
            self._pull = np.array([pull[0], 0, pull[1], 0]).reshape(4, 1, 1) * is_complex

    def context(self) -> Context:
        """Context that the next frame is coded against, from the frames so far.

        Returns:
            The context; :meth:`update` of the frame counts in its histograms.
        """
        if self._is_predicting:
            self._turn()
            self._predict()
        # scale = round(2 log2(1 + size)), in integers.
        scale = np.searchsorted(scale_thresholds(), self._expected_size(), side="right")
        part = self._predicted[: self.shape[0]]
        magnitude = np.abs(part)
        center = (magnitude + _UNIT // 2) >> _FRACTION_BITS
        # The prediction's distance from center lies in [-1/2, 1/2): which quarter of that, 0 to 3.
        quarter = (magnitude - (center << _FRACTION_BITS) + _UNIT // 2) >> 2
        self._context = Context(
            histogram=4 * scale + quarter,
            sign=np.where(part < 0, -1, 1),
            center=center,
            shift=np.broadcast_to(_scale_shifts()[scale], self.shape),
        )
        return self._context

    def _turn(self) -> None:
        """The last frame, and the one before it, turned to where they should be now."""
        real = np.array([self._last[0] << _FRACTION_BITS, self._turned[0, 0]])
        imaginary = np.array([self._last[1] << _FRACTION_BITS, self._turned[1, 0]])
        # z exp(-i theta), theta the bin's turn per frame: with the sine channel of a tone as minus
        # sine, z = re + i im turns backwards. The table's 12 bits are shifted out again.
        # Frame 0 is the last one; frame 1, turned once before, is turned a second time.
        self._turned = np.array(
            [
                (real * self._cosine + imaginary * self._sine) >> 12,
                (imaginary * self._cosine - real * self._sine) >> 12,
            ]
        )

    def _predict(self) -> None:
        """Two complex weights per bin from the normal equations, and what they predict."""
        statistics = self._statistics
        # Minimises sum |z - a u - b v|^2 + r (|a - 1|^2 + |b + 0.55|^2) over the past, u and v the
        # last two frames where they should be, z what came:
        # (uu + r) a + c b = p + r,  c* a + (vv + r) b = q - 0.55 r,
        # uu = sum |u|^2, vv = sum |v|^2, c = sum u* v, p = sum u* z, q = sum v* z.
        # Real banks are pulled to a = b = 0.
        energy = statistics[0] + statistics[1] + 2 * _REGULARISATION
        # float64 rounds, but everywhere alike; a bit more or less does no harm.
        shift = np.maximum(np.frexp(energy.astype(np.float64))[1].astype(np.int64) - 24, 0)
        # To 24 bits each, so that the products below, times 2^10, stay within 63.
        first = ((statistics[0] + _REGULARISATION) >> shift) + 1
        second = ((statistics[1] + _REGULARISATION) >> shift) + 1
        cross_re, cross_im = statistics[2] >> shift, statistics[3] >> shift
        limit = 1 << 25
        target = np.minimum(np.maximum((statistics[4:] + self._pull) >> shift, -limit), limit)
        # Cramer's rule: a = (vv p - c q) / det, b = (uu q - c* p) / det, det = uu vv - |c|^2.
        a_re, a_im, b_re, b_im = target
        determinant = np.maximum(first * second - cross_re**2 - cross_im**2, 1)
        weights = np.array(
            [
                second * a_re - cross_re * b_re + cross_im * b_im,
                second * a_im - cross_re * b_im - cross_im * b_re,
                first * b_re - cross_re * a_re - cross_im * a_im,
                first * b_im - cross_re * a_im + cross_im * a_re,
            ]
        )
        # Weights with 10 bits of fraction, at most 4 either way: no prediction explodes.
        bound = 4 << _WEIGHT_BITS
        weights = np.minimum(np.maximum((weights << _WEIGHT_BITS) // determinant, -bound), bound)
        real, imaginary = self._turned
        # a u + b v
        predicted = np.array(
            [
                weights[0] * real[0] - weights[1] * imaginary[0]
                + weights[2] * real[1] - weights[3] * imaginary[1],
                weights[0] * imaginary[0] + weights[1] * real[0]
                + weights[2] * imaginary[1] + weights[3] * real[1],
            ]
        )  # fmt: skip
        predicted = np.maximum(predicted >> _WEIGHT_BITS, -_LARGEST)
        self._predicted = np.minimum(predicted, _LARGEST)

    def _expected_size(self) -> np.ndarray:
        """Expected magnitude of the errors of a bin, both parts, in 1 / 16."""
        weights = self._weights
        # Weights sum products of magnitudes of both parts in 1 / 256; a single part counts twice.
        # Averages decay by 1 / 32 and 1 / 8 a frame and are 32 and 8 times what they average.
        near, far = self._errors
        total = weights[0] * near + weights[1] * far + weights[2] * _neighbours(near)
        total += weights[6] * (self._slow_error >> 5) + weights[7] * (self._slow_size >> 3)
        if self._is_predicting:
            predicted = np.abs(self._predicted).sum(axis=0)
            total += weights[3] * self._size + weights[4] * _neighbours(self._size)
            total += weights[5] * predicted
        return total >> 8 if self.shape[0] == 2 else total >> 7

    def update(self, frame: np.ndarray, symbols: np.ndarray) -> None:
        """Takes in a frame.

        Args:
            frame: its codes, int64 [parts, audio channels, bins].
            symbols: what stood for them in the histograms, same shape.
        """
        assert self._context is not None
        np.add.at(self.counts.reshape(-1), self._context.histogram * ALPHABET + symbols, _INCREMENT)
        # Counts that have grown large are halved: they forget, and stay exact in float32.
        self._fresh += symbols.size
        if self._fresh >= _FORGET_EVERY:
            self._fresh = 0
            large = self.counts.sum(axis=1) > _LIMIT
            self.counts[large] = (self.counts[large] >> 1) + 1
        values = frame << _FRACTION_BITS
        if self.shape[0] == 1:
            values = np.concatenate([values, np.zeros_like(values)])
        # [audio channels, bins], both parts together: the phase within a bin is no matter here.
        error = np.abs(values - self._predicted).sum(axis=0)
        self._errors = [error, self._errors[0]]
        self._size = np.abs(values).sum(axis=0)
        self._slow_error += error - (self._slow_error >> 5)
        self._slow_size += self._size - (self._slow_size >> 3)
        self._last = values >> _FRACTION_BITS
        if self._is_predicting:
            self._learn(values)

    def _learn(self, values: np.ndarray) -> None:
        """Adds a frame to the sums of products behind the prediction."""
        (first_re, second_re), (first_im, second_im) = self._turned
        real, imaginary = values
        # |u|^2, |v|^2, u* v, u* z and v* z (real, imaginary), decaying by 1 / 16 a frame.
        new = np.array(
            [
                first_re**2 + first_im**2,
                second_re**2 + second_im**2,
                first_re * second_re + first_im * second_im,
                first_re * second_im - first_im * second_re,
                first_re * real + first_im * imaginary,
                first_re * imaginary - first_im * real,
                second_re * real + second_im * imaginary,
                second_re * imaginary - second_im * real,
            ]
        )
        self._statistics += new - (self._statistics >> _MEMORY_SHIFT)
