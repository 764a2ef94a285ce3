"""`resnet-repro detect`: what a trained detector finds in pictures."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from resnet_repro.base.files import user_folder
from resnet_repro.cli import options as opt
from resnet_repro.cli.common import interruptible, open_store, print_json, print_table, say, teller
from resnet_repro.cli.completing import complete_runs

__all__ = ["detect"]


def detect(
    target: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="A run of a detector: its id, the beginning of it, or its folder.",
            autocompletion=complete_runs,
        ),
    ],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Pictures to search.")],
    out: Annotated[
        Path,
        typer.Option(
            "--out", help="Folder for the pictures and detections.json.", callback=user_folder
        ),
    ] = Path("detections"),
    threshold: Annotated[
        float, typer.Option("--threshold", min=0, max=1, help="Lowest score that is shown.")
    ] = 0.5,
    data_dir: opt.DataDir = opt.DATA,
    device: opt.Device = "auto",
    results: opt.Results = opt.RESULTS,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
    verbose: opt.Traceback = False,
) -> None:
    """Draw what a trained detector finds in pictures.

    Each picture is written to the folder as a PNG of the same name with boxes, classes and scores;
    the pictures themselves stay as they are, and so do PNGs there that are not of this command.
    All that one call finds stands in detections.json, too.
    Boxes are in pixels of the picture: left, top, right, bottom.

    \b
    Examples:
      resnet-repro detect faster-rcnn-resnet-18-a-scenes-demo-s0 photo.jpg
      resnet-repro detect faster-rcnn-resnet-34-a-voc holiday/*.jpg --out found
    """
    from resnet_repro.base.stop import Stopped
    from resnet_repro.measure.pictures import search_pictures, write_told

    store, tell = open_store(results), teller(quiet)
    with interruptible() as stop:
        told = []
        for picture in search_pictures(
            *(store, target, images, out, threshold, data_dir, device, partial(say, err=True)),
            should_stop=lambda: stop.reason is not None,
        ):
            told.append(picture)
            tell(f"{picture.path}: {len(picture.found)} found")
            if stop.reason is not None:
                break
        written = [*(picture.drawn for picture in told), write_told(told, out)]
        if len(told) < len(images):
            raise Stopped
    if as_json:
        print_json([picture.to_dict() for picture in told])
        return
    rows = [
        [picture.path.name, one["class"], f"{one['score']:.2f}", " ".join(map(str, one["box"]))]
        for picture in told
        for one in picture.found
    ]
    if rows:
        print_table(["picture", "class", "score", "box"], rows)
    for path in written:
        say(f"wrote {path}")
