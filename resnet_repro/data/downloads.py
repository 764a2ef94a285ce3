"""Fetching an archive whose checksum is known."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from resnet_repro.base.errors import DataError

__all__ = ["digest", "fetch"]

_TIMEOUT = 30  # seconds without an answer
_BLOCK = 2**20  # bytes


def fetch(
    url: str,
    md5: str,
    archive: Path,
    scratch: Path,
    progress: Callable[[str], None],
    otherwise: str,
) -> None:
    """Download `url` to `archive` unless the right file is there already.

    What arrives is put into `scratch`, a folder on the same disk, until it is known to be whole.
    Raises DataError when the network or the server fails (`otherwise` says what to do instead), or
    what arrives has another checksum.
    """
    if archive.is_file() and digest(archive, "md5") == md5:
        return
    progress(f"downloading {url}")
    partial = scratch / archive.name
    _download(url, partial, progress, otherwise)
    if digest(partial, "md5") != md5:
        raise DataError(f"the download from {url} is not the official archive; try again")
    partial.replace(archive)


def digest(path: Path, algorithm: str) -> str:
    """The checksum of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _open(url: str) -> Any:
    """The answer to a request for torchvision's own address of an archive."""
    import urllib.request  # slow to import, so only when needed

    return urllib.request.urlopen(url, timeout=_TIMEOUT)  # noqa: S310


def _download(url: str, path: Path, progress: Callable[[str], None], otherwise: str) -> None:
    import urllib.error

    try:
        with _open(url) as answer, path.open("wb") as file:
            expected = int(answer.headers.get("Content-Length") or 0)
            received, reported = 0, 0
            while block := answer.read(_BLOCK):
                file.write(block)
                received += len(block)
                if expected and received * 10 // expected > reported:
                    reported = received * 10 // expected
                    progress(f"downloaded {received / 1e6:.0f} of {expected / 1e6:.0f} MB")
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise DataError(f"cannot download {url}: {reason}\n{otherwise}") from error
