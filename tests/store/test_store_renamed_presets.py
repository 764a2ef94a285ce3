"""Presets change: a run keeps its folder, which is named after the preset that it was once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tiny_experiment import tiny_experiment

from resnet_repro.spec.loading import run_of
from resnet_repro.spec.run import ids_of
from resnet_repro.spec.yaml_io import read_yaml
from resnet_repro.store.store import Store


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


def test_a_run_goes_on_in_the_folder_that_it_has(command: Any, tmp_path: Path) -> None:
    experiment = tmp_path / "tiny.yaml"
    experiment.write_text(tiny_experiment("synthetic", 100_000, 50_000), encoding="utf-8")
    results = Store(tmp_path / "results")

    def reached() -> int:
        return sum(run.summary.iteration for run in results.all_runs() if run.summary)

    def train() -> Any:
        """For a while, longer where the machine has other work."""
        before = reached()
        for seconds in (1, 4, 16, 64):
            answer = command("run", experiment, "--time-budget", f"{seconds}s")
            assert answer.code == 75, answer.err
            if reached() > before:
                break
        return answer

    train()
    (folder,) = results.runs_folder.iterdir()
    before = reached()
    today, folder = folder.name, rename(folder, "short")

    assert f"continues at {before:,}" in train().err
    assert list(folder.parent.iterdir()) == [folder]
    run = run_of(read_yaml(folder / "config.yaml"))
    assert run.id == today
    for stored in (results.get(run), results.named(today), results.named(folder.name)):
        assert (stored.id, stored.problem) == (folder.name, None)
        assert stored.summary is not None
        assert stored.summary.iteration > before
    for name in (today, folder.name):
        assert command("evaluate", name, "--json").code == 0
