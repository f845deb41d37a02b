"""The README's tables on spectrogram layers, from the results of their benchmarks."""

from __future__ import annotations

from typing import Any


def origin(result: dict[str, Any]) -> str:
    versions = result["versions"]
    return (
        f"`{result['command']}`, commit {result['commit'][:8]}, {result['date'][:10]}, "
        f"{result['device']}, jax {versions['jax']}."
    )


def _times(value: float) -> str:
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"


def speed_table(result: dict[str, Any]) -> list[str]:
    """One line per row: ours, and how many times as long each peer takes."""
    peers = ("librosa", "librosa, 2 threads", "torch", "nnAudio", "librosax", "nnaudio2")
    rows: dict[str, dict[str, Any]] = {}
    for entry in result["comparisons"]:
        rows.setdefault(entry["row"], {})[entry["peer"]] = entry
    shown = [peer for peer in peers if any(peer in row for row in rows.values())]
    lines = [
        "**Speed**, 16 clips of 10 s at 22.05 kHz, two cores: x real time of ours, and the time of "
        "each peer over ours in the same run (above 1: ours is faster).",
        "",
        "| | ours, x real time | " + " | ".join(shown) + " |",
        "|---" * (len(shown) + 2) + "|",
    ]
    for name, row in rows.items():
        ours = max(entry["ours_times_real_time"] for entry in row.values())
        cells = [_times(row[peer]["ratio"]) if peer in row else "" for peer in shown]
        lines.append(f"| {name} | {ours:,.0f} | " + " | ".join(cells) + " |")
    runs = {(entry["command"], entry["commit"]): entry for entry in result["comparisons"]}
    versions = {name: result[name] for name in ("device", "versions")}
    return [*lines, "", " ".join(origin({**versions, **entry}) for entry in runs.values())]


def accuracy_table(result: dict[str, Any]) -> list[str]:
    lines = [
        "**Accuracy**, relative L2 distance to librosa in float64, of constant-Q layers to the "
        "direct inner products with librosa's wavelets:",
        "",
        "| | ours | nnAudio | librosa |",
        "|---|---|---|---|",
    ]
    for row in result["accuracy"]:
        cells = [row.get(who) for who in ("ours", "nnaudio", "librosa")]
        shown = ["" if cell is None else f"{cell:.1e}" for cell in cells]
        lines.append(f"| {row['layer']} | " + " | ".join(shown) + " |")
    lines += ["", "| kernels, KiB | ours | nnAudio |", "|---|---|---|"]
    for row in result["kernel_bytes"]:
        cells = [row["ours_bytes"], row["nnaudio_bytes"]]
        shown = ["" if cell is None else f"{cell / 1024:,.0f}" for cell in cells]
        lines.append(f"| {row['layer']}, {row['geometry']} | " + " | ".join(shown) + " |")
    return lines


def inverse_table(result: dict[str, Any], speed: dict[str, Any]) -> list[str]:
    lines = [
        f"**Round trips** in float32, dB: the invertible constant-Q transform on "
        f"{result['clip_count']} clips and on awkward signals (1 sample, primes, impulses at the "
        "edges).",
        "",
        "| | worst clip | median | awkward signals: worst |",
        "|---|---|---|---|",
    ]
    for name, row in result["results"].items():
        awkward = f"{row['awkward_worst_db']:.1f}" if "awkward_worst_db" in row else ""
        lines.append(f"| {name} | {row['worst_db']:.1f} | {row['median_db']:.1f} | {awkward} |")
    trips = ", ".join(
        f"{row['transform']} {row['who']} {row['snr_db']:.1f}"
        for row in speed["round_trips"]
        if row["snr_db"] is not None
    )
    return [*lines, "", f"{origin(result)} One clip of tones and noise: {trips}."]


def render(speed: dict[str, Any], inverse: dict[str, Any]) -> str:
    parts = [accuracy_table(speed), inverse_table(inverse, speed), speed_table(speed)]
    return "\n\n".join("\n".join(part) for part in parts)
