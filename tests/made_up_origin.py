"""Origins and summaries of made-up results."""

from __future__ import annotations

from typing import Any

from resnet_repro.spec.run import Run
from resnet_repro.store.models import Origin, Provenance, Summary

ORIGIN = Origin(
    code="0.1.0",
    dirty=False,
    command="resnet-repro run table2",
    device="cpu",
    hardware="a machine",
    precision="fp32",
    threads=2,
    versions={"torch": "2.11.0"},
)


def provenance_of(started: str, **values: Any) -> Provenance:
    """A session on no data that began at a time (UTC)."""
    known = ORIGIN.model_dump() | {"dataset": {}, "normalisation": {}, "started": started}
    return Provenance(**known | values)


def summary_of(run: Run, **values: Any) -> Summary:
    """The summary of a run with these values."""
    return Summary(
        id=run.id,
        network=run.network,
        dataset=run.dataset,
        preset=run.preset,
        seed=run.seed,
        iterations=run.recipe.iterations,
        **values,
    )


def running_summary(run: Run, started: str, **values: Any) -> Summary:
    """The summary of a run that is being trained since a given time (UTC), in such a session."""
    return summary_of(
        run,
        state="running",
        iteration=2,
        parameters=1,
        images_per_second=100.0,
        provenance=provenance_of(started, **values),
    )
