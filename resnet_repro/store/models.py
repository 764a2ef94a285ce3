"""The records of the results folder. Errors are percent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

from pydantic import ConfigDict, Field, FiniteFloat, model_validator

from resnet_repro.base.records import Frozen
from resnet_repro.spec.dataset_names import dataset_slug
from resnet_repro.spec.detection import RunId, Sha256
from resnet_repro.spec.experiment import Slug
from resnet_repro.spec.measurements import Amount, Count, EvaluationRow, ImageCount
from resnet_repro.spec.presets import Preset
from resnet_repro.spec.run import CanonicalNetwork, DatasetName
from resnet_repro.spec.tables_figures import Percent, Views

__all__ = [
    "FORMAT",
    "BackboneRecord",
    "CurveRow",
    "DetectionPoint",
    "EnsembleResult",
    "ExternalEvaluation",
    "MeasurementOrigin",
    "Origin",
    "Provenance",
    "Record",
    "SessionRecord",
    "State",
    "Summary",
    "follow_each_other",
]

FEWEST_FOR_PACE = 20  # iterations of a session before its speed says something
FORMAT = 1  # of summary.json and of the other JSON files

State = Literal["missing", "running", "stopped", "done", "failed"]

Seconds = Annotated[float, Field(ge=0, le=1e12)]
LongText = Annotated[str, Field(max_length=2_000)]


class Stored(Frozen):
    """Base of the records in JSON files. Unknown keys, perhaps of a later version, are ignored."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class CurveRow(NamedTuple):
    """A point of a training curve; errors in percent, `seconds` of training so far."""

    iteration: int
    epoch: Amount
    lr: FiniteFloat
    train_loss: Amount
    train_error: Percent
    test_error: Percent
    seconds: Amount
    validation_error: Percent | None = None  # a column only where images are held out


class DetectionPoint(NamedTuple):
    """One point of a detector's curve: running losses, and `seconds` of training so far.

    `train_loss` is the sum of the four: of proposals, whether there is an object and where; of
    regions, which and where. Average precision is measured after the training.
    """

    iteration: int
    epoch: Amount
    lr: FiniteFloat
    train_loss: Amount
    objectness_loss: Amount
    proposal_loss: Amount
    class_loss: Amount
    box_loss: Amount
    seconds: Amount


class Origin(Stored):
    """The code, command and machine that made a number."""

    code: str  # version, and commit where known
    dirty: bool | None  # whether the code differed from the commit; None if unknown
    command: str
    device: str
    hardware: str
    precision: str  # as resolved: fp32 or bf16
    threads: Count
    versions: dict[str, str]
    processes: Annotated[int, Field(ge=1, le=1_000_000)] = 1  # working together


class MeasurementOrigin(Origin):
    """The origin of a measurement on a trained network, and its time.

    Of one that was made in several sessions it is the last one's.
    """

    earlier: tuple[Origin, ...] = ()  # of sessions before it that made parts of the numbers
    measured: LongText  # UTC
    sha256: Sha256 | None = None  # of the numbers, see `checksums`; earlier versions have none


class BackboneRecord(Stored):
    """The classification weights that a detector started from, as they were then.

    Its recipe names a run, which may be trained again with other versions or on another machine:
    the same name, other weights.
    """

    sha256: Sha256  # of a run's tensors in their order, or of the file
    test_error: Percent | None = None  # of a run


class SessionRecord(Origin):
    """One session: a stretch of training from the start or a checkpoint to its end or a stop."""

    first_iteration: Count = 0  # iterations of earlier sessions
    first_second: Seconds = 0.0  # seconds of training of earlier sessions
    # Of a detector's first session; earlier versions have none.
    backbone: BackboneRecord | None = None
    compiled: bool = False  # by torch's compiler: batch normalisation with what follows


def follow_each_other(sessions: Sequence[SessionRecord], iteration: int, seconds: float) -> bool:
    """Whether sessions, oldest first, can have trained from the start to an iteration."""
    iterations = [*(session.first_iteration for session in sessions), iteration]
    times = [*(session.first_second for session in sessions), seconds]
    begun = bool(sessions) and iterations[0] == times[0] == 0
    return begun and iterations == sorted(iterations) and times == sorted(times)


class Provenance(SessionRecord):
    """Where a run's numbers come from: the last session, earlier ones, and the data."""

    dataset: dict[str, Any]  # identity: name, official, sha256, source, note
    normalisation: dict[str, Any]  # what was subtracted: kind, sha256, channel averages
    started: str  # UTC
    ended: str | None = None
    sessions: Count = 1  # how many times training was started or resumed
    bn_images: Count | None = None  # the fewest that a batch normalisation saw at once
    earlier: tuple[SessionRecord, ...] = ()  # sessions before the last one, oldest first

    @property
    def trained_by(self) -> tuple[SessionRecord, ...]:
        """All sessions, the last one last."""
        last = SessionRecord(**self.model_dump(include=set(SessionRecord.model_fields)))
        return (*self.earlier, last)


