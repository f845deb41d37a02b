"""Writes the measured tables of README.md from the results files.

    python benchmarks/readme_tables.py          # rewrite the tables
    python benchmarks/readme_tables.py --check  # exit status 1 if they are not up to date

Every number between the markers in README.md comes from ``benchmarks/results/*.json``.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import readme_filters
import readme_inversynth
import readme_operations
import readme_spectrograms
import readme_streaming
import readme_training
import readme_vocoders

from isincnet_jax import files

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
BENCHMARKS = ("benchmark_gtzan_mini", "benchmark_musdb_mini")
SHOWN = ("mse", "mae", "snr_db", "convergence_db", "log_spectral_db")


def load(name: str) -> dict[str, Any]:
    return json.loads((HERE / "results" / f"{name}.json").read_text())


def footer(result: dict[str, Any]) -> str:
    versions = result["versions"]
    return (
        f"`{result['command']}`, commit {result['commit'][:8]}, {result['date'][:10]}, "
        f"{result['device']}, jax {versions['jax']}; seed {result['seed']}, "
        f"{result['clip_count']} clips."
    )


def exactness_table(result: dict[str, Any]) -> list[str]:
    lines = [
        "**Round trip**, SNR in dB of encode and decode, edges included:",
        "",
        "| codec | rate | clips: worst | clips: mean | lengths 1, 2, 3, 124 ... 100,003: worst "
        "| longest | float64: worst |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in {**result["presets"], **result["peers"]}.items():
        lengths = [value for value in row["lengths_db"].values() if value != "exact"]
        double_text = f"{row['float64']['worst_db']:.0f}" if "float64" in row else ""
        longest = (
            f"{row['longest_db']:.1f} ({row['longest_s'] / 60:.0f} min)"
            if "longest_db" in row
            else ""
        )
        lines.append(
            f"| {name} | {row['sample_rate']} | {row['worst_db']:.1f} | {row['mean_db']:.1f} "
            f"| {min(lengths):.1f} | {longest} "
            f"| {double_text} |"
        )
    mel = next(
        row["mel_projection"] for row in result["presets"].values() if "mel_projection" in row
    )
    lines += [
        "",
        f"The mel projection of `16khz-linear` (128 bins, lossy by nature) returns "
        f"{mel['mean_db']:.1f} dB on average, {mel['worst_db']:.1f} at worst. {footer(result)}",
    ]
    return lines


def tokens_table(result: dict[str, Any]) -> list[str]:
    shown = ["4", "6", "8", "10", "12", "16"]
    lines = [
        "**Tokens**, mean SNR in dB (worst clip) of `16khz-linear` by bits per coefficient, 5 s of "
        "music at -23 LUFS:",
        "",
        "| code and decoder | " + " | ".join(shown) + " |",
        "|---" * (len(shown) + 1) + "|",
    ]
    for name, by_bits in result["bits"].items():
        cells = [f"{by_bits[b]['mean_db']:.1f} ({by_bits[b]['min_db']:.1f})" for b in shown]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return [*lines, "", footer(result)]


def speed_table(result: dict[str, Any]) -> list[str]:
    lines = [
        "**Speed**, batch of 16 x 10 s at 16 kHz, side by side in one run, medians:",
        "",
        "| preset | operation | peer | ours, x real time | peer, x real time | ratio |",
        "|---|---|---|---|---|---|",
    ]
    for row in result["comparisons"]:
        lines.append(
            f"| {row['preset']} | {row['operation']} | {row['peer']} "
            f"| {row['ours_times_real_time']:,.0f} | {row['peer_times_real_time']:,.0f} "
            f"| {row['ratio']:.2f} |"
        )
    start = result["startup_s"]
    return [
        *lines,
        "",
        f"`import isincnet_jax` takes {start['import_s']:.2f} s; import, preset, first encode and "
        f"decode of 5 s take {start['cold_total_s']:.1f} s, with the decoder cached "
        f"{start['cached_total_s']:.1f} s. {footer(result)}",
    ]


def benchmark_table(result: dict[str, Any]) -> list[str]:
    from isincnet_jax.benchmark import tables

    corpus, versions = result["corpus"], result["versions"]
    count = len(corpus["clips"])
    return [
        f"**{corpus['name']}**, {count} clips of {corpus['duration_s']:g} s at "
        f"{corpus['sample_rate'] / 1000:g} kHz, means (SNR: and 95 % interval):",
        "",
        tables.markdown_table(result, metrics=SHOWN, intervals=("snr_db",)),
        "",
        f"`{result['command']}`, commit {result['commit'][:8]}, {result['date'][:10]}, "
        f"{result['device']}, jax {versions['jax']}; seed {result['seed']}, {count} clips.",
    ]


def render_benchmark() -> str:
    return "\n\n".join("\n".join(benchmark_table(load(name))) for name in BENCHMARKS)


def render() -> str:
    parts = [
        exactness_table(load("exactness")),
        tokens_table(load("tokens")),
        speed_table(load("speed")),
    ]
    return "\n\n".join("\n".join(lines) for lines in parts)


def replace(text: str, name: str, content: str) -> str:
    """The text with other content between the markers of a name."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    if text.count(begin) != 1 or text.count(end) != 1:
        sys.exit(f"README.md: {begin} and {end} must each stand there once")
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n{content}\n{end}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only compare")
    options = parser.parse_args()
    text = README.read_text()
    updated = replace(replace(text, "measured", render()), "benchmark", render_benchmark())
    names = ("learned", "training", "resilience")
    updated = replace(updated, "training", readme_training.render(*map(load, names)))
    layers = readme_spectrograms.render(load("spectrograms"), load("invertible"))
    updated = replace(updated, "spectrograms", layers)
    updated = replace(updated, "filters", readme_filters.render(load("filters")))
    updated = replace(updated, "vocoders", readme_vocoders.render(load("vocoder_quality")))
    updated = replace(
        updated,
        "inversynth",
        readme_inversynth.render(*map(load, ("inversynth", "inversynth_steps"))),
    )
    updated = replace(updated, "streaming", readme_streaming.render(load("streaming")))
    speed = readme_operations.render(load("operations"), load("hour"))
    updated = replace(updated, "operations", speed)
    if options.check:
        sys.exit(0 if updated == text else "README.md: the measured tables are out of date")
    files.write_text(README, updated)


if __name__ == "__main__":
    main()
