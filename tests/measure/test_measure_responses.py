"""Layer responses (Fig. 7) against a network computed in numpy, in float64, layer by layer."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor, nn

from resnet_repro.measure.responses import measure_responses, response_layers
from resnet_repro.networks.initialise import initialise
from resnet_repro.networks.network import build_network

Floats = NDArray[np.float64]
IMAGES = 45  # more than one batch, and a partial one


def conv3x3(x: Floats, weight: Floats, stride: int) -> Floats:
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = sliding_window_view(padded, (3, 3), axis=(2, 3))[:, :, ::stride, ::stride]
    count, channels, height, width = windows.shape[:4]
    columns = windows.transpose(0, 2, 3, 1, 4, 5).reshape(-1, channels * 9)
    out = columns @ weight.reshape(len(weight), -1).T
    return out.reshape(count, height, width, -1).transpose(0, 3, 1, 2)


def responses_by_hand(weights: dict[str, Floats], x: Floats, residual: bool) -> list[Floats]:
    """What batch normalisation puts out after each 3x3 layer of an 8-layer network."""
    responses: list[Floats] = []

    def layer(x: Floats, conv: str, bn: str, stride: int = 1) -> Floats:
        mean, var, scale, shift = (
            weights[f"{bn}.{key}"][:, None, None]
            for key in ("running_mean", "running_var", "weight", "bias")
        )
        normalised = (conv3x3(x, weights[f"{conv}.weight"], stride) - mean) / np.sqrt(var + 1e-5)
        responses.append(normalised * scale + shift)
        return responses[-1]

    x = np.maximum(0, layer(x, "conv1", "bn1"))
    for stage in (1, 2, 3):
        block, stride = f"layer{stage}.0", 1 if stage == 1 else 2
        out = np.maximum(0, layer(x, f"{block}.conv1", f"{block}.bn1", stride))
        out = layer(out, f"{block}.conv2", f"{block}.bn2")
        if residual:
            out = out.copy()  # what was recorded is from before the addition
            out[:, : x.shape[1]] += x[:, :, ::stride, ::stride]
        x = np.maximum(0, out)
    return responses


def as_if_trained(network: str) -> nn.Module:
    """A network whose BN layers have statistics, scales and shifts of their own."""
    model = build_network(network)
    initialise(model, 4)
    generator = torch.Generator().manual_seed(4)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(generator=generator)
            module.running_var.uniform_(0.5, 3, generator=generator)
            nn.init.uniform_(module.weight, 0.2, 1.5, generator=generator)
            nn.init.normal_(module.bias, -0.3, generator=generator)
    model.bn1.running_var.mul_(60.0**2)  # type: ignore[union-attr]
    return model


@pytest.fixture(scope="module")
def images() -> NDArray[np.uint8]:
    random = np.random.default_rng(0)
    smooth = random.integers(0, 200, (IMAGES, 3, 4, 4)).repeat(8, axis=2).repeat(8, axis=3)
    return (smooth + random.integers(0, 56, smooth.shape)).astype(np.uint8)


@pytest.fixture(scope="module")
def mean(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return images.mean(axis=0).astype(np.float32)


def measure(model: nn.Module, images: Any, mean: Any) -> list[tuple[int, str, float]]:
    return measure_responses(model, batches(images, mean), contextlib.nullcontext)


def batches(images: Any, mean: Any) -> list[Tensor]:
    return list((torch.from_numpy(images) - torch.from_numpy(mean)).split(20))


@pytest.mark.parametrize(("network", "count"), [("resnet-8", IMAGES), ("plain-8", 40)])
def test_deviations_are_those_of_an_independent_computation(
    network: str, count: int, images: NDArray[np.uint8], mean: NDArray[np.float32]
) -> None:
    model, images = as_if_trained(network), images[:count]
    weights = {n: v.double().numpy() for n, v in model.state_dict().items() if v.dim()}
    parts = [
        responses_by_hand(weights, part.astype(np.float64) - mean, network == "resnet-8")
        for part in np.array_split(images, count // 20)
    ]
    whole = [np.concatenate(layer) for layer in zip(*parts, strict=True)]
    assert all((layer < 0).mean() > 0.05 for layer in whole)  # ReLU would change them

    rows = measure(model, images, mean)
    assert [index for index, _, _ in rows] == [1, 2, 3, 4, 5, 6, 7]
    deviations = [deviation for _, _, deviation in rows]
    assert deviations == pytest.approx([layer.std() for layer in whole], rel=1e-4)
    # Neither after ReLU nor per channel would pass for it.
    for layer, deviation in zip(whole, deviations, strict=True):
        assert abs(np.maximum(0, layer).std() / deviation - 1) > 0.01
        assert abs(layer.std(axis=(0, 2, 3)).mean() / deviation - 1) > 0.01


def test_a_layer_that_a_relu_would_silence_still_responds(
    images: NDArray[np.uint8], mean: NDArray[np.float32]
) -> None:
    model = as_if_trained("plain-8")
    nn.init.constant_(model.layer2[0].bn1.bias, -1e3)  # type: ignore[index, union-attr]
    named = {name: deviation for _, name, deviation in measure(model, images[:20], mean)}
    assert named["layer2.0.bn1"] > 0.1
    assert named["layer2.0.bn2"] == pytest.approx(  # its input is zero everywhere
        (model.layer2[0].bn2.bias - mean_over_std(model.layer2[0].bn2)).std(correction=0).item(),  # type: ignore[index, union-attr]
        rel=1e-4,
    )


def mean_over_std(norm: nn.BatchNorm2d) -> Tensor:
    return norm.running_mean * norm.weight / torch.sqrt(norm.running_var + norm.eps)


@pytest.mark.parametrize("network", ["plain-20", "resnet-20", "resnet-20-b", "resnet-20-c"])
def test_every_3x3_layer_responds_and_projections_do_not(network: str) -> None:
    names = ["bn1"] + [
        f"layer{stage}.{block}.bn{half}"
        for stage in (1, 2, 3)
        for block in (0, 1, 2)
        for half in (1, 2)
    ]
    model = build_network(network)
    assert [name for name, _ in response_layers(model)] == names
    rows = measure(model, np.zeros((2, 3, 32, 32), np.uint8), np.zeros((3, 32, 32), np.float32))
    assert [(index, name) for index, name, _ in rows] == list(enumerate(names, start=1))


@pytest.mark.parametrize("depth", [8, 56, 110])
def test_a_network_of_6n_plus_2_layers_has_6n_plus_1_responses(depth: int) -> None:
    """All weighted layers but the classifier, so that Fig. 7's axis is the paper's."""
    with torch.device("meta"):
        layers = response_layers(build_network(f"resnet-{depth}"))
    assert len(layers) == depth - 1
    assert all(isinstance(module, nn.BatchNorm2d) for _, module in layers)


@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_left_as_it_was(
    training: bool, images: NDArray[np.uint8], mean: NDArray[np.float32]
) -> None:
    model = as_if_trained("resnet-8").train(training)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    first = measure(model, images[:30], mean)
    assert model.training == training
    assert not any(module._forward_hooks for module in model.modules())
    assert all(torch.equal(value, before[n]) for n, value in model.state_dict().items())
    assert measure(model, images[:30], mean) == first  # measuring does not count twice


def test_the_network_is_left_as_it_was_when_a_measurement_fails(
    images: NDArray[np.uint8], mean: NDArray[np.float32]
) -> None:
    model = as_if_trained("resnet-8").train()
    model.fc = nn.Linear(3, 10)  # does not fit
    with pytest.raises(RuntimeError):
        measure(model, images[:5], mean)
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())


def test_the_precision_is_the_callers(images: NDArray[np.uint8], mean: NDArray[np.float32]) -> None:
    model = as_if_trained("resnet-8")
    exact = [row[2] for row in measure(model, images[:20], mean)]
    fast = [
        row[2]
        for row in measure_responses(
            model,
            batches(images[:20], mean),
            lambda: torch.autocast("cpu", torch.bfloat16),
        )
    ]
    assert fast == pytest.approx(exact, rel=0.02)
    assert fast != exact
