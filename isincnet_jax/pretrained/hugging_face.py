"""Models on the Hugging Face Hub by their addresses: ``hf://owner/name@revision``.

What lies there is what :func:`isincnet_jax.pretrained.folder.export_pretrained` writes, at the top
of a repository. Everything else is the client's, huggingface_hub of the extra "hub": where its
cache is (HF_HOME), whether it may use the network (HF_HUB_OFFLINE), who is logged in (HF_TOKEN).

References:
    Hugging Face, "huggingface_hub", "Environment variables" and "Understand caching",
        https://huggingface.co/docs/huggingface_hub
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from isincnet_jax import extras
from isincnet_jax.files import first_line
from isincnet_jax.pretrained import members
from isincnet_jax.pretrained.members import ModelFileError

SCHEME = "hf://"
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_LOGIN = "log in with `hf auth login`, or set HF_TOKEN"


class HubError(OSError):
    """What the Hub does not give or take; the message names the repository and the reason."""


@dataclasses.dataclass(frozen=True)
class Repository:
    """Address of a model on the Hub.

    Attributes:
        name: "owner/name".
        revision: a branch, tag or commit; "main" if None.
    """

    name: str
    revision: str | None = None

    def __str__(self) -> str:
        return SCHEME + self.name + (f"@{self.revision}" if self.revision else "")


def is_repository(name: str) -> bool:
    """Whether a name is an address on the Hub, good or bad.

    Args:
        name: any text.

    Returns:
        True for what starts with ``hf://``, in any case.
    """
    return name.lower().startswith(SCHEME)


def parse_repository(name: str) -> Repository:
    """Repository of an address.

    Args:
        name: "owner/name" or "owner/name@revision", with or without ``hf://`` before it.

    Returns:
        The two apart.

    Raises:
        ValueError: for anything else, a file in a repository among them.
    """
    plain = name[len(SCHEME) :] if is_repository(name) else name
    repository, _, revision = plain.partition("@")
    wrong_revision = "@" in plain and not re.fullmatch(r"[\w./-]+", revision)
    if wrong_revision or not re.fullmatch(f"{_NAME}/{_NAME}", repository):
        raise ValueError(
            f"{name}: write {SCHEME}owner/name or {SCHEME}owner/name@revision; the revision is a "
            "branch, a tag or a commit"
        )
    return Repository(repository, revision or None)


def fetch(name: str) -> tuple[Path, Repository]:
    """Downloads the files of a model, if they are not in the Hub's cache.

    Both are of one commit. The weights of what is no model of this package are not downloaded.

    Args:
        name: see :func:`parse_repository`.

    Returns:
        The folder in the cache, and the address with the commit as its revision, which will
        always mean the same weights.

    Raises:
        ValueError: for an address that is none.
        HubError: if there is no such repository or revision, access is not granted, or the Hub
            cannot be reached and the cache lacks a file.
        isincnet_jax.pretrained.members.ModelFileError: if it holds something else.
        ImportError: without huggingface_hub.
    """
    repository = parse_repository(name)
    folder = checked_config(repository)
    if folder is None:
        raise ModelFileError(f"{repository}: has no {members.CONFIG}: no model of isincnet_jax")
    pinned = Repository(repository.name, folder.name)
    if _file_of(pinned, members.WEIGHTS, asked=repository) is None:
        raise ModelFileError(f"{repository}: has no {members.WEIGHTS}: no model of isincnet_jax")
    return folder, pinned


def checked_config(repository: Repository) -> Path | None:
    """Folder of the cache that a revision's ``config.json`` is in, which says that it is ours.

    Args:
        repository: of the Hub.

    Returns:
        The folder, whose name is the commit; None if the repository has no such file.

    Raises:
        isincnet_jax.pretrained.members.ModelFileError: if another library wrote it.
        HubError: see :func:`fetch`.
    """
    path = _file_of(repository, members.CONFIG)
    if path is None:
        return None
    try:
        content = json.loads(path.read_bytes())
    except ValueError:  # no JSON, or not even text
        content = None
    if not isinstance(content, dict) or "weights_sha256" not in content:
        kind = content.get("model_type") if isinstance(content, dict) else None
        whose = f" (model_type {kind!r})" if isinstance(kind, str) else ""
        raise ModelFileError(
            f"{repository}: its {members.CONFIG} is of another library{whose}: no model of "
            "isincnet_jax"
        )
    return path.parent


def _file_of(repository: Repository, file: str, *, asked: Repository | None = None) -> Path | None:
    with extras.importing("huggingface_hub"):
        import huggingface_hub  # noqa: PLC0415
        from huggingface_hub import errors  # noqa: PLC0415
    with told(asked or repository):
        try:
            client = huggingface_hub.HfApi(library_name="isincnet_jax")
            path = client.hf_hub_download(repository.name, file, revision=repository.revision)
        except errors.LocalEntryNotFoundError:
            raise
        except errors.EntryNotFoundError:
            return None
    return Path(path)


@contextlib.contextmanager
def told(repository: Repository) -> Iterator[None]:
    """Errors of the client in the block, in one line and as one type.

    Args:
        repository: that the line begins with.

    Yields:
        Nothing.

    Raises:
        HubError: for any.
    """
    with extras.importing("huggingface_hub"):
        from huggingface_hub import constants, errors  # noqa: PLC0415
    try:
        yield
    except Exception as error:  # of two libraries of HTTP, by the client's version
        raise HubError(f"{repository}: {_reason(error, repository, constants, errors)}") from error


def _reason(error: Exception, repository: Repository, constants: Any, errors: Any) -> str:  # noqa: PLR0911
    offline = bool(constants.HF_HUB_OFFLINE)
    if isinstance(error, errors.GatedRepoError):
        return f"access is gated: ask for it on the repository's page, then {_LOGIN}"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"no such repository, or a private one: check the name, or {_LOGIN}"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"has no revision {repository.revision or 'main'!r}"
    if offline and isinstance(error, errors.LocalEntryNotFoundError):
        return (
            f"not in the cache {constants.HF_HUB_CACHE}, and HF_HUB_OFFLINE is set: load it once "
            "with a network"
        )
    if isinstance(error, errors.LocalEntryNotFoundError):
        cause = error.__cause__ or error
        return (
            f"not in the cache {constants.HF_HUB_CACHE}, and the Hub does not answer "
            f"({first_line(cause)})"
        )
    if isinstance(error, errors.OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set: nothing is sent"
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return f"the Hub answers {status}, no right to do that: {_LOGIN}"
    if status is not None:
        return f"the Hub answers {status}: {first_line(error)}"
    why = "" if error.__cause__ is None else f" ({first_line(error.__cause__)})"
    return f"{type(error).__name__}: {first_line(error)}{why}"
