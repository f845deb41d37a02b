"""The README's table of all operations and its line on long files; see readme_tables.py."""

from __future__ import annotations

from typing import Any

SHOWN = ((16, 10.0), (1, 5.0))
"""Batch and seconds of the shapes for which figures were asked."""
PEERS = ("PyTorch", "PyTorch, complex kernels", "nnAudio", "librosa", "librosax")


def _peers(row: dict[str, Any]) -> list[str]:
    """Ratio to each peer, with quartiles; of librosa with and without threads the faster."""
    found: dict[str, dict[str, Any]] = {}
    for peer in row["peers"]:
        name = peer["peer"].removesuffix(", 2 threads")
        if name not in found or peer["ratio"] < found[name]["ratio"]:
            found[name] = peer
    return [_ratio(found[name]) if name in found else "" for name in PEERS]


def _ratio(peer: dict[str, Any]) -> str:
    low, high = peer["ratio_lower_quartile"], peer["ratio_upper_quartile"]
    return f"{peer['ratio']:.2f} ({low:.2f}-{high:.2f})"


def shape_table(result: dict[str, Any], batch: int, duration_s: float) -> list[str]:
    """All operations at one shape."""
    rows = [
        row for row in result["rows"] if (row["batch"], row["duration_s"]) == (batch, duration_s)
    ]
    shown = [name for column, name in enumerate(PEERS) if any(_peers(row)[column] for row in rows)]
    lines = [
        f"**Batch {batch} x {duration_s:g} s**, time of each peer over ours (above 1: ours is "
        "faster; quartiles):",
        "",
        "| | | ours, ms | x real time | of the ceiling | " + " | ".join(shown) + " |",
        "|---" * (len(shown) + 5) + "|",
    ]
    for row in rows:
        ratios = [text for name, text in zip(PEERS, _peers(row), strict=True) if name in shown]
        lines.append(
            f"| {row['operation']} | {row['variant']} | {row['ours_ms']:.3g} "
            f"| {row['times_real_time']:,.0f} | {100 * row['fraction']:.0f} % ({row['binds']}) | "
            + " | ".join(ratios)
            + " |"
        )
    return lines


def origin(result: dict[str, Any]) -> str:
    """Where every row comes from: each command once."""
    runs = {(row["command"], row["commit"]): row for row in result["rows"]}
    commands = "; ".join(
        f"`{row['command']}`, commit {row['commit'][:8]}, {row['date'][:10]}"
        for row in runs.values()
    )
    machine = result["machine"]
    return (
        f"Ceiling: {machine['gflops']:.0f} GFLOP/s of float32 products "
        f"({machine['fastest_product']}), copies of large arrays {machine['gb_per_s']:.0f} GB/s. "
        f"{commands}; {result['device']}, jax {result['versions']['jax']}."
    )


def hour_line(result: dict[str, Any]) -> str:
    """How long a long file takes."""
    return (
        f"**Long files**: {result['duration_s'] / 60:g} minutes of stereo at 44.1 kHz reconstruct "
        f"in {result['seconds']:.1f} s with {1e-6 * result['peak_bytes']:.0f} MB of memory, start, "
        f"compilation, reading and writing included; SNR {result['snr_db']:.1f} dB before the "
        f"output rounds to 16 bits. `{result['command']}`, commit {result['commit'][:8]}, "
        f"{result['date'][:10]}, {result['device']}."
    )


def render(operations: dict[str, Any], hour: dict[str, Any]) -> str:
    """The whole section."""
    measured = {(row["batch"], row["duration_s"]) for row in operations["rows"]}
    tables = ["\n".join(shape_table(operations, *shape)) for shape in SHOWN if shape in measured]
    return "\n\n".join([*tables, origin(operations), hour_line(hour)])
