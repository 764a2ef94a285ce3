"""How exact one step is: BN, gradients and the first loss, against float64, on the CPU.

    python benchmarks/exactness.py

One batch of 64 generated images and freshly initialised networks, in the memory layout of training
(channels last), in the contiguous one, in bf16, and compiled (`run --compile`).
"""

from __future__ import annotations

import argparse
import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnet_repro.data.synthetic import generate
from resnet_repro.networks.blocks import BatchNorm, fuse, norm_relu
from resnet_repro.networks.initialise import initialise
from resnet_repro.networks.network import build_network

NETWORKS = ("plain-20", "resnet-20", "plain-56", "resnet-56")
LAYOUTS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}


def batch_norm_errors() -> dict[str, float]:
    """Layout -> the largest error of BN's output in fp32, on normal values [128, 16, 32, 32]."""
    values = 1 + 3 * torch.randn(128, 16, 32, 32, generator=torch.Generator().manual_seed(0))
    exact = F.batch_norm(values.double(), None, None, training=True)
    found = {}
    for name, layout in LAYOUTS.items():
        out = F.batch_norm(values.to(memory_format=layout), None, None, training=True)
        found[name] = (out.double() - exact).abs().max().item()
    layer = BatchNorm(16)
    fuse(layer)
    out = norm_relu(layer, values.to(memory_format=torch.channels_last))
    found["compiled, with ReLU"] = (out.double() - exact.relu()).abs().max().item()
    return found


def gradients(network: nn.Module, inputs: Tensor, labels: Tensor, bf16: bool = False) -> Tensor:
    """The gradient of the loss in all convolutions' weights, as one float64 vector."""
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        logits = network(inputs)
    wide = logits if logits.dtype == torch.float64 else logits.float()
    F.cross_entropy(wide, labels).backward()
    weights = (p for p in network.parameters() if p.dim() == 4)
    return torch.cat([w.grad.double().flatten() for w in weights if w.grad is not None])


def main() -> None:
    """Print what was found."""
    argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0]).parse_args()
    torch.set_num_threads(1)
    for name, error in batch_norm_errors().items():
        print(f"BN in fp32, {name}: largest error {error:.1e}")
    data = generate()
    images = torch.tensor(data.train_images[:64]).float()
    images = images - images.mean(dim=0)
    labels = torch.tensor(data.train_labels[:64]).long()
    for name in NETWORKS:
        network = build_network(name)
        initialise(network, 0)
        exact = gradients(copy.deepcopy(network).double(), images.double(), labels)
        for label, layout, bf16, compiled in (
            ("fp32, contiguous", "contiguous", False, False),
            ("fp32, channels last", "channels last", False, False),
            ("bf16, channels last", "channels last", True, False),
            ("fp32, compiled", "channels last", False, True),
            ("bf16, compiled", "channels last", True, True),
        ):
            twin = copy.deepcopy(network).to(memory_format=LAYOUTS[layout])
            fuse(twin, compiled)
            found = gradients(twin, images.to(memory_format=LAYOUTS[layout]), labels, bf16)
            error = ((found - exact).norm() / exact.norm()).item()
            cosine = (found @ exact / found.norm() / exact.norm()).item()
            print(f"gradient of {name}, {label}: error {100 * error:.2g}%, cosine {cosine:.3f}")
    for name in ("resnet-20", "resnet-56", "resnet-110"):
        losses = []
        for classifier in ("he-fan-in", "uniform"):
            network = build_network(name)
            initialise(network, 0, classifier=classifier)
            with torch.no_grad():
                losses.append(F.cross_entropy(network(images), labels).item())
        print(f"first loss of {name}: he-fan-in {losses[0]:.1f}, uniform {losses[1]:.1f}")


if __name__ == "__main__":
    main()
