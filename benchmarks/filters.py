"""Collects what front ends reach in classification, and the ablation, into a file each.

    for seed in 0 1 2; do for front in mel sincnet; do python experiments/train_classifier.py \
        --config=experiments/configs/classifier_genre.py:$front \
        --config.data=gtzan_mini,gtzan_excerpts \
        --config.data.splits=experiments/splits/gtzan_small \
        --config.seed=$seed --config.workdir=runs/classify/$front-$seed; done; done
    python experiments/ablate_filters.py --config.data=gtzan_mini,gtzan_excerpts \
        --config.workdir=runs/ablation
    python benchmarks/filters.py --runs runs/classify --ablation runs/ablation

Parts of one grid that were measured in several folders, its tasks on a core each say, are put
together: ``--ablation runs/genre runs/speaker``.

Runs that differ in nothing but seed and folder are one row. The accuracies of seeds are of the same
tracks: Student's interval tells what another seed would do, Wilson's what other tracks would.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import common

from isincnet_jax.ablation import grid
from isincnet_jax.ablation.grid import t_interval
from isincnet_jax.classifiers.training import wilson_interval

_DIFFERING = ("seed", "workdir")
_OF_MODEL = ("parametrization", "shape", "initial_scale", "component")


def read_runs(folder: Path) -> list[dict[str, Any]]:
    """The results of all finished runs below a folder."""
    runs = [json.loads(path.read_text()) for path in sorted(folder.glob("*/result.json"))]
    if not runs:
        raise SystemExit(f"{folder}: no run has a result.json")
    return runs


def name_of(config: dict[str, Any]) -> str:
    """The front end, and what of it is not the default of its config."""
    model = config["model"]
    defaults = {"parametrization": "mel", "shape": "sinc", "initial_scale": "mel_htk"}
    changed = [
        f"{field} {model[field]}"
        for field in _OF_MODEL
        if field in model and model[field] != defaults.get(field, model[field])
    ]
    return ", ".join([model["kind"], *changed])


def summarise(runs: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """One row per config, over its seeds."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        kept = {key: value for key, value in run["config"].items() if key not in _DIFFERING}
        groups.setdefault(json.dumps(kept, sort_keys=True), []).append(run)
    rows = {}
    for group in groups.values():
        values = [run["splits"]["test"]["accuracy"] for run in group]
        tracks = group[0]["splits"]["test"]["tracks"]
        mean = statistics.fmean(values)
        moved = [run["filter_movement_hz"] for run in group if "filter_movement_hz" in run]
        validation = [run["splits"]["validation"]["accuracy"] for run in group]
        rows[name_of(group[0]["config"])] = {
            "seeds": sorted(run["config"]["seed"] for run in group),
            "steps": group[0]["config"]["train"]["num_steps"],
            "accuracies": values,
            "accuracy": mean,
            "seeds_interval": t_interval(values),
            "tracks": tracks,
            "tracks_interval": wilson_interval(round(mean * tracks), tracks),
            "validation_accuracy": statistics.fmean(validation),
            "filter_movement_hz": statistics.fmean(moved) if moved else None,
        }
    return rows


def read_ablation(folders: Sequence[Path]) -> dict[str, Any]:
    """Measurements of all cells, what differs from the best, and where they come from.

    Raises:
        SystemExit: for folders of different grids.
    """
    contents = [grid.read_ablation(folder / "results.json") for folder in folders]
    first, *others = contents
    cells = {
        cell["name"]: {
            key: dict(cell[key] or {}) for key in ("values", "measured", "classification")
        }
        for cell in first["cells"]
    }
    for folder, content in zip(folders[1:], others, strict=True):
        if content["identity"] != first["identity"] or set(cells) != {
            cell["name"] for cell in content["cells"]
        }:
            raise SystemExit(f"{folder}: not the grid of {folders[0]}")
        for cell in content["cells"]:
            for key in ("measured", "classification"):
                cells[cell["name"]][key].update(cell[key] or {})
    return {
        "grid": first["command"],
        "commits": list(dict.fromkeys(one for content in contents for one in content["commits"])),
        "devices": list(dict.fromkeys(one for content in contents for one in content["devices"])),
        "tracks": {k: v for content in contents for k, v in content.get("tracks", {}).items()},
        "verdicts": {k: v for content in contents for k, v in content.get("verdicts", {}).items()},
        "cells": [{"name": name, **cell} for name, cell in cells.items()],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=Path, help="folder of classifiers' workdirs")
    parser.add_argument("--ablation", type=Path, nargs="+", help="workdirs of one ablation")
    args = parser.parse_args()
    if args.runs is None and args.ablation is None:
        parser.error("give --runs, --ablation or both")
    origin = common.describe_run(args, data="gtzan_mini and gtzan_excerpts, by track")
    if args.runs is not None:
        rows = summarise(read_runs(args.runs))
        _print(rows)
        common.write_results("filters", {**origin, "classifiers": rows})
    if args.ablation is not None:
        data = "genres: gtzan_mini and gtzan_excerpts, by track; speakers: RAVDESS, by sentence"
        common.write_results("ablation", {**origin, "data": data, **read_ablation(args.ablation)})


def _print(rows: dict[str, dict[str, Any]]) -> None:
    common.print_table(
        "Genres by track, %",
        ["front end", "seeds", "mean", "seeds, 95 %", "tracks, 95 %", "moved, Hz"],
        [
            [
                name,
                len(row["seeds"]),
                f"{100 * row['accuracy']:.1f}",
                " to ".join(f"{100 * end:.1f}" for end in row["seeds_interval"] or ()),
                " to ".join(f"{100 * end:.1f}" for end in row["tracks_interval"]),
                row["filter_movement_hz"] or "",
            ]
            for name, row in rows.items()
        ],
    )


if __name__ == "__main__":
    main()
