"""Named arrays as an .npz without pickles, and a table of their shapes and dtypes.

The .npz can be read with :func:`numpy.load`. NumPy's format has no bfloat16: such arrays are
stored as their bits, uint16, and the table says what they are.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.lib import format as npy_format

_INTEGERS = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
_FLOATS = ["float16", "bfloat16", "float32", "float64", "complex64", "complex128"]
_DTYPES = {name: jnp.dtype(name) for name in ["bool", *_INTEGERS, *_FLOATS]}
_BITS = {"bfloat16": np.dtype("<u2")}

Table = dict[str, dict[str, Any]]
"""Of every array ``{"dtype": name, "shape": [...]}``."""


def pack_arrays(arrays: Mapping[str, np.ndarray]) -> tuple[bytes, Table]:
    """Arrays by name to the bytes of an .npz, the same for the same arrays, and their table.

    Raises:
        TypeError: for arrays that are neither numbers nor booleans.
        ValueError: for NaN and infinity.
    """
    table: Table = {}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, values in sorted(arrays.items()):
            if values.dtype.name not in _DTYPES:
                raise TypeError(f"variable {name!r} of type {values.dtype} cannot be stored")
            check_finite(name, values)
            table[name] = {"dtype": values.dtype.name, "shape": list(values.shape)}
            plain = np.array(values, order="C").view(_BITS.get(values.dtype.name, values.dtype))
            plain = plain.astype(plain.dtype.newbyteorder("<"))
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                npy_format.write_array(member, plain, version=(1, 0), allow_pickle=False)
    return buffer.getvalue(), table


def check_finite(name: str, values: np.ndarray) -> None:
    """Raises ValueError for NaN and infinity."""
    if not np.all(np.isfinite(values)):
        raise ValueError(f"variable {name!r} holds NaN or infinity")


def unpack_arrays(data: bytes, table: Table) -> dict[str, np.ndarray]:
    """The inverse of :func:`pack_arrays`.

    Raises:
        ValueError: if the .npz does not hold exactly what the table says; also whatever zip and
            npy raise on torn files.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        stored = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
        missing, surplus = sorted(set(table) - set(stored)), sorted(set(stored) - set(table))
        if missing:
            raise ValueError(f"array {missing[0]!r} is missing")
        if surplus or len(archive.infolist()) != len(stored):
            raise ValueError(f"array {(surplus or sorted(stored))[0]!r} is one too many")
        if any(member.compress_type != zipfile.ZIP_STORED for member in stored.values()):
            raise ValueError("compressed arrays, which no stored model has")
        return {name: _read(archive, stored[name], name, table[name]) for name in sorted(table)}


def _read(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, entry: Mapping[str, Any]
) -> np.ndarray:
    if entry["dtype"] not in _DTYPES:
        raise ValueError(f"array {name!r}: dtype={entry['dtype']!r} is unknown")
    dtype, expected = _DTYPES[entry["dtype"]], tuple(entry["shape"])
    plain = _BITS.get(dtype.name, dtype)
    with archive.open(info) as member:
        version = npy_format.read_magic(member)
        if version != (1, 0):
            raise ValueError(f"array {name!r}: npy version {version}, expected (1, 0)")
        shape, fortran_order, found = npy_format.read_array_header_1_0(member)
        if fortran_order or found != plain or shape != expected:
            raise ValueError(
                f"array {name!r}: {found} of shape {shape}, expected {plain} of {expected}"
            )
        values = np.frombuffer(member.read(), plain).reshape(expected).view(dtype)
    check_finite(name, values)
    return values
