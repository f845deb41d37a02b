"""Stored model's files, in a folder or in a .zip, whole or not at all."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import IO

from isincnet_jax import files
from isincnet_jax.pretrained import tensors

CONFIG = "config.json"
"""What the model is, and the digest of its weights."""
WEIGHTS = "model.safetensors"
"""The variables by their paths."""
CARD = "README.md"
FORMAT_1 = ("model.json", "variables.npz")
"""What earlier versions wrote; refused with what to do, and may be replaced."""

_LARGEST = {CONFIG: 1 << 22, WEIGHTS: 1 << 29}  # bytes
_SMALL, _HIGHEST_RATIO = 1 << 26, 100  # of compression


class ModelFileError(ValueError):
    """A folder or .zip that is no intact stored model; the message names the file and why."""


def read_members(path: str | Path) -> dict[str, bytes]:
    """The bytes of :data:`CONFIG` and :data:`WEIGHTS`; a .zip is never unpacked to disk.

    Sizes are checked before anything of that size is read: 4 MiB and 512 MiB at most, and the
    weights' must be what their own header says. The model card is not read.

    Args:
        path: the folder or .zip.

    Returns:
        Bytes by the names of the files.

    Raises:
        ModelFileError: if one is missing, torn or too large, a .zip holds anything else, or an
            earlier version wrote it.
        FileNotFoundError: if there is no such folder or file.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such folder or file")
    try:
        return _read_folder(path) if path.is_dir() else _read_zip(path)
    except ModelFileError:
        raise
    except Exception as error:  # zip and zlib each raise their own
        raise ModelFileError(f"{path}: cannot be read ({error})") from error


def _read_folder(path: Path) -> dict[str, bytes]:
    contents: dict[str, bytes] = {}
    if not (path / CONFIG).exists() and (path / FORMAT_1[0]).exists():
        raise _earlier(path)
    for name in _LARGEST:
        if not (path / name).is_file():
            raise ModelFileError(f"{path}: has no {name}; not a folder of export_pretrained")
        with (path / name).open("rb") as file:
            contents[name] = _read(path, name, file, os.fstat(file.fileno()).st_size)
    return contents


def _earlier(path: Path) -> ModelFileError:
    return ModelFileError(
        f"{path}: holds {' and '.join(FORMAT_1)}, format 1 of an earlier version; this one reads "
        f"{CONFIG} and {WEIGHTS}: export the model again from its run, or load it with the "
        "version that wrote it"
    )


def _read(path: Path, name: str, file: IO[bytes], size: int) -> bytes:
    """A member of a stated size; what is larger than any model, or than it says, is not read."""
    if size > _LARGEST[name]:
        raise ModelFileError(
            f"{path}: {name} is over {_LARGEST[name]} bytes, larger than any model"
        )
    if name != WEIGHTS:
        return file.read(size)
    try:
        header = tensors.read_header(file, size)
    except Exception as error:  # JSON of another's making can be wrong in any way
        raise ModelFileError(f"{path}: {name}: {str(error) or type(error).__name__}") from error
    return header + file.read(size - len(header))


def _read_zip(path: Path) -> dict[str, bytes]:
    if not path.is_file():
        raise ModelFileError(f"{path}: neither a folder nor a file")
    contents: dict[str, bytes] = {}
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if sorted(names) == sorted(FORMAT_1):
            raise _earlier(path)
        if sorted({CARD, *names}) != sorted([CARD, *_LARGEST]) or len(names) > len(set(names)):
            held = ", ".join(map(repr, names[:4])) or "nothing"
            raise ModelFileError(
                f"{path}: holds {held}; expected {CONFIG} and {WEIGHTS}, once each, and perhaps "
                f"{CARD}"
            )
        for name in _LARGEST:
            entry = archive.getinfo(name)
            if entry.file_size > max(_SMALL, _HIGHEST_RATIO * entry.compress_size):
                raise ModelFileError(
                    f"{path}: {name}: {entry.compress_size} bytes that claim to be "
                    f"{entry.file_size}, which no weights become"
                )
            with archive.open(name) as member:  # reads at most the size that it states
                contents[name] = _read(path, name, member, entry.file_size)
    return contents


def _check_writable(path: Path, *, overwrite: bool) -> None:
    """Refuses to write over anything but a stored model, and over one unless ``overwrite``."""
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {path.parent}; create it first")
    if not path.exists():
        return
    if not overwrite:
        raise FileExistsError(f"{path}: exists; give another path or overwrite=True")
    if path.is_dir() != (path.suffix.lower() != ".zip"):
        kind = "folder" if path.is_dir() else "file"
        raise FileExistsError(f"{path}: is a {kind}; a .zip is a file, anything else a folder")
    if path.is_dir():
        ours = {*_LARGEST, CARD, *FORMAT_1}
        others = sorted({entry.name for entry in path.iterdir()} - ours)
        if others:
            raise FileExistsError(
                f"{path}: holds {others[0]!r}; overwrite=True replaces stored models only"
            )


def write_members(path: str | Path, members: dict[str, bytes], *, overwrite: bool) -> None:
    """Writes a .zip if the path ends so, else a folder: beside the target, then renamed.

    A folder that is overwritten is away for the moment between two renames; whoever reads sees
    the old model, none or the new one, never a mixture.

    Args:
        path: the folder or .zip to make; its parent exists.
        members: bytes by the names of the files.
        overwrite: replace a stored model, of an earlier version too.

    Raises:
        FileExistsError: if something is there, unless it is a stored model and ``overwrite``.
        FileNotFoundError: if there is no folder to write it into.
        FileError: if it cannot be written, a full disk included; what was there is still there.
    """
    path = Path(path)
    _check_writable(path, overwrite=overwrite)
    if path.suffix.lower() == ".zip":
        _write_zip(path, members)
    else:
        _write_folder(path, members)


def _write_zip(path: Path, members: dict[str, bytes]) -> None:
    with (
        files.replacing(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive,
    ):
        for member, data in sorted(members.items()):
            # A fixed date: the same model gives the same file, and the same digest.
            archive.writestr(zipfile.ZipInfo(member), data)


def _write_folder(path: Path, members: dict[str, bytes]) -> None:
    with files.replacing_folder(path) as folder:
        for member, data in members.items():
            with files.replacing(folder / member) as temporary:
                temporary.write_bytes(data)
