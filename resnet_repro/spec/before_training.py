"""What `run` refuses before it trains anything: measurements that could not be made afterwards."""

from __future__ import annotations

from collections.abc import Sequence

from resnet_repro.base.errors import ConfigError
from resnet_repro.spec.dataset_names import DATASETS
from resnet_repro.spec.experiment import Experiment

__all__ = ["check_measurements"]

_OF_TEST_IMAGES = ("average-precision", "detections")


def check_measurements(experiments: Sequence[Experiment]) -> None:
    """Refuse experiments whose measurements cannot be made on what they train.

    Raises:
        ConfigError: the data set has no test images, and what is measured needs some.
    """
    for experiment in experiments:
        for name in filter(_OF_TEST_IMAGES.__contains__, experiment.measure):
            for run in experiment.measured_runs:
                if run.dataset in DATASETS and not DATASETS[run.dataset].test_images:
                    raise ConfigError(
                        f"{experiment.name}: {name} needs test images, and {run.dataset} has none: "
                        "choose another data set, or leave out what is measured and shown"
                    )
