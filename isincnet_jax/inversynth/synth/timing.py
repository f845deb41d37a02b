"""Checks of lengths, rates and the end of a note."""

from __future__ import annotations

import math


def check_timing(*, num_samples: int, sample_rate: float) -> None:
    """Raises ValueError unless there is at least one sample, at a positive rate."""
    if num_samples != int(num_samples) or num_samples < 1:
        raise ValueError(f"num_samples={num_samples} must be a whole number, at least 1")
    if not 0 < sample_rate < math.inf:
        raise ValueError(f"sample_rate={sample_rate} must be positive, in Hz")


def resolve_note_off(note_off: float | None, *, num_samples: int, sample_rate: float) -> float:
    """The end of the note in seconds, half the clip if None; raises ValueError before 0."""
    if note_off is None:
        return 0.5 * num_samples / sample_rate
    if not 0 <= note_off < math.inf:
        raise ValueError(f"note_off={note_off} must be 0 or more, in seconds")
    return float(note_off)
