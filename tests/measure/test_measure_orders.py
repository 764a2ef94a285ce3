"""Responses and gradients of pre-activation, other orders and impeded shortcuts."""

from __future__ import annotations

import contextlib

import pytest
import torch
import torch.nn.functional as F
from preact_reference import Reference

from resnet_repro.measure.gradients import measure_gradients
from resnet_repro.measure.responses import measure_responses

# The layers of a block whose response is the convolution's own output: no BN of its own follows.
BARE = {
    "preact-14": (1, 2),
    "preact-164": (1, 2, 3),
    "resnet-14-bn-after-add": (2,),
    "resnet-164-bn-after-add": (3,),
    "resnet-14-relu-before-add": (),
    "preact-14-relu-only": (),
    "resnet-14-exclusive-gate": (),
    "resnet-14-half-both": (),
}


def expected(network: str) -> list[str]:
    """The modules whose outputs are the responses of the 3x3 layers, in order."""
    bottleneck, blocks = "164" in network, 18 if "164" in network else 2
    names = ["conv1" if network in ("preact-14", "preact-164") else "bn1"]
    for stage in (1, 2, 3):
        for block in range(blocks):
            for layer in (2,) if bottleneck else (1, 2):
                kind = "conv" if layer in BARE[network] else "bn"
                names.append(f"layer{stage}.{block}.{kind}{layer}")
    return names


@pytest.mark.parametrize("network", BARE)
def test_responses_are_what_leaves_each_3x3_layer_before_the_addition(network: str) -> None:
    reference, x = Reference(network), torch.randn(3, 3, 32, 32)
    rows = measure_responses(reference.built, [x], contextlib.nullcontext)
    reference(x)
    assert [row.module for row in rows] == expected(network)
    for row in rows:
        whole = reference.outputs[row.module].double()
        assert row.std == pytest.approx(whole.std(correction=0).item(), rel=1e-4), row.module


@pytest.mark.parametrize("network", [name for name in BARE if "164" not in name])
def test_gradients_are_those_of_an_independent_computation(network: str) -> None:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(8, 3, 32, 32, generator=generator)
    labels = torch.randint(0, 10, (8,), generator=generator)
    reference = Reference(network, training=True)
    rows = measure_gradients(reference.built, x, labels, contextlib.nullcontext)
    for name, tensor in reference.state.items():
        tensor.requires_grad_("conv" in name)
    logits = reference(x)
    for output in reference.outputs.values():
        output.retain_grad()
    F.cross_entropy(logits, labels).backward()  # type: ignore[no-untyped-call]
    assert [row.module for row in rows] == expected(network)
    for row in rows:
        signal = reference.outputs[row.module].grad
        weight = reference.state[f"{row.module.replace('bn', 'conv')}.weight"].grad
        assert signal is not None
        assert weight is not None
        assert row.signal_norm == pytest.approx(signal.norm().item(), rel=1e-3), row.module
        assert row.gradient_norm == pytest.approx(weight.norm().item(), rel=1e-3), row.module


def test_a_watched_dropout_goes_on_with_its_own_draws() -> None:
    built = Reference("resnet-14-dropout-shortcut").built.train()
    before = {name: tensor.clone() for name, tensor in built.state_dict().items()}
    x, labels = torch.randn(2, 3, 32, 32), torch.tensor([0, 1])
    measure_gradients(built, x, labels, contextlib.nullcontext)
    assert all(torch.equal(tensor, before[name]) for name, tensor in built.state_dict().items())
