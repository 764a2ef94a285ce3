"""The results folder: the only package that knows its file names.

Every file is replaced atomically (written beside, flushed to disk, renamed), so that a reader and
a crash find either the old contents or the new. What is read back is checked as if it came from
anybody, because results get copied, edited and torn: a `StoredRun` says what is wrong with it.
"""

from resnet_repro.store.files import DiskFullError, csv_text
from resnet_repro.store.models import (
    BatchNorm,
    CurveRow,
    EnsembleResult,
    EvaluationRow,
    ExternalEvaluation,
    GradientRow,
    Measured,
    MeasurementOrigin,
    Origin,
    Provenance,
    Sitting,
    State,
    Summary,
    follow_each_other,
)
from resnet_repro.store.run_folder import RunFolder
from resnet_repro.store.store import Store
from resnet_repro.store.stored_run import StoredRun

__all__ = [
    "BatchNorm",
    "CurveRow",
    "DiskFullError",
    "EnsembleResult",
    "EvaluationRow",
    "ExternalEvaluation",
    "GradientRow",
    "Measured",
    "MeasurementOrigin",
    "Origin",
    "Provenance",
    "RunFolder",
    "Sitting",
    "State",
    "Store",
    "StoredRun",
    "Summary",
    "csv_text",
    "follow_each_other",
]
