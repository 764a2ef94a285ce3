"""Names of data sets, and the networks that can be trained on each.

`cifar10`, `imagenet`                   those of the paper
`cifar100`, `imagenette`                those of a later paper of its authors, a small ImageNet
`synthetic`                             generated, needs no download
`folder:NAME`                           photographs of the user's own, in `train/<class>/` and
                                        `val/<class>/`; on the command line `folder:PATH`, whose
                                        last component is the name; the path is never stored

For detection, images with boxes:

`scenes`                                generated, needs no download
`voc07`, `voc07+12`, `voc07++12`        PASCAL VOC, trained on 2007's trainval, with 2012's, and
                                        with 2007's test as well (Table 7); tested on 2007's test,
                                        for which `voc07++12` has nothing: 2012's test boxes are
                                        not public
`voc12`                                 2012's train, tested on its val
`coco`, `coco2017`                      COCO: train2014 and val2014 as in the paper, or 2017's
`voc:NAME`                              images of the user's own, laid out like VOC's development
                                        kit; on the command line `voc:PATH`, as with `folder:`
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from resnet_repro.base.errors import ConfigError, nearest, plain
from resnet_repro.base.files import user_path
from resnet_repro.spec.network_names import Family

__all__ = [
    "BOXES",
    "DATASETS",
    "DatasetChoice",
    "choose_dataset",
    "data_title",
    "dataset_fits",
    "dataset_slug",
    "dataset_title",
    "family_datasets",
    "is_generated",
    "lacks_test_images",
    "parse_dataset",
]


class Known(NamedTuple):
    """A data set with a name of its own."""

    title: str
    families: tuple[Family, ...]  # of networks that can be trained on it
    classes: int
    train_images: int  # of the official data; copies may have fewer
    test_images: int
    generated: bool = False

    @property
    def counts(self) -> tuple[int, int]:
        """Images to train and to test on."""
        return self.train_images, self.test_images


BOXES = {  # data sets for detection
    "scenes": Known("generated scenes", ("detection",), 5, 2_000, 500, True),
    "voc07": Known("PASCAL VOC 2007", ("detection",), 20, 5_011, 4_952),
    "voc07+12": Known("PASCAL VOC 07+12", ("detection",), 20, 16_551, 4_952),
    "voc07++12": Known("PASCAL VOC 07++12", ("detection",), 20, 21_503, 0),
    "voc12": Known("PASCAL VOC 2012", ("detection",), 20, 5_717, 5_823),
    "coco": Known("COCO 2014", ("detection",), 80, 82_783, 40_504),
    "coco2017": Known("COCO 2017", ("detection",), 80, 118_287, 5_000),
}
DATASETS = {
    "cifar10": Known("CIFAR-10", ("cifar",), 10, 50_000, 10_000),
    "cifar100": Known("CIFAR-100", ("cifar",), 100, 50_000, 10_000),
    "imagenet": Known("ImageNet", ("imagenet",), 1_000, 1_281_167, 50_000),
    "imagenette": Known("Imagenette", ("imagenet",), 10, 9_469, 3_925),
    "synthetic": Known("synthetic images", ("cifar", "imagenet"), 10, 10_000, 2_000, True),
    **BOXES,
}
_FOLDER, _VOC = "folder:", "voc:"  # those of the user's own, one for each kind of folder
_FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)


@dataclass(frozen=True)
class DatasetChoice:
    """A data set as the command line named it; `path` is that of a user's own folder."""

    name: str
    path: Path | None = None

    @property
    def folders(self) -> dict[str, Path]:
        """NAME -> PATH for `data.datasets.load`; empty if the folder is in the data folder."""
        return {} if self.path is None else {self.name.partition(":")[2]: self.path}


def parse_dataset(text: str) -> str:
    """A data set's name as it is stored: one of `DATASETS`, `folder:NAME` or `voc:NAME`.

    Raises:
        ConfigError: it is none of these.
    """
    if text in DATASETS:
        return text
    if text.startswith((_FOLDER, _VOC)):
        name = text.partition(":")[2]
        if not _FOLDER_NAME.fullmatch(name):
            raise ConfigError(
                f"data set {plain(text, 80)!r}: a folder's name has up to 64 letters, digits, "
                "dots, dashes and underscores; rename the folder"
            )
        return text
    known = [*DATASETS, "folder:PATH", "voc:PATH"]
    raise ConfigError(f"unknown data set {plain(text, 60)!r}: {nearest(text[:60], known)}")


def choose_dataset(text: str) -> DatasetChoice:
    """Parse `--dataset`, where `folder:` and `voc:` are followed by a path.

    A bare name that is not a folder here means a folder of the data folder, as in experiments.

    Raises:
        ConfigError: no such data set, or a folder whose name cannot be stored.
    """
    if not text.startswith((_FOLDER, _VOC)):
        return DatasetChoice(parse_dataset(text))
    kind, _, given = text.partition(":")
    if not given.strip() or "\0" in given:
        raise ConfigError(f"--dataset {kind}: needs a path, as in {kind}:PATH")
    path = user_path(given)
    name = path.name if path.name not in ("", "..") else path.resolve().name
    elsewhere = Path(given).name == given and not path.exists()
    return DatasetChoice(parse_dataset(f"{kind}:{name}"), None if elsewhere else path)


def dataset_slug(dataset: str) -> str:
    """The data set in a run's id and in file names: `folder:birds` is `folder-birds`."""
    return dataset.replace(":", "-").replace("+", "-")


def dataset_title(dataset: str) -> str:
    """The data set in a caption: `CIFAR-10`, `folder birds`, `folder pets in VOC's layout`."""
    if dataset in DATASETS:
        return DATASETS[dataset].title
    kind, _, name = dataset.partition(":")
    return f"folder {name}" + (" in VOC's layout" if f"{kind}:" == _VOC else "")


def data_title(dataset: str, official: bool) -> str:
    """The data set and which copy: `CIFAR-10 (unofficial copy)`; a user's own has no other."""
    known = official or dataset not in DATASETS
    return dataset_title(dataset) + ("" if known else " (unofficial copy)")


def family_datasets(*families: Family) -> tuple[str, ...]:
    """The data sets for families of networks, generated images last; PATH is that of any folder."""
    every = (*DATASETS, f"{_FOLDER}PATH", f"{_VOC}PATH")
    fitting = [name for name in every if any(dataset_fits(name, family) for family in families)]
    return tuple(sorted(fitting, key=is_generated))


def lacks_test_images(dataset: str) -> bool:
    """Whether a data set is known to have no images to test on."""
    return dataset in DATASETS and not DATASETS[dataset].test_images


def is_generated(dataset: str) -> bool:
    """Whether its images are generated, so that there is no official copy of them."""
    return dataset in DATASETS and DATASETS[dataset].generated


def dataset_fits(dataset: str, family: Family) -> bool:
    """Whether networks of a family can be trained on a data set."""
    if dataset in DATASETS:
        return family in DATASETS[dataset].families
    return family == ("detection" if dataset.startswith(_VOC) else "imagenet")
