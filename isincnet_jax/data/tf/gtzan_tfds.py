"""GTZAN as a TensorFlow dataset: built from local files, and read back.

The catalogue's own ``gtzan`` cannot be built any more, because it downloads from an address that
is dead. :func:`gtzan_builder` builds from what the user has and downloads nothing.
:func:`tfds_source` reads both, where they are prepared.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import logging
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from isincnet_jax import files
from isincnet_jax.data.audio_files import AudioError
from isincnet_jax.data.corpus import CorpusError
from isincnet_jax.data.gtzan_names import GENRES, KNOWN_CORRUPT, track_of
from isincnet_jax.data.sources import Decoded, NoDataError, Source, SourceTrack
from isincnet_jax.data.tf.tensorflow_import import import_tensorflow

_LOG = logging.getLogger(__name__)
_FULL_SCALE = 32_768  # of PCM16, as libsndfile divides


@functools.cache
def builder_class() -> type[Any]:
    """The builder, a ``tfds.core.GeneratorBasedBuilder`` over a :class:`Source`.

    Features: ``audio`` int16 [time] at the file's own rate, ``sample_rate`` Hz, ``label`` one of
    ten genres, ``name`` of the track.

    Returns:
        The class; the same at every call.

    Raises:
        ImportError: without TensorFlow Datasets.
    """
    _, tfds = import_tensorflow()

    base: Any = tfds.core.GeneratorBasedBuilder

    class GtzanBuilder(base, skip_registration=True):  # pyright: ignore[reportCallIssue]
        """GTZAN from local files."""

        url_infos: ClassVar[dict[str, Any]] = {}  # nothing is downloaded
        name = "isincnet_gtzan"
        VERSION = tfds.core.Version("1.0.0")

        def __init__(
            self, *, source: Source, assignment: dict[str, tuple[str, ...]], **options: Any
        ) -> None:
            self._source, self._assignment = source, assignment
            key = _key(source, assignment)
            config = tfds.core.BuilderConfig(name=key, description=source.title)
            super().__init__(config=config, **options)

        def _info(self) -> Any:
            features = {
                "audio": tfds.features.Tensor(
                    shape=(None,), dtype=np.int16, encoding=tfds.features.Encoding.BYTES
                ),
                "sample_rate": tfds.features.Scalar(dtype=np.int32),
                "label": tfds.features.ClassLabel(names=list(GENRES)),
                "name": tfds.features.Text(),
            }
            return tfds.core.DatasetInfo(
                builder=self,
                description="GTZAN from local files: mono, 16 bits, at the rate of the files.",
                features=tfds.features.FeaturesDict(features),
            )

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            del dl_manager  # nothing is downloaded
            return {
                split: self._generate_examples(names) for split, names in self._assignment.items()
            }

        def _generate_examples(self, names: Collection[str]) -> Iterator[tuple[str, dict]]:
            for track, decode in self._source.stream(frozenset(names)):
                try:
                    samples, rate = decode()
                except AudioError as error:
                    _LOG.warning("%s: skipped %s: %s", self._source.title, track.name, error)
                    continue
                integers = np.rint(np.mean(samples, axis=0, dtype=np.float32) * _FULL_SCALE)
                example = {
                    "audio": np.clip(integers, -_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16),
                    "sample_rate": rate,
                    "label": track.group,
                    "name": track.name,
                }
                yield track.name, example

    return GtzanBuilder


def _key(source: Source, assignment: dict[str, tuple[str, ...]]) -> str:
    content = [
        [(track.name, track.stamp) for track in source.tracks],
        {split: sorted(names) for split, names in assignment.items()},
    ]
    return files.content_digest(content)


def gtzan_builder(
    source: Source,
    assignment: dict[str, tuple[str, ...]],
    *,
    data_dir: str | Path,
    num_shards: int | None = None,
) -> Any:
    """Builds a TensorFlow dataset of GTZAN, or opens the one that was built from the same files.

    Args:
        source: of :func:`isincnet_jax.data.gtzan.gtzan_source`.
        assignment: names of each split, of :func:`isincnet_jax.data.preparation.assign_splits`.
        data_dir: where TensorFlow Datasets keeps what is built.
        num_shards: files of each split; chosen by size if None.

    Returns:
        The prepared ``tfds.core.DatasetBuilder``.

    Raises:
        ImportError: without TensorFlow Datasets.
        CorpusError: if it cannot be written, or a split has no track that can be read.
    """
    _, tfds = import_tensorflow()
    builder = builder_class()(source=source, assignment=assignment, data_dir=str(data_dir))
    config = tfds.download.DownloadConfig(
        try_download_gcs=False,
        num_shards=num_shards,
        compute_stats=tfds.download.ComputeStatsMode.SKIP,
    )
    tfds.disable_progress_bar()
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints
            builder.download_and_prepare(
                download_dir=str(Path(data_dir) / "downloads"), download_config=config
            )
    except (OSError, AssertionError) as error:
        raise CorpusError(f"{data_dir}: cannot be written: {error}") from error
    empty = [split for split in assignment if not builder.info.splits[split].num_examples]
    if empty:
        raise CorpusError(f"{source.title}: no track of the split {empty[0]} can be read")
    return builder


def open_split(builder: Any, split: str, *, names_only: bool = False) -> Any:
    """A ``tf.data.Dataset`` of a split in the order of its files, the same every time.

    Args:
        builder: prepared.
        split: of the dataset.
        names_only: decode nothing but the names of tracks.

    Returns:
        Examples as TensorFlow has them.
    """
    _, tfds = import_tensorflow()
    decoders = None
    if names_only:
        decoders = tfds.decode.PartialDecoding({_name_feature(builder): True})
    config = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
    return builder.as_dataset(
        split=split, shuffle_files=False, read_config=config, decoders=decoders
    )


def _name_feature(builder: Any) -> str:
    for feature in ("name", "audio/filename"):
        if feature in builder.info.features:
            return feature
    raise NoDataError(f"{builder.data_dir}: a TensorFlow dataset without names of tracks")


def example_rate(builder: Any, example: dict[str, Any]) -> Any:
    """The rate of an example in Hz: its feature, or else what the dataset says of all.

    Args:
        builder: of the dataset.
        example: of it, NumPy or TensorFlow.

    Returns:
        A scalar, NumPy's or TensorFlow's.

    Raises:
        CorpusError: if the dataset says nothing.
    """
    if "sample_rate" in example:
        return example["sample_rate"]
    rate = getattr(builder.info.features["audio"], "sample_rate", None)
    if rate is None:
        raise CorpusError(f"{builder.data_dir}: a TensorFlow dataset that does not say its rate")
    return rate


def example_name(builder: Any, example: dict[str, Any]) -> str:
    """The name of a track; its own bytes if they are no file name of GTZAN.

    Args:
        builder: of the dataset.
        example: of it, NumPy.

    Returns:
        "blues/blues.00000", say.
    """
    text = bytes(example[_name_feature(builder)]).decode()
    track = track_of(text.rpartition("/")[2])
    return text if track is None else track.name


def tfds_source(folder: Path) -> Source:
    """The tracks of a prepared TensorFlow dataset: of this module, or the catalogue's ``gtzan``.

    Args:
        folder: with ``dataset_info.json``.

    Returns:
        Tracks whose ``official`` split is the dataset's, if it has several.

    Raises:
        ImportError: without TensorFlow Datasets.
        NoDataError: if it holds no clips of GTZAN.
    """
    _, tfds = import_tensorflow()
    builder = tfds.builder_from_directory(str(folder))
    split_names = sorted(builder.info.splits)
    files = sorted(file for file in folder.iterdir() if file.is_file())
    listing = "".join(f"{f.name}:{f.stat().st_size}:{f.stat().st_mtime_ns};" for f in files)
    stamp = hashlib.sha256(listing.encode()).hexdigest()[:16]
    found: dict[str, SourceTrack] = {}
    missing: dict[str, str] = {}
    for split in split_names:
        official = split if len(split_names) > 1 else ""
        for example in tfds.as_numpy(open_split(builder, split, names_only=True)):
            name = example_name(builder, example)
            if name in KNOWN_CORRUPT:
                missing[name] = KNOWN_CORRUPT[name]
            else:
                group = name.partition("/")[0]
                found[name] = SourceTrack(name, group, official=official, stamp=stamp)
    if not found:
        raise NoDataError(f"{folder}: a TensorFlow dataset without clips")

    def stream(wanted: Collection[str]) -> Iterator[tuple[SourceTrack, Callable[[], Decoded]]]:
        for split in split_names:
            for example in tfds.as_numpy(open_split(builder, split)):
                name = example_name(builder, example)
                if name in wanted and name in found:
                    rate = int(example_rate(builder, example))
                    yield found[name], lambda e=example, r=rate: (to_float(e["audio"]), r)

    tracks = tuple(found[name] for name in sorted(found))
    return Source(f"gtzan {folder}", tracks, stream, missing)


def to_float(audio: np.ndarray) -> np.ndarray:
    """16-bit integers of any dtype [time], as float32 [1, time] in [-1, 1).

    Args:
        audio: [time], PCM16 in any integer dtype.

    Returns:
        float32 [1, time].
    """
    return (audio.astype(np.float32) / np.float32(_FULL_SCALE))[None]
