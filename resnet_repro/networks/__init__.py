"""The paper's networks: blocks, the two families, their initialisation and their cost."""

from resnet_repro.networks.blocks import BatchNormSettings
from resnet_repro.networks.cost import Cost, count_cost
from resnet_repro.networks.dense import dense_logits, final_map_side
from resnet_repro.networks.factory import build_network
from resnet_repro.networks.initialise import initialise

__all__ = [
    "BatchNormSettings",
    "Cost",
    "build_network",
    "count_cost",
    "dense_logits",
    "final_map_side",
    "initialise",
]
