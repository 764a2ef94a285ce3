"""Following runs that are trained elsewhere, by what stands in the results folder."""

from __future__ import annotations

from resnet_repro.base.files import read_text
from resnet_repro.runner.options import Progress
from resnet_repro.spec.run import Run
from resnet_repro.store.models import Summary
from resnet_repro.store.store import Store

__all__ = ["Watcher"]


class Watcher:
    """Tells a `Progress` how far runs are, as their `summary.json` files say every few seconds."""

    def __init__(self, store: Store, progress: Progress) -> None:
        self._store, self._progress = store, progress
        self._seen: dict[str, Summary | None] = {}
        self._begun: set[str] = set()

    def expect(self, run: Run) -> None:
        """Watch a run from now on; what is stored of it is from before."""
        self._seen.setdefault(run.id, self._read(run))

    def has_begun(self, run: Run) -> bool:
        """Whether it has been seen to begin, or to continue."""
        return run.id in self._begun

    def look(self, run: Run) -> None:
        """Tell what is new."""
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
        except (OSError, ValueError):  # there is none yet, or none that can be used
            return None


def _session(summary: Summary) -> tuple[str, int]:
    """What tells the sessions of a run from each other."""
    return summary.provenance.started, summary.provenance.sessions
