"""The prepared form: whole or absent, checked, and honest about what is wrong with it."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from made_up_photos import WriteImages

from resnet_repro.base.errors import ConfigError, DataError
from resnet_repro.data import datasets
from resnet_repro.data.dataset import Identity
from resnet_repro.data.scratch import scratch_folder
from resnet_repro.spec import dataset_names


def test_load_gives_what_was_prepared(prepared: Path) -> None:
    dataset = datasets.load("cifar10", prepared)
    assert not isinstance(dataset.train_images, np.memmap)  # nobody changes it afterwards
    assert dataset.train_labels.dtype == np.int64
    assert dataset.identity == datasets.verify("cifar10", prepared).identity
    assert Identity(**dataset.identity.to_dict()) == dataset.identity


def test_record_says_where_it_came_from(prepared: Path) -> None:
    record = json.loads((prepared / "cifar10" / "record.json").read_text(encoding="utf-8"))
    assert record["format"] == 1
    assert record["identity"]["source"] == "image folder"
    assert str(prepared.parent) not in json.dumps(record)


def test_missing_data_offers_two_ways_out(tmp_path: Path) -> None:
    for use in (datasets.load, datasets.prepare, datasets.verify):
        with pytest.raises(DataError) as caught:
            use("cifar10", tmp_path)
        lines = str(caught.value).splitlines()
        assert len(lines) == 2
        assert "--from PATH" in lines[0]
        assert "--download" in lines[0]
        assert "--preset demo" in lines[1]
        assert caught.value.exit_code == 3


def test_unknown_name(tmp_path: Path) -> None:
    for use in (datasets.load, datasets.prepare, datasets.verify):
        with pytest.raises(ConfigError, match=r"cifar11.*did you mean cifar10"):
            use("cifar11", tmp_path)


def test_options_that_make_no_sense(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not both"):
        datasets.prepare("cifar10", tmp_path, tmp_path, download=True)
    with pytest.raises(ConfigError, match="synthetic: generated; there is nothing"):
        datasets.prepare("synthetic", tmp_path, download=True)


def test_prepare_keeps_a_sound_cache_and_mends_a_broken_one(prepared: Path) -> None:
    record = prepared / "cifar10" / "record.json"
    before = record.stat()
    datasets.prepare("cifar10", prepared)
    assert record.stat().st_ino == before.st_ino
    (prepared / "cifar10" / "test_labels.npy").unlink()
    with pytest.raises(DataError, match="no CIFAR-10"):
        datasets.prepare("cifar10", prepared)
    datasets.prepare("cifar10", prepared, prepared.parent / "images")
    datasets.verify("cifar10", prepared)


def drop_record(folder: Path) -> None:
    (folder / "record.json").unlink()


def corrupt_record(folder: Path) -> None:
    (folder / "record.json").write_text("{", encoding="utf-8")


def edit_record(folder: Path, **changes: object) -> None:
    record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    (folder / "record.json").write_text(json.dumps(record | changes), encoding="utf-8")


def drop_array(folder: Path) -> None:
    (folder / "train_images.npy").unlink()


def reshape_array(folder: Path) -> None:
    np.save(folder / "test_labels.npy", np.zeros(11, np.uint8))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (drop_record, "record.json is missing"),
        (corrupt_record, "record.json is corrupt"),
        (lambda folder: edit_record(folder, format=2), "newer version"),
        (lambda folder: edit_record(folder, arrays=None), "record.json differs from its checksum"),
        (drop_array, "train_images.npy is missing"),
        (reshape_array, "test_labels.npy is not the array"),
    ],
)
def test_damaged_cache(prepared: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(prepared / "cifar10")
    for use in (datasets.load, datasets.verify):
        with pytest.raises(DataError, match=f"{message}.*\n.*resnet-repro data prepare cifar10"):
            use("cifar10", prepared)
    known = list(dataset_names.DATASETS)
    assert [status.name for status in datasets.describe(prepared)] == known


def test_interrupted_preparation_leaves_nothing_behind(
    write_images: WriteImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(DataError, match=r"cannot prepare cifar10.*No space left"):
        datasets.prepare("cifar10", tmp_path / "data", write_images())
    assert not list((tmp_path / "data").iterdir())


def test_leftover_of_a_killed_process_is_ignored(
    prepared: Path, write_images: WriteImages, tmp_path: Path
) -> None:
    (prepared / "cifar10").rename(prepared / ".cifar10-0123456789ab")
    (prepared / ".cifar10-0123456789ab" / "test_labels.npy").unlink()
    with pytest.raises(DataError, match="no CIFAR-10"):
        datasets.load("cifar10", prepared)
    assert not datasets.describe(prepared)[0].prepared
    datasets.prepare("cifar10", prepared, tmp_path / "images")
    datasets.verify("cifar10", prepared)


def test_cache_that_a_killed_process_had_moved_away_is_put_back(prepared: Path) -> None:
    """It was to be replaced, and may be the only good copy."""
    before = datasets.load("cifar10", prepared).identity
    for use in (datasets.load, datasets.prepare, datasets.verify):
        (prepared / ".cifar10-0123456789ab").mkdir(exist_ok=True)
        (prepared / "cifar10").rename(prepared / ".cifar10-0123456789ab-old")
        assert use("cifar10", prepared).identity == before
    datasets.prepare("synthetic", prepared)  # removes what was left behind
    assert [path.name for path in prepared.iterdir()] == ["cifar10"]


def test_a_cache_that_came_with_a_containers_image_is_replaced(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Overlayfs renames no folder of a lower layer."""
    (prepared / "cifar10" / "test_labels.npy").unlink()
    rename = os.rename

    def refuse(path: Path, target: Path) -> None:
        if path == prepared / "cifar10":
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        rename(path, target)

    monkeypatch.setattr(os, "rename", refuse)
    datasets.prepare("cifar10", prepared, tmp_path / "images")
    datasets.verify("cifar10", prepared)
    assert [path.name for path in prepared.iterdir()] == ["cifar10"]


