"""What an evaluation is asked for, and what it found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from resnet_repro.base.errors import ReproError
from resnet_repro.base.stop import Stopped
from resnet_repro.data import datasets
from resnet_repro.data.boxes.boxes import BoxDataset
from resnet_repro.data.dataset import Dataset, Identity
from resnet_repro.data.photos.photos import PhotoDataset
from resnet_repro.measure.progress import progress_teller
from resnet_repro.spec.dataset_names import DatasetChoice
from resnet_repro.spec.measurements import EvaluationRow
from resnet_repro.spec.tables_figures import Views
from resnet_repro.store.models import Origin
from resnet_repro.training.device import Backend

__all__ = ["Evaluation", "Request", "evaluation_memory_advice", "keep_measured"]

_PROGRESS_EVERY = 10.0  # seconds between two notes of progress


@dataclass(frozen=True)
class Request:
    """How to evaluate, as opposed to what."""

    data_dir: Path
    views: Sequence[Views]
    command: str  # as typed, for the record
    device: str = "auto"
    precision: str | None = None  # None: as a run was trained, or by the kind of weights
    should_stop: Callable[[], bool] = lambda: False
    tell: Callable[[str], None] = lambda text: None  # gets lines on the progress
    # Gets data, input and precision before a file of weights is tested; raises what forbids it.
    check: Callable[[Identity, str, str], object] = lambda data, given, precision: None

    def load(self, dataset: str, choice: DatasetChoice | None) -> Dataset | PhotoDataset:
        """A data set, from the folder that the command line named if it did.

        Raises Stopped if `should_stop` said so while it was looked through.
        """
        folders = choice.folders if choice else {}
        found = datasets.load(dataset, self.data_dir, folders, should_stop=self.should_stop)
        assert not isinstance(found, BoxDataset), "detectors are refused before"
        return found

    def progress_of(self, views: Views) -> Callable[[int, int], None]:
        """What to tell (done, total) of the views of all photographs; a line now and then."""
        return progress_teller(self.tell, views, _PROGRESS_EVERY)


def evaluation_memory_advice(backend: Backend, trained_in: str = "bf16") -> str:
    """What to say when an evaluation lacks memory.

    Only a run's errors in the precision that it was `trained_in` are stored.
    """
    advice = []
    if backend.precision != "bf16":
        unstored = "" if trained_in == "bf16" else " (but is not stored)"
        advice.append(f"--precision bf16 needs less{unstored}")
    if backend.device.type != "cpu":
        advice.append("--device cpu has more")
    return f"not enough memory on {backend.device}" + "; ".join(["", *advice])


@contextmanager
def keep_measured(rows: Sequence[EvaluationRow]) -> Iterator[list[Stopped | ReproError]]:
    """Keep what ends the block early for after printing; it is raised while there are no rows."""
    failures: list[Stopped | ReproError] = []
    try:
        yield failures
    except (Stopped, ReproError) as error:
        if not rows:
            raise
        failures.append(error)


@dataclass(frozen=True)
class Evaluation:
    """The errors of one network on a data set's val part, and under which conditions."""

    network: str
    what: str  # a run's id, or the name of a file of weights
    rows: tuple[EvaluationRow, ...]
    identity: Identity
    origin: Origin
    input: str  # what the network was given, in words
    notes: tuple[str, ...] = ()
    stored: Path | None = None  # where the results folder has it
    failures: Sequence[Stopped | ReproError] = ()  # to be raised once the rows are printed

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "network": self.network,
            "of": self.what,
            "evaluations": [asdict(row) for row in self.rows],
            "data": self.identity.to_dict(),
            "precision": self.origin.precision,
            "input": self.input,
            "notes": list(self.notes),
            "stored": str(self.stored) if self.stored else None,
        }
