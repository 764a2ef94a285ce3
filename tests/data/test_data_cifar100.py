"""CIFAR-100: its official versions, which have one training file and two labels a record."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up_photos import WriteImages
from packing import pack

from resnet_repro.base.errors import DataError
from resnet_repro.data import datasets
from resnet_repro.data.cifar.known import CIFAR_10, CIFAR_100
from resnet_repro.data.cifar.reader import CifarReader
from resnet_repro.data.dataset import Dataset
from resnet_repro.spec.dataset_names import DATASETS
from resnet_repro.store.store import Store


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CIFAR-100 of 700 images, laid out as that of 60,000."""
    known = DATASETS["cifar100"]._replace(train_images=500, test_images=200)
    monkeypatch.setitem(DATASETS, "cifar100", known)


def records(part: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(pixels [N, 3072], superclasses [N], classes [N]) of a part."""
    count = CIFAR_100.files[part]
    rng = np.random.default_rng(count)
    fine = rng.permutation(np.arange(count) % 100).astype(np.uint8)
    return rng.integers(0, 256, (count, 3072), dtype=np.uint8), fine // 5, fine


@pytest.fixture
def binary_copy(tmp_path: Path) -> Path:
    folder = tmp_path / "from" / "cifar-100-binary"
    folder.mkdir(parents=True)
    for part in CIFAR_100.files:
        pixels, coarse, fine = records(part)
        np.hstack([coarse[:, None], fine[:, None], pixels]).tofile(folder / f"{part}.bin")
        (folder / "fine_label_names.txt").write_text("\n".join(CIFAR_100.classes), encoding="utf-8")
    return folder


@pytest.fixture
def python_copy(tmp_path: Path) -> Path:
    folder = tmp_path / "from" / "cifar-100-python"
    folder.mkdir(parents=True)
    for part in CIFAR_100.files:
        pixels, coarse, fine = records(part)
        labels = {b"fine_labels": fine.tolist(), b"coarse_labels": coarse.tolist()}
        values = {b"data": pixels, b"batch_label": part.encode(), **labels}
        (folder / part).write_bytes(pickle.dumps(values, protocol=2))
    (folder / "meta").write_bytes(pickle.dumps({b"fine_label_names": list(CIFAR_100.classes)}))
    return folder


def prepared(tmp_path: Path, source: Path | None = None) -> Dataset:
    found = datasets.prepare("cifar100", tmp_path / "data", source)
    assert isinstance(found, Dataset)
    return found


def test_what_is_official_is_what_torchvision_and_the_authors_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from torchvision.datasets import CIFAR100

    monkeypatch.undo()  # as many images as there are
    assert [CIFAR_100.python_folder, CIFAR_100.archives[0]] == [
        CIFAR100.base_folder,
        CIFAR100.filename,
    ]
    assert [name for name, _ in (*CIFAR100.train_list, *CIFAR100.test_list)] == ["train", "test"]
    assert CIFAR_100.files == {"train": 50_000, "test": 10_000}
    assert list(CIFAR_10.files.values()) == [10_000] * 6
    assert len(set(CIFAR_100.classes)) == 100
    assert list(CIFAR_100.classes) == sorted(CIFAR_100.classes)
    for known in (CIFAR_10, CIFAR_100):
        assert DATASETS[known.name].classes == len(known.classes)


@pytest.mark.parametrize("version", ["python", "binary"])
def test_both_versions_give_the_classes_in_official_order(
    request: pytest.FixtureRequest, tmp_path: Path, version: str
) -> None:
    found = prepared(tmp_path, request.getfixturevalue(f"{version}_copy"))
    pixels, _, fine = records("train")
    assert found.train_labels.tolist() == fine.tolist()
    assert np.array_equal(found.train_images.reshape(500, 3072), pixels)
    assert found.test_labels.tolist() == records("test")[2].tolist()
    assert found.classes == CIFAR_100.classes
    assert not found.identity.official
    assert found.identity.source == f"{version} version"
    assert found.identity.note.startswith("unofficial copy")
    assert datasets.verify("cifar100", tmp_path / "data").identity == found.identity


def test_the_python_version_is_official_with_the_listed_checksums(
    python_copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.datasets import CIFAR100

    for listing, part in (("train_list", "train"), ("test_list", "test")):
        md5 = hashlib.md5((python_copy / part).read_bytes()).hexdigest()
        monkeypatch.setattr(CIFAR100, listing, [[part, md5]])
    assert prepared(tmp_path, python_copy).identity.official


def test_the_binary_archive_is_official_with_the_published_checksum(
    binary_copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = pack(binary_copy, tmp_path / "cifar-100-binary.tar.gz", "w:gz")
    md5 = hashlib.md5(archive.read_bytes()).hexdigest()
    known = dataclasses.replace(CIFAR_100, binary_md5=md5)
    monkeypatch.setitem(datasets.READERS, "cifar100", CifarReader(known))
    assert prepared(tmp_path, archive).identity.official


def test_the_archive_is_downloaded_and_checked(
    python_copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.datasets import CIFAR100

    archive = pack(python_copy, tmp_path / "cifar-100-python.tar.gz", "w:gz")
    monkeypatch.setattr(CIFAR100, "url", archive.as_uri())
    with pytest.raises(DataError, match="not the official archive"):
        datasets.prepare("cifar100", tmp_path / "data", download=True)
    monkeypatch.setattr(CIFAR100, "tgz_md5", hashlib.md5(archive.read_bytes()).hexdigest())
    found = datasets.prepare("cifar100", tmp_path / "data", download=True)
    assert found.identity.source == "download"
    assert {path.name for path in (tmp_path / "data").iterdir()} == {
        "cifar100",
        "cifar-100-python.tar.gz",
    }


def test_a_copy_in_the_data_folder_is_found_and_neither_is_taken_for_the_other(
    python_copy: Path, tmp_path: Path
) -> None:
    ten, hundred = datasets.describe(python_copy.parent)[:2]
    assert (ten.name, ten.note) == ("cifar10", "")
    assert "will be prepared from" in hundred.note
    assert len(datasets.load("cifar100", python_copy.parent).classes) == 100
    with pytest.raises(DataError, match="no CIFAR-10 in"):
        datasets.load("cifar10", python_copy.parent)
    with pytest.raises(DataError, match=r"no CIFAR-10 recognised .* cifar-10-batches-py"):
        datasets.prepare("cifar10", tmp_path / "data", python_copy)
    with pytest.raises(DataError, match=r"(?s)no CIFAR-100 in .*data prepare cifar100 --download"):
        datasets.load("cifar100", tmp_path / "data")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda data: data[:-1], r"train\.bin is truncated: .*500 records of 3,074 bytes"),
        (lambda data: data[:1] + b"\x64" + data[2:], r"train\.bin: record 0 has label 100, not"),
        (
            lambda data: data[:1] + bytes([(data[1] + 1) % 100]) + data[2:],
            r"train\.bin: \d training images of class \w+; CIFAR-100 has 5",
        ),
    ],
)
def test_damaged_binary_files(
    binary_copy: Path, tmp_path: Path, damage: Callable[[bytes], bytes], says: str
) -> None:
    path = binary_copy / "train.bin"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=says):
        prepared(tmp_path, binary_copy)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        (b"fine_labels", [100] * 200, "'fine_labels' is not 200 numbers from 0 to 99"),
        (b"data", np.zeros((199, 3072), np.uint8), "'data' is not 200 rows"),
        (b"fine_labels", None, "'fine_labels' is not"),
    ],
)
def test_a_pickle_that_is_not_it(
    python_copy: Path, tmp_path: Path, key: bytes, value: object, says: str
) -> None:
    values = pickle.loads((python_copy / "test").read_bytes())
    (python_copy / "test").write_bytes(pickle.dumps({**values, key: value}))
    with pytest.raises(DataError, match=says):
        prepared(tmp_path, python_copy)


def test_a_folder_of_images_has_a_hundred_classes(
    write_images: WriteImages, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="train has 10 class folders; CIFAR-100 needs 100"):
        prepared(tmp_path, write_images())


def test_networks_have_a_hundred_outputs_and_their_runs_are_read_again(
    command: Any, binary_copy: Path, tmp_path: Path
) -> None:
    data = ("--data-dir", tmp_path / "data", "--results", tmp_path / "results")
    assert command("data", "prepare", "cifar100", "--from", binary_copy, *data[:2]).code == 0
    listed = command("data", "list", *data[:2])
    assert "100 classes" in listed.out
    choices = ("--preset", "demo", "--dataset", "cifar100", "--networks", "plain-20")
    lengths = ("--set", "recipe.iterations=2", "--set", "recipe.milestones=[1]")
    answer = command("run", "fig1", *choices, *lengths, "--device", "cpu", *data)
    assert answer.code == 0, answer.err
    (run,) = Store(tmp_path / "results").all_runs()
    assert run.problem is None
    assert run.summary is not None
    assert run.summary.parameters == 269_722 + 90 * 65
    assert run.id.startswith("plain-20-cifar100-custom-s0-")
    tested = command("evaluate", run.id, "--json", "--device", "cpu", *data)
    (row,) = json.loads(tested.out)["evaluations"]
    assert (row["images"], row["top1_error"]) == (200, run.summary.final_test_error)
