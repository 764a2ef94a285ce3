"""CIFAR-10 and CIFAR-100 as data: their classes, and how their official versions are laid out."""

from __future__ import annotations

from dataclasses import dataclass

from resnet_repro.spec.dataset_names import DATASETS

__all__ = ["CIFAR_10", "CIFAR_100", "KnownCifar"]


@dataclass(frozen=True)
class KnownCifar:
    """CIFAR-10 or CIFAR-100, as published by its authors (Krizhevsky 2009)."""

    name: str  # of the data set here
    torchvision: str  # class of torchvision.datasets with its address and checksums
    stem: str  # the archives are STEM-python.tar.gz and STEM-binary.tar.gz
    python_folder: str  # in the archive
    binary_folder: str
    binary_md5: str  # of STEM-binary.tar.gz
    train_files: tuple[str, ...]  # in official order; the binary version's end in .bin
    test_files: tuple[str, ...]
    label_bytes: int  # before the pixels of a binary record; the last of them is the class
    label_key: str  # of the classes in a pickle
    classes: tuple[str, ...]

    @property
    def title(self) -> str:
        """As the tables name it."""
        return DATASETS[self.name].title

    @property
    def files(self) -> dict[str, int]:
        """File name -> number of its records; training files first."""
        parts = zip((self.train_files, self.test_files), DATASETS[self.name].counts, strict=True)
        return {name: images // len(names) for names, images in parts for name in names}

    @property
    def archives(self) -> tuple[str, ...]:
        """The names of its archives, those with a checksum first."""
        endings = ("python.tar.gz", "binary.tar.gz", "binary.tar")
        return tuple(f"{self.stem}-{ending}" for ending in endings)


_OF_CIFAR_10 = "airplane automobile bird cat deer dog frog horse ship truck"
_OF_CIFAR_100 = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus
butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch
crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo
keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain
mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain
plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk
skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone
television tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""

CIFAR_10 = KnownCifar(
    name="cifar10",
    torchvision="CIFAR10",
    stem="cifar-10",
    python_folder="cifar-10-batches-py",
    binary_folder="cifar-10-batches-bin",
    binary_md5="c32a1d4ab5d03f1284b67883e8d87530",
    train_files=tuple(f"data_batch_{number}" for number in range(1, 6)),
    test_files=("test_batch",),
    label_bytes=1,
    label_key="labels",
    classes=tuple(_OF_CIFAR_10.split()),
)

# Its images have a class and one of 20 superclasses; the classes ("fine labels") are used here, as
# in He et al. 2016.
CIFAR_100 = KnownCifar(
    name="cifar100",
    torchvision="CIFAR100",
    stem="cifar-100",
    python_folder="cifar-100-python",
    binary_folder="cifar-100-binary",
    binary_md5="03b5dce01913d631647c71ecec9e9cb8",
    train_files=("train",),
    test_files=("test",),
    label_bytes=2,
    label_key="fine_labels",
    classes=tuple(_OF_CIFAR_100.split()),
)
