"""The tables of README.md about training, from their results files; see readme_tables.py."""

from __future__ import annotations

from typing import Any


def _origin(result: dict[str, Any]) -> str:
    return (
        f"`{result['command']}`, commit {result['commit'][:8]}, {result['date'][:10]}, "
        f"{result['device']}, jax {result['versions']['jax']}."
    )


def _number(row: dict[str, Any], name: str, digits: str) -> str:
    value = row.get(name)
    return format(value, digits) if isinstance(value, (int, float)) else ""


def learned_table(result: dict[str, Any]) -> list[str]:
    """What training reaches beside closed forms."""
    lines = [
        "**Learned and solved decoders**, 20 validation clips of gtzan_mini that no training saw, "
        "first 5 s:",
        "",
        "| | SNR, dB | worst clip | log-STFT | condition number | parameters | minutes, 2 cores |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in result["rows"].items():
        cells = [
            _number(row, "snr_db", ".1f"),
            _number(row, "worst_snr_db", ".1f"),
            _number(row, "log_stft", ".2g"),
            _number(row, "condition", ".0f"),
            _number(row, "parameters", ",d"),
            _number(row, "minutes", ".1f"),
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return [*lines, "", _origin(result)]


def training_table(result: dict[str, Any]) -> list[str]:
    """Speed of the step and of the input."""
    lines = [
        "**Training speed**, batch of 8 x 5 s at 16 kHz, the reference's recipe, in turns:",
        "",
        "| | steps/s | x real time | PyTorch's time / this, complex kernels | real kernels |",
        "|---|---|---|---|---|",
    ]
    for name, row in result["steps"].items():
        ratios = [_number(row, f"ratio_to_{kind}_kernels", ".2f") for kind in ("complex", "real")]
        speed = f"{row['steps_per_s']:.1f} | {row['x_real_time']:,.0f}"
        lines.append(f"| {name} | {speed} | {' | '.join(ratios)} |")
    lines += ["", "| input | batches/s | batches per step |", "|---|---|---|"]
    for name, row in result["pipelines"].items():
        rate, ratio = row["batches_per_s"], row["ratio_to_step"]
        lines.append(f"| {name} | {rate:,.0f} | {ratio:.0f} |")
    return [*lines, "", _origin(result)]


def resilience_line(result: dict[str, Any]) -> str:
    """What killed runs lost."""
    same = "none" if not result["differing_arrays"] else f"{len(result['differing_arrays'])}"
    return (
        f"**Interruptions**: of {result['num_kills']} runs killed at random moments "
        f"({result['num_cut_writes']} of them while a checkpoint was being written) "
        f"{result['num_resumed_from_latest']} resumed from the latest complete checkpoint; at the "
        f"end {same} of {result['num_arrays']} arrays differed from a run that was never stopped. "
        f"{_origin(result)}"
    )


def render(learned: dict[str, Any], training: dict[str, Any], resilience: dict[str, Any]) -> str:
    """The whole section."""
    parts = [learned_table(learned), training_table(training), [resilience_line(resilience)]]
    return "\n\n".join("\n".join(lines) for lines in parts)
