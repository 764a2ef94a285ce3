"""Runs and experiments: ids, presets, and what the command line's choices do to them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from resnet_repro.base.errors import ConfigError
from resnet_repro.spec.experiment import Choices
from resnet_repro.spec.loading import (
    load_experiment,
    parse_experiment,
    parse_seeds,
    shipped_experiments,
)
from resnet_repro.spec.presets import PRESETS, preset_label, preset_recipe
from resnet_repro.spec.recipe import Recipe, open_choices
from resnet_repro.spec.run import Run
from resnet_repro.spec.yaml_io import parse_yaml


def test_ids_of_committed_results_never_change() -> None:
    """A refactoring that changes these would orphan every stored result."""
    short = load_experiment("fig1", choices=Choices(preset="short")).resolve()
    assert [run.id for run in short] == [
        "plain-20-cifar10-short-s0-0d920dd4",
        "plain-56-cifar10-short-s0-a310be1d",
    ]
    paper = load_experiment("table6", choices=Choices(networks=["resnet-110"])).resolve()
    assert paper[0].id.startswith("resnet-110-cifar10-paper-s0-")
    assert len({run.id for run in paper}) == 5


def test_an_experiment_remembers_itself_whatever_is_chosen() -> None:
    first, again = load_experiment("fig1"), load_experiment("fig1")
    assert first == again  # though each remembers itself
    chosen = load_experiment("fig1", choices=Choices(preset="demo", networks=["plain-20"]))
    assert chosen != first
    assert chosen.source.whole == first


def test_everything_that_decides_a_result_is_in_the_hash() -> None:
    recipe = preset_recipe("paper", "resnet-20", "cifar10")
    base = Run(network="resnet-20", dataset="cifar10", recipe=recipe, seed=0)
    others = [
        base.model_copy(update={"seed": 1}),
        base.model_copy(update={"dataset": "synthetic"}),
        base.model_copy(update={"network": "resnet-20-b"}),
        base.model_copy(update={"precision": "fp32"}),
        base.model_copy(update={"recipe": recipe.model_copy(update={"weight_decay": 2e-4})}),
    ]
    assert len({base.hash, *(other.hash for other in others)}) == 6


def test_the_paper_preset_is_the_papers_protocol() -> None:
    recipe = preset_recipe("paper", "resnet-20", "cifar10")
    assert (recipe.iterations, recipe.batch_size, recipe.milestones) == (64000, 128, (32000, 48000))
    assert (recipe.learning_rate, recipe.momentum, recipe.weight_decay) == (0.1, 0.9, 1e-4)
    assert (recipe.augmentation.pad, recipe.augmentation.mirror) == (4, True)
    assert recipe.warmup is None
    assert preset_recipe("paper", "plain-110", "cifar10").warmup is None
    for network in ("resnet-110", "resnet-1202"):
        warmup = preset_recipe("paper", network, "cifar10").warmup
        assert warmup is not None
        assert (warmup.learning_rate, warmup.until_train_error) == (0.01, 80.0)


def test_short_is_a_tenth_with_the_schedule_scaled() -> None:
    recipe = preset_recipe("short", "plain-56", "cifar10")
    assert (recipe.iterations, recipe.milestones) == (6400, (3200, 4800))
    assert recipe.model_copy(
        update={"iterations": 64000, "milestones": (32000, 48000), "evaluate_every": 500}
    ) == preset_recipe("paper", "plain-56", "cifar10")


@pytest.mark.parametrize("preset", PRESETS)
def test_a_changed_recipe_is_custom(preset) -> None:
    recipe = preset_recipe(preset, "resnet-20", "cifar10")
    assert preset_label(recipe, "resnet-20", "cifar10") == preset
    oftener = recipe.model_copy(update={"evaluate_every": 7})
    assert preset_label(oftener, "resnet-20", "cifar10") == preset, "measuring is not training"
    slower = recipe.model_copy(update={"momentum": 0.8})
    assert preset_label(slower, "resnet-20", "cifar10") == "custom"
    if preset != "demo":  # whose rate is below the warm-up's
        assert preset_label(recipe, "resnet-110", "cifar10") == "custom", "it lacks the warm-up"


def test_a_field_that_is_as_it_always_was_is_not_in_the_id() -> None:
    (run,) = load_experiment("table6", choices=Choices(networks=["resnet-20"])).resolve()
    assert run.id == "resnet-20-cifar10-paper-s0-fe818420"
    (other,) = load_experiment(
        "table6", ["recipe.nesterov=true"], Choices(networks=["resnet-20"])
    ).resolve()
    assert other.id != run.id
    with pytest.raises(ConfigError, match="nesterov: looks ahead along the momentum, which is 0"):
        load_experiment("table6", ["recipe.nesterov=true", "recipe.momentum=0"])


def test_what_is_set_for_all_reaches_all_or_is_refused(tmp_path: Path) -> None:
    """`show` writes a warm-up into every entry of fig6, as ResNet-110 has its own."""
    shown = tmp_path / "mine.yaml"
    shown.write_text(load_experiment("fig6", choices=Choices(preset="short")).to_yaml(), "utf-8")
    with pytest.raises(ConfigError, match=r"plain-20 has its own in .*runs\.0\.recipe\.warmup"):
        load_experiment(str(shown), ["recipe.warmup.window=400"])
    rate = ["recipe.learning_rate=0.05"]
    with pytest.raises(ConfigError, match="plain-56 has its own in surface-recipe"):
        load_experiment("surface-recipe", rate)
    chosen = load_experiment("surface-recipe", rate, Choices(networks=["resnet-20-b"]))
    assert {run.recipe.learning_rate for run in chosen.resolve()} == {0.05}
    index = next(
        n for n, e in enumerate(load_experiment("surface-recipe").runs) if "plain-56" in e.networks
    )
    both = [*rate, f"runs.{index}.recipe.learning_rate=0.02"]
    rates = {
        r.network: r.recipe.learning_rate for r in load_experiment("surface-recipe", both).resolve()
    }
    assert (rates["plain-56"], rates["resnet-20-b"]) == (0.02, 0.05)
    with pytest.raises(ConfigError, match="plain-56 has its own"):
        load_experiment("surface-recipe", [*rate, f"runs.{index}.recipe.momentum=0.8"])
    plain = Choices(networks=["plain-56"])
    for others in (["recipe={momentum: 0.8}"], ["recipe.milestones=[20]", "recipe.milestones.0=9"]):
        (run,) = load_experiment("surface-recipe", others, plain).resolve()
        assert run.recipe.learning_rate == 0.01, "what entries have of other fields stays"


@pytest.mark.parametrize(
    ("name", "change", "choices", "says"),
    [
        ("table6", "runs.1.seeds=3", Choices(preset="short"), "preset short .* choose by --seeds"),
        ("table6", "runs.1.seeds=3", Choices(seeds=[0]), "--seeds chooses another"),
        ("table6", "preset=short", Choices(preset="demo"), "--preset chooses another"),
        ("table6", "precision=fp32", Choices(precision="bf16"), "--precision chooses another"),
        ("fig1", "dataset=cifar100", Choices(preset="demo"), "preset demo .* choose by --dataset"),
        ("fig1", "dataset=cifar100", Choices(dataset="cifar10"), "--dataset chooses another"),
        ("fig1", "runs.0.dataset=cifar100", Choices(preset="demo"), "choose by --dataset"),
        (
            *("fig1", "runs.0={networks: [resnet-20], seeds: 2, dataset: cifar100}"),
            *(Choices(preset="demo"), "preset demo .* choose by --dataset"),
        ),
        ("table6", "runs.0.networks=[resnet-8]", Choices(preset="demo"), "choose by --networks"),
    ],
)
def test_what_is_set_is_refused_where_something_else_is_chosen(name, change, choices, says) -> None:
    assert load_experiment(name, [change]), "which would do something by itself"
    with pytest.raises(ConfigError, match=f"--set {re.escape(change.partition('=')[0])}: .*{says}"):
        load_experiment(name, [change], choices)


@pytest.mark.parametrize(
    ("changes", "choices"),
    [
        (["runs.0.seeds=3"], Choices(dataset="cifar100", preset="demo")),
        (["runs.0.dataset=cifar100"], Choices(dataset="cifar100")),
        (["presets.demo.seeds=3"], Choices(preset="demo")),
        (["preset=short"], Choices(preset="short", seeds=[0, 1, 2])),
        (
            [
                "runs=[{networks: [plain-20]}, {networks: [plain-56]}]",
                "runs.1={networks: [plain-56]}",
                "runs=[{networks: [plain-20], seeds: 3}]",
            ],
            Choices(precision="fp32"),
        ),
    ],
)
def test_what_is_set_goes_with_choices_of_something_else(changes, choices) -> None:
    runs = load_experiment("fig1", changes, choices).resolve()
    assert {run.seed for run in runs} == {0, 1, 2} or {run.dataset for run in runs} == {"cifar100"}


def test_a_network_that_is_named_is_trained_or_missed_aloud() -> None:
    named = Choices(dataset="cifar100", networks=["resnet-110", "resnet-164"])
    with pytest.raises(ConfigError, match="preact-table3 has no resnet-110 on cifar100"):
        load_experiment("preact-table3", choices=named)
    assert load_experiment("preact-table3", checked=False).on_dataset("cifar100").networks


def test_shared_runs_have_one_id() -> None:
    runs = {name: {r.id for r in load_experiment(name).resolve()} for name in shipped_experiments()}
    assert runs["fig1"] <= runs["fig6"]
    assert runs["fig1"] & runs["fig7"] == runs["fig1"]
    assert runs["table6"] & runs["fig6"]
    assert runs["table1"] == set()


def test_demo_goes_with_synthetic_unless_another_data_set_is_named() -> None:
    demo = load_experiment("fig1", choices=Choices(preset="demo"))
    assert {run.dataset for run in demo.resolve()} == {"synthetic"}
    real = load_experiment("fig1", choices=Choices(preset="demo", dataset="cifar10"))
    assert {run.dataset for run in real.resolve()} == {"cifar10"}


def test_what_a_preset_brings_goes_with_that_preset_alone() -> None:
    file = parse_yaml(
        "name: x\ntitle: t\nmeasure: [surface]\nsurface: {limit: 2}\n"
        "presets: {short: {seeds: 2, recipe: {weight_decay: 0.01}, surface: {points: [3, 3]}}}\n"
        "runs: [{networks: [resnet-20]}]\n",
        "x.yaml",
    )
    short = parse_experiment(file, choices=Choices(preset="short"))
    assert [run.recipe.weight_decay for run in short.resolve()] == [0.01, 0.01]
    settings = short.settings_of("surface")
    assert (settings.points, settings.limit) == ((3, 3), 2.0)
    demo = short.choose(Choices(preset="demo"))
    assert {run.recipe.weight_decay for run in demo.resolve()} == {1e-4}
    assert demo.settings_of("surface").points == (51, 51)
    assert short.choose(Choices()).resolve() == short.resolve()


def test_networks_choose_among_all_that_the_experiment_has() -> None:
    chosen = load_experiment("table6", choices=Choices(preset="demo", networks=["ResNet-110-a"]))
    assert [run.network for run in chosen.resolve()] == ["resnet-110"]
    # Though the demo preset of the file selects others.
    other = load_experiment("fig7", ["runs.0.networks=[resnet-32]"])
    assert [run.network for run in other.resolve()] == ["resnet-32"]


@pytest.mark.parametrize(
    ("name", "preset"),
    [(n, p) for n in shipped_experiments() for p in load_experiment(n).possible_presets],
)
def test_resolved_yaml_is_the_same_experiment(name, preset) -> None:
    chosen = load_experiment(name, choices=Choices(preset=preset))
    again = parse_experiment(parse_yaml(chosen.to_yaml(), "shown.yaml"))
    assert again.to_yaml() == chosen.to_yaml()
    named = [(g.networks, g.seeds, g.dataset) for g in again.runs]
    assert len(set(named)) == len(named), "each run once"
    assert {r.id for r in again.resolve()} == {r.id for r in chosen.resolve()}


def test_a_runs_configuration_is_an_experiment_of_one_run(tmp_path: Path) -> None:
    run = load_experiment("fig1", choices=Choices(preset="short")).resolve()[1]
    path = tmp_path / "config.yaml"
    path.write_text(run.to_yaml(), encoding="utf-8")
    assert load_experiment(str(path)).resolve() == (run,)


def test_shipped_experiments_say_command_cost_and_section() -> None:
    from resnet_repro.spec.loading import experiments_folder

    for name in shipped_experiments():
        header = (
            (experiments_folder() / f"{name}.yaml")
            .read_text(encoding="utf-8")
            .partition("\nname:")[0]
        )
        if not load_experiment(name).runs and name != "table1":  # it is only drawn
            show = "plot" if load_experiment(name).plot else "table"
            assert f"resnet-repro {show} {name}" in header
            assert "nothing is trained" in header.lower()
            continue
        assert f"resnet-repro run {name}" in header
        assert "section" in header.lower()
        assert any(word in header.lower() for word in ("cost", "takes", "shares"))


def test_seeds() -> None:
    assert parse_seeds("3") == (0, 1, 2)
    assert parse_seeds("0, 4,7") == (0, 4, 7)
    assert parse_seeds("5,") == (5,)
    for wrong in ("", "0", "-1", "1.5", "a", "1,1", ",", "5,,", "١", "1" * 30):
        with pytest.raises(ConfigError):
            parse_seeds(wrong)


def test_every_open_choice_has_a_reason() -> None:
    choices = open_choices()
    assert {"momentum_form", "partial_batch", "micro_batch_size"} <= {c[0] for c in choices}
    assert all(len(reason) > 8 or reason == "not stated" for *_, reason in choices)
    for name, field in Recipe.model_fields.items():
        assert field.description, name


def test_yaml_bombs_are_refused() -> None:
    bomb = "a: &a [x]\n" + "".join(
        f"{c}: &{c} [*{p}, *{p}, *{p}, *{p}, *{p}, *{p}, *{p}, *{p}, *{p}]\n"
        for p, c in zip("abcdefgh", "bcdefghi", strict=True)
    )
    doubled = "a0: &a0 [x]\n" + "".join(
        f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 25)
    )
    tags = ("!!python/object/apply:os.system [id]", "!!bool x", "!!int ''", "!!timestamp x")
    for text in (bomb, doubled, "[" * 200, "x" * 2_000_000, *tags):
        with pytest.raises(ConfigError):
            parse_yaml(text, "bomb.yaml")


def test_tables_are_listed_first_in_the_order_of_their_numbers() -> None:
    names = shipped_experiments()
    tables = [f"table{number}" for number in (1, 2, 3, 4, 5, 6, 7, 8, 10)]
    assert names[: len(tables)] == tables


def test_a_detectors_configuration_measures_and_shows_what_detectors_have(tmp_path: Path) -> None:
    choices = Choices(preset="short", dataset="voc:VOCdevkit", networks=["faster-rcnn-resnet-18-a"])
    _, run = load_experiment("table7", choices=choices).resolve()
    path = tmp_path / "config.yaml"
    path.write_text(run.to_yaml(), encoding="utf-8")
    experiment = load_experiment(str(path))
    assert experiment.resolve() == (run,)
    assert experiment.measure == ("average-precision", "detections")
    assert experiment.table is not None
    assert experiment.plot is not None
    assert (experiment.table.kind, experiment.plot.kind) == ("detection", "detections")


def test_another_crop_has_sizes_of_its_own_in_a_runs_configuration_too(tmp_path: Path) -> None:
    choices = Choices(preset="short", dataset="imagenette", networks=["resnet-34-b"])
    (run,) = load_experiment("table4", choices=choices).resolve()
    path, crop = tmp_path / "config.yaml", "recipe.photographs.crop=96"
    path.write_text(run.to_yaml(), encoding="utf-8")
    (changed,) = load_experiment(str(path), [crop]).resolve()
    assert changed.recipe.photographs is not None
    assert changed.recipe.photographs.shorter_side == (110, 206)
    own = [crop, "recipe.photographs.shorter_side=[100, 200]"]
    (changed,) = load_experiment(str(path), own).resolve()
    assert changed.recipe.photographs is not None
    assert changed.recipe.photographs.shorter_side == (100, 200)


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("surface", "surface.points=[1001,1001]", "more than 1,010,000"),
        ("surface", "surface.directions=[0,0]", "surface.directions: should be different ones"),
        ("surface", "curvature.at=[[0,0],[0,0]]", "curvature.at: should be different ones"),
        ("path", "pretraining.recipe.photographs.crop=!!binary aaaa", "binary values"),
    ],
)
def test_settings_that_could_not_be_read_again_are_refused(
    name: str, change: str, says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        load_experiment(name, [change])
