"""Experiments and runs: typed, validated, from YAML and back.

An experiment is an item of the paper (one YAML file); it resolves to runs. A run is one training:
network, dataset, recipe, precision and seed. Its id is readable and ends in a short hash of all of
that, so the same run wanted by two experiments is one run.
"""

from resnet_repro.spec.experiment import (
    Choices,
    Ensemble,
    Experiment,
    Measurement,
    RunGroup,
    Source,
)
from resnet_repro.spec.loading import (
    experiments_folder,
    load_experiment,
    parse_experiment,
    parse_run,
    parse_seeds,
    shipped_experiments,
)
from resnet_repro.spec.run import DatasetName, Precision, Run, canonical_network
from resnet_repro.spec.shows import (
    CostTable,
    CurvePanel,
    CurvesPlot,
    EnsembleTable,
    ErrorTable,
    GradientsPlot,
    ResponsesPlot,
    Views,
    ViewsTable,
)

__all__ = [
    "Choices",
    "CostTable",
    "CurvePanel",
    "CurvesPlot",
    "DatasetName",
    "Ensemble",
    "EnsembleTable",
    "ErrorTable",
    "Experiment",
    "GradientsPlot",
    "Measurement",
    "Precision",
    "ResponsesPlot",
    "Run",
    "RunGroup",
    "Source",
    "Views",
    "ViewsTable",
    "canonical_network",
    "experiments_folder",
    "load_experiment",
    "parse_experiment",
    "parse_run",
    "parse_seeds",
    "shipped_experiments",
]
