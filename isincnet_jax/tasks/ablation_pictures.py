"""Figures of an ablation's results, from files that are there. Composes, draws nothing itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from isincnet_jax import plots
from isincnet_jax.ablation.grid import run_key
from isincnet_jax.benchmark import tables
from isincnet_jax.pages import ablation_table
from isincnet_jax.pages.ablation import Picture
from isincnet_jax.plots import ablation as drawings
from isincnet_jax.tasks.config import Config

_CAPTIONS = {
    "reconstruction": "Condition numbers and signal-to-noise ratios; lines are the bootstrap "
    "intervals of means over clips. Banks that cannot be inverted have no points.",
    "speed": "Seconds of audio per second of computing.",
    "classification": "Accuracy by track, mean over seeds with Student's interval over them "
    "(Wilson's over tracks for a single seed), and movement of the filters.",
}


def pictures(config: Config, rows: Sequence[Mapping[str, Any]], folder: Path) -> Iterator[Picture]:
    """Figures of all that can be drawn of the results, as files in ``pictures/`` too.

    Args:
        config: of the ablation.
        rows: "cells" of the results, summed up over seeds.
        folder: of the run; gets ``pictures/NAME.svg``.

    Yields:
        A caption and the SVG of each, for the page.
    """

    def picture(name: str, caption: str, figure: Any) -> Picture:
        content = drawings.svg_bytes(figure)
        tables.write_text(folder / "pictures" / f"{name}.svg", content.decode())
        return Picture(caption, content)

    shown = ablation_table.shown_columns(rows)
    for part in ablation_table.PARTS:
        panels = [
            drawings.Panel(
                column.title,
                column.unit,
                [drawings.Point(*point) for point in ablation_table.points(rows, column)],
                may_be_logarithmic=column.unit != "dB",
            )
            for column in shown
            if column.part == part
        ]
        if any(panel.points for panel in panels):
            yield picture(part, _CAPTIONS[part], drawings.plot_comparison(panels))
    bands = {
        row["name"]: dict(np.load(path))
        for row in rows
        if (path := _bands_path(config, row, folder)) is not None
    }
    if not bands:
        return
    # Middles of the bands, [records, filters]; their mean distance from the first record, Hz.
    centers = {name: (one["low_hz"] + one["high_hz"]) / 2 for name, one in bands.items()}
    curves = {
        name: (bands[name]["steps"], np.mean(np.abs(one - one[0]), axis=1))
        for name, one in centers.items()
    }
    yield picture(
        "movement",
        "How far the centres of the filters have moved on average, over the steps of training "
        f"({config.tasks[0]}, seed {config.seeds[0]}).",
        drawings.plot_movement_over_steps(curves),
    )
    name, one = next(iter(bands.items()))
    yield picture(
        "filters",
        f"Centres and bandwidths before and after training: {name}, seed {config.seeds[0]}.",
        plots.plot_filter_movement(
            one["low_hz"][0],
            one["high_hz"][0],
            one["low_hz"][-1],
            one["high_hz"][-1],
            sample_rate=config.base.sample_rate,
        ),
    )


def _bands_path(config: Config, row: Mapping[str, Any], folder: Path) -> Path | None:
    """The record of a cell's first classifier that learned its filters, if there is one."""
    key = run_key(config.tasks[0], "learned", config.seeds[0]) if config.seeds else ""
    run = row["measured"].get(key, {}).get("run")
    path = folder / run / "bands.npz" if run else None
    return path if path is not None and path.is_file() else None
