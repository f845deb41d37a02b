"""Codecs by name: presets, solved on first use and cached on disk, and stored weights."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import logging
import os
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from isincnet_jax import files
from isincnet_jax.bank import solve as decoding
from isincnet_jax.bank.codec import Codec, build_codec
from isincnet_jax.bank.decoder_spec import DecoderSpec
from isincnet_jax.bank.designed import SymmetricBank
from isincnet_jax.bank.lapped_bank import LappedBank
from isincnet_jax.bank.lapped_codec import build_lapped_codec
from isincnet_jax.bank.sincnet import SincNet
from isincnet_jax.bank.solved import DualWindow, FoldedDecoder, SolvedDecoder, with_symmetry
from isincnet_jax.bank.spec import FilterbankSpec
from isincnet_jax.constant_q.nonuniform_codec import build_nonuniform_codec
from isincnet_jax.pretrained import download, hugging_face, stored
from isincnet_jax.pretrained.registry import REGISTRY, Lapped, Nonuniform, Preset, Stored

_logger = logging.getLogger(__name__)
_FORMAT = 4


def from_pretrained(
    name: str | Path,
    *,
    dtype: Any = None,
    precision: lax.PrecisionLike = lax.Precision.HIGHEST,
    cache_dir: str | Path | None = None,
    sha256: str | None = None,
) -> Codec:
    """A codec by name, from a folder or .zip, or from an address, ready to use.

    What ``name`` means is decided in this order:

    1. a name of the registry: a key of :data:`PRESETS` is solved here, without a network, a lapped
       or nonuniform bank needs nothing solved, a trained model of the package is read from it;
    2. what starts with ``https://`` (or ``http://``, for this machine only) is the address of a
       .zip that :func:`isincnet_jax.pretrained.folder.export_pretrained` wrote, downloaded once
       and verified;
    3. what starts with ``hf://`` is a repository of the Hugging Face Hub, ``hf://owner/name`` or
       ``hf://owner/name@revision``, that :func:`isincnet_jax.push_to_hub` wrote; it lies in the
       Hub's own cache afterwards, and its offline mode is honoured (extra "hub");
    4. an existing folder or .zip written by it.

    Args:
        name: the name, path or address; the text ``./16khz-linear``, and any ``Path``,
            is a folder in spite of its name.
        dtype: float32, or float64 with ``jax_enable_x64``. If None, float32 for presets and the
            stored one for files, whose floating variables are cast to any other.
        precision: of products on accelerators.
        cache_dir: where solutions and downloads are kept, those of the Hub excepted; the
            environment variable ISINCNET_CACHE_DIR if None, else the user's cache folder.
        sha256: of the file at an address, which must have one, here or as ``#sha256=...``
            behind it.

    Returns:
        A frozen pytree with ``encode`` and ``decode``: a :class:`.Codec`, for lapped presets a
        :class:`.LappedCodec`, for nonuniform ones a :class:`.NonuniformCodec`; or what the
        model's kind is used by, such as a :class:`.vocoder.TrainedVocoder`. Its name finds it
        again; that of a repository has the commit in it.

    Raises:
        ValueError: for an unknown name, an address without digest or a sha256 without address.
        isincnet_jax.pretrained.members.ModelFileError: if files are damaged or of another
            version (a ValueError).
        FileNotFoundError: if this installation lacks the file of a model of the package.
        isincnet_jax.pretrained.download.DownloadError: if an address cannot be fetched or has
            another digest (an OSError).
        isincnet_jax.pretrained.hugging_face.HubError: if the Hub has no such repository or
            revision, grants no access, or cannot be reached and its cache lacks a file (an
            OSError).
        ImportError: for the Hub without huggingface_hub.

    Example:
        >>> codec = from_pretrained("16khz-linear")
        >>> codec.spec.sample_rate, codec.spec.hop_length, codec.spec.num_channels
        (16000, 125, 256)
    """
    cache = cache_directory(cache_dir)
    entry = REGISTRY.get(name) if isinstance(name, str) else None
    name = os.fspath(name)
    if sha256 is not None and (entry is not None or not download.is_address(name)):
        raise ValueError(f"sha256={sha256!r} belongs to an address; {name!r} is none: leave it out")
    if isinstance(entry, Preset):
        return _solve(entry, jnp.float32 if dtype is None else dtype, precision, cache, name)
    if isinstance(entry, Lapped):
        bank = LappedBank(entry.spec, dtype=jnp.float32 if dtype is None else dtype)
        return build_lapped_codec(bank, step=entry.step, name=name)  # type: ignore[return-value]
    if isinstance(entry, Nonuniform):
        wanted = jnp.float32 if dtype is None else dtype
        return build_nonuniform_codec(  # type: ignore[return-value]
            entry.spec, dtype=wanted, name=name
        )
    path, name = _located(name, entry, cache=cache, sha256=sha256)

    def prepare(model: Any) -> None:
        if isinstance(model, SincNet) and model.decoder.kind != "free":
            _provide_cached(model.spec, model.decoder, cache)

    return stored.read_model(path).restore(
        dtype=dtype, precision=precision, name=name, prepare=prepare
    )


def stored_path(name: str | Path) -> Path:
    """The file or folder of a stored model, downloaded if it has to be; it is not read.

    Args:
        name: of :func:`from_pretrained`.

    Returns:
        The path of a .zip or folder.

    Raises:
        ValueError: for an unknown name, and for presets, which are solved and have no file.
        FileNotFoundError, isincnet_jax.pretrained.download.DownloadError,
            isincnet_jax.pretrained.hugging_face.HubError: see :func:`from_pretrained`.
    """
    entry = REGISTRY.get(name) if isinstance(name, str) else None
    if entry is not None and not isinstance(entry, Stored):
        kept = ", ".join(key for key, one in REGISTRY.items() if isinstance(one, Stored))
        raise ValueError(f"{name}: a preset without weights; trained models are {kept}")
    return _located(os.fspath(name), entry, cache=cache_directory())[0]


def _located(name: str, entry: Any, *, cache: Path, sha256: str | None = None) -> tuple[Path, str]:
    """Where a stored model lies, and the name that finds it again."""
    if isinstance(entry, Stored):
        return shipped_file(name, entry), name
    if download.is_address(name):
        address = download.parse_address(name, sha256=sha256)
        path = download.fetch(address.url, sha256=address.sha256, cache_dir=cache)
        return path, str(address)
    if hugging_face.is_repository(name):
        path, pinned = hugging_face.fetch(name)
        return path, str(pinned)
    if _is_stored(name):
        return Path(name), name
    raise _unknown(name)


def shipped_file(name: str, entry: Stored) -> Path:
    """The file of a model that comes with the package.

    Args:
        name: of the entry, for the message.
        entry: of the registry.

    Returns:
        The path of its .zip.

    Raises:
        FileNotFoundError: if this installation lacks it.
    """
    if entry.path.is_file():
        return entry.path
    raise FileNotFoundError(
        f"{name}: {entry.path} is missing, which comes with the package; install isincnet_jax "
        "again, or give the export folder of a model of yours"
    )


def _solve(
    preset: Preset, dtype: Any, precision: lax.PrecisionLike, cache: Path, name: str
) -> Codec:
    # Double precision gets a decoder to match: as many frame taps as it takes.
    decoder = DecoderSpec() if jnp.dtype(dtype) == jnp.float64 else preset.decoder
    _provide_cached(preset.spec, decoder, cache)
    model = SincNet(
        preset.spec,
        decoder,
        projections=preset.projections,
        dtype=dtype,
        precision=precision,
    )
    return build_codec(model, name=name)


def _is_stored(name: str) -> bool:
    """Whether it is a folder or a .zip; an empty name is not the working folder."""
    return name != "" and (
        Path(name).is_dir() or (name.lower().endswith(".zip") and Path(name).is_file())
    )


def _unknown(name: str) -> ValueError:
    near = difflib.get_close_matches(name, REGISTRY, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    if "/" in name:
        hint = "nothing is there (a run writes its export when it ends); "
    return ValueError(
        f"no preset {name!r}; {hint}presets: {', '.join(REGISTRY)}; or give an existing folder or "
        ".zip of export_pretrained, an https:// address of one, or hf://owner/name"
    )


def cache_directory(cache_dir: str | Path | None = None) -> Path:
    """Folder of cached solutions and downloads; not created here.

    Args:
        cache_dir: the folder itself; None for the environment's.

    Returns:
        ``cache_dir``, else ``$ISINCNET_CACHE_DIR``, else ``isincnet_jax`` in ``$XDG_CACHE_HOME``
        or ``~/.cache``.
    """
    if cache_dir is not None:
        return Path(cache_dir)
    if "ISINCNET_CACHE_DIR" in os.environ:
        return Path(os.environ["ISINCNET_CACHE_DIR"])
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "isincnet_jax"


def _cache_key(spec: FilterbankSpec, decoder: DecoderSpec) -> str:
    return json.dumps(
        {"format": _FORMAT, "spec": spec.to_dict(), "decoder": dataclasses.asdict(decoder)},
        sort_keys=True,
    )


def _provide_cached(spec: FilterbankSpec, decoder: DecoderSpec, directory: Path) -> None:
    """Gives a bank its decoder of the cache, or solves and stores it; a bad file is replaced."""
    key = _cache_key(spec, decoder)
    path = directory / f"decoder-{hashlib.sha256(key.encode()).hexdigest()[:24]}.npz"
    kept = _load_solution(path, key, spec.num_bins)
    if kept is not None and isinstance(spec.bank, SymmetricBank):
        kept = with_symmetry(kept, spec.bank.num_even)
    solved = decoding.design_decoder(spec, decoder, known=kept)
    # A bank without inverse is solved, and warned of, in every process; a folded inverse, which
    # has many parts, is solved in a fraction of a second.
    passing = isinstance(solved, FoldedDecoder) or (solved.is_wiener and decoder.kind == "auto")
    if kept is None and not passing:
        _store_solution(path, key, solved)


def _digest(key: str, values: np.ndarray, numbers: np.ndarray, method: str) -> str:
    parts = key.encode() + values.tobytes() + numbers.tobytes() + method.encode()
    return hashlib.sha256(parts).hexdigest()


def _load_solution(path: Path, key: str, num_bins: int) -> SolvedDecoder | None:
    if not path.is_file():
        return None
    try:
        # np.load leaves a file that it opened itself open when the zip is torn.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            values, numbers = stored["values"], stored["numbers"]
            method, digest = str(stored["method"]), str(stored["digest"])
            if str(stored["key"]) != key or digest != _digest(key, values, numbers, method):
                raise ValueError("it belongs to another spec or is damaged")
    except Exception as error:  # a torn file can fail in any layer of zip and npy
        _logger.warning("%s: cached decoder ignored and solved anew: %s", path, error)
        return None
    values.flags.writeable = False
    lead, *errors = numbers.tolist()
    names = ("residual", "noise_gain", "expected_snr_db")
    known = {"values": values, "lead": int(lead), **dict(zip(names, errors, strict=True))}
    if method == DualWindow.METHOD:
        return DualWindow(**known, num_bins=num_bins)
    return SolvedDecoder(**known, method=method)


def _store_solution(path: Path, key: str, solved: SolvedDecoder) -> None:
    """Writes beside the target and renames, so that readers see all or nothing."""
    errors = solved.residual, solved.noise_gain, solved.expected_snr_db
    numbers = np.asarray([solved.lead, *errors], np.float64)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with files.replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(
                file,
                values=solved.values,
                numbers=numbers,
                method=np.asarray(solved.method),
                key=np.asarray(key),
                digest=np.asarray(_digest(key, solved.values, numbers, solved.method)),
            )
    except OSError as error:
        _logger.warning("%s: decoder not cached: %s", path, error)