def test_only_what_is_not_needed_is_removed_of_killed_processes(prepared: Path) -> None:
    shutil.copytree(prepared / "cifar10", prepared / ".cifar10-0123456789ab-old")
    (prepared / ".cifar100-0123456789ab-old").mkdir()  # there is no CIFAR-100
    with scratch_folder(prepared, "cifar10") as held:
        datasets.prepare("synthetic", prepared)
        there = {path.name for path in prepared.iterdir()}
        kept = {"cifar10", ".cifar100-0123456789ab-old"}
        assert there - {".cifar100-0123456789ab.lock"} == kept | {held.name, f"{held.name}.lock"}


def test_a_link_that_was_replaced_does_not_come_back(prepared: Path, tmp_path: Path) -> None:
    """As to a cache that others own, which stays."""
    (mine := tmp_path / "mine").mkdir()
    (mine / "cifar10").symlink_to(prepared / "cifar10")
    datasets.prepare("cifar10", mine, tmp_path / "images")
    assert [path.name for path in mine.iterdir()] == ["cifar10"]
    datasets.verify("cifar10", prepared)
    shutil.rmtree(mine / "cifar10")
    (mine / ".cifar10-0123456789ab-old").symlink_to(prepared / "cifar10")  # by an earlier version
    for use in (datasets.load, datasets.prepare, datasets.verify):
        with pytest.raises(DataError, match="no CIFAR-10 in"):
            use("cifar10", mine)


def test_what_systems_leave_beside_a_cache_is_not_in_the_way(
    prepared: Path, tmp_path: Path
) -> None:
    for name in (".DS_Store", "Thumbs.db"):
        (prepared / "cifar10" / name).touch()
    datasets.prepare("cifar10", prepared, tmp_path / "images")
    datasets.verify("cifar10", prepared)


