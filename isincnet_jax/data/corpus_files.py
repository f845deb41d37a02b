"""Prepared corpora: a folder with ``samples.npy`` and ``index.json``, whole or not at all.

``samples.npy`` is a flat int16 array, which is memory-mapped, never loaded. ``index.json`` holds
the format's version, the rate, the loudness and, for every track, its name, group, start, length,
scale and CRC-32. A folder is written beside its place and renamed when everything is on disk.
"""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int16

from isincnet_jax import files
from isincnet_jax.data.corpus import Corpus, CorpusError, Track, check_tracks

_FORMAT = "isincnet corpus"
_VERSION = 1
INDEX, SAMPLES = "index.json", "samples.npy"


@contextlib.contextmanager
def new_folder(folder: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A temporary folder that takes its place if the block ends well.

    Args:
        folder: the place; it may exist if it is empty.
        overwrite: replace what is there, if that is a corpus or a folder of corpora.

    Yields:
        The folder to write to, beside the place.

    Raises:
        CorpusError: if something is there, the place cannot be written, or the disk is full.
    """
    folder = Path(folder)
    check_free(folder, overwrite=overwrite)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with files.replacing_folder(folder) as temporary:
            yield temporary
    except files.FileError as error:
        raise CorpusError(str(error)) from error
    except OSError as error:
        raise CorpusError(f"{folder}: cannot be written: {files.first_line(error)}") from error


def check_free(folder: str | Path, *, overwrite: bool = False) -> None:
    """Refuses a place where a corpus would replace something.

    Args:
        folder: the place.
        overwrite: whether a corpus, or a folder of corpora, may be replaced.

    Raises:
        CorpusError: if it is a file, or a folder that is not empty and, with ``overwrite``, not
            a corpus.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise CorpusError(f"{folder}: a file, not a folder to write to")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    is_corpus = (folder / INDEX).is_file() or any(folder.glob(f"*/{INDEX}"))
    if not overwrite:
        hint = "overwrite it (--overwrite), or use" if is_corpus else "use"
        raise CorpusError(f"{folder}: exists and is not empty; {hint} another folder")
    if not is_corpus:
        raise CorpusError(f"{folder}: is no corpus, and is not overwritten; use another folder")


class CorpusWriter:
    """Takes tracks one at a time; memory stays constant whatever the corpus.

    ``with CorpusWriter(folder, ...) as writer: writer.add(...)``, then ``writer.finish()``.
    The folder must exist; use :func:`new_folder` so that nothing half-written stays.
    """

    def __init__(
        self, folder: Path, *, sample_rate: int, loudness_db: float | None, source: str
    ) -> None:
        self._folder = folder
        self._tracks: list[Track] = []
        self._checksums: dict[str, int] = {}
        self._head: dict[str, Any] = {
            "sample_rate": sample_rate,
            "loudness_db": loudness_db,
            "source": source,
        }
        self._num_samples = 0
        self._file = open(folder / SAMPLES, "wb")  # noqa: SIM115 - closed by finish
        self._write_header()

    def __enter__(self) -> CorpusWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _write_header(self) -> None:
        # NumPy leaves room in the header for the length to grow.
        np.lib.format.write_array_header_1_0(
            self._file,
            {"descr": "<i2", "fortran_order": False, "shape": (self._num_samples,)},
        )

    def add(
        self, name: str, *, group: str, samples: Int16[np.ndarray, " time"], scale: float
    ) -> None:
        """Appends a track.

        Args:
            name: unique within the corpus; :meth:`finish` looks.
            group: genre, song or folder.
            samples: int16 [time].
            scale: factor from integers to the waveform.

        Raises:
            OSError: if the disk is full.
        """
        content = np.asarray(samples, dtype="<i2").tobytes()
        self._file.write(content)
        self._tracks.append(Track(name, group, self._num_samples, len(samples), scale))
        self._checksums[name] = zlib.crc32(content)
        self._num_samples += len(samples)

    def finish(self) -> None:
        """Puts everything on disk, the index last.

        Raises:
            CorpusError: if a name came twice or a track is empty.
            OSError: if the disk is full.
        """
        check_tracks(self._tracks, num_samples=self._num_samples, where=str(self._folder))
        self._file.seek(0)
        self._write_header()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        tracks = sorted(self._tracks, key=lambda track: track.name)
        index = {
            "format": _FORMAT,
            "version": _VERSION,
            **self._head,
            "num_samples": self._num_samples,
            "tracks": [{**asdict(track), "crc32": self._checksums[track.name]} for track in tracks],
        }
        files.write_text(self._folder / INDEX, json.dumps(index, indent=1, ensure_ascii=False))


def save_corpus(corpus: Corpus, folder: str | Path, *, overwrite: bool = False) -> None:
    """Writes a corpus to a folder, whole or not at all.

    Args:
        corpus: what to write; only the samples of its tracks are.
        folder: where to; must be missing or empty unless ``overwrite``.
        overwrite: replace a corpus that is there; the old one stays if writing fails.

    Raises:
        CorpusError: if the folder is taken, or cannot be written, a full disk included.
    """
    with new_folder(folder, overwrite=overwrite) as temporary:
        writer = CorpusWriter(
            temporary,
            sample_rate=corpus.sample_rate,
            loudness_db=corpus.loudness_db,
            source=corpus.source,
        )
        with writer:
            for track in corpus.tracks:
                samples = corpus.samples[track.start : track.start + track.length]
                writer.add(track.name, group=track.group, samples=samples, scale=track.scale)
            writer.finish()


def load_corpus(folder: str | Path, *, verify: bool = False) -> Corpus:
    """Opens a prepared corpus; its samples are memory-mapped.

    Args:
        folder: of ``samples.npy`` and ``index.json``.
        verify: also read all samples and compare the checksums.

    Returns:
        Its tracks are sorted by name.

    Raises:
        CorpusError: if it is missing, damaged, truncated, or of another version.
    """
    folder = Path(folder)
    index_path, samples_path = folder / INDEX, folder / SAMPLES
    index = _read_index(index_path)
    try:
        tracks = tuple(
            Track(
                name=str(entry["name"]),
                group=str(entry["group"]),
                start=int(entry["start"]),
                length=int(entry["length"]),
                scale=float(entry["scale"]),
            )
            for entry in index["tracks"]
        )
        checksums = [int(entry["crc32"]) for entry in index["tracks"]]
        sample_rate, num_samples = int(index["sample_rate"]), int(index["num_samples"])
        loudness_db, source = index["loudness_db"], str(index["source"])
    except (KeyError, TypeError, ValueError) as error:
        raise CorpusError(f"{index_path}: damaged: {error!r}") from error
    samples = _map_samples(samples_path, num_samples)
    check_tracks(tracks, num_samples=num_samples, where=str(index_path))
    for track, checksum in zip(tracks, checksums, strict=True) if verify else ():
        if zlib.crc32(samples[track.start : track.start + track.length].tobytes()) != checksum:
            raise CorpusError(f"{samples_path}: damaged: the samples of {track.name!r} changed")
    return Corpus(sample_rate, tracks, samples, loudness_db, source)


def _read_index(path: Path) -> dict[str, Any]:
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CorpusError(f"{path}: no such file; not a prepared corpus") from None
    except (OSError, ValueError) as error:
        raise CorpusError(f"{path}: cannot be read: {error}") from error
    if not isinstance(index, dict) or index.get("format") != _FORMAT:
        raise CorpusError(f"{path}: not the index of a prepared corpus")
    if index.get("version") != _VERSION:
        raise CorpusError(
            f"{path}: version={index.get('version')}: this program reads version {_VERSION}; "
            "prepare the corpus again"
        )
    return index


def _map_samples(path: Path, num_samples: int) -> np.ndarray:
    try:
        samples = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise CorpusError(f"{path}: no such file; the corpus is incomplete") from None
    except (OSError, ValueError, EOFError) as error:
        raise CorpusError(f"{path}: truncated or damaged: {error}") from error
    if samples.dtype != np.dtype("<i2") or samples.shape != (num_samples,):
        raise CorpusError(
            f"{path}: damaged: {samples.dtype} {samples.shape}, the index says int16 "
            f"({num_samples},)"
        )
    return samples
