"""Networks that are only compared with: their size, their dense form, and files of weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from resnet_repro.base.errors import ConfigError
from resnet_repro.measure.costs import count_cost
from resnet_repro.networks.dense import dense_logits, final_map_side
from resnet_repro.networks.network import build_network
from resnet_repro.networks.outline import outline
from resnet_repro.networks.weights import fit, network_of
from resnet_repro.networks.weights_file import read_weights
from resnet_repro.spec.network_names import COMPARED, parse_network

# Parameters, and 1e9 multiply-adds of the usual input, counted by others.
SIZES = {
    "alexnet": (60_965_224, 0.724),
    "alexnet-one-tower": (61_100_840, 0.714),
    "vgg-16": (138_357_544, 15.470),
    "vgg-19": (143_667_240, 19.632),
    "googlenet-bn": (6_624_904, 1.498),
    "densenet-121": (7_978_856, 2.834),
    "densenet-169": (14_149_480, 3.360),
    "densenet-201": (20_013_928, 4.291),
    "densenet-161": (28_681_000, 7.728),
}
SMALL = ("alexnet", "googlenet-bn", "densenet-121")  # quick to run


@pytest.mark.parametrize("network", COMPARED)
def test_they_have_the_size_that_others_count(network: str) -> None:
    cost = count_cost(network)
    assert (cost.parameters, round(cost.multiply_adds / 1e9, 3)) == SIZES[network]
    assert str(parse_network(network)) == network
    assert parse_network(network).trainable is (network == "vgg-16")  # for Table 7


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
    torch.manual_seed(1)
    state = build_network(network, 5).state_dict()
    stored = dict(state)
    if network == "densenet-121":
        stored = {
            k.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): v
            for k, v in stored.items()
        }
    if network == "googlenet-bn":
        stored["aux1.fc1.weight"] = torch.zeros(3, 3)
    torch.save(stored, tmp_path / "weights.pth")
    fitted = fit(network, read_weights(tmp_path / "weights.pth"))
    loaded = network_of(fitted).state_dict()
    assert fitted.classes == 5
    assert all(torch.equal(loaded[name], state[name]) for name in state)
    with pytest.raises(ConfigError, match=f"it fits --network {network}"):
        fit("resnet-50", read_weights(tmp_path / "weights.pth"))


def test_what_is_no_row_of_layers_has_no_outline() -> None:
    with pytest.raises(ConfigError, match="not one row"):
        outline("densenet-121")
    assert [layer.text for layer in outline("vgg-19").layers].count("3x3 conv, 512") == 8
