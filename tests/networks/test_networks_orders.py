"""Pre-activation, other orders and impeded shortcuts against a second, plainer implementation."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnet_repro.base.errors import ConfigError
from resnet_repro.networks.initialise import initialise
from resnet_repro.networks.network import Network, build_network
from resnet_repro.networks.orders import CountedDropout
from resnet_repro.networks.outline import outline, parameters
from resnet_repro.spec.network_names import network_title, parse_network

ORDERS = (
    *("resnet-14", "resnet-14-bn-after-add", "resnet-14-relu-before-add", "preact-14-relu-only"),
    *("preact-14", "preact-14-b", "resnet-164", "preact-164", "preact-164-relu-only"),
    *("resnet-164-bn-after-add", "resnet-164-relu-before-add"),
)
IMPEDED = ("half-shortcut", "half-both", "exclusive-gate", "shortcut-gate", "dropout-shortcut")


def made(network: str) -> Network:
    """The network in evaluation mode, with statistics and weights that are nowhere trivial."""
    model = build_network(network)
    assert isinstance(model, Network)
    initialise(model, 0)
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_var is not None
            assert module.running_mean is not None
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.normal_(0, 0.3, generator=generator)
            module.running_mean.normal_(0, 0.3, generator=generator)
    return model.eval()


class Reference:
    """The same network written as the paper's figures, on the tensors of a state dict."""

    def __init__(self, network: str) -> None:
        self.built = made(network)
        self.state = self.built.state_dict()
        self.order, self.impeded = self.built.architecture.order, self.built.architecture.impeded
        self.layers = 3 if self.built.architecture.block == "bottleneck" else 2

    def weigh(self, at: str, x: Tensor, stride: int = 1) -> Tensor:
        weight = self.state[f"{at}.weight"]
        return F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)

    def bn(self, at: str, x: Tensor) -> Tensor:
        names = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(self.state[f"{at}.{name}"] for name in names))

    def __call__(self, x: Tensor) -> Tensor:
        x = self.weigh("conv1", x)
        x = x if self.order == "preact" else self.bn("bn1", x)
        x = x if self.order in ("preact", "relu-only") else x.relu()
        for stage, count in enumerate(self.built.architecture.blocks, start=1):
            for block in range(count):
                stride = 2 if stage > 1 and block == 0 else 1
                x = self.block(f"layer{stage}.{block}", x, stride, first=stage + block == 1)
        x = self.bn("bn_last", x) if self.order == "preact" else x
        x = x.relu() if self.order in ("preact", "relu-only") else x
        return F.linear(x.mean((2, 3)), self.state["fc.weight"], self.state["fc.bias"])

    def block(self, at: str, x: Tensor, stride: int, first: bool) -> Tensor:
        ready = x
        if self.order == "preact":
            ready = self.bn(f"{at}.bn1", x).relu()
        elif self.order == "relu-only":
            ready = x.relu()
        projections = (f"{at}.downsample.weight", f"{at}.downsample.0.weight")
        projects = any(name in self.state for name in projections)
        f, shortcut = ready, self.shortcut(at, ready if first or projects else x, stride)
        for number in range(1, self.layers + 1):
            last = number == self.layers
            if number > 1 and self.order == "preact":
                f = self.bn(f"{at}.bn{number}", f).relu()
            if number > 1 and self.order == "relu-only":
                f = f.relu()
            f = self.weigh(f"{at}.conv{number}", f, stride if number == 1 else 1)
            if self.order != "preact" and not (last and self.order == "bn-after-add"):
                f = self.bn(f"{at}.bn{number}", f)
            usual = not last and self.order in ("original", "bn-after-add")
            if usual or self.order == "relu-before-add":
                f = f.relu()
        if self.impeded:
            return self.impede(at, f, shortcut, x, stride).relu()
        if self.order == "bn-after-add":
            return self.bn(f"{at}.bn{self.layers}", f + shortcut).relu()
        return (f + shortcut).relu() if self.order == "original" else f + shortcut

    def shortcut(self, at: str, x: Tensor, stride: int) -> Tensor:
        if f"{at}.downsample.weight" in self.state:
            return self.weigh(f"{at}.downsample", x, stride)
        if f"{at}.downsample.0.weight" in self.state:
            return self.bn(f"{at}.downsample.1", self.weigh(f"{at}.downsample.0", x, stride))
        wide = self.state[f"{at}.conv{self.layers}.weight"].shape[0]
        return F.pad(x[:, :, ::stride, ::stride], (0, 0, 0, 0, 0, wide - x.shape[1]))

    def impede(self, at: str, f: Tensor, shortcut: Tensor, x: Tensor, stride: int) -> Tensor:
        if self.impeded == "half-shortcut":
            return f + 0.5 * shortcut
        if self.impeded == "half-both":
            return 0.5 * f + 0.5 * shortcut
        if self.impeded == "dropout-shortcut":
            return f + shortcut
        bias = self.state[f"{at}.gate.bias"][None, :, None, None]
        gate = 1 / (1 + (-self.weigh(f"{at}.gate", x, stride) - bias).exp())
        return (gate * f if self.impeded == "exclusive-gate" else f) + (1 - gate) * shortcut


