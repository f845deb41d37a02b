"""Addresses of downloads, each with the SHA-256 of what lies there."""

from __future__ import annotations

import dataclasses
import re
import urllib.parse

_LOCAL = ("localhost", "127.0.0.1")


@dataclasses.dataclass(frozen=True)
class Address:
    """Where a file lies and what its SHA-256 is."""

    url: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.url}#sha256={self.sha256}"


def is_address(name: str) -> bool:
    """Whether a name is an http(s) address."""
    return name.lower().startswith(("http://", "https://"))


def parse_address(url: str, *, sha256: str | None = None) -> Address:
    """An address with its digest, which is given or stands behind it as ``#sha256=...``.

    Raises:
        ValueError: for anything but https (http to this machine is allowed), or without one
            valid digest.
    """
    plain, _, fragment = url.partition("#")
    check_url(plain)
    if fragment and not fragment.startswith("sha256="):
        raise ValueError(f"{url}: #{fragment} is not understood; use #sha256=... or nothing")
    stated = fragment.removeprefix("sha256=").lower()
    given = (sha256 or "").lower()
    if stated and given and stated != given:
        raise ValueError(f"{url}: sha256={sha256!r} contradicts the address; give one of the two")
    digest = given or stated
    if not digest:
        raise ValueError(f"{url}: a download needs its sha256; give sha256=... or #sha256=...")
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise ValueError(f"{url}: sha256={digest!r} must be 64 hexadecimal digits")
    return Address(plain, digest)


def check_url(url: str, *, allow_local: bool = True) -> None:
    """Raises ValueError unless it is https, or http to this machine where that is allowed."""
    parts = urllib.parse.urlsplit(url)
    local = allow_local and parts.scheme == "http" and parts.hostname in _LOCAL
    if not parts.hostname or not (parts.scheme == "https" or local):
        raise ValueError(f"{url}: only https is fetched; use an https:// address")
    if not url.isascii() or any(character.isspace() for character in url):
        raise ValueError(f"{url!r}: an address has no spaces and only ASCII; quote it")
