"""Timing of a note: checks of lengths, rates and its end."""

from __future__ import annotations

import math

from isincnet_jax.dsp import checks


def check_timing(*, num_samples: int, sample_rate: float) -> None:
    """Refuses lengths and rates that no clip has.

    Args:
        num_samples: a whole number, at least 1.
        sample_rate: Hz, positive.

    Raises:
        ValueError: otherwise.
    """
    if num_samples != int(num_samples) or num_samples < 1:
        raise ValueError(f"num_samples={num_samples} must be a whole number, at least 1")
    checks.check_rate(sample_rate)


def resolve_note_off(note_off: float | None, *, num_samples: int, sample_rate: float) -> float:
    """End of the note in seconds.

    Args:
        note_off: seconds, at least 0; half the clip if None.
        num_samples: of the clip.
        sample_rate: Hz.

    Returns:
        Seconds.

    Raises:
        ValueError: for an end before 0, or none that is finite.
    """
    if note_off is None:
        return 0.5 * num_samples / sample_rate
    if not 0 <= note_off < math.inf:
        raise ValueError(f"note_off={note_off} must be 0 or more, in seconds")
    return float(note_off)
