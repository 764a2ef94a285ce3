"""What `run` refuses before it trains anything: measurements that could not be made afterwards."""

from __future__ import annotations

from collections.abc import Sequence
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
            experiments measure the same on one run with different settings.
    """
    _check_test_images(experiments)
    _check_settings(experiments)


def _check_test_images(experiments: Sequence[Experiment]) -> None:
    for experiment in experiments:
        for name in filter(_OF_TEST_IMAGES.__contains__, experiment.measure):
            for run in experiment.measured_runs:
                if lacks_test_images(run.dataset):
                    raise ConfigError(
                        f"{experiment.name}: {name} needs test images, and {run.dataset} has none: "
                        "choose another data set, or leave out what is measured and shown"
                    )


def _check_settings(experiments: Sequence[Experiment]) -> None:
    """A run keeps one result of each measurement: each of the two would replace the other's."""
    first: dict[tuple[str, str], tuple[Experiment, Any]] = {}
    for experiment in experiments:
        for name in experiment.measure:
            settings = experiment.settings_of(name)
            if settings in (None, WITH_COCO):
                continue  # has no settings that exclude each other
            for run in experiment.measured_runs:
                other, others = first.setdefault((run.id, name), (experiment, settings))
                if others != settings:
                    raise ConfigError(
                        f"{other.name} and {experiment.name} measure {name} of {run.id} with "
                        "different settings, of which a run keeps one: give both the same, or one "
                        "another --results"
                    )
