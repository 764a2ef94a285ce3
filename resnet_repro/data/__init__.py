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
from resnet_repro.data.photos import PhotoDataset, Photos, photos_of

__all__ = [
    "DATASETS",
    "Dataset",
    "DatasetStatus",
    "Identity",
    "PhotoDataset",
    "Photos",
    "describe",
    "load",
    "photos_of",
    "prepare",
    "verify",
]
