"""`resnet-repro evaluate`: test a run, or somebody else's weights."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from resnet_repro.cli import options as opt
from resnet_repro.cli.common import (
    choice,
    interruptible,
    open_store,
    print_json,
    print_table,
    say,
    start_logging,
    teller,
)
from resnet_repro.cli.completing import complete_datasets, complete_runs, one_of, several_of
from resnet_repro.spec.input_kinds import InputKind, Padding
from resnet_repro.spec.network_names import COMPARED, parse_classifier, parse_network

if TYPE_CHECKING:
    from resnet_repro.measure.evaluate.evaluation import Evaluation, Request
    from resnet_repro.measure.evaluate.input import Stated
    from resnet_repro.spec.dataset_names import DatasetChoice
    from resnet_repro.store.store import Store
    from resnet_repro.store.stored_run import StoredRun

__all__ = ["evaluate"]

KINDS: tuple[str, ...] = get_args(InputKind)
PADDINGS: tuple[str, ...] = get_args(Padding)
CROPS = {"1": "centre", "10": "10-crop", "multi": "multi-scale"}
# The networks that public weights are of.
TESTED = (
    *("resnet-18-b", "resnet-34-a", "resnet-34-b", "resnet-34-c"),
    *(f"resnet-{depth}{suffix}" for depth in (50, 101, 152) for suffix in ("", "-v1.5")),
    *(f"resnet-{depth}" for depth in (20, 32, 44, 56, 110, 1202)),
    *COMPARED,
)


def evaluate(
    target: Annotated[
        str,
        typer.Argument(
            metavar="RUN|FILE",
            help="A run (its id, the beginning of it, or its folder), or a file of weights: a "
            "state dict as torchvision's, from torch.save or .safetensors.",
            autocompletion=complete_runs,
        ),
    ],
    network: Annotated[
        str | None, one_of(TESTED, "--network", "Which network a FILE's weights are of.")
    ] = None,
    crops: Annotated[
        str, several_of(CROPS, "--crops", "1 (centre), 10 or multi (scales); several: 1,10,multi.")
    ] = "1",
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset",
            help=f"What to test a FILE on: {opt.WITH_CLASSES}; by default imagenet, or cifar10 for "
            "a CIFAR network. For a RUN on folder:NAME: where that is.",
            autocompletion=complete_datasets,
        ),
    ] = None,
    data_dir: opt.DataDir = opt.DATA,
    device: opt.Device = "auto",
    precision: opt.Precision = None,
    given: Annotated[
        str | None,
        one_of(
            KINDS,
            "--input",
            "What a FILE's weights expect: torchvision (0 to 1, ImageNet's means and "
            "deviations; the default), paper (0 to 255, per-pixel mean of the training set), "
            "paper-0-1 (the same of 0 to 1), cifar and cifar100 (means and deviations of CIFAR-10 "
            "and CIFAR-100), kuangliu (deviations 0.2023, 0.1994, 0.201), half (minus 0.5, divided "
            "by 0.5) or 0-1 (as it is). A CIFAR network's is tried on training images.",
        ),
    ] = None,
    padding: Annotated[
        str | None,
        one_of(
            PADDINGS,
            "--padding",
            "Where a FILE's option A has its zero channels: end (the default) or both sides. "
            "A CIFAR network's is tried on training images.",
        ),
    ] = None,
    mean: Annotated[
        str | None,
        typer.Option("--mean", help="Subtract R,G,B of 0 to 255 instead of what --input says."),
    ] = None,
    crop: Annotated[
        int | None,
        typer.Option(
            "--crop",
            min=32,
            max=1024,
            help="A FILE's crop, if not 224 (AlexNet: 227, of 256); other sizes scale with it.",
        ),
    ] = None,
    record: Annotated[
        bool, typer.Option("--record", help="Store a FILE's errors in the results folder.")
    ] = False,
    results: opt.Results = opt.RESULTS,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = False,
) -> None:
    """Test a run or somebody else's weights: top-1 and top-5 errors.

    Over the validation part. A run's errors on photographs are stored with it. Weights in a file
    are read without executing anything in it. torchvision's ResNet-50, 101 and 152 are
    resnet-50-v1.5 and so on: their stride is in the 3x3.

    \b
    Examples:
      resnet-repro evaluate resnet-18-a-imagenette-short-s0-a9ff802e --crops 1,10
      resnet-repro evaluate resnet50.pth --network resnet-50-v1.5 --crops 10
      resnet-repro evaluate vgg16.pth --network vgg-16 --crops multi --record
      resnet-repro evaluate r18.pth --network resnet-18-b --dataset imagenette
      resnet-repro evaluate resnet56.th --network resnet-56 --dataset cifar10
    """
    from resnet_repro.base.provenance import code_version
    from resnet_repro.spec.dataset_names import choose_dataset
    from resnet_repro.spec.run import Precision
    from resnet_repro.store.target import find_target

    wanted = [choice("--crops", one.strip(), list(CROPS)) for one in crops.split(",")]
    views: list[Any] = [CROPS[one] for one in dict.fromkeys(wanted)]
    choice("--precision", precision, get_args(Precision))
    kind, option_a = choice("--input", given, KINDS), choice("--padding", padding, PADDINGS)
    chosen = choose_dataset(dataset) if dataset is not None else None
    store = open_store(results)
    start_logging(verbose, quiet)
    code_version()  # that of what runs, whatever is committed until it has measured
    found = find_target(target, store)
    if isinstance(found, Path):
        network = _network_of(found, network)
    else:
        for_files = {"--input": given, "--mean": mean, "--crop": crop, "--padding": padding}
        _check_run(found, network, for_files | {"--record": record or None})
    with interruptible() as stop:
        # Slips are told by now, before torch is imported, which takes seconds.
        from resnet_repro.measure.evaluate.evaluation import Request
        from resnet_repro.measure.evaluate.input import Stated, parse_mean
        from resnet_repro.measure.evaluate.run import evaluate_run
        from resnet_repro.spec.recorded_command import command_line

        request = Request(
            data_dir=data_dir,
            views=views,
            command=command_line(sys.argv[1:]),
            device=device,
            precision=precision,
            should_stop=lambda: stop.reason is not None,
            tell=teller(quiet),
        )
        if isinstance(found, Path):
            means = parse_mean(mean) if mean is not None else None
            stated = Stated(kind, means, crop, option_a)
            where = store if record else None
            assert network is not None, "a file's has to be named"
            outcome = _evaluate_file(found, network, chosen, stated, request, where)
        else:
            outcome = evaluate_run(found, request, chosen)
        if as_json:
            print_json(outcome.to_dict())
        else:
            _print(outcome)
        if outcome.failures:
            raise outcome.failures[0]


def _network_of(path: Path, network: str | None) -> str:
    """The name of the network that a file's weights are of. Raises ConfigError for none."""
    from resnet_repro.base.errors import ConfigError

    if network is None:
        raise ConfigError(f"{path.name}: say which network's weights, as in --network resnet-34-b")
    return str(parse_classifier(network))


