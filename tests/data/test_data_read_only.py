"""A data folder that others own: what is prepared there is read, and the way out is named."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import pytest
from made_up_photos import WriteImages, WritePhotos, serve_imagenette
from packing import pack

from resnet_repro.data import datasets, folder_index
from resnet_repro.data.photos import statistics as photo_statistics
from resnet_repro.data.photos.photos import PhotoDataset
from resnet_repro.spec.recipe_parts import Photographs

CLASSES = ("n01440764", "n02102040")
# Root may write anywhere, so the capability to do so is taken away.
PREFIX = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []

needs_a_folder_to_be_read_only = pytest.mark.skipif(
    bool(PREFIX) and shutil.which("setpriv") is None, reason="root, and no setpriv"
)


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Path]:
    """A data folder; `lock` makes it read-only until the test ends."""
    folder = tmp_path / "shared data"
    folder.mkdir()
    yield folder
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)


def refuse(*_: object, **__: object) -> None:
    raise PermissionError(13, "Permission denied")


def lock(shared: Path) -> None:
    for path in [shared, *shared.rglob("*")]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o555)


def run(*arguments: object) -> tuple[int, str, str]:
    program = [*PREFIX, sys.executable, "-m", "resnet_repro", *map(str, arguments)]
    done = subprocess.run(program, capture_output=True, text=True, encoding="utf-8", check=False)
    return done.returncode, done.stdout, done.stderr


def cifar10(shared: Path, binary_copy: Path) -> tuple[str, Path]:
    return "cifar10", shutil.copytree(binary_copy, shared / binary_copy.name)


def imagenette(shared: Path, folder: Path) -> tuple[str, Path]:
    archive = pack(folder, shared / "imagenette2-160.tgz", "w:gz", "imagenette2-160")
    return "imagenette", archive


@needs_a_folder_to_be_read_only
@pytest.mark.parametrize("name", ["cifar10", "imagenette"])
def test_the_way_out_is_named_and_works(
    shared: Path,
    tmp_path: Path,
    binary_copy: Path,
    write_photos: WritePhotos,
    name: str,
) -> None:
    if name == "cifar10":
        _, source = cifar10(shared, binary_copy)
    else:
        _, source = imagenette(shared, write_photos(CLASSES))
    lock(shared)
    code, _, err = run("data", "prepare", name, "--data-dir", shared)
    told = err.splitlines()[-1]
    wanted = f"resnet-repro data prepare {name} --from '{source}' --data-dir A_FOLDER_OF_YOURS"
    assert (code, f"`{wanted}`" in told) == (3, True), err
    assert "Traceback" not in err
    assert datasets.prepare(name, tmp_path / "mine", source).identity.name == name


@needs_a_folder_to_be_read_only
def test_where_a_link_or_an_unpacked_archive_cannot_be_put(
    shared: Path, write_photos: WritePhotos
) -> None:
    for tar in ("img_train.tar", "img_val.tar", "devkit_t12.tar.gz"):
        (shared / f"ILSVRC2012_{tar}").touch()
    lock(shared)
    copy = write_photos(CLASSES)
    cases = (("imagenet", shared, ()), ("folder:birds", copy, ("--from", copy)))
    for name, source, given in cases:
        code, _, err = run("data", "prepare", name, *given, "--data-dir", shared)
        assert (code, len(err.splitlines()) >= 2) == (3, True)
        assert "cannot prepare" in err
        assert f"data prepare {name} --from " in err.splitlines()[-1]
        assert source.name in err.splitlines()[-1]


@needs_a_folder_to_be_read_only
@pytest.mark.parametrize("prepared", [True, False])
def test_photographs_in_a_read_only_folder_work(
    shared: Path, write_photos: WritePhotos, prepared: bool
) -> None:
    folder = write_photos(CLASSES)
    shutil.move(folder, shared / "imagenette2-160")
    if prepared:
        datasets.prepare("imagenette", shared)
    lock(shared)
    for verb in ("verify", "prepare"):
        code, out, err = run("data", verb, "imagenette", "--data-dir", shared)
        assert (code, "6 training and 4 validation images" in out) == (0, True), err


@pytest.mark.parametrize("contents", [True, False])
def test_what_is_official_there_is_official_where_it_is_linked_to(
    shared: Path,
    write_photos: WritePhotos,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    contents: bool,
) -> None:
    if not contents:  # as of ImageNet: the folder is known by its place, names and sizes
        monkeypatch.setattr(folder_index, "CONTENTS_LIMIT", 0)
    serve_imagenette(write_photos(CLASSES), monkeypatch)
    there = datasets.prepare("imagenette", shared, download=True, size="320")
    here = datasets.prepare("imagenette", tmp_path / "mine", shared)
    assert here.identity == there.identity
    assert here.identity.official
    assert datasets.load("imagenette", tmp_path / "mine").identity == there.identity
    shutil.copytree(shared / "imagenette2-320", shared / "copy")
    copy = datasets.prepare("imagenette", tmp_path / "other", shared / "copy")
    assert copy.identity.official == contents


@needs_a_folder_to_be_read_only
def test_a_prepared_cifar10_in_a_read_only_folder_works(
    shared: Path, write_images: WriteImages
) -> None:
    datasets.prepare("cifar10", shared, write_images())
    lock(shared)
    for verb in ("verify", "prepare"):
        code, _, err = run("data", verb, "cifar10", "--data-dir", shared)
        assert code == 0, err


def test_kept_statistics_need_no_lock(
    write_photos: WritePhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = datasets.load("folder:photos", tmp_path, {"photos": write_photos()})
    assert isinstance(found, PhotoDataset)
    sizes = Photographs.for_crop(32)
    kept = photo_statistics.statistics(found, sizes, tmp_path)
    monkeypatch.setattr(photo_statistics, "_known", {})
    monkeypatch.setattr(photo_statistics, "_compute", None)
    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    again = photo_statistics.statistics(found, sizes, tmp_path)
    np.testing.assert_array_equal(again.mean, kept.mean)


@pytest.mark.usefixtures("small_cifar10")
def test_a_run_names_the_way_out_as_well(
    command: Any, shared: Path, tmp_path: Path, binary_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cifar10(shared, binary_copy)
    monkeypatch.setattr("resnet_repro.data.cifar.reader.write_cache", refuse)
    monkeypatch.setattr(os, "access", lambda _, mode: mode != os.W_OK)
    options = ("--preset", "short", "--networks", "plain-20", "--results", tmp_path / "results")
    code, _, err = command("run", "fig1", *options, "--data-dir", shared)
    wanted = f"resnet-repro data prepare cifar10 --from '{shared}' --data-dir A_FOLDER_OF_YOURS"
    assert (code, f"`{wanted}`" in err.splitlines()[-1]) == (3, True), err
    assert not (tmp_path / "results" / "runs").exists()


@needs_a_folder_to_be_read_only
@pytest.mark.usefixtures("small_cifar10")
def test_what_may_not_be_looked_at_hides_nothing_else_and_is_not_called_damaged(
    shared: Path, write_photos: WritePhotos, binary_copy: Path
) -> None:
    for name in ("ants", "birds"):
        shutil.move(write_photos(name=name), shared / name)
    datasets.prepare("cifar10", shared, binary_copy)
    (shared / "ants").chmod(0)
    (shared / "cifar10" / "record.json").chmod(0)
    code, out, _ = run("data", "list", "--data-dir", shared)
    assert (code, "folder:birds" in out) == (0, True)
    code, _, err = run("data", "verify", "cifar10", "--data-dir", shared)
    assert (code, "record.json cannot be read: Permission denied" in err) == (3, True)
