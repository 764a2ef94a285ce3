"""Data sets by name and by folder, and the networks that they go with."""

from __future__ import annotations

from pathlib import Path

import pytest

from resnet_repro.base.errors import ConfigError
from resnet_repro.spec.dataset_names import choose_dataset, dataset_slug, parse_dataset
from resnet_repro.spec.experiment import Choices
from resnet_repro.spec.loading import load_experiment, parse_experiment
from resnet_repro.spec.yaml_io import parse_yaml


def test_a_folder_on_the_command_line_is_a_name_and_a_path(tmp_path: Path) -> None:
    folder = tmp_path / "Birds_2.0"
    folder.mkdir()
    for text in (f"folder:{folder}", f"folder:{folder}/", f"folder:{folder}/x/.."):
        choice = choose_dataset(text)
        assert choice.name == "folder:Birds_2.0"
        assert choice.path is not None
        assert choice.path.resolve() == folder
        assert choice.folders == {"Birds_2.0": choice.path}


def test_a_path_that_is_not_there_is_still_the_users_path() -> None:
    """So that the error names it, rather than a place among the data."""
    assert choose_dataset("folder:/no/such/birds").path == Path("/no/such/birds")


def test_a_bare_name_is_looked_for_among_the_data_unless_it_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert choose_dataset("folder:birds").folders == {}
    (tmp_path / "birds").mkdir()
    assert choose_dataset("folder:birds").folders == {"birds": Path("birds")}
    (tmp_path / "birds" / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "birds")
    assert choose_dataset("folder:.").name == "folder:birds"


@pytest.mark.parametrize(
    "text",
    [
        "imagenet ",
        "ImageNet",
        "mnist",
        "",
        "folder",
        "folder:",
        "folder: ",
        "folder:/",
        "folder:a b",
        "folder:.hidden",
        "folder:-x",
        "folder:ö",
        "folder:" + "x" * 65,
        "folder:a\0b",
    ],
)
def test_what_is_no_data_set_is_one_line(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        choose_dataset(text)
    assert "\n" not in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_slip_is_told_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean imagenette or imagenet"):
        parse_dataset("imagenete")


def test_a_folder_in_an_experiments_file_is_a_name_without_a_path() -> None:
    text = "name: mine\ntitle: t\ndataset: {}\nruns: [{{networks: [resnet-18-a]}}]\n"
    experiment = parse_experiment(parse_yaml(text.format("folder:birds"), "mine.yaml"))
    assert experiment.resolve()[0].dataset == "folder:birds"
    with pytest.raises(ConfigError, match=r"mine.yaml, line 3: dataset: .*letters, digits"):
        parse_experiment(parse_yaml(text.format("folder:/home/me/birds"), "mine.yaml"))


def test_the_path_of_a_folder_is_never_stored(tmp_path: Path) -> None:
    (tmp_path / "birds").mkdir()
    name = choose_dataset(f"folder:{tmp_path}/birds").name
    run = load_experiment("table2", choices=Choices(preset="short", dataset=name)).resolve()[0]
    assert run.id.startswith("plain-18-folder-birds-short-s0-")
    assert str(tmp_path) not in run.to_yaml()
    assert dataset_slug("imagenet") == "imagenet"


@pytest.mark.parametrize(
    ("experiment", "dataset", "words"),
    [
        ("table2", "cifar10", "plain-18 does not go with --dataset cifar10, but with imagenet, "),
        ("fig1", "imagenette", "plain-20 does not go with --dataset imagenette, but with cifar10"),
        ("fig1", "folder:birds", "does not go with --dataset folder:birds"),
    ],
)
def test_networks_go_with_the_data_sets_of_their_family(
    experiment: str, dataset: str, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        load_experiment(experiment, choices=Choices(dataset=dataset))


def test_a_file_that_mixes_them_up_is_told_the_line() -> None:
    text = "name: mine\ntitle: t\ndataset: cifar10\nruns:\n  - networks: [resnet-50]\n"
    with pytest.raises(ConfigError, match=r"mine.yaml, line 5: .*resnet-50 is an ImageNet network"):
        parse_experiment(parse_yaml(text, "mine.yaml"))


def test_the_demo_of_imagenet_experiments_needs_no_photographs() -> None:
    for name in ("table2", "table3", "table4", "table5", "fig4"):
        runs = load_experiment(name, choices=Choices(preset="demo")).resolve()
        assert {run.dataset for run in runs} == {"synthetic"}
        assert len(runs) <= 2
