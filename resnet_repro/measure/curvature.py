"""Both ends of the spectrum of the loss's Hessian, after Li et al. (arXiv 1712.09913).

Where the smallest eigenvalue is not negative, or small beside the largest, the loss is convex or
nearly so in every direction and not only in those of a picture. As in that paper's code, the
Hessian is in the parameters of more than one dimension, with BN in evaluation mode.
"""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from resnet_repro.base.stop import until_stopped
from resnet_repro.measure.image_sample import choose_sample
from resnet_repro.measure.kept_arrays import KeptArrays
from resnet_repro.measure.progress import NEWS, seldom
from resnet_repro.measure.surface import move, random_directions
from resnet_repro.spec.measurements import CurvatureRow
from resnet_repro.spec.surface import CurvatureSettings
from resnet_repro.store.run_folder import RunFolder
from resnet_repro.training.order import Batch
from resnet_repro.training.subject import Subject

__all__ = ["Vector", "curvature_rows", "hessian_ends", "hessian_product"]

TOLERANCE = 1e-2  # relative, of both eigenvalues, as in that paper's code
FLOOR = 1e-3  # share of the larger one: a smaller eigenvalue has the tolerance of one of this size
MOST_PRODUCTS = 300
# Images whose product with the Hessian is computed at a time. A product takes some 24 MB for each
# image of 110 layers; on a CPU core, 250 images at a time took a tenth longer than 100.
CURVATURE_BATCH = 100

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

    In fp32, whatever the precision of the training, from a fixed first vector.

    Args:
        network: at the point of interest, in evaluation mode.
        batches: makes the batches, on the network's device, the same each time.
        should_stop: asked before every batch.
        remember: given a vector and what computes its product with the Hessian, returns the
            product; an iteration that was stopped asks for the same ones again.
        tolerance: relative accuracy of each eigenvalue.

    Raises:
        Stopped: `should_stop` said so.
    """
    weights = [parameter for parameter in network.parameters() if parameter.dim() > 1]
    size = sum(weight.numel() for weight in weights)
    first = np.random.default_rng(0).standard_normal(size).astype(np.float32)

    def product(vector: Vector) -> Vector:
        make = partial(hessian_product, network, weights, batches(), vector, should_stop)
        return remember(vector, make)

    return _lanczos(product, first, tolerance)


def _lanczos(product: Callable[[Vector], Vector], first: Vector, tolerance: float) -> Spectrum:
    """Both ends of a symmetric matrix's spectrum by Lanczos iteration, from products with it.

    Every vector is made orthogonal to all before it, and none is given up for a restart. The
    largest eigenvalues of a Hessian are found to rounding long before the smallest; there ARPACK
    (in SciPy 1.17) restarts from a random vector: slower, and another one whenever it is continued.
    The sums are NumPy's, which don't depend on the number of threads as those of BLAS do.

    Returns:
        nan for both if they did not converge, or a product is not finite.
    """
    from scipy.linalg import eigh_tridiagonal  # slow to import

    basis: list[Vector] = []
    diagonal: list[float] = []
    beside: list[float] = []
    vector, norm = first, _norm(first)
    while len(basis) < MOST_PRODUCTS:
        basis.append(vector / np.float32(norm))
        vector = product(basis[-1])
        diagonal.append(_dot(vector, basis[-1]))
        vector = vector.copy()
        for earlier in (*basis, *basis):  # twice, for what rounding leaves
            vector -= np.float32(_dot(vector, earlier)) * earlier
        norm = _norm(vector)
        if not math.isfinite(norm):
            break
        values, vectors = eigh_tridiagonal(diagonal, beside)
        ends = Spectrum(float(values[0]), float(values[-1]))
        errors = norm * np.abs(vectors[-1, [0, -1]])
        scale = np.maximum(np.abs(ends), FLOOR * max(map(abs, ends)))
        if all(errors <= tolerance * scale) or len(basis) == len(first):
            return ends
        beside.append(norm)
    return Spectrum(math.nan, math.nan)


def _dot(a: Vector, b: Vector) -> float:
    return float(np.sum(a * b, dtype=np.float64))


def _norm(vector: Vector) -> float:
    return math.sqrt(_dot(vector, vector))


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
        for inputs, targets in until_stopped(batches, should_stop):
            loss = F.cross_entropy(network(inputs), targets, reduction="sum")
            gradients = torch.autograd.grad(loss, weights, create_graph=True)
            along = torch.dot(torch.cat([g.reshape(-1) for g in gradients]), flat)
            products = torch.autograd.grad(along, weights)
            total += torch.cat([p.reshape(-1) for p in products])
            images += len(targets)
    return (total / images).cpu().numpy()


def curvature_rows(
    subject: Subject,
    folder: RunFolder,
    settings: CurvatureSettings,
    should_stop: Callable[[], bool],
    note: Callable[[str], None],
) -> list[CurvatureRow]:
    """Both ends of the Hessian's spectrum at each point, in fp32.

    Raises:
        Stopped: it was time to stop; the products with the Hessian so far are kept.
        StoreError: they cannot be written.
    """
    sample = choose_sample(subject.feed, settings.images)
    directions = random_directions(subject.network, settings.directions)
    twin = copy.deepcopy(subject.network).eval()
    place = folder.unfinished_arrays("curvature")
    kept = KeptArrays(place, subject, settings=settings, sample=sample.sha256)
    rows = []
    on_message = seldom(lambda message: note(f"{subject.run.id}: {message}"), NEWS)
    for alpha, beta in settings.at:
        move(twin, subject.network, directions, alpha, beta)
        remember = _rememberer(kept, f"{alpha},{beta}", on_message)
        batches = partial(sample.batches, CURVATURE_BATCH)
        smallest, largest = hessian_ends(twin, batches, should_stop, remember)
        at = settings.directions, alpha, beta
        rows.append(CurvatureRow(*at, smallest, largest, *sample.columns))
    return rows


def _rememberer(
    kept: KeptArrays, point: str, on_message: Callable[[str], None]
) -> Callable[[Vector, Callable[[], Vector]], Vector]:
    """Keeps and counts the products with the Hessian at a point."""
    number = 0

    def remember(vector: Vector, make: Callable[[], Vector]) -> Vector:
        nonlocal number
        product = kept.get(f"{point}/{hashlib.sha256(vector.tobytes()).hexdigest()}", make)
        number += 1
        on_message(f"curvature at ({point}): {number} products with the Hessian")
        return product

    return remember
