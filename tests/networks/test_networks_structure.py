"""How the networks are put together: section 4.2, and section 3.3 for the shortcuts."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from resnet_repro.base.errors import ConfigError
from resnet_repro.networks.blocks import BatchNorm
from resnet_repro.networks.initialise import initialise
from resnet_repro.networks.network import build_network


def convolutions(network: nn.Module, image: Tensor) -> list[tuple[str, nn.Conv2d, tuple[int, ...]]]:
    """(name, convolution, shape of its output) in the order in which an image meets them."""
    seen = []
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(
                lambda m, _, out, name=name: seen.append((name, m, tuple(out.shape[1:])))
            )
    with torch.no_grad():
        network.eval()(image)
    return seen


def projections(network: str) -> int:
    with torch.device("meta"):
        model = build_network(network)
    return sum("downsample" in n and isinstance(m, nn.Conv2d) for n, m in model.named_modules())


@pytest.mark.parametrize("kind", ["plain", "resnet"])
@pytest.mark.parametrize("n", [1, 3, 9])
def test_a_cifar_network_is_that_of_section_4_2(kind: str, n: int) -> None:
    network = build_network(f"{kind}-{6 * n + 2}-cifar")
    seen = convolutions(network, torch.zeros(1, 3, 32, 32))
    assert [shape for _, _, shape in seen] == (
        [(16, 32, 32)] * (2 * n + 1) + [(32, 16, 16)] * 2 * n + [(64, 8, 8)] * 2 * n
    )
    assert all(conv.kernel_size == (3, 3) and conv.bias is None for _, conv, _ in seen)
    strides = [conv.stride for _, conv, _ in seen]
    assert [i for i, stride in enumerate(strides) if stride != (1, 1)] == [2 * n + 1, 4 * n + 1]
    linear = [m for m in network.modules() if isinstance(m, nn.Linear)]
    assert [(m.in_features, m.out_features) for m in linear] == [(64, 10)]
    assert len(seen) + len(linear) == 6 * n + 2
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert [m.num_features for m in norms] == [shape[0] for _, _, shape in seen]


@pytest.mark.parametrize(
    ("network", "blocks"),
    [("plain-18", (2, 2, 2, 2)), ("resnet-34-a", (3, 4, 6, 3)), ("resnet-50", (3, 4, 6, 3))],
)
def test_an_imagenet_network_is_that_of_table_1(network: str, blocks: tuple[int, ...]) -> None:
    with torch.device("meta"):
        model = build_network(network)
        seen = convolutions(model, torch.empty(1, 3, 224, 224))
    layers = [(name, shape) for name, _, shape in seen if "downsample" not in name]
    assert layers[0] == ("conv1", (64, 112, 112))
    last_of_block = {name.rpartition(".")[0]: shape for name, shape in layers[1:]}
    expansion = 4 if network == "resnet-50" else 1
    assert list(last_of_block.values()) == [
        (width * expansion, side, side)
        for width, side, count in zip((64, 128, 256, 512), (56, 28, 14, 7), blocks, strict=True)
        for _ in range(count)
    ]
    assert len(layers) + 1 == int(network.split("-")[1])


def test_projections_of_each_option() -> None:
    assert [projections(f"resnet-34-{option}") for option in "abc"] == [0, 3, 16]
    assert projections("resnet-34-c") - projections("resnet-34-b") == 13
    assert [projections(f"resnet-20{option}") for option in ("", "-b", "-c")] == [0, 2, 9]
    assert projections("resnet-50") == 4  # conv2_x widens from 64 to 256
    assert projections("plain-34") == 0


def block_with_silent_residual(network: str, stage: str, zero_channels: str = "end") -> nn.Module:
    """The first block of a stage, its residual function forced to zero."""
    model = build_network(network, zero_channels=zero_channels).eval()  # type: ignore[arg-type]
    block = getattr(model, stage)[0]
    last = getattr(block, "bn3", block.bn2)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return block


def activations(*shape: int) -> np.ndarray:
    """Positive, as after a ReLU, and all different."""
    return np.random.default_rng(0).permutation(np.prod(shape)).reshape(shape).astype("f4") + 1


@pytest.mark.parametrize(
    ("zero_channels", "network", "side", "channels", "first"),
    [
        ("end", "resnet-8", 32, 16, 0),
        ("both-sides", "resnet-8", 32, 16, 8),
        ("end", "resnet-18-a", 7, 64, 0),  # an odd side: pixels 0, 2, 4, 6
        ("both-sides", "resnet-18-a", 7, 64, 32),
    ],
)
def test_option_a_takes_every_other_pixel_and_pads_channels_with_zeros(
    zero_channels: str, network: str, side: int, channels: int, first: int
) -> None:
    block = block_with_silent_residual(network, "layer2", zero_channels)
    x = activations(2, channels, side, side)
    half = (side + 1) // 2
    expected = np.zeros((2, 2 * channels, half, half), "f4")
    for i in range(half):
        for j in range(half):
            expected[:, first : first + channels, i, j] = x[:, :, 2 * i, 2 * j]
    with torch.no_grad():
        np.testing.assert_array_equal(block(torch.from_numpy(x)).numpy(), expected)


@pytest.mark.parametrize("network", ["resnet-8", "resnet-8-b", "resnet-18-a", "resnet-18-b"])
def test_where_dimensions_stay_options_a_and_b_add_the_input_itself(network: str) -> None:
    block = block_with_silent_residual(network, "layer1")
    x = torch.from_numpy(activations(2, 16 if network.startswith("resnet-8") else 64, 8, 8))
    with torch.no_grad():
        assert torch.equal(block(x), x)


@pytest.mark.parametrize(("network", "stage"), [("resnet-8-b", "layer2"), ("resnet-8-c", "layer1")])
def test_a_projection_is_a_1x1_convolution_with_batch_normalisation(
    network: str, stage: str
) -> None:
    block = block_with_silent_residual(network, stage)
    conv, norm = block.downsample
    norm.running_mean.fill_(0.25)
    norm.running_var.fill_(4.0)
    x = activations(1, 16, 8, 8) / 1000
    stride = 2 if stage == "layer2" else 1
    weight = conv.weight.detach().numpy()[:, :, 0, 0]
    projected = np.einsum("oc,nchw->nohw", weight, x[:, :, ::stride, ::stride])
    expected = np.maximum(0, (projected - 0.25) / np.sqrt(4 + 1e-5))
    with torch.no_grad():
        np.testing.assert_allclose(block(torch.from_numpy(x)).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("network", "stage"), [("plain-8", "layer1"), ("plain-8", "layer2"), ("plain-50", "layer1")]
)
def test_a_plain_block_passes_nothing_by(network: str, stage: str) -> None:
    block = block_with_silent_residual(network, stage)
    x = torch.from_numpy(activations(2, 64 if network == "plain-50" else 16, 8, 8))
    with torch.no_grad():
        assert not block(x).any()


def test_batch_normalisation_settings_reach_every_layer() -> None:
    for network in ("resnet-8-b", "plain-8", "resnet-50"):
        with torch.device("meta"):
            model = build_network(network, norm=partial(BatchNorm, eps=1e-3, momentum=0.3))
        norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
        assert {(m.eps, m.momentum) for m in norms} == {(1e-3, 0.3)}


def test_the_number_of_classes_can_be_chosen() -> None:
    for network, side in (("resnet-8", 32), ("plain-18", 64)):
        model = build_network(network, classes=7)
        initialise(model, 0)
        assert model.eval()(torch.zeros(2, 3, side, side)).shape == (2, 7)


def test_an_unknown_network_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="lenet"):
        build_network("lenet")
