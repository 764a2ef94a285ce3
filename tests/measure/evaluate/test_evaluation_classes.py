"""Which of ImageNet's 1,000 outputs are Imagenette's classes."""

from __future__ import annotations

import pytest
from torchvision.datasets import Imagenette
from torchvision.models import ResNet18_Weights

from resnet_repro.base.errors import ConfigError
from resnet_repro.measure.evaluate.weights import IMAGENETTE, chosen_outputs


def test_imagenettes_classes_are_where_torchvisions_weights_have_them() -> None:
    categories = ResNet18_Weights.IMAGENET1K_V1.meta["categories"]
    known = Imagenette._WNID_TO_CLASS
    assert IMAGENETTE.keys() == known.keys()
    for wnid, index in IMAGENETTE.items():
        assert categories[index].lower() in [name.lower() for name in known[wnid]]


def test_imagenettes_outputs_are_singled_out() -> None:
    assert chosen_outputs(1000, sorted(IMAGENETTE), "imagenette") == [
        0, 217, 482, 491, 497, 566, 569, 571, 574, 701,
    ]  # fmt: skip
    assert chosen_outputs(1000, ["n03028079", "n01440764"], "folder:two") == [497, 0]


def test_as_many_outputs_as_classes_are_taken_as_they_are() -> None:
    assert chosen_outputs(1000, [f"n{i}" for i in range(1000)], "imagenet") is None
    assert chosen_outputs(3, ["a", "b", "c"], "folder:three") is None
    assert chosen_outputs(10, sorted(IMAGENETTE), "imagenette") is None


@pytest.mark.parametrize(
    ("outputs", "classes", "says"),
    [
        (21, ["a", "b"], "tell 21 classes apart, folder:mine has 2"),
        (1000, ["a", "b"], "only Imagenette's ten"),
        (1000, ["n01440764", "b"], "only Imagenette's ten"),
        (9, sorted(IMAGENETTE), "tell 9 classes apart, folder:mine has 10"),
    ],
)
def test_other_classes_are_refused(outputs: int, classes: list[str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        chosen_outputs(outputs, classes, "folder:mine")
