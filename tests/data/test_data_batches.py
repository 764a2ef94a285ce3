"""The official binary and python versions: what is read, and what is refused."""

from __future__ import annotations

import hashlib
import logging
import pickle
from pathlib import Path

import numpy as np
import pytest

from resnet_repro.base.errors import DataError
from resnet_repro.data import datasets
from resnet_repro.data.cifar.known import CIFAR_10
from resnet_repro.data.cifar.reader import read_source
from resnet_repro.data.dataset import Dataset

pytestmark = pytest.mark.usefixtures("small_cifar10")


def test_load_prepares_a_copy_that_lies_there_once(
    binary_copy: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data_dir = binary_copy.parent
    assert "will be prepared from" in datasets.describe(data_dir)[0].note
    with caplog.at_level(logging.INFO, logger="resnet_repro"):
        dataset = datasets.load("cifar10", data_dir)
        assert datasets.load("cifar10", data_dir).identity == dataset.identity
    assert [line.split()[0] for line in caplog.messages] == ["reading", "writing"]
    check_official_order(dataset, binary_copy)
    assert not dataset.identity.official
    assert dataset.identity.source == "binary version"
    assert dataset.identity.note.startswith("unofficial copy")
    assert str(data_dir) not in str(dataset.identity)


def check_official_order(dataset: Dataset, binary_copy: Path) -> None:
    assert dataset.train_images.shape == (500, 3, 32, 32)
    assert dataset.test_images.shape == (100, 3, 32, 32)
    assert dataset.train_images.dtype == np.uint8
    assert dataset.train_labels.dtype == dataset.test_labels.dtype == np.int64
    assert (dataset.classes[0], dataset.classes[9]) == ("airplane", "truck")
    record = np.fromfile(binary_copy / "data_batch_3.bin", np.uint8, 3073)
    assert dataset.train_labels[200] == record[0]
    assert np.array_equal(dataset.train_images[200].ravel(), record[1:])


def test_both_versions_have_the_same_contents(
    binary_copy: Path, python_copy: Path, tmp_path: Path
) -> None:
    binary, python = (
        read_source(CIFAR_10, copy, tmp_path).contents for copy in (binary_copy, python_copy)
    )
    assert binary.sha256() == python.sha256()
    digest = hashlib.sha256()
    for array in binary:
        digest.update(array.tobytes())
    assert digest.hexdigest() == binary.sha256()


def test_python_version_is_official_only_with_the_listed_checksums(
    python_copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.datasets import CIFAR10

    found = read_source(CIFAR_10, python_copy, tmp_path)
    assert not found.identity.official
    assert "test_batch" in found.identity.note
    for listing in ("train_list", "test_list"):
        names = [name for name, _ in getattr(CIFAR10, listing)]
        md5s = [hashlib.md5((python_copy / name).read_bytes()).hexdigest() for name in names]
        pairs = [list(pair) for pair in zip(names, md5s, strict=True)]
        monkeypatch.setattr(CIFAR10, listing, pairs)
    dataset = datasets.prepare("cifar10", tmp_path / "data", python_copy)
    assert dataset.identity.official
    assert dataset.identity.note == ""
    assert dataset.identity.sha256 == found.identity.sha256 == found.contents.sha256()


def test_missing_batch(binary_copy: Path, tmp_path: Path) -> None:
    (binary_copy / "data_batch_2.bin").unlink()
    with pytest.raises(DataError, match=r"data_batch_2\.bin is missing"):
        datasets.prepare("cifar10", tmp_path / "data", binary_copy)


@pytest.mark.parametrize(("size", "word"), [(307_299, "truncated"), (307_301, "too long")])
def test_wrong_size(binary_copy: Path, tmp_path: Path, size: int, word: str) -> None:
    (binary_copy / "data_batch_1.bin").write_bytes(bytes(size))
    with pytest.raises(DataError, match=rf"data_batch_1\.bin is {word}.*307,300"):
        datasets.prepare("cifar10", tmp_path / "data", binary_copy)


def test_label_out_of_range(binary_copy: Path, tmp_path: Path) -> None:
    contents = bytearray((binary_copy / "test_batch.bin").read_bytes())
    contents[3073 * 7] = 10
    (binary_copy / "test_batch.bin").write_bytes(contents)
    with pytest.raises(DataError, match=r"test_batch\.bin: record 7 has label 10"):
        datasets.prepare("cifar10", tmp_path / "data", binary_copy)


def test_wrong_class_counts(binary_copy: Path, tmp_path: Path) -> None:
    contents = bytearray((binary_copy / "test_batch.bin").read_bytes())
    contents[0] = (contents[0] + 1) % 10
    (binary_copy / "test_batch.bin").write_bytes(contents)
    with pytest.raises(DataError, match=r"test_batch\.bin: (9|11) test images of class"):
        datasets.prepare("cifar10", tmp_path / "data", binary_copy)


def test_the_same_batch_twice(binary_copy: Path, tmp_path: Path) -> None:
    (binary_copy / "data_batch_4.bin").write_bytes((binary_copy / "data_batch_1.bin").read_bytes())
    with pytest.raises(DataError, match=r"data_batch_4\.bin has the same contents as data_batch_1"):
        datasets.prepare("cifar10", tmp_path / "data", binary_copy)


class Malice:
    """Unpickled without care, this would create a file."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.victim,)


def test_malicious_pickle_is_not_executed(python_copy: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    (python_copy / "data_batch_1").write_bytes(pickle.dumps({b"data": Malice(victim)}))
    with pytest.raises(DataError, match="data_batch_1: refusing a pickle that asks for"):
        datasets.prepare("cifar10", tmp_path / "data", python_copy)
    assert not victim.exists()


@pytest.mark.parametrize("call", ["cos\nsystem\n", "cbuiltins\neval\n", "cnumpy\nload\n"])
def test_pickle_may_only_ask_for_arrays(python_copy: Path, tmp_path: Path, call: str) -> None:
    (python_copy / "data_batch_1").write_bytes(f"{call}(S'1'\ntR.".encode())
    with pytest.raises(DataError, match="refusing a pickle"):
        datasets.prepare("cifar10", tmp_path / "data", python_copy)


RECORDS = [0] * 100


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"", "not a readable pickle"),
        (b"not a pickle", "not a readable pickle"),
        (pickle.dumps([1, 2]), "holds no dictionary"),
        (pickle.dumps({b"labels": RECORDS}), "'data' is not"),
        (pickle.dumps({b"data": np.zeros((9, 3072), np.uint8)}), "'data' is not"),
        (pickle.dumps({b"data": np.zeros((100, 3072), np.int16)}), "not a readable pickle"),
        (pickle.dumps({b"data": np.array([{}], object)}), "not a readable pickle"),
        (
            pickle.dumps({b"data": np.zeros((100, 3072), np.uint8), b"labels": RECORDS[1:]}),
            "'labels' is not",
        ),
        (
            pickle.dumps({b"data": np.zeros((100, 3072), np.uint8), b"labels": [10] * 100}),
            "'labels' is not",
        ),
    ],
)
def test_pickle_that_is_no_batch(
    python_copy: Path, tmp_path: Path, contents: bytes, message: str
) -> None:
    (python_copy / "data_batch_1").write_bytes(contents)
    with pytest.raises(DataError, match=f"^data_batch_1.*{message}"):
        datasets.prepare("cifar10", tmp_path / "data", python_copy)
