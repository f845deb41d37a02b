"""Grid of an ablation's cells, and a file of what was measured of each.

A cell is the base with some values changed, and is named by these changes alone. Measurements of
cells are kept in one file that is written after each of them, so that a run that was interrupted
goes on where it stopped. One that fails is kept as its message, and does not end the run.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import logging
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.special

from isincnet_jax.benchmark import tables

_LOG = logging.getLogger(__name__)

KIND = "ablation"
"""What results files of ablations say that they are."""

FORMAT = 1
"""Of results files."""


BANK = "bank"
"""The front end of the cells of a grid."""

FRONT_ENDS = ("mel", "leaf", "efficient_leaf", "free")
"""Those that a grid is compared with; "free" is a bank whose every tap is learned."""


def run_key(task: str, filters: str, seed: int) -> str:
    """Key that the result of a classifier's run is kept under.

    Args:
        task: name of the classifier.
        filters: "learned" or "fixed".
        seed: of the run.

    Returns:
        "genre, learned, seed 0", say.
    """
    return f"{task}, {filters}, seed {seed}"


def is_compared(filters: str, front_end: str) -> bool:
    """Whether a front end is measured with such filters.

    Args:
        filters: "learned" or "fixed".
        front_end: of a cell.

    Returns:
        Banks are both, mel filters fixed only; LEAFs and free filters exist to be learned.
    """
    return front_end == BANK or (filters == "fixed") == (front_end == "mel")


@dataclasses.dataclass(frozen=True)
class Cell:
    """A point of a grid.

    Attributes:
        values: of all fields.
        changes: of those that differ from the base.
    """

    values: Mapping[str, Any]
    changes: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The changes as text, "base" for none."""
        return ", ".join(f"{name}={value}" for name, value in self.changes.items()) or "base"


def grid(base: Mapping[str, Any], axes: Mapping[str, Sequence[Any]]) -> list[Cell]:
    """Grid of all combinations of the values of axes, the last axis fastest.

    Args:
        base: values of all fields.
        axes: fields to the values that they take; the base's alone where there are none.

    Returns:
        The base's own values where there are no axes: one cell.

    Raises:
        ValueError: for an axis that is no field of the base, or a value that comes twice.

    Example:
        >>> base = {"shape": "sinc", "num_bins": 128}
        >>> cells = grid(base, {"shape": ("sinc", "gauss"), "num_bins": (128, 64)})
        >>> [cell.name for cell in cells]
        ['base', 'num_bins=64', 'shape=gauss', 'shape=gauss, num_bins=64']
    """
    for name, values in axes.items():
        if name not in base:
            raise ValueError(f"axes.{name}: no field of the base; it has {', '.join(base)}")
        for value in values:
            if list(values).count(value) > 1:
                raise ValueError(f"axes.{name}: {value!r} comes twice; every value comes once")
    choices = [tuple(values) or (base[name],) for name, values in axes.items()]
    cells = []
    for point in itertools.product(*choices):
        chosen = dict(zip(axes, point, strict=True))
        changes = {name: value for name, value in chosen.items() if value != base[name]}
        cells.append(Cell({**base, **chosen}, changes))
    return cells