class Summary(Stored):
    """The state and the results of one run; errors in percent."""

    format: int = FORMAT
    id: str
    network: str
    dataset: str
    preset: str
    seed: int
    state: Literal["running", "stopped", "done", "failed"]
    iteration: Count
    iterations: Count
    parameters: Count
    # Of the curve's last point, so until the state is `done` the latest ones.
    final_train_loss: float | None = None
    final_train_error: Percent | None = None
    final_test_error: Percent | None = None
    final_validation_error: Percent | None = None
    best_test_error: Percent | None = None
    best_test_iteration: Count | None = None
    warmup_end: Count | None = None
    lr_divisions: list[Count] | None = None  # iterations at which the plateau rule divided the rate
    failure: str | None = None
    seconds: Seconds = 0.0  # of training and testing, over all sessions
    images_per_second: Annotated[float, Field(ge=0, le=1e12)] | None = None  # see `pace_counts`
    provenance: Provenance
    sums: dict[str, Sha256] | None = None  # SHA-256 by file, once training has ended

    @model_validator(mode="after")
    def _sessions_follow_each_other(self) -> Self:
        sessions = (*self.provenance.earlier, self.provenance)
        if not follow_each_other(sessions, self.iteration, self.seconds):
            raise ValueError("sessions that do not follow each other")
        return self

    @property
    def pace_counts(self) -> bool:
        """Whether the last session is long enough to tell its speed.

        Until then the speed of the whole training is used, perhaps that of another machine.
        """
        return self.iteration - self.provenance.first_iteration >= FEWEST_FOR_PACE

    @property
    def seconds_left(self) -> float | None:
        """Estimated seconds of training and testing left; None before the first iteration."""
        if not self.iteration:
            return None
        first = self.provenance if self.pace_counts else None
        made = self.iteration - (first.first_iteration if first else 0)
        spent = self.seconds - (first.first_second if first else 0.0)
        return (self.iterations - self.iteration) * spent / made

    def seconds_by_hardware(self) -> dict[str, float]:
        """Seconds of training and testing on each kind of hardware."""
        sessions = self.provenance.trained_by
        ends = [*(s.first_second for s in sessions[1:]), self.seconds]
        spent: dict[str, float] = {}
        for session, end in zip(sessions, ends, strict=True):
            seconds = end - session.first_second
            spent[session.hardware] = spent.get(session.hardware, 0.0) + seconds
        return spent


class Record(Stored):
    """A result that is not of one run, in a file of its own."""

    folder: ClassVar[str]  # of the results folder
    format: int = FORMAT
    dataset: DatasetName
    data: dict[str, Any]  # identity of the data set: name, official, sha256, source, note
    code: LongText
    dirty: bool | None = None
    command: LongText
    measured: LongText  # UTC

    @property
    def official(self) -> bool:
        """Whether the data are verified to be the official ones."""
        return self.data.get("official") is True


class EnsembleResult(Record):
    """The errors of the averaged scores of several runs (Table 5)."""

    folder = "ensembles"
    experiment: Slug
    preset: Preset | Literal["custom"]  # of the members
    members: tuple[RunId, ...] = Field(min_length=1, max_length=1_000)
    views: Views
    top1_error: Percent
    top5_error: Percent
    images: ImageCount
    origin: Origin | None = None  # earlier versions did not record it

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.top5_error > self.top1_error:
            raise ValueError("top5_error: above top1_error")
        return self

    @property
    def file_name(self) -> str:
        """One for each experiment, preset and data set."""
        return f"{self.experiment}-{self.preset}-{dataset_slug(self.dataset)}.json"


class ExternalEvaluation(Record):
    """The errors of weights that were not trained here, by `evaluate FILE --record`."""

    folder = "evaluations"
    network: CanonicalNetwork
    evaluations: tuple[EvaluationRow, ...] = Field(min_length=1, max_length=10)
    weights_sha256: Sha256
    weights_file: Annotated[str, Field(min_length=1, max_length=255)]  # its name, without a path
    input: LongText = ""  # scale, mean and crop of the images
    precision: LongText = ""  # fp32 or bf16
    notes: tuple[LongText, ...] = Field((), max_length=20)  # to show with the errors
    # Earlier versions recorded only the latest command and code.
    origins: dict[Views, MeasurementOrigin] = Field({})

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if any(row.top5_error > row.top1_error for row in self.evaluations):
            raise ValueError("top5_error: above top1_error")
        return self

    @property
    def file_name(self) -> str:
        """One for each network, data set and weights."""
        weights = self.weights_sha256[:8]
        return f"{self.network}-{dataset_slug(self.dataset)}-{weights}.json"
