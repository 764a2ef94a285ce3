"""Somebody else's weights: read safely, fitted to the right network, refused in a line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from resnet_repro.base.errors import ConfigError
from resnet_repro.networks.network import build_network
from resnet_repro.networks.weights import fit, network_of
from resnet_repro.networks.weights_file import Weights, read_weights

State = dict[str, Tensor]


def network_with(network: str, weights: Weights) -> nn.Module:
    return network_of(fit(network, weights))


@pytest.fixture(scope="module")
def theirs() -> nn.Module:
    torch.manual_seed(0)
    return models.resnet18(num_classes=12).eval()


@pytest.fixture(scope="module")
def state(theirs: nn.Module) -> State:
    return theirs.state_dict()


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


FORMS: dict[str, Callable[[State], Any]] = {
    "as torchvision's.pth": lambda s: s,
    "as torchvision's.pth.tar": lambda s: s,
    "parameters, from before BN counted its batches.pth": lambda s: {
        k: nn.Parameter(v) for k, v in s.items() if not k.endswith("num_batches_tracked")
    },
}


@pytest.mark.parametrize("name", FORMS)
def test_a_file_of_a_state_dict_gives_the_same_network(
    name: str, tmp_path: Path, theirs: nn.Module, state: State
) -> None:
    """Behind prefixes, inside and beside other things: `test_networks_wrapped.py`."""
    weights = read_weights(saved(tmp_path / name, FORMS[name](state)))
    assert fit("resnet-18-b", weights).classes == 12
    ours = network_with("resnet-18-b", weights)
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x))


def test_the_older_file_format_is_read_too(tmp_path: Path, state: State) -> None:
    path = tmp_path / "old.pth"
    torch.save(state, path, _use_new_zipfile_serialization=False)
    assert read_weights(path).tensors.keys() == state.keys()


def test_half_precision_weights_are_widened(tmp_path: Path, state: State) -> None:
    half = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    network = network_with("resnet-18-b", read_weights(saved(tmp_path / "half.pth", half)))
    assert {p.dtype for p in network.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    "network",
    ["preact-20", "preact-20-relu-only", "plain-20", "resnet-20-c", "resnet-20-dropout-shortcut"],
)
def test_a_cifar_networks_own_weights_fit(tmp_path: Path, network: str) -> None:
    tensors = build_network(network).state_dict()
    torch.save(tensors, tmp_path / "weights.pt")
    fitted = fit(network, read_weights(tmp_path / "weights.pt"))
    found = network_of(fitted).state_dict()
    assert all(torch.equal(found[name], value) for name, value in tensors.items())


def test_vgg_16() -> None:
    with torch.device("meta"):
        shapes = models.vgg16(init_weights=False, num_classes=3).state_dict()
    drawn = {name: torch.tensor(0.01).expand(like.shape) for name, like in shapes.items()}
    weights = Weights("vgg.pth", "0" * 64, drawn)
    assert fit("vgg-16", weights).classes == 3
    network = network_of(fit("vgg-16", weights), classes=[2, 0])
    assert network.state_dict().keys() == shapes.keys()
    with torch.no_grad():
        assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 2)


@pytest.mark.parametrize(
    ("network", "says"),
    [
        ("resnet-34-b", ["80 missing (layer1.2.conv1.weight", "fits --network resnet-18-b"]),
        ("resnet-18-a", ["15 unexpected (layer2.0.downsample.0.weight", "resnet-18-b"]),
        ("resnet-50", ["of another shape", "resnet-18-b"]),
        ("vgg-16", ["32 missing (features.0.weight", "resnet-18-b"]),
    ],
)
def test_another_networks_weights_are_told_apart(
    network: str, says: list[str], tmp_path: Path, state: State
) -> None:
    weights = read_weights(saved(tmp_path / "r18.pth", state))
    with pytest.raises(ConfigError) as caught:
        network_with(network, weights)
    text = str(caught.value)
    assert text.startswith(f"r18.pth does not fit {network}: ")
    assert all(part in text for part in says)
    assert "\n" not in text
    assert len(text) < 300


def test_the_nearest_network_is_named_where_none_fits(tmp_path: Path) -> None:
    almost = build_network("resnet-34-c").state_dict()
    del almost["layer1.0.conv1.weight"]
    weights = read_weights(saved(tmp_path / "w.pth", almost))
    with pytest.raises(ConfigError, match="no other of the networks compared is nearer"):
        network_with("resnet-34-c", weights)
    with pytest.raises(ConfigError, match="nearest network is resnet-34-c, which it does not fit"):
        network_with("resnet-18-b", weights)


def test_networks_that_the_papers_lack_are_known_as_well(tmp_path: Path) -> None:
    small = read_weights(saved(tmp_path / "s.pth", build_network("resnet-8").state_dict()))
    with pytest.raises(ConfigError, match="it fits --network resnet-8 or plain-8"):
        network_with("resnet-14", small)
    almost = build_network("resnet-26").state_dict()
    del almost["layer2.0.conv1.weight"]
    weights = read_weights(saved(tmp_path / "w.pth", almost))
    with pytest.raises(ConfigError, match="no other of the networks compared is nearer"):
        network_with("resnet-26", weights)


def test_weights_of_something_else_entirely(tmp_path: Path) -> None:
    weights = read_weights(saved(tmp_path / "w.pth", {"encoder.weight": torch.zeros(3, 3)}))
    with pytest.raises(ConfigError, match="none of the networks compared has such tensors"):
        network_with("resnet-50", weights)


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path, state: State) -> None:
    broken = {**state, "fc.bias": torch.full((12,), torch.nan)}
    weights = read_weights(saved(tmp_path / "w.pth", broken))
    with pytest.raises(ConfigError, match="not finite"):
        network_with("resnet-18-b", weights)
    whole = {**state, "fc.bias": torch.ones(12, dtype=torch.int8)}
    weights = read_weights(saved(tmp_path / "w.pth", whole))
    with pytest.raises(ConfigError, match=r"fc\.bias is int8, expected floating-point"):
        network_with("resnet-18-b", weights)


def test_a_whole_pickled_network_is_read_without_making_it(
    tmp_path: Path, theirs: nn.Module
) -> None:
    weights = read_weights(saved(tmp_path / "network.pt", theirs))
    fitted = fit("resnet-18-b", weights)
    assert any("torchvision.models.resnet.ResNet" in note for note in fitted.notes)
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(network_of(fitted)(x), theirs(x))


def test_a_truncated_file_is_named(tmp_path: Path, state: State) -> None:
    path = saved(tmp_path / "w.pth", state)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ConfigError, match=r"w\.pth is not a whole file"):
        read_weights(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone.pth: No such file"):
        read_weights(tmp_path / "gone.pth")


@pytest.mark.parametrize("content", [{"epoch": 3}, [1, 2], torch.zeros(3), {"state_dict": {}}])
def test_a_file_without_weights_is_named(tmp_path: Path, content: Any) -> None:
    with pytest.raises(ConfigError, match=r"w\.pth holds no weights"):
        read_weights(saved(tmp_path / "w.pth", content))


def test_safetensors_needs_its_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "safetensors.torch", None)
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"whatever")
    with pytest.raises(ConfigError, match="pip install safetensors"):
        read_weights(path)


def test_safetensors(tmp_path: Path, state: State, theirs: nn.Module) -> None:
    library = pytest.importorskip("safetensors.torch", reason="safetensors is not installed")
    path = tmp_path / "w.safetensors"
    library.save_file(state, path)
    network = network_with("resnet-18-b", read_weights(path))
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(network(x), theirs(x))
    path.write_bytes(b"whatever")
    with pytest.raises(ConfigError, match="not a whole safetensors file"):
        read_weights(path)


def test_some_classes_can_be_kept(tmp_path: Path, theirs: nn.Module, state: State) -> None:
    fitted = fit("resnet-18-b", read_weights(saved(tmp_path / "w.pth", state)))
    network = network_of(fitted, classes=[7, 0, 3])
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(network(x), theirs(x)[:, [7, 0, 3]])
