"""The fully convolutional form: the ordinary network at every place of its final map."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnet_repro.networks.fully_convolutional import dense_logits, final_map_side
from resnet_repro.networks.initialise import initialise
from resnet_repro.networks.network import build_network

CLASSES = 7


def made(network: str) -> nn.Module:
    """A network with random weights and, where it has BN, statistics of a random batch."""
    model = build_network(network, classes=CLASSES)
    initialise(model, 0)
    if any(isinstance(m, nn.BatchNorm2d) for m in model.modules()):
        with torch.no_grad():
            model.train()(images(8, 64, 64))
    return model.eval()


def images(count: int, height: int, width: int) -> Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(height))


@pytest.fixture(scope="module")
def vgg() -> nn.Module:
    return made("vgg-16")


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    return made("resnet-18-a")


def assert_close(a: Tensor, b: Tensor) -> None:
    assert b.std() > 1e-3
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4 * b.abs().max().item())


@pytest.mark.parametrize("network", ["resnet-18-a", "plain-18", "resnet-50"])
def test_at_the_crops_size_it_is_the_ordinary_pass(network: str) -> None:
    model, x = made(network), images(2, 64, 64)
    with torch.no_grad():
        dense = dense_logits(model, x, final_map_side(model, 64))
        assert dense.shape == (2, CLASSES, 1, 1)
        assert_close(dense[:, :, 0, 0], model(x))


@pytest.mark.parametrize("crop", [64, 80])  # 2x2 at the end, the last 2.5 wide
def test_vgg_at_the_crops_size_is_the_ordinary_pass(vgg: nn.Module, crop: int) -> None:
    x = images(1, crop, crop)
    with torch.no_grad():
        dense = dense_logits(vgg, x, final_map_side(vgg, crop))
        assert_close(dense[:, :, 0, 0], vgg(x))


def every_window(
    maps: Tensor, height: int, width: int, classify: Callable[[Tensor], Tensor]
) -> Tensor:
    """`classify` of each piece of the map, one after another."""
    rows = [
        [
            classify(maps[:, :, i : i + height, j : j + width])
            for j in range(maps.shape[3] - width + 1)
        ]
        for i in range(maps.shape[2] - height + 1)
    ]
    return torch.stack([torch.stack(row, dim=2) for row in rows], dim=2)


@pytest.mark.parametrize(("window", "pieces"), [(2, (2, 4)), (1, (3, 5)), (4, (1, 2))])
def test_each_place_is_the_classifier_on_a_window(
    resnet: nn.Module, window: int, pieces: tuple[int, int]
) -> None:
    """The map is 3x5: a window of 4 is as high as the map, and no more."""
    x = images(2, 70, 160)
    with torch.no_grad():
        maps = resnet.features(x)
        assert maps.shape[2:] == (3, 5)
        dense = dense_logits(resnet, x, window)
        assert dense.shape == (2, CLASSES, *pieces)
        expected = every_window(
            maps, min(window, 3), window, lambda piece: resnet.fc(piece.mean(dim=(2, 3)))
        )
    assert_close(dense, expected)


@pytest.mark.parametrize(("size", "window"), [((96, 160), 2), ((64, 128), 3)])
def test_each_place_of_vgg_is_its_classifier_on_a_window(
    vgg: nn.Module, size: tuple[int, int], window: int
) -> None:
    x = images(1, *size)
    with torch.no_grad():
        maps = vgg.features(x)
        dense = dense_logits(vgg, x, window)
        expected = every_window(
            maps,
            min(window, maps.shape[2]),
            window,
            lambda piece: vgg.classifier(vgg.avgpool(piece).flatten(1)),
        )
    assert_close(dense, expected)


def test_vggs_fully_connected_layers_are_convolutions(vgg: nn.Module) -> None:
    x = images(1, 224, 288)
    fc6, fc7, fc8 = (vgg.classifier[index] for index in (0, 3, 6))
    with torch.no_grad():
        out = F.conv2d(vgg.features(x), fc6.weight.view(4096, 512, 7, 7), fc6.bias).relu()
        out = F.conv2d(out, fc7.weight[:, :, None, None], fc7.bias).relu()
        expected = F.conv2d(out, fc8.weight[:, :, None, None], fc8.bias)
        assert expected.shape == (1, CLASSES, 1, 3)
        assert_close(dense_logits(vgg, x, 7), expected)


@pytest.mark.parametrize(
    "network", ["resnet-8", "plain-18", "resnet-50", "resnet-50-v1.5", "vgg-16"]
)
def test_the_final_maps_side_is_known_beforehand(network: str) -> None:
    with torch.device("meta"):
        model = build_network(network).eval()
        for side in (32, 33, 64, 73, 110, 183, 224, 256, 480, 640):
            maps = model.features(torch.empty(1, 3, side, 64))
            assert maps.shape[2] == final_map_side(model, side)
