"""Following runs that other processes train, by reading the results folder."""

from __future__ import annotations

from resnet_repro.base.files import read_text
from resnet_repro.runner.options import Progress
from resnet_repro.spec.run import Run
from resnet_repro.store.models import Summary
from resnet_repro.store.store import Store

__all__ = ["Watcher"]


class Watcher:
    """Reports the progress of runs from their `summary.json`, which changes every few seconds."""

    def __init__(self, store: Store, progress: Progress) -> None:
        self._store, self._progress = store, progress
        self._seen: dict[str, Summary | None] = {}
        self._begun: set[str] = set()

    def expect(self, run: Run) -> None:
        """Watch a run from now on; its stored summary is an earlier one."""
        self._seen.setdefault(run.id, self._read(run))

    def has_begun(self, run: Run) -> bool:
        """Whether a new session of the run has begun."""
        return run.id in self._begun

    def look(self, run: Run) -> None:
        """Report changes since the last call."""
        summary, before = self._read(run), self._seen[run.id]
        if summary is None or summary == before:
            return
        self._seen[run.id] = summary
        if before is None or _session(summary) != _session(before):
            self._begun.add(run.id)
            self._progress.started(run, summary.provenance.first_iteration)
        if summary.state == "running" and summary.iteration:
            self._progress.advanced(run, summary)

    def _read(self, run: Run) -> Summary | None:
        try:
            return Summary.model_validate_json(read_text(self._store.folder(run).summary))
        except (OSError, ValueError):  # missing or unusable
            return None


def _session(summary: Summary) -> tuple[str, int]:
    """Identifies a session of a run."""
    return summary.provenance.started, summary.provenance.sessions
