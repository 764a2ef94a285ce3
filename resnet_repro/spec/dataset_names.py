"""How data sets are named, and which networks they go with.

`cifar10`, `imagenet`                   those of the paper
`cifar100`, `imagenette`                those of a later paper of its authors, a small ImageNet
`synthetic`                             generated, needs no download
`folder:NAME`                           photographs of the user's own, in `train/<class>/` and
                                        `val/<class>/`; on the command line `folder:PATH`, whose
                                        last component is the name; the path is never stored

For detection, images with boxes:

`scenes`                                generated, needs no download
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from resnet_repro.base.errors import ConfigError, nearest, plain
from resnet_repro.base.paths import user_path
from resnet_repro.spec.network_names import Family

__all__ = [
    "BOXES",
    "DATASETS",
    "DatasetChoice",
    "choose_dataset",
    "dataset_fits",
    "dataset_slug",
    "dataset_title",
    "family_datasets",
    "parse_dataset",
]


class Known(NamedTuple):
    """A data set that everybody has alike."""

    title: str
    families: tuple[Family, ...]  # of the networks that it goes with
    classes: int
    test_images: int


BOXES = {  # data sets for detection
    "scenes": Known("generated scenes", ("detection",), 5, 500),
}
DATASETS = {
    "cifar10": Known("CIFAR-10", ("cifar",), 10, 10_000),
    "cifar100": Known("CIFAR-100", ("cifar",), 100, 10_000),
    "imagenet": Known("ImageNet", ("imagenet",), 1_000, 50_000),
    "imagenette": Known("Imagenette", ("imagenet",), 10, 3_925),
    "synthetic": Known("synthetic images", ("cifar", "imagenet"), 10, 2_000),
    **BOXES,
}
_FOLDER = "folder:"
_FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


@dataclass(frozen=True)
class DatasetChoice:
    """A data set as the command line named it; `path` is where the user's own folder lies."""

    name: str
    path: Path | None = None

    @property
    def folders(self) -> dict[str, Path]:
        """NAME -> PATH for `data.load`, empty where the folder is to be looked for."""
        return {} if self.path is None else {self.name.removeprefix(_FOLDER): self.path}


def parse_dataset(text: str) -> str:
    """A data set's name as it is stored: one of `DATASETS` or `folder:NAME`.

    Raises:
        ConfigError: it is neither.
    """
    if text in DATASETS:
        return text
    if text.startswith(_FOLDER):
        name = text.removeprefix(_FOLDER)
        if not _FOLDER_NAME.fullmatch(name):
            raise ConfigError(
                f"data set {plain(text, 80)!r}: a folder's name has up to 64 letters, digits, "
                "dots, dashes and underscores; rename the folder"
            )
        return text
    raise ConfigError(
        f"unknown data set {plain(text, 60)!r}: {nearest(text[:60], [*DATASETS, 'folder:PATH'])}"
    )


def choose_dataset(text: str) -> DatasetChoice:
    """Read `--dataset`, where `folder:` is followed by a path.

    A bare name that is no folder here is looked for among the data, as in an experiment's file.

    Raises:
        ConfigError: no such data set, or a folder whose name cannot be stored.
    """
    if not text.startswith(_FOLDER):
        return DatasetChoice(parse_dataset(text))
    given = text.removeprefix(_FOLDER)
    if not given.strip() or "\0" in given:
        raise ConfigError("--dataset folder: needs a path, as in folder:PATH")
    path = user_path(given)
    name = path.name if path.name not in ("", "..") else path.resolve().name
    elsewhere = Path(given).name == given and not path.exists()
    return DatasetChoice(parse_dataset(f"{_FOLDER}{name}"), None if elsewhere else path)


def dataset_slug(dataset: str) -> str:
    """The data set in a run's id and in file names: `folder:birds` is `folder-birds`."""
    return dataset.replace(":", "-")


def dataset_title(dataset: str) -> str:
    """The data set in a caption: `CIFAR-10`, `folder birds`."""
    return DATASETS[dataset].title if dataset in DATASETS else dataset.replace(":", " ")


def family_datasets(family: Family) -> tuple[str, ...]:
    """The data sets that go with a family of networks; `folder:PATH` stands for any folder."""
    known = [name for name, dataset in DATASETS.items() if family in dataset.families]
    if family == "imagenet":
        known.insert(-1, f"{_FOLDER}PATH")
    return tuple(known)


def dataset_fits(dataset: str, family: Family) -> bool:
    """Whether networks of a family can be trained on a data set."""
    return family in DATASETS[dataset].families if dataset in DATASETS else family == "imagenet"