def _evaluate_file(
    path: Path,
    network: str,
    chosen: DatasetChoice | None,
    stated: Stated,
    request: Request,
    record_in: Store | None,
) -> Evaluation:
    from resnet_repro.base.errors import StoreError
    from resnet_repro.measure.evaluate.weights import (
        earlier_evaluations,
        evaluate_weights,
        store_evaluation,
    )
    from resnet_repro.networks.weights_file import read_weights
    from resnet_repro.spec.dataset_names import choose_dataset
    from resnet_repro.store.models import ExternalEvaluation

    weights = read_weights(path)
    family = parse_network(network).family
    chosen = chosen or choose_dataset("cifar10" if family == "cifar" else "imagenet")
    if record_in is not None:  # now: measuring may take hours
        record_in.check_writable(keep=False)  # these weights may yet be refused
        record_in.records(ExternalEvaluation)
        check = partial(earlier_evaluations, record_in, weights, network, chosen.name)
        request = replace(request, check=check)
    outcome = evaluate_weights(weights, network, chosen, stated, request)
    if record_in is None:
        return outcome
    try:
        return store_evaluation(record_in, outcome, weights, chosen.name)
    except StoreError as error:
        return replace(outcome, failures=(error, *outcome.failures))


def _check_run(found: StoredRun, network: str | None, for_files: Mapping[str, object]) -> None:
    """Raise ConfigError for options that are for files of weights only."""
    from resnet_repro.base.errors import ConfigError

    own = found.run.network if found.run else None
    if network is not None and str(parse_network(network)) != own:
        raise ConfigError(f"{found.id} is a run of {own}, not of {network}; leave out --network")
    for option, value in for_files.items():
        if value is not None:
            raise ConfigError(f"{option} is for a FILE of weights, and {found.id} is a run")


def _print(found: Evaluation) -> None:
    images = found.rows[0].images
    part = "test" if parse_network(found.network).family == "cifar" else "validation"
    known = ":" not in found.identity.name  # else a folder of the user's own
    source = f" ({found.identity.source})" if known and found.identity.source else ""
    say(
        f"{found.network}, {found.what}: {images:,} {part} images of "
        f"{found.identity.name}{source}, {found.origin.precision}"
    )
    print_table(
        ["views", "top-1 %", "top-5 %", "loss"],
        [
            [row.views, f"{row.top1_error:.2f}", f"{row.top5_error:.2f}", f"{row.loss:.4f}"]
            for row in found.rows
        ],
    )
    say(f"input: {found.input}")
    for note in found.notes:
        say(note if note.startswith("warning: ") else f"note: {note}")
    if found.stored:
        say(f"wrote {found.stored}")
