"""Reading a run's folder as if it came from anybody: what is wrong with it, if something is."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import ValidationError

from resnet_repro.errors import ConfigError, StoreError
from resnet_repro.spec import Run, parse_experiment
from resnet_repro.store.files import read_text
from resnet_repro.store.models import FORMAT, Summary
from resnet_repro.store.run_folder import RunFolder
from resnet_repro.store.stored_run import StoredRun
from resnet_repro.yaml_io import read_yaml

__all__ = ["read_run"]


def read_run(path: Path, expected: Run | None) -> StoredRun:
    """What is stored in a run's folder, with its first problem; `expected` is what should be."""
    folder = RunFolder(path)
    problems: list[_Problem] = []
    run, summary = expected, None
    try:
        run = _stored_run(folder) or expected
    except _Problem as problem:
        problems.append(problem)
    try:
        summary = _stored_summary(folder)
        if not problems:
            _check_measurements(folder, summary)
    except _Problem as problem:
        problems.append(problem)
    name = path.name if path.name.isprintable() else ascii(path.name)
    if not problems:
        return StoredRun(name, folder, run, summary)
    repairable = all(problem.repairable for problem in problems)
    return StoredRun(name, folder, run, summary, str(problems[0]), repairable)


class _Problem(Exception):  # noqa: N818
    """What is wrong with a stored run, and whether a good checkpoint makes up for it."""

    def __init__(self, text: str, repairable: bool = False) -> None:
        super().__init__(text)
        self.repairable = repairable


def _stored_run(folder: RunFolder) -> Run | None:
    """The run that `config.yaml` describes, or None in a folder that holds nothing yet."""
    if folder.path.is_symlink():
        raise _Problem("its folder is a link")
    try:
        if not folder.config.exists():
            if folder.summary.exists():
                raise _Problem("config.yaml is missing", repairable=True)
            return None
        document = read_yaml(folder.config)
    except OSError as error:
        raise _Problem(f"cannot be read: {error.strerror}") from error
    except ConfigError as error:
        raise _Problem("config.yaml is torn or unreadable", repairable=True) from error
    try:
        runs = parse_experiment(document).resolve()
    except ConfigError as error:
        reason = str(error).removeprefix(str(folder.config)).lstrip(":, ")
        raise _Problem(f"config.yaml: {reason}") from error
    if len(runs) != 1:
        raise _Problem("config.yaml does not describe one run")
    if runs[0].id != folder.path.name:
        raise _Problem(f"config.yaml is of another run ({runs[0].id})")
    return runs[0]


def _stored_summary(folder: RunFolder) -> Summary | None:
    """What `summary.json` says, or None where there is none."""
    try:
        content = json.loads(read_text(folder.summary))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise _Problem("summary.json is torn or unreadable", repairable=True) from error
    written = content.get("format") if isinstance(content, dict) else None
    if isinstance(written, int) and written > FORMAT:
        raise _Problem("was written by a newer version of resnet-repro")
    try:
        summary = Summary.model_validate(content)
    except ValidationError as error:
        raise _Problem("summary.json is invalid", repairable=True) from error
    if summary.id != folder.path.name:
        raise _Problem(f"summary.json is of another run ({summary.id[:100]!r})")
    return summary


def _check_measurements(folder: RunFolder, summary: Summary | None) -> None:
    """Check that what was measured can be read and belongs to what the summary says."""
    stored = StoredRun(folder.path.name, folder, None, summary)
    for path, read in (
        (folder.curve, stored.curve),
        (folder.responses, stored.responses),
        (folder.gradients, stored.gradients),
        (folder.evaluations, stored.evaluations),
        (folder.origins, stored.origins),
    ):
        try:
            read()
        except StoreError as error:
            raise _Problem(f"{path.name} is torn or unreadable", repairable=True) from error
    if summary is None or summary.state != "done":
        return
    rows = stored.curve()
    if not rows:
        raise _Problem("curve.csv is missing or empty", repairable=True)
    if not rows[-1].iteration == summary.iteration == summary.iterations:
        text = f"is done, but its curve ends at {rows[-1].iteration:,} of {summary.iterations:,}"
        raise _Problem(text, repairable=True)
