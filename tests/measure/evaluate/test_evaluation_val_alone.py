"""Testing on val alone, and on class folders whose order may not be the network's."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from evaluation_pictures import photograph
from torchvision.models import resnet18


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "one.jpg"
    photograph(50, 40, 0).save(path)
    return path


@pytest.fixture
def write(tmp_path: Path, image: Path) -> Callable[..., Path]:
    """Make class folders in val (and other parts), all with the same photograph."""

    def write(classes: list[str], *parts: str) -> Path:
        for part in ("val", *parts):
            for name in classes:
                path = tmp_path / "photos" / part / name / "a.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(image, path)
        return tmp_path / "photos"

    return write


def constant(path: Path, classes: int, answer: int) -> Path:
    """Weights of a network that always gives the same answer."""
    network = resnet18(num_classes=classes)
    with torch.no_grad():
        network.fc.weight.zero_()
        network.fc.bias.zero_()
        network.fc.bias[answer] = 100.0
    torch.save(network.state_dict(), path)
    return path


def evaluate(command: Any, weights: Path, dataset: str, *more: object) -> Any:
    network = ("--network", "resnet-18-b", "--crop", 32, "--precision", "fp32")
    return command("evaluate", weights, *network, "--dataset", dataset, *more)


@pytest.mark.parametrize("dataset", ["folder:photos", "imagenet", "imagenette"])
def test_val_alone_is_enough_for_weights_of_torchvisions_kind(
    command: Any, write: Callable[..., Path], tmp_path: Path, dataset: str
) -> None:
    folder = write(["n01440764", "n02102040"])
    weights = constant(tmp_path / "w.pth", 2, 0)
    if dataset != "folder:photos":
        assert command("data", "prepare", dataset, "--from", folder).code == 0
        verified = command("data", "verify", dataset)
        assert "0 training and 2 validation images" in verified.out
        assert "with none to train on, enough to test somebody else's weights" in verified.out
    answer = evaluate(command, weights, dataset, "--json")
    assert answer.code == 0, answer.err
    (row,) = json.loads(answer.out)["evaluations"]
    assert (row["images"], row["top1_error"]) == (2, 50.0)


def test_what_needs_training_photographs_says_so(
    command: Any, write: Callable[..., Path], tmp_path: Path
) -> None:
    dataset = f"folder:{write(['ant', 'bee'])}"
    weights = constant(tmp_path / "w.pth", 2, 0)
    answer = evaluate(command, weights, dataset, "--input", "paper")
    assert (answer.code, len(answer.err.splitlines()[-1:])) == (3, 1)
    assert "val alone, without train: --input paper subtracts the training" in answer.err
    assert "--mean R,G,B" in answer.err
    mean = ("--input", "paper", "--mean", "120,115,100")
    assert evaluate(command, weights, dataset, *mean).code == 0


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("run", "training needs both; `resnet-repro evaluate` can test weights on it"),
        ("bench", "what is measured is training"),
    ],
)
def test_training_on_val_alone_is_refused_in_a_line(
    command: Any, write: Callable[..., Path], tmp_path: Path, how: str, why: str
) -> None:
    folder = write(["n01440764", "n02102040"])
    assert command("data", "prepare", "imagenette", "--from", folder).code == 0
    arguments = {
        "run": ("run", "table2", "--preset", "short", "--networks", "resnet-18-a"),
        "bench": ("bench", "--networks", "resnet-18-a", "--rounds", 1, "--seconds", 0.1),
    }[how]
    answer = command(*arguments, "--dataset", "imagenette", "--device", "cpu")
    assert answer.code == 3
    assert answer.err.splitlines()[-1] == (
        f"resnet-repro: imagenette here is val alone, without train: {why}"
    )
    assert not list(tmp_path.glob("results/runs/*"))


def test_numbered_folders_are_the_networks_classes_by_number(
    command: Any, write: Callable[..., Path], tmp_path: Path
) -> None:
    folder = write([str(number) for number in range(12)], "train")
    for number in set(range(12)) - {10}:
        shutil.rmtree(folder / "val" / str(number))
    answer = evaluate(command, constant(tmp_path / "w.pth", 12, 10), f"folder:{folder}", "--json")
    found = json.loads(answer.out)
    assert found["evaluations"][0]["top1_error"] == 0.0
    assert any("in the order of their numbers, 2 before 10" in note for note in found["notes"])


@pytest.mark.parametrize(
    ("dataset", "classes", "words"),
    [
        ("folder", ["class_1", "class_10", "class_2"], "their names, class_10 before class_2"),
        ("imagenet", ["0", "2"], "their numbers, of which some from 0 to 2 are missing"),
        ("imagenet", ["goldfish", "tench"], "their names"),
        ("imagenet", ["n01440764", "n02102040"], None),
    ],
)
def test_an_order_that_may_not_be_the_networks_is_noted(
    command: Any,
    write: Callable[..., Path],
    tmp_path: Path,
    dataset: str,
    classes: list[str],
    words: str | None,
) -> None:
    folder = write(classes)
    if dataset == "imagenet":
        assert command("data", "prepare", "imagenet", "--from", folder).code == 0
    named = f"folder:{folder}" if dataset == "folder" else dataset
    weights = constant(tmp_path / "w.pth", len(classes), 0)
    notes = json.loads(evaluate(command, weights, named, "--json").out)["notes"]
    told = [note for note in notes if note.startswith("the weights' classes are taken to be")]
    assert [note.partition("in the order of ")[2] for note in told] == ([words] if words else [])
