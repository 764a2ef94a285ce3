"""A CIFAR ResNet as others write it, apart from this project's, with what it expects of images."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTHS = (8, 16, 32)  # channels of the stages
MEANS = {
    "torchvision": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "cifar": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "0-1": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "kuangliu": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
}


class Block(nn.Module):
    def __init__(self, before: int, planes: int, padding: str) -> None:
        super().__init__()
        self.stride = 1 if before == planes else 2
        self.conv1 = nn.Conv2d(before, planes, 3, self.stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.padding, self.shortcut = padding, nn.Sequential()
        if self.stride == 2 and padding == "projection":
            self.shortcut = nn.Sequential(
                nn.Conv2d(before, planes, 1, 2, bias=False), nn.BatchNorm2d(planes)
            )

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.padding == "plain":
            return F.relu(out)
        if self.stride == 2 and self.padding != "projection":
            added = out.shape[1] - x.shape[1]
            first = {"end": 0, "both": added // 2}[self.padding]
            zeros = x.new_zeros(len(x), added, out.shape[2], out.shape[3])
            return F.relu(
                out + torch.cat((zeros[:, :first], x[:, :, ::2, ::2], zeros[:, first:]), 1)
            )
        return F.relu(out + self.shortcut(x))


class Net(nn.Module):
    """Three stages of one block each: eight layers."""

    def __init__(self, padding: str) -> None:
        super().__init__()
        first, second, third = WIDTHS
        self.conv1 = nn.Conv2d(3, first, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.layer1 = nn.Sequential(Block(first, first, padding))
        self.layer2 = nn.Sequential(Block(first, second, padding))
        self.layer3 = nn.Sequential(Block(second, third, padding))
        self.linear = nn.Linear(third, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        return self.linear(x.mean((2, 3)))


def expected(kind: str, images: np.ndarray, training: np.ndarray) -> Tensor:
    """What the network gets, in the order of operations of everybody's code."""
    x = torch.from_numpy(images).float()
    if kind == "paper":
        return x - torch.from_numpy(training.mean(0)).float()
    if kind == "paper-0-1":
        return x / 255 - torch.from_numpy((training / 255).mean(0)).float()
    mean, deviation = (torch.tensor(values)[:, None, None] for values in MEANS[kind])
    return (x / 255 - mean) / deviation


def taught(padding: str, training: Tensor) -> Net:
    """Random weights, their statistics and the classifier's scale fitted to some input.

    It tells ten classes apart with confidence: what they are, its own answers say.
    """
    torch.manual_seed(1)
    net = Net(padding)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        logits = net.train()(training)
        scale = 12 / logits.std(0)
        net.linear.bias.copy_((net.linear.bias - logits.mean(0)) * scale)
        net.linear.weight.mul_(scale[:, None])
    return net.eval()
