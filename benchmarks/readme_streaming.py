"""The table of README.md about streaming, from its results file; see readme_tables.py."""

from __future__ import annotations

from typing import Any


def render(result: dict[str, Any]) -> str:
    """The table and where it comes from."""
    lines = [
        "Encode and decode, chunk by chunk, one thread:",
        "",
        "| codec, chunk | latency, ms | median, ms a chunk | worst | x real time | SNR, dB |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in result["rows"].items():
        lines.append(
            f"| {name} | {row['latency_ms']:.2f} | {row['median_ms']:.3f} | {row['worst_ms']:.2f} "
            f"| {row['wall_x_real_time']:.0f} | {row['snr_db']:.0f} |"
        )
    origin = (
        f"`{result['command']}`, commit {result['commit'][:8]}, {result['date'][:10]}, "
        f"{result['device']}, jax {result['versions']['jax']}; compiled, synchronous dispatch."
    )
    return "\n".join([*lines, "", origin])
