"""GTZAN's names: genres, files, and the one that is corrupt."""

from __future__ import annotations

import re

from isincnet_jax.data.sources import SourceTrack

GENRES = (
    "blues",
    "classical",
    "country",
    "disco",
    "hiphop",
    "jazz",
    "metal",
    "pop",
    "reggae",
    "rock",
)
KNOWN_CORRUPT = {"jazz/jazz.00054": "known to be corrupt in the published archive"}

FILE = re.compile(rf"^({'|'.join(GENRES)})\.(\d{{5}})\.(wav|au)$")


def track_of(file_name: str) -> SourceTrack | None:
    """The track of a file name; None for what is no clip of GTZAN.

    Args:
        file_name: without its folders, "blues.00000.wav".

    Returns:
        "blues/blues.00000" of the group "blues".
    """
    match = FILE.match(file_name)
    if match is None:
        return None
    return SourceTrack(f"{match[1]}/{match[1]}.{match[2]}", group=match[1])
