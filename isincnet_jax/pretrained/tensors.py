"""Safetensors bytes of named arrays: a JSON header of dtypes, shapes and offsets, then the values.

References:
    Hugging Face, "Safetensors", section "Format", https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO

import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

_CODES = {"BOOL": "bool", "F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64"}
_CODES |= {f"I{bits}": f"int{bits}" for bits in (8, 16, 32, 64)}
_CODES |= {f"U{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)}
DTYPES = {code: jnp.dtype(name) for code, name in _CODES.items()}
"""The dtypes that can be stored, by their names in the header."""

_LENGTH_BYTES = 8  # the file begins with the header's length, little-endian
_LARGEST_HEADER = 1 << 20  # about 10,000 arrays; safetensors itself allows 100 MB


def pack(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Safetensors bytes of arrays, the same for the same arrays in any order.

    Args:
        arrays: of any shape, by name; of one of :data:`DTYPES`, in any byte order.

    Returns:
        The whole file; values are little-endian and C-contiguous.

    Raises:
        TypeError: for other dtypes, complex ones included.
        ValueError: for NaN and infinity.
    """
    plain = {}
    for name, values in sorted(arrays.items()):
        if values.dtype.name not in _CODES.values():
            raise TypeError(f"variable {name!r} of type {values.dtype} cannot be stored")
        check_finite(name, values)
        # safetensors copies an array's memory as it lies, whatever its strides.
        plain[name] = np.array(values, values.dtype.newbyteorder("="), order="C")
    return safetensors.numpy.save(plain)


def unpack(data: bytes) -> dict[str, np.ndarray]:
    """The inverse of :func:`pack`.

    Args:
        data: the whole file.

    Returns:
        Read-only arrays by name.

    Raises:
        ValueError: for other dtypes, NaN and infinity.
        safetensors.SafetensorError: for a torn file, or a header that does not fit its values.
    """
    arrays = {}
    # safetensors.numpy.load has no bfloat16.
    for name, tensor in safetensors.deserialize(data):
        if tensor["dtype"] not in DTYPES:
            raise ValueError(f"array {name!r}: dtype={tensor['dtype']!r} is unknown")
        # bytes are immutable, so that the arrays over them are too.
        values = np.frombuffer(bytes(tensor["data"]), DTYPES[tensor["dtype"]])
        arrays[name] = values.reshape(tensor["shape"])
        check_finite(name, values)
    return arrays


def check_finite(name: str, values: np.ndarray) -> None:
    """Refuses NaN and infinity.

    Args:
        name: of the variable, for the message.
        values: of any shape.

    Raises:
        ValueError: if there are any.
    """
    if not np.all(np.isfinite(values)):
        raise ValueError(f"variable {name!r} holds NaN or infinity")


def read_header(file: IO[bytes], size: int) -> bytes:
    """The header of a safetensors file, read only if it accounts for all of the file's bytes.

    Args:
        file: at its start.
        size: of the file, in bytes, as its folder or .zip states it.

    Returns:
        The bytes up to the first value; ``size`` less their number are left in ``file``.

    Raises:
        ValueError: for a header over 1 MiB, or a file of another size than the header says.
        KeyError, TypeError, AttributeError: for a header of another structure.
    """
    # u64 length of the header | header, JSON: {name: {dtype, shape, data_offsets}} | values
    start = file.read(_LENGTH_BYTES)
    length = int.from_bytes(start, "little")
    if length > min(_LARGEST_HEADER, size - _LENGTH_BYTES):
        raise ValueError(f"no safetensors: {size} bytes that claim a header of {length}")
    header = file.read(length)
    entries = json.loads(header).items()
    # Offsets count from the end of the header: the largest is the number of bytes that follow it.
    ends = [entry["data_offsets"][1] for name, entry in entries if name != "__metadata__"]
    whole = _LENGTH_BYTES + length + max(ends, default=0)
    if size != whole:
        raise ValueError(f"is of {size} bytes, its header describes {whole}: truncated or altered")
    return start + header
