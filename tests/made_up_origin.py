"""What made-up numbers say of where they come from."""

from __future__ import annotations

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


def running_summary(run: Run, started: str) -> Summary:
    """The summary of a run that is being trained since a given time (UTC)."""
    provenance = Provenance(**ORIGIN.model_dump(), dataset={}, normalisation={}, started=started)
    return Summary(
        id=run.id,
        network=run.network,
        dataset=run.dataset,
        preset=run.preset,
        seed=run.seed,
        state="running",
        iteration=2,
        iterations=run.recipe.iterations,
        parameters=1,
        images_per_second=100.0,
        provenance=provenance,
    )
