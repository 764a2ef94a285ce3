"""What somebody else's weights expect a photograph to be turned into."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from resnet_repro.data import PhotoDataset
from resnet_repro.data.photo_statistics import statistics
from resnet_repro.errors import ConfigError
from resnet_repro.evaluation.options import Options
from resnet_repro.recipe import Photographs

__all__ = ["Input", "parse_mean"]

RGB = tuple[float, float, float]

# What torchvision's weights were trained with, of values from 0 to 1.
_MEAN: RGB = (0.485, 0.456, 0.406)
_DEVIATION: RGB = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Input:
    """The scale of the pixels, what is subtracted from them, and the size of a crop.

    `torchvision`: 0 to 1, minus ImageNet's channel means, divided by its channel deviations.
    `paper`: 0 to 255, minus the per-pixel mean of the training photographs (section 3.4).
    """

    kind: Literal["torchvision", "paper"] = "torchvision"
    mean: RGB | None = None  # of red, green and blue, 0 to 255, instead of the kind's
    crop: int = 224  # pixels; the other sizes are in proportion

    @property
    def sizes(self) -> Photographs:
        """The paper's sizes in proportion to the crop."""
        return Photographs.for_crop(self.crop)

    @property
    def text(self) -> str:
        """In words, to be printed and recorded."""
        own = self.mean and f"channel means {', '.join(f'{value:g}' for value in self.mean)} of 255"
        if self.kind == "paper":
            minus = own or "per-pixel mean of the training photographs"
            return f"0 to 255, minus the {minus}; crop {self.crop}"
        return (
            f"0 to 1, minus {own or 'the channel means of ImageNet'}, divided by its channel "
            f"deviations, as torchvision's weights expect; crop {self.crop}"
        )

    def arithmetic(self, dataset: PhotoDataset, options: Options) -> tuple[Tensor, Tensor | None]:
        """(what is subtracted from 0 to 255, [3, crop, crop]; what divides the rest, [3] or None).

        Raises:
            DataError: the paper's mean is wanted, and there is no training photograph or one cannot
                be decoded.
            Stopped: `options.should_stop` said so meanwhile.
        """
        if self.kind == "paper" and self.mean is None:
            dataset.need_training(
                "--input paper subtracts the training photographs' mean; bring train as well, or"
                " give the weights' own mean with --mean R,G,B"
            )
            found = statistics(
                dataset, self.sizes, options.data_dir, should_stop=options.should_stop
            )
            return torch.from_numpy(found.mean), None
        red, green, blue = (255.0 * value for value in _MEAN)
        mean = torch.tensor(self.mean or (red, green, blue))
        deviation = 255.0 * torch.tensor(_DEVIATION) if self.kind == "torchvision" else None
        return mean[:, None, None].expand(3, self.crop, self.crop), deviation


def parse_mean(text: str) -> RGB:
    """Read `--mean`: red, green and blue of 0 to 255.

    Raises:
        ConfigError: it is something else.
    """
    try:
        red, green, blue = (float(value) for value in text.split(","))
    except ValueError:
        red = green = blue = -1.0
    if not all(0 <= value <= 255 for value in (red, green, blue)):
        raise ConfigError(
            f"--mean {text[:40]!r}: red, green and blue of 0 to 255, as in 123.7,116.3,103.5"
        )
    return red, green, blue