class Ablation:
    """The results file of an ablation: opened, asked what is missing, written after each answer.

    Args:
        path: of the file, JSON; its folder is made.
        cells: all that there shall be.
        identity: what all measurements depend on; plain values.
        facts: about the run, plain values. Those of the last of several runs count, and what it
            does not state is kept; "commit" (or "package") and "device" are collected as
            "commits" and "devices".

    Raises:
        tables.ResultsError: if the file is no results of an ablation.
    """

    def __init__(
        self,
        path: str | Path,
        cells: Sequence[Cell],
        *,
        identity: Mapping[str, Any],
        facts: Mapping[str, Any],
    ) -> None:
        self.path = Path(path)
        self.stored_identity: dict[str, Any] | None = None
        """Of the file that was there; the caller compares it before anything is measured."""
        earlier = read_ablation(self.path) if self.path.exists() else None
        measured: dict[str, Any] = {}
        if earlier is not None:
            self.stored_identity = earlier["identity"]
            measured = {cell["name"]: cell["measured"] for cell in earlier["cells"]}
        # What the last run does not state is kept; cells of another grid are dropped.
        self.content: dict[str, Any] = {
            **(earlier or {}),
            **facts,
            "kind": KIND,
            "format": FORMAT,
            **{
                f"{name}s": _with((earlier or {}).get(f"{name}s", []), found)
                for name, found in (
                    ("commit", facts.get("commit") or facts.get("package")),
                    ("device", facts.get("device")),
                )
            },
            "identity": dict(identity),
            "cells": [
                {
                    "name": cell.name,
                    "changes": dict(cell.changes),
                    "values": dict(cell.values),
                    "measured": measured.get(cell.name, {}),
                }
                for cell in cells
            ],
        }

    def _measured(self, cell: Cell) -> dict[str, Any]:
        return next(row for row in self.content["cells"] if row["name"] == cell.name)["measured"]

    def is_due(self, cell: Cell, key: str, *, retry_failed: bool = False) -> bool:
        """Whether a measurement is missing, or failed and may be tried again.

        Args:
            cell: of the grid.
            key: of the measurement.
            retry_failed: whether one that failed counts as missing.

        Returns:
            Whether to measure it.
        """
        found = self._measured(cell).get(key)
        return found is None or (retry_failed and "error" in found)

    def measure(self, cell: Cell, key: str, work: Callable[[], Mapping[str, Any]]) -> bool:
        """Measures, keeps the result or the error, and writes the file.

        Args:
            cell: of the grid.
            key: of the measurement.
            work: gives what JSON can hold.

        Returns:
            Whether it went well.
        """
        try:
            found: dict[str, Any] = dict(work())
        except Exception as error:  # any cell may fail in any way; the others go on
            found = {"error": one_line(error)}
            _LOG.warning("%s, %s: failed: %s", cell.name, key, found["error"])
            _LOG.debug("%s, %s", cell.name, key, exc_info=True)
        self._measured(cell)[key] = tables.plain(found)
        self.write()
        return "error" not in found

    def write(self) -> None:
        """Writes the file, all or nothing."""
        tables.write_json(self.path, self.content)

    def failures(self) -> list[tuple[str, str, str]]:
        """Cell, measurement and message of all that failed.

        Returns:
            Of all cells, in their order.
        """
        return [
            (row["name"], key, entry["error"])
            for row in self.content["cells"]
            for key, entry in row["measured"].items()
            if "error" in entry
        ]


def _with(earlier: Sequence[str], found: str | None) -> list[str]:
    return list(dict.fromkeys([*earlier, found or "not recorded"]))


def read_ablation(path: str | Path) -> dict[str, Any]:
    """Reads a results file.

    Args:
        path: of the file.

    Returns:
        "cells", "identity" and the facts of the run.

    Raises:
        tables.ResultsError: if it is none, or of another format.
        OSError: if it cannot be read.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise tables.ResultsError(f"{path}: no JSON: {error}; move it away") from error
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise tables.ResultsError(f"{path}: no results of an ablation; use another folder")
    if content.get("format") != FORMAT:
        raise tables.ResultsError(
            f"{path}: format={content.get('format')!r}: this version reads {FORMAT}; use another "
            "folder"
        )
    return content


def one_line(error: Exception) -> str:
    """Type and message of an error, on one line; addresses, which differ every time, are cut.

    Args:
        error: any.

    Returns:
        At most 300 characters.
    """
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return re.sub(r" at 0x[0-9a-f]+", "", text)[:300]


def t_interval(values: Sequence[float], *, confidence: float = 0.95) -> tuple[float, float] | None:
    """Student's interval of the mean of independent, roughly normal values: seeds of a run.

    ``mean -+ t s / sqrt(n)``, s with n - 1 in the denominator, t the quantile of Student's
    distribution with n - 1 degrees of freedom.

    Args:
        values: at least one.
        confidence: between 0 and 1.

    Returns:
        Both ends; None for a single value, which says nothing about its spread.

    References:
        Student, "The probable error of a mean", Biometrika 6, 1908.

    Raises:
        ValueError: without values, or for a confidence that is not between 0 and 1.

    Example:
        >>> [round(end, 3) for end in t_interval([1.0, 2.0, 3.0])]
        [-0.484, 4.484]
    """
    if len(values) == 0:
        raise ValueError("no values: an interval needs two or more")
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence={confidence}: must lie between 0 and 1, say 0.95")
    count = len(values)
    if count == 1:
        return None
    # mean -+ t_(n-1, (1 + c) / 2) s / sqrt(n)
    quantile = float(scipy.special.stdtrit(count - 1, 0.5 + 0.5 * confidence))
    half = quantile * float(np.std(values, ddof=1)) / math.sqrt(count)
    middle = float(np.mean(values))
    return middle - half, middle + half
