"""MUSDB18: songs and their stems, as .wav folders, .mp3 folders, or .stem.mp4 through ffmpeg.

Layouts: ``<train|test>/<song>/<stem>.wav`` (MUSDB18-HQ), ``<song>/<stem>.<extension>``, and
``[<train|test>/]<song>.stem.mp4``, whose five audio streams are the mixture and four stems.

References:
    Z. Rafii, A. Liutkus, F.-R. Stöter, S. I. Mimilakis and R. Bittner, "MUSDB18 - a corpus for
    music separation", 2017, https://doi.org/10.5281/zenodo.1117372.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from isincnet_jax.data import audio_ffmpeg
from isincnet_jax.data.audio_files import AudioError, read_audio
from isincnet_jax.data.sources import Decoded, NoDataError, Source, SourceTrack
from isincnet_jax.data.splits import AUDIO_SUFFIXES

STEMS = ("mixture", "drums", "bass", "other", "vocals")
"""In the order of the audio streams of a .stem.mp4."""

_CONTAINER = ".stem.mp4"


def musdb18_source(path: str | Path, *, stems: str | Sequence[str] = ("mixture",)) -> Source:
    """Songs of MUSDB18; a track is one stem of one song, "song/mixture" for instance.

    Songs in folders ``train`` and ``test`` keep that division.

    Args:
        path: of the folder, or of one that holds ``train`` and ``test``.
        stems: which; "all" for all that are there. "mixture", "drums", "bass", "other",
            "vocals", or any other name of a file of a song.

    Returns:
        Tracks whose unit is their song, so that its stems stay together.

    Raises:
        NoDataError: if there are no songs, or none has one of the stems.
        AudioError: for .stem.mp4 files without ffmpeg.
    """
    root = Path(path)
    wanted = (stems,) if isinstance(stems, str) else tuple(stems)
    if not wanted:
        raise ValueError("stems=(): name at least one of " + ", ".join(STEMS) + ", or 'all'")
    if not root.is_dir():
        raise NoDataError(f"{root}: no such folder; give the folder of MUSDB18")
    found: dict[str, tuple[SourceTrack, Callable[[], Decoded]]] = {}
    missing: dict[str, str] = {}
    for official, folder in _divisions(root):
        for song, there in _songs(folder):
            chosen = tuple(there) if wanted == ("all",) else wanted
            for stem in chosen:
                name = f"{song}/{stem}"
                if stem not in there:
                    missing[name] = f"{folder}: {song} has no {stem}, only {', '.join(there)}"
                    continue
                file, stream_index = there[stem]
                status = file.stat()
                stamp = f"{file.name}:{status.st_size}:{status.st_mtime_ns}"
                track = SourceTrack(name, song, unit=song, official=official, stamp=stamp)
                found[name] = track, _decoder(file, stream_index)
    if not found:
        reason = next(iter(missing.values()), "no song folders and no .stem.mp4 files")
        raise NoDataError(f"{root}: no songs of MUSDB18 ({reason})")
    tracks = tuple(sorted((track for track, _ in found.values()), key=lambda track: track.name))

    def stream(names: Collection[str]) -> Iterator[tuple[SourceTrack, Callable[[], Decoded]]]:
        return (found[track.name] for track in tracks if track.name in names)

    return Source(f"musdb18 {root}", tracks, stream, missing)


def _divisions(root: Path) -> list[tuple[str, Path]]:
    official = [(name, root / name) for name in ("train", "test") if (root / name).is_dir()]
    return official or [("", root)]


def _songs(folder: Path) -> Iterator[tuple[str, dict[str, tuple[Path, int | None]]]]:
    """Songs, and for each stem its file and, of a container, its stream."""
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            files = {
                file.stem: (file, None)
                for file in sorted(entry.iterdir())
                if file.suffix.lower() in AUDIO_SUFFIXES and not file.name.startswith(".")
            }
            ordered = sorted(files, key=lambda stem: (stem not in STEMS, _rank(stem), stem))
            if files:
                yield entry.name, {stem: files[stem] for stem in ordered}
        elif entry.name.endswith(_CONTAINER):
            _require_ffmpeg(entry)
            yield (
                entry.name.removesuffix(_CONTAINER),
                {stem: (entry, index) for index, stem in enumerate(STEMS)},
            )


def _rank(stem: str) -> int:
    return STEMS.index(stem) if stem in STEMS else len(STEMS)


def _decoder(file: Path, stream_index: int | None) -> Callable[[], Decoded]:
    if stream_index is None:
        return lambda: read_audio(file)
    return lambda: read_stem(file, stream_index)


def _require_ffmpeg(file: Path) -> None:
    if not audio_ffmpeg.is_installed():
        raise AudioError(
            f"{file}: .stem.mp4 files need ffmpeg and ffprobe, which are not installed; install "
            "them, or use the .wav edition, MUSDB18-HQ"
        )


def read_stem(file: Path, stream_index: int) -> Decoded:
    """Decodes one audio stream of a container through ffmpeg.

    Args:
        file: of any format that ffmpeg knows.
        stream_index: among the audio streams, from 0; .stem.mp4 files have five.

    Returns:
        float32 [channels, time] and the rate in Hz.

    Raises:
        AudioError: without ffmpeg, or if the stream is missing or damaged.
    """
    _require_ffmpeg(file)
    return audio_ffmpeg.read_stream(file, stream_index)
