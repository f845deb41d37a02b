"""Metrics of a reconstruction over a fixed set of clips."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from isincnet_jax.dsp import distances, spectral_distances

METRICS = ("mse", "mae", "snr_db", "si_sdr_db", "log_stft")
"""What is measured for each clip."""

_RATIOS = ("snr_db", "si_sdr_db")


def clip_metrics(
    *, prediction: Float[np.ndarray, " time"], target: Float[np.ndarray, " time"]
) -> dict[str, float]:
    """MSE, MAE, SNR, SI-SDR (dB) and log-STFT distance of one clip.

    Args:
        prediction: the reconstruction, float [time].
        target: the clip, float [time].

    Returns:
        A number for each of :data:`METRICS`; ratios in dB may be infinite.
    """
    sums = distances.error_sums(prediction=prediction, target=target)
    spectral = spectral_distances.log_stft(
        prediction=np.asarray(prediction, np.float32), target=np.asarray(target, np.float32)
    )
    return {
        "mse": sums.mse,
        "mae": sums.mae,
        "snr_db": sums.snr_db,
        "si_sdr_db": sums.si_sdr_db,
        "log_stft": float(spectral),
    }


def evaluate_clips(
    reconstruct: Callable[[Any], Any],
    clips: Sequence[Float[np.ndarray, " time"]] | Float[np.ndarray, "clips time"],
    *,
    batch_size: int = 8,
) -> dict[str, float]:
    """Mean of each metric over clips, every clip once, and the worst SNR.

    SNR and SI-SDR of silent clips are undefined; those are left out of their means (NaN if all
    clips are silent).

    Args:
        reconstruct: waveform [batch, time] to waveform [batch, time].
        clips: of equal or different lengths; equal ones that follow each other share batches.
        batch_size: clips per call; smaller batches are padded with silence, so that one shape
            is compiled.

    Returns:
        The metrics of :data:`METRICS`, and "worst_snr_db".

    Raises:
        ValueError: without clips.
    """
    rows = per_clip_metrics(reconstruct, clips, batch_size=batch_size)
    audible = [row for row, clip in zip(rows, clips, strict=True) if np.any(clip)]
    means = {name: _mean(audible if name in _RATIOS else rows, name) for name in METRICS}
    return {**means, "worst_snr_db": min((row["snr_db"] for row in audible), default=math.nan)}


def _mean(rows: list[dict[str, float]], name: str) -> float:
    return float(np.mean([row[name] for row in rows])) if rows else math.nan


def per_clip_metrics(
    reconstruct: Callable[[Any], Any],
    clips: Sequence[Float[np.ndarray, " time"]] | Float[np.ndarray, "clips time"],
    *,
    batch_size: int = 8,
) -> list[dict[str, float]]:
    """The metrics of each clip, see :func:`evaluate_clips`.

    Args:
        reconstruct: waveform [batch, time] to waveform [batch, time].
        clips: of equal or different lengths.
        batch_size: clips per call.

    Returns:
        One dictionary of :data:`METRICS` for each clip, in their order.

    Raises:
        ValueError: without clips, or if a reconstruction has another shape.
    """
    if not len(clips):
        raise ValueError("no clips to evaluate; give at least one")
    rows = []
    for begin, end in _runs_of_equal_length(clips, batch_size):
        batch = np.stack(list(clips[begin:end]))
        # Silence up to batch_size rows: one shape for each length of clips.
        padded = np.pad(batch, ((0, batch_size - len(batch)), (0, 0)))
        decoded = np.asarray(reconstruct(padded))[: len(batch)]
        rows += [
            clip_metrics(prediction=one, target=other)
            for one, other in zip(decoded, batch, strict=True)
        ]
    return rows


def _runs_of_equal_length(clips: Any, batch_size: int) -> list[tuple[int, int]]:
    runs, begin = [], 0
    for index in range(1, len(clips) + 1):
        full = index - begin == batch_size
        if index == len(clips) or full or len(clips[index]) != len(clips[begin]):
            runs.append((begin, index))
            begin = index
    return runs
