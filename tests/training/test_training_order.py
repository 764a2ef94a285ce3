"""Which images each iteration sees, and that crops and mirrors are drawn evenly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from resnet_repro.training.order import BatchOrder, Draw, split_indices

FIELDS = ("images", "top", "left", "mirrored")


def order_of(
    images: int = 100, batch_size: int = 32, seed: int = 0, **changes: object
) -> BatchOrder:
    settings = {"pad": 4, "mirror": True, "partial_batch": "wrap"} | changes
    return BatchOrder(images, batch_size, seed, **settings)  # type: ignore[arg-type]


def same(a: Draw, b: Draw) -> bool:
    return all(torch.equal(getattr(a, f), getattr(b, f)) for f in FIELDS)


sizes = st.integers(1, 60).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n)))


@settings(deadline=None, database=None, max_examples=60)
@given(sizes, st.integers(0, 2**31 - 1))
def test_wrapped_batches_show_every_image_exactly_once_per_epoch(
    size: tuple[int, int], seed: int
) -> None:
    images, batch_size = size
    order = order_of(images, batch_size, seed)
    count = 3 * images // batch_size + 1  # at least three epochs
    batches = [order.batch(i).images for i in range(count)]
    assert all(len(batch) == batch_size for batch in batches)
    stream = torch.cat(batches)
    for epoch in range(3):
        seen = stream[epoch * images : (epoch + 1) * images]
        assert seen.sort().values.tolist() == list(range(images))


@settings(deadline=None, database=None, max_examples=60)
@given(sizes, st.integers(0, 2**31 - 1))
def test_dropped_batches_never_repeat_an_image_within_an_epoch(
    size: tuple[int, int], seed: int
) -> None:
    images, batch_size = size
    order = order_of(images, batch_size, seed, partial_batch="drop")
    per_epoch = images // batch_size
    for epoch in range(3):
        batches = [order.batch(epoch * per_epoch + i).images for i in range(per_epoch)]
        seen = torch.cat(batches).tolist()
        assert len(seen) == per_epoch * batch_size
        assert len(set(seen)) == len(seen)
        assert set(seen) <= set(range(images))


def test_dropping_begins_each_epoch_anew_and_wrapping_does_not() -> None:
    """100 images in batches of 32: the fourth batch is 4 images and 28 of the next epoch's."""
    wrapped, dropped = order_of(), order_of(partial_batch="drop")
    assert all(same(wrapped.batch(i), dropped.batch(i)) for i in range(3))
    fourth, next_epoch = wrapped.batch(3), dropped.batch(3)
    for field in FIELDS:
        assert torch.equal(getattr(fourth, field)[4:], getattr(next_epoch, field)[:28])


def test_the_epochs_of_the_papers_protocol() -> None:
    assert order_of(50_000, 128).epoch(64_000) == 163.84
    assert order_of(45_000, 128).epoch(0) == 0
    assert order_of(50_000, 128, partial_batch="drop").epoch(390) == 1


def test_a_draw_depends_on_seed_and_iteration_only() -> None:
    """Resuming anywhere, or asking in any order, gives the batches of an uninterrupted run."""
    uninterrupted = order_of(seed=7)
    expected = [uninterrupted.batch(i) for i in range(40)]
    shuffled = order_of(seed=7)
    for i in np.random.default_rng(0).permutation(40).tolist():
        torch.manual_seed(i)
        assert same(shuffled.batch(i), expected[i])
    assert same(order_of(seed=7).batch(39), expected[39])


def test_epochs_and_seeds_differ_in_order_and_in_crops() -> None:
    def epoch(seed: int, number: int) -> Draw:
        return order_of(1_000, 1_000, seed).batch(number)

    base = epoch(0, 0)
    for other in (epoch(0, 1), epoch(1, 0), epoch(1, 1)):
        for field in FIELDS:
            agreement = (getattr(base, field) == getattr(other, field)).float().mean().item()
            chance = {"images": 1 / 1_000, "mirrored": 1 / 2}.get(field, 1 / 9)
            assert agreement == pytest.approx(chance, abs=0.06), field


def test_all_81_offsets_and_both_mirrors_are_equally_likely() -> None:
    order = order_of(10_000, 10_000, seed=0)
    draws = [order.batch(epoch) for epoch in range(2)]
    top, left, mirrored = (torch.cat([getattr(d, f) for d in draws]) for f in FIELDS[1:])
    assert mirrored.dtype == torch.bool
    counts = torch.bincount((top * 9 + left) * 2 + mirrored, minlength=162)
    assert len(counts) == 162  # nothing outside 0..8
    assert counts.min() > 0
    assert chisquare(counts.numpy()).pvalue > 0.001
    assert chisquare(torch.bincount(mirrored.long()).numpy()).pvalue > 0.001


def test_an_image_is_cropped_differently_in_every_epoch() -> None:
    order = order_of(50, 50)
    crops = set()
    for epoch in range(200):
        draw = order.batch(epoch)
        where = int((draw.images == 17).nonzero())
        crops.add((int(draw.top[where]), int(draw.left[where]), bool(draw.mirrored[where])))
    assert len(crops) > 100  # of 162, in 200 draws


def test_padding_and_mirroring_can_be_turned_off() -> None:
    draw = order_of(200, 200, pad=0, mirror=False).batch(0)
    assert not draw.top.any()
    assert not draw.left.any()
    assert not draw.mirrored.any()
    narrow = order_of(200, 200, pad=1).batch(0)
    assert set(narrow.top.tolist()) == set(narrow.left.tolist()) == {0, 1, 2}
    assert set(narrow.mirrored.tolist()) == {False, True}


def test_a_batch_larger_than_the_data_is_refused() -> None:
    with pytest.raises(ValueError, match="batch of 101 from 100 images"):
        order_of(100, 101)


@settings(deadline=None, database=None, max_examples=40)
@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n - 1))))
def test_a_split_parts_the_images(size: tuple[int, int]) -> None:
    images, held_out = size
    kept, validation = split_indices(images, held_out)
    assert len(validation) == held_out
    assert sorted(kept.tolist() + validation.tolist()) == list(range(images))


def test_the_45k_5k_split_is_random_and_the_same_for_ever() -> None:
    kept, validation = split_indices(50_000, 5_000)
    torch.manual_seed(123)
    again = split_indices(50_000, 5_000)
    assert torch.equal(kept, again[0])
    assert torch.equal(validation, again[1])
    # From all over the data set, not a contiguous piece of it.
    tenths = torch.bincount(validation // 5_000, minlength=10)
    assert chisquare(tenths.numpy()).pvalue > 0.001
    assert validation[:6].tolist() == [2, 20, 45, 51, 68, 69]
