"""Faster R-CNN: its parts, its settings, and whose weights it starts from (appendix A)."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from small_detectors import SETTINGS
from torch import Tensor
from torchvision.ops import roi_pool
from torchvision.ops.misc import FrozenBatchNorm2d

from resnet_repro.base.errors import ConfigError
from resnet_repro.networks.blocks import BatchNorm
from resnet_repro.networks.detector import Detector, build_detector
from resnet_repro.networks.detector_cost import forward_cost
from resnet_repro.networks.initialise import initialise
from resnet_repro.networks.network import Network, build_network
from resnet_repro.spec.detection import Detection
from resnet_repro.spec.network_names import network_title, parse_network
from resnet_repro.training.objective import LOSSES

SMALL = Detection(batch_norm="trained", frozen_stages=0, lowest_score=0.0, **SETTINGS)


def scene() -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    generator = torch.Generator().manual_seed(0)
    images = [
        torch.randint(0, 256, (3, 48, 64), generator=generator, dtype=torch.uint8),
        torch.randint(0, 256, (3, 80, 64), generator=generator, dtype=torch.uint8),
    ]
    boxes = torch.tensor([[4.0, 4.0, 40.0, 44.0]])
    full = {"boxes": boxes, "labels": torch.tensor([2])}
    empty = {"boxes": boxes[:0], "labels": torch.tensor([], dtype=torch.int64)}
    return images, [full, empty]


@pytest.fixture(scope="module")
def detector() -> Detector:
    """One whose running statistics are of the scene, without which nothing is found."""
    built = build_detector("faster-rcnn-resnet-18-a", 3, SMALL)
    initialise(built, seed=0)
    torch.manual_seed(0)
    with torch.no_grad():
        built.train()(*scene())
    return built


@pytest.mark.parametrize("backbone", ["plain-18", "resnet-34-a", "resnet-50", "resnet-101"])
def test_conv1_to_conv4_are_shared_and_conv5_is_the_head(backbone: str) -> None:
    with torch.device("meta"):
        built = build_detector(f"faster-rcnn-{backbone}", 20, Detection())
        whole = build_network(backbone, 20)
    body = set(built.rcnn.backbone.state_dict())
    head = set(built.rcnn.roi_heads.box_head.state_dict())
    assert {name.partition(".")[0] for name in body} == {
        "conv1",
        "bn1",
        "layer1",
        "layer2",
        "layer3",
    }
    assert {name.partition(".")[0] for name in head} == {"layer4"}
    counters = {n for n in whole.state_dict() if n.endswith("num_batches_tracked")}
    assert body | head == set(whole.state_dict()) - counters - {"fc.weight", "fc.bias"}
    norms = [m for m in built.modules() if "BatchNorm" in type(m).__name__]
    assert norms
    assert all(isinstance(m, FrozenBatchNorm2d) for m in norms)


def test_frozen_batch_normalisation_has_the_epsilon_that_is_asked_for() -> None:
    with torch.device("meta"):
        norm = partial(BatchNorm, eps=1e-3)
        built = build_detector("faster-rcnn-resnet-18-a", 3, Detection(), norm)
    assert {m.eps for m in built.modules() if isinstance(m, FrozenBatchNorm2d)} == {1e-3}


def test_resnet_101_shares_91_convolutions_and_vgg_13() -> None:
    """As appendix A counts them, without the projections of shortcuts."""
    with torch.device("meta"):
        resnet = build_detector("faster-rcnn-resnet-101", 20, Detection()).rcnn.backbone
        vgg = build_detector("faster-rcnn-vgg-16", 20, Detection()).rcnn.backbone

    def convolutions(part: torch.nn.Module) -> int:
        found = [n for n, m in part.named_modules() if isinstance(m, torch.nn.Conv2d)]
        return sum("downsample" not in name for name in found)

    assert (convolutions(resnet), convolutions(vgg)) == (91, 13)


def test_the_cost_is_that_of_the_shared_map_and_of_the_regions() -> None:
    """13.5 and 0.41 G were counted with torch's counter (ResNet-18, 600x800, 14x14)."""
    assert forward_cost("faster-rcnn-resnet-18-a") == pytest.approx(
        13.5e9 + 1.1e9 + 64 * 0.41e9, rel=0.02
    )


def test_in_training_it_gives_four_losses_and_gradients_everywhere(detector: Detector) -> None:
    detector.train()
    torch.manual_seed(0)
    losses = detector(*scene())
    assert isinstance(losses, dict)
    assert set(losses) == set(LOSSES)
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in detector.parameters())
    detector.zero_grad()


