"""What a training reports, repeats and refuses; that it trains right is test_training_reference."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from resnet_repro.base.errors import ConfigError
from resnet_repro.data.dataset import Dataset
from resnet_repro.networks.network import build_network
from resnet_repro.networks.orders import CountedDropout
from resnet_repro.spec.recipe import Recipe
from resnet_repro.spec.run import Run
from resnet_repro.training.checkpoint import CheckpointError, pack, unpack
from resnet_repro.training.cifar_feed import TEST_BATCH, CifarFeed
from resnet_repro.training.device import Backend
from resnet_repro.training.evaluate import evaluate
from resnet_repro.training.feed import make_feed
from resnet_repro.training.order import Shard, split_indices
from resnet_repro.training.processes import Processes
from resnet_repro.training.trainer import DivergenceError, Trainer

FP32 = Backend(torch.device("cpu"), "fp32")


def weights_of(trainer: Trainer) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in trainer.network.state_dict().items()}


def identical(a: Trainer, b: Trainer) -> bool:
    """Bit for bit: weights, running statistics and everything in the curve but the clock."""
    first, second = weights_of(a), weights_of(b)
    curves = [[p._replace(seconds=0) for p in t.points] for t in (a, b)]
    return curves[0] == curves[1] and all(torch.equal(first[n], second[n]) for n in first)


def logits_one_by_one(network: nn.Module, images: np.ndarray, mean: np.ndarray) -> Tensor:
    """Logits [N, 10] of a network's test mode, each image by itself."""
    was_training = network.training
    network.eval()
    with torch.no_grad():
        rows = [network(torch.from_numpy(i.astype(np.float32) - mean)[None]) for i in images]
    network.train(was_training)
    return torch.cat(rows)


def mean_of(images: np.ndarray) -> np.ndarray:
    return images.astype(np.float64).mean(axis=0).astype(np.float32)


def with_changed(images: np.ndarray, which: Tensor) -> np.ndarray:
    """A copy in which some images are upside down and negative."""
    copy = images.copy()
    copy[which.numpy()] = 255 - copy[which.numpy(), :, ::-1]
    return copy


def test_a_point_averages_the_batches_since_the_last_one(small: Dataset, train: Any) -> None:
    common = {"iterations": 11, "batch_size": 16, "milestones": (6,)}
    every, some = train(small, **common), train(small, **common, evaluate_every=4)
    losses = [point.train_loss for point in every.points]
    errors = [point.train_error for point in every.points]
    assert [p.iteration for p in every.points] == list(range(1, 12))
    assert len(set(losses)) == 11
    assert all((error * 16 / 100).is_integer() for error in errors)

    parts = [slice(0, 4), slice(4, 8), slice(8, 11)]  # the last one is shorter
    assert [p.iteration for p in some.points] == [4, 8, 11]
    assert [p.train_loss for p in some.points] == pytest.approx([np.mean(losses[s]) for s in parts])
    assert [p.train_error for p in some.points] == pytest.approx(
        [np.mean(errors[s]) for s in parts]
    )
    assert [p.lr for p in some.points] == pytest.approx([0.1, 0.01, 0.01])
    assert [p.epoch for p in some.points] == [0.64, 1.28, 1.76]  # 100 training images
    assert [p.validation_error for p in some.points] == [None] * 3
    assert some.points[-1].test_error == every.points[-1].test_error
    seconds = [p.seconds for p in some.points]
    assert 0 < seconds[0] < seconds[1] < seconds[2] == pytest.approx(some.seconds, abs=1e-3)
    # Testing more often changes nothing but the curve.
    assert all(torch.equal(a, weights_of(some)[n]) for n, a in weights_of(every).items())


def test_the_test_error_is_of_the_single_view_of_every_test_image(
    small: Dataset, train: Any
) -> None:
    trainer = train(small, iterations=30, learning_rate=0.02, evaluate_every=30)
    logits = logits_one_by_one(trainer.network, small.test_images, mean_of(small.train_images))
    wrong = (logits.argmax(dim=1).numpy() != small.test_labels).sum()
    assert 0 < wrong < 30
    assert trainer.points[-1].test_error == pytest.approx(100 * wrong / 30)


