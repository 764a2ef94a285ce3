"""Batches from worker processes: what is in them, whoever makes them, and how they end."""

from __future__ import annotations

import logging
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from made_up_photos import WritePhotos, load_photos, nearly
from PIL import Image
from torchvision.transforms import functional as reference

from resnet_repro.base.errors import DataError
from resnet_repro.base.stop import Stopped
from resnet_repro.data.dataset import Contents, Dataset, Identity
from resnet_repro.data.photos import in_memory, workers
from resnet_repro.data.photos.crops import draw_crops
from resnet_repro.data.photos.loader import CropBatch, TrainingCrops, photo_views
from resnet_repro.data.photos.photos import (
    ArrayPhotos,
    FilePhotos,
    HeldPhotos,
    PhotoDataset,
    photos_of,
)
from resnet_repro.spec.recipe_parts import Photographs

SIZES = Photographs(
    crop=32, shorter_side=(37, 69), test_shorter_side=37, multi_scale=(32, 37), colour_std=0.1
)


class Order:
    """The photographs one after another, over and over, 12 at a time."""

    seed = 3

    def __init__(self, images: int) -> None:
        self._count = images

    def batch(self, iteration: int) -> Order:
        self.images = torch.arange(12 * iteration, 12 * iteration + 12) % self._count
        return self


@pytest.fixture
def photos(write_photos: WritePhotos, tmp_path: Path) -> PhotoDataset:
    return load_photos(write_photos(train=8), tmp_path / "data")


def same(one: CropBatch, other: CropBatch) -> bool:
    return all(map(torch.equal, one, other))


def joined(parts: list[CropBatch]) -> CropBatch:
    return CropBatch(*map(torch.cat, zip(*parts, strict=True)))


@pytest.fixture(autouse=True)
def no_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """None but those that a test asks for."""
    monkeypatch.setenv("RESNET_REPRO_WORKERS", "0")


@pytest.fixture
def no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_memory, "available_memory", lambda: 1000)


def test_a_batch_is_what_it_says(photos: PhotoDataset) -> None:
    batch = TrainingCrops(photos.train, Order(16), SIZES, workers=0).batch(2)
    assert batch.images.shape == (12, 32, 32, 3)
    assert batch.images.dtype == torch.uint8
    draw = draw_crops(3, 2, 12, SIZES)
    for position in range(12):
        index = (24 + position) % 16
        side = int(draw.sides[position])
        image = reference.resize(Image.fromarray(photos.train.pixels(index)), [side])
        down, across = draw.fractions[position]
        top, left = int(down * (image.height - 31)), int(across * (image.width - 31))
        expected = np.asarray(image)[top : top + 32, left : left + 32]
        assert nearly(batch.images[position].numpy(), expected)
        assert batch.labels[position] == photos.train.labels[index]
    assert torch.equal(batch.mirrored, torch.from_numpy(draw.mirrored))
    assert torch.equal(batch.colour, torch.from_numpy(draw.alphas))


def test_draws_are_uniform_and_differ_between_iterations() -> None:
    draws = [draw_crops(0, iteration, 500, SIZES) for iteration in range(40)]
    sides = np.concatenate([draw.sides for draw in draws])
    counts = np.bincount(sides)[37:]
    assert (sides.min(), sides.max()) == SIZES.shorter_side
    assert 450 < counts.min() <= counts.max() < 770  # of 606 expected
    assert np.mean([draw.mirrored.mean() for draw in draws]) == pytest.approx(0.5, abs=0.02)
    assert np.concatenate([d.alphas for d in draws]).std(axis=0) == pytest.approx(0.1, abs=0.003)
    assert not (draws[0].sides == draws[1].sides).all()
    assert not (draw_crops(1, 0, 500, SIZES).sides == draws[0].sides).all()


