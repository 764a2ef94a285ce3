"""CIFAR-10: finding a copy of it, whatever its form, and reading that."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from resnet_repro.base.errors import DataError
from resnet_repro.data.archives import is_archive, unpack
from resnet_repro.data.cifar.batches import TEST_BATCHES, TRAIN_BATCHES
from resnet_repro.data.cifar.binary_version import ARCHIVE_MD5, read_binary_version
from resnet_repro.data.cifar.image_folder import read_image_folder
from resnet_repro.data.cifar.python_version import read_python_version
from resnet_repro.data.dataset import Source, SourceFile
from resnet_repro.data.downloads import digest, fetch
from resnet_repro.data.layout import of_system

__all__ = ["find_source", "read_download", "read_source"]

_BATCHES = TRAIN_BATCHES + TEST_BATCHES
_ARCHIVES = ("cifar-10-python.tar.gz", "cifar-10-binary.tar.gz", "cifar-10-binary.tar")

Reader = Callable[[Path], Source]


def find_source(data_dir: Path) -> Path | None:
    """A copy of CIFAR-10 that lies in `data_dir` or is it; a verifiable form is preferred.

    Folders of images are left out: nothing tells that they are CIFAR-10, so users name them.
    """
    found = _find_batches(data_dir)
    if found is not None:
        return found[0]
    return next((data_dir / name for name in _ARCHIVES if (data_dir / name).is_file()), None)


def read_source(path: Path, scratch: Path, progress: Callable[[str], None]) -> Source:
    """Read the copy of CIFAR-10 at `path`, whose form is recognised by looking at it.

    `path` is a folder with the official batches (python or binary version), a folder of images
    `train/<class>/*` and `test/<class>/*`, the parent of one of the former, or a tar file of any.
    Archives are unpacked in `scratch` for the time being. Raises DataError when there is no such
    thing at `path` or it is not CIFAR-10.
    """
    if path.is_dir():
        found = _find_copy(path)
        if found is None:
            found_archive = find_source(path)
            if found_archive is None:
                raise _not_recognised(path)
            return read_source(found_archive, scratch, progress)
        folder, read = found
        progress(f"reading {folder}")
        return read(folder)
    if not path.exists():
        raise DataError(f"{path} does not exist")
    if not is_archive(path):
        raise _not_recognised(path)
    return _read_archive(path, scratch, progress)


def read_download(data_dir: Path, scratch: Path, progress: Callable[[str], None]) -> Source:
    """Download the official python version into `data_dir`, unless it is there, and read it.

    Raises DataError when the network or the server fails, or what arrives is not the official
    archive.
    """
    from torchvision.datasets import CIFAR10  # slow to import, so only when needed

    archive = data_dir / CIFAR10.filename
    otherwise = "bring a copy with `resnet-repro data prepare cifar10 --from PATH` instead"
    fetch(CIFAR10.url, CIFAR10.tgz_md5, archive, scratch, progress, otherwise)
    return replace(_read_archive(archive, scratch, progress), kind="download")


def _find_copy(folder: Path) -> tuple[Path, Reader] | None:
    """The folder that holds a copy, `folder` itself or one in it, and who can read it."""
    found = _find_batches(folder)
    if found is None and ((folder / "train").is_dir() and (folder / "test").is_dir()):
        return folder, read_image_folder
    return found


def _find_batches(folder: Path) -> tuple[Path, Reader] | None:
    """The same for the official versions alone."""
    for candidate in (folder, folder / "cifar-10-batches-py", folder / "cifar-10-batches-bin"):
        if any((candidate / name).is_file() for name in _BATCHES):
            return candidate, read_python_version
        if any((candidate / f"{name}.bin").is_file() for name in _BATCHES):
            return candidate, read_binary_version
    return None


def _read_archive(archive: Path, scratch: Path, progress: Callable[[str], None]) -> Source:
    progress(f"unpacking {archive}")
    with tempfile.TemporaryDirectory(prefix=".unpacked-", dir=scratch) as name:
        folder = Path(name)
        unpack(archive, folder)
        inside = [p for p in folder.iterdir() if p.is_dir() and not of_system(p.name)]
        found = _find_copy(folder)
        if found is None and len(inside) == 1:  # all in one folder, as archives often are
            found = _find_copy(inside[0])
        if found is None:
            raise _not_recognised(archive)
        content_folder, read = found
        source = read(content_folder)
    file = SourceFile(archive.name, archive.stat().st_size, digest(archive, "sha256"))
    if read is read_binary_version and digest(archive, "md5") == ARCHIVE_MD5:
        return replace(source, files=(file,), official=True, note="")
    return replace(source, files=(file,))


def _not_recognised(path: Path) -> DataError:
    return DataError(
        f"no CIFAR-10 recognised in {path}: expected cifar-10-batches-py, cifar-10-batches-bin,"
        " train/ and test/ with a folder of images per class, or a tar file of one of them"
    )
