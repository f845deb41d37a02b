"""The tables of README.md about learned filters, from their results file; see readme_tables.py."""

from __future__ import annotations

from typing import Any


def _percent(interval: list[float] | None) -> str:
    return "" if interval is None else f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}"


def classifier_table(result: dict[str, Any]) -> list[str]:
    """Accuracy and movement of front ends."""
    rows = result["classifiers"]
    any_row = next(iter(rows.values()))
    lines = [
        f"**Front ends** before the same small network, genres of gtzan_mini and gtzan_excerpts, "
        f"{any_row['tracks']} test tracks of 2 to 3 s, {any_row['steps']} steps, accuracy by track "
        "in %:",
        "",
        "| front end | seeds | mean | each seed | 95 % over seeds | 95 % over tracks "
        "| centres moved, Hz |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        each = ", ".join(f"{100 * value:.1f}" for value in row["accuracies"])
        moved = row["filter_movement_hz"]
        moved_text = "" if moved is None else f"{moved:.2g}"
        lines.append(
            f"| {name} | {len(row['seeds'])} | {100 * row['accuracy']:.1f} | {each} "
            f"| {_percent(row['seeds_interval'])} | {_percent(row['tracks_interval'])} "
            f"| {moved_text} |"
        )
    return lines


def ablation_table(result: dict[str, Any]) -> list[str]:
    """Reconstruction of shapes; speed stands on the ablation's own page."""
    lines = [
        "**Shapes in the autoencoder**: condition number, SNR in dB of the exact decoder, with 8 "
        "bits per coefficient, and with white noise 20 dB below the coefficients:",
        "",
        "| shape | scale | bins | condition | exact | 8 bits | noise |",
        "|---|---|---|---|---|---|---|",
    ]
    for cell in result["ablation"]["cells"]:
        values, measured = cell["values"], cell["measured"]
        found = measured.get("reconstruction", {})
        if not found.get("invertible"):
            continue
        snr = " | ".join(
            f"{found[name]['mean']:.1f}" for name in ("snr_db", "quantized_snr_db", "noisy_snr_db")
        )
        lines.append(
            f"| {values['shape']} | {values['scale']} | {values['num_bins']} "
            f"| {found['condition']:.2f} | {snr} |"
        )
    lost = [
        cell["values"]
        for cell in result["ablation"]["cells"]
        if not cell["measured"].get("reconstruction", {}).get("invertible", True)
    ]
    if lost:
        names = sorted({f"{v['num_bins']} {v['scale']} bins" for v in lost})
        lines += ["", f"No inverse exists of {', '.join(names)} ({len(lost)} cells)."]
    return lines


def render(result: dict[str, Any]) -> str:
    """The whole section."""
    origin = (
        f"`{result['command']}` (which tells the runs' commands), commit {result['commit'][:8]}, "
        f"{result['date'][:10]}, {result['device']}, jax {result['versions']['jax']}."
    )
    parts = [classifier_table(result), ablation_table(result), [origin]]
    return "\n\n".join("\n".join(lines) for lines in parts)