def test_switching_one_thing_off_leaves_the_others_as_they_were() -> None:
    changed = SIZES.model_copy(update={"mirror": False, "colour_std": 0.0})
    plain, full = draw_crops(0, 5, 50, changed), draw_crops(0, 5, 50, SIZES)
    assert not plain.mirrored.any()
    assert not plain.alphas.any()
    assert (plain.sides == full.sides).all()
    assert (plain.fractions == full.fractions).all()


def test_workers_memory_and_slices_do_not_show(
    photos: PhotoDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    crops = TrainingCrops(photos.train, Order(16), SIZES, workers=0)
    assert isinstance(crops.photos, HeldPhotos)
    expected = [crops.batch(iteration) for iteration in range(4)]
    asked = (0, 1, 2, 3, 1, 3, 2)  # in order, then as after a resumption
    with closing(TrainingCrops(photos.train, Order(16), SIZES, workers=2)) as crops:
        assert isinstance(crops.photos, HeldPhotos)
        assert all(same(crops.batch(iteration), expected[iteration]) for iteration in asked)
    monkeypatch.setattr(in_memory, "available_memory", lambda: 1000)
    assert isinstance(photos.train, FilePhotos)
    photos.train.held = None
    with closing(TrainingCrops(photos.train, Order(16), SIZES, workers=2)) as crops:
        assert isinstance(crops.photos, FilePhotos)
        assert all(same(crops.batch(iteration), expected[iteration]) for iteration in asked)
    slices = [TrainingCrops(photos.train, Order(16), SIZES, 0, (r, 3)) for r in range(3)]
    assert same(joined([part.batch(1) for part in slices]), expected[1])


def test_loading_leaves_the_random_numbers_of_a_training_alone(photos: PhotoDataset) -> None:
    before = torch.get_rng_state()
    with closing(TrainingCrops(photos.train, Order(16), SIZES, workers=2)) as crops:
        crops.batch(0)
    assert torch.equal(torch.get_rng_state(), before)


def test_small_arrays_are_photographs_too() -> None:
    images = np.random.default_rng(0).integers(0, 256, (16, 3, 32, 32), dtype=np.uint8)
    contents = Contents(*(2 * (images, np.zeros(16, np.uint8))))
    identity = Identity("synthetic", True, "", "", "")
    dataset = photos_of(Dataset.of(identity, ("a", "b"), contents))
    crops = TrainingCrops(dataset.train, Order(16), SIZES)
    assert crops.workers == 0  # not worth a process
    with closing(TrainingCrops(dataset.train, Order(16), SIZES, workers=1)) as others:
        assert same(others.batch(1), crops.batch(1))
    assert (dataset.train.pixels(5) == images[5].transpose(1, 2, 0)).all()


@pytest.mark.parametrize("kind", ["files", "held", "arrays"])
def test_some_of_many(photos: PhotoDataset, kind: str) -> None:
    many = photos.train
    if kind == "held":
        in_memory.hold(many)
    if kind == "arrays":
        images = np.random.default_rng(0).integers(0, 256, (16, 9, 9, 3), dtype=np.uint8)
        many = ArrayPhotos(images, many.labels)
    some = many.some(np.array([12, 3]))
    if isinstance(some, FilePhotos) and isinstance(many, FilePhotos):
        assert some.names == [many.names[12], many.names[3]]
    assert some.labels.tolist() == [1, 0]
    for position, index in enumerate((12, 3)):
        assert (some.pixels(position) == many.pixels(index)).all()


def break_photo(photos: PhotoDataset, index: int) -> None:
    assert isinstance(photos.train, FilePhotos)
    path = photos.train.root / photos.train.names[index]
    path.write_bytes(path.read_bytes()[:-200])


@pytest.mark.parametrize("workers", [0, 2])
def test_broken_photo_is_named(photos: PhotoDataset, no_memory: None, workers: int) -> None:
    break_photo(photos, 13)
    with closing(TrainingCrops(photos.train, Order(16), SIZES, workers=workers)) as crops:
        crops.batch(0)
        with pytest.raises(DataError, match=r"^train/bee/train-bee-5\.png: damaged"):
            crops.batch(1)


def test_broken_photo_is_named_when_decoding_into_memory(photos: PhotoDataset) -> None:
    break_photo(photos, 13)
    with pytest.raises(DataError, match=r"^train/bee/train-bee-5\.png: damaged"):
        TrainingCrops(photos.train, Order(16), SIZES, workers=1)


def test_memory_holds_the_same_photographs(
    write_photos: WritePhotos,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, logger="resnet_repro")
    folder = write_photos(train=40)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = folder / "train" / "ant" / "train-ant-3.png"
    Image.new("RGB", (60, 61)).save(turned, exif=exif)
    chunks = turned.read_bytes()
    # Where Pillow does not put it, but others may: after the pixels. The header says 60x61.
    start = chunks.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(chunks[start : start + 4])
    last = chunks.index(b"IEND") - 4
    moved = chunks[:start] + chunks[end:last] + chunks[start:end] + chunks[last:]
    turned.write_bytes(moved)
    photos = load_photos(folder, tmp_path / "data").train
    monkeypatch.setattr(workers, "_CHUNK", 11)
    monkeypatch.setenv("RESNET_REPRO_WORKERS", "2")
    caplog.clear()
    held = in_memory.hold(photos)
    assert isinstance(held, HeldPhotos)
    assert in_memory.hold(photos) is held
    (line,) = caplog.messages
    assert "decoding 80 photographs" in line
    for index in range(80):
        assert (held.pixels(index) == photos.pixels(index)).all()
    names = list(photos.names)
    assert held.pixels(names.index("train/ant/train-ant-3.png")).shape == (60, 61, 3)


def test_photographs_that_do_not_fit_stay_in_files(
    photos: PhotoDataset, no_memory: None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="resnet_repro")
    assert in_memory.hold(photos.train) is photos.train
    assert in_memory.hold(photos.train) is photos.train
    (line,) = caplog.messages
    assert "on the fly" in line


def test_decoding_can_be_stopped(photos: PhotoDataset) -> None:
    with pytest.raises(Stopped):
        in_memory.hold(photos.train, should_stop=lambda: True)


@pytest.mark.parametrize("workers", ["0", "2"])
@pytest.mark.parametrize("held", [False, True])
def test_views_are_torchvisions(
    photos: PhotoDataset, monkeypatch: pytest.MonkeyPatch, workers: str, held: bool
) -> None:
    monkeypatch.setenv("RESNET_REPRO_WORKERS", workers)
    if not held:
        monkeypatch.setattr(in_memory, "available_memory", lambda: 1000)
    images = [Image.fromarray(photos.test.pixels(index)) for index in range(len(photos.test))]
    resized = [reference.resize(image, [37]) for image in images]
    expected = {
        "centre": [[reference.center_crop(image, 32)] for image in resized],
        "10-crop": [reference.five_crop(image, 32) for image in resized],
    }
    for name, crops in expected.items():
        chunks = list(photo_views(photos.test, SIZES, name, chunk=3))  # type: ignore[arg-type]
        assert [chunk.which.tolist()[0] for chunk in chunks] == [0, 3]
        labels = torch.cat([chunk.labels for chunk in chunks])
        assert labels.tolist() == photos.test.labels.tolist()
        pixels = torch.cat([chunk.images for chunk in chunks])
        wanted = np.array([[np.asarray(crop) for crop in some] for some in crops])
        assert (pixels.numpy() == wanted).all()
    found = photo_views(photos.test, SIZES, "multi-scale", side=50, chunk=1)
    for image, chunk in zip(images, found, strict=True):
        assert (chunk.images[0, 0].numpy() == np.asarray(reference.resize(image, [50]))).all()


def test_views_can_be_stopped(photos: PhotoDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNET_REPRO_WORKERS", "1")
    stop = False
    chunks = photo_views(photos.test, SIZES, "centre", chunk=1, should_stop=lambda: stop)
    next(chunks)
    stop = True
    with pytest.raises(Stopped):
        list(chunks)
