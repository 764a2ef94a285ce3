"""The data sets of photographs by name: load, prepare, verify and describe them."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from resnet_repro.base.errors import ConfigError, DataError
from resnet_repro.data.layout import has_parts
from resnet_repro.data.photos import imagenet, imagenette
from resnet_repro.data.photos.holding import chunks
from resnet_repro.data.photos.imagenette import Size
from resnet_repro.data.photos.index import PhotoIndex, make_index, read_index, write_index
from resnet_repro.data.photos.photos import PhotoDataset, Photos
from resnet_repro.data.photos.workers import parallel_map, worker_count
from resnet_repro.data.status import DatasetStatus, cannot_prepare
from resnet_repro.spec.dataset_names import parse_dataset

__all__ = [
    "describe_photographs",
    "found_folders",
    "load_photographs",
    "prepare_photographs",
    "verify_photographs",
]

_log = logging.getLogger(__name__)

FOLDER = "folder:"
_CHUNK = 64  # images in a task
_NOT_FOLDERS = frozenset({"cifar10", "imagenet", *imagenette.FOLDERS})

Folders = Mapping[str, Path]  # NAME of `folder:NAME` -> where it is
Progress = Callable[[str], None]


def load_photographs(name: str, data_dir: Path, folders: Folders) -> PhotoDataset:
    """Open a data set of photographs; the first time, look through its folder.

    Raises DataError when it is not there or its folder is not one of photographs.
    """
    root = _root(name, data_dir, folders)
    index = read_index(name, root, data_dir)
    if index is None or (index.contents is None and index.hashes_contents):
        kept = index  # by an earlier version, which kept only the hash of all contents together
        index = _look_through(name, root, data_dir, _log.info)
        if kept and kept.identity.sha256 != index.identity.sha256:
            raise _changed(name, root)
        write_index(index, data_dir)
    return index.dataset()


def prepare_photographs(
    name: str,
    data_dir: Path,
    source: Path | None,
    *,
    download: bool,
    size: Size,
    folders: Folders,
    progress: Progress,
) -> PhotoDataset:
    """Put a data set of photographs into `data_dir` and look through it.

    A folder that is brought is linked to, archives are unpacked. Photographs that are not too many
    are all decoded once, so that a broken one is named now; what was there before stays if there
    is one. Raises ConfigError when the options make no sense, DataError when there is no usable
    copy.
    """
    if download and name != "imagenette":
        raise ConfigError(
            f"{name} cannot be downloaded: bring it with"
            f" `resnet-repro data prepare {name} --from PATH`"
        )
    try:
        with ExitStack() as scratch:
            if source is None:
                root, source = _found(name, data_dir, size if download else None, folders, progress)
                copy = _Copy(root, False, lambda: root)
            if source is not None:
                copy = _bring(name, source, data_dir, progress, scratch)
            index = _look_through(name, copy.root, data_dir, progress, official=copy.official)
            if index.hashes_contents:
                _check_images(index, progress)
            else:
                progress(
                    f"`resnet-repro data verify {name}` decodes every image, to find broken ones"
                )
            index = replace(index, root=copy.place())  # only what is good replaces what was there
    except OSError as error:
        raise cannot_prepare(name, data_dir, None if download else source, error) from error
    write_index(index, data_dir)
    return index.dataset()


def verify_photographs(
    name: str, data_dir: Path, folders: Folders, progress: Progress
) -> PhotoDataset:
    """Look through a data set again, compare it with what is known of it and decode every image.

    Raises DataError when it has changed or an image is broken.
    """
    root = _root(name, data_dir, folders)
    kept = read_index(name, root, data_dir, outdated=True)
    index = _look_through(name, root, data_dir, progress)
    if kept and kept.identity.sha256 != index.identity.sha256:
        raise _changed(name, root)
    _check_images(index, progress)
    write_index(index, data_dir)
    return index.dataset()


def _changed(name: str, root: Path) -> DataError:
    return DataError(
        f"{name} in {root} has changed since it was first used\n"
        f"if that is meant, `resnet-repro data prepare {name}` takes it as it is now"
    )


def describe_photographs(
    name: str, description: str, data_dir: Path, folders: Folders
) -> DatasetStatus:
    """What is known of a data set without looking through it; raises nothing."""
    try:
        root = _find(name, data_dir, folders)
        if root is None:
            packed = f"still packed: `resnet-repro data prepare {name}` unpacks it"
            note = packed if _packed(name, data_dir) else ""
            return DatasetStatus.absent(name, description, note)
        index = read_index(name, root, data_dir)
    except (DataError, OSError) as error:
        return DatasetStatus.absent(name, description, str(error).splitlines()[0])
    if index is None:
        note = f"will be looked through in {root} when first used"
        return DatasetStatus.absent(name, description, note)
    identity = index.identity
    return DatasetStatus(
        name, description, True, identity.official, index.images, identity.source, identity.note
    )


def found_folders(data_dir: Path) -> list[str]:
    """Names NAME of folders in `data_dir` that `folder:NAME` would find; raises nothing."""
    try:
        return sorted(
            path.name
            for path in data_dir.iterdir()
            if path.name not in _NOT_FOLDERS and _is_name(path.name) and (path / "val").is_dir()
        )
    except OSError:
        return []


def _is_name(text: str) -> bool:
    """Whether `folder:text` is a data set's name; those of hidden folders, for one, are not."""
    try:
        parse_dataset(f"{FOLDER}{text}")
    except ConfigError:
        return False
    return True


