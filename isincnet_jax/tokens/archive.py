"""Spectrogram archives: coefficients or codes of one recording in an .npz file.

Members, all readable with :func:`numpy.load`:

- ``header``: JSON: format version, spec, model name, length, rates, quantizer settings;
- ``codes`` (uint8 or uint16) or ``coefficients`` (float32): [frames, audio channels, channels];
- ``scales``: float32 [audio channels or 1, 1, channels], with codes only.

Rows are written and read in chunks, so that memory does not grow with the recording.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, get_args

import numpy as np
from numpy.lib import format as npy_format

from isincnet_jax.bank.quantizer import Code, Quantizer
from isincnet_jax.bank.spec import FilterbankSpec
from isincnet_jax.dsp import companding, meanings, settling
from isincnet_jax.files import first_line

_FORMAT = 1
_COPY_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 28
_MOST_BINS, _LARGEST_BANK = 1 << 18, 1 << 26  # taps of all bins: half a gigabyte in float64
_LARGEST_HEADER, _NPY_HEADER = 1 << 20, 1 << 12  # bytes
MOST_AUDIO_CHANNELS = 1024
"""Of a recording, as libsndfile has it."""


class ArchiveError(ValueError):
    """An .npz that is no intact spectrogram archive; the message names the file and the reason."""


@dataclasses.dataclass(frozen=True)
class Header:
    """Header of an archive: bank, codec, lengths, rates and code of a recording.

    Attributes:
        spec: the bank that made the coefficients.
        model: name of the codec.
        length: samples per audio channel at ``spec.sample_rate``.
        original_length: samples of the recording at its own rate.
        original_rate: Hz, of the recording.
        q_bits: bits per code; 0 for coefficients.
        mu: companding of the codes.
        code: "symmetric" or "reference".

    Raises:
        ValueError, TypeError: at construction, for values that no recording has.
    """

    spec: FilterbankSpec
    model: str
    length: int
    original_length: int
    original_rate: int
    q_bits: int = 0
    mu: float = 0.0
    code: str = "symmetric"

    def __post_init__(self) -> None:
        settling.settle_fields(self)
        for name in ("length", "original_length", "original_rate"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name}={value!r} must be a positive integer")
        if not isinstance(self.model, str):
            raise TypeError(f"model={self.model!r} must be a name")
        if self.q_bits == 0:
            return
        companding.check_q_bits(self.q_bits)
        if self.code not in get_args(Code) or not 0 < self.mu < math.inf:
            raise ValueError(f"code={self.code!r} with mu={self.mu!r} is no code")

    def to_json(self) -> str:
        """The header as text.

        Returns:
            JSON with sorted names, the format version among them.
        """
        values = {**dataclasses.asdict(self), "spec": self.spec.to_dict()}
        return json.dumps({"format": _FORMAT, **values}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Header:
        """The inverse of :meth:`to_json`.

        Args:
            text: of a file; anything is refused without anything large being made.

        Returns:
            The header.

        Raises:
            ValueError, KeyError, TypeError, AttributeError: if the text is no header of this
                version.
        """
        values = json.loads(text)
        version = values.pop("format")
        if version != _FORMAT:
            raise ValueError(f"format {version}, this version reads {_FORMAT}")
        # Of a bank beyond all bounds nothing of its size is made.
        num_bins, taps = values["spec"]["num_bins"], values["spec"]["kernel_size"]
        if not (1 <= num_bins <= _MOST_BINS and 1 <= taps <= _LARGEST_BANK // num_bins):
            raise ValueError(f"a bank of {num_bins} x {taps} taps is out of bounds")
        return cls(**{**values, "spec": FilterbankSpec.from_dict(values["spec"])})


def write_archive(
    path: str | Path,
    chunks: Iterable[np.ndarray],
    *,
    make_header: Callable[[], Header],
    scales: np.ndarray | None = None,
) -> int:
    """Writes an archive at ``path`` (not atomic: give a temporary path and rename).

    Args:
        path: where to.
        chunks: rows [frames, audio channels, channels] of one dtype.
        make_header: called when all rows have passed by, when the length is known.
        scales: of the quantizer, with codes.

    Returns:
        Frames written.

    Raises:
        ValueError: if there are no rows.
    """
    path = Path(path)
    frames = 0
    shape: tuple[int, ...] = ()
    dtype = np.dtype(np.float32)
    with tempfile.TemporaryFile(dir=path.parent) as spool:
        for chunk in chunks:
            spool.write(np.ascontiguousarray(chunk).tobytes())
            frames, shape, dtype = frames + len(chunk), chunk.shape[1:], chunk.dtype
        if not frames:
            raise ValueError("a recording without frames cannot be stored")
        # The header comes first in the file, but is known last.
        spool.seek(0)
        header = make_header()
        # Codes deflate; mantissas of coefficients do not.
        method = zipfile.ZIP_DEFLATED if header.q_bits else zipfile.ZIP_STORED
        with zipfile.ZipFile(path, "w", method, compresslevel=6 if header.q_bits else None) as out:
            _write_array(out, "header", np.asarray(header.to_json()))
            if scales is not None:
                scales = np.asarray(scales, np.float32)
                scales = scales.reshape((1,) * (3 - scales.ndim) + scales.shape)
                _write_array(out, "scales", scales)
            name = "codes" if header.q_bits else "coefficients"
            with out.open(f"{name}.npy", "w", force_zip64=True) as member:
                _write_npy_header(member, dtype, (frames, *shape))
                while data := spool.read(_COPY_BYTES):
                    member.write(data)
    return frames


def _write_array(archive: zipfile.ZipFile, name: str, array: np.ndarray) -> None:
    with archive.open(f"{name}.npy", "w") as member:
        npy_format.write_array(member, array, allow_pickle=False)


def _write_npy_header(member: IO[bytes], dtype: np.dtype, shape: tuple[int, ...]) -> None:
    description = {
        "descr": npy_format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": shape,
    }
    npy_format.write_array_header_2_0(member, description)


class ArchiveReader:
    """An open archive: header, scales, and its rows in chunks.

    Raises:
        ArchiveError: if the file is no intact archive, its checksums included (those of the
            rows when the last one has been read).
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            reason = "not a file" if self.path.exists() else "no such file"
            raise ArchiveError(f"{path}: {reason}")
        with contextlib.ExitStack() as opened:
            try:
                self._zip = opened.enter_context(zipfile.ZipFile(self.path))
                self.header = Header.from_json(str(self._read("header", _LARGEST_HEADER)))
                self.scales = self._read_scales() if self.header.q_bits else None
            except meanings.MeaningError as error:  # the file is as it was written
                raise ArchiveError(f"{path}: {error}") from error
            except Exception as error:  # zip, npy and JSON each raise their own
                raise ArchiveError(
                    f"{path}: no spectrogram archive ({first_line(error)})"
                ) from error
            opened.pop_all()

    def __enter__(self) -> ArchiveReader:
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self._zip.close()

    def _read(self, name: str, largest: int) -> np.ndarray:
        size = self._zip.getinfo(f"{name}.npy").file_size
        if size > largest:  # before it is read
            raise ValueError(f"its {name} is of {size} bytes, at most {largest} are allowed")
        with self._zip.open(f"{name}.npy") as member:
            return npy_format.read_array(member, allow_pickle=False)

    def _read_scales(self) -> np.ndarray:
        channels = self.header.spec.num_channels
        scales = self._read("scales", _NPY_HEADER + 4 * channels * MOST_AUDIO_CHANNELS)
        if scales.dtype != np.float32 or scales.ndim != 3 or scales.shape[1] != 1:
            raise ValueError(f"scales of type {scales.dtype} and shape {scales.shape}")
        if scales.shape[2] not in (1, channels):
            raise ValueError(f"scales of {scales.shape[2]} channels, the bank has {channels}")
        if not (np.isfinite(scales).all() and (scales > 0).all()):
            raise ValueError("scales that are not positive numbers")
        return scales

    def quantizer(self) -> Quantizer | None:
        """Quantizer of the codes.

        Returns:
            The quantizer with its scales; None if the archive holds coefficients.
        """
        header = self.header
        if not header.q_bits or self.scales is None:
            return None
        return Quantizer(self.scales, header.q_bits, header.mu, header.code)  # type: ignore[arg-type]

    def rows(self, frames_per_chunk: int = 2048) -> Iterator[np.ndarray]:
        """Rows of codes or coefficients in chunks, so that memory does not grow with the recording.

        Args:
            frames_per_chunk: at most, at least 1; fewer where a chunk would exceed 256 MiB.

        Yields:
            [frames, audio channels, channels]: uint8 or uint16 codes, or float32 coefficients.

        Raises:
            ArchiveError: if they do not fit the header, or are damaged.
        """
        name = "codes" if self.header.q_bits else "coefficients"
        try:
            with self._zip.open(f"{name}.npy") as member:
                shape, dtype = _read_npy_header(member)
                self._check_rows(shape, dtype)
                # Bytes of one frame, all audio channels.
                row_bytes = math.prod(shape[1:]) * dtype.itemsize
                frames_per_chunk = max(1, min(frames_per_chunk, _CHUNK_BYTES // row_bytes))
                for start in range(0, shape[0], frames_per_chunk):
                    count = min(frames_per_chunk, shape[0] - start)
                    data = member.read(count * row_bytes)
                    if len(data) < count * row_bytes:
                        raise ValueError("it ends early")
                    chunk = np.frombuffer(data, dtype).reshape((count, *shape[1:]))
                    if dtype.kind == "f" and not np.isfinite(chunk).all():
                        raise ValueError("NaN or infinite coefficients")
                    if dtype.kind == "u" and chunk.max() >> self.header.q_bits:
                        raise ValueError(f"codes of more than {self.header.q_bits} bits")
                    yield chunk
                if member.read(1):
                    raise ValueError("it has bytes beyond its end")
        except ArchiveError:
            raise
        except Exception as error:  # zlib, zip and npy each raise their own
            raise ArchiveError(f"{self.path}: damaged ({first_line(error)})") from error

    def _check_rows(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        header = self.header
        quantizer = self.quantizer()
        expected = np.dtype(np.float32) if quantizer is None else quantizer.storage_dtype
        if len(shape) != 3 or shape[2] != header.spec.num_channels or dtype != expected:
            raise ArchiveError(
                f"{self.path}: {dtype} of shape {shape} does not fit its header "
                f"({header.spec.num_channels} channels, {expected})"
            )
        frames = header.spec.bank.frame_grid(header.length).num_frames
        if shape[1] > MOST_AUDIO_CHANNELS:
            raise ArchiveError(f"{self.path}: {shape[1]} audio channels, which no recording has")
        if shape[0] != frames or not shape[1]:
            raise ArchiveError(
                f"{self.path}: {shape[0]} frames of {shape[1]} audio channels, but "
                f"{header.length} samples have {frames} frames"
            )
        if self.scales is not None and self.scales.shape[0] not in (1, shape[1]):
            raise ArchiveError(
                f"{self.path}: scales of {self.scales.shape[0]} audio channels for codes of "
                f"{shape[1]}"
            )


def _read_npy_header(member: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    version = npy_format.read_magic(member)
    read = (
        npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
    )
    shape, fortran_order, dtype = read(member)
    if fortran_order or dtype.hasobject:
        raise ValueError("an unexpected array layout")
    return shape, dtype
