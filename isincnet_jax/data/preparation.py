"""Preparation of a source: decoded once, into memory or into a folder of prepared corpora."""

from __future__ import annotations

import collections
import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from isincnet_jax.data import loudness
from isincnet_jax.data.corpus import Corpus, CorpusError, assemble
from isincnet_jax.data.corpus_files import INDEX, CorpusWriter, load_corpus, new_folder
from isincnet_jax.data.sources import Conditioned, NoDataError, Source, SourceTrack, read_tracks
from isincnet_jax.data.splits import (
    FRACTIONS,
    SPLIT_NAMES,
    match_splits,
    read_split_files,
    split_tracks,
)


@dataclass
class Prepared:
    """Corpora that were prepared, and what was left out of them.

    Attributes:
        corpora: of each split.
        skipped: tracks that could not be read, and why.
        resampled: how many tracks had another rate, by that rate in Hz.
    """

    corpora: dict[str, Corpus]
    skipped: dict[str, str] = field(default_factory=dict)
    resampled: dict[int, int] = field(default_factory=dict)

    def resampled_text(self, sample_rate: int) -> str:
        """Resampled tracks, in a line: "resampled to 16000 Hz: tracks of 44100 Hz (3)".

        Args:
            sample_rate: Hz that they were resampled to.

        Returns:
            One line, without a line end.
        """
        rates = [f"{rate} Hz ({count})" for rate, count in sorted(self.resampled.items())]
        return f"resampled to {sample_rate} Hz: tracks of {', '.join(rates)}"


def assign_splits(
    source: Source, *, splits: str | Path | None = None, seed: int = 0
) -> dict[str, tuple[str, ...]]:
    """Splits of a source's tracks: by split files, by the corpus' own division, or by hash.

    Where the corpus has a test set of its own, that is the test split, and validation is taken
    from the rest. Tracks of one unit, the stems of a song, stay together unless files say
    otherwise.

    Args:
        source: the tracks.
        splits: folder of split files, see :func:`.splits.read_split_files`; None divides.
        seed: of the division by hash.

    Returns:
        Names of "train", "validation" and, where there is one, "test".

    Raises:
        CorpusError: if train or validation would be empty; see also
            :func:`isincnet_jax.data.splits.match_splits`.
    """
    if splits is not None:
        return match_splits(read_split_files(splits), (track.name for track in source.tracks))
    units: dict[str, SourceTrack] = {}
    members: dict[str, list[str]] = {}
    for track in source.tracks:
        unit = track.unit or track.name
        group = track.official or track.group
        units.setdefault(unit, SourceTrack(unit, group, official=track.official))
        members.setdefault(unit, []).append(track.name)
    if any(unit.official == "validation" for unit in units.values()):
        result: dict[str, tuple[str, ...]] = {}
        for track in source.tracks:
            result[track.official] = (*result.get(track.official, ()), track.name)
        return result
    official_test = [name for name, unit in units.items() if unit.official == "test"]
    rest = [unit for unit in units.values() if unit.official != "test"]
    fractions = {split: FRACTIONS[split] for split in SPLIT_NAMES[: 2 if official_test else 3]}
    found = split_tracks(rest, fractions=fractions, seed=seed)
    if official_test:
        found["test"] = tuple(official_test)
    result = {
        split: tuple(sorted(name for unit in names for name in members[unit]))
        for split, names in found.items()
        if names or split != "test"
    }
    for split, names in result.items():
        if not names:
            raise CorpusError(
                f"{source.title}: {len(rest)} tracks, none is left for the split {split}; bring "
                "more, or say by split files which is which"
            )
    return result