def _look_through(
    name: str, root: Path, data_dir: Path, progress: Progress, *, official: bool = False
) -> PhotoIndex:
    return make_index(
        name,
        root,
        _source(name, root),
        official=official,
        before=read_index(name, root, data_dir, outdated=True),
        progress=progress,
    )


def _find(name: str, data_dir: Path, folders: Folders) -> Path | None:
    """The folder with train and val of a data set, or None."""
    if name == "imagenet":
        return imagenet.find_folder(data_dir / "imagenet")
    if name == "imagenette":
        return imagenette.find_folder(data_dir)
    short = name.removeprefix(FOLDER)
    path = folders.get(short, data_dir / short)
    return path if path.is_dir() else None


def _root(name: str, data_dir: Path, folders: Folders) -> Path:
    root = _find(name, data_dir, folders)
    if root is not None:
        return root
    short = name.removeprefix(FOLDER)
    if _packed(name, data_dir) is not None:
        raise DataError(f"{name} is still packed: `resnet-repro data prepare {name}` unpacks it")
    if name in ("imagenet", "imagenette"):
        how = f"bring a copy with `resnet-repro data prepare {name} --from PATH`"
        if name == "imagenette":
            how += ", or download it with `resnet-repro data prepare imagenette --download`"
        raise DataError(
            f"no {'ImageNet' if name == 'imagenet' else 'Imagenette'} in {data_dir}: {how}\n"
            "no data at hand? `--dataset synthetic` (or `--preset demo`) needs none"
        )
    raise DataError(
        f"no folder {folders.get(short, data_dir / short)}: {name} is looked for there;"
        " on the command line `--dataset folder:PATH` says where it is"
    )


def _source(name: str, root: Path) -> str:
    """`Identity.source`: says nothing about the machine."""
    actual = root.resolve().name
    return actual if name == "imagenette" and actual in imagenette.FOLDERS[1:] else "folder"


class _Copy(NamedTuple):
    """A copy that is to be looked through before it counts."""

    root: Path  # with train and val
    official: bool  # from archives whose checksums are the official ones
    place: Callable[[], Path]  # puts it where it belongs in the data folder: its root there


def _found(
    name: str, data_dir: Path, download: Size | None, folders: Folders, progress: Progress
) -> tuple[Path, Path | None]:
    """(The folder in `data_dir`, what is to be unpacked to make it if it is not there yet)."""
    if download is None:
        packed = None if _find(name, data_dir, folders) else _packed(name, data_dir)
        return (data_dir, packed) if packed else (_root(name, data_dir, folders), None)
    folder = data_dir / f"imagenette2{'' if download == 'full' else f'-{download}'}"
    if has_parts(folder):
        progress(f"{folder} is there already")
        return folder, None
    data_dir.mkdir(parents=True, exist_ok=True)
    return folder, imagenette.download(data_dir, download, progress)


