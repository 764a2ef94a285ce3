"""A results folder with many finished runs: `python tests/many_runs.py FOLDER 1000`."""

from __future__ import annotations

import json
import sys
from itertools import count, cycle, islice
from pathlib import Path

from resnet_repro.spec.loading import run_of
from resnet_repro.spec.yaml_io import read_yaml
from resnet_repro.store.store import Store

COMMITTED = Path(__file__).parents[1] / "results"


def copy_runs(folder: Path, number: int, kinds: int | None = None) -> Store:
    """Copies of the committed runs, or of some `kinds` of them, with other seeds and their ids."""
    store, sources = Store(folder), sorted((COMMITTED / "runs").iterdir())
    if kinds:
        sources = [sources[index * len(sources) // kinds] for index in range(kinds)]
    for source, seed in islice(zip(cycle(sources), count(100), strict=False), number):
        run = run_of(read_yaml(source / "config.yaml")).model_copy(update={"seed": seed})
        target = store.folder(run).path
        target.mkdir(parents=True)
        for path in source.iterdir():
            (target / path.name).write_bytes(path.read_bytes())
        store.folder(run).write_config(run)
        summary = json.loads((source / "summary.json").read_text(encoding="utf-8"))
        summary |= {"id": run.id, "seed": seed}
        (target / "summary.json").write_text(json.dumps(summary, indent=2), encoding="utf-8")
    return store


if __name__ == "__main__":
    copy_runs(Path(sys.argv[1]), int(sys.argv[2]))
