"""Index of recordings: which of a folder can be read, how long they are, what each is for.

``isincnet vocoder preprocess`` writes it, and ``train`` reads it.
"""

from __future__ import annotations

import csv
import functools
import json
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from isincnet_jax import files
from isincnet_jax.data import audio_files
from isincnet_jax.data.corpus import CorpusError
from isincnet_jax.data.sources import folder_source
from isincnet_jax.data.splits import SPLIT_NAMES, as_entry, split_tracks

MANIFEST = "manifest.json"
_FORMAT = "isincnet vocoder index 1"


class Index(NamedTuple):
    """Index of recordings: which there are, and what they are for.

    Attributes:
        data: the folder of the recordings.
        sample_rate: to train at, Hz.
        splits: names of "train", "validation" and, unless it is empty, "test".
        durations_s: of every recording that is used, by name.
        skipped: names of those that are not, and why.
        truncated: "keep" if damaged ones are used as far as they can be read.
    """

    data: Path
    sample_rate: int
    splits: dict[str, tuple[str, ...]]
    durations_s: dict[str, float]
    skipped: dict[str, str]
    truncated: str = "refuse"

    def duration_s(self, split: str) -> float:
        """Seconds of a split.

        Args:
            split: one of ``splits``.

        Returns:
            Seconds.
        """
        return sum(self.durations_s[name] for name in self.splits[split])


def make_index(
    source: str | Path,
    target: str | Path,
    *,
    sample_rate: int,
    min_duration_s: float,
    seed: int = 0,
    workers: int = 0,
    truncated: str = "refuse",
    progress: Callable[[int, int], None] | None = None,
) -> Index:
    """Decodes every recording once to check it, divides them, and writes the index.

    Args:
        source: LJSpeech's folder, or any with audio below it. With ``metadata.csv``, as LJSpeech
            has it, recordings that it names and that are not there count as skipped.
        target: folder for ``manifest.json`` and the lists ``train.txt``, ``validation.txt`` and
            ``test.txt``; an index there is replaced.
        sample_rate: to train at, Hz.
        min_duration_s: shorter recordings are skipped.
        seed: of the division.
        workers: threads; 0 for the number of cores.
        truncated: "keep" takes damaged recordings, of which training uses what can be read.
        progress: called with the numbers of recordings that were read and of all.

    Returns:
        What was written.

    Raises:
        ValueError: for arguments out of range.
        NoDataError, CorpusError: if there are no, or too few, recordings, or ``target`` is taken.
        OSError: if it cannot be written.
    """
    if sample_rate < 1 or min_duration_s < 0 or workers < 0 or seed < 0:
        raise ValueError(
            f"sample_rate={sample_rate}, min_duration_s={min_duration_s:g}, workers={workers}, "
            f"seed={seed}: at least 1 Hz, and nothing negative"
        )
    source, target = Path(source).resolve(), Path(target)
    _check_free(target)
    opened = folder_source(source, truncated=truncated)  # type: ignore[arg-type]
    tracks, paths = opened.tracks, opened.paths
    missing = _missing(source, paths)
    durations: dict[str, float] = {}
    skipped = dict(opened.missing)
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        measure = functools.partial(_duration_s, truncated=truncated)
        for name, found in zip(paths, pool.map(measure, paths.values()), strict=True):
            if isinstance(found, str):
                skipped[name] = found
            elif found < min_duration_s:
                skipped[name] = f"{found:.3f} s, shorter than {min_duration_s:g} s"
            else:
                durations[name] = found
            if progress is not None:
                progress(len(durations) + len(skipped), len(paths) + len(opened.missing))
    skipped.update(missing)
    usable = [track for track in tracks if track.name in durations]
    splits = {
        split: names
        for split, names in split_tracks(usable, seed=seed).items()
        if names or split != "test"
    }
    if not all(splits.values()):
        raise CorpusError(
            f"{source}: {len(usable)} usable recordings of {len(tracks)}, too few to divide; "
            "bring more" + _example(skipped)
        )
    index = Index(source, sample_rate, splits, durations, skipped, truncated)
    _write(index, target)
    return index


def _example(skipped: dict[str, str]) -> str:
    if not skipped:
        return ""
    name, reason = next(iter(skipped.items()))
    return f" (skipped for instance {name}: {reason})"


def _duration_s(path: Path, truncated: Any) -> float | str:
    """Seconds of a recording that decodes from beginning to end, or what is wrong."""
    try:
        info = audio_files.audio_info(path, truncated=truncated)
        count = sum(len(block) for block in audio_files.read_blocks(path, truncated=truncated))
    except (audio_files.AudioError, OSError) as error:
        return str(error)
    return count / info.sample_rate


def _missing(root: Path, paths: Mapping[str, Path]) -> dict[str, str]:
    """What LJSpeech's list names and the folder does not have."""
    listing = root / "metadata.csv"
    if not listing.is_file():
        return {}
    there = {path.stem for path in paths.values()}
    try:
        with listing.open(encoding="utf-8", newline="") as file:
            rows = csv.reader(file, delimiter="|", quoting=csv.QUOTE_NONE)
            named = [row[0].strip() for row in rows if row and row[0].strip()]
    except (ValueError, csv.Error) as error:
        raise CorpusError(f"{listing}: is no list of LJSpeech's kind, id|text: {error}") from error
    reason = "in metadata.csv, but there is no such recording"
    return {name: reason for name in named if name not in there}


def _check_free(target: Path) -> None:
    if target.exists() and not target.is_dir():
        raise CorpusError(f"{target}: a file, not a folder to write to")
    if target.is_dir() and any(target.iterdir()) and not (target / MANIFEST).is_file():
        raise CorpusError(f"{target}: exists and is no index; use another folder")


def _write(index: Index, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    (target / MANIFEST).unlink(missing_ok=True)  # last of all: without it there is no index
    for split in SPLIT_NAMES:
        path = target / f"{split}.txt"
        if split not in index.splits:
            path.unlink(missing_ok=True)
            continue
        files.write_text(path, "".join(f"{as_entry(name)}\n" for name in index.splits[split]))
    content = {
        "format": _FORMAT,
        "data": str(index.data),
        "sample_rate": index.sample_rate,
        "durations_s": {name: round(seconds, 4) for name, seconds in index.durations_s.items()},
        "skipped": index.skipped,
        "truncated": index.truncated,
    }
    files.write_text(target / MANIFEST, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def data_fields(source: str | Path) -> dict[str, Any]:
    """The fields of a training config for an index, or for a folder of audio.

    Args:
        source: folder of an index, or of recordings.

    Returns:
        Values by field, "data.path" and, of an index, "data.splits", "data.sample_rate" and
        "data.truncated".

    Raises:
        CorpusError: for neither, or a damaged index.
    """
    source = Path(source)
    if not source.is_dir():
        raise CorpusError(f"{source}: no such folder; give an index of preprocess, or recordings")
    path = source / MANIFEST
    if not path.is_file():
        return {"data.path": source}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != _FORMAT:
            raise ValueError(f"format={content['format']!r}, not {_FORMAT!r}")
        fields = {
            "data.path": str(content["data"]),
            "data.splits": source,
            "data.sample_rate": int(content["sample_rate"]),
            "data.truncated": str(content.get("truncated", "refuse")),
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorpusError(f"{path}: damaged ({error}); run preprocess again") from error
    return fields
