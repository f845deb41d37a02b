"""Spectrogram files for vocoders, .npz, read and written part by part.

The archive holds ``spectrogram``, float32 [frames, bins], and one small array for every fact:
``format``, ``scale`` ("linear"), ``length`` (samples of the recording) and the fields of a
:class:`.features.VocoderFeatures`: ``kind``, ``sample_rate``, ``hop_length``,
``n_fft``, ``win_length``; for mel spectrograms ``n_mels``, ``fmin`` and ``fmax`` (0 for half the
rate); for banks ``bank``, JSON. :func:`numpy.load` reads it, and :func:`numpy.savez` can write it.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from isincnet_jax.vocoders.features import VocoderFeatures

FORMAT = "isincnet spectrogram 1"
_SCALES = ("linear",)
_LOCAL_HEADER = 30
_LARGEST_FACT = 1 << 20
_TEXT = ("format", "scale", "kind", "bank")


class SpectrogramFileError(ValueError):
    """A file that holds no spectrogram for vocoders; the message names it and why."""


class StoredSpectrogram(NamedTuple):
    """Spectrogram of a file, and what it is of.

    Attributes:
        spectrogram: linear magnitudes, float32 [frames, bins], mapped from the file where it can
            be; its values are not checked yet.
        features: what they are.
        length: samples of the recording.
    """

    spectrogram: np.ndarray
    features: VocoderFeatures
    length: int


def write_spectrogram(
    path: str | Path,
    parts: Iterable[np.ndarray],
    *,
    features: VocoderFeatures,
    num_frames: int,
    length: int,
) -> None:
    """Writes a spectrogram, part by part.

    Args:
        path: the .npz.
        parts: float [frames, bins], ``num_frames`` of them together.
        features: what they are.
        num_frames: of all parts.
        length: samples of the recording.

    Raises:
        ValueError: if the parts have other shapes.
    """
    facts = {"format": FORMAT, "scale": "linear", "length": length, **features.facts()}
    if "bank" in facts:
        facts["bank"] = json.dumps(facts["bank"], sort_keys=True)
    facts = {name: 0.0 if value is None else value for name, value in facts.items()}
    shape = (num_frames, features.num_bins)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, value in facts.items():
            buffer = io.BytesIO()
            np.save(buffer, np.asarray(value), allow_pickle=False)
            # A ZipInfo of our own has no time: the same spectrogram is the same bytes.
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), buffer.getvalue())
        with archive.open("spectrogram.npy", "w", force_zip64=True) as member:
            head = {"descr": "<f4", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(member, head)  # type: ignore[arg-type]
            written = 0
            for part in parts:
                if part.ndim != 2 or part.shape[1] != shape[1]:
                    raise ValueError(f"part.shape={part.shape}: [frames, {shape[1]}] is expected")
                member.write(np.ascontiguousarray(part, "<f4").tobytes())
                written += len(part)
    if written != num_frames:
        raise ValueError(f"{written} frames came, {num_frames} were promised")


def read_spectrogram(path: str | Path) -> StoredSpectrogram:
    """Opens a spectrogram.

    Args:
        path: the .npz; facts of more than 1 MiB are refused before they are read.

    Returns:
        The array, mapped where it can be, and what it is.

    Raises:
        SpectrogramFileError: for what is no such file, is damaged, or misses a fact.
        FileNotFoundError: if there is none.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("is no .npz archive, or a truncated one")
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            names = set(archive.files)
            _check_sizes(path)
            small = {name: archive[name] for name in names - {"spectrogram"}}
        if "spectrogram" not in names:
            held = ", ".join(sorted(names)[:5]) or "nothing"
            raise ValueError(f"has no array 'spectrogram', but {held}")
        spectrogram = _mapped(path)
        features, length = _facts(small, spectrogram)
    except Exception as error:  # a torn file can fail in any layer of zip and npy
        reason = f"field {error} is missing" if isinstance(error, KeyError) else error
        raise SpectrogramFileError(
            f"{path}: {reason}; isincnet vocoder spectrogram writes such files"
        ) from error
    return StoredSpectrogram(spectrogram, features, length)


def _check_sizes(path: Path) -> None:
    """Refuses facts that are no facts, before they are read."""
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if entry.filename != "spectrogram.npy" and entry.file_size > _LARGEST_FACT:
                raise ValueError(f"{entry.filename} is of {entry.file_size} bytes, too large")


def _mapped(path: Path) -> np.ndarray:
    """The spectrogram's array, mapped if it is stored without compression."""
    with zipfile.ZipFile(path) as archive, archive.open("spectrogram.npy") as member:
        entry = archive.getinfo("spectrogram.npy")
        version = np.lib.format.read_magic(member)
        read: Callable[..., Any] = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, fortran_order, dtype = read(member)
        header = member.tell()
        if dtype.hasobject or dtype.kind not in "fiuc":
            raise ValueError(f"spectrogram is of {dtype}, no array of numbers")
        if entry.file_size != header + dtype.itemsize * math.prod(shape):
            raise ValueError("spectrogram is truncated")
        if entry.compress_type != zipfile.ZIP_STORED:
            return np.load(path, allow_pickle=False)["spectrogram"]
    if not np.prod(shape):
        return np.zeros(shape, dtype)
    with path.open("rb") as file:
        file.seek(entry.header_offset)
        local = file.read(_LOCAL_HEADER)
    # The names' and the extra field's lengths stand at the end of the local header.
    begin = (
        entry.header_offset
        + _LOCAL_HEADER
        + sum(int.from_bytes(local[place : place + 2], "little") for place in (26, 28))
    )
    # The array's values begin behind the npy header, at a fixed place of the archive.
    order: Any = "F" if fortran_order else "C"
    return np.memmap(path, dtype, "r", begin + header, shape, order)


def _facts(arrays: dict[str, np.ndarray], spectrogram: np.ndarray) -> tuple[VocoderFeatures, int]:
    if "scale" in arrays and str(arrays["scale"]) not in _SCALES:
        raise ValueError(
            f"scale={str(arrays['scale'])!r}: vocoders take linear magnitudes; undo it, "
            "10 ** (decibels / 20) say, and write scale='linear'"
        )
    fields: dict[str, Any] = {
        name: str(value) if name in _TEXT else value.item() for name, value in arrays.items()
    }
    if fields.pop("format") != FORMAT:
        raise ValueError(f"format={str(arrays['format'])!r}: this version reads {FORMAT!r}")
    fields.pop("scale")
    length = int(fields.pop("length"))
    if "bank" in fields:
        fields["bank"] = json.loads(fields["bank"])
    if fields["kind"].startswith("mel"):
        fields["fmax"] = fields["fmax"] or None
    needed = ("sample_rate", "hop_length", "n_fft", "win_length")
    for name in needed if fields["kind"] != "bank" else needed[:2]:
        fields[name]  # a missing one raises KeyError
    features = VocoderFeatures.from_facts(fields)
    if spectrogram.ndim != 2:
        raise ValueError(f"spectrogram.shape={spectrogram.shape}: [frames, bins] is expected")
    return features, length
