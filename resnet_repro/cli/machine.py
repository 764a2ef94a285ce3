"""Commands about the machine: bench and doctor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from resnet_repro.cli import options as opt
from resnet_repro.cli.common import (
    choice,
    open_store,
    print_json,
    print_table,
    say,
    start_logging,
    teller,
)
from resnet_repro.cli.completing import complete_datasets, complete_networks
from resnet_repro.spec.network_names import parse_classifier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from resnet_repro.bench.loader import LoaderMeasurement
    from resnet_repro.bench.measure import TrainingMeasurement
    from resnet_repro.store.store import Store

__all__ = ["bench", "doctor"]


def bench(
    networks: Annotated[
        str,
        typer.Option(
            "--networks",
            help="To measure, one after another; no detectors.",
            autocompletion=complete_networks,
        ),
    ] = "resnet-20,resnet-110",
    dataset: Annotated[
        str,
        typer.Option(
            "--dataset",
            help=f"To train on: {opt.WITH_CLASSES}.",
            autocompletion=complete_datasets,
        ),
    ] = "synthetic",
    device: opt.Device = "auto",
    precision: opt.Precision = "auto",
    compiled: opt.Compile = False,
    rounds: Annotated[
        int, typer.Option(min=1, max=1000, help="How often the contenders take turns.")
    ] = 5,
    seconds: Annotated[
        float, typer.Option(min=0.1, max=3600, help="How long each turn takes at least.")
    ] = 4.0,
    textbook: Annotated[
        bool, typer.Option("--textbook/--no-textbook", help="Time the textbook loop as well.")
    ] = True,
    data_dir: opt.DataDir = opt.DATA,
    results: opt.Results = opt.RESULTS,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
    verbose: opt.Traceback = False,
) -> None:
    """Measure training speed beside a textbook loop and the limits.

    Everything that training does is timed, data included; evaluation is not. The limits are matrix
    arithmetic, memory traffic and launching operations; the one with the largest share binds.
    `list` and `run --dry-run` estimate from what this measured. Which precision is the faster one
    here (--precision auto) is measured anew.

    \b
    Examples:
      resnet-repro bench
      resnet-repro bench --networks resnet-20 --rounds 9 --json
    """
    from typing import get_args

    from resnet_repro.spec.dataset_names import choose_dataset
    from resnet_repro.spec.run import Precision

    where = choose_dataset(dataset)
    chosen = choice("--precision", precision, get_args(Precision))
    names = [str(parse_classifier(name)) for name in networks.split(",")]
    # Slips are told by now, before torch is imported, which takes seconds.
    from resnet_repro.bench.files import record
    from resnet_repro.bench.loader import measure_loader
    from resnet_repro.bench.measure import Plan, bench_run, measure_network
    from resnet_repro.data.datasets import load
    from resnet_repro.data.photos.photos import PhotoDataset
    from resnet_repro.plan.estimator import BENCH
    from resnet_repro.training.device import auto_precision, choose_backend

    start_logging(verbose=False, quiet=quiet)
    for name in names:  # now: measuring takes minutes
        bench_run(name, where.name)
    images = load(where.name, data_dir, where.folders)  # once, before other processes open it
    if isinstance(images, PhotoDataset):
        images.need_training("what is measured is training")
    store = open_store(results)

    tell = teller(quiet)
    auto = auto_precision(choose_backend(device, "fp32").device, anew=True)
    if chosen == "auto":
        chosen = auto.precision
    store.check_writable()  # now: measuring takes minutes
    measured, written, loader = [], [], None
    for name in names:
        plan = Plan(
            name,
            where.name,
            data_dir,
            device,
            chosen,
            rounds=rounds,
            seconds=seconds,
            textbook=textbook,
            compiled=compiled,
            folders=where.folders,
        )
        measured.append(measure_network(plan, tell))
        written = [record(store, BENCH, measured)]  # now: the next network may not fit
    if isinstance(images, PhotoDataset) and textbook:
        recipe = bench_run(names[0], where.name).recipe
        assert recipe.photographs is not None, "photographs are for networks that take them"
        loader = measure_loader(
            images,
            recipe.photographs,
            batch_size=recipe.batch_size,
            rounds=rounds,
            seconds=seconds,
            progress=tell,
        )
        written.append(record(store, "bench-loader", [loader]))
    if as_json:
        print_json(
            {
                "auto_precision": auto.to_dict(),
                "networks": [vars(one) for one in measured],
                "loader": vars(loader) if loader else None,
            }
        )
        return
    typer.echo(f"precision {auto}")
    _print_measured(measured, loader)
    for path in written:
        say(f"wrote {path}")
    _print_projection(store)


def _print_measured(
    measured: Sequence[TrainingMeasurement], loader: LoaderMeasurement | None
) -> None:
    """Print speeds and shares of the limits."""
    first = measured[0]
    say(
        f"{first.hardware}, {first.precision}: large products {first.matrix_tflops:.3f} TFLOP/s, "
        f"memory {first.memory_gb_per_second:.0f} GB/s"
    )
    print_table(
        ["network", "images/s", "textbook", "ratio", "of the limits", "peak memory"],
        [m.cells() for m in measured],
    )
    if loader:
        say(
            f"loading {loader.dataset} at {loader.crop} pixels with {loader.workers} workers: "
            f"{loader.images_per_second:,.0f} images/s, textbook "
            f"{loader.textbook_images_per_second:,.0f}, ratio {loader.ratio:.2f} "
            f"({loader.ratio_low:.2f} to {loader.ratio_high:.2f})"
        )


def _print_projection(store: Store) -> None:
    """Print the cost of every experiment here at every preset, from the start."""
    from resnet_repro.plan.overview import experiment_table, list_experiments
    from resnet_repro.spec.loading import load_experiment, shipped_experiments

    experiments = [load_experiment(name) for name in shipped_experiments()]
    typer.echo("\nevery experiment on this machine, from nothing:")
    print_table(*experiment_table(list_experiments(store, experiments, anew=True)))


def doctor(
    device: opt.Device = "auto",
    data_dir: opt.AnyDataDir = opt.DATA,
    results: opt.AnyResults = opt.RESULTS,
    as_json: opt.Json = False,
    verbose: opt.Traceback = False,
) -> None:
    """Is this machine ready? Device, precision, data, disk, versions.

    \b
    Example:
      resnet-repro doctor
    """
    from resnet_repro.base.machine import check_device
    from resnet_repro.bench.doctor import examine

    check_device(device)
    checks = list(examine(open_store(results), data_dir, device))
    if as_json:
        print_json([vars(check) for check in checks])
    else:
        print_table(["", "", ""], [[c.name, c.verdict, c.text] for c in checks])
    raise typer.Exit(1 if any(check.verdict == "problem" for check in checks) else 0)
