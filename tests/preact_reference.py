"""The networks of He et al. 2016 a second time: as its figures, on the tensors of a state dict."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnet_repro.networks.initialise import initialise
from resnet_repro.networks.network import Network, build_network


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
    """A network; what each of its layers put out last stands in `outputs`, by module.

    In training BN uses the batch's statistics and dropout is not there.
    """

    def __init__(self, network: str, training: bool = False) -> None:
        self.built, self.training = made(network), training
        self.state = {name: t.detach().clone() for name, t in self.built.state_dict().items()}
        self.outputs: dict[str, Tensor] = {}
        self.order, self.impeded = self.built.architecture.order, self.built.architecture.impeded
        self.layers = 3 if self.built.architecture.block == "bottleneck" else 2

    def weigh(self, at: str, x: Tensor, stride: int = 1) -> Tensor:
        weight = self.state[f"{at}.weight"]
        out = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
        self.outputs[at] = out
        return out

    def bn(self, at: str, x: Tensor) -> Tensor:
        mean, var = self.state[f"{at}.running_mean"], self.state[f"{at}.running_var"]
        if self.training:
            mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
        scale = self.state[f"{at}.weight"] / (var + 1e-5).sqrt()
        shift = self.state[f"{at}.bias"] - mean * scale
        out = x * scale[:, None, None] + shift[:, None, None]
        self.outputs[at] = out
        return out

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
