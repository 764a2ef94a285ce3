"""Networks that are only compared with: their size, their dense form, and files of weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from resnet_repro.base.errors import ConfigError
from resnet_repro.networks.compared import AlexNet
from resnet_repro.networks.fully_convolutional import dense_logits, final_map_side
from resnet_repro.networks.network import build_network
from resnet_repro.networks.outline import outline, smallest_side
from resnet_repro.networks.weights import fit, network_of
from resnet_repro.networks.weights_file import read_weights
from resnet_repro.spec.network_names import COMPARED, parse_network

# Parameters, and 1e9 multiply-adds of the usual input, counted by others.
SIZES = {
    "alexnet": (60_965_224, 0.724),
    "alexnet-one-tower": (61_100_840, 0.714),
    "vgg-16": (138_357_544, 15.470),
    "vgg-19": (143_667_240, 19.632),
    "googlenet": (6_998_552, 1.583),
    "googlenet-bn": (6_624_904, 1.498),
    "densenet-121": (7_978_856, 2.834),
    "densenet-169": (14_149_480, 3.360),
    "densenet-201": (20_013_928, 4.291),
    "densenet-161": (28_681_000, 7.728),
}
SMALL = ("alexnet", "googlenet", "googlenet-bn", "densenet-121")  # quick to run
LARGER_DENSENETS = ("densenet-169", "densenet-201", "densenet-161")  # of the same layers, but more


def numbered(network: str) -> dict[str, torch.Tensor]:
    """Weights for five classes: each tensor has a value of its own, which takes no room."""
    with torch.device("meta"):
        shapes = build_network(network, 5).state_dict()
    return {
        name: torch.tensor(number, dtype=like.dtype).expand(like.shape)
        for number, (name, like) in enumerate(shapes.items())
    }


@pytest.mark.parametrize("network", COMPARED)
def test_they_have_the_size_that_others_count(network: str) -> None:
    whole = outline(network)
    assert (whole.parameters, round(whole.multiply_adds / 1e9, 3)) == SIZES[network]
    assert str(parse_network(network)) == network
    assert parse_network(network).trainable is (network == "vgg-16")  # for Table 7


@pytest.mark.parametrize(
    "network", [*(n for n in COMPARED if n not in LARGER_DENSENETS), "resnet-18-b"]
)
def test_the_smallest_input_is_known_from_their_layers(network: str) -> None:
    side = smallest_side(network)
    with torch.device("meta"):
        model = build_network(network, 5).eval()
        assert model(torch.zeros(1, 3, side, side)).shape == (1, 5)
        with pytest.raises(RuntimeError):
            model(torch.zeros(1, 3, side - 1, side - 1))


@pytest.mark.parametrize("network", SMALL)
def test_the_dense_form_is_the_network_where_one_window_fits(network: str) -> None:
    torch.manual_seed(0)
    model = build_network(network, 5).eval()
    side = 227 if network == "alexnet" else 224
    x = torch.randn(1, 3, side, side)
    window = final_map_side(model, side)
    with torch.no_grad():
        logits = dense_logits(model, x, window)
        torch.testing.assert_close(logits[:, :, 0, 0], model(x), rtol=1e-4, atol=1e-5)
        larger = dense_logits(model, torch.randn(1, 3, side + 64, side + 32), window)
    assert logits.shape == (1, 5, 1, 1)
    assert larger.shape[2] >= larger.shape[3] > 1


@pytest.mark.parametrize("network", SMALL)
def test_a_file_of_weights_is_loaded(network: str, tmp_path: Path) -> None:
    """DenseNet's in its old names, GoogLeNet's with the heads that testing does not need."""
    state = numbered(network)
    stored = dict(state)
    if network == "densenet-121":
        stored = {
            k.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): v
            for k, v in stored.items()
        }
    if network.startswith("googlenet"):
        stored["aux1.fc1.weight"] = torch.zeros(3, 3)
    torch.save(stored, tmp_path / "weights.pth")
    fitted = fit(network, read_weights(tmp_path / "weights.pth"))
    loaded = network_of(fitted).state_dict()
    assert fitted.classes == 5
    assert all(torch.equal(loaded[name], state[name]) for name in state)
    with pytest.raises(ConfigError, match=f"it fits --network {network}"):
        fit("resnet-50", read_weights(tmp_path / "weights.pth"))


def test_alexnets_normalisation_is_its_papers() -> None:
    """Section 3.3: a / (k + alpha * sum over n channels of a**2)**beta, k 2, n 5, 1e-4, 0.75."""
    norm = next(m for m in AlexNet().modules() if isinstance(m, nn.LocalResponseNorm))
    a = 30 * torch.rand(1, 9, 2, 2, dtype=torch.float64)
    sums = [a[:, max(0, i - 2) : i + 3].square().sum(1) for i in range(9)]
    expected = a / (2 + 1e-4 * torch.stack(sums, 1)) ** 0.75
    torch.testing.assert_close(norm(a), expected)


def test_googlenet_has_what_its_paper_has_and_torchvisions_has_not() -> None:
    own = list(build_network("googlenet").modules())
    convolutions = [m for m in own if isinstance(m, nn.Conv2d)]
    assert sum(m.kernel_size == (5, 5) for m in convolutions) == 9
    assert all(m.bias is not None for m in convolutions)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in own)
    assert sum(isinstance(m, nn.LocalResponseNorm) for m in set(own)) == 1  # used twice
    theirs = list(build_network("googlenet-bn").modules())
    assert not any(isinstance(m, nn.Conv2d) and m.kernel_size == (5, 5) for m in theirs)


def test_googlenets_branches_are_joined_in_its_papers_order() -> None:
    """1x1, 3x3, 5x5, pooled: written a second time, with the same weights."""
    torch.manual_seed(0)
    block: Any = build_network("googlenet").inception3a
    x = torch.randn(2, 192, 5, 5)
    with torch.no_grad():
        three = block.branch2[1].conv(block.branch2[0].conv(x).relu())
        five = F.conv2d(
            block.branch3[0].conv(x).relu(),
            block.branch3[1].conv.weight,
            block.branch3[1].conv.bias,
            padding=2,
        )
        pooled = block.branch4[1].conv(F.max_pool2d(x, 3, 1, 1))
        expected = torch.cat([block.branch1.conv(x), three, five, pooled], 1).relu()
        torch.testing.assert_close(block(x), expected)
