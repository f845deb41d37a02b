"""Downloads that are verified, cached, resumed and made once by however many processes.

A file is known by its SHA-256, never by its address alone. It is written to
``<cache>/downloads/<sha256>.part`` under a lock, resumed there after an interruption, and renamed
to ``<sha256>.zip`` when its digest is right.

Pooch, which does the same for less, gives up what ``tests/pretrained/test_download.py`` proves: a
break is resumed without a byte sent twice (it asks for no ranges), no redirect leaves https, a
file has a largest size, and processes that want the same file share one transfer.
"""

from __future__ import annotations

import dataclasses
import hashlib
import http.client
import logging
import os
import re
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import IO, Any

from isincnet_jax.files import first_line, locked

_logger = logging.getLogger(__name__)

_CHUNK = 1 << 16
_LARGEST = 1 << 32
_REPORT_EVERY_S = 5.0
_LOCAL = ("localhost", "127.0.0.1")
_BUSY = (408, 429, 500, 502, 503, 504)  # statuses that pass


class DownloadError(OSError):
    """A file that could not be had; the message names the address and the reason."""


class _TransientError(Exception):
    """A failure that may not happen again."""


class _NothingLeftError(Exception):
    """The server has no bytes beyond those that are here (status 416)."""


@dataclasses.dataclass(frozen=True)
class Address:
    """Address of a file, and the SHA-256 of what lies there.

    Attributes:
        url: https, or http to this machine; without a fragment.
        sha256: 64 lower-case hexadecimal digits.
    """

    url: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.url}#sha256={self.sha256}"


def is_address(name: str) -> bool:
    """Whether a name is an address, good or bad.

    Args:
        name: any text.

    Returns:
        True for what starts with ``http://`` or ``https://``, in any case.
    """
    return name.lower().startswith(("http://", "https://"))