def test_in_testing_it_gives_boxes_inside_the_images_as_they_came(detector: Detector) -> None:
    images, _ = scene()
    with torch.inference_mode():
        found = detector.eval()(images)
    assert len(found) == 2
    for image, one in zip(images, found, strict=True):
        height, width = image.shape[1:]
        assert len(one.boxes) == len(one.labels) == len(one.scores) > 0
        assert one.boxes.min() >= 0
        assert one.boxes[:, 2].max() <= width
        assert one.boxes[:, 3].max() <= height
        assert set(one.labels.tolist()) <= {1, 2, 3}
        assert one.scores.tolist() == sorted(one.scores.tolist(), reverse=True)


def test_regions_are_pooled_by_maximum_at_a_sixteenth(detector: Detector) -> None:
    features = torch.rand(2, 5, 6, 8)
    boxes = [torch.tensor([[0.0, 0.0, 60.0, 80.0]]), torch.tensor([[16.0, 16.0, 100.0, 90.0]])]
    pooled = detector.rcnn.roi_heads.box_roi_pool({"0": features}, boxes, [(96, 128)] * 2)
    assert torch.equal(pooled, roi_pool(features, boxes, SMALL.roi_side, 1 / 16))


@pytest.mark.parametrize("batch_norm", ["frozen", "trained"])
def test_it_computes_what_its_backbone_does(batch_norm: str) -> None:
    """Head after body is the classification network."""
    whole = build_network("resnet-18-b", 5)
    assert isinstance(whole, Network)
    initialise(whole, seed=1)
    with torch.no_grad():  # statistics that are not those of initialisation
        whole.train()(torch.rand(4, 3, 64, 64))
    settings = SMALL.model_copy(update={"batch_norm": batch_norm})
    built = build_detector("faster-rcnn-resnet-18-b", 3, settings)
    built.load_backbone(whole.state_dict())
    x = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        expected = whole.eval().features(x).mean((2, 3))
        found = built.eval().rcnn.roi_heads.box_head(built.rcnn.backbone(x))
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_the_first_stages_keep_their_weights() -> None:
    with torch.device("meta"):
        built = build_detector("faster-rcnn-resnet-18-a", 3, Detection()).rcnn.backbone
        vgg = build_detector("faster-rcnn-vgg-16", 3, Detection()).rcnn.backbone
    kept = {name.partition(".")[0] for name, p in built.named_parameters() if not p.requires_grad}
    assert kept == {"conv1", "layer1"}
    learning = [name for name, p in vgg.named_parameters() if p.requires_grad]
    assert learning[0] == "features.10.weight"  # conv3_1


def test_bf16_is_for_the_convolutions_alone(detector: Detector) -> None:
    """Boxes are fp32: bf16 has 8 bits, a coordinate of 300 needs more."""
    seen: list[torch.dtype] = []
    conv = detector.rcnn.backbone.layer1[0].conv1
    hook = conv.register_forward_hook(lambda _m, _i, out: seen.append(out.dtype))
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        found = detector.eval()(scene()[0])
    hook.remove()
    assert seen == [torch.bfloat16]
    assert found[0].boxes.dtype == found[0].scores.dtype == torch.float32


def test_other_weights_are_refused(detector: Detector) -> None:
    with pytest.raises(ValueError, match="another"):
        detector.load_backbone(build_network("resnet-34-a", 5).state_dict())


def test_names_of_detectors() -> None:
    name = parse_network("faster-rcnn-ResNet-34-A")
    assert str(name) == "faster-rcnn-resnet-34-a"
    assert (name.family, name.backbone, name.depth) == ("detection", "resnet-34-a", 34)
    assert network_title("faster-rcnn-resnet-101") == "Faster R-CNN with ResNet-101"
    for wrong in ("faster-rcnn-resnet-20", "faster-rcnn-vgg-19", "faster-rcnn-", "faster-rcnn-x"):
        with pytest.raises(ConfigError):
            parse_network(wrong)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((375, 500), (600, 800)),
        ((500, 375), (800, 600)),
        ((300, 900), (333, 1000)),  # the longer side at most 1,000
        ((600, 600), (600, 600)),
    ],
)
def test_images_are_resized_to_the_recipes_sides(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    with torch.device("meta"):
        built = build_detector("faster-rcnn-resnet-18-a", 3, Detection()).eval()
    resized, _ = built.rcnn.transform.resize(torch.zeros(3, *size), None)
    assert tuple(resized.shape[1:]) == expected
