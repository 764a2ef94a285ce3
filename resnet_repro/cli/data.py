"""The `data` commands: what is here, bringing a copy, checking it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from resnet_repro.cli import options as opt
from resnet_repro.cli.common import (
    choice,
    print_json,
    print_table,
    say,
    start_logging,
)
from resnet_repro.cli.completing import complete_datasets

if TYPE_CHECKING:
    from resnet_repro.data.boxes.boxes import BoxDataset
    from resnet_repro.data.dataset import Dataset
    from resnet_repro.data.photos.photos import PhotoDataset

__all__ = ["data_app"]

DatasetArgument = Annotated[
    str,
    typer.Argument(
        help=f"{opt.WITH_CLASSES}; for detection {opt.WITH_BOXES}.",
        autocompletion=complete_datasets,
    ),
]

data_app = typer.Typer(
    help="The data sets: what is here, bringing one, checking it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@data_app.command("list")
def data_list(
    data_dir: opt.DataDir = opt.DATA,
    as_json: opt.Json = False,
    verbose: opt.Traceback = False,
) -> None:
    """The data sets, and which are here.

    \b
    Example:
      resnet-repro data list
    """
    from resnet_repro.data.datasets import describe

    statuses = describe(data_dir)
    if as_json:
        print_json([vars(s) for s in statuses])
        return
    rows = []
    for s in statuses:
        what = "not here"
        if s.prepared:
            what = f"{'official' if s.official else 'unofficial'}, {s.images:,} images, {s.source}"
        rows.append([s.name, what, s.description, s.note])
    print_table(["data set", "here", "what it is", "note"], rows)


@data_app.command("prepare")
def data_prepare(
    dataset: DatasetArgument,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="A copy. CIFAR-10 and 100: the python or the binary version, a folder of images "
            "(train/<class>/*, test/<class>/*), or an archive of one. Photographs: a folder "
            "(train/<class>/*, val/<class>/*; val alone, to test on), Imagenette's archive, "
            "ImageNet's three tar files in a folder, or what Kaggle's or Hugging Face's archives "
            "of it were unpacked to. Boxes: VOC's development kit, unpacked or as its tar files, "
            "COCO's unpacked folder, or one of your own laid out like VOC's.",
        ),
    ] = None,
    download: Annotated[
        bool,
        typer.Option(
            "--download", help="Fetch the official copy (cifar10, cifar100, imagenette, voc...)."
        ),
    ] = False,
    size: Annotated[
        str | None,
        typer.Option(
            "--size", help="Of the Imagenette to fetch: 160 (unless said otherwise), 320 or full."
        ),
    ] = None,
    data_dir: opt.DataDir = opt.DATA,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = False,
) -> None:
    """Bring a data set into the data folder, and check it.

    Of CIFAR-10 and CIFAR-100 one verified cache is made. Photographs stay in their files: a folder
    is linked to.

    \b
    Examples:
      resnet-repro data prepare cifar10 --download
      resnet-repro data prepare cifar10 --from ~/cifar-10-batches-bin
      resnet-repro data prepare cifar100 --from ~/cifar-100-python.tar.gz
      resnet-repro data prepare imagenette --download --size 320
      resnet-repro data prepare imagenet --from /data/imagenet
      resnet-repro data prepare voc07+12 --download
    """
    from resnet_repro.base.files import user_path
    from resnet_repro.data.datasets import prepare
    from resnet_repro.data.photos.imagenette import SIZES
    from resnet_repro.spec.dataset_names import choose_dataset

    start_logging(verbose, quiet)
    chosen = choose_dataset(dataset)
    prepared = prepare(
        chosen.name,
        data_dir,
        user_path(source) if source is not None else None,
        download=download,
        size=None if size is None else choice("--size", size.removesuffix("px"), SIZES),
        folders=chosen.folders,
    )
    _print_identity(prepared)


@data_app.command("verify")
def data_verify(
    dataset: DatasetArgument,
    data_dir: opt.DataDir = opt.DATA,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = False,
) -> None:
    """Read a data set again and compare it with its checksums; photographs are all decoded.

    Of more than 8 GiB of photographs the checksum is of names and sizes, not of contents.

    \b
    Examples:
      resnet-repro data verify cifar10
      resnet-repro data verify folder:/data/birds
    """
    from resnet_repro.data.datasets import verify
    from resnet_repro.spec.dataset_names import choose_dataset

    start_logging(verbose, quiet)
    chosen = choose_dataset(dataset)
    _print_identity(verify(chosen.name, data_dir, chosen.folders))


def _print_identity(dataset: Dataset | PhotoDataset | BoxDataset) -> None:
    from resnet_repro.data.dataset import Dataset
    from resnet_repro.data.photos.photos import PhotoDataset

    identity = dataset.identity
    kind = "official" if identity.official else "unofficial"
    which = "validation" if isinstance(dataset, PhotoDataset) else "test"
    if isinstance(dataset, Dataset):
        train, test = len(dataset.train_images), len(dataset.test_images)
    else:
        train, test = len(dataset.train), len(dataset.test)
    say(f"{identity.name}: {kind}, {train:,} training and {test:,} {which} images")
    say(f"sha256 {identity.sha256}, {identity.source}")
    if identity.note:
        say(identity.note)
