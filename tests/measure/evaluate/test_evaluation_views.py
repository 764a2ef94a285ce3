"""Centre crop, 10-crop and multi-scale testing against a plain implementation of their own."""

from __future__ import annotations

import copy
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from evaluation_pictures import SIZES, photograph, random_network
from evaluation_reference import reference
from narrow_networks import NARROW, narrow_networks, set_widths
from torch import Tensor, nn

from resnet_repro.base.errors import DataError
from resnet_repro.base.stop import Stopped
from resnet_repro.data.photos.photos import FilePhotos, Photos
from resnet_repro.measure.views import losses, scores, topk_errors
from resnet_repro.spec.recipe_parts import Photographs
from resnet_repro.spec.tables_figures import Views
from resnet_repro.training.device import Backend, choose_backend

VIEWS: tuple[Views, ...] = ("centre", "10-crop", "multi-scale")
PHOTOS = "RESNET_REPRO_TEST_PHOTOS"
SMALL = Photographs(
    crop=48, shorter_side=(48, 90), test_shorter_side=57, multi_scale=(48, 57, 100)
)  # final maps of 2x2 places for a crop, of up to 4x10 for a photograph
CPU = Backend(torch.device("cpu"), "fp32")


@pytest.fixture(scope="module")
def network() -> nn.Module:
    with narrow_networks():
        set_widths(NARROW[0], (64, 64, 96, 96))  # as option A wants: none fewer than before
        return random_network("resnet-18-a")


@pytest.fixture(scope="module")
def mean() -> Tensor:
    """A mean image that is neither flat nor symmetric."""
    return torch.from_numpy(np.array(photograph(48, 48, 77))).permute(2, 0, 1) * 0.8


@pytest.fixture(scope="module")
def paths(folder: Path) -> list[Path]:
    return sorted((folder / "val").glob("*/*"), key=lambda path: int(path.stem))


def photos_at(paths: list[Path]) -> Photos:
    root = Path(os.path.commonpath(paths))
    names = [str(path.relative_to(root)) for path in paths]
    return FilePhotos(root, names, np.arange(len(names)) % 3)


def assert_same_scores(ours: Tensor, theirs: Tensor) -> None:
    """Equal to rounding, where different photographs are not."""
    assert theirs.std(dim=0).max() > 1e-3
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("views", VIEWS)
def test_scores_are_those_of_a_plain_implementation(
    views: Views, network: nn.Module, mean: Tensor, paths: list[Path]
) -> None:
    ours = scores(network, photos_at(paths), views, SMALL, mean, CPU)
    assert ours.shape == (len(SIZES), 5)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours.sum(1), torch.ones(len(SIZES)))
    assert_same_scores(ours, reference(views, copy.deepcopy(network), paths, SMALL, mean))


def test_bottleneck_networks_too(paths: list[Path], mean: Tensor) -> None:
    with narrow_networks():
        network = random_network("resnet-50")
    ours = scores(network, photos_at(paths[:2]), "multi-scale", SMALL, mean, CPU)
    assert_same_scores(ours, reference("multi-scale", network, paths[:2], SMALL, mean))