@pytest.mark.parametrize("training", [True, False])
def test_evaluation_counts_the_last_partial_batch(
    synthetic: Dataset, small: Dataset, train: Any, training: bool
) -> None:
    trainer = train(small, iterations=5, evaluate_every=5)
    run, network = trainer.run, trainer.network.train(training)
    count = TEST_BATCH + 10
    images, mean = synthetic.test_images[:count], mean_of(small.train_images)
    logits = logits_one_by_one(network, images, mean).double()
    labels = logits.argmax(dim=1)
    labels[-10:] = (labels[-10:] + 1) % 10  # right everywhere but in the partial batch
    before = {name: value.clone() for name, value in network.state_dict().items()}

    dataset = dataclasses.replace(small, test_images=images, test_labels=labels.numpy())
    loss, error = evaluate(network, CifarFeed(run, dataset, FP32.device).part("test"), FP32)
    assert error == pytest.approx(100 * 10 / count)
    by_hand = torch.logsumexp(logits, dim=1) - logits[torch.arange(count), labels]
    assert loss == pytest.approx(by_hand.mean().item(), rel=1e-5)
    assert network.training == training
    assert all(torch.equal(value, before[n]) for n, value in network.state_dict().items())


def test_the_recorded_normalisation_is_that_of_the_training_images(
    small: Dataset, prepare: Any
) -> None:
    record = prepare(small).feed.normalisation
    mean = mean_of(small.train_images)
    assert record["sha256"] == hashlib.sha256(mean.tobytes()).hexdigest()
    averages = small.train_images.astype(np.float64).mean(axis=(0, 2, 3))
    assert record["channel_averages"] == pytest.approx(averages, abs=2e-3)


def test_held_out_images_are_never_trained_on(small: Dataset, train: Any) -> None:
    """Whatever the held-out images look like, the same network comes out."""
    settings = {"validation_images": 20, "iterations": 14, "batch_size": 16, "evaluate_every": 14}
    kept, held_out = split_indices(100, 20)
    plain = train(small, **settings)
    point = plain.points[-1]
    assert point.epoch == pytest.approx(14 * 16 / 80)

    logits = logits_one_by_one(
        plain.network,
        small.train_images[held_out.numpy()],
        mean_of(small.train_images[kept.numpy()]),
    )
    wrong = (logits.argmax(dim=1).numpy() != small.train_labels[held_out.numpy()]).sum()
    assert point.validation_error == pytest.approx(100 * wrong / 20)

    def retrained(which: Tensor) -> Trainer:
        images = with_changed(small.train_images, which)
        return train(dataclasses.replace(small, train_images=images), **settings)

    other = retrained(held_out)
    assert all(torch.equal(a, weights_of(other)[n]) for n, a in weights_of(plain).items())
    assert other.feed.normalisation == plain.feed.normalisation
    assert not torch.equal(
        retrained(kept[:1]).network.fc.weight, plain.network.fc.weight
    )  # a single training image matters


def test_test_images_are_never_trained_on(small: Dataset, train: Any) -> None:
    changed = with_changed(small.test_images, torch.arange(30))
    first = train(small, iterations=5)
    second = train(dataclasses.replace(small, test_images=changed), iterations=5)
    assert all(torch.equal(a, weights_of(second)[n]) for n, a in weights_of(first).items())


@pytest.mark.parametrize(("threshold", "window"), [(88.0, 4), (84.0, 3)])
def test_the_warm_up_ends_once_the_running_error_is_below_the_threshold(
    small: Dataset, prepare: Any, keep_going: Any, threshold: float, window: int
) -> None:
    warmup = {"learning_rate": 0.01, "until_train_error": threshold, "window": window}
    trainer = prepare(small, iterations=16, batch_size=50, milestones=(13,), warmup=warmup)
    hooks = keep_going()
    assert trainer.train(hooks)
    errors = [point.train_error for point in trainer.points]
    windows = [np.mean(errors[i : i + window]) for i in range(0, 16, window)]
    first = next(i for i, error in enumerate(windows) if error < threshold)
    end = (first + 1) * window
    assert window < end < 13  # neither at once nor at the end
    assert trainer.warmup_end == end
    assert hooks.rates == pytest.approx([0.01] * end + [0.1] * (13 - end) + [0.01] * 3)


