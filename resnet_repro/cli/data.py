"""The `data` commands: what is here, bringing a copy, checking it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from resnet_repro.cli.common import print_json, print_table, start_logging
from resnet_repro.cli.options import DATA, DataDirOption, JsonOption, QuietOption, VerboseOption

__all__ = ["data_app"]

data_app = typer.Typer(
    help="The data sets: what is here, bringing one, checking it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@data_app.command("list")
def data_list(data_dir: DataDirOption = DATA, as_json: JsonOption = False) -> None:
    """The data sets, and which are here.

    \b
    Example:
      resnet-repro data list
    """
    from resnet_repro.data import describe

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
    dataset: Annotated[str, typer.Argument(help="cifar10 or synthetic.")],
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="A copy: the python or the binary version, a folder of images "
            "(train/<class>/*, test/<class>/*), or an archive of one.",
        ),
    ] = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch the official copy.")] = False,
    data_dir: DataDirOption = DATA,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Turn a copy of a data set into one verified cache.

    \b
    Examples:
      resnet-repro data prepare cifar10 --download
      resnet-repro data prepare cifar10 --from ~/cifar-10-batches-bin
    """
    from resnet_repro.data import prepare

    start_logging(verbose, quiet)

    def tell(text: str) -> None:
        if not quiet:
            typer.echo(text, err=True)

    _print_identity(prepare(dataset, data_dir, source, download=download, progress=tell))


@data_app.command("verify")
def data_verify(
    dataset: Annotated[str, typer.Argument(help="cifar10 or synthetic.")],
    data_dir: DataDirOption = DATA,
    verbose: VerboseOption = False,
) -> None:
    """Read a prepared data set again and compare it with its checksums.

    \b
    Example:
      resnet-repro data verify cifar10
    """
    from resnet_repro.data import verify

    start_logging(verbose, False)
    _print_identity(verify(dataset, data_dir))


def _print_identity(dataset: Any) -> None:
    identity = dataset.identity
    kind = "official" if identity.official else "unofficial"
    train, test = len(dataset.train_images), len(dataset.test_images)
    typer.echo(f"{identity.name}: {kind}, {train:,} training and {test:,} test images")
    typer.echo(f"sha256 {identity.sha256}, {identity.source}")
    if identity.note:
        typer.echo(identity.note)
