"""A run that was begun on one copy of a data set does not go on with another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from narrow_networks import narrow_networks
from short_runs import Quiet, short_runner, small_synthetic
from small_detectors import few_scenes, small_run
from tiny_experiment import tiny_experiment

from resnet_repro.base.errors import DataError
from resnet_repro.data import datasets
from resnet_repro.data.boxes.boxes import BoxDataset
from resnet_repro.launch.training import train_at
from resnet_repro.launch.where import Where
from resnet_repro.runner.runner import Runner
from resnet_repro.spec.loading import parse_experiment
from resnet_repro.spec.presets import preset_recipe
from resnet_repro.spec.run import Run
from resnet_repro.spec.yaml_io import parse_yaml


@pytest.mark.usefixtures("few_synthetic")
def test_other_data_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = preset_recipe("demo", "resnet-8", "cifar10").model_copy(
        update={"iterations": 6, "milestones": (3,), "batch_size": 4, "evaluate_every": 6}
    )
    run = Run(network="resnet-8", dataset="synthetic", recipe=recipe, seed=0)
    first = short_runner(tmp_path, None, Quiet(stop_after=3))
    assert first.run_all([run])[run.id] == "stopped"

    here = datasets.load("synthetic", tmp_path)
    other = replace(here, identity=replace(here.identity, sha256="0" * 64))
    monkeypatch.setattr(datasets, "load", lambda *_, **__: other)
    with pytest.raises(DataError, match="another copy"):
        short_runner(tmp_path, None).run_all([run])
    assert short_runner(tmp_path, None, force=True).run_all([run])[run.id] == "done"


def test_a_run_of_other_data_does_not_keep_the_others_from_being_measured(
    tmp_path: Path,
) -> None:
    text = tiny_experiment("synthetic", 4, 2, seeds=2, measure="[responses]")
    experiment = parse_experiment(parse_yaml(text, "tiny.yaml"))
    first, second = experiment.resolve()
    small = small_synthetic()
    other = replace(small, identity=replace(small.identity, sha256="0" * 64))
    short_runner(tmp_path, other).run_all([first])
    quiet = Quiet()
    runner = short_runner(tmp_path, small, quiet)
    runner.run_all([second])
    assert runner.measurer.measure([experiment]) == {first.id: "unmeasured"}
    said = f"{first.id}: not measured, it was trained on another copy of synthetic"
    assert any(note.startswith(said) for note in quiet.notes)
    assert not runner.store.get(first).has("responses")
    assert runner.store.get(second).has("responses")


@pytest.mark.usefixtures("one_thread")
def test_results_of_another_folder_of_the_same_name_are_not_taken_for_its_own(
    tmp_path: Path,
) -> None:
    run = small_run(1).model_copy(update={"dataset": "voc:images"})
    scenes = few_scenes()
    first, other = (
        replace(scenes, identity=replace(scenes.identity, name=run.dataset, sha256=digest * 64))
        for digest in "01"
    )

    def runner(images: BoxDataset, folders: dict[str, Path]) -> Runner:
        chosen = short_runner(tmp_path, None, folders=folders)
        chosen.sources.datasets[run.dataset] = images
        return chosen

    with narrow_networks():
        for folders in ({"images": tmp_path}, {}):
            assert runner(first, folders).run_all([run]) == {run.id: "done"}
        for where in (Where(), Where("slurm"), Where("ray")):
            with pytest.raises(DataError, match="was begun on another copy of voc:images"):
                train_at(where, runner(other, {"images": tmp_path}), [run])
        assert runner(other, {}).run_all([run]) == {run.id: "done"}, "its data need not be here"
