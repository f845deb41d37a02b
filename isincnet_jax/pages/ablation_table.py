"""Table of an ablation, a row for each cell: for a terminal, and for the page."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from isincnet_jax.pages.table import Cell, number_text, power_text

Row = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Column:
    """Column of the table: a measured quantity.

    Attributes:
        part: "reconstruction", "speed" or "classification".
        key: of the quantity in the part's results.
        title: of the column.
        short: the same for a terminal.
        unit: of the numbers.
        better: "higher", "lower" or "".
        digits: after the point.
        factor: between what is stored and what is shown.
        hint: one line for readers.
        run: of a classification, its task and whether filters were learned.
    """

    part: str
    key: str
    title: str
    short: str
    unit: str = ""
    better: str = ""
    digits: int = 1
    factor: float = 1.0
    hint: str = ""
    run: str = ""


COLUMNS = (
    Column(
        "reconstruction",
        "condition",
        "Condition",
        "B/A",
        better="lower",
        digits=2,
        hint="upper over lower frame bound; 1 for a tight bank, infinite where signals are lost",
    ),
    Column("reconstruction", "snr_db", "SNR, exact", "SNR dB", "dB", "higher"),
    Column("reconstruction", "quantized_snr_db", "SNR, few bits", "few bits", "dB", "higher"),
    Column("reconstruction", "noisy_snr_db", "SNR, noise", "noise", "dB", "higher"),
    Column("speed", "encode_x_real_time", "Encoding", "encode x", "× real time", "higher", 0),
    Column("speed", "decode_x_real_time", "Decoding", "decode x", "× real time", "higher", 0),
)
"""Every quantity of a bank that an ablation may have measured."""

PARTS = ("reconstruction", "speed", "classification")
"""What an ablation measures."""


def classification_columns(run: str) -> tuple[Column, Column]:
    """Columns of a classification: accuracy and movement of the filters.

    Args:
        run: "genre, learned", say.

    Returns:
        Their keys are those of :func:`.measures.accuracy_over_seeds`.
    """
    task, _, filters = run.partition(", ")
    short = task if filters == "learned" else f"{task} ({filters})"
    title = f"{task.capitalize()}, {filters}"
    common: dict[str, Any] = {"part": "classification", "run": run}
    return (
        Column(
            key="accuracy",
            title=title,
            short=f"{short} %",
            unit="%",
            better="higher",
            factor=100.0,
            **common,
        ),
        Column(
            key="filter_movement_hz",
            title=f"{title}: movement",
            short=f"{task} Hz",
            unit="Hz",
            **common,
        ),
    )


def _part_of(row: Row, column: Column) -> Mapping[str, Any] | None:
    """A part's results of a cell; None where it failed or was not measured."""
    if column.part == "classification":
        return (row.get("classification") or {}).get(column.run)
    found = row["measured"].get(column.part)
    return None if found is None or "error" in found else found


def value_of(row: Row, column: Column) -> float | None:
    """Value of a cell as it is shown.

    Args:
        row: a cell of the ablation, as its results file has it.
        column: the quantity.

    Returns:
        A number in the column's unit, infinite for "exact" and "infinite"; None where nothing was
        measured or it failed.
    """
    found = (_part_of(row, column) or {}).get(column.key)
    if isinstance(found, Mapping):
        found = found.get("mean")
    if found is None:
        return None
    return math.inf if isinstance(found, str) else float(found) * column.factor


def shown_columns(rows: Sequence[Row]) -> list[Column]:
    """Columns that any row has a value for.

    Args:
        rows: cells of the ablation.

    Returns:
        Those of :data:`COLUMNS`, in their order, and then of all classifications. Movements are
        shown where there are any.
    """
    runs = dict.fromkeys(run for row in rows for run in row.get("classification") or ())
    columns = [*COLUMNS, *(column for run in runs for column in classification_columns(run))]
    return [column for column in columns if any(value_of(row, column) for row in rows)]


def varied(rows: Sequence[Row]) -> list[str]:
    """Varied fields: those whose values differ between rows.

    Args:
        rows: cells of the ablation, with the same fields.

    Returns:
        Names in the order of the first row.
    """
    fields = rows[0]["values"] if rows else {}
    return [name for name in fields if len({_text_of(row, name) for row in rows} - {""}) > 1]


def _text_of(row: Row, field: str) -> str:
    """Value of a field; empty where another front end has no such thing as a shape."""
    is_bank = row["values"].get("front_end", "bank") == "bank"
    return str(row["values"][field]) if is_bank or field == "front_end" else ""


def remarks(row: Row) -> list[tuple[str, str]]:
    """Remarks on a cell: what failed, and why its bank cannot be inverted.

    Args:
        row: a cell of the ablation.

    Returns:
        Pairs ("failed", message) or ("not invertible", reason); none for a sound cell.
    """
    found = [
        ("failed", f"{key}: {entry['error']}")
        for key, entry in row["measured"].items()
        if "error" in entry
    ]
    reason = row["measured"].get("reconstruction", {}).get("reason")
    return [*found, ("not invertible", reason)] if reason else found


