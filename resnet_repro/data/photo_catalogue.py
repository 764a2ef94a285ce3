"""The data sets of photographs by name: load, prepare, verify and describe them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from resnet_repro.data import imagenet, imagenette, tasks
from resnet_repro.data.holding import chunks
from resnet_repro.data.imagenette import Size
from resnet_repro.data.photo_index import PhotoIndex, make_index, read_index, write_index
from resnet_repro.data.photos import FilePhotos, PhotoDataset
from resnet_repro.data.status import DatasetStatus
from resnet_repro.data.workers import Workers, pool_size
from resnet_repro.errors import ConfigError, DataError, plain
from resnet_repro.names import parse_dataset

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
    if index is None:
        index = _look_through(name, root, data_dir, _log.info)
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
    are all decoded once, so that a broken one is named now. Raises ConfigError when the options
    make no sense, DataError when there is no usable copy.
    """
    try:
        if download:
            if name != "imagenette":
                raise ConfigError(
                    f"{name} cannot be downloaded: bring it with"
                    f" `resnet-repro data prepare {name} --from PATH`"
                )
            root, official = _download_imagenette(data_dir, size, progress)
        elif source is not None:
            root, official = _bring(name, source, data_dir, progress)
        else:
            root, official = _present(name, data_dir, folders, progress)
    except OSError as error:
        reason = plain(str(error), 300)
        raise DataError(f"cannot prepare {name} in {data_dir}: {reason}") from error
    index = _look_through(name, root, data_dir, progress, official=official)
    if index.hashes_contents:
        _check_images(index, progress)
    else:
        progress(f"`resnet-repro data verify {name}` decodes every image, to find broken ones")
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
        raise DataError(
            f"{name} in {root} has changed since it was first used\n"
            f"if that is meant, `resnet-repro data prepare {name}` takes it as it is now"
        )
    _check_images(index, progress)
    write_index(index, data_dir)
    return index.dataset()


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
            if path.name not in _NOT_FOLDERS
            and _is_name(path.name)
            and (path / "train").is_dir()
            and (path / "val").is_dir()
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
        imagenet.ground_truth if name == "imagenet" else None,
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


def _download_imagenette(data_dir: Path, size: Size, progress: Progress) -> tuple[Path, bool]:
    folder = data_dir / f"imagenette2{'' if size == 'full' else f'-{size}'}"
    if (folder / "train").is_dir():
        kept = read_index("imagenette", folder, data_dir)
        progress(f"{folder} is there already")
        return folder, bool(kept and kept.identity.official)
    return imagenette.download(data_dir, size, progress), True


def _bring(name: str, source: Path, data_dir: Path, progress: Progress) -> tuple[Path, bool]:
    """Make a copy at `source` the one in `data_dir`: (its folder there, whether it is official)."""
    if not source.exists():
        raise DataError(f"{source} does not exist")
    data_dir.mkdir(parents=True, exist_ok=True)
    if name == "imagenette" and source.is_file():
        return imagenette.place_archive(source, data_dir, progress)
    if name == "imagenet" and imagenet.find_tars(source):
        target = data_dir / "imagenet"
        _refuse_occupied(target)
        imagenet.unpack_tars(source, target, progress)
        return target, True
    if not source.is_dir():
        raise DataError(f"{source} is not a folder")
    root = source
    if name == "imagenet":
        root = imagenet.find_folder(source) or source
    elif name == "imagenette" and not (source / "train").is_dir():
        root = imagenette.find_folder(source) or source
    short = name.removeprefix(FOLDER)
    if name == "imagenet":
        # Kaggle's ground truth lies above the folder with train and val: link to all of it.
        _link(data_dir / short, source)
        return imagenet.find_folder(data_dir / short) or data_dir / short, False
    _link(data_dir / short, root)
    return data_dir / short, False


def _present(name: str, data_dir: Path, folders: Folders, progress: Progress) -> tuple[Path, bool]:
    """What is in `data_dir` already, unpacked if need be: (its folder, whether just official)."""
    if _find(name, data_dir, folders) is None and (packed := _packed(name, data_dir)):
        if name == "imagenette":
            return imagenette.place_archive(packed, data_dir, progress)
        imagenet.unpack_tars(packed, data_dir / "imagenet", progress)
        return data_dir / "imagenet", True
    return _root(name, data_dir, folders), False


def _packed(name: str, data_dir: Path) -> Path | None:
    """What in `data_dir` is still to be unpacked: an archive, or the folder with ImageNet's."""
    if name == "imagenette":
        return imagenette.find_archive(data_dir)
    places = (data_dir / "imagenet", data_dir) if name == "imagenet" else ()
    return next((place for place in places if imagenet.find_tars(place)), None)


def _link(link: Path, folder: Path) -> None:
    """Make `link` lead to `folder`; an earlier link makes way, anything else stays."""
    if link.exists() and link.resolve() == folder.resolve():
        return
    if link.is_symlink():
        link.unlink()
    _refuse_occupied(link)
    link.symlink_to(folder.resolve(), target_is_directory=True)


def _refuse_occupied(path: Path) -> None:
    if path.is_symlink() or (path.exists() and not (path.is_dir() and not any(path.iterdir()))):
        raise DataError(f"{path} is in the way: move it elsewhere, or prepare without --from")
    if path.is_dir():
        path.rmdir()


def _check_images(index: PhotoIndex, progress: Progress) -> None:
    """Decode every image. Raises DataError naming the first that is broken."""
    dataset, broken = index.dataset(), []
    progress(f"decoding {index.images:,} images to find broken ones")
    for photos in (dataset.train, dataset.test):
        assert isinstance(photos, FilePhotos)
        jobs = [(photos.select(part),) for part in chunks(len(photos), _CHUNK)]
        with Workers(pool_size(len(jobs))) as pool:
            for lines in pool.map(tasks.find_broken, jobs):
                broken += lines
    for line in broken[1:]:
        progress(f"broken: {line}")
    if broken:
        which = "an image is" if len(broken) == 1 else f"{len(broken):,} images are"
        raise DataError(f"{which} broken in {index.root}: {broken[0]}")
