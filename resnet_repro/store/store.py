"""The results folder as a whole."""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Literal, TypeVar

from resnet_repro.base.errors import StoreError
from resnet_repro.base.files import (
    locked,
    read_regular,
    read_text,
    user_folder,
    writable,
    write_atomically,
)
from resnet_repro.spec.run import Run, ids_of
from resnet_repro.store.models import FORMAT, EnsembleResult, ExternalEvaluation
from resnet_repro.store.run_folder import RunFolder, refuse_link
from resnet_repro.store.stored_run import StoredRun, read_run

__all__ = ["Store"]

PATIENCE = 60.0  # seconds for another process that reads all runs
LARGEST_FILE = 2**28  # bytes of a report with its figures, or of a figure
R = TypeVar("R", EnsembleResult, ExternalEvaluation)


class Store:
    """A results folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.runs_folder = root / "runs"
        self.figures_folder = root / "figures"

    def folder(self, run: Run) -> RunFolder:
        """The files of a run, whether they are there yet or not."""
        return RunFolder(self._path(run.id))

    def get(self, run: Run) -> StoredRun:
        """The contents of the run's folder."""
        return read_run(self._path(run.id), run)

    def named(self, id_: str) -> StoredRun:
        """The contents of the folder of the run with this id."""
        return read_run(self._path(id_), None)

    def _path(self, id_: str) -> Path:
        """A run's folder, which may have its name from before a preset changed."""
        paths = [self.runs_folder / name for name in ids_of(id_)]
        return next((path for path in paths if path.is_dir()), paths[0])

    def all_runs(self) -> list[StoredRun]:
        """Every run, by id, unreadable ones with their problem; see `read_run`.

        Raises:
            StoreError: the folder of the runs cannot be read.
        """
        if not self.runs_folder.is_dir():
            return []
        try:
            with os.scandir(self.runs_folder) as entries:
                names = sorted(e.name for e in entries if e.is_dir() and e.name[:1] != ".")
        except OSError as error:
            raise StoreError(f"cannot read {self.runs_folder}: {error.strerror}") from error
        return [read_run(self.runs_folder / name, None) for name in names]

    def summing_up(self) -> AbstractContextManager[bool]:
        """Hold the lock under which runs are read and what is made of them is written.

        Without it, of two commands that end together, the one that writes last may have read before
        the other's run ended.
        """
        return locked(self.root / ".lock", PATIENCE)

    def csv_path(self, name: str) -> Path:
        """The tidy file of an experiment."""
        return self.root / f"{name}.csv"

    def write_csv(self, name: str, text: str) -> Path:
        """Write an experiment's tidy file."""
        path = self.csv_path(name)
        write_atomically(path, text)
        return path

    def write_figure(self, name: str, suffix: str, content: bytes) -> Path:
        """Write a figure."""
        path = self.figures_folder / f"{name}.{suffix}"
        refuse_link(self.figures_folder)
        write_atomically(path, content)
        return path

    def report_file(self, form: Literal["md", "html"]) -> Path:
        """The file of the report."""
        return self.root / f"report.{form}"

    def read_report(self, form: Literal["md", "html"]) -> str | None:
        """The stored report; None if there is none.

        Raises:
            StoreError: it cannot be read.
        """
        path = self.report_file(form)
        try:
            return read_regular(path, LARGEST_FILE).decode("utf-8", "replace")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error.strerror}") from error

    def write_report(self, text: str, form: Literal["md", "html"] = "md") -> Path:
        """Write the report."""
        path = self.report_file(form)
        write_atomically(path, text)
        return path

    def read_figure(self, path: str) -> bytes | None:
        """A figure by its path in the report, `figures/fig1.png`; None if there is none."""
        try:
            return read_regular(self.figures_folder / Path(path).name, LARGEST_FILE)
        except OSError:
            return None

    def check_writable(self, *, keep: bool = True) -> None:
        """Check that results can be stored; without `keep` it leaves no folder that was not there.

        Raises:
            ConfigError: a file is in the folder's place.
            StoreError: the folder cannot be made or written.
        """
        with writable(self.root):
            folder = user_folder(self.root)
            missing = [path for path in (folder, *folder.parents) if not path.exists()]
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        with suppress(OSError):  # another command has put something there meanwhile
            for made in missing if not keep else ():
                made.rmdir()

    def records(self, kind: type[R]) -> list[R]:
        """The records of one kind, by file name.

        Raises:
            StoreError: a file is torn or invalid.
        """
        folder = self.root / kind.folder
        try:
            return [_read_record(path, kind) for path in sorted(folder.glob("[!.]*.json"))]
        except OSError as error:
            raise StoreError(f"cannot read {error.filename or folder}: {error.strerror}") from error

    def write_record(self, record: EnsembleResult | ExternalEvaluation) -> Path:
        """Write a record in place of an earlier one with its file name."""
        folder = self.root / record.folder
        refuse_link(folder)
        text = json.dumps(record.model_dump(mode="json"), indent=2, allow_nan=False) + "\n"
        write_atomically(folder / record.file_name, text)
        return folder / record.file_name


def _read_record(path: Path, model: type[R]) -> R:
    try:
        content = json.loads(read_text(path))
        if isinstance(content, dict) and content.get("format") != FORMAT:
            raise StoreError(f"{path}: was written by another version of resnet-repro")
        record = model.model_validate(content)
    except (ValueError, RecursionError) as error:  # a ValidationError is a ValueError
        raise StoreError(f"{path}: torn or invalid; remove it and measure it again") from error
    if record.file_name != path.name:
        raise StoreError(f"{path}: belongs into {record.file_name}; rename or remove it")
    return record
