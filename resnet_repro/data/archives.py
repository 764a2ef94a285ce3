"""Unpacking tar archives that come from anywhere."""

from __future__ import annotations

import lzma
import tarfile
import zlib
from pathlib import Path, PurePosixPath

from resnet_repro.errors import DataError, plain

__all__ = ["SUFFIXES", "is_archive", "unpack"]

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".zip")
MAX_MEMBERS = 200_000
MAX_BYTES = 2**30  # unpacked, unless the caller knows better; CIFAR-10 is 184 MB


def is_archive(path: Path) -> bool:
    """Whether `path` is a tar file, compressed or not. Raises OSError when it cannot be read."""
    return path.is_file() and tarfile.is_tarfile(path)


def unpack(archive: Path, folder: Path, max_bytes: int | None = None) -> None:
    """Unpack `archive` into the existing `folder`, nothing else and nowhere else.

    Raises DataError naming the first member that is a link, a device or outside the folder, and
    when there are too many members, too many bytes, or the archive is damaged.
    """
    total, most = 0, MAX_BYTES if max_bytes is None else max_bytes
    try:
        with tarfile.open(archive) as tar:
            # Python 3.11.0 to 3.11.3 have no filters; what "data" refuses is refused below as well.
            tar.extraction_filter = getattr(tarfile, "data_filter", None)
            for count, member in enumerate(tar, start=1):
                total += member.size
                if count > MAX_MEMBERS:
                    raise DataError(f"{archive.name} has more than {MAX_MEMBERS:,} members")
                if total > most:
                    raise DataError(f"{archive.name} unpacks to more than {most:,} bytes")
                _refuse_escape(archive, member)
                tar.extract(member, folder, set_attrs=False)
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as error:
        reason = plain(str(error), 200)
        raise DataError(f"{archive.name} is damaged or not a tar archive: {reason}") from error


def _refuse_escape(archive: Path, member: tarfile.TarInfo) -> None:
    # The "data" filter would quietly mend some of these; a data set has no use for any of them.
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        reason = "leads out of the archive"
    elif member.islnk() or member.issym():
        reason = "is a link"
    elif not (member.isreg() or member.isdir()):
        reason = "is neither file nor folder"
    else:
        return
    name = plain(member.name, 100)
    raise DataError(f"{archive.name}: member '{name}' {reason}; refusing to unpack it")
