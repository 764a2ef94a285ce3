"""Initialisation of He et al. 2015, and what a seed fixes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from resnet_repro.networks.initialise import initialise
from resnet_repro.networks.network import build_network


def weights_of(network: str, seed: int = 0, **options: str) -> dict[str, Tensor]:
    model = build_network(network)
    initialise(model, seed, **options)  # type: ignore[arg-type]
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_normal(values: Tensor, variance: float, name: str) -> None:
    """Mean and variance within five standard errors of N(0, variance)."""
    count = values.numel()
    assert abs(values.mean().item()) < 5 * math.sqrt(variance / count), name
    assert abs(values.square().mean().item() / variance - 1) < 5 * math.sqrt(2 / count), name


def kurtosis(values: Tensor) -> float:
    """3 for a normal distribution, 1.8 for a uniform one."""
    centred = values - values.mean()
    return (centred.pow(4).mean() / centred.square().mean().square()).item()


@pytest.mark.parametrize("convolution", ["he-fan-in", "he-fan-out"])
def test_every_convolution_has_the_variance_of_he_2015(convolution: str) -> None:
    weights = weights_of("resnet-20-b", convolution=convolution)
    standardised = []
    for name, weight in weights.items():
        if weight.dim() != 4:
            continue
        outputs, inputs, height, width = weight.shape
        fan = (inputs if convolution == "he-fan-in" else outputs) * height * width
        assert_normal(weight, 2 / fan, name)
        standardised.append(weight.flatten() * math.sqrt(fan / 2))
    assert len(standardised) == 21  # 19 layers and two projections
    assert kurtosis(torch.cat(standardised)) == pytest.approx(3, abs=0.1)


def test_fan_in_and_fan_out_differ_only_where_the_width_changes() -> None:
    inward, outward = (weights_of("resnet-8", convolution=f"he-fan-{f}") for f in ("in", "out"))
    assert {name for name in inward if not torch.equal(inward[name], outward[name])} == {
        "conv1.weight",
        "layer2.0.conv1.weight",
        "layer3.0.conv1.weight",
    }


def test_batch_normalisation_starts_as_the_identity() -> None:
    model = build_network("resnet-8-b")
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.weight, 3.0)
            nn.init.constant_(module.bias, 3.0)
    initialise(model, 0)
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all((m.weight == 1).all() and (m.bias == 0).all() for m in norms)
    assert all((m.running_mean == 0).all() and (m.running_var == 1).all() for m in norms)


def test_the_classifier_is_normal_with_zero_bias() -> None:
    weights = weights_of("resnet-8", classifier="he-fan-in")
    assert_normal(weights["fc.weight"], 2 / 64, "fc.weight")
    assert not weights["fc.bias"].any()
    large = weights_of("resnet-18-a", classifier="he-fan-in")["fc.weight"]
    assert_normal(large, 2 / 512, "fc.weight")
    assert kurtosis(large) == pytest.approx(3, abs=0.05)


def test_the_classifier_can_be_pytorchs_uniform() -> None:
    weights = weights_of("resnet-18-a", classifier="uniform")
    bound = 1 / math.sqrt(512)
    for values in (weights["fc.weight"], weights["fc.bias"]):
        assert values.abs().max() <= bound
        assert values.square().mean().item() == pytest.approx(bound**2 / 3, rel=0.15)
        assert kurtosis(values) == pytest.approx(1.8, abs=0.1)


def test_a_seed_decides_every_weight_whatever_else_draws_random_numbers() -> None:
    torch.manual_seed(1)
    first = weights_of("resnet-8-b", seed=3)
    torch.manual_seed(2)
    model = build_network("resnet-8-b")
    untouched = torch.get_rng_state()
    initialise(model, 3)
    assert torch.equal(torch.get_rng_state(), untouched)
    again = model.state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_another_seed_changes_every_convolution_and_the_classifier() -> None:
    first, second = weights_of("resnet-8-b", seed=0), weights_of("resnet-8-b", seed=1)
    drawn = [name for name, weight in first.items() if weight.dim() > 1]
    assert all(not torch.equal(first[name], second[name]) for name in drawn)


def test_no_two_layers_share_their_weights() -> None:
    weights = weights_of("plain-8")
    same_shape = [weights[f"layer1.0.conv{i}.weight"] for i in (1, 2)]
    assert not torch.equal(*same_shape)


def test_vgg_16_has_biases_which_start_at_zero() -> None:
    """Nothing is left to torch's own generator: another state of it changes nothing."""
    with torch.device("meta"):
        model = build_network("vgg-16", classes=2)
    model.classifier = model.classifier[3:]  # fc6 has 400 MB of weights
    model.to_empty(device="cpu")
    for parameter in model.parameters():
        nn.init.constant_(parameter, 7.0)
    initialise(model, 0)
    for name, value in model.named_parameters():
        assert (value == 7).sum() == 0, name
        assert name.endswith("weight") or not value.any(), name
    assert_normal(model.features[2].weight.detach(), 2 / (64 * 9), "features.2.weight")
