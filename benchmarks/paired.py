"""Two operations timed in turns within one process, and the ratios pair by pair."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

Operation = Callable[[], Any]
LONGEST_BURST = 8
_BURST_S = 0.4


def timed(operation: Operation, burst: int) -> tuple[float, float]:
    """Seconds and processor seconds per call: one call to settle, then a burst back to back."""
    operation()
    start, used = time.perf_counter(), time.process_time()
    for _ in range(burst):
        operation()
    return (time.perf_counter() - start) / burst, (time.process_time() - used) / burst


def median_times(operation: Operation, calls: int) -> tuple[float, float]:
    """Median seconds and processor seconds per call, after two calls to settle.

    Args:
        operation: complete when it returns.
        calls: that are timed.
    """
    operation()
    operation()
    wall, processor = zip(*(timed_once(operation) for _ in range(calls)), strict=True)
    return statistics.median(wall), statistics.median(processor)


def timed_once(operation: Operation) -> tuple[float, float]:
    """Seconds and processor seconds of one call."""
    start, used = time.perf_counter(), time.process_time()
    operation()
    return time.perf_counter() - start, time.process_time() - used


def compare(
    ours: Operation, peer: Operation, *, pairs: int, audio_s: float, burst: int | None = None
) -> dict[str, float]:
    """Times two operations in turns (A B, B A, A B, ...), after two calls of each to settle.

    Args:
        ours: our operation, complete when it returns.
        peer: the peer's.
        pairs: how many times each is measured.
        audio_s: seconds of audio that one call processes.
        burst: calls per measurement; by default as many as take 0.4 s, at most 8.

    Returns:
        Medians in milliseconds, the median and quartiles of the ratios pair by pair (peer over
        ours: above 1 we are faster), the same of processor time, which other processes on the
        machine disturb less, and times real time of both.
    """
    sides = []
    for operation in (ours, peer):
        operation()
        once, _ = timed(operation, 1)
        fitting = max(1, min(LONGEST_BURST, round(_BURST_S / max(once, 1e-6))))
        sides.append((operation, burst or fitting, []))
    for index in range(pairs):
        for operation, calls, times in sides if index % 2 == 0 else sides[::-1]:
            times.append(timed(operation, calls))
    (ours_s, ours_used), (peer_s, peer_used) = (
        tuple(zip(*times, strict=True)) for _, _, times in sides
    )
    ratios = [b / a for a, b in zip(ours_s, peer_s, strict=True)]
    used = [b / max(a, 1e-9) for a, b in zip(ours_used, peer_used, strict=True)]
    quartiles = statistics.quantiles(ratios, n=4) if pairs > 1 else ratios * 3
    return {
        "ours_ms": 1e3 * statistics.median(ours_s),
        "peer_ms": 1e3 * statistics.median(peer_s),
        "ratio": statistics.median(ratios),
        "ratio_lower_quartile": quartiles[0],
        "ratio_upper_quartile": quartiles[2],
        "processor_time_ratio": statistics.median(used),
        "ours_times_real_time": audio_s / statistics.median(ours_s),
        "peer_times_real_time": audio_s / statistics.median(peer_s),
    }
