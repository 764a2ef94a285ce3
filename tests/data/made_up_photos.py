"""Photographs that nobody took."""

from __future__ import annotations

import hashlib
import struct
import tarfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from resnet_repro.data import datasets
from resnet_repro.data.archives import Archive
from resnet_repro.data.photos import imagenette
from resnet_repro.data.photos.photos import PhotoDataset

WriteImages = WritePhotos = Callable[..., Path]  # fixtures of conftest.py
IDS = {"n01440764": 7, "n02102040": 900, "n03888257": 2}


def nearly(pixels: np.ndarray, expected: np.ndarray) -> bool:
    """Whether two arrays of levels are the same to rounding: of two passes, so two levels.

    Where many values lie half-way between two levels, many are rounded to the other one.
    """
    difference = np.abs(pixels.astype(int) - expected)
    return bool(difference.max() <= 2 and (difference > 0).mean() < 0.3)


def photo(seed: int, width: int, height: int) -> Image.Image:
    """A smooth but lively image: JPEG keeps it nearly as it is, shifts by a pixel show."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (max(2, height // 6), max(2, width // 6), 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def write_photo_folder(
    root: Path,
    classes: Sequence[str] = ("ant", "bee"),
    train: int = 3,
    val: int = 2,
    name: str = "photos",
    suffix: str = "png",
) -> Path:
    """Write train/<class>/ and val/<class>/ with photographs of various sizes."""
    folder = root / name
    for part, count in (("train", train), ("val", val)):
        for index, label in enumerate(classes):
            (folder / part / label).mkdir(parents=True)
            for number in range(count):
                seed = 100 * index + number + (50 if part == "val" else 0)
                size = (40 + 7 * number, 60 - 9 * index)
                path = folder / part / label / f"{part}-{label}-{number}.{suffix}"
                photo(seed, *size).save(path)
    return folder


def png_bomb() -> bytes:
    """A PNG header that claims 60,000 x 60,000 pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13)
    return start + header + struct.pack(">II", zlib.crc32(header), 10) + b"IDAT" + bytes(14)


def load_photos(folder: Path, data_dir: Path) -> PhotoDataset:
    """The data set `folder:photos`, which is in `folder`."""
    dataset = datasets.load("folder:photos", data_dir, {"photos": folder})
    assert isinstance(dataset, PhotoDataset)
    return dataset


def write_devkit(folder: Path, wnids: list[str]) -> Path:
    target = folder / "ILSVRC2012_devkit_t12" / "data"
    target.mkdir(parents=True)
    lines = "".join(f"{IDS[wnid]}\n" for wnid in wnids)
    (target / "ILSVRC2012_validation_ground_truth.txt").write_text(lines, encoding="utf-8")
    texts = [(name, object) for name in ("WNID", "words", "gloss")]
    kinds = [("ILSVRC2012_ID", float), *texts, ("num_children", float)]
    rows = [(number, wnid, "a word", "a gloss", 0) for wnid, number in IDS.items()]
    rows.append(
        (1001, "n00001740", "entity", "that which is", 74)
    )  # synsets that are no classes come after
    savemat(target / "meta.mat", {"synsets": np.array(rows, dtype=kinds)})
    return target.parent


def serve_imagenette(folder: Path, monkeypatch: pytest.MonkeyPatch, official: bool = True) -> Path:
    """Pack `folder` as the archive that is told to be the official one."""
    archive = folder.parent / "served" / "imagenette2-320.tgz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, "imagenette2-320")
    md5 = hashlib.md5(archive.read_bytes()).hexdigest() if official else "0" * 32
    monkeypatch.setitem(imagenette._ARCHIVES, "320", Archive(archive.as_uri(), md5))
    return archive


def pack_imagenet(folder: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The three official tar files, of a small ImageNet, with torchvision told their checksums."""
    from torchvision.datasets import imagenet

    target.mkdir(parents=True)
    scratch = folder.parent / "scratch"
    scratch.mkdir()
    with tarfile.open(target / "ILSVRC2012_img_train.tar", "w") as train:
        for path in sorted((folder / "train").iterdir()):
            with tarfile.open(scratch / f"{path.name}.tar", "w") as tar:
                for image in path.iterdir():
                    tar.add(image, image.name)
            train.add(scratch / f"{path.name}.tar", f"{path.name}.tar")
    wnids = []
    with tarfile.open(target / "ILSVRC2012_img_val.tar", "w") as val:
        for number, image in enumerate(sorted((folder / "val").rglob("*.JPEG")), start=1):
            wnids.append(image.parent.name)
            val.add(image, f"ILSVRC2012_val_{number:08d}.JPEG")
    devkit = write_devkit(scratch, wnids)
    with tarfile.open(target / "ILSVRC2012_devkit_t12.tar.gz", "w:gz") as tar:
        tar.add(devkit, devkit.name)
    known = {
        part: (name, hashlib.md5((target / name).read_bytes()).hexdigest())
        for part, (name, _) in imagenet.ARCHIVE_META.items()
    }
    monkeypatch.setattr(imagenet, "ARCHIVE_META", known)
