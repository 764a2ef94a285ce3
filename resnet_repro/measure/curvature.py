"""Both ends of the spectrum of the loss's Hessian, after Li et al. (arXiv 1712.09913).

Where the smallest eigenvalue is not negative, or small beside the largest, the loss is convex or
nearly so in every direction and not only in those of a picture. As in that paper's code, the
Hessian is in the parameters of more than one dimension, with BN in evaluation mode.
"""

from __future__ import annotations

import copy
import hashlib
import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from resnet_repro.base.stop import until_stopped
from resnet_repro.measure.image_sample import choose_sample
from resnet_repro.measure.kept_arrays import KeptArrays, Parts
from resnet_repro.measure.progress import NEWS, seldom
from resnet_repro.measure.surface import STREAM, move, random_directions
from resnet_repro.spec.measurements import CurvatureRow
from resnet_repro.spec.surface import CurvatureSettings
from resnet_repro.training.order import Batch
from resnet_repro.training.subject import Subject

__all__ = ["Vector", "curvature_rows", "hessian_product", "spectrum_ends"]

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


def spectrum_ends(
    product: Callable[[Vector], Vector], size: int, tolerance: float = TOLERANCE
) -> Spectrum:
    """Both ends of a symmetric matrix's spectrum by Lanczos iteration, from products with it.

    The first vector is fixed. Every vector is made orthogonal to all before it, and none is given
    up for a restart. The largest eigenvalues of a Hessian are found to rounding long before the
    smallest; there ARPACK (in SciPy 1.17) restarts from a random vector: slower, and another one
    whenever it is continued. The sums are NumPy's, which don't depend on the number of threads as
    those of BLAS do.

    Args:
        product: with the matrix, of a float32 vector.
        size: of the vectors.
        tolerance: relative accuracy of each eigenvalue.

    Returns:
        nan for both if they did not converge, or a product is not finite.
    """
    from scipy.linalg import eigh_tridiagonal  # slow to import

    basis: list[Vector] = []
    diagonal: list[float] = []
    beside: list[float] = []
    vector = np.random.default_rng(0).standard_normal(size).astype(np.float32)
    norm = _norm(vector)
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
        if all(errors <= tolerance * scale) or len(basis) == size:
            return ends
        beside.append(norm)
    return Spectrum(math.nan, math.nan)


def _dot(a: Vector, b: Vector) -> float:
    return float(np.sum(a * b, dtype=np.float64))


def _norm(vector: Vector) -> float:
    return math.sqrt(_dot(vector, vector))


def hessian_weights(network: nn.Module) -> list[nn.Parameter]:
    """The parameters that the Hessian is in."""
    return [parameter for parameter in network.parameters() if parameter.dim() > 1]


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
    parts: Parts,
    settings: CurvatureSettings,
    should_stop: Callable[[], bool],
    news: Callable[[str], None],
) -> list[CurvatureRow]:
    """Both ends of the Hessian's spectrum at each point, in fp32.

    Raises:
        Stopped: it was time to stop; the products with the Hessian so far are kept.
        StoreError: they cannot be written.
    """
    sample = choose_sample(subject.feed, settings.images)
    directions = random_directions(subject.network, settings.directions)
    twin = copy.deepcopy(subject.network).eval()
    weights = hessian_weights(twin)
    kept = KeptArrays(parts, subject, settings=settings, sample=sample.sha256, stream=STREAM)
    on_message = seldom(lambda message: news(f"{subject.run.id}: {message}"), NEWS)

    def product(point: str, numbers: Iterator[int], vector: Vector) -> Vector:
        batches = sample.batches(CURVATURE_BATCH)
        make = partial(hessian_product, twin, weights, batches, vector, should_stop)
        found = kept.get(f"{point}/{hashlib.sha256(vector.tobytes()).hexdigest()}", make)
        on_message(f"curvature at ({point}): {next(numbers)} products with the Hessian")
        return found

    rows = []
    for alpha, beta in settings.at:
        move(twin, subject.network, directions, alpha, beta)
        product_here = partial(product, f"{alpha},{beta}", itertools.count(1))
        smallest, largest = spectrum_ends(product_here, sum(w.numel() for w in weights))
        at = settings.directions, alpha, beta
        rows.append(CurvatureRow(*at, smallest, largest, *sample.columns, STREAM))
    return rows
