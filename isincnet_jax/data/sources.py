"""Sources of tracks, decoded and brought to one rate, one channel and one loudness.

A source lists its tracks first, cheaply, so that splits are known before anything is decoded;
then it streams them in one pass, which also suits archives that can only be read in order.
"""

from __future__ import annotations

import collections
import logging
import os
import stat
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float, Int16

from isincnet_jax.data.audio_files import AudioError, Truncated, read_audio, resample_blocks
from isincnet_jax.data.audio_inspection import check_truncated
from isincnet_jax.data.corpus import CorpusError, quantize
from isincnet_jax.data.loudness import loudness_gain
from isincnet_jax.data.splits import AUDIO_SUFFIXES, without_suffix
from isincnet_jax.files import first_line, shown

_LOG = logging.getLogger(__name__)

Decoded: TypeAlias = tuple[np.ndarray, int]
"""float32 [channels, time] and the rate in Hz."""


class NoDataError(CorpusError):
    """A source is not there; the message says what to bring and where."""


@dataclass(frozen=True)
class SourceTrack:
    """A track that can be read.

    Attributes:
        name: unique within its source.
        group: genre, song or folder.
        unit: tracks of one unit (stems of a song) go to the same split; the name if empty.
        official: the split that the corpus itself puts it in; empty if it does not.
        stamp: changes when the content may have: sizes and times of files.
    """

    name: str
    group: str
    unit: str = ""
    official: str = ""
    stamp: str = ""


@dataclass(frozen=True)
class Source:
    """Tracks, and a way to stream them.

    Attributes:
        title: what it is, for messages: "gtzan at /data".
        tracks: sorted by name.
        stream: yields each wanted track once, in any order, with a function that decodes it;
            the functions may run in threads, in any order, and raise AudioError.
        missing: tracks that cannot be read, known before, with the reason.
        paths: of the files of tracks that are one file each, by name.
    """

    title: str
    tracks: tuple[SourceTrack, ...]
    stream: Callable[[Collection[str]], Iterator[tuple[SourceTrack, Callable[[], Decoded]]]]
    missing: dict[str, str] = field(default_factory=dict)
    paths: dict[str, Path] = field(default_factory=dict)


class Conditioned(NamedTuple):
    """A track as a corpus stores it.

    Attributes:
        track: which.
        samples: int16 [time].
        scale: factor to the waveform.
    """

    track: SourceTrack
    samples: Int16[np.ndarray, " time"]
    scale: float


def condition(
    samples: Float[np.ndarray, "channels time"],
    *,
    source_rate: int,
    sample_rate: int,
    loudness_db: float | None,
) -> tuple[Int16[np.ndarray, " resampled"], float]:
    """Mean of the channels, resampling, loudness, integers; in this order.

    Args:
        samples: float [channels, time].
        source_rate: Hz, of the samples.
        sample_rate: Hz, wanted.
        loudness_db: wanted integrated loudness, LUFS; None leaves the level as it is.

    Returns:
        int16 [time] and the factor to the waveform.

    Raises:
        ValueError: if nothing is left at the new rate.
    """
    mono = np.asarray(np.mean(samples, axis=0, dtype=np.float32))
    blocks = resample_blocks([mono[:, None]], source_rate=source_rate, target_rate=sample_rate)
    # Joined with an empty array: very short clips may leave no block.
    mono = np.concatenate([np.zeros(0, np.float32), *(block[:, 0] for block in blocks)])
    if len(mono) == 0:
        raise ValueError(f"too short: no sample is left at {sample_rate} Hz")
    gain = 1.0
    if loudness_db is not None:
        gain = loudness_gain(mono, sample_rate=sample_rate, loudness_db=loudness_db)
    return quantize(mono, gain=gain)


def read_tracks(
    source: Source,
    *,
    sample_rate: int,
    loudness_db: float | None,
    names: Collection[str] | None = None,
    skipped: dict[str, str] | None = None,
    rates: list[int] | None = None,
    num_threads: int | None = None,
) -> Iterator[Conditioned]:
    """Streams tracks as a corpus stores them; what cannot be read is reported and left out.

    Args:
        source: where from.
        sample_rate: Hz.
        loudness_db: LUFS, or None; see :func:`condition`.
        names: only these tracks; all if None.
        skipped: collects the names that were left out, and why.
        rates: collects the rate, Hz, that each track came with.
        num_threads: that decode, a few tracks ahead; the number of cores, at most 8, if None.

    Yields:
        Tracks in the order of the source.
    """
    wanted = {track.name for track in source.tracks} if names is None else set(names)
    skipped = {} if skipped is None else skipped
    for name, reason in source.missing.items():
        _LOG.warning("%s: skipped %s: %s", source.title, name, reason)
        skipped[name] = reason

    def work(track: SourceTrack, decode: Callable[[], Decoded]) -> Conditioned | AudioError:
        try:
            samples, rate = decode()
        except (AudioError, OSError) as error:
            return AudioError(str(error))
        try:
            integers, scale = condition(
                samples, source_rate=rate, sample_rate=sample_rate, loudness_db=loudness_db
            )
        except ValueError as error:
            return AudioError(f"{track.name}: {error}")
        if rates is not None:
            rates.append(rate)
        return Conditioned(track, integers, scale)

    threads = num_threads or min(8, os.cpu_count() or 1)
    for name, result in _in_order(work, source.stream(wanted), threads):
        if isinstance(result, AudioError):
            _LOG.warning("%s: skipped %s: %s", source.title, name, result)
            skipped[name] = str(result)
        else:
            yield result
    if skipped:
        _LOG.warning("%s: %d of %d tracks skipped", source.title, len(skipped), len(wanted))


