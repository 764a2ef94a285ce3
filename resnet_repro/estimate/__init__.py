"""How long a run takes on this machine: from runs and benchmarks here, else a labelled guess."""

from resnet_repro.estimate.estimator import Estimator, training_cost
from resnet_repro.estimate.multiply_adds import multiply_adds
from resnet_repro.estimate.speeds import BENCH

__all__ = ["BENCH", "Estimator", "multiply_adds", "training_cost"]
