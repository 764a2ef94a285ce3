"""Testing somebody else's weights: of the ImageNet networks, on photographs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import torch

from resnet_repro.base import provenance
from resnet_repro.base.errors import ConfigError
from resnet_repro.data.dataset import Dataset
from resnet_repro.data.layout import order_in_words
from resnet_repro.data.photos.photos import PhotoDataset, photos_of
from resnet_repro.measure.evaluate.cifar_weights import evaluate_on_images
from resnet_repro.measure.evaluate.classes import chosen_outputs
from resnet_repro.measure.evaluate.input import PADDINGS, Input, Padding, Stated
from resnet_repro.measure.evaluate.options import Options
from resnet_repro.measure.evaluate.outcome import Outcome, explained, row_of
from resnet_repro.measure.views import scores
from resnet_repro.networks.weights import fit, keep_classes, network_of
from resnet_repro.networks.weights_file import Weights
from resnet_repro.spec.dataset_names import DatasetChoice, dataset_fits, family_datasets
from resnet_repro.spec.measurements import EvaluationRow
from resnet_repro.spec.network_names import NetworkName, parse_network
from resnet_repro.spec.recipe_parts import Photographs
from resnet_repro.store.models import ExternalEvaluation
from resnet_repro.store.store import Store
from resnet_repro.training.device import choose_backend

__all__ = ["evaluate_weights", "record"]

_WNID = re.compile(r"n\d{8}", re.ASCII)  # by which everybody sorts ImageNet's classes


def evaluate_weights(
    weights: Weights, network: str, choice: DatasetChoice, stated: Stated, options: Options
) -> Outcome:
    """Measure the errors of weights that were not trained here.

    Args:
        weights: as `networks.weights_file.read_weights` has read them.
        network: which one they are of.
        choice: what to test on.
        stated: what the weights expect. Unless it says something else, that is torchvision's input
            and padding at the end; for a CIFAR network it is found on training images.
        options: which views, and how.

    Raises:
        ConfigError: weights of another network, or of other classes than the data set's; options
            that do not concern the network; for a CIFAR network, input that cannot be told.
        DataError: the data set is missing or unusable.
        Stopped: `options.should_stop` said so.
    """
    name = _checked_name(network, choice)
    if stated.padding and name.option != "A":
        raise ConfigError(f"--padding is for option A's zero channels; {name} has none")
    fitted = fit(str(name), weights)
    if name.family == "cifar":
        return evaluate_on_images(name, fitted, choice, stated, options)
    given = Input(stated.kind or "torchvision", stated.mean, stated.crop or Photographs().crop)
    padding = stated.padding or "end"
    model = network_of(fitted, PADDINGS[padding].zero_channels)
    loaded = options.load(choice.name, choice)
    dataset = photos_of(loaded) if isinstance(loaded, Dataset) else loaded
    outputs = fitted.classes or 0
    kept = chosen_outputs(outputs, dataset.classes, choice.name)
    if kept is not None:
        keep_classes(model, kept)
    backend = choose_backend(options.device, options.precision or "auto")
    model.to(backend.device).to(memory_format=torch.channels_last)
    rows = []
    with explained(str(backend.device)):
        mean, deviation = given.arithmetic(dataset, options)
        for views in options.views:
            found = scores(
                model,
                dataset.test,
                views,
                given.sizes,
                mean,
                backend,
                options.should_stop,
                deviation=deviation,
                on_progress=options.progress_of(views),
            )
            labels = torch.from_numpy(dataset.test.labels)
            rows.append(row_of(views, found, labels, "running", dataset.identity))
    return Outcome(
        network=str(name),
        what=weights.name,
        rows=tuple(rows),
        identity=dataset.identity,
        precision=backend.precision,
        input=given.text,
        notes=(
            *fitted.notes,
            *_notes(name, given, padding, dataset, choice.name, kept is not None),
        ),
    )


def _checked_name(network: str, choice: DatasetChoice) -> NetworkName:
    name = parse_network(network)
    if not dataset_fits(choice.name, name.family):
        known = ", ".join(family_datasets(name.family))
        raise ConfigError(f"{name} does not go with {choice.name} but with {known}")
    return name


def _notes(
    name: NetworkName,
    given: Input,
    padding: Padding,
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
    if name.option == "A":
        yield f"option A's zero channels are put {PADDINGS[padding].where}"
    if dataset.identity.note:
        yield dataset.identity.note


def record(store: Store, outcome: Outcome, weights: Weights, dataset: str, command: str) -> Outcome:
    """Put an outcome into the results folder, beside earlier ones of the same weights.

    Raises:
        StoreError: it cannot be written, or what is there is torn.
    """
    code, dirty = provenance.code_version()
    made = ExternalEvaluation(
        network=outcome.network,
        dataset=dataset,
        evaluations=outcome.rows,
        weights_sha256=weights.sha256,
        weights_file=weights.name,
        data=outcome.identity.to_dict(),
        input=outcome.input,
        precision=outcome.precision,
        notes=outcome.notes,
        code=code,
        dirty=dirty,
        command=command,
        measured=provenance.utc_now(),
    )
    rows = {row.views: row for row in _comparable_rows(store, made)}
    rows |= {row.views: row for row in made.evaluations}
    made = made.model_copy(update={"evaluations": tuple(rows.values())})
    return replace(outcome, stored=store.write_external_evaluation(made))


def _comparable_rows(store: Store, made: ExternalEvaluation) -> list[EvaluationRow]:
    """What was recorded before of the same weights under the same conditions."""
    return [
        row
        for earlier in store.external_evaluations()
        if earlier.file_name == made.file_name
        and (earlier.data, earlier.input, earlier.precision)
        == (made.data, made.input, made.precision)
        for row in earlier.evaluations
    ]