def prepare(
    source: Source,
    assignment: Mapping[str, Sequence[str]],
    *,
    sample_rate: int,
    loudness_db: float | None,
    folder: str | Path | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Prepared:
    """Decodes a source once, into memory or into a folder of prepared corpora.

    Args:
        source: the tracks.
        assignment: names of each split.
        sample_rate: Hz.
        loudness_db: LUFS, or None.
        folder: gets one folder for each split, all or nothing; None keeps them in memory.
        overwrite: replace corpora that are in ``folder``.
        progress: called with the numbers of tracks that were read and of all.

    Returns:
        Corpora by split, and what was skipped or resampled on the way.

    Raises:
        CorpusError: if a split has no track that can be read, or the folder cannot be written.
        ImportError: without pyloudnorm, at once, unless ``loudness_db`` is None.
    """
    loudness.require_meter(loudness_db)
    skipped: dict[str, str] = {}
    rates: list[int] = []
    owner = {name: split for split, names in assignment.items() for name in names}
    head: dict[str, Any] = {
        "sample_rate": sample_rate,
        "loudness_db": loudness_db,
        "source": source.title,
    }

    def read() -> Iterator[tuple[str, Conditioned]]:
        left = {split: 0 for split in assignment}
        tracks = read_tracks(
            source,
            sample_rate=sample_rate,
            loudness_db=loudness_db,
            names=owner,
            skipped=skipped,
            rates=rates,
        )
        for found in tracks:
            left[owner[found.track.name]] += 1
            if progress is not None:
                progress(sum(left.values()), len(owner))
            yield owner[found.track.name], found
        for split, count in left.items():
            if count == 0:
                raise CorpusError(f"{source.title}: no track of the split {split} can be read")

    if folder is None:
        parts: dict[str, list] = {split: [] for split in assignment}
        for split, (track, samples, scale) in read():
            parts[split].append((track.name, track.group, samples, scale))
        corpora = {split: assemble(found, **head) for split, found in parts.items()}
        return Prepared(corpora, skipped, _other_rates(rates, sample_rate))
    with new_folder(folder, overwrite=overwrite) as temporary, contextlib.ExitStack() as stack:
        writers = {}
        for split in assignment:
            (temporary / split).mkdir()
            writers[split] = stack.enter_context(CorpusWriter(temporary / split, **head))
        for split, (track, samples, scale) in read():
            writers[split].add(track.name, group=track.group, samples=samples, scale=scale)
        for writer in writers.values():
            writer.finish()
    corpora = {split: load_corpus(Path(folder) / split) for split in assignment}
    return Prepared(corpora, skipped, _other_rates(rates, sample_rate))


def _other_rates(rates: Iterable[int], sample_rate: int) -> dict[int, int]:
    return dict(collections.Counter(rate for rate in rates if rate != sample_rate))


def load_prepared(
    path: str | Path | None, *, sample_rate: int, loudness_db: float | None
) -> dict[str, Corpus]:
    """Opens what :func:`prepare` wrote to a folder.

    Args:
        path: of the folder of ``train``, ``validation`` and maybe ``test``.
        sample_rate: Hz that they must have.
        loudness_db: LUFS that they must have; None for levels as they were.

    Returns:
        Memory-mapped corpora by split.

    Raises:
        NoDataError: if nothing is there.
        CorpusError: if it is damaged, or has another rate or loudness.
    """
    if path is None:
        raise NoDataError("source='prepared' needs a path (--config.data.path=DIR)")
    folder = Path(path)
    found = {}
    for split in SPLIT_NAMES if (folder / "train").is_dir() else ():
        if split != "test" or (folder / split).exists():
            found[split] = load_corpus(folder / split)
    if not found:
        raise NoDataError(
            f"{folder}: no prepared corpora (train/{INDEX}); make them by isincnet prepare "
            "SOURCE_PATH OUT_DIR"
        )
    for split, corpus in found.items():
        if corpus.sample_rate != sample_rate:
            raise CorpusError(
                f"{folder / split}: sample_rate={sample_rate}: prepared at "
                f"{corpus.sample_rate} Hz; use that, or prepare it again"
            )
        if corpus.loudness_db != loudness_db:
            raise CorpusError(
                f"{folder / split}: loudness_db={loudness_db}: prepared with "
                f"{corpus.loudness_db}; use that, or prepare it again"
            )
    return found
