"""GTZAN: 1,000 clips of 30 s in 10 genres, from what the user has of it.

The corpus is no longer served where it was published, so nothing is downloaded.

References:
    G. Tzanetakis and P. Cook, "Musical genre classification of audio signals", IEEE Transactions
    on Speech and Audio Processing 10(5), 2002.
    B. L. Sturm, "The GTZAN dataset: its contents, its faults, their effects on evaluation, and
    its future use", 2013, https://arxiv.org/abs/1306.1461 (repeats, mislabels, the corrupt file).
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path, PurePosixPath

from isincnet_jax.data.audio_memory import read_audio_bytes
from isincnet_jax.data.corpus import CorpusError
from isincnet_jax.data.gtzan_names import GENRES, KNOWN_CORRUPT, track_of
from isincnet_jax.data.sources import (
    Decoded,
    NoDataError,
    Source,
    SourceTrack,
    file_source,
)

ARCHIVE_NAME = "genres.tar.gz"
ARCHIVE_SHA256 = "24347e0223d2ba798e0a558c4c172d9d4a19c00bb7963fe055d183dadb4ef2c6"

_ARCHIVE_SUFFIXES = (".tar.gz", ".tgz", ".tar")

_NO_DATA = """{path}: no GTZAN here.

GTZAN is a corpus of 1,000 music clips of 30 s, 22,050 Hz, in 10 genres (Tzanetakis and Cook,
2002). Its download address has been dead since 2022, so you must bring it:
  {archive}, 1.2 GB, SHA-256
  {digest}

Any of these will do, named by --config.data.path=PATH:
  1. PATH = {archive}, or a folder that holds it (read without unpacking);
  2. PATH = the unpacked folder: genres/GENRE/GENRE.NNNNN.wav (or .au), or genres_original/...;
  3. PATH = a TensorFlow Datasets folder with gtzan/1.0.0 prepared.

To try everything without any data: --config.data.source=generated"""


def _no_data(path: str | Path | None) -> NoDataError:
    """The error that says what GTZAN is and how to bring it."""
    where = "data.path is not set" if path is None else str(path)
    return NoDataError(_NO_DATA.format(path=where, archive=ARCHIVE_NAME, digest=ARCHIVE_SHA256))


def gtzan_source(path: str | Path | None, *, verify: bool = True) -> Source:
    """The tracks of GTZAN, whatever form the user has it in.

    Names are ``genre/genre.NNNNN``, whatever the form. ``jazz.00054`` is left out.

    Args:
        path: the archive, the unpacked folder (or one that holds ``genres`` or
            ``genres_original``), or a TensorFlow Datasets folder.
        verify: refuse an archive that is not the published one, by its SHA-256.

    Returns:
        Tracks, and a way to stream them; of an archive the names are read now.

    Raises:
        NoDataError: if none of it is there.
        CorpusError: if the archive is damaged or not the published one.
    """
    if path is None:
        raise _no_data(None)
    root = Path(path)
    if root.is_file() and root.name.endswith(_ARCHIVE_SUFFIXES):
        return _archive_source(root, verify=verify)
    if not root.is_dir():
        raise _no_data(path)
    for folder in (root, root / "genres", root / "genres_original", root / "Data/genres_original"):
        files = list(_files(folder))
        if files:
            return file_source(f"gtzan {folder}", files, missing=_missing(folder))
    prepared = _tfds_folder(root)
    if prepared is not None:
        from isincnet_jax.data.tf import gtzan_tfds  # noqa: PLC0415 - TensorFlow

        return gtzan_tfds.tfds_source(prepared)
    if (root / ARCHIVE_NAME).is_file():
        return _archive_source(root / ARCHIVE_NAME, verify=verify)
    raise _no_data(path)


def _tfds_folder(root: Path) -> Path | None:
    """The folder of a prepared TensorFlow dataset, at a path or below it."""
    patterns = ("dataset_info.json", "*/dataset_info.json", "gtzan/*/dataset_info.json")
    found = [info for pattern in patterns for info in sorted(root.glob(pattern))]
    return found[0].parent if found else None


def _files(folder: Path) -> Iterator[tuple[SourceTrack, Path]]:
    """Clips of an unpacked corpus; of a clip in both formats, the .wav."""
    for genre in GENRES:
        chosen: dict[str, tuple[SourceTrack, Path]] = {}
        for file in sorted((folder / genre).glob("*.*")):  # .au before .wav
            track = track_of(file.name)
            if track is not None and track.name not in KNOWN_CORRUPT:
                chosen[track.name] = track, file
        yield from chosen.values()


def _missing(folder: Path) -> dict[str, str]:
    return {name: reason for name, reason in KNOWN_CORRUPT.items() if any(folder.glob(f"{name}.*"))}


def _archive_source(archive: Path, *, verify: bool) -> Source:
    """Reads the archive in order, twice: once for the names, once for the samples."""
    if verify:
        _verify(archive)
    chosen: dict[str, tuple[SourceTrack, str]] = {}
    missing: dict[str, str] = {}
    for member, _ in _members(archive):
        track = track_of(PurePosixPath(member.name).name)
        if track is None or not member.isfile():
            continue
        if track.name in KNOWN_CORRUPT:
            missing[track.name] = KNOWN_CORRUPT[track.name]
        elif track.name not in chosen or member.name.endswith(".wav"):
            stamp = f"{member.size}:{member.mtime}"
            chosen[track.name] = SourceTrack(track.name, track.group, stamp=stamp), member.name
    if not chosen:
        raise NoDataError(f"{archive}: holds no clips of GTZAN (genre/genre.NNNNN.wav or .au)")
    by_member = {member: track for track, member in chosen.values()}

    def stream(wanted: Collection[str]) -> Iterator[tuple[SourceTrack, Callable[[], Decoded]]]:
        for member, read in _members(archive):
            track = by_member.get(member.name)
            if track is not None and track.name in wanted:
                content = read()
                yield (
                    track,
                    lambda name=member.name, content=content: read_audio_bytes(
                        content, file_name=PurePosixPath(name).name, where=str(archive)
                    ),
                )

    tracks = tuple(sorted((track for track, _ in chosen.values()), key=lambda track: track.name))
    return Source(f"gtzan {archive}", tracks, stream, missing)


def _members(archive: Path) -> Iterator[tuple[tarfile.TarInfo, Callable[[], bytes]]]:
    """The members in the order of the archive; each must be read before the next is asked for."""
    try:
        with tarfile.open(archive, "r|*") as opened:
            for member in opened:

                def read(member: tarfile.TarInfo = member) -> bytes:
                    file = opened.extractfile(member)
                    return b"" if file is None else file.read()

                yield member, read
    except (tarfile.TarError, EOFError, OSError) as error:
        raise CorpusError(f"{archive}: truncated or damaged: {error}") from error


def _verify(archive: Path) -> None:
    with open(archive, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != ARCHIVE_SHA256:
        raise CorpusError(
            f"{archive}: SHA-256 {digest}: not the published archive, {ARCHIVE_SHA256}: an "
            "incomplete download or another edition; fetch it again, or pass verify=False "
            "(--no-verify) if you trust it"
        )
