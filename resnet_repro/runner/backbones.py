"""The classification weights that a detector starts from: of a run, or of a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from resnet_repro.base.errors import DataError
from resnet_repro.networks.weights import fit, weights_sha256
from resnet_repro.networks.weights_file import read_weights
from resnet_repro.spec.input_kinds import IMAGENET_DEVIATION, IMAGENET_MEAN
from resnet_repro.spec.network_names import parse_network
from resnet_repro.spec.run import Run
from resnet_repro.store.models import BackboneRecord
from resnet_repro.store.store import Store
from resnet_repro.training.checkpoint import final_state, weights_missing

__all__ = ["load_backbone", "read_backbone"]


class _Weights(NamedTuple):
    tensors: dict[str, Tensor]
    mean: tuple[float, ...]  # red, green and blue of 0 to 255, that is subtracted
    std: tuple[float, ...]  # by which the difference is divided
    record: BackboneRecord  # for the detector's provenance
    notes: tuple[str, ...] = ()  # what the user should know


def read_backbone(run: Run, store: Store, data_dir: Path) -> _Weights | None:
    """The weights that a run starts from; None if it is no detector, or starts from none.

    Raises:
        DataError: they are missing, not trained to their end, or of another network.
        ConfigError: the file holds something else.
    """
    backbone = run.recipe.detection.backbone if run.recipe.detection else None
    if backbone is None:
        return None
    if backbone.file is not None:
        return _of_file(run, data_dir / backbone.file, backbone.sha256)
    return _of_run(run, str(backbone.run), store)


def load_backbone(
    run: Run, network: nn.Module, store: Store, data_dir: Path, note: Callable[[str], None]
) -> BackboneRecord | None:
    """Put the weights that a run starts from into its detector, and the colours that they expect.

    Returns what its provenance says of them, as `read_backbone` None if it starts from none.

    Raises:
        DataError: as `read_backbone`, or they do not fit.
        ConfigError: as `read_backbone`.
    """
    found = read_backbone(run, store, data_dir)
    if found is None:
        return None
    for text in found.notes:
        note(f"{run.id}: {text}")
    from resnet_repro.networks.detector import Detector  # slow: torchvision, for detectors alone

    assert isinstance(network, Detector), "a detector's recipe has made one"
    try:
        network.load_backbone(found.tensors)
    except (ValueError, RuntimeError) as error:
        what = run.recipe.detection and run.recipe.detection.backbone
        raise DataError(f"{run.id}: {what} does not fit its network") from error
    for name, values in (("pixel_mean", found.mean), ("pixel_std", found.std)):
        buffer = network.get_buffer(name)
        buffer.copy_(torch.tensor(values).view_as(buffer))
    return found.record


def _of_run(run: Run, name: str, store: Store) -> _Weights:
    stored = store.named(name)
    if stored.run is None or stored.summary is None or not stored.finished:
        raise DataError(
            f"{run.id} starts from {name}, which is {stored.problem or stored.state}: "
            "train that one first, into the same results folder"
        )
    wanted = parse_network(run.network).backbone
    if stored.run.network != wanted:
        raise DataError(f"{run.id}: {name} is no run of {wanted}")
    for field in ("zero_channels", "bn_epsilon"):
        own, theirs = (getattr(r.recipe, field) for r in (run, stored.run))
        if own != theirs:
            raise DataError(
                f"{run.id}: {name} was trained with {theirs} as recipe.{field}, and its weights "
                f"go with no other; the detector has {own}"
            )
    state, reasons = final_state(stored.run, stored)
    if state is None:
        raise DataError(f"{name}, from which {run.id} starts: {weights_missing(stored, reasons)}")
    mean = stored.summary.provenance.normalisation.get("channel_averages")
    if not isinstance(mean, list) or len(mean) != 3:
        raise DataError(f"{run.id}: summary.json of {name} does not say what it subtracted")
    tensors = state["network"]
    record = BackboneRecord(
        sha256=weights_sha256(tensors), test_error=stored.summary.final_test_error
    )
    return _Weights(tensors, tuple(map(float, mean)), (1.0, 1.0, 1.0), record)


def _of_file(run: Run, path: Path, sha256: str | None) -> _Weights:
    if not path.is_file():
        raise DataError(f"{run.id}: its backbone's weights are not here: {path}")
    weights = read_weights(path)
    if weights.sha256 != sha256:
        raise DataError(
            f"{run.id}: {path} is another file than it starts from: "
            f"SHA-256 {weights.sha256}, not {sha256}"
        )
    network = parse_network(run.network)
    fitted = fit(network.backbone, weights)
    notes = fitted.notes
    if network.bottleneck and not network.stride_in_3x3:
        notes += (
            f"{network.backbone} has its stride in the first 1x1, as in the paper; torchvision's "
            f"weights want {network}-v1.5",
        )
    # A file's weights are taken to expect torchvision's input.
    record = BackboneRecord(sha256=weights.sha256)
    return _Weights(fitted.tensors, IMAGENET_MEAN, IMAGENET_DEVIATION, record, notes)
