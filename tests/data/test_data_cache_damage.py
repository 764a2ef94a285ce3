"""What is trained on is what its identity says: every byte of the prepared form is checked."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up_photos import WriteImages

from resnet_repro.base.errors import DataError
from resnet_repro.data import datasets
from resnet_repro.data.dataset import Contents

ARRAYS = [f"{field}.npy" for field in Contents._fields]
WHAT_TO_DO = (
    r"\nprepare it again with `resnet-repro data prepare cifar10 --from PATH --data-dir .*`"
)


def refused(prepared: Path, why: str) -> None:
    for use in (datasets.load, datasets.verify):
        with pytest.raises(DataError, match=why + ".*" + WHAT_TO_DO) as caught:
            use("cifar10", prepared)
        assert caught.value.exit_code == 3


@pytest.mark.parametrize("name", ARRAYS)
def test_one_flipped_bit_is_noticed(prepared: Path, name: str) -> None:
    path = prepared / "cifar10" / name
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    refused(prepared, f"{name} differs from its checksum")


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("change", [lambda b: b + b"x", lambda b: b[:-1], lambda b: b + b])
def test_bytes_too_many_or_missing_are_noticed(
    prepared: Path, name: str, change: Callable[[bytes], bytes]
) -> None:
    path = prepared / "cifar10" / name
    path.write_bytes(change(path.read_bytes()))
    refused(prepared, f"{name} is not the array that was recorded")


def test_no_flipped_bit_of_a_header_ends_otherwise(prepared: Path) -> None:
    """Whatever a header says then: an error in plain words, or the same arrays."""
    path = prepared / "cifar10" / "train_labels.npy"
    content, expected = path.read_bytes(), datasets.load("cifar10", prepared).train_labels
    ended = {"refused": 0, "same": 0}
    for bit in range(8 * 128):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            found = datasets.load("cifar10", prepared).train_labels
        except DataError:
            ended["refused"] += 1
        else:
            assert np.array_equal(found, expected)
            ended["same"] += 1
    assert ended["refused"] > 600  # the rest is in the padding


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"\x93NUMPY",
        b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 65_535,
        b"\x93NUMPY\x01\x00\x10\x00{'descr': [[[[[[[",
        b"\x93NUMPY\x09\x00\x10\x00" + bytes(200),
        b"\x93NUMPY\x01\x00\x46\x00{'descr': '|u1', 'fortran_order': False, 'shape': (9"
        + b"9" * 17,
    ],
)
def test_a_header_that_is_none_is_refused(prepared: Path, header: bytes) -> None:
    (prepared / "cifar10" / "test_labels.npy").write_bytes(header)
    refused(prepared, r"test_labels\.npy is not the array that was recorded")


def test_arrays_swapped_between_parts_are_noticed(
    write_images: WriteImages, tmp_path: Path
) -> None:
    datasets.prepare("cifar10", tmp_path / "data", write_images(train=1, test=1))
    folder = tmp_path / "data" / "cifar10"
    for kind in ("images", "labels"):
        (folder / f"train_{kind}.npy").rename(folder / "aside")
        (folder / f"test_{kind}.npy").rename(folder / f"train_{kind}.npy")
        (folder / "aside").rename(folder / f"test_{kind}.npy")
    refused(tmp_path / "data", "differs from its checksum")


def test_an_edited_record_is_noticed(prepared: Path) -> None:
    path = prepared / "cifar10" / "record.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    record["identity"]["official"] = True
    path.write_text(json.dumps(record), encoding="utf-8")
    refused(prepared, r"record\.json differs from its checksum")


def test_a_cache_of_an_earlier_version_is_checked_as_well(prepared: Path) -> None:
    """Its record has no checksum of itself, but it has those of the arrays and the identity."""
    folder = prepared / "cifar10"
    expected = datasets.load("cifar10", prepared).identity
    record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    del record["record_sha256"]
    (folder / "record.json").write_text(json.dumps(record), encoding="utf-8")
    assert datasets.load("cifar10", prepared).identity == expected
    record["identity"]["sha256"] = "0" * 64
    (folder / "record.json").write_text(json.dumps(record), encoding="utf-8")
    refused(prepared, "contents differ from the recorded identity")


@pytest.mark.parametrize("name", [*ARRAYS, "record.json"])
@pytest.mark.parametrize("put", [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), Path.mkdir])
def test_what_is_no_file_is_refused_at_once(
    prepared: Path, name: str, put: Callable[[Path], None]
) -> None:
    path = prepared / "cifar10" / name
    path.unlink()
    put(path)
    refused(prepared, name)


def test_what_happens_to_the_files_afterwards_changes_nothing(prepared: Path) -> None:
    dataset = datasets.load("cifar10", prepared)
    before = dataset.train_images.copy()
    for name in ARRAYS:
        (prepared / "cifar10" / name).write_bytes(b"")
    assert np.array_equal(dataset.train_images, before)


def test_commands_say_what_to_do(prepared: Path, command: Callable[..., Any]) -> None:
    path = prepared / "cifar10" / "train_labels.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    arguments = ("--data-dir", prepared)
    training = ("run", "fig1", "--preset", "short", "--device", "cpu", "--precision", "fp32")
    for some in ((*training, *arguments), ("data", "verify", "cifar10", *arguments)):
        answer = command(*some)
        assert answer.code == 3
        assert "train_labels.npy differs from its checksum" in answer.err
        last = answer.err.splitlines()[-1]
        assert last.startswith("prepare it again with `resnet-repro data prepare cifar10 --from")
