"""Corpora of training data: :func:`build_corpora` leads from any source to its splits."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import numpy as np

from isincnet_jax import files
from isincnet_jax.data import generated
from isincnet_jax.data.audio_files import Truncated
from isincnet_jax.data.corpus import Corpus, CorpusError
from isincnet_jax.data.corpus_files import INDEX
from isincnet_jax.data.datasets_source import saved_source
from isincnet_jax.data.gtzan import gtzan_source
from isincnet_jax.data.musdb18 import musdb18_source
from isincnet_jax.data.preparation import assign_splits, load_prepared, prepare
from isincnet_jax.data.sources import Decoded, NoDataError, Source, SourceTrack, folder_source

SourceName: TypeAlias = Literal["gtzan", "musdb18", "folder", "datasets", "prepared", "generated"]
"""Sources of tracks, by name."""
SOURCE_NAMES: tuple[str, ...] = get_args(SourceName)


def build_corpora(
    source: SourceName | Source,
    path: str | Path | None = None,
    *,
    sample_rate: int,
    loudness_db: float | None = -23.0,
    splits: str | Path | None = None,
    seed: int = 0,
    stems: str | Sequence[str] = ("mixture",),
    cache_dir: str | Path | None = None,
    verify: bool = True,
    truncated: Truncated = "refuse",
) -> dict[str, Corpus]:
    """The corpora of a source, decoded, at one rate and loudness, by split.

    Args:
        source: "gtzan", "musdb18", "folder" (any audio files), "datasets" (what ``save_to_disk``
            of Hugging Face's datasets wrote), "prepared" (what ``isincnet prepare`` wrote) or
            "generated" (synthetic, needs no data); or an opened one, of
            :func:`.datasets_source.datasets_source` for instance.
        path: of the source; not used by "generated" or an opened one.
        sample_rate: Hz; of "prepared" it must be what was prepared.
        loudness_db: integrated loudness of every track, LUFS, the peak kept within 1; None
            leaves levels as they are. Of "prepared" it must be what was prepared.
        splits: folder of ``train.txt``, ``validation.txt`` and maybe ``test.txt``; by hash of
            the names, 80, 10 and 10 %, if None.
        seed: of the division by hash, and of generated music.
        stems: of "musdb18"; see :func:`isincnet_jax.data.musdb18.musdb18_source`.
        cache_dir: keep what was decoded here and map it from disk; decoded anew when the
            arguments or the files change. None decodes into memory.
        verify: refuse an archive of GTZAN that is not the published one.
        truncated: "keep" uses what can be read of damaged files of a "folder".

    Returns:
        "train", "validation" and, unless it is empty, "test".

    Raises:
        NoDataError: if the source is not there.
        CorpusError: if a split is empty, or what is there is damaged.
        ImportError: without pyloudnorm, or for a dataset without the package that reads it.
    """
    if source == "prepared":
        return load_prepared(path, sample_rate=sample_rate, loudness_db=loudness_db)
    if isinstance(source, Source):
        opened, label = source, "source"
    else:
        label = source
        opened = open_source(
            source,
            path,
            sample_rate=sample_rate,
            seed=seed,
            stems=stems,
            verify=verify,
            truncated=truncated,
        )
    assignment = assign_splits(opened, splits=splits, seed=seed)
    if cache_dir is None:
        return prepare(opened, assignment, sample_rate=sample_rate, loudness_db=loudness_db).corpora
    key = _cache_key(opened, assignment, sample_rate=sample_rate, loudness_db=loudness_db)
    folder = Path(cache_dir) / f"{label}-{key}"
    if not _is_prepared(folder):
        try:
            prepare(
                opened, assignment, sample_rate=sample_rate, loudness_db=loudness_db, folder=folder
            )
        except CorpusError:
            if not _is_prepared(folder):  # else another process was faster
                raise
    return load_prepared(folder, sample_rate=sample_rate, loudness_db=loudness_db)


def open_source(
    source: str,
    path: str | Path | None,
    *,
    sample_rate: int,
    seed: int = 0,
    stems: str | Sequence[str] = ("mixture",),
    verify: bool = True,
    truncated: Truncated = "refuse",
) -> Source:
    """Lists the tracks of a source; the arguments are those of :func:`build_corpora`.

    ``truncated="keep"`` uses what can be read of damaged files of a folder.

    Args:
        source: one of :data:`SourceName`, but for "prepared".
        path: of the source; not used by "generated".
        sample_rate: Hz, of generated music; others keep theirs until they are decoded.
        seed: of generated music.
        stems: of "musdb18".
        verify: refuse an archive of GTZAN that is not the published one.
        truncated: "refuse" or "keep".

    Returns:
        Tracks, and a way to stream them; nothing is decoded yet.

    Raises:
        ValueError: for an unknown source, or damaged files that are to be kept of another source.
        NoDataError: if it is not there.
    """
    if truncated != "refuse" and source != "folder":
        raise ValueError(f"truncated={truncated!r}: for source='folder'; {source} is known whole")
    if source == "generated":
        return _generated_source(sample_rate=sample_rate, seed=seed)
    if source == "gtzan":
        return gtzan_source(path, verify=verify)
    if source == "datasets":
        return saved_source(path)
    if source not in ("musdb18", "folder"):
        raise ValueError(f"source={source!r}: use one of {', '.join(SOURCE_NAMES)}")
    if path is None:
        raise NoDataError(f"source={source!r} needs a path (--config.data.path=DIR)")
    if source == "musdb18":
        return musdb18_source(path, stems=stems)
    return folder_source(path, truncated=truncated)


def _generated_source(
    *, sample_rate: int, num_tracks: int = 24, duration_s: float = 6.0, seed: int = 0
) -> Source:
    """The generated corpus as a source."""
    stamp = f"{num_tracks}:{duration_s}:{seed}"
    tracks = tuple(
        SourceTrack(name, group, stamp=stamp)
        for name, group in sorted(generated.generated_names(num_tracks))
    )

    def stream(wanted: Collection[str]) -> Iterator[tuple[SourceTrack, Callable[[], Decoded]]]:
        for track in tracks:
            if track.name in wanted:
                yield track, lambda name=track.name: (make(name), sample_rate)

    def make(name: str) -> np.ndarray:
        return generated.generated_track(
            name, sample_rate=sample_rate, duration_s=duration_s, seed=seed
        )[None]

    return Source(f"generated music, seed {seed}", tracks, stream)


def _is_prepared(folder: Path) -> bool:
    return (folder / "train" / INDEX).is_file()


def _cache_key(
    source: Source,
    assignment: Mapping[str, Sequence[str]],
    *,
    sample_rate: int,
    loudness_db: float | None,
) -> str:
    content = {
        "tracks": [(track.name, track.group, track.stamp) for track in source.tracks],
        "missing": sorted(source.missing),
        "splits": {split: sorted(names) for split, names in assignment.items()},
        "sample_rate": sample_rate,
        "loudness_db": loudness_db,
    }
    return files.content_digest(content)