@pytest.mark.parametrize("named", ["", "cifar10"])
def test_a_cache_is_brought_from_another_data_folder(
    prepared: Path, tmp_path: Path, named: str
) -> None:
    mine = tmp_path / "mine"
    brought = datasets.prepare("cifar10", mine, prepared / named)
    assert brought.identity == datasets.load("cifar10", prepared).identity
    assert datasets.load("cifar10", mine).train_images.shape == (20, 3, 32, 32)
    (prepared / "cifar10" / "test_labels.npy").write_bytes(b"")
    with pytest.raises(DataError, match=r"test_labels\.npy is not the array"):
        datasets.prepare("cifar10", mine, prepared / named)
    assert datasets.verify("cifar10", mine).identity == brought.identity


def test_verify_says_what_is_not_prepared_yet(tmp_path: Path) -> None:
    batch = tmp_path / "cifar-10-batches-bin" / "test_batch.bin"
    batch.parent.mkdir()
    batch.touch()
    prepare = f"`resnet-repro data prepare cifar10 --data-dir {tmp_path}`"
    told = f"cifar10 is not prepared yet: {prepare} does it, from {batch.parent}"
    with pytest.raises(DataError, match=f"^{re.escape(told)}$"):
        datasets.verify("cifar10", tmp_path)


def test_foreign_folder_is_not_deleted(write_images: WriteImages, tmp_path: Path) -> None:
    precious = tmp_path / "data" / "cifar10" / "thesis.txt"
    precious.parent.mkdir(parents=True)
    precious.touch()
    with pytest.raises(DataError, match="in the way"):
        datasets.prepare("cifar10", tmp_path / "data", write_images())
    assert precious.exists()
    precious.unlink()
    precious.parent.rmdir()
    precious.parent.touch()  # nor is a file of that name
    with pytest.raises(DataError, match="in the way"):
        datasets.prepare("cifar10", tmp_path / "data", tmp_path / "images")
    assert precious.parent.is_file()
    precious.parent.unlink()
    precious.parent.symlink_to(tmp_path / "another disk")  # which is not there
    with pytest.raises(DataError, match="in the way"):
        datasets.prepare("cifar10", tmp_path / "data", tmp_path / "images")
    assert precious.parent.is_symlink()


def test_two_at_once_both_end_well(write_images: WriteImages, tmp_path: Path) -> None:
    images, found, problems = write_images(), [], []

    def work() -> None:
        try:
            for _ in range(5):
                found.append(datasets.prepare("cifar10", tmp_path / "data", images).identity)
        except Exception as error:
            problems.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    assert len(found) == 20
    assert len(set(found)) == 1
    assert datasets.verify("cifar10", tmp_path / "data").identity == found[0]
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["cifar10"]


def test_describe(prepared: Path, tmp_path: Path) -> None:
    known = list(dataset_names.DATASETS)
    assert [status.name for status in datasets.describe(tmp_path / "nowhere")] == known
    assert known == list(datasets.READERS)
    statuses = {status.name: status for status in datasets.describe(prepared)}
    cifar10, synthetic = statuses["cifar10"], statuses["synthetic"]
    assert (cifar10.prepared, cifar10.official, cifar10.images) == (True, False, 30)
    assert cifar10.source == "image folder"
    assert (synthetic.prepared, synthetic.official, synthetic.images) == (True, True, 12_000)
    absent = datasets.describe(tmp_path / "images")[0]
    assert (absent.prepared, absent.official, absent.images) == (False, False, 0)


def test_folder_of_images_is_only_taken_when_named(
    write_images: WriteImages,
) -> None:
    folder = write_images()
    with pytest.raises(DataError, match="no CIFAR-10 in"):
        datasets.load("cifar10", folder)
    datasets.prepare("cifar10", folder, folder)
    assert len(datasets.load("cifar10", folder).test_images) == 10
