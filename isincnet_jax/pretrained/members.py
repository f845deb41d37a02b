"""The two files of a stored model, in a folder or in a .zip, whole or not at all."""

from __future__ import annotations

import contextlib
import json
import math
import zipfile
from pathlib import Path

from isincnet_jax import files

MODEL = "model.json"
VARIABLES = "variables.npz"
_LARGEST = {MODEL: 1 << 22, VARIABLES: 1 << 32}
_WIDEST_BYTES = 16  # of a number, complex128
_OVERHEAD_BYTES = 1 << 12  # of an array in an .npz
_SMALL, _HIGHEST_RATIO = 1 << 26, 100  # of compression


class ModelFileError(ValueError):
    """A folder or .zip that is no intact stored model; the message names the file and why."""


def read_members(path: str | Path) -> dict[str, bytes]:
    """The content of both files; a .zip is read in memory, never unpacked.

    Raises:
        ModelFileError: if one is missing, torn or too large, or a .zip holds anything else.
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
    members: dict[str, bytes] = {}
    for name in _LARGEST:
        file = path / name
        if not file.is_file():
            raise ModelFileError(f"{path}: has no {name}; not a folder of export_pretrained")
        _check_size(file, name, file.stat().st_size, members)
        members[name] = file.read_bytes()
    return members


def _check_size(path: Path, name: str, size: int, members: dict[str, bytes]) -> None:
    """Refuses what is larger than any model, or than the table of this one, before it is read."""
    if size > _LARGEST[name]:
        raise ModelFileError(
            f"{path}: {name} is over {_LARGEST[name]} bytes, larger than any model"
        )
    if name != VARIABLES:
        return
    most = _LARGEST[name]
    with contextlib.suppress(Exception):  # what is wrong with it is said by its reader
        table = json.loads(members[MODEL])["variables"]["arrays"]
        counts = [math.prod(map(int, entry["shape"])) for entry in table.values()]
        most = _WIDEST_BYTES * sum(counts) + _OVERHEAD_BYTES * (1 + len(counts))
    if size > most:
        raise ModelFileError(
            f"{path}: {name} is of {size} bytes, its table allows {most}: too large"
        )


def _read_zip(path: Path) -> dict[str, bytes]:
    if not path.is_file():
        raise ModelFileError(f"{path}: neither a folder nor a file")
    members: dict[str, bytes] = {}
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if sorted(names) != sorted(_LARGEST):
            held = ", ".join(map(repr, names[:4])) or "nothing"
            raise ModelFileError(
                f"{path}: holds {held}; expected {MODEL} and {VARIABLES}, once each"
            )
        for name in _LARGEST:
            entry = archive.getinfo(name)
            _check_size(path, name, entry.file_size, members)
            if entry.file_size > max(_SMALL, _HIGHEST_RATIO * entry.compress_size):
                raise ModelFileError(
                    f"{path}: {name}: {entry.compress_size} bytes that claim to be "
                    f"{entry.file_size}, which no weights become"
                )
            with archive.open(name) as member:  # reads at most the size that it states
                members[name] = member.read()
    return members


def check_writable(path: Path, *, overwrite: bool) -> None:
    """Whether a model may be written at ``path``.

    Raises:
        FileExistsError: if something is there, unless it is a stored model and ``overwrite``.
        FileNotFoundError: if there is no folder to write it into.
    """
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
        others = sorted({entry.name for entry in path.iterdir()} - set(_LARGEST))
        if others:
            raise FileExistsError(
                f"{path}: holds {others[0]!r}; overwrite=True replaces stored models only"
            )


def write_members(path: str | Path, members: dict[str, bytes], *, overwrite: bool) -> None:
    """Writes a .zip if the path ends so, else a folder: beside the target, then renamed.

    A folder that is overwritten is away for the moment between two renames; whoever reads sees
    the old model, none or the new one, never a mixture.

    Raises:
        FileExistsError, FileNotFoundError: see :func:`check_writable`.
        FileError: if it cannot be written, a full disk included; what was there is still there.
    """
    path = Path(path)
    check_writable(path, overwrite=overwrite)
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