def _bring(
    name: str, source: Path, data_dir: Path, progress: Progress, scratch: ExitStack
) -> _Copy:
    """The copy at `source`: archives are unpacked until `scratch` ends, folders stay there."""
    if not source.exists():
        raise DataError(f"{source} does not exist")
    data_dir.mkdir(parents=True, exist_ok=True)
    target = data_dir / name.removeprefix(FOLDER)
    root = source
    if name == "imagenette" and source.is_dir() and not has_parts(source):
        root = imagenette.find_folder(source) or imagenette.find_archive(source) or source
    if name == "imagenette" and root.is_file():
        unpacked = imagenette.unpacked(root, data_dir, progress)
        root, official = scratch.enter_context(unpacked)
        target = data_dir / root.name
        _refuse_occupied(target)
        return _Copy(root, official, lambda: _move(root, target))
    if name == "imagenet" and imagenet.find_tars(source):
        if target.resolve() != source.resolve() or has_parts(target):
            _refuse_occupied(target)
        root = scratch.enter_context(imagenet.unpacked(source, data_dir, progress))
        return _Copy(root, True, lambda: _move(root, target))
    if not source.is_dir():
        raise DataError(f"{source} is not a folder")
    if name == "imagenet":
        root = imagenet.find_folder(source) or source
    if not target.is_symlink() and target.resolve() != root.resolve():
        _refuse_occupied(target)
    return _Copy(root, False, lambda: _link(target, root))


def _packed(name: str, data_dir: Path) -> Path | None:
    """What in `data_dir` is still to be unpacked: an archive, or the folder with ImageNet's."""
    if name == "imagenette":
        return imagenette.find_archive(data_dir)
    places = (data_dir / "imagenet", data_dir) if name == "imagenet" else ()
    return next((place for place in places if imagenet.find_tars(place)), None)


def _link(link: Path, folder: Path) -> Path:
    """Make `link` lead to `folder`; an earlier link makes way."""
    if not (link.exists() and link.resolve() == folder.resolve()):
        if link.is_dir() and not link.is_symlink():
            link.rmdir()  # it is empty
        new = link.with_name(f".{link.name}-{secrets.token_hex(6)}")
        new.symlink_to(folder.resolve(), target_is_directory=True)
        new.replace(link)
    return link


def _move(folder: Path, target: Path) -> Path:
    """Move what was unpacked to `target`, which may be a folder already."""
    if target.is_dir():
        for part in sorted(folder.iterdir()):
            part.rename(target / part.name)
    else:
        folder.rename(target)
    return target


def _refuse_occupied(path: Path) -> None:
    if path.is_symlink() or (path.exists() and not (path.is_dir() and not any(path.iterdir()))):
        raise DataError(f"{path} is in the way: move it elsewhere, or prepare without --from")


def _check_images(index: PhotoIndex, progress: Progress) -> None:
    """Decode every image. Raises DataError naming the first that is broken."""
    dataset, broken = index.dataset(), []
    progress(f"decoding {index.images:,} images to find broken ones")
    for photos in (dataset.train, dataset.test):
        parts = list(chunks(len(photos), _CHUNK))
        for lines in parallel_map(partial(_find_broken, photos), parts, worker_count(parts)):
            broken += lines
    for line in broken[1:]:
        progress(f"broken: {line}")
    if broken:
        which = "an image is" if len(broken) == 1 else f"{len(broken):,} images are"
        raise DataError(f"{which} broken in {index.root}: {broken[0]}")


def _find_broken(photos: Photos, part: range) -> list[str]:
    """One line for each photograph that cannot be decoded."""
    broken = []
    for index in part:
        try:
            photos.image(index)
        except DataError as error:
            broken.append(str(error))
    return broken