@pytest.mark.skipif(PHOTOS not in os.environ, reason=f"{PHOTOS} names no folder of photographs")
@pytest.mark.parametrize("views", VIEWS)
def test_real_photographs_at_the_papers_sizes(views: Views) -> None:
    """Imagenette's, say: RESNET_REPRO_TEST_PHOTOS=data/imagenette2-160 pytest tests/evaluation."""
    found = sorted(p for p in Path(os.environ[PHOTOS]).rglob("*") if p.suffix in (".JPEG", ".jpg"))
    paths = found[:: max(1, len(found) // 6)][:6]
    assert paths, "no photographs there"
    network = random_network("resnet-18-b")
    mean = torch.rand(3, 224, 224, generator=torch.Generator().manual_seed(0)) * 30 + 100
    ours = scores(network, photos_at(paths), views, Photographs(), mean, CPU)
    assert_same_scores(ours, reference(views, network, paths, Photographs(), mean))


def test_multi_scale_at_the_crops_size_is_the_ordinary_pass(
    network: nn.Module, mean: Tensor, tmp_path: Path
) -> None:
    """A photograph that is as large as the crop has one place: its own view and its mirror's."""
    photograph(48, 48, 5).save(tmp_path / "0.png")
    sizes = SMALL.model_copy(update={"multi_scale": (48,), "test_shorter_side": 48})
    photos = FilePhotos(tmp_path, ["0.png"], np.zeros(1, np.int64))
    ours = scores(network, photos, "multi-scale", sizes, mean, CPU)
    x = torch.from_numpy(photos.pixels(0).copy()).permute(2, 0, 1)
    with torch.no_grad():
        ordinary = network(torch.stack([x - mean, x.flip(2) - mean])).softmax(1).mean(0)
    torch.testing.assert_close(ours[0], ordinary, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("views", VIEWS)
def test_neither_workers_nor_the_memory_for_batches_decide(
    views: Views,
    network: nn.Module,
    mean: Tensor,
    paths: list[Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes = SMALL.model_copy(update={"multi_scale": (48, 57)})
    once = scores(network, photos_at(paths), views, sizes, mean, CPU)
    seen: list[int] = []
    monkeypatch.setattr("resnet_repro.measure.views.PIXELS", 10 * 48 * 48)
    network.conv1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].numel() // 3))
    monkeypatch.setenv("RESNET_REPRO_WORKERS", "2")
    again = scores(network, photos_at(paths), views, sizes, mean, CPU)
    network.conv1._forward_pre_hooks.clear()
    torch.testing.assert_close(once, again, rtol=1e-5, atol=1e-6)
    largest = 200 * 57 * 57 // 67  # of a photograph by itself
    assert max(seen) <= max(10 * 48 * 48, largest)


def test_weights_of_others_want_a_deviation(
    network: nn.Module, mean: Tensor, paths: list[Path]
) -> None:
    deviation = torch.tensor([0.5, 2.0, 1.5])
    scaled = copy.deepcopy(network)
    with torch.no_grad():  # a network that divides for itself
        scaled.conv1.weight.div_(deviation[:, None, None])
    photos = photos_at(paths)
    expected = scores(scaled, photos, "10-crop", SMALL, mean, CPU)
    ours = scores(network, photos, "10-crop", SMALL, mean, CPU, deviation=deviation)
    assert_same_scores(ours, expected)
    assert (ours - scores(network, photos, "10-crop", SMALL, mean, CPU)).abs().max() > 0.01


def test_the_network_keeps_its_mode_and_its_statistics(
    network: nn.Module, mean: Tensor, paths: list[Path]
) -> None:
    model = copy.deepcopy(network).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    ours = scores(model, photos_at(paths), "centre", SMALL, mean, CPU)
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert_same_scores(ours, scores(network, photos_at(paths), "centre", SMALL, mean, CPU))


@pytest.mark.parametrize("views", VIEWS)
@pytest.mark.parametrize("batches", [0, 1, 3])
def test_it_asks_before_every_batch_whether_to_stop(
    views: Views,
    batches: int,
    network: nn.Module,
    mean: Tensor,
    paths: list[Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("resnet_repro.measure.views.PIXELS", 1)
    forwarded: list[object] = []
    model = copy.deepcopy(network).train()
    model.conv1.register_forward_hook(lambda *_: forwarded.append(None))
    passes = 1 if views == "centre" else 2  # a batch and its mirror image
    with pytest.raises(Stopped):
        scores(
            model, photos_at(paths), views, SMALL, mean, CPU,
            lambda: len(forwarded) >= passes * batches,
        )  # fmt: skip
    assert len(forwarded) == passes * batches
    assert model.training


def test_progress_is_told_up_to_the_end(
    network: nn.Module, mean: Tensor, paths: list[Path]
) -> None:
    told: list[tuple[int, int]] = []
    scores(
        network, photos_at(paths), "multi-scale", SMALL, mean, CPU,
        on_progress=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    assert told == sorted(told)
    assert told[-1] == (3 * len(SIZES), 3 * len(SIZES))


def test_an_unreadable_photograph_is_named(
    network: nn.Module, mean: Tensor, tmp_path: Path
) -> None:
    (tmp_path / "torn.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    photos = FilePhotos(tmp_path, ["torn.jpg"], np.zeros(1, np.int64))
    with pytest.raises(DataError, match=r"torn\.jpg"):
        scores(network, photos, "centre", SMALL, mean, CPU)


@pytest.mark.parametrize("views", VIEWS)
def test_bf16_agrees_roughly(
    views: Views, network: nn.Module, mean: Tensor, paths: list[Path]
) -> None:
    bf16 = Backend(torch.device("cpu"), "bf16")
    photos = photos_at(paths[:3])
    ours = scores(network, photos, views, SMALL, mean, bf16)
    exact = scores(network, photos, views, SMALL, mean, CPU)
    assert 0 < (ours - exact).abs().max() < 0.1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("views", VIEWS)
def test_the_gpu_agrees_with_the_cpu(
    views: Views, network: nn.Module, mean: Tensor, paths: list[Path]
) -> None:
    photos, deviation = photos_at(paths), torch.tensor([1.0, 1.1, 0.9])
    cpu = scores(network, photos, views, SMALL, mean, CPU, deviation=deviation)
    backend = choose_backend("cuda", "fp32")
    on_gpu = copy.deepcopy(network).to(backend.device)
    gpu = scores(on_gpu, photos, views, SMALL, mean, backend, deviation=deviation)
    assert gpu.device.type == "cpu"
    assert_same_scores(gpu, cpu)


def test_topk_errors_and_loss_by_hand() -> None:
    ranked = torch.tensor([7, 6, 5, 4, 3, 2, 1]) / 28  # class 0 is the likeliest, then 1 ...
    table = torch.stack([ranked] * 4)
    labels = torch.tensor([0, 1, 4, 5])
    assert topk_errors(table, labels) == (75.0, 25.0)
    expected = -sum(math.log(ranked[label].item()) for label in labels) / 4
    assert losses(table, labels).mean().item() == pytest.approx(expected)
    few = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]])
    assert topk_errors(few, torch.tensor([1, 2])) == (50.0, 0.0)
    assert losses(torch.tensor([[0.0, 1.0]]), torch.tensor([0])).item() < math.inf
    assert math.isnan(losses(torch.tensor([[math.nan, 1.0]]), torch.tensor([0])).item())