def test_the_warm_up_lasts_while_the_error_stays_high(
    small: Dataset, prepare: Any, keep_going: Any
) -> None:
    trainer = prepare(small, warmup={"until_train_error": 0.001, "window": 2})
    hooks = keep_going()
    assert trainer.train(hooks)
    assert trainer.warmup_end is None
    assert hooks.rates == [0.01] * 12


def test_a_warm_up_of_a_stated_length_ends_whatever_the_error(
    small: Dataset, prepare: Any, keep_going: Any
) -> None:
    """As where chance has more than 99.9 %: tables state its length."""
    trainer = prepare(small, batch_size=4, warmup={"until_train_error": 99.9, "window": 1})
    seen = trainer.feed.batch(0).targets.tolist()
    with torch.no_grad():
        trainer.network.fc.bias[min(set(range(10)).difference(seen))] = 1_000
    hooks = keep_going()
    assert trainer.train(hooks)
    assert trainer.points[0].train_error == 100
    assert trainer.warmup_end == trainer.run.recipe.warmup.length == 1
    assert hooks.rates == [0.01] + [0.1] * 11


def test_a_seed_repeats_a_training_bit_for_bit(small: Dataset, train: Any) -> None:
    first = train(small, seed=5, iterations=8)
    torch.manual_seed(99)
    np.random.seed(99)
    assert identical(first, train(small, seed=5, iterations=8))
    other = train(small, seed=6, iterations=8)
    assert not torch.equal(first.network.conv1.weight, other.network.conv1.weight)
    assert [p.train_loss for p in first.points] != [p.train_loss for p in other.points]


def test_a_stopped_training_goes_on_as_if_it_had_not_stopped(
    small: Dataset, prepare: Any, train: Any, keep_going: Any
) -> None:
    recipe = {
        "iterations": 10,
        "milestones": (7,),
        "evaluate_every": 4,
        "warmup": {"until_train_error": 99.9, "window": 3},
    }
    whole = train(small, **recipe)
    stopped = prepare(small, **recipe)
    assert not stopped.train(keep_going(5))
    assert (stopped.iteration, stopped.made_last_iteration) == (5, False)
    content = pack(stopped.state())

    resumed = prepare(small, **recipe)
    resumed.load_state(unpack(content))
    assert resumed.iteration == 5
    assert resumed.train(keep_going())
    assert resumed.made_last_iteration
    assert identical(whole, resumed)
    assert resumed.warmup_end == whole.warmup_end == 3

    assert stopped.train(keep_going())  # going on in the same process is no different
    assert identical(whole, stopped)


def test_the_time_of_a_test_that_is_stopped_counts(
    small: Dataset, prepare: Any, keep_going: Any
) -> None:
    trainer, hooks = prepare(small), keep_going()
    asked = iter((False, False, True))  # before an iteration, before its test, in the test
    hooks.should_stop = lambda: next(asked)
    assert not trainer.train(hooks)
    assert (trainer.iteration, trainer.points) == (1, [])
    assert trainer.seconds > trainer.training_seconds > 0


