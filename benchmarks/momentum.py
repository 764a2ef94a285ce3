"""Whether the gradients of a training were right, told from its checkpoint on another machine.

    python benchmarks/momentum.py results/runs/RUN DATA [--batches 30]

A checkpoint holds the momentum, the sum of all gradients so far, each weighted 0.9 times the next
one's. While the rate is small, weights hardly move within the few tens of batches that count, so
the sum can be computed once more: with the weights as they are, in fp32, on this CPU. Where data,
order, augmentation, network, loss, weight decay or a device's kernels were others than said, the
two would not point the same way. For finished runs of CIFAR networks. DATA is the prepared data.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from resnet_repro.data import datasets
from resnet_repro.spec.loading import run_of
from resnet_repro.spec.yaml_io import read_yaml
from resnet_repro.training.checkpoint import unpack
from resnet_repro.training.device import choose_backend
from resnet_repro.training.feed import make_feed
from resnet_repro.training.trainer import Trainer


def recomputed(trainer: Trainer, batches: int) -> list[Tensor]:
    """The momentum as far as the last `batches` iterations made it, with the weights of now."""
    recipe, network = trainer.run.recipe, trainer.network.train()
    parameters = list(network.parameters())
    sums = [torch.zeros_like(parameter) for parameter in parameters]
    for back in range(batches):
        batch = trainer.feed.batch(trainer.iteration - 1 - back)
        network.zero_grad()
        F.cross_entropy(network(batch.inputs), batch.targets).backward()
        for total, parameter in zip(sums, parameters, strict=True):
            assert parameter.grad is not None
            step = parameter.grad + recipe.weight_decay * parameter.detach()
            total.add_(step, alpha=recipe.momentum**back)
    return sums


def main() -> None:
    """Compare, and print the cosine and the ratio of the two, of all layers and of a few."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--batches", type=int, default=30)
    chosen = parser.parse_args()
    run = run_of(read_yaml(chosen.run / "config.yaml"))
    backend = choose_backend("cpu", "fp32")
    dataset = datasets.load(run.dataset, chosen.data)
    trainer = Trainer(run, make_feed(run, dataset, backend), backend)
    trainer.load_state(unpack((chosen.run / "checkpoint").read_bytes()))
    stored = [buffer for buffer in trainer.updates.momentum() if buffer is not None]
    ours = recomputed(trainer, chosen.batches)
    names = [name for name, _ in trainer.network.named_parameters()]
    whole = [torch.cat([tensor.flatten() for tensor in tensors]) for tensors in (stored, ours)]
    print(f"{run.id}, iteration {trainer.iteration:,}, rate {trainer.updates.rate}")
    for name, was, now in [("all", *whole), *zip(names, stored, ours, strict=True)]:
        if name == "all" or was.dim() > 1:
            cosine = F.cosine_similarity(was.flatten(), now.flatten(), dim=0)
            print(f"{name:<28} cosine {cosine:.3f}, ratio of norms {was.norm() / now.norm():.2f}")


if __name__ == "__main__":
    main()
