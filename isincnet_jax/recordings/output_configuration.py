"""How the files of an output folder are made: its ``isincnet.json``, and whether it still fits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

CONFIGURATION = "isincnet.json"
_FORMAT = 1


class OutputError(ValueError):
    """An output folder that cannot be used; the message names it and the reason."""


def configuration_text(configuration: Mapping[str, Any]) -> str:
    """The content of ``isincnet.json``."""
    return json.dumps({"format": _FORMAT, **configuration}, indent=1, sort_keys=True) + "\n"


def check_configuration(
    folder: str, text: str, configuration: Mapping[str, Any], *, overwrite: bool = False
) -> None:
    """Refuses a folder that was made in another way.

    Args:
        folder: its name, for the message.
        text: content of its ``isincnet.json``.
        configuration: wanted.
        overwrite: whether only another kind of work is refused.

    Raises:
        OutputError: naming the differences.
    """
    try:
        found = dict(json.loads(text))
    except (ValueError, TypeError) as error:
        if overwrite:
            return
        raise OutputError(
            f"{folder}: its {CONFIGURATION} is damaged ({error}); use another folder, or "
            "--overwrite to make all anew"
        ) from error
    wanted = json.loads(configuration_text(configuration))
    if found.get("work") != wanted.get("work"):
        raise OutputError(
            f"{folder}: it holds what `{found.get('work')}` made, and this is "
            f"`{wanted.get('work')}`; use another folder"
        )
    differing = [
        f"{name}={found.get(name)!r}, now {name}={wanted.get(name)!r}"
        for name in sorted({*found, *wanted})
        if found.get(name) != wanted.get(name)
    ]
    if not differing or overwrite:
        return
    moved = ""
    if found.get("source") != wanted.get("source"):
        moved = f" (if the folder was only moved, write its new name into {folder}/{CONFIGURATION})"
    raise OutputError(
        f"{folder}: its files were made with {'; '.join(differing)}; use another folder, or "
        f"--overwrite to make all anew{moved}"
    )
