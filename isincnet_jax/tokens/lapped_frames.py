"""Lapped frames of long recordings on the host: frames of one size, or of sizes that follow it.

The transform is that of :mod:`isincnet_jax.bank.dsp.lapped_transform`, in float64 NumPy: nothing is
compiled for the length of a recording, and frames may change their size. Between frames of sizes M
and N the overlap has min(M, N) samples, with the window of that hop, so that the whole stays an
orthonormal transform of as many coefficients as samples.

**Tiling.** A recording of L samples begins with ``L // S`` superframes of S samples. Each is one
frame, or two halves, each of which is one frame or two halves, down to the smallest size. What is
left of the recording is cut into the largest sizes that fit; the rest of that, shorter than the
smallest frame, lengthens the last one. With S = N for the smallest size there are frames of N, and
a last one of N + r.

References:
    B. Edler, "Codierung von Audiosignalen mit ueberlappender Transformation und adaptiven
        Fensterfunktionen", Frequenz 43, 1989: windows that change their size.
    H. S. Malvar, "Signal Processing with Lapped Transforms", Artech House 1992.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.fft

from isincnet_jax.bank.dsp.lapped_transform import window_angles
from isincnet_jax.bank.lapped_spec import LappedSpec


class Tiling(NamedTuple):
    """How recordings are cut.

    Attributes:
        spec: of the window; its hop is S where nothing switches.
        largest: S, samples of a superframe.
        smallest: of a frame; S halved some times.
    """

    spec: LappedSpec
    largest: int
    smallest: int

    def sizes(self) -> list[int]:
        """Sizes that a frame may have, the largest first."""
        found = [self.largest]
        while found[-1] > self.smallest:
            found.append(found[-1] // 2)
        return found

    def tail(self, length: int) -> tuple[list[int], int]:
        """Sizes of the frames behind the superframes, and samples that lengthen the last frame.

        Args:
            length: samples of the recording.

        Returns:
            Sizes, none where nothing is left; the rest, less than the smallest size. A recording
            that is shorter than the smallest frame is one frame of size 0 with that rest.
        """
        rest = length % self.largest
        found = []
        for size in self.sizes()[1:]:
            found += [size] * (rest // size)
            rest %= size
        if length < self.smallest:
            found = [0]
        return found, rest


class Frame(NamedTuple):
    """A frame.

    Attributes:
        size: by which overlaps go; the nominal one.
        values: float64 [size + what lengthens it, audio channels].
    """

    size: int
    values: np.ndarray


def analyse(
    samples: Iterable[np.ndarray], sizes: Iterable[int], rest: int, spec: LappedSpec
) -> Iterator[Frame]:
    """Coefficients of a recording, frame by frame.

    Args:
        samples: [time, audio channels], in blocks of any sizes.
        sizes: of the frames, nominal.
        rest: samples that lengthen the last one.
        spec: of the window.

    Yields:
        Frames of coefficients. What the sizes do not cover is left out.
    """
    source = Samples(samples)
    last: Frame | None = None
    for frame in _with_rest(sizes, rest):
        block = source.take(frame.total)
        if last is not None:
            _turn(last, Frame(frame.size, block), spec, back=False)
            yield Frame(last.size, _dct4(last.values[::-1]))
        last = Frame(frame.size, block)
    if last is not None:
        yield Frame(last.size, _dct4(last.values[::-1]))


def synthesise(frames: Iterable[Frame], spec: LappedSpec) -> Iterator[np.ndarray]:
    """Samples of frames of coefficients: the inverse of :func:`analyse`.

    Args:
        frames: as :func:`analyse` yields them.
        spec: of the window.

    Yields:
        float64 [time, audio channels].
    """
    last: Frame | None = None
    for frame in frames:
        block = Frame(frame.size, np.ascontiguousarray(_dct4(frame.values)[::-1]))
        if last is not None:
            _turn(last, block, spec, back=True)
            yield last.values
        last = block
    if last is not None:
        yield last.values


def choose_sizes(
    samples: Iterable[np.ndarray], tiling: Tiling, *, step: float
) -> Iterator[list[int]]:
    """Sizes of the frames of each superframe: those that promise the fewest bits at a step.

    A coefficient of a steps is taken for ``log2(1 + 4 a^2) / 2`` bits, and frames that are split
    for ``_SPLIT`` more.

    Args:
        samples: [time, audio channels], in blocks of any sizes.
        tiling: largest and smallest size.
        step: of the quantizer.

    Yields:
        For each superframe the sizes of its frames, in their order.
    """
    size = tiling.largest
    source = Samples(samples)
    # A superframe's costs depend on half of each neighbour; at the ends there is none.
    held = [source.take_some(size), source.take_some(size)]
    before = held[0][:0]
    while len(held[0]) == size:
        after = held[1] if len(held[1]) == size else held[1][:0]
        window = np.concatenate([before, held[0], after])
        begin = len(before)
        costs = {
            one: _bits(window, one, tiling.spec, step)[begin // one : (begin + size) // one]
            for one in tiling.sizes()
        }
        yield _cheapest(costs, tiling.sizes(), 0)[1]
        before, held = held[0], [held[1], source.take_some(size)]


_SPLIT = 4.0
"""Bits that a split must save."""


def _bits(window: np.ndarray, size: int, spec: LappedSpec, step: float) -> np.ndarray:
    """Bits of the frames of one size in a window."""
    frames = analyse([window], [size] * (len(window) // size), 0, spec)
    bits = [float(np.sum(np.log2(1 + np.square(2 * frame.values / step)))) / 2 for frame in frames]
    return np.array(bits)


def _cheapest(
    costs: dict[int, np.ndarray], sizes: Sequence[int], index: int
) -> tuple[float, list[int]]:
    """Least bits of a frame or of its halves, and the sizes."""
    whole = float(costs[sizes[0]][index])
    if len(sizes) == 1:
        return whole, [sizes[0]]
    left, right = (_cheapest(costs, sizes[1:], 2 * index + half) for half in (0, 1))
    split = left[0] + right[0] + _SPLIT
    return (split, left[1] + right[1]) if split < whole else (whole, [sizes[0]])


class _Sized(NamedTuple):
    size: int
    total: int


def _with_rest(sizes: Iterable[int], rest: int) -> Iterator[_Sized]:
    last = None
    for size in sizes:
        if last is not None:
            yield _Sized(last, last)
        last = size
    if last is not None:
        yield _Sized(last, last + rest)


class Samples:
    """Blocks of samples as a stream from which any number can be taken.

    Args:
        blocks: [time, audio channels], of any sizes.
    """

    def __init__(self, blocks: Iterable[np.ndarray]) -> None:
        self._blocks = iter(blocks)
        self._held: list[np.ndarray] = []
        self._count = 0

    def take_some(self, count: int) -> np.ndarray:
        """The next samples, fewer at the end.

        Args:
            count: how many.

        Returns:
            float64 [time, audio channels], writable.
        """
        while self._count < count:
            block = next(self._blocks, None)
            if block is None:
                break
            self._held.append(block)
            self._count += len(block)
        if not self._held:
            return np.zeros((0, 1))
        held = np.concatenate(self._held) if len(self._held) > 1 else self._held[0]
        self._held, taken = [held[count:]], held[:count]
        self._count = len(self._held[0])
        return np.array(taken, np.float64)

    def take(self, count: int) -> np.ndarray:
        """The next samples, all of them.

        Args:
            count: how many.

        Returns:
            float64 [count, audio channels], writable.

        Raises:
            ValueError: if there are fewer.
        """
        taken = self.take_some(count)
        if len(taken) != count:
            raise ValueError(f"{count} samples wanted, {len(taken)} left")
        return taken


@functools.lru_cache(maxsize=64)
def _rotation(window: str, overlap: int, beta: float | None) -> tuple[np.ndarray, np.ndarray]:
    angles = window_angles(window, overlap, beta=beta)[:, None]  # type: ignore[arg-type]
    return np.sin(angles), np.cos(angles)


def _turn(left: Frame, right: Frame, spec: LappedSpec, *, back: bool) -> None:
    """Rotates the pairs around the border of two frames, in place.

    As in :mod:`isincnet_jax.bank.dsp.lapped_transform`: with n from the border outwards,
    ``before' = cos before + sin behind`` and ``behind' = cos behind - sin before``, where the
    angles rise towards the border.
    """
    overlap = min(left.size, right.size)
    half = overlap // 2
    if not half:
        return
    sines, cosines = _rotation(spec.window, overlap, spec.beta)
    if back:
        sines = -sines
    before = left.values[len(left.values) - half :]
    behind = right.values[:half][::-1]
    turned = cosines * before + sines * behind
    right.values[:half] = (cosines * behind - sines * before)[::-1]
    left.values[len(left.values) - half :] = turned


def _dct4(values: np.ndarray) -> np.ndarray:
    """Minus the orthonormal DCT-IV along axis 0, as in the lapped transform."""
    spectrum: Any = scipy.fft.dct(values, type=4, norm="ortho", axis=0)
    return -spectrum