def _in_order(
    work: Callable[[SourceTrack, Callable[[], Decoded]], Conditioned | AudioError],
    items: Iterable[tuple[SourceTrack, Callable[[], Decoded]]],
    threads: int,
) -> Iterator[tuple[str, Conditioned | AudioError]]:
    """Maps in threads, in order, no more than a few tracks ahead."""
    pending: collections.deque[tuple[str, Future[Conditioned | AudioError]]] = collections.deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        for track, decode in items:
            pending.append((track.name, pool.submit(work, track, decode)))
            if len(pending) > threads:
                name, future = pending.popleft()
                yield name, future.result()
        while pending:
            name, future = pending.popleft()
            yield name, future.result()


def file_source(
    title: str,
    files: Iterable[tuple[SourceTrack, Path]],
    *,
    missing: dict[str, str] | None = None,
    truncated: Truncated = "refuse",
) -> Source:
    """A source of audio files; the stamp of a track is that of its file.

    What is no regular file is missing.

    Args:
        title: what it is, for messages.
        files: tracks and their files; the stamps of the tracks are not used.
        missing: tracks that are known to be missing, and why.
        truncated: "keep" uses what can be read of damaged files.

    Returns:
        Tracks sorted by name, with ``paths``.

    Raises:
        NoDataError: if there are no files.
    """
    paths: dict[str, Path] = {}
    tracks: list[SourceTrack] = []
    missing = dict(missing or {})
    check_truncated(truncated)
    for track, path in files:
        try:
            status = path.stat()
        except OSError as error:  # a dangling link, a loop of links
            missing[track.name] = f"{path}: cannot be read: {first_line(error)}"
            continue
        if not stat.S_ISREG(status.st_mode):
            missing[track.name] = f"{path}: a pipe or device, not an audio file"
            continue
        stamp = f"{path.name}:{status.st_size}:{status.st_mtime_ns}"
        stamp += ":keep" if truncated == "keep" else ""
        tracks.append(SourceTrack(track.name, track.group, track.unit, track.official, stamp))
        paths[track.name] = path
    tracks.sort(key=lambda track: track.name)
    if not tracks:
        raise NoDataError(f"{title}: no audio files")

    def stream(wanted: Collection[str]) -> Iterator[tuple[SourceTrack, Callable[[], Decoded]]]:
        for track in tracks:
            if track.name in wanted:
                yield track, lambda path=paths[track.name]: read_audio(path, truncated=truncated)

    return Source(title, tuple(tracks), stream, missing, paths)


def folder_source(path: str | Path, *, truncated: Truncated = "refuse") -> Source:
    r"""Source of all audio files below a folder; names are relative paths, groups parent folders.

    Hidden files and folders are left out. Files that differ by extension only keep it. Names are
    what lists and pages can hold: bytes that are no UTF-8, and line ends, are written out
    ("caf\xe9"), see :func:`isincnet_jax.files.shown`.

    Args:
        path: of the folder.
        truncated: "keep" uses what can be read of damaged files.

    Returns:
        Tracks named "folder/file", of the group "folder".

    Raises:
        NoDataError: if the folder is missing or has no audio files.
    """
    root = Path(path)
    if not root.is_dir():
        raise NoDataError(f"{root}: no such folder; give a folder of audio files")
    missing: dict[str, str] = {}

    def note(error: OSError) -> None:
        name = shown(os.path.relpath(error.filename or root, root))
        missing[name] = f"cannot be listed: {first_line(error)}"

    found = [
        Path(parent, name).relative_to(root)
        for parent, _, names in os.walk(root, onerror=note)
        for name in names
        if Path(name).suffix.lower() in AUDIO_SUFFIXES
    ]
    found = sorted(file for file in found if not any(part.startswith(".") for part in file.parts))
    bare = collections.Counter(without_suffix(PurePosixPath(file.as_posix())) for file in found)
    files: list[tuple[SourceTrack, Path]] = []
    owner: dict[str, str] = {}
    for file in found:
        short = without_suffix(PurePosixPath(file.as_posix()))
        name = shown(str(short) if bare[short] == 1 else file.as_posix())
        if name in owner:
            missing[f"{name} (2)"] = f"called like {owner[name]}; rename it"
            continue
        owner[name] = shown(root / file)
        group = shown(file.parent.as_posix())
        files.append((SourceTrack(name, group=group), root / file))
    return file_source(f"folder {root}", files, missing=missing, truncated=truncated)
