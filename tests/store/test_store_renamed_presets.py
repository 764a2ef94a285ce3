"""Presets change: a run keeps its folder, which is named after the preset that it was once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from short_runs import Quiet, short_runner, small_synthetic
from tiny_experiment import tiny_experiment

from resnet_repro.spec.loading import load_experiment, run_of
from resnet_repro.spec.run import Run, ids_of
from resnet_repro.spec.yaml_io import read_yaml
from resnet_repro.store.store import Store

pytestmark = pytest.mark.usefixtures("narrow", "few_synthetic")


def test_an_id_is_known_under_every_preset() -> None:
    ids = ids_of("resnet-8-synthetic-custom-s0-0123abcd")
    assert ids[0] == "resnet-8-synthetic-custom-s0-0123abcd"
    assert sorted(ids) == [
        f"resnet-8-synthetic-{label}-s0-0123abcd"
        for label in ("custom", "demo", "paper", "quarter", "short")
    ]
    assert ids_of("no run") == ("no run",)


def rename(folder: Path, label: str) -> Path:
    """Give a run's folder the name that it had if its recipe was once that preset's."""
    renamed = folder.rename(folder.with_name(folder.name.replace("-custom-", f"-{label}-")))
    summary = renamed / "summary.json"
    content = json.loads(summary.read_text(encoding="utf-8"))
    assert content["id"] == folder.name
    summary.write_text(json.dumps(content | {"id": renamed.name}), encoding="utf-8")
    return renamed


class Begun(Quiet):
    """Progress that keeps at what iteration a run began."""

    def started(self, run: Run, iteration: int, *_: object) -> None:
        self.at = iteration


def test_a_run_goes_on_in_the_folder_that_it_has(command: Any, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(tiny_experiment("synthetic", 50, 25), encoding="utf-8")
    (run,) = load_experiment(str(tmp_path / "tiny.yaml")).resolve()
    results = Store(tmp_path / "results")

    def train() -> int:
        """For a while; return where it began."""
        quiet = Begun(stop_after=7)
        outcomes = short_runner(results.root, small_synthetic(), quiet).run_all([run])
        assert outcomes == {run.id: "stopped"}
        return quiet.at

    assert train() == 0
    (folder,) = results.runs_folder.iterdir()
    before = results.get(run).summary
    assert before is not None
    today, folder = folder.name, rename(folder, "short")

    assert train() == before.iteration
    assert list(folder.parent.iterdir()) == [folder]
    run = run_of(read_yaml(folder / "config.yaml"))
    assert run.id == today
    for stored in (results.get(run), results.named(today), results.named(folder.name)):
        assert (stored.id, stored.problem) == (folder.name, None)
        assert stored.summary is not None
        assert stored.summary.iteration > before.iteration
    for name in (today, folder.name):
        assert command("evaluate", name, "--json").code == 0
