"""Testing somebody else's weights: of the ImageNet networks here, of others in `cifar_weights`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from resnet_repro.base import provenance
from resnet_repro.base.errors import ConfigError, StoreError
from resnet_repro.data.dataset import Dataset, Identity
from resnet_repro.data.layout import order_in_words
from resnet_repro.data.photos.photos import PhotoDataset, photos_of
from resnet_repro.measure.evaluate.cifar_weights import evaluate_on_images
from resnet_repro.measure.evaluate.evaluation import (
    Evaluation,
    Request,
    evaluation_memory_advice,
    keep_measured,
)
from resnet_repro.measure.evaluate.input import ALEXNET_SIDE, PADDINGS, Input, Stated
from resnet_repro.measure.views import row_of, scores
from resnet_repro.networks.architecture import architecture
from resnet_repro.networks.outline import smallest_side
from resnet_repro.networks.weights import fit, network_of
from resnet_repro.networks.weights_file import Weights
from resnet_repro.spec.dataset_names import (
    DatasetChoice,
    dataset_fits,
    dataset_slug,
    family_datasets,
)
from resnet_repro.spec.input_kinds import InputKind, Padding
from resnet_repro.spec.measurements import EvaluationRow
from resnet_repro.spec.network_names import NetworkName, parse_classifier
from resnet_repro.store.models import ExternalEvaluation, MeasurementOrigin
from resnet_repro.store.store import Store
from resnet_repro.training.device import choose_backend, origin_here
from resnet_repro.training.memory import enough_memory

__all__ = [
    "IMAGENETTE",
    "chosen_outputs",
    "earlier_evaluations",
    "evaluate_weights",
    "store_evaluation",
]

IMAGENET_CLASSES = 1000
HALVED = "googlenet-bn"  # whose program at torchvision turns the usual input into `half` first

# Imagenette's classes by ImageNet's name of them (WordNet's), and where they stand among the 1,000
# classes of ImageNet, which everybody sorts by that name.
IMAGENETTE = {
    "n01440764": 0,  # tench
    "n02102040": 217,  # English springer
    "n02979186": 482,  # cassette player
    "n03000684": 491,  # chain saw
    "n03028079": 497,  # church
    "n03394916": 566,  # French horn
    "n03417042": 569,  # garbage truck
    "n03425413": 571,  # gas pump
    "n03445777": 574,  # golf ball
    "n03888257": 701,  # parachute
}

_WNID = re.compile(r"n\d{8}", re.ASCII)  # by which everybody sorts ImageNet's classes


def evaluate_weights(
    weights: Weights, network: str, choice: DatasetChoice, stated: Stated, request: Request
) -> Evaluation:
    """Measure the errors of weights that were not trained here.

    Where `stated` says nothing else, they expect what torchvision's do, and padding at the end; of
    a CIFAR network that is found on training images.

    Raises:
        ConfigError: weights of another network, or of other classes than the data set's; options
            that do not concern the network, or a crop that is too small for it; for a CIFAR
            network, input that cannot be told.
        DataError: the data set is missing or unusable.
        StoreError: `request.check` refused.
        Stopped: `request.should_stop` said so, before any views were done.
    """
    name = _checked_name(network, choice)
    if stated.padding and name.option != "A":
        raise ConfigError(f"--padding is for option A's zero channels; {name} has none")
    fitted = fit(str(name), weights)
    if name.family == "cifar":
        return evaluate_on_images(name, fitted, choice, stated, request)
    crop = stated.crop or architecture(str(name)).side  # AlexNet's is 227
    if crop < (smallest := smallest_side(str(name))):
        raise ConfigError(
            f"--crop {crop}: the smallest input of {name} has {smallest} pixels a side"
        )
    padding: Padding | None = (stated.padding or "end") if name.option == "A" else None
    usual: InputKind = "half" if name.label == HALVED else "torchvision"
    own = name.label == "alexnet" and crop == architecture(str(name)).side
    side = ALEXNET_SIDE if own else None
    given = Input(stated.kind or usual, stated.mean, crop, padding, side)
    loaded = request.load(choice.name, choice)
    dataset = photos_of(loaded) if isinstance(loaded, Dataset) else loaded
    outputs = fitted.classes or 0
    kept = chosen_outputs(outputs, dataset.classes, choice.name)
    model = network_of(fitted, PADDINGS[padding or "end"].zero_channels, kept)
    backend = choose_backend(request.device, request.precision or "auto")
    request.check(dataset.identity, given.text, backend.precision)
    model.to(backend.device).to(memory_format=torch.channels_last)
    rows: list[EvaluationRow] = []
    with keep_measured(rows) as failures, enough_memory(lambda: evaluation_memory_advice(backend)):
        mean, deviation = given.arithmetic(dataset, request)
        for views in request.views:
            found = scores(
                model,
                dataset.test,
                views,
                given.sizes,
                mean,
                backend,
                request.should_stop,
                deviation=deviation,
                on_progress=request.progress_of(views),
            )
            labels = torch.from_numpy(dataset.test.labels)
            rows.append(row_of(views, found, labels, "running", dataset.identity))
    return Evaluation(
        network=str(name),
        what=weights.name,
        rows=tuple(rows),
        identity=dataset.identity,
        origin=origin_here(backend, request.command),
        input=given.text,
        notes=(
            *fitted.notes,
            *_notes(name, given, dataset, choice.name, kept is not None),
        ),
        failures=failures,
    )


def chosen_outputs(outputs: int, classes: Sequence[str], dataset: str) -> list[int] | None:
    """The outputs that stand for a data set's classes, in their order; None for all of them.

    A network of 1,000 outputs is taken to tell ImageNet's classes apart; of those, Imagenette's
    ten (or some of them) can be singled out.

    Raises:
        ConfigError: the outputs are of other classes.
    """
    if outputs == len(classes):
        return None
    if outputs == IMAGENET_CLASSES and all(name in IMAGENETTE for name in classes):
        return [IMAGENETTE[name] for name in classes]
    raise ConfigError(
        f"the weights tell {outputs:,} classes apart, {dataset} has {len(classes):,}"
        + ("; of ImageNet's, only Imagenette's ten are known here by name"
           if outputs == IMAGENET_CLASSES else "")
    )  # fmt: skip


def _checked_name(network: str, choice: DatasetChoice) -> NetworkName:
    name = parse_classifier(network)
    if not dataset_fits(choice.name, name.family):
        known = ", ".join(family_datasets(name.family))
        raise ConfigError(f"{name} does not go with {choice.name} but with {known}")
    return name


def _notes(
    name: NetworkName,
    given: Input,
    dataset: PhotoDataset,
    dataset_name: str,
    singled_out: bool,
) -> Iterator[str]:
    """What somebody who reads the errors should know."""
    if singled_out:
        yield (
            f"only the {len(dataset.classes)} classes of {dataset_name} among the weights' 1,000 "
            "are compared, which is easier than ImageNet"
        )
    elif dataset_name != "imagenet" or not all(map(_WNID.fullmatch, dataset.classes)):
        yield (
            f"the weights' classes are taken to be {dataset_name}'s, in the order of their "
            f"{order_in_words(dataset.classes)}"
        )
    if name.bottleneck and not name.stride_in_3x3 and given.kind == "torchvision":
        yield (
            f"{name} has its stride in the first 1x1, as in the paper; torchvision's weights "
            f"want --network {name}-v1.5"
        )
    if name.stride_in_3x3 and given.kind == "torchvision" and given.crop in (None, 224):
        yield (
            "torchvision publishes the errors of its IMAGENET1K_V2 weights at a shorter side of "
            "232; here it is 256"
        )
    if given.kind == "paper":
        yield (
            "the channels are given as red, green, blue; weights that come from Caffe want blue "
            "first, and its ResNets another first pooling"
        )
    if name.label == HALVED and given.kind == "torchvision":
        yield "torchvision's weights of it want --input half, which its own program makes of that"
    if dataset.identity.note:
        yield dataset.identity.note


def earlier_evaluations(
    store: Store,
    weights: Weights,
    network: str,
    dataset: str,
    data: Identity,
    given: str,
    precision: str,
) -> list[ExternalEvaluation]:
    """What the results folder has of the same weights, to which other views can be added.

    Raises:
        StoreError: it was made under other conditions, or a file is torn.
    """
    same = network, dataset_slug(dataset), weights.sha256[:8]  # as in the file's name
    found = [
        one
        for one in store.records(ExternalEvaluation)
        if (one.network, dataset_slug(one.dataset), one.weights_sha256[:8]) == same
    ]
    for one in found:
        if (one.data, one.input, one.precision) != (data.to_dict(), given, precision):
            raise StoreError(
                f"{store.root / one.folder / one.file_name} has errors of these weights under "
                f"other conditions ({one.precision}; {one.input}); move it away first, or leave "
                "out --record"
            )
    return found


def store_evaluation(store: Store, found: Evaluation, weights: Weights, dataset: str) -> Evaluation:
    """Put an evaluation into the results folder, beside earlier ones of the same weights.

    Raises:
        StoreError: as `earlier_evaluations`, or it cannot be written.
    """
    now, origin = provenance.utc_now(), found.origin
    conditions = found.identity, found.input, origin.precision
    earlier = earlier_evaluations(store, weights, found.network, dataset, *conditions)
    rows = {row.views: row for e in earlier for row in e.evaluations}
    rows |= {row.views: row for row in found.rows}
    origins = {views: made for e in earlier for views, made in e.origins.items()}
    new = MeasurementOrigin(**origin.model_dump(), measured=now)
    made = ExternalEvaluation(
        network=found.network,
        dataset=dataset,
        evaluations=tuple(rows.values()),
        weights_sha256=weights.sha256,
        weights_file=weights.name,
        data=found.identity.to_dict(),
        input=found.input,
        precision=origin.precision,
        notes=found.notes,
        origins=origins | {row.views: new for row in found.rows},
        code=origin.code,
        dirty=origin.dirty,
        command=origin.command,
        measured=now,
    )
    return replace(found, stored=store.write_record(made))
