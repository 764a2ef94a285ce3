"""Downloading archives with known checksums, and unpacking untrusted tar files."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import hashlib
import logging
import lzma
import struct
import tarfile
import zlib
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

from resnet_repro.base.errors import DataError, plain
from resnet_repro.base.files import open_regular, read_regular
from resnet_repro.data.dataset import prepare_command
from resnet_repro.data.scratch import scratch_folder

__all__ = ["Archive", "fetch", "is_unpacked", "md5_of", "unpack_archive"]

_log = logging.getLogger(__name__)

MAX_MEMBERS = 200_000
MAX_DEPTH = 16  # folders in folders; official archives have four
_HEADER_BYTES = 2**18  # of one member; a file's name has hundreds
_HEADERS_BYTES = 2**29  # of all members, and their padding
_COMPRESSED: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
_TIMEOUT = 30  # seconds without an answer
_BLOCK = 2**20  # bytes
_DAMAGE = (  # errors of reading a damaged one
    *(tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, struct.error, RecursionError),
    *(ValueError, LookupError, OverflowError),
)


class Archive(NamedTuple):
    """An official archive."""

    url: str
    md5: str

    @property
    def name(self) -> str:
        """Of the file."""
        return self.url.rpartition("/")[2]


def fetch(archive: Archive, data_dir: Path, dataset: str) -> Path:
    """Download an archive of `dataset` into `data_dir`, unless it is there intact: its path there.

    Raises:
        DataError: the network or the server fails, or the download has another checksum.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    path = data_dir / archive.name
    if path.is_file() and md5_of(path) == archive.md5:
        return path
    _log.info(f"downloading {archive.url}")
    with scratch_folder(data_dir, "download") as scratch:
        partial = scratch / path.name
        bring = prepare_command(dataset, data_dir, "--from PATH")
        _download(archive.url, partial, bring)
        if md5_of(partial) != archive.md5:
            raise DataError(
                f"the download from {archive.url} is not the official archive; try again"
            )
        return partial.replace(path)


def _download(url: str, path: Path, bring: str) -> None:
    from urllib.error import URLError  # slow to import, so only when needed
    from urllib.request import urlopen

    try:
        with urlopen(url, timeout=_TIMEOUT) as answer, path.open("wb") as file:  # noqa: S310
            expected = int(answer.headers.get("Content-Length") or 0)
            received, reported = 0, 0
            while block := answer.read(_BLOCK):
                file.write(block)
                received += len(block)
                if expected and received * 10 // expected > reported:
                    reported = received * 10 // expected
                    _log.info(f"downloaded {received / 1e6:.0f} of {expected / 1e6:.0f} MB")
    except (URLError, HTTPException, TimeoutError, ConnectionError) as error:
        raise DataError(
            f"cannot download {url}: {plain(str(getattr(error, 'reason', error)).strip(), 200)}\n"
            f"bring a copy with {bring} instead"
        ) from error


