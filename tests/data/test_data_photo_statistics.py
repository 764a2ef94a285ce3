"""Mean image and principal colours, against numpy's, and what becomes of them."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from made_up_photos import load_photos, write_photo_folder
from PIL import Image
from torchvision.transforms import functional as reference

from resnet_repro.base.stop import Stopped
from resnet_repro.data.augment import finish
from resnet_repro.data.photos import statistics as photo_statistics
from resnet_repro.data.photos.photos import PhotoDataset
from resnet_repro.data.photos.statistics import PhotoStatistics, statistics
from resnet_repro.spec.recipe_parts import Photographs

SIZES = Photographs(crop=32, shorter_side=(37, 69), test_shorter_side=37, multi_scale=(32, 37))


@pytest.fixture(autouse=True)
def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test is a new process, as far as statistics are concerned."""
    monkeypatch.setattr(photo_statistics, "_known", {})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eighty photographs to learn from, which no test changes."""
    return write_photo_folder(tmp_path_factory.mktemp("eighty"), train=40)


@pytest.fixture
def photos(folder: Path, tmp_path: Path) -> PhotoDataset:
    return load_photos(folder, tmp_path / "data")


def same(one: PhotoStatistics, other: PhotoStatistics) -> bool:
    return all(np.array_equal(value, vars(other)[name]) for name, value in vars(one).items())


def test_against_numpy(photos: PhotoDataset, tmp_path: Path) -> None:
    crops = []
    for index in range(len(photos.train)):
        image = reference.resize(Image.fromarray(photos.train.pixels(index)), [37])
        crops.append(np.asarray(reference.center_crop(image, 32)))
    expected = np.stack(crops).astype(np.float64)
    found = statistics(photos, SIZES, tmp_path / "nowhere")
    assert found.images == 80
    assert found.mean.dtype == np.float32
    assert found.mean == pytest.approx(expected.mean(axis=0).transpose(2, 0, 1), rel=1e-6)
    values, vectors = np.linalg.eigh(np.cov(expected.reshape(-1, 3).T / 255, bias=True))
    assert found.eigenvalues == pytest.approx(values[::-1], rel=1e-9)
    assert np.abs(found.eigenvectors.T @ vectors[:, ::-1]) == pytest.approx(np.eye(3), abs=1e-6)
    assert not (tmp_path / "nowhere").exists()


def test_neither_workers_nor_memory_show(
    photos: PhotoDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESNET_REPRO_WORKERS", "0")
    one = statistics(photos, SIZES, tmp_path / "nowhere")
    monkeypatch.setenv("RESNET_REPRO_WORKERS", "2")
    monkeypatch.setattr(photo_statistics, "_known", {})
    monkeypatch.setattr("resnet_repro.data.photos.workers._CHUNK", 7)
    monkeypatch.setattr("resnet_repro.data.photos.in_memory.available_memory", lambda: 1000)
    photos.train.held = None  # type: ignore[attr-defined]
    other = statistics(photos, SIZES, tmp_path / "nowhere")
    assert same(one, other)


def test_computed_once(
    photos: PhotoDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data_dir = tmp_path / "data"
    first = statistics(photos, SIZES, data_dir)
    (kept,) = (data_dir / ".statistics").glob("*.npz")

    def work(*_: object) -> None:
        raise AssertionError("computed again")

    with monkeypatch.context() as patch:
        patch.setattr(photo_statistics, "_compute", work)
        patch.setattr(photo_statistics, "_known", {})
        again = statistics(photos, SIZES, data_dir)
        assert same(again, first)
        patch.setattr(photo_statistics, "_known", {})
        with pytest.raises(AssertionError):  # other sizes are another matter
            statistics(photos, Photographs.for_crop(16), data_dir)
    kept.write_bytes(kept.read_bytes()[:100])
    monkeypatch.setattr(photo_statistics, "_known", {})
    assert same(statistics(photos, SIZES, data_dir), first)


def test_of_several_at_once_one_computes(
    photos: PhotoDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute, calls, found = photo_statistics._compute, [], []

    def counted(*arguments: object) -> PhotoStatistics:
        calls.append(1)
        return compute(*arguments)  # type: ignore[arg-type]

    monkeypatch.setenv("RESNET_REPRO_WORKERS", "0")
    monkeypatch.setattr(photo_statistics, "_compute", counted)

    class Forgetful(dict[object, object]):
        def __contains__(self, key: object) -> bool:
            return False

    monkeypatch.setattr(photo_statistics, "_known", Forgetful())
    threads = [
        threading.Thread(target=lambda: found.append(statistics(photos, SIZES, tmp_path / "data")))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    assert len(calls) == 1


def test_can_be_stopped(
    photos: PhotoDataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Stopped):
        statistics(photos, SIZES, tmp_path / "data", should_stop=lambda: True)
    assert "before anything else began: the mean image of 80 photographs" in caplog.text


def test_it_is_told_if_they_cannot_be_kept(
    photos: PhotoDataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(photo_statistics, "write_npz", refuse)
    assert statistics(photos, SIZES, tmp_path / "data").images == 80
    assert "Permission denied" in caplog.text
    assert "run with a --data-dir where you may write" in caplog.text


def test_colour_shift_is_alexnets() -> None:
    vectors = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    values = np.array([0.2175, 0.0188, 0.0045])  # of ImageNet, as known reimplementations have it
    found = PhotoStatistics(1, np.zeros((3, 1, 1), np.float32), values, vectors)
    alphas = np.array([[0.1, 0.0, 0.0], [-0.05, 0.2, 0.1]], np.float32)
    shift = found.colour_shift(alphas)
    for row, (a1, a2, a3) in zip(shift, alphas, strict=True):
        expected = a1 * values[0] * vectors[:, 0]
        expected += a2 * values[1] * vectors[:, 1] + a3 * values[2] * vectors[:, 2]
        assert row == pytest.approx(255 * expected, abs=1e-4)
    draws = np.random.default_rng(1).normal(0, 0.1, (1000, 3)).astype(np.float32)
    assert 2 < np.linalg.norm(found.colour_shift(draws), axis=1).mean() < 8  # levels of 255


def test_directions_do_not_depend_on_the_library(photos: PhotoDataset, tmp_path: Path) -> None:
    found = statistics(photos, SIZES, tmp_path / "data")
    largest = np.abs(found.eigenvectors).argmax(axis=0)
    assert (found.eigenvectors[largest, range(3)] > 0).all()


def test_finish() -> None:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    mean = random.random((3, 8, 8), np.float32) * 255
    mirrored = np.array([True, False, True, False])
    shift = random.normal(size=(4, 3)).astype(np.float32)
    found = finish(*map(torch.from_numpy, (images, mean, mirrored, shift)))
    assert found.is_contiguous(memory_format=torch.channels_last)
    for index in range(4):
        image = images[index].astype(np.float32)
        image = image[:, ::-1] if mirrored[index] else image
        # As the text has it: a crop of the image or of its mirror, then the mean subtracted.
        expected = image.transpose(2, 0, 1) - mean + shift[index][:, None, None]
        assert np.allclose(found[index].numpy(), expected, atol=1e-4)
    plain = finish(torch.from_numpy(images), torch.from_numpy(mean))
    assert torch.allclose(plain[1], found[1] - torch.from_numpy(shift[1])[:, None, None], atol=1e-4)
