"""Photographs as a training sees them: which, how, in whose share, and whatever interrupts."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from short_runs import small_synthetic

from resnet_repro.data.dataset import Dataset, Identity
from resnet_repro.data.photos.photos import PhotoDataset, Photos, photos_of
from resnet_repro.spec.recipe import Recipe
from resnet_repro.spec.recipe_parts import Photographs
from resnet_repro.spec.run import Run
from resnet_repro.training.device import Backend
from resnet_repro.training.evaluate import evaluate
from resnet_repro.training.feed import make_feed
from resnet_repro.training.order import Batch, Shard
from resnet_repro.training.photo_feed import TEST_BATCH, PhotoFeed
from resnet_repro.training.processes import Processes

FP32 = Backend(torch.device("cpu"), "fp32")
SIZES = Photographs.for_crop(16)


@pytest.fixture(scope="module")
def photos(small: Dataset) -> PhotoDataset:
    return photos_of(small)


@pytest.fixture(scope="module")
def many() -> PhotoDataset:
    """Enough to test on for several batches, the last one partial."""
    return photos_of(small_synthetic(50, 3 * TEST_BATCH + 5))


def feed_of(
    photos: PhotoDataset, shard: tuple[int, int] = (0, 1), seed: int = 0, **sizes: object
) -> PhotoFeed:
    recipe = Recipe.model_validate(
        {
            "iterations": 8,
            "milestones": (),
            "batch_size": 12,
            "photographs": SIZES.model_copy(update=sizes).model_dump(),
        }
    )
    run = Run(network="plain-18", dataset="synthetic", recipe=recipe, seed=seed)
    feed = make_feed(run, photos, FP32, Processes(Shard(*shard)))
    assert isinstance(feed, PhotoFeed)
    return feed


def equal(a: Batch, b: Batch) -> bool:
    return torch.equal(a.inputs, b.inputs) and torch.equal(a.targets, b.targets)


def test_a_batch_depends_on_seed_and_iteration_alone(photos: PhotoDataset) -> None:
    first, second = feed_of(photos), feed_of(photos)
    batches = [first.batch(i) for i in range(4)]
    assert batches[0].inputs.shape == (12, 3, 16, 16)
    assert batches[0].inputs.dtype == torch.float32
    assert batches[0].inputs.is_contiguous(memory_format=torch.channels_last)
    assert equal(second.batch(2), batches[2])  # straight away, as after a resume
    assert equal(second.batch(0), batches[0])
    assert not equal(batches[0], batches[1])
    assert not equal(feed_of(photos, seed=1).batch(0), batches[0])
    first.close()
    assert equal(first.batch(3), batches[3])


def test_shares_make_up_the_batch(photos: PhotoDataset) -> None:
    whole = feed_of(photos).batch(3)
    shares = [feed_of(photos, (rank, 3)).batch(3) for rank in range(3)]
    assert [len(share.targets) for share in shares] == [4, 4, 4]
    joined = Batch(*(torch.cat(tensors) for tensors in zip(*shares, strict=True)))
    assert equal(joined, whole)


@pytest.mark.parametrize("world", [2, 3, 6])
def test_processes_test_every_photograph_once_and_ask_equally_often(
    many: PhotoDataset, world: int
) -> None:
    whole = list(feed_of(many).part("test"))
    assert [len(batch.targets) for batch in whole] == [TEST_BATCH] * 3 + [5]
    shares = [list(feed_of(many, (rank, world)).part("test")) for rank in range(world)]
    assert len({len(share) for share in shares}) == 1
    in_turn = [batch for turn in zip(*shares, strict=True) for batch in turn]
    filled = [batch for batch in in_turn if len(batch.targets)]
    assert all(equal(a, b) for a, b in zip(filled, whole, strict=True))


def by_hand(image: NDArray[np.uint8], mean: NDArray[np.float32]) -> NDArray[np.float32]:
    """The centre crop of a 32x32 image [3, 32, 32] at shorter side 32, crop 16, mean subtracted."""
    return image[:, 8:24, 8:24].astype(np.float32) - mean


def test_photographs_are_tested_on_their_centre_less_the_mean(
    small: Dataset, photos: PhotoDataset
) -> None:
    """At the images' own size, so that nothing is resized."""
    feed = feed_of(photos, test_shorter_side=32)
    mean = small.train_images[:, :, 8:24, 8:24].mean(axis=0).astype(np.float32)
    expected = np.stack([by_hand(image, mean) for image in small.test_images])
    (batch,) = feed.part("test")
    assert batch.inputs.numpy() == pytest.approx(expected, abs=1e-4)
    assert batch.targets.tolist() == small.test_labels.tolist()
    record = feed.normalisation
    assert record["sha256"] == hashlib.sha256(mean.tobytes()).hexdigest()
    assert record["channel_averages"] == pytest.approx(mean.mean(axis=(1, 2)), abs=1e-3)
    values = np.array(record["eigenvalues"])
    pixels = small.train_images[:, :, 8:24, 8:24].transpose(1, 0, 2, 3).reshape(3, -1) / 255
    assert values == pytest.approx(np.linalg.eigvalsh(np.cov(pixels, bias=True))[::-1], rel=1e-4)

    which = [0, 25, 50, 75]
    fixed = feed.fixed_batch(4)
    assert fixed.targets.tolist() == small.train_labels[which].tolist()
    expected = np.stack([by_hand(image, mean) for image in small.train_images[which]])
    assert fixed.inputs.numpy() == pytest.approx(expected, abs=1e-4)


