"""Testing what is trained already: this program's runs, and weights that somebody else brought."""

from resnet_repro.evaluation.input import Stated, parse_mean
from resnet_repro.evaluation.options import Options
from resnet_repro.evaluation.outcome import Outcome
from resnet_repro.evaluation.runs import evaluate_run
from resnet_repro.evaluation.target import find_target
from resnet_repro.evaluation.weights import evaluate_weights, record

__all__ = [
    "Options",
    "Outcome",
    "Stated",
    "evaluate_run",
    "evaluate_weights",
    "find_target",
    "parse_mean",
    "record",
]
