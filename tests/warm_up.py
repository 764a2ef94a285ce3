"""What torch prepares when it first computes: forked processes have it if their parent computed."""

from __future__ import annotations

import gc

import torch
import torch._dynamo

from resnet_repro.networks.network import build_network


def warm_up(batch_size: int = 8, test_images: int = 60) -> None:
    """Train and test ResNet-8 once, with one thread, on batches of the sizes to come."""
    torch.set_num_threads(1)
    network = build_network("resnet-8")
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    labels = torch.zeros(batch_size, dtype=torch.long)
    torch.nn.functional.cross_entropy(
        network(torch.zeros(batch_size, 3, 32, 32)), labels
    ).backward()
    optimizer.step()
    with torch.no_grad():
        network.eval()(torch.zeros(test_images, 3, 32, 32))
    gc.freeze()  # or else each fork searches all of it for garbage, and has it copied thereby
