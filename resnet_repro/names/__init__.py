"""How networks and data sets are named; imports nothing heavy."""

from resnet_repro.names.datasets import (
    DATASETS,
    DatasetChoice,
    choose_dataset,
    dataset_fits,
    dataset_slug,
    dataset_title,
    family_datasets,
    parse_dataset,
)
from resnet_repro.names.layers import convolutions, features, parameters, response_layers
from resnet_repro.names.networks import IMAGENET_DEPTHS, Family, NetworkName, parse_network

__all__ = [
    "DATASETS",
    "IMAGENET_DEPTHS",
    "DatasetChoice",
    "Family",
    "NetworkName",
    "choose_dataset",
    "convolutions",
    "dataset_fits",
    "dataset_slug",
    "dataset_title",
    "family_datasets",
    "features",
    "parameters",
    "parse_dataset",
    "parse_network",
    "response_layers",
]
