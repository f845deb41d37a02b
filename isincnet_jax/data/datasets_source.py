"""Source of the Audio column of a Hugging Face dataset, decoded by this package's readers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from isincnet_jax import extras
from isincnet_jax.data.audio_files import AudioError, read_audio
from isincnet_jax.data.audio_memory import read_audio_bytes
from isincnet_jax.data.corpus import CorpusError
from isincnet_jax.data.sources import Decoded, NoDataError, Source, SourceTrack
from isincnet_jax.data.splits import SPLIT_NAMES
from isincnet_jax.files import first_line, shown


def saved_source(path: str | Path | None, **options: Any) -> Source:
    """Source of a dataset on this disk, by ``datasets.load_from_disk``. Nothing is downloaded.

    Args:
        path: folder that ``Dataset.save_to_disk`` or ``DatasetDict.save_to_disk`` wrote.
        **options: of :func:`datasets_source`.

    Returns:
        See :func:`datasets_source`.

    Raises:
        NoDataError: if the folder is not there, or not such a dataset.
        CorpusError: if it is damaged, or its columns do not serve.
        ImportError: without ``datasets``.
    """
    with extras.importing("datasets"):
        import datasets  # noqa: PLC0415
    if path is None:
        raise NoDataError("source='datasets' needs a path (--config.data.path=DIR)")
    try:
        dataset = datasets.load_from_disk(str(path))
    except FileNotFoundError as error:
        raise NoDataError(
            f"{path}: no dataset that save_to_disk wrote; what the Hub or files hold goes there by "
            f"datasets.load_dataset(...).save_to_disk({str(path)!r})"
        ) from error
    except (OSError, ValueError, KeyError) as error:
        raise CorpusError(f"{path}: cannot be read: {first_line(error)}") from error
    return datasets_source(dataset, title=f"datasets {path}", **options)


def datasets_source(
    dataset: Any,
    *,
    audio: str | None = None,
    name: str | None = None,
    group: str | None = None,
    title: str = "datasets",
) -> Source:
    """Source of a ``datasets.Dataset``, or of the splits of a ``datasets.DatasetDict``.

    Files are decoded by :mod:`.audio_files`, as those of folders are, not by ``datasets``, which
    would need torchcodec for it; the audio of rows is read when they are streamed.

    Args:
        dataset: with a column of the feature ``datasets.Audio``; not an iterable (streamed) one,
            whose rows are not known before. Splits must be called train, validation and test; all
            rows of one split, or of a ``Dataset``, are divided anew.
        audio: the column of audio; the only one if None.
        name: column of names, unique; "train/000123", split and row, if None.
        group: column of the genre, a ``ClassLabel`` or text, which splits are stratified by.
        title: what it is, for messages.

    Returns:
        Tracks sorted by name.

    Raises:
        NoDataError: if there are no rows.
        CorpusError: for columns or splits that do not serve, or names that come twice.
        ImportError: without ``datasets``.
    """
    with extras.importing("datasets"):
        import datasets  # noqa: PLC0415
    parts = dataset if isinstance(dataset, Mapping) else {"train": dataset}
    unknown = sorted(set(parts) - set(SPLIT_NAMES))
    if unknown:
        raise CorpusError(f"{title}: split {unknown[0]!r}: use {', '.join(SPLIT_NAMES)}")
    rows: dict[str, tuple[SourceTrack, Any, tuple[int, str]]] = {}
    for split, part in parts.items():
        if not isinstance(part, datasets.Dataset):
            raise CorpusError(f"{title}: {type(part).__name__}: must be a Dataset, not streamed")
        column = _audio_column(part, audio, title=title, kind=datasets.Audio)
        raw = part.select_columns([column]).cast_column(column, datasets.Audio(decode=False))
        raw = raw.with_format(None)
        names = _texts(part, name, title=title) or [f"{split}/{row:06d}" for row in range(len(raw))]
        groups = _texts(part, group, title=title) or [""] * len(raw)
        official = split if len(parts) > 1 else ""
        for row, (own, its_group) in enumerate(zip(names, groups, strict=True)):
            if own in rows:
                raise CorpusError(f"{title}: {name}={own!r} comes twice; names must be unique")
            stamp = f"{part._fingerprint}:{row}"
            rows[own] = (
                SourceTrack(own, its_group, official=official, stamp=stamp),
                raw,
                (row, column),
            )
    if not rows:
        raise NoDataError(f"{title}: no rows")

    def stream(wanted: Collection[str]) -> Iterator[tuple[SourceTrack, Callable[[], Decoded]]]:
        for own in sorted(rows):
            if own in wanted:
                track, raw, (row, column) = rows[own]
                yield track, _decoder(raw[row][column], own)

    return Source(title, tuple(rows[own][0] for own in sorted(rows)), stream)


def _decoder(audio: dict[str, Any] | None, name: str) -> Callable[[], Decoded]:
    """Decodes the stored bytes of a row, or the file that it names."""
    audio = audio or {}
    content, path = audio.get("bytes"), audio.get("path")

    def decode() -> Decoded:
        if content is not None:
            file_name = f"audio{Path(path).suffix}" if path else "audio"
            return read_audio_bytes(content, file_name=file_name, where=name)
        if path is None:
            raise AudioError(f"{name}: no audio in this row")
        return read_audio(path)

    return decode


def _audio_column(part: Any, audio: str | None, *, title: str, kind: type) -> str:
    found = [column for column, feature in part.features.items() if isinstance(feature, kind)]
    if audio is None and len(found) == 1:
        return found[0]
    if audio in found:
        return str(audio)
    what = f"audio={audio!r}: no such column" if audio else f"{len(found)} columns"
    raise CorpusError(
        f"{title}: {what} of the feature Audio; there are {', '.join(found) or 'none'}"
        + ("" if found else ", use dataset.cast_column(NAME, datasets.Audio())")
    )


def _texts(part: Any, column: str | None, *, title: str) -> list[str] | None:
    """What a column says of each row; labels by their names."""
    if column is None:
        return None
    if column not in part.column_names:
        columns = ", ".join(part.column_names)
        raise CorpusError(f"{title}: column {column!r} is not there; there are {columns}")
    label = getattr(part.features[column], "int2str", None)
    values = part.with_format(None)[column]
    return [shown(str(label(value) if label and value is not None else value)) for value in values]
