"""The tables of README.md about InverSynth, from its results file; see readme_tables.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from isincnet_jax.inversynth import published as inversynth_published


def score_table(result: Mapping[str, Any]) -> list[str]:
    """The model beside random patches and the published networks."""
    total = result["parameters"][-1]
    lines = [
        f"**Settings from sounds**, {result['num_clips']} fresh sounds: mean percentile rank "
        "(chance 53.1), top-1 accuracy in %, mean error in levels (of 16), and the correlation of "
        "STFT magnitudes of original and rendered estimate in %, of their logarithms and of "
        "themselves. The paper does not say which it means.",
        "",
        "| network | MPR | top-1 | error | log: mean | median | linear: mean | median "
        "| published: mean | median |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]

    def row(name: str, *values: float | None) -> str:
        cells = ["" if value is None else f"{value:.2f}" for value in values]
        return f"| {' | '.join([name, *cells])} |"

    sounds, random = result["sounds"], result["random"]
    ranks = (total["mpr"], total["top1"], total["class_mae"])
    columns = ("stft_mean", "stft_median", "linear_mean", "linear_median")
    nothing = (None, None)
    lines.append(
        row(f"**ours** (`{result['model']}`)", *ranks, *(sounds[key] for key in columns), *nothing)
    )
    lines.append(row("random patches", *[None] * 3, *(random[key] for key in columns), *nothing))
    for other in inversynth_published.NETWORKS[:5]:
        lines.append(
            row(
                f"{other.name}, published",
                *(other.mpr, other.top1, other.class_mae),
                *(*nothing, *nothing),
                *(other.stft_mean, other.stft_median),
            )
        )
    return lines


def refinement_text(result: Mapping[str, Any]) -> list[str]:
    """What gradient steps through the synthesizer bring."""
    found = result["refinement"]
    before, after = found["sounds_before"], found["sounds_after"]
    return [
        f"Refinement ({found['num_steps']} gradient steps through the synthesizer and "
        f"{found['num_sweeps']} searches through the levels) of {found['num_clips']} of them: "
        f"median spectral distance {found['median_before']:.2f} to {found['median_after']:.2f} "
        f"({found['improvement_percent']:.0f} % less), correlation {before['stft_mean']:.1f} to "
        f"{after['stft_mean']:.1f}, of linear magnitudes {before['linear_mean']:.1f} to "
        f"{after['linear_mean']:.1f}, in {found['seconds_per_clip']:.1f} s a sound."
    ]


def step_text(steps: Mapping[str, Any]) -> list[str]:
    """Time of training steps."""
    listed = ", ".join(
        f"{row['network']} {row['wall_ms_per_sound']:.1f} ({row['memory_mib']:.0f} MiB)"
        for row in steps["rows"]
    )
    return [
        f"A training step of 64 sounds (drawn, rendered, learned from), ms a sound and memory of "
        f"the program: {listed}. `{steps['command']}`, commit {steps['commit'][:8]}, "
        f"{steps['date'][:10]}, {steps['device']}; no accelerator was measured."
    ]


def render(result: Mapping[str, Any], steps: Mapping[str, Any]) -> str:
    """The whole section."""
    origin = (
        f"`python experiments/evaluate_inversynth.py {result['model']} --out DIR` (its result.json "
        f"is benchmarks/results/inversynth.json), seed {result['seed']}, commit "
        f"{result['commit'][:8]}, {result['date'][:10]}, {result['device']}, jax "
        f"{result['versions']['jax']}. The published networks learned "
        "from the paper's own synthesizer, whose filter, envelope and note-off it leaves open."
    )
    return "\n\n".join(
        "\n".join(lines)
        for lines in (score_table(result), refinement_text(result), [origin], step_text(steps))
    )
