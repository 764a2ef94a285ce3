"""`resnet-repro evaluate FILE` with a CIFAR network: what the weights expect is found, or said."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cifar_reference import MEANS, WIDTHS, Net, expected, taught
from narrow_networks import set_widths

from resnet_repro.cli.evaluating import KINDS, PADDINGS
from resnet_repro.data import synthetic
from resnet_repro.data.dataset import Dataset, Identity
from resnet_repro.measure.evaluate import cifar_weights
from resnet_repro.measure.evaluate import input as input_
from resnet_repro.measure.evaluate.cifar_weights import _Trial
from resnet_repro.networks.architecture import IMAGENET_WIDTHS
from resnet_repro.store.models import ExternalEvaluation
from resnet_repro.store.store import Store

TRAIN, TEST = 180, 100
TRIED = [kind for kind in KINDS if kind != "cifar100"]  # on CIFAR-10


@pytest.fixture(autouse=True, scope="module")
def widths(narrow: None) -> None:
    """Narrow ones for 32x32 images, though wide enough to tell one input from another."""
    set_widths(WIDTHS, IMAGENET_WIDTHS)


@dataclass
class Given:
    """A data set, a file of weights, and the error that the weights make in the right way."""

    data: Dataset
    net: Net
    error: float  # percent of the test images

    def error_with(self, kind: str, padding: str) -> float:
        """The error of the same weights, given something else."""
        other = Net(padding).eval()
        other.load_state_dict(self.net.state_dict())
        return wrong(other, expected(kind, self.data.test_images, self.data.train_images), self)


def wrong(net: Net, images: torch.Tensor, given: Given) -> float:
    with torch.no_grad():
        answers = net(images).argmax(1).numpy()
    return 100 * float((answers != given.data.test_labels).mean())


Make = Callable[..., Given]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Make:
    """Weights that somebody trained, as far as they can be told from outside.

    The labels are the network's own answers in the right way, `noise` of them changed.
    """

    def make(kind: str, padding: str, noise: float = 0.04) -> Given:
        whole = synthetic.generate()
        training, test = whole.train_images[:TRAIN], whole.test_images[:TEST]
        net = taught(padding, expected(kind, training, training))
        random = np.random.default_rng(0)
        labels = []
        for images in (training, test):
            with torch.no_grad():
                answers = net(expected(kind, images, training)).argmax(1).numpy()
            other = (answers + random.integers(1, 10, len(answers))) % 10
            labels.append(np.where(random.random(len(answers)) < noise, other, answers))
        data = Dataset(
            Identity("cifar10", True, "0" * 64, "made up", ""),
            whole.classes,
            *(training, labels[0], test, labels[1]),
        )
        monkeypatch.setattr("resnet_repro.data.datasets.load", lambda *_, **__: data)
        state = {f"module.{name}": tensor for name, tensor in net.state_dict().items()}
        torch.save({"state_dict": state, "best_prec1": 91.7}, tmp_path / "r8.th")
        given = Given(data, net, 0.0)
        given.error = wrong(net, expected(kind, test, training), given)
        return given

    return make


@pytest.fixture
def measure(command) -> Callable[..., dict[str, Any]]:
    def measure(*more: object, network: str = "resnet-8") -> dict[str, Any]:
        answer = command("evaluate", "r8.th", "--network", network, "--json", *more)
        assert answer.code == 0, answer.err
        found = json.loads(answer.out)
        found["error"] = found["evaluations"][0]["top1_error"]
        found["warnings"] = [note for note in found["notes"] if note.startswith("warning: ")]
        return found

    return measure


@pytest.mark.parametrize(("kind", "padding"), [*zip(TRIED, itertools.cycle(PADDINGS))])
def test_what_weights_expect_is_found(kind: str, padding: str, make: Make, measure) -> None:
    given = make(kind, padding)
    found = measure("--dataset", "cifar10")
    assert found["error"] == pytest.approx(given.error)
    assert found["evaluations"][0]["images"] == TEST
    assert found["precision"] == "fp32"
    chosen = f"--input {kind} --padding {padding}: clearly the best on training images"
    (note,) = (note for note in found["notes"] if note.startswith(chosen))
    assert all(f"{other}/end" in note and f"{other}/both" in note for other in TRIED)
    assert input_.PADDINGS[padding].where in found["input"]
    assert not found["warnings"]
    assert found["error"] < 10 < given.error_with(kind, *{"end", "both"} - {padding})


@pytest.mark.parametrize(
    ("padding", "network"), [("projection", "resnet-8-b"), ("plain", "plain-8")]
)
def test_networks_without_zero_channels(padding: str, network: str, make: Make, measure) -> None:
    given = make("torchvision", padding)
    found = measure(network=network)
    assert found["error"] == pytest.approx(given.error)
    assert found["notes"][0].startswith("--input torchvision: clearly the best")
    assert "zero channels" not in found["input"]


def test_what_is_stated_is_used_and_a_wrong_statement_warned_of(make: Make, measure) -> None:
    given = make("torchvision", "both")
    right = measure("--input", "torchvision", "--padding", "both")
    assert right["error"] == pytest.approx(given.error)
    assert right["notes"][0].startswith(
        "--input torchvision --padding both: stated. Errors in percent"
    )
    assert not right["warnings"]
    assert measure("--input", "torchvision")["error"] == right["error"], "the padding is found"

    for kind, padding in [("torchvision", "end"), ("paper", "both"), ("kuangliu", "both")]:
        found = measure("--input", kind, "--padding", padding)
        assert found["error"] == pytest.approx(given.error_with(kind, padding))
        (warning,) = found["warnings"]
        assert "--input torchvision --padding both is clearly better" in warning


def test_of_useless_weights_it_is_said_that_errors_are_many(
    monkeypatch: pytest.MonkeyPatch, make: Make, measure
) -> None:
    """Though another way has smaller losses: it has as many errors."""

    def tried(tester: Any, ways: Any, count: int) -> list[Any]:
        losses = {"paper": 5.0, "kuangliu": 3.0}
        return [_Trial(way, torch.full((100,), losses.get(way.kind, 4.0)), 90.0) for way in ways]

    make("torchvision", "both")
    monkeypatch.setattr(cifar_weights._Tester, "tried", tried)
    (warning,) = measure("--input", "paper", "--padding", "both")["warnings"]
    assert warning.startswith("warning: 90.00 % errors on training images are many")


def test_a_stated_mean(make: Make, measure) -> None:
    given = make("torchvision", "end")
    mean = [255 * value for value in MEANS["torchvision"][0]]
    found = measure("--mean", ",".join(map(str, mean)))
    assert found["error"] == pytest.approx(given.error)
    assert "--input torchvision --mean 123.675,116.28,103.53 --padding end" in found["notes"][0]
    wrong_mean = measure("--input", "torchvision", "--mean", "0,0,0", "--padding", "end")
    assert wrong_mean["error"] > given.error
    assert "--input torchvision --padding end is clearly better" in wrong_mean["warnings"][0]


def test_a_stated_mean_of_kinds_that_do_the_same(make: Make, measure) -> None:
    """With a mean of its own, `paper-0-1` and `0-1` are one and the same."""
    given = make("0-1", "end")
    found = measure("--mean", "0,0,0", "--padding", "end")
    assert found["error"] == pytest.approx(given.error)
    assert "with --mean paper-0-1/end" in found["notes"][0]
    assert "with --mean 0-1/end" not in found["notes"][0]


def test_nothing_that_is_unclear_is_taken(command, make: Make, measure) -> None:
    given = make("torchvision", "both", noise=0.3)  # as of weights that are hardly trained
    answer = command("evaluate", "r8.th", "--network", "resnet-8", "--record")
    assert answer.code == 2
    assert not answer.out
    says = answer.err.splitlines()[-1]
    assert "no combination of input and padding is clearly right on training images" in says
    assert says.endswith("say it with --input (perhaps with --mean R,G,B) and --padding")
    assert not Path("results").exists()
    stated = measure("--input", "torchvision", "--padding", "both")
    assert stated["error"] == pytest.approx(given.error)
    assert "% errors on training images are many" in stated["warnings"][0]

    answer = command("evaluate", "r8.th", "--network", "resnet-8", "--input", "paper")
    assert answer.code == 2
    assert "torchvision/both" in answer.err, "it fits best"
    assert answer.err.splitlines()[-1].endswith("say it with --padding")


@pytest.mark.parametrize(
    ("padding", "right", "asked"),
    [("end", "resnet-8", "plain-8"), ("plain", "plain-8", "resnet-8")],
)
def test_of_weights_that_only_guess_the_networks_with_the_same_tensors_are_named(
    command, make: Make, measure, padding: str, right: str, asked: str
) -> None:
    make("torchvision", padding)
    answer = command("evaluate", "r8.th", "--network", asked)
    assert answer.code == 2
    assert f"try --network {right}, which has the same tensors, or say it with --in" in answer.err
    stated = ["--input", "torchvision", *(["--padding", "end"] if asked == "resnet-8" else [])]
    (warning,) = measure(*stated, network=asked)["warnings"]
    assert warning.endswith(f", or want --network {right}, which has the same tensors")


def test_the_test_images_have_no_part_in_it(make: Make, measure) -> None:
    given = make("cifar", "end")
    given.data.test_labels[:] = (given.data.test_labels + 1) % 10
    found = measure()
    assert found["error"] > 90
    assert not found["warnings"]


def test_combinations_that_come_close_are_tried_on_more_images(
    make: Make, measure, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = make("cifar", "end")
    monkeypatch.setattr("resnet_repro.measure.evaluate.cifar_weights.TRIED", (60, TRAIN))
    found = measure()
    assert found["error"] == pytest.approx(given.error)
    first, _, again = found["notes"][0].partition(f"; on {TRAIN}: ")
    assert "on 60 training images" in first
    assert again.startswith("cifar/end ")
    assert "both" not in again


def test_recorded_and_reported(command, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    given = make("torchvision", "both")
    answer = command("evaluate", "r8.th", "--network", "resnet-8", "--record")
    assert answer.code == 0, answer.err
    assert f"trying 14 combinations on {TRAIN} training images" in answer.err
    assert f"r8.th: {TEST} test images of cifar10 (made up), fp32\n" in answer.out
    assert "note: --input torchvision --padding both: clearly the best" in answer.out
    (stored,) = Store(Path("results")).records(ExternalEvaluation)
    assert stored.evaluations[0].top1_error == pytest.approx(given.error)
    assert stored.input.endswith("zero channels on both sides of the others")
    assert "clearly the best" in stored.notes[0]
    assert command("report").code == 0
    assert "weights" in Path("results/report.md").read_text(encoding="utf-8")
    assert "r8.th on CIFAR-10" in Path("results/report.md").read_text(encoding="utf-8")
    monkeypatch.setattr("resnet_repro.measure.evaluate.cifar_weights.row_of", None)
    more = ("--record", "--precision", "bf16")
    answer = command("evaluate", "r8.th", "--network", "resnet-8", *more)
    assert (answer.code, "other conditions (fp32; 0 to 1" in answer.err) == (1, True), answer.err


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--crops", "10"], "single original view: --crops 1"),
        (["--crop", "64"], "takes 32x32 images as they are"),
        (["--padding", "left"], "--padding 'left'"),
        (["--dataset", "imagenet"], "does not go with imagenet but with cifar10"),
        (["--network", "resnet-14"], "does not fit resnet-14"),
        (["--network", "resnet-8-b", "--padding", "end"], "resnet-8-b has none"),
        (["--network", "plain-8", "--padding", "end"], "plain-8 has none"),
    ],
)
def test_mistakes_get_a_line(command, tmp_path: Path, more: list[str], says: str) -> None:
    torch.save(Net("both").state_dict(), tmp_path / "r8.th")
    answer = command("evaluate", "r8.th", "--network", "resnet-8", *more)
    assert answer.code == 2
    assert says in answer.err
    assert len(answer.err.splitlines()) == 1
    assert not answer.out


def test_another_number_of_classes(command, make: Make, tmp_path: Path) -> None:
    given = make("torchvision", "both")
    given.net.linear = torch.nn.Linear(given.net.linear.in_features, 100)
    torch.save(given.net.state_dict(), tmp_path / "r8.th")
    answer = command("evaluate", "r8.th", "--network", "resnet-8")
    assert answer.code == 2
    assert "tell 100 classes apart, cifar10 has 10; try --dataset cifar100" in answer.err


def test_the_means_of_cifar_100_are_those_of_its_weights_alone(make: Make, measure) -> None:
    given = make("cifar100", "end")
    found = measure("--input", "cifar100", "--padding", "end")
    assert found["error"] == pytest.approx(given.error)
    assert "the channel means of CIFAR-100" in found["input"]


def test_where_imagenet_networks_have_their_zero_channels(
    command, tmp_path: Path, folder: Path
) -> None:
    from evaluation_pictures import random_network

    torch.save(random_network("resnet-18-a", 3).state_dict(), tmp_path / "a.pth")
    asked = ("evaluate", "a.pth", "--network", "resnet-18-a", "--dataset", f"folder:{folder}")
    losses = set()
    for padding in PADDINGS:
        answer = command(*asked, "--crop", "32", "--padding", padding, "--json")
        found = json.loads(answer.out)
        losses.add(found["evaluations"][0]["loss"])
        where = input_.PADDINGS[padding].where
        assert found["input"].endswith(f"option A's zero channels {where}")
    assert len(losses) == 2


def test_the_command_line_knows_all_that_there_is() -> None:
    assert set(KINDS) == set(input_.KINDS)
    assert set(PADDINGS) == set(input_.PADDINGS)
