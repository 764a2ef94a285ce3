"""What `run` refuses before it trains anything: measurements that could not be made afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

from resnet_repro.base.errors import ConfigError
from resnet_repro.spec.dataset_names import lacks_test_images
from resnet_repro.spec.experiment import Experiment
from resnet_repro.spec.measurements import WITH_COCO

__all__ = ["check_measurements"]

_OF_TEST_IMAGES = ("average-precision", "detections")


def check_measurements(experiments: Sequence[Experiment]) -> None:
    """Refuse experiments whose measurements cannot be made on what they train.

    Raises:
        ConfigError: the data set has no test images, and what is measured needs some; or two
            experiments measure the same on one run with different settings, of which a run keeps
            one: each of the two would replace the other's.
    """
    first: dict[tuple[str, str], tuple[Experiment, Any]] = {}
    for experiment in experiments:
        for name, run in product(experiment.measure, experiment.measured_runs):
            if name in _OF_TEST_IMAGES and lacks_test_images(run.dataset):
                raise ConfigError(
                    f"{experiment.name}: {name} needs test images, and {run.dataset} has none: "
                    "choose another data set, or leave out what is measured and shown"
                )
            settings = experiment.settings_of(name)
            if settings in (None, WITH_COCO):
                continue  # has no settings that exclude each other
            other, others = first.setdefault((run.id, name), (experiment, settings))
            if others != settings:
                raise ConfigError(
                    f"{other.name} and {experiment.name} measure {name} of {run.id} with "
                    "different settings, of which a run keeps one: give both the same, or one "
                    "another --results"
                )
