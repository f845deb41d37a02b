r"""Scores an estimator of synthesizer settings on fresh sounds, and makes a page to listen to.

    python experiments/evaluate_inversynth.py MODEL --out DIR [--clips 5000] [--listen 12] \
        [--refine 60] [--refined-clips 200] [--seed 1]

MODEL is a name, an exported folder or a .zip. Prints top-1 to top-5, mean percentile rank and
class error of every parameter, the correlations of rendered estimates beside random patches, and by
how much refinement brings the sounds nearer; writes ``DIR/result.json`` and ``DIR/index.html``,
first the scores alone, then with sounds and refinement. Ctrl-C ends it with what it has by then.

The sounds are made from a key that no training uses: another stream than that of any seed's
training and validation.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from isincnet_jax.benchmark import tables
from isincnet_jax.benchmark.run import describe_run
from isincnet_jax.inversynth import matching
from isincnet_jax.inversynth import scores as parameter_scores
from isincnet_jax.inversynth.features import SAMPLE_RATE
from isincnet_jax.inversynth.networks import TrainedInverSynth
from isincnet_jax.inversynth.synth.parameters import NAMES, PARAMETERS, values_from_levels
from isincnet_jax.inversynth.synth.render import render
from isincnet_jax.inversynth.synth.sampling import sample_levels
from isincnet_jax.inversynth.training import stream_key
from isincnet_jax.pages.inversynth import Sound, Version, write_matching_page
from isincnet_jax.pretrained.trained import load_inversynth
from isincnet_jax.tasks.command import ending
from isincnet_jax.tasks.inversynth_scores import Evaluator
from isincnet_jax.tasks.process import Stop

_BATCH = 50
_REFINED_AT_ONCE = 10


class Matched(NamedTuple):
    """Sounds, their estimates and what refinement made of them; NumPy, [clips, ...].

    Attributes:
        target: the originals.
        truth: their parameters.
        estimate: parameters.
        estimated: their sounds.
        refined: parameters.
        rendered: their sounds.
        before, after: spectral distances of the two.
        seconds: of refinement, per clip, compilation left out.
    """

    target: np.ndarray
    truth: np.ndarray
    estimate: np.ndarray
    estimated: np.ndarray
    refined: np.ndarray
    rendered: np.ndarray
    before: np.ndarray
    after: np.ndarray
    seconds: float


def _evaluate(arguments: argparse.Namespace, stop: Stop) -> int:
    """Scores, prints, writes: first the scores alone; returns the exit status.

    Where it is asked to stop, it ends with what it has, asked twice without what it is at.
    """
    folder, kept = Path(arguments.out), "nothing was written"
    with contextlib.suppress(KeyboardInterrupt):
        trained = load_inversynth(arguments.model)
        outcome = Evaluator(trained.model).outcome(
            trained.variables, _batches(arguments.seed, arguments.clips, stop)
        )
        results = {
            **describe_run(arguments.seed),
            "model": arguments.model,
            "num_clips": outcome.num_clips,
            **outcome.as_dict(),
        }
        print("\n".join(outcome.lines()), flush=True)  # noqa: T201
        page = _write(results, folder)
        kept = f"{page} has the scores of {outcome.num_clips} sounds"
        few = max(arguments.listen, arguments.refined_clips if arguments.refine else 0)
        few = min(few, arguments.clips)
        matched = _match(trained, arguments.seed, few, arguments.refine, stop)
        if matched is not None:
            sounds = _sounds(matched, arguments.listen, bool(arguments.refine))
            if arguments.refine:
                results["refinement"] = _refinement(matched, arguments.refine)
                print(_refinement_line(results["refinement"]), flush=True)  # noqa: T201
                kept += f", {len(matched.target)} refined"
            _write(results, folder, sounds)
        print(f"wrote {folder / 'result.json'} and {page}")  # noqa: T201
    if stop():
        print(f"stopped as asked: {kept}", file=sys.stderr)  # noqa: T201
        return stop.status
    return 0


def _write(results: dict[str, Any], folder: Path, sounds: Sequence[Sound] = ()) -> Path:
    """Writes the results and their page; returns the page."""
    tables.write_text(folder / "result.json", json.dumps(results, indent=1) + "\n")
    return write_matching_page(
        results,
        folder / "index.html",
        sounds=sounds,
        units={parameter.name: parameter.unit for parameter in PARAMETERS},
        sample_rate=SAMPLE_RATE,
    )


def _batches(seed: int, count: int, stop: Stop) -> Any:
    """Waveforms and levels, as many as are wanted; a batch at least."""
    key = stream_key(seed, "test")
    for number in range(math.ceil(count / _BATCH)):
        if stop():
            if not number:
                raise KeyboardInterrupt
            return
        levels = _draw(jax.random.fold_in(key, number))
        few = min(_BATCH, count - number * _BATCH)
        yield np.asarray(_render(values_from_levels(levels)))[:few], np.asarray(levels)[:few]


_draw = jax.jit(lambda key: sample_levels(key, _BATCH))
_render = jax.jit(render)


def _match(
    trained: TrainedInverSynth, seed: int, count: int, num_steps: int, stop: Stop
) -> Matched | None:
    """Estimates and refinements of the first sounds; None for no sounds."""
    parts, seconds = [], []
    for waveforms, levels in _batches(seed, count, stop):
        for start in range(0, len(waveforms), _REFINED_AT_ONCE):
            if stop():
                break
            part = slice(start, start + _REFINED_AT_ONCE)
            # Always as many at once: one compiled program.
            shape = (_REFINED_AT_ONCE, waveforms.shape[-1])
            target = np.resize(waveforms[part], shape)
            values = values_from_levels(jnp.argmax(trained.scores(target), axis=-1))
            begin = time.perf_counter()
            found = jax.block_until_ready(
                matching.refine(
                    values,
                    target,
                    num_steps=num_steps,
                    num_sweeps=matching.NUM_SWEEPS if num_steps else 0,
                )
            )
            seconds.append((time.perf_counter() - begin) / _REFINED_AT_ONCE)
            rows = (
                *(target, values_from_levels(np.resize(levels[part], (len(target), len(NAMES))))),
                *(values, _render(values), found.values, _render(found.values)),
                *(found.before, found.distance),
            )
            few = len(waveforms[part])
            parts.append([np.asarray(row)[:few] for row in rows])
    if not parts:
        return None
    # The first call compiles.
    return Matched(
        *(np.concatenate(column) for column in zip(*parts, strict=True)),
        seconds=float(np.mean(seconds[1:] or seconds)),
    )


def _refinement(matched: Matched, num_steps: int) -> dict[str, Any]:
    before, after = float(np.median(matched.before)), float(np.median(matched.after))
    return {
        "num_clips": len(matched.before),
        "num_steps": num_steps,
        "num_sweeps": matching.NUM_SWEEPS,
        "median_before": before,
        "median_after": after,
        "improvement_percent": 100.0 * (1.0 - after / before),
        "seconds_per_clip": matched.seconds,
        "sounds_before": parameter_scores.score_sounds(matched.estimated, matched.target).as_dict(),
        "sounds_after": parameter_scores.score_sounds(matched.rendered, matched.target).as_dict(),
    }


def _refinement_line(found: dict[str, Any]) -> str:
    return (
        f"refined: median spectral distance of {found['num_clips']} sounds "
        f"{found['median_before']:.4f} -> {found['median_after']:.4f} "
        f"({found['improvement_percent']:.1f} % less), {found['seconds_per_clip']:.2f} s a sound; "
        f"correlation of STFT {found['sounds_before']['stft_mean']:.2f} % -> "
        f"{found['sounds_after']['stft_mean']:.2f} %"
    )


def _sounds(matched: Matched, count: int, is_refined: bool) -> list[Sound]:
    """The first ones: they are random anyway."""

    def by_name(values: np.ndarray) -> dict[str, float]:
        return dict(zip(NAMES, values.tolist(), strict=True))

    def remark(distance: float) -> str:
        return f"spectral distance {distance:.2f}"

    sounds = []
    for place in range(min(count, len(matched.target))):
        versions = [
            Version("Original", matched.target[place], by_name(matched.truth[place])),
            Version(
                "Estimate",
                matched.estimated[place],
                by_name(matched.estimate[place]),
                remark(matched.before[place]),
            ),
        ]
        if is_refined:
            refined = by_name(matched.refined[place])
            after = remark(matched.after[place])
            versions.append(Version("Refined", matched.rendered[place], refined, after))
        sounds.append(Sound(f"Sound {place + 1}", versions))
    return sounds


def _parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; refuses what makes no sense."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", help="a name, an exported folder or a .zip")
    parser.add_argument("--out", required=True, help="folder of result.json and index.html")
    parser.add_argument("--clips", type=int, default=5000, help="sounds to score")
    parser.add_argument("--listen", type=int, default=12, help="sounds on the page")
    parser.add_argument("--refine", type=int, default=matching.NUM_STEPS, help="steps; 0: none")
    parser.add_argument("--refined-clips", type=int, default=200, help="sounds to refine")
    parser.add_argument("--seed", type=int, default=1, help="of the sounds")
    arguments = parser.parse_args(argv)
    if arguments.clips < 2:
        parser.error(f"--clips {arguments.clips}: random patches need 2 or more")
    for name in ("listen", "refine", "refined_clips", "seed"):
        if getattr(arguments, name) < 0:
            option = name.replace("_", "-")
            parser.error(f"--{option} {getattr(arguments, name)}: use 0 or more")
    if arguments.refine and not arguments.refined_clips:
        parser.error("--refined-clips 0: use --refine 0 to refine nothing")
    return arguments


def main() -> None:
    """Scores what the command line names; errors and signals end it in one line."""
    arguments = _parse()
    with ending():
        sys.exit(_evaluate(arguments, Stop(1)))
