"""Pre-activation, other orders and impeded shortcuts against a second, plainer implementation."""

from __future__ import annotations

import re
from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from preact_reference import Reference
from torch import Tensor

from resnet_repro.base.errors import ConfigError
from resnet_repro.networks.architecture import BlockOrder, architecture
from resnet_repro.networks.blocks import BasicBlock
from resnet_repro.networks.initialise import initialise
from resnet_repro.networks.network import Network, build_network
from resnet_repro.networks.orders import CountedDropout
from resnet_repro.networks.outline import outline
from resnet_repro.spec.network_names import network_title, parse_network

ORDERS = (
    *("resnet-14", "resnet-14-bn-after-add", "resnet-14-relu-before-add", "preact-14-relu-only"),
    *("preact-14", "preact-14-b", "resnet-164", "preact-164", "preact-164-relu-only"),
    *("resnet-164-bn-after-add", "resnet-164-relu-before-add", "resnet-14-c", "preact-14-c"),
)
IMPEDED = ("half-shortcut", "half-both", "exclusive-gate", "shortcut-gate", "dropout-shortcut")


def test_every_order_of_a_block_is_among_them() -> None:
    assert {architecture(network).order for network in ORDERS} == set(get_args(BlockOrder))


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
        *((f"{kind}-20", 269_722) for kind in ("preact", "resnet")),
        *((f"{kind}-32", 464_154) for kind in ("preact", "resnet")),
        *((f"{kind}-44", 658_586) for kind in ("preact", "resnet")),
        *((f"{kind}-56", 853_018) for kind in ("preact", "resnet")),
        ("resnet-110", 1_727_962),
        ("preact-110", 1_727_962),
        ("preact-164", 1_703_258),
        ("resnet-164", 1_704_154),
        ("preact-1001", 10_327_706),
        ("resnet-1001", 10_328_602),
        ("resnet-110-exclusive-gate", 1_727_962 + 96_224),
        ("resnet-110-shortcut-gate", 1_727_962 + 96_224),
        ("resnet-110-c", 1_727_962 + 98_240),
        *((f"resnet-110-{kind}", 1_727_962) for kind in ("half-both", "dropout-shortcut")),
        *((f"resnet-110-{order}", 1_727_962) for order in ("bn-after-add", "relu-before-add")),
        ("preact-110-relu-only", 1_727_962),
    ],
)
def test_they_have_the_papers_parameters(network: str, count: int) -> None:
    assert outline(network, None, 10).parameters == count
    assert str(parse_network(network)) == network


def test_the_original_order_is_the_first_papers_network_bit_for_bit() -> None:
    model = build_network("resnet-20")
    initialise(model, 0)
    state, x = model.eval().state_dict(), torch.randn(2, 3, 32, 32)

    def layer(x: Tensor, conv: str, bn: str, stride: int = 1) -> Tensor:
        names = ("running_mean", "running_var", "weight", "bias")
        x = F.conv2d(x, state[f"{conv}.weight"], stride=stride, padding=1)
        return F.batch_norm(x, *(state[f"{bn}.{name}"] for name in names))

    with torch.no_grad():
        out = layer(x, "conv1", "bn1").relu()
        for at in (f"layer{stage}.{block}" for stage in (1, 2, 3) for block in range(3)):
            stride = 2 if at in ("layer2.0", "layer3.0") else 1
            f = layer(out, f"{at}.conv1", f"{at}.bn1", stride).relu()
            f = layer(f, f"{at}.conv2", f"{at}.bn2")
            zeros = (0, 0, 0, 0, 0, f.shape[1] - out.shape[1])
            out = (f + F.pad(out[:, :, ::stride, ::stride], zeros)).relu()
        logits = F.linear(out.mean((2, 3)), state["fc.weight"], state["fc.bias"])
        assert torch.equal(model(x), logits)
    blocks = {type(m) for name, m in model.named_modules() if re.fullmatch(r"layer\d\.\d", name)}
    assert blocks == {BasicBlock}
    assert "gate" not in " ".join(state)


def test_dropout_is_on_the_shortcut_alone_and_only_in_training() -> None:
    block = build_network("resnet-14-dropout-shortcut").get_submodule("layer1.0")
    x = torch.rand(4, 16, 8, 8) + 1
    with torch.no_grad():
        f = block.bn2(block.conv2(block.bn1(block.conv1(x)).relu()))  # type: ignore[operator,union-attr]
        trained = block.train()(x)
        kept, dropped = (torch.isclose(trained, (f + s).relu()) for s in (2 * x, 0 * x))
    assert bool((kept | dropped).all())
    assert abs(float(kept[~dropped].numel() / kept.numel()) - 0.5) < 0.05


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


def masks_of(seed: int, rank: int = 0) -> list[Tensor]:
    """What the dropout layers of a network make of ones in its first batch."""
    model = build_network("resnet-20-dropout-shortcut")
    initialise(model, seed)
    layers = [m for m in model.modules() if isinstance(m, CountedDropout)]
    for layer in layers:
        layer.rank = rank
    return [layer.train()(torch.ones(8, 16, 16, 16)) for layer in layers]


def agreement(one: Tensor, other: Tensor) -> float:
    """The share of equal elements: one half for independent draws."""
    return float((one == other).float().mean())


def test_dropout_draws_for_each_layer_seed_and_process_by_itself() -> None:
    masks = masks_of(0)
    assert len(masks) == 9
    others = [*masks[1:], masks_of(1)[0], masks_of(0, rank=1)[0]]
    assert all(agreement(masks[0], other) == pytest.approx(0.5, abs=0.02) for other in others)
    assert all(map(torch.equal, masks, masks_of(0)))


def test_dropout_layer_after_layer_keeps_the_mean() -> None:
    one, two, three, *_ = masks_of(0)
    assert float((one * two * three).mean()) == pytest.approx(1, abs=0.1)  # the same mask: 4


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
