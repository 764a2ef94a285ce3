"""The data sets: what they are, where they came from, and the form that training reads."""

from resnet_repro.data.catalogue import (
    DATASETS,
    DatasetStatus,
    describe,
    load,
    prepare,
    verify,
)
from resnet_repro.data.dataset import Dataset, Identity

__all__ = [
    "DATASETS",
    "Dataset",
    "DatasetStatus",
    "Identity",
    "describe",
    "load",
    "prepare",
    "verify",
]
