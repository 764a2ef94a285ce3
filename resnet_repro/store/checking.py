"""Reading a run's folder as if it came from anybody: what is wrong with it, if something is."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from resnet_repro.base.errors import ConfigError, StoreError, plain
from resnet_repro.base.files import read_text
from resnet_repro.spec.loading import parse_run
from resnet_repro.spec.run import Run
from resnet_repro.spec.yaml_io import parse_yaml
from resnet_repro.store.consistency import contradictions, observed_layers
from resnet_repro.store.measurements import FILES, TABLES, has_layers_lines, parsed, read_file
from resnet_repro.store.models import FORMAT, Summary
from resnet_repro.store.run_folder import RunFolder
from resnet_repro.store.stored_run import StoredRun
from resnet_repro.store.sums import measured_sums, sum_of, summary_sum, training_sums

__all__ = ["read_run", "without_copies"]

CHANGED = "has been changed since it was written"
MEASURED = tuple(name for name in TABLES if name != "curve")  # each of one network alone


def read_run(path: Path, expected: Run | None, *, outline: bool = False) -> StoredRun:
    """What is stored in a run's folder, with its first problem.

    Args:
        path: the folder.
        expected: the run that should be there.
        outline: do not look at each number of `gradients.csv`, which may have many thousand.
    """
    return _Reading(RunFolder(path), outline).read(expected)


def without_copies(runs: Sequence[StoredRun]) -> list[StoredRun]:
    """The runs, those that share a measurement with another network's run having that problem."""
    first: dict[tuple[str, str], StoredRun] = {}
    copies: dict[str, str] = {}
    for stored in runs:
        for name, digest in stored.digests.items():
            if stored.problem or stored.run is None:
                continue
            other = first.setdefault((name, digest), stored)
            if other.run is not None and other.run.network != stored.run.network:
                copies[stored.id] = f"{FILES[name][0]} is the same as that of {other.id}"
                copies[other.id] = f"{FILES[name][0]} is the same as that of {stored.id}"
    return [
        replace(r, problem=copies[r.id], repairable=True) if r.id in copies else r for r in runs
    ]


class _Problem(Exception):  # noqa: N818
    """What is wrong with a stored run, and whether a good checkpoint makes up for it."""

    def __init__(self, text: str, repairable: bool = False) -> None:
        super().__init__(text)
        self.repairable = repairable