def md5_of(path: Path) -> str:
    """The MD5 of a file, in hexadecimal: the checksum that is published of archives."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def unpack_archive(archive: Path, folder: Path, max_bytes: int) -> None:
    """Unpack `archive`, of at most `max_bytes`, into the existing `folder`.

    Raises:
        DataError: a member is a link, a device, sparse, outside the folder or too deep in it; there
            are too many members or bytes; or it is damaged or no tar archive.
    """
    with _opened(archive, max_bytes) as reader:
        for member in reader.members():
            _refuse_strange(archive, member)
            reader.tar.extract(member, folder, set_attrs=False)


def is_unpacked(archive: Path, folder: Path, max_bytes: int) -> bool:
    """Whether every file of `archive`, of at most `max_bytes`, is in `folder` byte for byte.

    Raises:
        DataError: the archive is too large or damaged.
        OSError: it cannot be read.
    """
    with _opened(archive, max_bytes) as reader:
        for member in reader.members():
            file = reader.tar.extractfile(member) if member.isreg() else None
            try:
                if file and file.read() != read_regular(folder / member.name, member.size):
                    return False
            except OSError:  # missing, or longer
                return False
    return True


@contextlib.contextmanager
def _opened(archive: Path, max_bytes: int) -> Iterator[_Reader]:
    try:
        with open_regular(archive, max_bytes + _HEADERS_BYTES) as file:
            magic = file.peek(6)[:6]
            decompress = next((_COMPRESSED[m] for m in _COMPRESSED if magic.startswith(m)), None)
            yield _Reader(archive.name, decompress(file) if decompress else file, max_bytes)
    except _DAMAGE as error:
        raise _damaged(archive, error) from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise _damaged(archive, error) from error  # as gzip and bz2 say it


def _damaged(archive: Path, error: Exception) -> DataError:
    reason = plain(str(error).partition("\n")[0], 200) or type(error).__name__
    return DataError(
        f"{archive.name} is damaged or not a tar archive: {reason}; bring an intact tar file, or"
        " the folder that it unpacks to"
    )


def _refuse_strange(archive: Path, member: tarfile.TarInfo) -> None:
    # tarfile's "data" filter would silently change some of these; data sets need none of them.
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        reason = "leads out of the archive"
    elif member.islnk() or member.issym():
        reason = "is a link"
    elif not (member.isreg() or member.isdir()):
        reason = "is neither file nor folder"
    elif member.issparse():
        reason = "is a sparse file"
    elif any(character < " " or character == "\x7f" for character in member.name):
        reason = "has control characters in its name"  # so no message about its contents has any
    elif len(path.parts) > MAX_DEPTH:
        reason = f"lies more than {MAX_DEPTH} folders deep"
    else:
        return
    name = plain(member.name, 100)
    raise DataError(f"{archive.name}: member '{name}' {reason}; refusing to unpack it")


class _Reader:
    """A tar archive, read forwards from a file with limits on what is read.

    tarfile trusts the sizes in headers, and would read gigabytes for a name.
    """

    def __init__(self, name: str, file: IO[bytes], max_bytes: int) -> None:
        self.name, self._file, self._max_bytes = name, file, max_bytes
        self._allowed, self._last = _HEADER_BYTES, b""
        self.tar = tarfile.open(fileobj=self, mode="r:")  # type: ignore[call-overload] # noqa: SIM115
        # Python 3.11.0 to 3.11.3 have no filters; `_refuse_strange` covers the "data" filter.
        self.tar.extraction_filter = getattr(tarfile, "data_filter", None)

    def members(self) -> Iterator[tarfile.TarInfo]:
        """Every member, to be read before the next one. Raises DataError beyond the limits."""
        total = count = 0
        while member := self._next():
            if member.size < 0:
                raise tarfile.ReadError("a negative size")
            total, count = total + member.size, count + 1
            if count > MAX_MEMBERS:
                raise DataError(f"{self.name} has more than {MAX_MEMBERS:,} members")
            if total > self._max_bytes:
                raise DataError(f"{self.name} unpacks to more than {self._max_bytes:,} bytes")
            self._allowed = member.size
            yield member

    def read(self, size: int) -> bytes:
        """The next `size` bytes, for tarfile."""
        if size < 0:
            raise tarfile.ReadError("a negative size")
        self._allowed -= size
        if self._allowed < 0:
            raise DataError(f"{self.name}: a member's header has more than {_HEADER_BYTES:,} bytes")
        self._last = self._file.read(size)
        return self._last

    def seek(self, position: int) -> int:
        """Skip to a later position, for tarfile."""
        if position < self.tell():
            raise tarfile.ReadError("a member leads back to an earlier one")
        if position > self._max_bytes + _HEADERS_BYTES:
            raise DataError(f"{self.name} unpacks to more than {self._max_bytes:,} bytes")
        return self._file.seek(position)

    def tell(self) -> int:
        """The position, for tarfile."""
        return self._file.tell()

    def _next(self) -> tarfile.TarInfo | None:
        self._allowed = _HEADER_BYTES
        member: tarfile.TarInfo | None = self.tar.next()
        if member is None and self._last.strip(b"\0"):  # tarfile takes an invalid block for the end
            raise tarfile.ReadError(f"bad header after {len(self.tar.members):,} members")
        return member
