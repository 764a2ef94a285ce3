"""What somebody else's weights expect an image to be turned into."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from resnet_repro.base.errors import ConfigError
from resnet_repro.data.photos.photos import PhotoDataset
from resnet_repro.data.photos.statistics import statistics
from resnet_repro.measure.evaluate.evaluation import Request
from resnet_repro.spec.input_kinds import IMAGENET_DEVIATION, IMAGENET_MEAN, InputKind, Padding
from resnet_repro.spec.recipe_parts import Photographs, ZeroChannels

__all__ = ["ALEXNET_SIDE", "KINDS", "PADDINGS", "Input", "Stated", "parse_mean"]

ALEXNET_SIDE = 256  # pixels of the shorter side that AlexNet's crops of 227 are of, as in Caffe
RGB = tuple[float, float, float]


class _Arithmetic(NamedTuple):
    """What is done to values of 0 to 255, and how it is usually written."""

    mean: RGB | None  # of the channels; None: per pixel, of the training images
    deviation: RGB | None  # which divides the difference; None: nothing does
    text: str  # {} is what is subtracted
    subtracted: str


class _Place(NamedTuple):
    """Where option A's zero channels are."""

    zero_channels: ZeroChannels  # as networks call it
    where: str  # in words


PADDINGS: dict[Padding, _Place] = {
    "end": _Place("end", "after the others"),
    "both": _Place("both-sides", "on both sides of the others"),
}


def _of_255(red: float, green: float, blue: float) -> RGB:
    return 255.0 * red, 255.0 * green, 255.0 * blue


_CIFAR_MEAN = _of_255(0.4914, 0.4822, 0.4465)
_PER_PIXEL = "per-pixel mean of the training {images}"
KINDS: dict[InputKind, _Arithmetic] = {
    # torchvision's weights, and akamaster/pytorch_resnet_cifar10's
    "torchvision": _Arithmetic(
        IMAGENET_MEAN,
        IMAGENET_DEVIATION,
        "0 to 1, minus {}, divided by its channel deviations, as torchvision's weights expect",
        "the channel means of ImageNet",
    ),
    "paper": _Arithmetic(None, None, "0 to 255, minus the {}", _PER_PIXEL),
    "cifar": _Arithmetic(
        _CIFAR_MEAN,
        _of_255(0.2470, 0.2435, 0.2616),
        "0 to 1, minus {}, divided by its channel deviations",
        "the channel means of CIFAR-10",
    ),
    "cifar100": _Arithmetic(
        _of_255(0.5071, 0.4865, 0.4409),
        _of_255(0.2673, 0.2564, 0.2762),
        "0 to 1, minus {}, divided by its channel deviations",
        "the channel means of CIFAR-100",
    ),
    # kuangliu/pytorch-cifar's; the deviations are those within an image, averaged over images
    "kuangliu": _Arithmetic(
        _CIFAR_MEAN,
        _of_255(0.2023, 0.1994, 0.2010),
        "0 to 1, minus {}, divided by 0.2023, 0.1994 and 0.2010",
        "the channel means of CIFAR-10",
    ),
    "paper-0-1": _Arithmetic(None, _of_255(1, 1, 1), "0 to 1, minus the {}", _PER_PIXEL),
    # of many tutorials
    "half": _Arithmetic(
        _of_255(0.5, 0.5, 0.5), _of_255(0.5, 0.5, 0.5), "0 to 1, minus {}, divided by 0.5", "0.5"
    ),
    "0-1": _Arithmetic(_of_255(0, 0, 0), _of_255(1, 1, 1), "0 to 1, minus {}", "nothing"),
}


@dataclass(frozen=True)
class Stated:
    """What the user says of somebody else's weights; None where nothing is said."""

    kind: InputKind | None = None
    mean: RGB | None = None
    crop: int | None = None
    padding: Padding | None = None


@dataclass(frozen=True)
class Input:
    """What weights are given: scale of the pixels, what is subtracted from them, size of a crop."""

    kind: InputKind = "torchvision"
    mean: RGB | None = None  # of red, green and blue, 0 to 255, instead of the kind's
    crop: int | None = 224  # pixels; the other sizes are in proportion. None: 32x32 images
    padding: Padding | None = None  # of 32x32 images' networks; None where no channels are padded
    side: int | None = None  # pixels of the shorter side, where it is not in proportion to the crop

    @property
    def sizes(self) -> Photographs:
        """The paper's sizes in proportion to the crop, but for a `side` that is given."""
        sizes = Photographs.for_crop(self.crop or 224)
        return sizes.model_copy(update={"test_shorter_side": self.side}) if self.side else sizes

    @property
    def text(self) -> str:
        """In words, to be printed and recorded."""
        kind = KINDS[self.kind]
        images = "photographs" if self.crop else "images"
        subtracted = kind.subtracted.format(images=images)
        if self.mean:
            subtracted = f"channel means {', '.join(f'{v:g}' for v in self.mean)} of 255"
        text = kind.text.format(subtracted) + (f"; crop {self.crop}" if self.crop else "")
        if self.side:
            text += f" of a shorter side of {self.side}"
        if self.padding is None:
            return text
        return f"{text}; option A's zero channels {PADDINGS[self.padding].where}"

    @property
    def options(self) -> str:
        """As the command line states it."""
        return (
            f"--input {self.kind}"
            + (f" --mean {','.join(f'{value:g}' for value in self.mean)}" if self.mean else "")
            + (f" --padding {self.padding}" if self.padding else "")
        )

    @property
    def channel_means(self) -> Tensor | None:
        """Of 0 to 255, [3, 1, 1]; None where the mean is the training images', per pixel."""
        mean = self.mean or KINDS[self.kind].mean
        return None if mean is None else torch.tensor(mean)[:, None, None]

    @property
    def deviation(self) -> Tensor | None:
        """What divides the difference, [3]; None where nothing does."""
        deviation = KINDS[self.kind].deviation
        return None if deviation is None else torch.tensor(deviation)

    def arithmetic(self, dataset: PhotoDataset, request: Request) -> tuple[Tensor, Tensor | None]:
        """(what is subtracted from 0 to 255, [3, crop, crop]; what divides the rest, [3] or None).

        Raises:
            DataError: the training photographs' mean is wanted, and there is no such photograph or
                one cannot be decoded.
            Stopped: `request.should_stop` said so meanwhile.
        """
        mean = self.channel_means
        if mean is not None:
            return mean.expand(3, self.sizes.crop, self.sizes.crop), self.deviation
        dataset.need_training(
            f"--input {self.kind} subtracts the training photographs' mean; bring train as well,"
            " or give the weights' own mean with --mean R,G,B"
        )
        found = statistics(dataset, self.sizes, request.data_dir, should_stop=request.should_stop)
        return torch.from_numpy(found.mean), self.deviation


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
