"""Matching of sounds: the estimate, the best of many draws, and refinement, beside other searches.

    python benchmarks/sound_matching.py [--sounds 200] [--draws 64] [--steps 30] [--refined 2] \
        [--notes DIR ...] [--most-notes 24] [--write]

Fresh sounds of the synthesizer, from a key that no training uses, are matched one by one: median
spectral distance and correlation of linear STFT magnitudes, and seconds, after each stage. Then
recorded notes of the folders, a second from the loudest onset of each file: against a random
setting, the nearest of 10,000 rendered settings, the estimate alone, and gradient search from 16
random starts in at least the time that a match takes. Calibration: of settings that the network
gives 30 %, how many are right.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import common
import jax
import jax.numpy as jnp
import numpy as np

import isincnet_jax as isn
from isincnet_jax.dsp import fourier
from isincnet_jax.inversynth import matching, sound_matching
from isincnet_jax.inversynth.features import NUM_SAMPLES, SAMPLE_RATE
from isincnet_jax.inversynth.synth.parameters import values_from_levels
from isincnet_jax.inversynth.synth.render import render
from isincnet_jax.inversynth.synth.sampling import sample_levels
from isincnet_jax.inversynth.training import stream_key

MODEL = "16khz-inversynth"
NEAREST_OF = 10_000
STARTS = 16
BINS = 10


def correlation(prediction: Any, target: Any) -> float:
    """Correlation of linear STFT magnitudes."""
    spectra = [
        np.asarray(fourier.stft_power(jnp.asarray(sound), n_fft=512, hop_length=256, power=1.0))
        for sound in (prediction, target)
    ]
    return float(np.corrcoef(*(spectrum.ravel() for spectrum in spectra))[0, 1])


def matched(sound: Any, model: Any, **options: Any) -> tuple[Any, float]:
    start = time.perf_counter()
    found = isn.match_sound(sound, model, **options)
    return found, time.perf_counter() - start


def fresh_sounds(count: int) -> tuple[np.ndarray, np.ndarray]:
    levels = sample_levels(stream_key(common.SEED, "test"), count)
    return np.asarray(render(values_from_levels(levels))), np.asarray(levels)


def of_the_synthesizer(args: argparse.Namespace, model: Any) -> dict[str, Any]:
    sounds, _ = fresh_sounds(args.sounds)
    stages: dict[str, dict[str, Any]] = {
        "estimate": {"num_draws": 0},
        "draws": {"num_draws": args.draws},
        "refined": {
            "num_draws": args.draws, "num_steps": args.steps, "num_refined": args.refined
        },
    }  # fmt: skip
    found: dict[str, Any] = {}
    for name, options in stages.items():
        matched(sounds[0], model, **options)  # compiled before it is timed
        rows = [matched(sound, model, **options) for sound in sounds]
        distances = [float(match.distance[0]) for match, _ in rows]
        close = [
            correlation(render(match.values[0]), sound)
            for (match, _), sound in zip(rows, sounds, strict=True)
        ]
        found[name] = {
            **options,
            "median_distance": statistics.median(distances),
            "mean_distance": statistics.fmean(distances),
            "correlation": statistics.fmean(close),
            "median_correlation": statistics.median(close),
            "seconds": statistics.median(seconds for _, seconds in rows),
        }
    return found


def calibration(model: Any, count: int = 2000) -> list[dict[str, float]]:
    """Share of right levels by the probability that they were given, in tenths."""
    sounds, levels = fresh_sounds(count)
    chances = np.concatenate(
        [np.asarray(jax.nn.softmax(model.scores(part), axis=-1)) for part in np.split(sounds, 40)]
    )
    right = levels[..., None] == np.arange(chances.shape[-1])
    place = np.minimum((chances * BINS).astype(int), BINS - 1)
    return [
        {
            "given": float(chances[place == index].mean()),
            "right": float(right[place == index].mean()),
            "count": int(np.sum(place == index)),
        }
        for index in range(BINS)
        if np.any(place == index)
    ]


def recorded_notes(folders: list[Path], most: int) -> Iterator[tuple[str, np.ndarray]]:
    """A second from the steepest rise of level in each file, at a peak of 0.7."""
    files = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    order = np.random.default_rng(common.SEED).permutation(len(files))
    count = 0
    for index in order:
        for clip in common.read_clips([files[index]], files[index].parent):
            samples = common.resample(clip.samples, clip.sample_rate, SAMPLE_RATE)
            level = np.sqrt(np.convolve(samples**2, np.ones(512) / 512, mode="valid"))[::128]
            if len(level) < 12 or level.max() < 1e-3:
                continue
            rise = level[8:] - level[:-8]
            start = max(0, int(np.argmax(rise[: max(1, len(rise) - 64)])) * 128)
            note = np.zeros(NUM_SAMPLES, np.float32)
            piece = samples[start : start + NUM_SAMPLES]
            note[: len(piece)] = 0.7 * piece / np.max(np.abs(piece))
            yield files[index].name, note
            count += 1
        if count >= most:
            return


def of_recordings(args: argparse.Namespace, model: Any) -> list[dict[str, Any]]:
    options = {"num_draws": args.draws, "num_steps": args.steps, "num_refined": args.refined}
    key = jax.random.key(common.SEED + 1)
    many = values_from_levels(sample_levels(key, NEAREST_OF))
    starts = many[:STARTS]
    rows = []
    for name, note in recorded_notes(args.notes, args.most_notes):
        target = jnp.asarray(note)
        heard = np.asarray(sound_matching._heard(many, target, None))
        matched(note, model, **options)
        found, seconds = matched(note, model, **options)
        begin = time.perf_counter()
        best, steps = np.inf, 0
        values, sounds = starts, jnp.broadcast_to(target, (STARTS, NUM_SAMPLES))
        while steps == 0 or time.perf_counter() - begin < seconds:
            refined = matching.refine(values, sounds, num_steps=10, num_sweeps=0)
            values, steps = refined.values, steps + 10
            best = min(best, float(jnp.min(refined.distance)))
        rows.append(
            {
                "note": name,
                "random": float(heard[0]),
                "nearest": float(heard.min()),
                "estimate": found.estimate_distance,
                "drawn": found.drawn_distance,
                "matched": float(found.distance[0]),
                "gradients": best,
                "gradient_steps": steps,
                "seconds": seconds,
            }
        )
        print(rows[-1])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--sounds", type=int, default=200)
    parser.add_argument("--draws", type=int, default=64)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--refined", type=int, default=2)
    parser.add_argument("--notes", type=Path, nargs="*", default=[])
    parser.add_argument("--most-notes", type=int, default=24)
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    model = isn.from_pretrained(args.model)
    content: dict[str, Any] = {
        "synthesizer": of_the_synthesizer(args, model),
        "calibration": calibration(model),
    }
    if args.notes:
        content["recordings"] = of_recordings(args, model)
    columns = ["median_distance", "correlation", "seconds"]
    common.print_table(
        f"{args.sounds} fresh sounds",
        ["stage", *columns],
        [
            [name, *(f"{row[column]:.3f}" for column in columns)]
            for name, row in content["synthesizer"].items()
        ],
    )
    for row in content["calibration"]:
        print(f"given {row['given']:.3f}, right {row['right']:.3f} ({row['count']})")
    if args.write:
        origin = common.describe_run(args, data="fresh sounds; recorded notes")
        common.write_results("sound_matching", {**origin, **content})


if __name__ == "__main__":
    main()
