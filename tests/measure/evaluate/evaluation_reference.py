"""Testing a network on a photograph, written as plainly as possible and independently of ours."""

from __future__ import annotations

from pathlib import Path

import torch
import torchvision.transforms.functional as tf
from PIL import Image
from torch import Tensor, nn

from resnet_repro.spec.recipe_parts import Photographs


def opened(path: Path, side: int) -> Image.Image:
    """The photograph, its shorter side resized."""
    return tf.resize(Image.open(path).convert("RGB"), [side], tf.InterpolationMode.BILINEAR)


def pixels(image: Image.Image) -> Tensor:
    """[3, H, W], 0 to 255."""
    return tf.pil_to_tensor(image).float()


def centre(network: nn.Module, path: Path, sizes: Photographs, mean: Tensor) -> Tensor:
    crop = tf.center_crop(opened(path, sizes.test_shorter_side), [sizes.crop])
    return network((pixels(crop) - mean)[None]).softmax(1)[0]


def ten_crop(network: nn.Module, path: Path, sizes: Photographs, mean: Tensor) -> Tensor:
    crops = tf.five_crop(opened(path, sizes.test_shorter_side), [sizes.crop])
    views = [pixels(view) - mean for crop in crops for view in (crop, tf.hflip(crop))]
    assert len(views) == 10
    return torch.stack([network(view[None]).softmax(1)[0] for view in views]).mean(0)


def multi_scale(network: nn.Module, path: Path, sizes: Photographs, mean: Tensor) -> Tensor:
    """Every piece of the final map is classified by itself, as if it were a crop's."""
    side = network.features(mean[None]).shape[2]
    scores = []
    for shorter in sizes.multi_scale:
        image = pixels(opened(path, shorter))
        for view in (image, image.flip(2)):
            large = tf.resize(mean, list(view.shape[1:]), tf.InterpolationMode.BILINEAR)
            maps = network.features((view - large)[None])
            places = [
                network.fc(maps[:, :, i : i + side, j : j + side].mean(dim=(2, 3))).softmax(1)[0]
                for i in range(maps.shape[2] - side + 1)
                for j in range(maps.shape[3] - side + 1)
            ]
            scores.append(torch.stack(places).mean(0))
    assert len(scores) == 2 * len(sizes.multi_scale)
    return torch.stack(scores).mean(0)


REFERENCES = {"centre": centre, "10-crop": ten_crop, "multi-scale": multi_scale}


def reference(
    views: str, network: nn.Module, paths: list[Path], sizes: Photographs, mean: Tensor
) -> Tensor:
    """Scores [N, classes] of photographs, one after another."""
    network.eval()
    with torch.no_grad():
        return torch.stack([REFERENCES[views](network, path, sizes, mean) for path in paths])
