"""PyTorch checkpoints: their tensors without PyTorch, and without running their code.

A ``.ckpt`` or ``.pt`` file is a zip of uncompressed members: ``<root>/data.pkl``, a pickle that
names storages, and ``<root>/data/<key>``, their bytes. Unpickling runs whatever callables the
pickle names, so the unpickler here knows four names and the storage types, all of which it
answers with harmless functions of its own, and refuses everything else.
"""

from __future__ import annotations

import collections
import io
import pickle
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

_LARGEST_PICKLE = 1 << 22
_LARGEST_ARCHIVE = 1 << 31

_STORAGE_TYPES = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    "ComplexFloatStorage": np.dtype("<c8"),
    "ComplexDoubleStorage": np.dtype("<c16"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("<i1"),
    "ByteStorage": np.dtype("<u1"),
    "BoolStorage": np.dtype("?"),
}


class CheckpointError(ValueError):
    """A file that is no checkpoint of plain tensors; the message names the file and the reason."""


class _StorageType(NamedTuple):
    dtype: np.dtype


class _Storage(NamedTuple):
    values: np.ndarray


def _rebuild_tensor(
    storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any = False, *_rest: Any
) -> np.ndarray:
    """A tensor as a copy of a strided view into its storage, bounds checked."""
    if not isinstance(storage, _Storage) or not isinstance(size, tuple):
        raise pickle.UnpicklingError("a tensor without a storage")
    numbers = (offset, *size, *stride)
    if len(size) != len(stride) or any(type(n) is not int or n < 0 for n in numbers):
        raise pickle.UnpicklingError("a tensor with an impossible layout")
    # Index of the last element that the view touches.
    reach = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    count = int(np.prod(size, dtype=object))
    if count and (reach >= storage.values.size or count > storage.values.size):
        raise pickle.UnpicklingError("a tensor that reaches beyond its storage")
    if not count:
        return np.zeros(size, storage.values.dtype)
    steps = tuple(step * storage.values.itemsize for step in stride)
    view = np.lib.stride_tricks.as_strided(storage.values[offset:], size, steps, writeable=False)
    return view.copy()


def _rebuild_parameter(data: Any, *_rest: Any) -> Any:
    return data


class _TensorUnpickler(pickle.Unpickler):
    """An unpickler that can build dictionaries, lists, numbers, strings and tensors."""

    def __init__(self, archive: zipfile.ZipFile, root: str, data: bytes) -> None:
        super().__init__(io.BytesIO(data))
        self._archive = archive
        self._root = root

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        known = {
            ("collections", "OrderedDict"): collections.OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
            ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
        }
        if (module_name, global_name) in known:
            return known[module_name, global_name]
        if module_name == "torch" and global_name in _STORAGE_TYPES:
            return _StorageType(_STORAGE_TYPES[global_name])
        raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}, which is refused")

    def persistent_load(self, pid: Any) -> _Storage:
        if not isinstance(pid, tuple) or len(pid) != 5 or pid[0] != "storage":
            raise pickle.UnpicklingError("an unknown kind of reference")
        _, kind, key, _device, count = pid
        if not isinstance(kind, _StorageType) or not str(key).isalnum():
            raise pickle.UnpicklingError("a storage of unknown type or name")
        data = self._archive.read(f"{self._root}/data/{key}")
        values = np.frombuffer(data, kind.dtype)
        if type(count) is not int or values.size != count:
            raise pickle.UnpicklingError(f"storage {key} is damaged")
        return _Storage(values)


def read_tensors(path: str | Path) -> tuple[str, dict[str, Any]]:
    """Reads a checkpoint.

    Args:
        path: a zip-format PyTorch checkpoint.

    Returns:
        The name of the archive's root folder, and the unpickled dictionary with every tensor as
        a NumPy array.

    Raises:
        CheckpointError: for a file that is no such archive, is damaged, is over 2 GB, or names
            anything but plain tensors.
        FileNotFoundError: if there is no file.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with zipfile.ZipFile(path) as archive:
            root = _check_archive(archive)
            content = _TensorUnpickler(archive, root, archive.read(f"{root}/data.pkl")).load()
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None
    except (OSError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path}: not a zip-format checkpoint ({error})") from None
    except Exception as error:  # a hostile pickle can raise anything at all
        raise CheckpointError(f"{path}: not a checkpoint of plain tensors: {error}") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, not a dictionary")
    return root, content


def _check_archive(archive: zipfile.ZipFile) -> str:
    pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise CheckpointError("no data.pkl inside: not a PyTorch checkpoint")
    members = archive.infolist()
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise CheckpointError("compressed members, which no checkpoint has")
    if sum(member.file_size for member in members) > _LARGEST_ARCHIVE:
        raise CheckpointError("over 2 GB")
    if archive.getinfo(pickles[0]).file_size > _LARGEST_PICKLE:
        raise CheckpointError("its index is over 4 MB")
    root = pickles[0].removesuffix("/data.pkl")
    order = f"{root}/byteorder"
    if order in archive.namelist() and archive.read(order).strip() != b"little":
        raise CheckpointError("big-endian tensors are not supported")
    return root
