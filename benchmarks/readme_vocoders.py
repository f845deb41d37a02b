"""The table of README.md about vocoders, from its results file; see readme_tables.py."""

from __future__ import annotations

from typing import Any

_INPUT = {"linear": "magnitudes", "mel_slaney": "80 mels"}


def quality_table(result: dict[str, Any]) -> list[str]:
    """Scores and speed of vocoders and of iterative methods."""
    lines = [
        f"**Held-out speech**, {result['clip_count']} whole clips of LJSpeech, from magnitudes at "
        "CNNVocoder's settings or from mels: multi-resolution STFT loss (spectral convergence plus "
        "log magnitude) and spectral convergence, means over clips. CNNVocoder's published samples "
        "score 1.44 and -5.4 dB.",
        "",
        "| method | from | learned parameters | multi-resolution loss | convergence, dB "
        "| x real time |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in result["methods"].items():
        parameters = f"{row['parameters']:,}" if row["parameters"] else ""
        lines.append(
            f"| {name} | {_INPUT.get(row['input'], row['input'])} | {parameters} "
            f"| {row['multi_stft']:.3f} | {row['convergence_db']:.1f} "
            f"| {row['times_real_time']:.0f} |"
        )
    return lines


def render(result: dict[str, Any]) -> str:
    """The table and where it comes from."""
    footer = (
        f"`{result['command']}`, commit {result['commit'][:8]}, {result['date'][:10]}, "
        f"{result['device']}, jax {result['versions']['jax']}; speed: one clip after the other."
    )
    return "\n".join([*quality_table(result), "", footer])