def test_training_crops_are_mirrored_and_coloured_as_the_recipe_says(
    small: Dataset, photos: PhotoDataset
) -> None:
    """Where the crop is the whole image, there is nothing else to draw."""
    sides: dict[str, Any] = {"crop": 32, "shorter_side": (32, 32), "test_shorter_side": 32}
    sides["multi_scale"] = (32,)
    mean = small.train_images.mean(axis=0).astype(np.float32)
    plain = feed_of(photos, **sides, mirror=False, colour_std=0.0)
    which = plain.order.batch(1).images.numpy()
    expected = small.train_images[which] - mean
    assert plain.batch(1).inputs.numpy() == pytest.approx(expected, abs=1e-4)

    mirrored = feed_of(photos, **sides, colour_std=0.0).batch(1).inputs.numpy()
    turned = small.train_images[which][..., ::-1] - mean
    as_they_are = [np.allclose(a, b, atol=1e-4) for a, b in zip(mirrored, expected, strict=True)]
    turned_round = [np.allclose(a, b, atol=1e-4) for a, b in zip(mirrored, turned, strict=True)]
    assert any(as_they_are)
    assert any(turned_round)
    assert all(a or b for a, b in zip(as_they_are, turned_round, strict=True))

    shift = feed_of(photos, **sides, mirror=False).batch(1).inputs.numpy() - expected
    colours = shift.mean(axis=(2, 3))
    assert shift == pytest.approx(np.broadcast_to(colours[..., None, None], shift.shape), abs=1e-3)
    assert 0 < np.abs(colours).max() < 128


class Counted(Photos):
    """Photographs that count how often they are looked at."""

    def __init__(self, photos: Photos) -> None:
        self.photos, self.asked = photos, 0
        self.labels = photos.labels

    def image(self, index: int) -> Any:
        self.asked += 1
        return self.photos.image(index)

    def some(self, indices: Any) -> Photos:
        return Counted(self.photos.some(indices))


def test_a_test_looks_at_test_photographs_only(photos: PhotoDataset) -> None:
    feed = feed_of(photos)
    trained, tested = Counted(photos.train), Counted(photos.test)
    identity: Identity = photos.identity
    feed.dataset = PhotoDataset(identity, photos.classes, trained, tested)
    feed.workers = 0
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 10))
    _, error = evaluate(network, feed.part("test"), FP32)
    assert 0 <= error <= 100
    assert (trained.asked, tested.asked) == (0, 30)