class _Reading:
    """One look at a run's folder. Each file is read once, the summary before what it speaks of."""

    def __init__(self, folder: RunFolder, outline: bool) -> None:
        self.folder, self.outline = folder, outline
        self.problems: list[_Problem] = []
        self.damaged: list[str] = []
        self.contents: dict[str, Any] = {}
        self.texts: dict[str, str] = {}

    def read(self, expected: Run | None) -> StoredRun:
        """Read and check everything."""
        run, content, summary = expected, None, None
        try:
            names = _names(self.folder)
            run = _stored_run(self.folder, names) or expected
        except _Problem as problem:
            names = set()
            with contextlib.suppress(_Problem):
                names = _names(self.folder)
            self.problems.append(problem)
        try:
            if self.folder.summary.name in names:
                content = _summary_content(self.folder)
                summary = _summary(content, self.folder)
        except _Problem as problem:
            self.problems.append(problem)
        self._read_files(names)
        if run is not None:
            self._check_agreement(run, summary)
        # The sums come last: what contradicts what says more than that something was changed.
        if summary is not None:
            self._check_training_sums(summary, content)
        self._check_measured_sums()
        path, first = self.folder.path, self.problems[0] if self.problems else None
        return StoredRun(
            id=path.name if path.name.isprintable() else ascii(path.name),
            folder=self.folder,
            run=run,
            summary=summary,
            problem=str(first) if first else None,
            repairable=bool(first) and all(problem.repairable for problem in self.problems),
            damaged=tuple(dict.fromkeys(self.damaged)),
            digests={n: sum_of(text) for n, text in self.texts.items() if n in MEASURED},
            contents=self.contents,
        )

    def _read_files(self, names: set[str]) -> None:
        for name, (file_name, parse) in FILES.items():
            if file_name not in names:
                self.contents[name] = None
                continue
            path = self.folder.path / file_name
            try:
                text = read_file(path, str)
                if text is not None:
                    self.texts[name] = text
                if text is None or not (self.outline and name == "gradients"):
                    self.contents[name] = None if text is None else parsed(path, text, parse)
            except StoreError as error:
                self.contents[name] = error
                self._damaged(name, "is torn or unreadable")

    def _damaged(self, name: str, what: str) -> None:
        self.damaged.append(name)
        self.problems.append(_Problem(f"{FILES[name][0]} {what}", repairable=True))

    def _check_training_sums(self, summary: Summary, content: Any) -> None:
        sums = summary.sums
        if not sums:
            return
        if sums.get(self.folder.summary.name) != summary_sum(content):
            self.problems.append(_Problem(f"summary.json {CHANGED}", repairable=True))
        found = training_sums(self.texts.get("curve"), self.texts.get("gradients"))
        for name in ("curve", "gradients"):
            file_name = FILES[name][0]
            if name in self.texts and sums.get(file_name) not in (None, found.get(file_name)):
                self._damaged(name, CHANGED)

    def _check_measured_sums(self) -> None:
        origins = self.contents["origins"]
        if not origins or isinstance(origins, StoreError):
            return
        for name in (name for name in MEASURED if name in self.texts):
            for what, digest in measured_sums(name, self.texts[name]):
                made = origins.get(what)
                if made and made.sha256 not in (None, digest):
                    self._damaged(name, CHANGED)

    def _check_agreement(self, run: Run, summary: Summary | None) -> None:
        for name, text in contradictions(run, summary, self.contents):
            if name in FILES:
                self.damaged.append(name)
            self.problems.append(_Problem(text, repairable=True))
        layers, there = len(observed_layers(run.network)), self.texts.get("gradients")
        if self.outline and there is not None and not has_layers_lines("gradients", there, layers):
            self._damaged("gradients", f"is torn, or not of the {layers} layers of {run.network}")


def _names(folder: RunFolder) -> set[str]:
    """What is in a run's folder, nothing where there is none."""
    if folder.path.is_symlink():
        raise _Problem("its folder is a link")
    try:
        return set(os.listdir(folder.path))  # noqa: PTH208, names are all that is needed
    except (FileNotFoundError, NotADirectoryError):
        return set()
    except OSError as error:
        raise _Problem(f"cannot be read: {error.strerror}") from error


def _stored_run(folder: RunFolder, names: set[str]) -> Run | None:
    """The run that `config.yaml` describes, or None in a folder that holds nothing yet."""
    name = folder.config.name
    if name not in names:
        if folder.summary.name in names:
            raise _Problem("config.yaml is missing", repairable=True)
        return None
    try:
        text = read_text(folder.config)
    except OSError as error:
        raise _Problem(f"cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise _Problem("config.yaml is torn or unreadable", repairable=True) from error
    try:
        run = parse_run(text, name)
    except ConfigError as error:
        try:
            parse_yaml(text, name)
        except ConfigError:
            raise _Problem("config.yaml is torn or unreadable", repairable=True) from error
        reason = str(error).removeprefix(name).lstrip(":, ")
        raise _Problem(f"config.yaml: {reason}") from error
    if run.id != folder.path.name:
        raise _Problem(f"config.yaml is of another run ({run.id})")
    return run


def _summary_content(folder: RunFolder) -> Any:
    try:
        return json.loads(read_text(folder.summary))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise _Problem("summary.json is torn or unreadable", repairable=True) from error


def _summary(content: Any, folder: RunFolder) -> Summary | None:
    """What `summary.json` says, or None where there is none."""
    if content is None:
        return None
    written = content.get("format") if isinstance(content, dict) else None
    if isinstance(written, int) and written > FORMAT:
        raise _Problem("was written by a newer version of resnet-repro")
    try:
        summary = Summary.model_validate(content)
    except ValidationError as error:
        raise _Problem("summary.json is invalid", repairable=True) from error
    if summary.id != folder.path.name:
        raise _Problem(f"summary.json is of another run ({plain(summary.id, 100)!r})")
    return summary
