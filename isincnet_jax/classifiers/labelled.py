"""Labelled tracks: genres of GTZAN, folders of speakers. Chunks of them: ``chunks``.

The class of a track is its group. A track is in one split, with all its files: where several
folders have files of the same name (excerpts of the same clips, say), these are one track.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int

from isincnet_jax.data.corpora import open_source
from isincnet_jax.data.corpus import Corpus, CorpusError
from isincnet_jax.data.corpus_files import INDEX
from isincnet_jax.data.preparation import assign_splits, load_prepared, prepare
from isincnet_jax.data.sources import Decoded, NoDataError, Source, SourceTrack, folder_source

_LOG = logging.getLogger(__name__)

_NO_SPEAKERS = """{path}: no speakers here.

A corpus of speakers is a folder with one folder of audio files for each speaker, at any depth:
  1. LibriSpeech: PATH = .../LibriSpeech/train-clean-100 (free, https://www.openslr.org/12);
  2. VoxCeleb: PATH = the folder of idXXXXX/;
  3. TIMIT: PATH = the folder of TRAIN/DR1/SPEAKER/*.WAV, with --config.data.speaker_level=2.
Name it by --config.data=PATH

To try everything without any data: --config.data.source=generated"""


@dataclasses.dataclass(frozen=True, eq=False)
class Labelled:
    """Corpora whose tracks have a class.

    Attributes:
        classes: names, sorted.
        corpora: of each split; the group of an entry is its class.
        tracks: name of an entry to the track that it is (a part of); itself if not given.
    """

    classes: tuple[str, ...]
    corpora: Mapping[str, Corpus]
    tracks: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def labels(self, split: str) -> Int[np.ndarray, " entries"]:
        """Index of the class of every entry of a split, int32 [entries].

        Args:
            split: one of ``corpora``.

        Returns:
            Indices into ``classes``.
        """
        index = {name: number for number, name in enumerate(self.classes)}
        return np.array([index[track.group] for track in self.corpora[split].tracks], np.int32)

    def track_names(self, split: str) -> tuple[str, ...]:
        """Names of the tracks of a split, sorted; they may be fewer than its entries.

        Args:
            split: one of ``corpora``.

        Returns:
            Each once.
        """
        return tuple(sorted({self.tracks.get(name, name) for name in self.corpora[split].names}))

    def track_indices(self, split: str) -> Int[np.ndarray, " entries"]:
        """Index of the track of every entry among :meth:`track_names`, int64 [entries].

        Args:
            split: one of ``corpora``.

        Returns:
            Indices into :meth:`track_names`.
        """
        place = {name: number for number, name in enumerate(self.track_names(split))}
        names = self.corpora[split].names
        return np.array([place[self.tracks.get(name, name)] for name in names], np.int64)

    def track_labels(self, split: str) -> Int[np.ndarray, " tracks"]:
        """Index of the class of every track of a split, int32 [tracks].

        Args:
            split: one of ``corpora``.

        Returns:
            In the order of :meth:`track_names`.
        """
        labels = np.empty(len(self.track_names(split)), np.int32)
        labels[self.track_indices(split)] = self.labels(split)
        return labels


def build_labelled(
    source: str,
    paths: Sequence[str | Path] = (),
    *,
    sample_rate: int,
    loudness_db: float | None = None,
    splits: str | Path | None = None,
    seed: int = 0,
    speaker_level: int = 0,
    sessions_together: bool = False,
    cache_dir: str | Path | None = None,
    verify: bool = True,
) -> Labelled:
    """The labelled corpora of a source, decoded, by split.

    Args:
        source: "gtzan" (genres), "speakers" (see :func:`speaker_source`) or "generated" (three
            kinds of synthetic music, needs no data).
        paths: of the source; several are put together, see :func:`merge_sources`.
        sample_rate: Hz.
        loudness_db: integrated loudness of every track, LUFS; None leaves levels as they are.
        splits: folder of ``train.txt``, ``validation.txt`` and maybe ``test.txt``; 80, 10 and
            10 % of every class by hash of the tracks' names, if None.
        seed: of the division by hash.
        speaker_level: see :func:`speaker_source`.
        sessions_together: see :func:`speaker_source`.
        cache_dir: keep what was decoded here; decoded anew when arguments or files change.
        verify: refuse an archive of GTZAN that is not the published one.

    Returns:
        Classes are those of the training split; tracks of others are left out of the rest.

    Raises:
        NoDataError: if a path is not there.
        CorpusError: if split files put files of one track into two splits, or there are fewer
            than two classes.
        ValueError: for an unknown source.
    """
    if source not in ("gtzan", "speakers", "generated"):
        raise ValueError(f"source={source!r} is unknown; use gtzan, speakers or generated")

    def open_one(path: str | Path | None) -> Source:
        if source != "speakers":
            return open_source(source, path, sample_rate=sample_rate, seed=seed, verify=verify)
        return speaker_source(path, level=speaker_level, sessions_together=sessions_together)

    chosen = [None] if source == "generated" or not paths else [Path(path) for path in paths]
    shorts = _unique([str(path) if path is None else path.name for path in chosen])
    sources = dict(zip(shorts, map(open_one, chosen), strict=True))
    opened = merge_sources(sources)
    assignment = assign_splits(opened, splits=splits, seed=seed)
    _check_no_leakage(opened, assignment)
    corpora = _decode(opened, assignment, sample_rate, loudness_db, cache_dir)
    tracks = {
        f"{short}/{track.name}": track.name
        for short, one in sources.items()
        for track in one.tracks
    }
    return _labelled(corpora, tracks if len(sources) > 1 else {})


def speaker_source(
    path: str | Path | None, *, level: int = 0, sessions_together: bool = False
) -> Source:
    """A folder of speakers: one folder of audio files, or of folders of them, for each.

    Args:
        path: of the folder.
        level: which folder of a file's path names the speaker: 0 is the first below ``path``
            (LibriSpeech's and VoxCeleb's layout), 2 the third (TIMIT's), -1 the file's own.
        sessions_together: files of one folder (a chapter, a video) go to the same split, so that
            the room and the microphone of a session do not give its speaker away.

    Returns:
        A source whose groups are speakers.

    Raises:
        NoDataError: if nothing is there, with the layouts that are understood.
        CorpusError: if a file lies above the folders of speakers.
    """
    if path is None or not Path(path).is_dir():
        raise NoDataError(_NO_SPEAKERS.format(path=path or "data.path is not set"))
    found = folder_source(path)

    def relabel(track: SourceTrack) -> SourceTrack:
        folders = track.name.split("/")[:-1]
        if not -len(folders) <= level < len(folders):
            raise CorpusError(
                f"{path}: {track.name} lies in {len(folders)} folders, and speaker_level={level} "
                "names none of them; use another level, or move the file"
            )
        unit = track.group if sessions_together else track.name
        return dataclasses.replace(track, group=folders[level], unit=unit)

    return _renamed(f"speakers {path}", {track: relabel(track) for track in found.tracks}, found)


def merge_sources(sources: Mapping[str, Source]) -> Source:
    """Several sources as one. Tracks of the same name are one track, wherever they are.

    Args:
        sources: by a short name, which goes before those of the tracks if there are several.

    Returns:
        A source whose tracks have the unit that they had in their own.
    """
    if len(sources) == 1:
        return next(iter(sources.values()))
    parts = []
    for short, source in sources.items():
        tracks = {
            track: dataclasses.replace(
                track, name=f"{short}/{track.name}", unit=track.unit or track.name
            )
            for track in source.tracks
        }
        parts.append(_renamed(source.title, tracks, source))

    def stream(wanted: Collection[str]) -> Iterator[tuple[SourceTrack, Callable[[], Decoded]]]:
        for part in parts:
            yield from part.stream(wanted)

    tracks = sorted((track for part in parts for track in part.tracks), key=lambda one: one.name)
    missing = {
        f"{short}/{name}": reason
        for short, source in sources.items()
        for name, reason in source.missing.items()
    }
    return Source(" + ".join(part.title for part in parts), tuple(tracks), stream, missing)


def _check_no_leakage(source: Source, assignment: Mapping[str, Sequence[str]]) -> None:
    """Refuses splits that have files of the same track on both sides.

    Raises:
        CorpusError: naming the track and both splits.
    """
    units = {track.name: track.unit or track.name for track in source.tracks}
    owner: dict[str, str] = {}
    for split, names in assignment.items():
        for name in names:
            other = owner.setdefault(units[name], split)
            if other != split:
                raise CorpusError(
                    f"{source.title}: {name} is in the split {split}, another file of the track "
                    f"{units[name]} in {other}; tracks are not divided: correct the split files"
                )


def _renamed(title: str, tracks: Mapping[SourceTrack, SourceTrack], source: Source) -> Source:
    """A source whose tracks are called otherwise."""
    old_names = {new.name: old.name for old, new in tracks.items()}
    by_old_name = {old.name: new for old, new in tracks.items()}

    def stream(wanted: Collection[str]) -> Iterator[tuple[SourceTrack, Callable[[], Decoded]]]:
        own = {old_names[name] for name in wanted if name in old_names}
        for track, decode in source.stream(own):
            yield by_old_name[track.name], decode

    return Source(title, tuple(tracks.values()), stream, source.missing)


def _unique(names: Sequence[str]) -> list[str]:
    seen = Counter(names)
    return [f"{name}-{i}" if seen[name] > 1 else name for i, name in enumerate(names)]


def _labelled(corpora: Mapping[str, Corpus], tracks: Mapping[str, str]) -> Labelled:
    """Tracks of classes that training has none of are left out, and counted in the log."""
    classes = tuple(sorted({track.group for track in corpora["train"].tracks}))
    if len(classes) < 2:
        raise CorpusError(f"{len(classes)} class in the training split; classifiers need 2 or more")
    kept = {}
    for split, corpus in corpora.items():
        names = [track.name for track in corpus.tracks if track.group in classes]
        if len(names) < len(corpus):
            _LOG.warning(
                "split %s: %d of %d tracks left out: their class has no track to train with",
                split,
                len(corpus) - len(names),
                len(corpus),
            )
        if not names:
            raise CorpusError(f"split {split}: no track of the {len(classes)} trained classes")
        kept[split] = corpus.select(names)
    return Labelled(classes, kept, tracks)


def _decode(
    source: Source,
    assignment: Mapping[str, Sequence[str]],
    sample_rate: int,
    loudness_db: float | None,
    cache_dir: str | Path | None,
) -> Mapping[str, Corpus]:
    options = {"sample_rate": sample_rate, "loudness_db": loudness_db}
    if cache_dir is None:
        return prepare(source, assignment, **options).corpora
    tracks = [dataclasses.astuple(track) for track in source.tracks]
    content = json.dumps([tracks, {k: sorted(v) for k, v in assignment.items()}, options])
    folder = Path(cache_dir) / f"labelled-{hashlib.sha256(content.encode()).hexdigest()[:16]}"
    if not (folder / "train" / INDEX).is_file():
        prepare(source, assignment, folder=folder, **options)
    return load_prepared(folder, **options)