def parse_address(url: str, *, sha256: str | None = None) -> Address:
    """An address with its digest, which is given or stands behind it as ``#sha256=...``.

    Args:
        url: https, or http to this machine.
        sha256: of the file, in any case; None if the address states it.

    Returns:
        The two apart.

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
    """Refuses an address that is not safe to fetch.

    Args:
        url: without a fragment.
        allow_local: whether http to this machine (localhost, 127.0.0.1) is as good as https.

    Raises:
        ValueError: for another scheme, no host, spaces or what is not ASCII.
    """
    parts = urllib.parse.urlsplit(url)
    local = allow_local and parts.scheme == "http" and parts.hostname in _LOCAL
    if not parts.hostname or not (parts.scheme == "https" or local):
        raise ValueError(f"{url}: only https is fetched; use an https:// address")
    if not url.isascii() or any(character.isspace() for character in url):
        raise ValueError(f"{url!r}: an address has no spaces and only ASCII; quote it")


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to https only; this machine may redirect to itself."""

    def redirect_request(  # noqa: PLR0917 - as urllib calls it
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        try:
            check_url(newurl, allow_local=req.type == "http")
        except ValueError as error:
            fp.close()
            raise DownloadError(f"{req.full_url}: redirected to {error}") from error
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes.

    Args:
        path: of the file.

    Returns:
        64 lower-case hexadecimal digits.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(
    url: str,
    *,
    sha256: str | None,
    cache_dir: str | Path,
    timeout_s: float = 30.0,
    attempts: int = 4,
    backoff_s: float = 0.5,
) -> Path:
    """Downloads a file once; later calls find it in the cache, verified anew.

    An interrupted download goes on where it stopped, in this call or a later one; if the result
    has another digest it is fetched once more from its start. Processes that want the same file
    wait for the first.

    Args:
        url: https, or http to this machine; may end in ``#sha256=...``.
        sha256: of the file, if the address does not state it.
        cache_dir: the file goes to its folder ``downloads``.
        timeout_s: of the connection and of every read, in seconds.
        attempts: connections before a failing network is an error.
        backoff_s: seconds before the second attempt; doubled before each further one.

    Returns:
        The file's path, ``<cache_dir>/downloads/<sha256>.zip``.

    Raises:
        DownloadError: if it cannot be had, cannot be written, or has another digest; nothing
            but the part to resume is then left in the cache, and of a wrong file nothing.
        ValueError: for an address that is not https, or without a digest.
    """
    address = parse_address(url, sha256=sha256)
    target = Path(cache_dir) / "downloads" / f"{address.sha256}.zip"
    if _is_intact(target, address):
        return target
    part = target.with_suffix(".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with locked(target.with_suffix(".lock")):
            if _is_intact(target, address):  # another process was first
                return target
            _provide(address, part, timeout_s=timeout_s, attempts=attempts, backoff_s=backoff_s)
            os.replace(part, target)
    except DownloadError:
        raise
    except OSError as error:
        raise DownloadError(
            f"{address.url}: {target.parent} cannot be written: {first_line(error)}"
        ) from error
    return target


def _is_intact(path: Path, address: Address) -> bool:
    if not path.is_file():
        return False
    if sha256_of(path) == address.sha256:
        return True
    _logger.warning("%s: damaged in the cache, fetched anew from %s", path, address.url)
    return False


def _provide(
    address: Address, part: Path, *, timeout_s: float, attempts: int, backoff_s: float
) -> None:
    """Makes ``part`` the whole and right file."""
    if part.exists() and sha256_of(part) == address.sha256:
        return  # whole, but never renamed
    resumed = _transfer_patiently(address, part, timeout_s, attempts, backoff_s)
    found = sha256_of(part)
    if found != address.sha256 and resumed:
        _logger.warning("%s: the resumed file is not right, fetched from its start", address.url)
        part.unlink()
        _transfer_patiently(address, part, timeout_s, attempts, backoff_s)
        found = sha256_of(part)
    if found == address.sha256:
        return
    part.unlink()
    raise DownloadError(
        f"{address.url}: sha256 is {found}, expected {address.sha256}: another or a manipulated "
        "file, which was removed; check the address and its digest"
    )


def _transfer_patiently(
    address: Address, part: Path, timeout_s: float, attempts: int, backoff_s: float
) -> bool:
    """Transfers until the file is whole; whether its end was appended to an earlier start."""
    for attempt in range(1, attempts + 1):
        try:
            return _transfer(address.url, part, timeout_s)
        except _TransientError as error:
            if attempt == attempts:
                raise DownloadError(
                    f"{address.url}: {error}, in {attempts} attempts; check the network and try "
                    "again: what has arrived is kept"
                ) from error
            _logger.info("%s: %s; attempt %d of %d", address.url, error, attempt + 1, attempts)
            time.sleep(backoff_s * 2 ** (attempt - 1))
    raise ValueError(f"attempts={attempts} must be at least 1")


def _transfer(url: str, part: Path, timeout_s: float) -> bool:
    """One connection: appends to ``part``, or starts it anew if the server ignores ranges."""
    start = part.stat().st_size if part.exists() else 0
    try:
        response = _open(url, start, timeout_s)
    except _NothingLeftError:
        return True  # the digest tells whether it is whole
    with response:
        resumes = response.status == http.client.PARTIAL_CONTENT
        content_range = response.headers.get("Content-Range", "")
        if resumes and not content_range.startswith(f"bytes {start}-"):
            part.unlink(missing_ok=True)
            raise _TransientError(f"asked for bytes {start}-, was sent {content_range!r}")
        try:
            with part.open("ab" if resumes else "wb") as file:
                _copy(response, file, url)
                file.flush()
                os.fsync(file.fileno())
        except OSError:  # of the disk: a part of a file that does not fit is only in the way
            part.unlink(missing_ok=True)
            raise
    return resumes


def _open(url: str, start: int, timeout_s: float) -> Any:
    headers = {"User-Agent": "isincnet-jax", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        _logger.info("%s: resumed at byte %d", url, start)
    handlers: list[urllib.request.BaseHandler] = [_SafeRedirects()]
    if url.startswith("http://"):  # this machine needs no proxy
        handlers.append(urllib.request.ProxyHandler({}))
    opener = urllib.request.build_opener(*handlers)
    try:
        return opener.open(urllib.request.Request(url, headers=headers), timeout=timeout_s)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and start:
            raise _NothingLeftError from error
        problem = f"the server answers {error.code} {error.reason}"
        if error.code in _BUSY:
            raise _TransientError(problem) from error
        raise DownloadError(f"{url}: {problem}; check the address") from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise DownloadError(f"{url}: its certificate is not valid: {error.reason}") from error
        raise _TransientError(f"cannot be reached ({error.reason})") from error
    except DownloadError:
        raise
    except (OSError, http.client.HTTPException) as error:
        raise _TransientError(f"cannot be reached ({_reason(error)})") from error


def _copy(response: Any, file: IO[bytes], url: str) -> None:
    """Writes the body; what arrived before a break is kept."""
    announced = response.headers.get("Content-Length", "")
    expected = int(announced) if announced.isdigit() else None
    received, reported = 0, time.monotonic()
    while True:
        try:
            chunk = response.read(_CHUNK)
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, http.client.IncompleteRead):
                file.write(error.partial)
            raise _TransientError(f"the connection broke ({_reason(error)})") from error
        if not chunk:
            break
        file.write(chunk)
        received += len(chunk)
        if file.tell() > _LARGEST:
            raise DownloadError(f"{url}: over {_LARGEST >> 30} GiB, larger than any model")
        if time.monotonic() - reported > _REPORT_EVERY_S:
            reported = time.monotonic()
            _logger.info("%s: %d of %s bytes", url, received, announced or "unknown")
    if expected is not None and received < expected:
        raise _TransientError(f"the connection broke after {received} of {expected} bytes")


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
