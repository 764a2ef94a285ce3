"""What `list` and `run --dry-run` say of runs that are done."""

from __future__ import annotations

import json
from typing import Any

from made_up_results import Bench

from resnet_repro.plan.overview import list_experiments
from resnet_repro.spec.loading import load_experiment


def test_a_list_counts_runs_in_folders_of_an_older_name(bench: Bench) -> None:
    for network in ("plain-20", "plain-56"):
        folder = bench.add(network, preset="short")
        summary = folder.summary.read_text(encoding="utf-8")
        folder.summary.write_text(summary.replace("-short-", "-custom-"), encoding="utf-8")
        folder.path.rename(folder.path.with_name(folder.path.name.replace("-short-", "-custom-")))
    lines = {line.preset: line for line in list_experiments(bench.store, [load_experiment("fig1")])}
    assert (lines["short"].runs_done, lines["short"].runs_needed) == (2, 2)


def test_a_plan_says_of_which_networks_the_weights_lack(command: Any, bench: Bench) -> None:
    folder = bench.add("plain-18", preset="short", dataset="imagenette")
    asked = ("run", "table2", "--preset", "short", "--dataset", "imagenette", "--dry-run")
    more = ("--networks", "plain-18", "--results", bench.store.root, "--device", "cpu")
    text = command(*asked, *more).out
    assert f"not measured, for want of their weights here: {folder.path.name}; bring" in text
    assert "then measure" not in text
    (line,) = json.loads(command(*asked, *more, "--json").out)
    assert (line["to_measure"], line["measuring_seconds"]) == ([], 0)
    assert line["without_weights"]
    folder.checkpoint.write_bytes(b"")
    text = command(*asked, *more).out
    assert "want of their weights" not in text
    assert "then measure 10-crop on 1 trained network" in text
    (line,) = json.loads(command(*asked, *more, "--json").out)
    assert line["to_measure"] == ["10-crop"]
    assert line["measuring_seconds"] > 0
    assert not line["without_weights"]
