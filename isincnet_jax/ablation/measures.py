"""Measurements of a bank in an ablation: reconstructions, speed, accuracies over seeds."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import scipy.special
from jaxtyping import Float

from isincnet_jax.ablation import grid as ablation
from isincnet_jax.benchmark import tables
from isincnet_jax.dsp import distances


def reconstruction_scores(
    clips: Float[np.ndarray, "clips time"],
    *,
    encode: Callable[[Any], Any],
    decode: Callable[[Any], Any],
    quantize: Callable[[Any], Any],
    noise_snr_db: float = 20.0,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """Signal-to-noise ratios of decoded clips: of all that was kept, of little, and of noise.

    The noise is white: every coefficient of a clip gets a normal number of the same variance,
    the mean square of the clip's coefficients over ``10 ** (noise_snr_db / 10)``.

    Args:
        clips: float32, [clips, time].
        encode: waveform [1, time] to coefficients [1, frames, channels].
        decode: coefficients to waveform [1, time].
        quantize: coefficients to those that a few bits per coefficient keep of them.
        noise_snr_db: ratio of the coefficients to the noise that is added to them.
        seed: of the noise.

    Returns:
        "snr_db", "quantized_snr_db" and "noisy_snr_db": mean over clips, its bootstrap interval
        and counts (:func:`.tables.summarise`), and the "worst" of all clips.

    Raises:
        ValueError: without clips, or if a reconstruction is not finite.
    """
    if len(clips) == 0:
        raise ValueError("no clips to reconstruct; give at least one")
    generator = np.random.default_rng(seed)
    found: dict[str, list[float | None]] = {}
    for clip in clips:
        coefficients = np.asarray(encode(clip[None]))
        power = float(np.mean(coefficients.astype(np.float64) ** 2))
        # E[noise^2] = mean(c^2) 10^(-SNR / 10), the same for all coefficients of the clip
        deviation = math.sqrt(power * 10.0 ** (-noise_snr_db / 10.0))
        noise = generator.standard_normal(coefficients.shape) * deviation
        kept = {
            "snr_db": coefficients,
            "quantized_snr_db": quantize(coefficients),
            "noisy_snr_db": (coefficients + noise).astype(coefficients.dtype),
        }
        for name, one in kept.items():
            decoded = np.asarray(decode(one))[0]
            if not np.all(np.isfinite(decoded)):
                raise ValueError(f"{name}: the reconstruction has NaN or infinite samples")
            silent = not np.any(clip)
            ratio = None if silent else distances.snr_db(prediction=decoded, target=clip)
            found.setdefault(name, []).append(ratio)
    return {name: _summary(values) for name, values in found.items()}


def _summary(values: Sequence[float | None]) -> dict[str, Any]:
    worst = min((value for value in values if value is not None), default=None)
    return {**tables.summarise(values), "worst": worst}


def times_real_time(work: Callable[[], Any], *, duration_s: float, repeats: int = 5) -> float:
    """Real-time factor: seconds of audio per second of work, the fastest of some repeats.

    What else the machine does makes a repeat slower, never faster.

    Args:
        work: what is timed; arrays that it returns are waited for.
        duration_s: of the audio that it works on.
        repeats: at least 1.

    Returns:
        Above 1 is faster than real time.

    Raises:
        ValueError: for no repeats.
    """
    if repeats < 1:
        raise ValueError(f"repeats={repeats}: must be at least 1")
    jax.block_until_ready(work())  # compiles
    spent = []
    for _ in range(repeats):
        begun = time.perf_counter()
        jax.block_until_ready(work())
        spent.append(time.perf_counter() - begun)
    return duration_s / min(spent)


def accuracy_over_seeds(
    runs: Sequence[Mapping[str, Any]],
    *,
    wilson: Callable[[float, int], tuple[float, float]],
) -> dict[str, Any] | None:
    """Accuracies of runs that differ in their seed alone, as one figure with two intervals.

    They answer two questions. "seeds_low" and "seeds_high", Student's interval of the mean over
    seeds, is about another training on the same tracks; None for a single seed. "tracks_low" and
    "tracks_high", Wilson's interval of the mean accuracy as a share of the tracks, is about
    other tracks: all seeds are pooled by track, and a track counts once, however many seeds
    there are, since decisions on the same track are no independent trials.

    Args:
        runs: of each seed: "accuracy" (0 to 1), "tracks", and maybe "filter_movement_hz".
        wilson: hits (a mean over seeds, no whole number maybe) and trials to an interval.

    Returns:
        "accuracy", the intervals, "accuracies", "tracks" and the mean "filter_movement_hz" (None
        where nothing is learned); None without runs.
    """
    if not runs:
        return None
    accuracies = [float(run["accuracy"]) for run in runs]
    tracks, mean = int(runs[0]["tracks"]), float(np.mean(accuracies))
    seeds = ablation.t_interval(accuracies)
    # Pooled by track: mean hits of n tracks, not seeds * n trials, which would not be independent.
    low, high = wilson(mean * tracks, tracks)
    moved = [run["filter_movement_hz"] for run in runs if "filter_movement_hz" in run]
    return {
        "accuracy": mean,
        "seeds_low": None if seeds is None else max(0.0, seeds[0]),
        "seeds_high": None if seeds is None else min(1.0, seeds[1]),
        "tracks_low": low,
        "tracks_high": high,
        "accuracies": accuracies,
        "tracks": tracks,
        "filter_movement_hz": float(np.mean(moved)) if moved else None,
    }


def compare_with_best(
    rows: Sequence[Mapping[str, Any]], *, confidence: float = 0.95
) -> dict[str, dict[str, Any]]:
    """Differences from the best: for every classification its best cell, and whom it does not beat.

    A cell is worse than the best where two intervals of the difference of their accuracies exclude
    0: Student's over the seeds that both have, which are pairs (the same batches and first weights
    of the network), and the normal one over tracks, of two shares of n tracks as if they were
    independent, which is cautious. The best is chosen among all on the same tracks, so that a
    difference that just counts is not one to build on.

    Args:
        rows: cells with "name" and "classification", see :func:`accuracy_over_seeds`, which has
            "seeds" too.
        confidence: of both intervals, between 0 and 1.

    Returns:
        For every classification "best", its "accuracy", "seeds" and "tracks", and the names that
        are "alike" and "worse". Cells with fewer seeds than the most are left out, as are
        classifications of a single cell.

    Example:
        >>> def row(name, accuracy):
        ...     runs = {"accuracies": [accuracy] * 2, "seeds": [0, 1], "tracks": 900}
        ...     runs["accuracy"] = accuracy
        ...     return {"name": name, "classification": {"genre, learned": runs}}
        >>> rows = [row("sinc", 0.5), row("gauss", 0.7)]
        >>> compare_with_best(rows)["genre, learned"]["worse"]
        ['sinc']
    """
    parts = list(dict.fromkeys(part for row in rows for part in row["classification"] or ()))
    found = {}
    for part in parts:
        cells = {
            row["name"]: row["classification"][part]
            for row in rows
            if part in (row["classification"] or {})
        }
        most = max(len(cell["seeds"]) for cell in cells.values())
        cells = {name: cell for name, cell in cells.items() if len(cell["seeds"]) == most}
        if len(cells) < 2:
            continue
        best = max(cells, key=lambda name: cells[name]["accuracy"])
        verdicts: dict[str, list[str]] = {"alike": [], "worse": []}
        for name, cell in cells.items():
            if name != best:
                worse = _is_worse(cell, cells[best], confidence)
                verdicts["worse" if worse else "alike"].append(name)
        top = cells[best]
        kept = {name: top[name] for name in ("accuracy", "seeds", "tracks")}
        found[part] = {"best": best, **kept, **verdicts}
    return found


def _is_worse(cell: Mapping[str, Any], best: Mapping[str, Any], confidence: float) -> bool:
    ours, theirs = (dict(zip(one["seeds"], one["accuracies"], strict=True)) for one in (best, cell))
    differences = [ours[seed] - theirs[seed] for seed in ours if seed in theirs]
    if not differences:
        return False
    over_seeds = ablation.t_interval(differences, confidence=confidence)
    # var(p) = p (1 - p) / n of each share
    variance = sum(p * (1.0 - p) / best["tracks"] for p in (best["accuracy"], cell["accuracy"]))
    half = float(scipy.special.ndtri(0.5 + 0.5 * confidence)) * math.sqrt(variance)
    beyond_tracks = best["accuracy"] - cell["accuracy"] > half
    return beyond_tracks and over_seeds is not None and over_seeds[0] > 0.0