def test_a_size_with_which_no_iteration_was_made_is_not_kept(small: Dataset, prepare: Any) -> None:
    """As where somebody calls torchrun by mistake and stops it at once."""
    trainer = prepare(small)
    state = trainer.state()
    (size,) = state["bn_sizes"]
    trainer.share = size // 2
    trainer.load_state(state)
    assert trainer.bn_sizes == [size, size // 2]
    assert trainer.state()["bn_sizes"] == [size]
    trainer.iteration += 1
    assert trainer.state()["bn_sizes"] == [size, size // 2]


def test_a_checkpoint_of_another_run_is_refused(small: Dataset, prepare: Any) -> None:
    content = pack(prepare(small, seed=1).state())
    with pytest.raises(CheckpointError, match="another run"):
        prepare(small, seed=2).load_state(unpack(content))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda content: b"", "empty"),
        (lambda content: content[:-1], "damaged"),
        (lambda content: content[:-1] + bytes([content[-1] ^ 1]), "damaged"),
        (lambda content: content[: len(content) // 2], "damaged"),
        (lambda content: b"something else", "not a checkpoint"),
    ],
)
def test_a_damaged_checkpoint_is_told_apart(damage: Any, says: str) -> None:
    content = pack({"a": torch.arange(3), "b": [1.5, None, "text"]})
    whole = unpack(content)
    assert torch.equal(whole["a"], torch.arange(3))
    assert whole["b"] == [1.5, None, "text"]
    with pytest.raises(CheckpointError, match=says):
        unpack(damage(content))


def test_bf16_learns_like_fp32_with_fp32_weights(small: Dataset, train: Any) -> None:
    recipe = {"iterations": 20, "learning_rate": 0.02, "evaluate_every": 5}
    exact, fast = (train(small, precision=p, **recipe) for p in ("fp32", "bf16"))
    a, b = ([p.train_loss for p in t.points] for t in (exact, fast))
    assert b == pytest.approx(a, rel=0.05)
    assert b != pytest.approx(a, rel=1e-5)  # it is another arithmetic
    assert b[-1] < 0.85 * b[0]
    assert {value.dtype for value in weights_of(fast).values()} == {torch.float32, torch.int64}


def test_the_recipe_reaches_the_network(small: Dataset, prepare: Any) -> None:
    trainer = prepare(
        small,
        bn_epsilon=1e-3,
        bn_momentum=0.25,
        zero_channels="both-sides",
        classifier_init="uniform",
        convolution_init="he-fan-out",
    )
    norms = [m for m in trainer.network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(m.eps, m.momentum) for m in norms} == {(1e-3, 0.25)}
    x = torch.ones(1, 16, 4, 4)
    assert [int(c) for c in trainer.network.layer2[0].downsample(x)[0, :, 0, 0]] == (
        [0] * 8 + [1] * 16 + [0] * 8
    )
    assert trainer.network.fc.bias.any()
    usual = prepare(small)
    assert not usual.network.fc.bias.any()
    ratio = trainer.network.conv1.weight.std() / usual.network.conv1.weight.std()
    assert ratio.item() == pytest.approx((3 / 16) ** 0.5, rel=1e-3)
    assert usual.parameters == sum(p.numel() for p in build_network(usual.run.network).parameters())


def test_what_does_not_fit_the_data_is_a_configuration_error(small: Dataset) -> None:
    def trainer(**recipe: int) -> Trainer:
        settings = Recipe(iterations=1, milestones=(), **recipe)  # type: ignore[arg-type]
        run = Run(network="plain-8", dataset="synthetic", recipe=settings, seed=0)
        return Trainer(run, make_feed(run, small, FP32), FP32)

    with pytest.raises(ConfigError, match=r"batch_size: 101 is more than the 100"):
        trainer(batch_size=101)
    with pytest.raises(ConfigError, match=r"batch_size: 91 is more than the 90"):
        trainer(batch_size=91, validation_images=10)
    with pytest.raises(ConfigError, match="validation_images: 100"):
        trainer(validation_images=100, batch_size=1)
    assert trainer(batch_size=90, validation_images=10).iteration == 0


def test_a_loss_that_is_no_number_ends_the_training(
    small: Dataset, prepare: Any, keep_going: Any
) -> None:
    class Poison(keep_going):  # type: ignore[misc, valid-type]
        def on_iteration(self, trainer: Trainer) -> None:
            if trainer.iteration == 3:
                nn.init.constant_(trainer.network.fc.bias, float("nan"))

    trainer = prepare(small, evaluate_every=100)
    with pytest.raises(DivergenceError, match="not finite at iteration 4"):
        trainer.train(Poison())
    assert trainer.points == []


def test_processes_that_share_a_batch_drop_by_themselves(small: Dataset, prepare: Any) -> None:
    alone = prepare(small, "resnet-8-dropout-shortcut")
    second = Trainer(alone.run, alone.feed, FP32, Processes(Shard(1, 2)))
    ranks = [
        {m.rank for m in trainer.network.modules() if isinstance(m, CountedDropout)}
        for trainer in (alone, second)
    ]
    assert ranks == [{0}, {1}]
