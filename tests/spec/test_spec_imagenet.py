"""The experiments on ImageNet: which runs they share, what they measure, whom they average."""

from __future__ import annotations

from typing import Any

import pytest

from resnet_repro.base.errors import ConfigError
from resnet_repro.paper.facts import load_facts
from resnet_repro.spec.experiment import Choices, Experiment
from resnet_repro.spec.loading import load_experiment, parse_experiment
from resnet_repro.spec.presets import Preset, presets_of
from resnet_repro.spec.tables_figures import ViewsTable
from resnet_repro.spec.yaml_io import parse_yaml, write_yaml


def chosen(name: str, preset: Preset = "paper", **choices: Any) -> Experiment:
    return load_experiment(name, choices=Choices(preset=preset, **choices))


def ids(name: str, preset: Preset = "paper", dataset: str | None = None) -> set[str]:
    return {run.id for run in chosen(name, preset, dataset=dataset).resolve()}


@pytest.mark.parametrize(("preset", "dataset"), [("paper", None), ("short", "imagenette")])
def test_runs_are_shared(preset: Preset, dataset: str | None) -> None:
    tables = {n: ids(n, preset, dataset) for n in ("table2", "table3", "table4", "table5", "fig4")}
    assert tables["fig4"] == tables["table2"]
    assert len(tables["table2"] & tables["table3"]) == 2  # plain-34 and ResNet-34 A
    assert tables["table4"] <= tables["table3"]
    assert tables["table4"] <= tables["table5"]
    new = tables["table5"] - tables["table3"]
    assert len(new) == (1 if preset == "paper" else 0)  # the second ResNet-152


@pytest.mark.parametrize("name", ["table2", "table3", "table4"])
def test_every_trainable_network_that_the_paper_tabulates_is_trained(name: str) -> None:
    printed = {row.network for row in load_facts().imagenet_results(name) if row.network}
    assert printed - {"vgg-16", "googlenet"} == set(chosen(name).networks)


def test_reduced_scale_takes_the_34_layer_rows_of_table_3() -> None:
    networks = [run.network for run in chosen("table3", "short", dataset="imagenette").resolve()]
    assert networks == ["plain-34", "resnet-34-a", "resnet-34-b", "resnet-34-c"]
    named = chosen("table3", "short", dataset="imagenette", networks=["resnet-50"])
    assert [run.network for run in named.resolve()] == ["resnet-50"]


def test_the_ensemble_is_six_models_two_of_them_with_152_layers() -> None:
    members = chosen("table5").ensemble_members
    networks = [run.network for run in members]
    assert len(members) == len({run.id for run in members}) == 6
    assert networks.count("resnet-152") == 2
    assert {run.seed for run in members if run.network == "resnet-152"} == {0, 1}
    assert "resnet-34-a" not in networks


@pytest.mark.parametrize("preset", presets_of("resnet-50"))
def test_what_a_table_shows_is_measured(preset: Preset) -> None:
    for name in ("table2", "table3", "table4", "table5"):
        experiment = chosen(name, preset)
        if isinstance(experiment.table, ViewsTable):
            assert experiment.table.views in experiment.measure
        if experiment.ensemble:
            assert experiment.ensemble.views in experiment.measure
            assert experiment.ensemble_members == experiment.resolve()


def test_an_ensemble_of_chosen_networks_only() -> None:
    experiment = chosen("table5", networks=["resnet-34-c"])
    assert [run.network for run in experiment.ensemble_members] == ["resnet-34-c"]
    again = parse_experiment(parse_yaml(experiment.to_yaml(), "shown.yaml"))
    assert again.ensemble_members == experiment.ensemble_members


MINE: dict[str, Any] = {
    "name": "mine",
    "title": "t",
    "dataset": "imagenette",
    "runs": [{"networks": ["resnet-18-a", "resnet-50"]}],
    "measure": ["10-crop"],
}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"table": {"kind": "views", "views": "multi-scale"}}, "measure: multi-scale is shown"),
        ({"plot": {"kind": "gradients"}}, "measure: gradients is shown"),
        ({"table": {"kind": "detection"}}, "measure: average-precision is shown"),
        ({"table": {"kind": "views", "views": "12-crop"}}, "table.views: "),
        ({"table": {"kind": "ensemble"}}, "ensemble: the table shows one"),
        ({"ensemble": {"networks": ["resnet-34-b"], "views": "10-crop"}}, "not among the runs"),
        (
            {
                "runs": [*MINE["runs"], {"networks": ["resnet-50"], "dataset": "imagenet"}],
                "ensemble": {"networks": ["resnet-50"], "views": "10-crop"},
            },
            "not all trained on one data set",
        ),
        ({"ensemble": {"networks": ["resnet-50"]}}, "measure: multi-scale is shown"),
        ({"ensemble": {"networks": []}}, "ensemble.networks: "),
        ({"measure": ["responses"]}, "measure: responses is of CIFAR networks, not of resnet-18-a"),
        (
            {"dataset": "cifar10", "runs": [{"networks": ["resnet-20"]}]},
            "measure: 10-crop is of networks on photographs",
        ),
        ({"runs": [{"networks": ["vgg-19"]}]}, "vgg-19 is .*only evaluated"),
    ],
)
def test_experiments_that_cannot_be_are_told_where(changes: dict[str, Any], words: str) -> None:
    document = parse_yaml(write_yaml(MINE | changes), "mine.yaml")
    with pytest.raises(ConfigError, match=f"mine.yaml.*{words}"):
        parse_experiment(document)


def test_a_users_experiment_may_tabulate_any_views() -> None:
    table = {"kind": "views", "views": "10-crop"}
    experiment = parse_experiment(parse_yaml(write_yaml(MINE | {"table": table}), "mine.yaml"))
    assert isinstance(experiment.table, ViewsTable)
    assert experiment.table.paper is None