def points(
    rows: Sequence[Row], column: Column
) -> list[tuple[str, str, float, float | None, float | None]]:
    """Points of a column that can be drawn: those with finite values.

    Args:
        rows: cells of the ablation.
        column: the quantity.

    Returns:
        Line, group, value, low and high end of its interval (None for none). The line is the
        value of the first field that varies, the group those of the others.
    """
    axes = varied(rows)
    found = []
    for row in rows:
        value = value_of(row, column)
        if value is None or not math.isfinite(value):
            continue
        texts = [text for axis in axes if (text := _text_of(row, axis))] or [row["name"]]
        part = _part_of(row, column) or {}
        inner = part.get(column.key)
        inner = inner if isinstance(inner, Mapping) else {}
        low, high = inner.get("low"), inner.get("high")
        if column.key == "accuracy":
            # The interval over seeds if there were several, else that over test tracks.
            name = "seeds" if part.get("seeds_low") is not None else "tracks"
            low, high = (part[f"{name}_{end}"] * column.factor for end in ("low", "high"))
        found.append((texts[0], ", ".join(texts[1:]), value, low, high))
    return found


def _text(value: float | None, column: Column) -> str:
    if column.key == "condition" and value is not None and math.isinf(value):
        return "infinite"
    if value is not None and math.isfinite(value) and abs(value) >= 1e6:
        return power_text(value, 2)
    return number_text(value, column.digits)


def text_table(rows: Sequence[Row]) -> str:
    """Table for a terminal; remarks on cells stand below it.

    Args:
        rows: cells of the ablation.

    Returns:
        Lines of text: a head, and one for each cell and each remark.
    """
    columns = shown_columns(rows)
    head = ["cell", *(column.short for column in columns)]
    lines = [head]
    lines += [
        [row["name"], *(_text(value_of(row, column), column) for column in columns)] for row in rows
    ]
    # Names to the left, numbers to the right of their columns.
    widths = [max(len(line[place]) for line in lines) for place in range(len(head))]
    shown = [
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    notes = [f"{row['name']}: {kind}: {text}" for row in rows for kind, text in remarks(row)]
    return "\n".join([*shown, *notes])


def sentences(verdicts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Sentences on the best cell of every classification, and on those that it does not beat.

    Args:
        verdicts: of :func:`.measures.compare_with_best`.

    Returns:
        One for each classification.
    """
    found = []
    for run, one in verdicts.items():
        counts = f"{len(one['seeds'])} seed{'s' * (len(one['seeds']) != 1)}, {one['tracks']} tracks"
        text = f"{run}: {one['best']} is best with {100 * one['accuracy']:.1f} % ({counts})"
        alike, worse = len(one["alike"]), len(one["worse"])
        if not worse:
            found.append(f"{text}, and none of the {alike} others differs from it significantly.")
        elif not alike:
            found.append(f"{text}, significantly better than all {worse} others.")
        else:
            found.append(
                f"{text}, significantly better than {worse} others; no significant difference from "
                f"{'; '.join(one['alike'])}."
            )
    return found


def table_rows(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Rows of the page's table.

    Args:
        rows: cells of the ablation.

    Returns:
        For each a mapping of "name", "remarks", "axes" (texts of the fields that vary) and
        "cells", one for each shown column (None: no number).
    """
    axes, columns = varied(rows), shown_columns(rows)
    best = [_best(rows, column) for column in columns]
    return [
        {
            "name": row["name"],
            "remarks": remarks(row),
            "axes": [_text_of(row, axis) for axis in axes],
            "cells": [_cell(row, *pair) for pair in zip(columns, best, strict=True)],
        }
        for row in rows
    ]


def _best(rows: Sequence[Row], column: Column) -> float | None:
    values = [value for row in rows if (value := value_of(row, column)) is not None]
    finite = [value for value in values if math.isfinite(value)]
    if not column.better or len(values) < 2 or not finite:
        return None
    return max(values) if column.better == "higher" else min(finite)


def _cell(row: Row, column: Column, best: float | None) -> Cell | None:
    value = value_of(row, column)
    if value is None:
        return None
    sort = "Infinity" if math.isinf(value) else repr(value)
    return Cell(_text(value, column), sort, value == best, _intervals(row, column))


def _intervals(row: Row, column: Column) -> list[str]:
    """Lines below a number: its interval, or its two intervals, or the worst clip."""
    part = _part_of(row, column) or {}
    found = part.get(column.key)
    if isinstance(found, Mapping):
        worst = found.get("worst")
        if not isinstance(worst, float) or found.get("count", 0) < 2:
            return []
        return [f"worst {number_text(worst, column.digits)}"]
    if column.key != "accuracy":
        return []
    lines = []
    for name in ("seeds", "tracks"):
        low, high = part.get(f"{name}_low"), part.get(f"{name}_high")
        if low is not None and high is not None:
            ends = [number_text(end * column.factor, column.digits) for end in (low, high)]
            lines.append(f"{name} {ends[0]} … {ends[1]}")
    return lines
