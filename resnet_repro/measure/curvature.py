"""Both ends of the spectrum of the loss's Hessian, after Li et al. (arXiv 1712.09913).

Where the smallest eigenvalue is not negative, or small beside the largest, the loss is convex or
nearly so in every direction and not only in those of a picture. As in that paper's code, the
Hessian is in the parameters of more than one dimension, with BN in evaluation mode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from resnet_repro.base.stop import Stopped
from resnet_repro.training.order import Batch

__all__ = ["Vector", "hessian_ends", "hessian_product"]

TOLERANCE = 1e-2  # relative, of both eigenvalues, as in that paper's code
MOST_ROUNDS = 60  # restarts of the Lanczos iteration, of some 20 products each

Vector = NDArray[np.float32]


class Spectrum(NamedTuple):
    """The smallest and the largest eigenvalue of a Hessian; nan where they did not converge."""

    smallest: float
    largest: float


def hessian_ends(
    network: nn.Module,
    batches: Callable[[], Iterable[Batch]],
    should_stop: Callable[[], bool] = lambda: False,
    remember: Callable[[Vector, Callable[[], Vector]], Vector] = lambda _, make: make(),
    tolerance: float = TOLERANCE,
) -> Spectrum:
    """The ends of the Hessian's spectrum, of the mean cross-entropy over all batches.

    By implicitly restarted Lanczos iteration on Hessian-vector products, both ends from one Krylov
    space, from a fixed first vector. In fp32, whatever the precision of the training.

    Args:
        network: at the point of interest; its mode and gradients are left as they were.
        batches: makes the batches, on the network's device, the same each time.
        should_stop: asked before every batch.
        remember: given a vector and what computes its product with the Hessian, returns the
            product; an iteration that was stopped asks for the same ones again.
        tolerance: relative accuracy of each eigenvalue.

    Raises:
        Stopped: `should_stop` said so.
    """
    from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh  # slow to import

    weights = [parameter for parameter in network.parameters() if parameter.dim() > 1]
    size = sum(weight.numel() for weight in weights)
    modes = {module: module.training for module in network.modules()}
    required = [weight.requires_grad for weight in weights]
    first = np.random.default_rng(0).standard_normal(size).astype(np.float32)

    def product(vector: Vector) -> Vector:
        flat = vector.reshape(-1)
        make = partial(hessian_product, network, weights, batches(), flat, should_stop)
        return remember(flat, make)

    network.eval()
    for weight in weights:
        weight.requires_grad_(True)
    try:
        operator = LinearOperator((size, size), matvec=product, dtype=np.float32)
        found: NDArray[Any] = eigsh(
            operator,
            k=2,
            which="BE",
            v0=first,
            tol=tolerance,
            maxiter=MOST_ROUNDS,
            return_eigenvectors=False,
        )
    except ArpackError:
        return Spectrum(float("nan"), float("nan"))
    finally:
        for module, training in modes.items():
            module.training = training
        for weight, before in zip(weights, required, strict=True):
            weight.requires_grad_(before)
    return Spectrum(float(min(found)), float(max(found)))


def hessian_product(
    network: nn.Module,
    weights: list[nn.Parameter],
    batches: Iterable[Batch],
    vector: Vector,
    should_stop: Callable[[], bool] = lambda: False,
) -> Vector:
    """The Hessian of the mean cross-entropy in some weights times a vector, batch by batch."""
    device = weights[0].device
    flat = torch.from_numpy(np.ascontiguousarray(vector, dtype=np.float32)).to(device)
    total = torch.zeros_like(flat)
    images = 0
    with torch.enable_grad():
        for inputs, targets in batches:
            if should_stop():
                raise Stopped
            loss = F.cross_entropy(network(inputs), targets, reduction="sum")
            gradients = torch.autograd.grad(loss, weights, create_graph=True)
            along = torch.dot(torch.cat([g.reshape(-1) for g in gradients]), flat)
            products = torch.autograd.grad(along, weights)
            total += torch.cat([p.reshape(-1) for p in products])
            images += len(targets)
    return (total / images).cpu().numpy()