@pytest.mark.parametrize("network", [*ORDERS, *(f"resnet-14-{kind}" for kind in IMPEDED)])
def test_every_variant_is_what_the_paper_draws(network: str) -> None:
    reference = Reference(network)
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        theirs = reference(x)
        scale = float(theirs.abs().max())
        torch.testing.assert_close(reference.built(x) / scale, theirs / scale, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("network", "count"),
    [
        ("preact-20", 269_722),
        ("preact-110", 1_727_962),
        ("preact-164", 1_703_258),
        ("resnet-164", 1_704_154),
        ("preact-1001", 10_327_706),
        ("resnet-1001", 10_328_602),
        ("resnet-110-exclusive-gate", 1_727_962 + 96_224),
    ],
)
def test_they_have_the_papers_parameters(network: str, count: int) -> None:
    assert parameters(network, 10) == count
    assert str(parse_network(network)) == network


def test_gates_start_almost_closed_and_the_recipe_can_say_otherwise() -> None:
    for bias in (-6.0, 0.0):
        model = build_network("resnet-8-shortcut-gate")
        initialise(model, 0, gate_bias=bias)
        gates = [m for name, m in model.named_modules() if name.endswith("gate")]
        assert len(gates) == 3
        assert all(bool((gate.bias == bias).all()) for gate in gates)  # type: ignore[union-attr]


def test_dropout_draws_anew_each_batch_and_again_the_same_after_a_stop() -> None:
    x = torch.ones(4, 8, 16, 16)
    dropout = CountedDropout(0.5).train()
    first, state = dropout(x), {k: v.clone() for k, v in dropout.state_dict().items()}
    second = dropout(x)
    assert not torch.equal(first, second)
    assert abs(float((second == 0).float().mean()) - 0.5) < 0.02
    assert set(second.unique().tolist()) == {0.0, 2.0}
    again = CountedDropout(0.5).train()
    again.load_state_dict(state)
    assert torch.equal(again(x), second)
    assert torch.equal(dropout.eval()(x), x)


@pytest.mark.parametrize("network", ["preact-20", "resnet-20-bn-after-add", "preact-164"])
def test_their_layers_are_observed(network: str) -> None:
    with torch.device("meta"):
        model = build_network(network)
    assert isinstance(model, Network)
    wide = [layer.name for layer in outline(network).layers if layer.kernel == 3]
    observed = model.architecture.observed
    assert [name.replace("bn", "conv") for name in observed] == wide
    assert all(model.get_submodule(name) for name in observed)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("preact-50", "CIFAR networks here"),
        ("plain-20-relu-only", "variants of plain networks are none"),
        ("resnet-20-relu-only", "variants of resnet networks"),
        ("resnet-164-half-both", "blocks of two layers"),
    ],
)
def test_names_that_are_none(wrong: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        parse_network(wrong)


def test_titles() -> None:
    assert network_title("preact-110") == "pre-act ResNet-110"
    assert network_title("resnet-110-half-both") == "ResNet-110 half-both"
