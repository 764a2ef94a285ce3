"""The loss around trained weights, and its curvature, against what can be computed otherwise."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from short_runs import small_synthetic
from torch import Tensor, nn

from resnet_repro.base.stop import Stopped
from resnet_repro.measure import curvature
from resnet_repro.measure.curvature import (
    Spectrum,
    Vector,
    hessian_product,
    hessian_weights,
    spectrum_ends,
)
from resnet_repro.measure.image_sample import choose_sample
from resnet_repro.measure.path import measure_on_line
from resnet_repro.measure.surface import Directions, measure_row, move, random_directions
from resnet_repro.networks.initialise import initialise
from resnet_repro.networks.network import build_network
from resnet_repro.spec.recipe import Recipe
from resnet_repro.spec.run import Run
from resnet_repro.spec.surface import PathSettings, SurfaceSettings, axis
from resnet_repro.training.cifar_feed import CifarFeed
from resnet_repro.training.device import Backend, choose_backend
from resnet_repro.training.evaluate import evaluate
from resnet_repro.training.order import Batch

FP32 = Backend(torch.device("cpu"), "fp32")
RECIPE = Recipe(iterations=8, milestones=(6,), batch_size=16)


@pytest.fixture(scope="module")
def feed() -> CifarFeed:
    run = Run(network="resnet-8", dataset="synthetic", recipe=RECIPE, seed=0)
    return CifarFeed(run, small_synthetic(300), torch.device("cpu"))


@pytest.fixture
def network() -> nn.Module:
    """An 8-layer network whose BN statistics and scales are not those of the start."""
    model = build_network("resnet-8")
    initialise(model, 3)
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            module.running_mean.uniform_(-1, 1)  # type: ignore[union-attr]
            module.running_var.uniform_(20, 40)  # type: ignore[union-attr]
    return model.to(memory_format=torch.channels_last)


class Linear(nn.Module):
    """Logits x W + b, whose loss and Hessian are known in closed form."""

    def __init__(self, inputs: int = 5, classes: int = 3) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(x)
        return logits


def some_batches() -> list[Batch]:
    torch.manual_seed(2)
    x, y = torch.randn(40, 5), torch.randint(0, 3, (40,))
    return [Batch(x[:30], y[:30]), Batch(x[30:], y[30:])]


def test_each_filter_of_a_direction_has_the_norm_of_the_networks(network: nn.Module) -> None:
    directions = random_directions(network, 4)
    for (name, weight), *steps in zip(network.named_parameters(), *directions, strict=True):
        for step in steps:
            if weight.dim() == 1:
                assert not step.any(), name
                continue
            norms = weight.detach().flatten(1).norm(dim=1)
            assert torch.allclose(step.flatten(1).norm(dim=1), norms, rtol=1e-5), name
    first = torch.cat([step.flatten() for step in directions.first])
    second = torch.cat([step.flatten() for step in directions.second])
    assert abs(F.cosine_similarity(first, second, dim=0)) < 0.05


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", ["resnet-8", "preact-8"])
def test_directions_are_not_the_weights_that_a_run_of_their_seed_starts_from(
    name: str, seed: int
) -> None:
    model = build_network(name)
    initialise(model, seed)
    weights = torch.cat([weight.detach().flatten() for weight in hessian_weights(model)])
    for direction in random_directions(model, seed):
        steps = torch.cat([step.flatten() for step in direction if step.dim() > 1])
        assert abs(F.cosine_similarity(weights, steps, dim=0)) < 0.05


def test_directions_depend_on_their_seed_alone(network: nn.Module) -> None:
    torch.manual_seed(99)
    first, again, other = (random_directions(network, seed) for seed in (1, 1, 2))
    assert all(map(torch.equal, first.first, again.first))
    assert all(map(torch.equal, first.second, again.second))
    assert not torch.equal(first.first[0], other.first[0])


def test_the_centre_is_the_evaluated_loss_to_the_last_bit(
    network: nn.Module, feed: CifarFeed
) -> None:
    sample = choose_sample(feed, 100)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.train()
    directions = random_directions(network, 0)
    (point,) = measure_row(network, directions, (0.0,), 0.0, sample.batches, FP32)
    assert point[2:] == evaluate(network, sample.batches(), FP32)
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_grid_that_is_not_square_is_the_right_way_round_and_right_to_rounding() -> None:
    model, batches = Linear(), some_batches()
    directions = random_directions(model, 0)
    alphas, betas = axis(1.0, 5), axis(1.0, 3)
    x = torch.cat([batch.inputs for batch in batches]).double()
    y = torch.cat([batch.targets for batch in batches])
    weight, bias = (value.detach().double() for value in model.parameters())
    for beta in betas:
        row = measure_row(model, directions, alphas, beta, lambda: batches, FP32)
        for point, alpha in zip(row, alphas, strict=True):
            assert (point.alpha, point.beta) == (alpha, beta)
            moved = weight + alpha * directions.first[0] + beta * directions.second[0]
            logits = x @ moved.T + bias
            expected = (torch.logsumexp(logits, 1) - logits[torch.arange(40), y]).mean()
            assert point.loss == pytest.approx(expected.item(), rel=1e-5)
            assert point.error == pytest.approx(100 * (logits.argmax(1) != y).double().mean())


def closed_form(model: Linear, weight: Tensor, bias: Tensor) -> float:
    """Mean cross-entropy of softmax(x W + b) on the batches, in double precision."""
    batches = some_batches()
    x = torch.cat([batch.inputs for batch in batches]).double()
    y = torch.cat([batch.targets for batch in batches])
    logits = x @ weight.T + bias
    return float((torch.logsumexp(logits, 1) - logits[torch.arange(len(y)), y]).mean())


def test_a_line_and_a_path_are_right_to_rounding() -> None:
    model, batches = Linear(), some_batches()
    weight, bias = (value.detach().double() for value in model.parameters())
    directions = random_directions(model, 0)
    settings = SurfaceSettings(points=(7, 1))
    assert settings.betas == (0.0,)
    for point in measure_row(model, directions, settings.alphas, 0.0, lambda: batches, FP32):
        expected = closed_form(model, weight + point.alpha * directions.first[0], bias)
        assert point.loss == pytest.approx(expected, rel=1e-5)

    end = {"fc.weight": torch.randn(3, 5), "fc.bias": torch.randn(3)}
    positions = PathSettings(points=9).positions
    assert positions == (-0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
    for t in positions:
        loss, _ = measure_on_line(model, end, t, lambda: batches, FP32)
        moved = [(1 - t) * a + t * b for a, b in zip((weight, bias), end.values(), strict=True)]
        assert loss == pytest.approx(closed_form(model, *moved), rel=1e-5)


def hessian_ends(
    model: nn.Module,
    batches: Callable[[], Iterable[Batch]],
    should_stop: Callable[[], bool] = lambda: False,
    tolerance: float = curvature.TOLERANCE,
) -> Spectrum:
    weights = hessian_weights(model)

    def product(vector: Vector) -> Vector:
        return hessian_product(model, weights, batches(), vector, should_stop)

    return spectrum_ends(product, sum(weight.numel() for weight in weights), tolerance)


def test_the_curvature_of_a_linear_model_is_right_to_rounding() -> None:
    """The Hessian in W is the mean of (diag(p) - p p^T) x (x x^T), convex: no end is negative."""
    model = Linear()
    weight, bias = (value.detach().double() for value in model.parameters())
    x = torch.cat([batch.inputs for batch in some_batches()]).double()
    p = torch.softmax(x @ weight.T + bias, 1)
    middle = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    hessian = torch.einsum("nij,nk,nl->ikjl", middle, x, x).reshape(15, 15) / len(x)
    exact = torch.linalg.eigvalsh(hessian)
    found = hessian_ends(model, some_batches, tolerance=1e-6)
    assert found.largest == pytest.approx(exact[-1].item(), rel=1e-5)
    assert found.smallest == pytest.approx(exact[0].item(), abs=1e-5 * exact[-1].item())


def test_points_do_not_depend_on_those_before_them(network: nn.Module, feed: CifarFeed) -> None:
    sample, directions = choose_sample(feed, 40), random_directions(network, 0)
    alphas = axis(0.5, 5)
    whole = measure_row(network, directions, alphas, 0.25, sample.batches, FP32)
    rest = measure_row(network, directions, alphas[2:], 0.25, sample.batches, FP32)
    assert rest == whole[2:]


def test_a_stop_is_noticed_within_a_row(network: nn.Module, feed: CifarFeed) -> None:
    asked = iter([False, False, True])
    batches, directions = choose_sample(feed, 20).batches, random_directions(network, 0)
    with pytest.raises(Stopped):
        measure_row(network, directions, (0.0, 0.5, 1.0), 0.0, batches, FP32, lambda: next(asked))


def test_rescaling_a_filter_and_its_bn_changes_nothing_of_the_surface(
    network: nn.Module, feed: CifarFeed
) -> None:
    sample = choose_sample(feed, 60)

    def surface() -> list[float]:
        directions = random_directions(network, 0)
        row = measure_row(network, directions, (-0.5, 0.0, 0.5), 0.5, sample.batches, FP32)
        return [point.loss for point in row]

    before = surface()
    conv, norm = network.layer2[0].conv1, network.layer2[0].bn1  # type: ignore[index,union-attr]
    with torch.no_grad():
        conv.weight[3] *= 8
        norm.running_mean[3] *= 8
        norm.running_var[3] = 64 * (norm.running_var[3] + norm.eps) - norm.eps
    assert surface() == pytest.approx(before, rel=1e-4)


def test_a_sample_has_as_many_images_of_each_class_and_says_what_it_is(feed: CifarFeed) -> None:
    sample = choose_sample(feed, 53, seed=5)
    assert len(sample.which) == 53
    labels = feed.train_labels[sample.which]
    counts = torch.bincount(labels, minlength=10)
    assert set(counts.tolist()) == {5, 6}
    assert choose_sample(feed, 53, seed=5).sha256 == sample.sha256
    assert choose_sample(feed, 53, seed=6).sha256 != sample.sha256
    whole = choose_sample(feed, None)
    assert whole.which.tolist() == list(range(300))
    assert choose_sample(feed, 1_000).sha256 == whole.sha256
    images = torch.cat([batch.inputs for batch in whole.batches()])
    assert torch.equal(images, feed.train_images - feed.mean)


def test_a_path_goes_from_one_network_to_the_other(network: nn.Module, feed: CifarFeed) -> None:
    other = build_network("resnet-8")
    initialise(other, 8)
    sample = choose_sample(feed, 40)
    ends = [evaluate(model, sample.batches(), FP32) for model in (network, other)]
    positions = (-0.5, 0.0, 0.5, 1.0, 1.5)
    end = other.state_dict()
    path = [measure_on_line(network, end, t, sample.batches, FP32) for t in positions]
    assert path[1] == ends[0]
    assert path[3][0] == pytest.approx(ends[1][0], rel=1e-5)
    assert all(math.isfinite(loss) for loss, _ in path)


def test_the_spectrums_ends_are_those_of_the_exact_hessian() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3))
    model.train()
    batches = some_batches()
    model(torch.cat([batch.inputs for batch in batches]))  # BN's running statistics
    model.eval()
    x = torch.cat([batch.inputs for batch in batches])
    y = torch.cat([batch.targets for batch in batches])
    names = [name for name, p in model.named_parameters() if p.dim() > 1]
    sizes = [model.get_parameter(name).numel() for name in names]

    def loss(flat: Tensor) -> Tensor:
        parts = {
            name: part.view_as(model.get_parameter(name))
            for name, part in zip(names, flat.split(sizes), strict=True)
        }
        return F.cross_entropy(torch.func.functional_call(model, parts, (x,)), y)

    flat = torch.cat([model.get_parameter(name).detach().flatten() for name in names])
    exact = torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, flat))
    found = hessian_ends(model, lambda: batches, tolerance=1e-4)
    assert found.largest == pytest.approx(exact[-1].item(), rel=1e-3)
    assert found.smallest == pytest.approx(exact[0].item(), rel=1e-2)
    assert found.smallest < 0 < found.largest
    assert all(p.grad is None for p in model.parameters())


def test_hessian_vector_products_across_zero_padded_shortcuts_are_right(
    network: nn.Module, feed: CifarFeed
) -> None:
    """Their backward pass is our own, so it has to be differentiable: against differences."""
    batches = list(choose_sample(feed, 20).batches())
    vector = np.random.default_rng(0).standard_normal(75_000).astype(np.float32)
    weights = [p for p in network.parameters() if p.dim() > 1]
    vector = vector[: sum(weight.numel() for weight in weights)]
    found = hessian_product(network.eval(), weights, batches, vector)

    double = build_network("resnet-8").double().eval()
    double.load_state_dict(network.state_dict())
    matrices = [p for p in double.parameters() if p.dim() > 1]
    steps = torch.from_numpy(vector).double().split([m.numel() for m in matrices])

    def gradient(distance: float) -> Tensor:
        with torch.no_grad():
            for matrix, step in zip(matrices, steps, strict=True):
                matrix.add_(distance * step.view_as(matrix))
        x = torch.cat([batch.inputs for batch in batches]).double()
        loss = F.cross_entropy(double(x), torch.cat([batch.targets for batch in batches]))
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, matrices)])

    distance = 1e-8  # small enough that no unit's sign changes
    difference = (gradient(distance) - gradient(-distance)) / distance  # the second starts there
    assert torch.allclose(torch.from_numpy(found).double(), difference, rtol=1e-3, atol=1e-4)


def test_a_spectrum_like_a_networks_is_found_with_few_products_and_always_the_same() -> None:
    """A few large eigenvalues, thousands around zero: the smallest is found long after them.

    From here ARPACK goes on with random vectors after 21 products, and makes twice as many.
    """
    spectrum = np.random.default_rng(1).triangular(-0.2, 0, 0.3, 6_000).astype(np.float32)
    spectrum[:8] = (42, 37, 32, 20, 10, 5, 2, 1)
    asked: list[bytes] = []

    def product(vector: Vector) -> Vector:
        asked.append(vector.tobytes())
        return spectrum * vector

    found = spectrum_ends(product, 6_000)
    assert found.largest == pytest.approx(42, rel=1e-4)
    assert found.smallest == pytest.approx(spectrum.min(), rel=1e-2)
    first, asked = asked, []
    assert spectrum_ends(product, 6_000) == found
    assert asked == first
    assert len(set(asked)) == len(asked) < 60


def test_an_eigenvalue_next_to_zero_is_known_beside_the_largest() -> None:
    """To find one of thousands close to zero to a hundredth of itself would take ever so long."""
    spectrum = np.random.default_rng(1).uniform(0, 0.01, 6_000).astype(np.float32)
    spectrum[:8] = (42, 37, 32, 20, 10, 5, 2, 1)
    products = 0

    def product(vector: Vector) -> Vector:
        nonlocal products
        products += 1
        return spectrum * vector

    found = spectrum_ends(product, 6_000)
    assert found.largest == pytest.approx(42, rel=1e-4)
    assert abs(found.smallest) < 1e-3
    assert products < 40


def test_there_are_no_eigenvalues_where_the_loss_is_not_a_number() -> None:
    model = Linear()
    with torch.no_grad():
        next(iter(model.parameters())).fill_(float("nan"))
    assert all(map(math.isnan, hessian_ends(model, some_batches)))


def test_there_are_no_eigenvalues_that_have_not_converged(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not any(map(math.isnan, hessian_ends(Linear(), some_batches)))
    monkeypatch.setattr(curvature, "MOST_PRODUCTS", 2)
    assert all(map(math.isnan, hessian_ends(Linear(), some_batches)))


def test_a_stop_ends_the_search_for_eigenvalues() -> None:
    with pytest.raises(Stopped):
        hessian_ends(Linear(), some_batches, should_stop=lambda: True)


def test_axes_are_even_and_hold_the_centre_exactly() -> None:
    assert axis(1.0, 5) == (-1.0, -0.5, 0.0, 0.5, 1.0)
    assert axis(1.0, 1) == (0.0,)
    values = axis(0.7, 51)
    assert values[25] == 0.0
    assert values[0] == -values[-1] == -0.7
    assert np.allclose(np.diff(values), 1.4 / 50)


def test_weights_at_the_centre_are_exactly_the_networks(network: nn.Module) -> None:
    twin = build_network("resnet-8").to(memory_format=torch.channels_last)
    move(twin, network, random_directions(network, 0), 0.0, 0.0)
    pairs: Iterator[tuple[Tensor, Tensor]] = zip(
        twin.parameters(), network.parameters(), strict=True
    )
    assert all(torch.equal(a, b) for a, b in pairs)
    flat = Directions([torch.ones_like(p) for p in network.parameters()], [])
    with pytest.raises(ValueError, match="zip"):  # two directions are needed
        move(twin, network, flat, 1.0, 0.0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_measures_the_same_surface(network: nn.Module) -> None:
    def measured(device: str) -> tuple[str, list[float], float]:
        backend = choose_backend(device, "fp32")
        run = Run(network="resnet-8", dataset="synthetic", recipe=RECIPE, seed=0)
        sample = choose_sample(CifarFeed(run, small_synthetic(300), backend.device), 100)
        there = copy.deepcopy(network).to(backend.device)
        directions = random_directions(there, 3)
        row = measure_row(there, directions, (-0.5, 0.0, 0.5), 0.25, sample.batches, backend)
        losses = [point.loss for point in row]
        return sample.sha256, losses, hessian_ends(there.eval(), sample.batches).largest

    (sha256, losses, largest), (there, found, highest) = measured("cpu"), measured("cuda")
    assert there == sha256
    assert found == pytest.approx(losses, rel=1e-4)
    assert highest == pytest.approx(largest, rel=3e-2)
