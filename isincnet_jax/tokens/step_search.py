"""Quantisation of a recording's lapped coefficients: its step, offsets and error.

The transform keeps energy, so that the error of the coefficients is that of the samples, and a step
is found without going back to sound.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from isincnet_jax.tokens.block_coder import Layout

TOLERANCE_DB = 0.02
_MOST_TRIALS = 12
RATE_TOLERANCE = 0.01
_FINEST, _COARSEST = 2.0**-30, 2.0**30


class Block(NamedTuple):
    """Coefficients of a block.

    Attributes:
        layout: of its frames.
        lengths: of the frames.
        values: float32 [codes, audio channels], frame after frame.
    """

    layout: Layout
    lengths: list[int]
    values: np.ndarray


class Spool:
    """Coefficients of a recording, block by block, in a temporary file.

    Attributes:
        energy: sum of their squares.

    Args:
        folder: where the file stands.
    """

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed with the spool
        self._blocks: list[tuple[Layout, list[int], int]] = []
        self.energy = 0.0

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._file.close()

    def add(self, layout: Layout, frames: list[np.ndarray]) -> None:
        """Keeps a block.

        Args:
            layout: of its frames.
            frames: coefficients, [size, audio channels] each.
        """
        values = np.concatenate(frames).astype(np.float32)
        self._blocks.append((layout, [len(frame) for frame in frames], values.shape[1]))
        self._file.write(values.tobytes())
        self.energy += float(np.sum(np.square(values, dtype=np.float64)))

    def __iter__(self) -> Iterator[Block]:
        """The blocks, in their order."""
        self._file.seek(0)
        for layout, lengths, audio in self._blocks:
            data = self._file.read(4 * sum(lengths) * audio)
            yield Block(layout, lengths, np.frombuffer(data, np.float32).reshape(-1, audio))


class Quantised(NamedTuple):
    """What a step makes of a recording.

    Attributes:
        snr_db: of the reconstruction; infinite for an exact one.
        offsets: mean of what magnitudes of 1, of 2, and of more lack, float32.
    """

    snr_db: float
    offsets: tuple[float, float, float]


class Errors:
    """Sums from which the error of codes follows, with offsets and without.

    Attributes:
        step: of the quantizer.
    """

    def __init__(self, step: float) -> None:
        self.step = step
        self._counts = np.zeros(4)
        self._sums = np.zeros(4)
        self._squares = np.zeros(4)

    def add(
        self, ratios: np.ndarray, magnitudes: np.ndarray, factors: np.ndarray | float = 1.0
    ) -> None:
        """Takes in codes.

        Args:
            ratios: magnitudes of coefficients, in their steps.
            magnitudes: of their codes.
            factors: of the step, where it is not the same for all.
        """
        kind = np.minimum(magnitudes, 3).ravel().astype(np.int64)
        lacking = (factors * np.subtract(ratios, magnitudes, dtype=np.float64)).ravel()
        self._counts += np.bincount(kind, minlength=4)
        self._sums += np.bincount(kind, lacking, minlength=4)
        self._squares += np.bincount(kind, np.square(lacking), minlength=4)

    def result(self, energy: float, *, with_offsets: bool) -> Quantised:
        """The error so far.

        Args:
            energy: of the recording.
            with_offsets: whether magnitudes are corrected by their mean error; for one step.

        Returns:
            Ratio and offsets.
        """
        means = self._sums / np.maximum(self._counts, 1)
        offsets = np.clip(means, -0.5, 0.5).astype(np.float32)
        offsets[0] = 0.0
        if not with_offsets:
            offsets[:] = 0.0
        error = self._squares - 2 * offsets * self._sums + offsets**2 * self._counts
        noise = float(error.sum()) * self.step**2
        snr_db = 10 * math.log10(energy / noise) if noise and energy else math.inf
        first, second, third = (float(value) for value in offsets[1:])
        return Quantised(snr_db, (first, second, third))


def measure_snr(spool: Spool, step: float) -> float:
    """Signal-to-noise ratio of a recording that is rounded to a step.

    Args:
        spool: its coefficients.
        step: of the quantizer.

    Returns:
        dB; infinite for an exact one.
    """
    errors = Errors(step)
    for block in spool:
        ratios = np.abs(block.values) * np.float32(1 / step)
        errors.add(ratios, np.rint(ratios))
    return errors.result(spool.energy, with_offsets=False).snr_db


def search_step(
    trial: Callable[[float], float], *, start: float, snr_db: float, tolerance_db: float
) -> float:
    """Step at which a recording has a signal-to-noise ratio.

    Args:
        trial: ratio in dB of a step.
        start: first step to try.
        snr_db: aimed at.
        tolerance_db: that is near enough.

    Returns:
        A float32 step whose ratio is within the tolerance, or the nearest of 12 trials.
    """
    low, high = -math.inf, math.inf
    points: list[tuple[float, float]] = []
    last: tuple[float, float] | None = None
    log_step = math.log(start)
    for _ in range(_MOST_TRIALS):
        step = float(np.float32(math.exp(log_step)))
        found = trial(step)
        points.append((abs(found - snr_db), step))
        if points[-1][0] <= tolerance_db:
            break
        # The ratio falls as the step grows, by 8.7 dB per unit of its logarithm for fine steps.
        low, high = (log_step, high) if found > snr_db else (low, log_step)
        slope = -6.0
        if last is not None and last[0] != log_step:
            slope = min((found - last[1]) / (log_step - last[0]), -1.0)
        last = log_step, found
        log_step += max(-2.0, min((snr_db - found) / slope, 2.0))
        if not low < log_step < high:
            log_step = (low + high) / 2 if math.isfinite(low + high) else log_step
    return min(points)[1]


def search_rate(trial: Callable[[float], float], *, start: float, kbps: float) -> float:
    """Step at which a file has a rate.

    Args:
        trial: kbit/s of a step.
        start: first step to try.
        kbps: aimed at.

    Returns:
        A float32 step whose rate is within 1 %.

    Raises:
        ValueError: if no step has it; the message says what the nearest one has.
    """
    points: dict[float, float] = {}
    fine, coarse = math.log2(_FINEST), math.log2(_COARSEST)
    log_step, stride = math.log2(start), 1.0
    while len(points) < 3 * _MOST_TRIALS:
        step = float(np.float32(2.0**log_step))
        if step in points:
            break
        points[step] = found = trial(step)
        if abs(found - kbps) <= RATE_TOLERANCE * kbps:
            return step
        fine, coarse = (fine, log_step) if found < kbps else (log_step, coarse)
        if fine > math.log2(_FINEST) and coarse < math.log2(_COARSEST):
            # Between two steps: where a line through the logarithms of their rates has the rate,
            # or halfway where that is near an end.
            ends = (math.log2(points[float(np.float32(2.0**end))]) for end in (fine, coarse))
            high, low = ends
            share = (high - math.log2(kbps)) / max(high - low, 1e-9)
            log_step = fine + (coarse - fine) * min(max(share, 0.1), 0.9)
        else:
            log_step += -stride if found < kbps else stride
            log_step = min(max(log_step, fine), coarse)
            stride *= 2
    nearest = min(points.values(), key=lambda rate: abs(rate - kbps))
    raise ValueError(
        f"kbps={kbps:g}: the nearest that this recording can have is {nearest:.2f} kbit/s; use that"
    )
