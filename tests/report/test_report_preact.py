"""He et al. 2016 in tables, verdicts and figures: its protocol, its two data sets."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from made_up_results import Bench, section

from resnet_repro.paper.claims import load_claims
from resnet_repro.paper.facts import load_facts
from resnet_repro.report.claims.judging import Verdict, judge
from resnet_repro.report.commands import run_command
from resnet_repro.report.experiment_groups import at_group
from resnet_repro.report.figures.figures import build, figure_names
from resnet_repro.report.gaps import gaps_of
from resnet_repro.report.groups import Group
from resnet_repro.report.rendering import Shown, render_table
from resnet_repro.report.results import Results
from resnet_repro.report.tables import make_table
from resnet_repro.report.tidy import tidy_csv
from resnet_repro.spec.experiment import Choices
from resnet_repro.spec.loading import experiments_folder, load_experiment
from resnet_repro.spec.recipe_parts import Warmup

# 400 iterations whatever the error.
START: Any = {"warmup": {"learning_rate": 0.01, "until_train_error": 99.9, "window": 400}}
DEPTHS = ("110", "164", "1001")


def add_depths(bench: Bench, dataset: str = "cifar10", seeds: int = 1, **more: Any) -> None:
    """Networks whose errors are those that the paper prints, a little apart by seed."""
    for row in load_facts().preact_table3:
        if row.network and row.dataset == dataset:
            for seed in range(seeds):
                error = row.error.printed + 0.01 * seed
                train = 0.2 + 0.1 * (row.method == "pre-activation")
                bench.add(
                    row.network, error, train, seed=seed, dataset=dataset, recipe=START, **more
                )


def groups(bench: Bench) -> list[Group]:
    return list(Results(bench.store).numbers)


def verdicts(bench: Bench) -> dict[str, list[Verdict]]:
    found: dict[str, list[Verdict]] = {}
    for verdict in judge(load_claims(), Results(bench.store)):
        found.setdefault(verdict.claim.id, []).append(verdict)
    return found


def test_its_warm_up_is_one_protocol_for_networks_with_and_without_one(bench: Bench) -> None:
    for network in ("resnet-110", "plain-110", "preact-110"):
        bench.add(network, recipe=START)
    (group,) = groups(bench)
    assert group.papers == ("He et al. 2016",)
    assert not group.faithful
    start = "400 iterations at 0.01 first"
    assert group.caption == f"paper preset of He et al. 2016 ({start}), CIFAR-10, fp32"


def test_its_reduced_runs_say_how_much_was_spent(bench: Bench) -> None:
    bench.add("resnet-56", recipe=START, preset="short")
    (group,) = groups(bench)
    assert group.caption == (
        "REDUCED: short preset of He et al. 2016 (6,400 of 64,000 iterations, "
        "400 iterations at 0.01 first), CIFAR-10, fp32"
    )
    (line,) = (x for x in bench.report().splitlines() if x.startswith(f"- [1] {group.caption}"))
    assert line.endswith(
        " (the short preset of He et al. 2016 has iterations=6400, milestones=[3200, 4800], "
        "warmup=400 iterations at 0.01)"
    )
    assert (group.preset, group.papers) == ("short", ())


def test_a_part_of_its_networks_is_found_even_if_none_is_new_there(bench: Bench) -> None:
    for network in ("resnet-20", "resnet-20-half-both"):
        bench.add(network, 14.0, preset="short", recipe=START)
    chosen = load_experiment("preact-table1").choose(Choices(networks=("resnet-20",)))
    assert [c.network for c in Results(bench.store).cells_of(chosen)] == ["resnet-20"]
    assert not Results(bench.store).cells_of(load_experiment("preact-fig1")), "nor pre-act ones"


def test_cifar_100_is_its_data_and_not_the_first_papers(bench: Bench) -> None:
    bench.add("preact-164", dataset="cifar100", recipe=START)
    bench.add("resnet-20", dataset="cifar100")
    theirs, neither = sorted(groups(bench), key=lambda group: -len(group.papers))
    assert theirs.caption.startswith("paper preset of He et al. 2016 (400 iterations at 0.01 ")
    assert theirs.caption.endswith("), CIFAR-100, fp32")
    assert neither.caption == "NOT THE PAPER’S PROTOCOL: paper preset, CIFAR-100, fp32"


@pytest.mark.parametrize(
    ("warmup", "length"), [({}, None), ({"until_train_error": 99.9, "window": 400}, 400)]
)
def test_a_warm_up_has_a_length_where_no_error_matters(warmup: Any, length: int | None) -> None:
    assert Warmup(**warmup).length == length


def test_table_3_has_both_data_sets_beside_the_papers_numbers(bench: Bench) -> None:
    experiment = load_experiment("preact-table3")
    empty = make_table(experiment, Results(bench.store)).rows
    assert len(empty) == 2 + len(DEPTHS) * 2 + 2 * 2  # with the skips over one layer
    add_depths(bench, "cifar100")
    bench.add("preact-164", 5.5, recipe=START)
    table = make_table(experiment, Results(bench.store))
    rows = {(row["network"], row["data"]): row for row in table.rows if row.get("data")}
    assert len(rows) == len(DEPTHS) * 2 + 2 * 2
    assert rows["preact-1001", "CIFAR-100"]["paper"] == Shown(
        "22.71 (22.68 ± 0.22)", (22.68, 22.71)
    )
    assert rows["preact-1001", "CIFAR-100"]["difference"] == pytest.approx(0.03)
    assert rows["preact-164", "CIFAR-10"]["difference"] == pytest.approx(0.04)
    assert str(rows["resnet-1001", "CIFAR-10"]["paper"]) == "7.61"
    assert "test_error" not in rows["resnet-1001", "CIFAR-10"]
    lines = render_table(table, "text", 80).splitlines()
    assert max(len(line) for line in lines if "resnet-repro" not in line) <= 80
    assert "CIFAR-100" in "\n".join(lines)


def test_differences_to_medians_are_called_so(bench: Bench) -> None:
    for seed in (0, 1):
        bench.add("preact-110", 6.4 + seed, seed=seed, recipe=START)
    (note,) = [
        note
        for note in make_table(load_experiment("preact-table3"), Results(bench.store)).notes
        if note.startswith("Difference is ")
    ]
    assert "its median of five runs" in note
    said = section(bench.report(), "What was run")
    assert said.count("- Difference is ") == said.count(note) == 1
    bench.add("resnet-20", 8.7)
    assert "the paper's protocol" in bench.report().partition("## What was run")[2]


def test_items_on_cifar_10_alone_are_not_missing_on_cifar_100(bench: Bench) -> None:
    bench.add("preact-164", dataset="cifar100", recipe=START)
    results = Results(bench.store)
    for name, wanted in (("preact-table3", True), ("preact-table1", False)):
        places = [gap.where for gap in gaps_of(load_experiment(name), results)]
        assert any("CIFAR-100" in place for place in places) is wanted, places


def test_a_table_on_two_data_sets_lacks_the_one_without_any_run(bench: Bench) -> None:
    bench.add("preact-164", recipe=START)  # on CIFAR-10
    (gap,) = gaps_of(load_experiment("preact-table3"), Results(bench.store))
    assert gap.where == "paper preset, CIFAR-10, CIFAR-100"
    assert gap.what.startswith("9 of 10 runs: ")
    assert gap.command == "resnet-repro run preact-table3"


def test_a_file_on_two_data_sets_lacks_both_at_demo_where_that_is_its_own_preset(
    bench: Bench, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text(
        "name: mine\ntitle: Mine\npreset: demo\nruns:\n"
        "  - {networks: [resnet-20], dataset: cifar10}\n"
        "  - {networks: [resnet-20], dataset: cifar100}\n",
        encoding="utf-8",
    )
    bench.add("resnet-20", preset="demo")
    (gap,) = gaps_of(load_experiment(str(mine)), Results(bench.store))
    assert gap.where == "demo preset, CIFAR-10, CIFAR-100"
    assert gap.what == "1 of 2 runs: ResNet-20"


@pytest.mark.parametrize(("part", "lacking"), [(64, False), (8, True)])
def test_batches_in_parts_of_the_papers_share_lack_nothing(
    bench: Bench, part: int, lacking: bool
) -> None:
    for network in ("plain-20", "plain-56"):
        bench.add(network, recipe={"micro_batch_size": part}, bn_images=part)
    assert bool(gaps_of(load_experiment("fig1"), Results(bench.store))) == lacking


def test_what_lacks_of_batches_in_parts_is_measured_on_them(bench: Bench) -> None:
    for network in ("resnet-20", "plain-20"):
        bench.add(network, recipe={"micro_batch_size": 64}, bn_images=64)
    for network in ("resnet-56", "plain-56"):
        bench.add(network)
    found = gaps_of(load_experiment("surface"), Results(bench.store))
    assert [gap.command for gap in found] == [
        "resnet-repro run surface --networks resnet-20,plain-20 --set recipe.micro_batch_size=64",
        "resnet-repro run surface --networks resnet-56,plain-56",
    ]


def test_what_lacks_beside_batches_in_parts_is_trained_in_parts(bench: Bench) -> None:
    bench.add("plain-20", recipe={"micro_batch_size": 64}, bn_images=64)
    experiment, results = load_experiment("fig1"), Results(bench.store)
    (gap,) = gaps_of(experiment, results)
    command = "resnet-repro run fig1 --networks plain-56 --set recipe.micro_batch_size=64"
    assert gap.command == command
    bench.add("plain-56")
    assert gaps_of(experiment, Results(bench.store)) == []


def test_a_size_of_parts_is_taken_over_only_where_it_fits(bench: Bench) -> None:
    bench.add("resnet-20", recipe={"batch_size": 200, "micro_batch_size": 100}, bn_images=100)
    (note,) = make_table(load_experiment("table6"), Results(bench.store)).notes[-1:]
    assert "resnet-repro run table6" in note
    assert "micro_batch_size" not in note


def test_a_tables_note_and_an_ensemble_take_the_runs_in_parts(bench: Bench) -> None:
    reduced: dict[str, Any] = {"preset": "short", "dataset": "imagenette"}
    parts: dict[str, Any] = {"recipe": {"micro_batch_size": 32}, "bn_images": 32}
    for network in ("resnet-34-b", "resnet-34-c"):
        bench.add(network, 30.0, evaluations={"multi-scale": (25.0, 4.0)}, **reduced, **parts)
    (gap,) = gaps_of(load_experiment("table5"), Results(bench.store))
    assert (gap.what, "--set recipe.micro_batch_size=32" in gap.command) == ("the ensemble", True)
    bench.add("resnet-20", **parts | {"bn_images": 64, "recipe": {"micro_batch_size": 64}})
    (note,) = make_table(load_experiment("table6"), Results(bench.store)).notes[-1:]
    assert "resnet-110,resnet-1202 --set recipe.micro_batch_size=64" in note


def test_what_demo_lacks_on_a_papers_data_is_not_lost(bench: Bench) -> None:
    bench.add("plain-20", dataset="cifar10", preset="demo")
    (gap,) = gaps_of(load_experiment("fig1"), Results(bench.store))
    assert gap.where == "demo preset, CIFAR-10"
    assert gap.command.endswith("--preset demo --dataset cifar10 --networks plain-56")


def test_what_the_paper_prints_as_failed_is_printed_so(bench: Bench) -> None:
    bench.add("resnet-110-half-shortcut", 35.0, recipe=START)
    rows = make_table(load_experiment("preact-table1"), Results(bench.store)).rows
    (scaled,) = [row for row in rows if row["network"] == "resnet-110-half-shortcut"]
    assert scaled["paper"] == Shown("fail (above 20)", (None, None))
    assert scaled["difference"] is None
    assert {row["layers"] for row in rows} == {110, None}  # no empty rows of the reduced presets


def test_numbers_of_cifar_10_do_not_stand_beside_cifar_100(bench: Bench) -> None:
    bench.add("resnet-20", 31.0, dataset="cifar100")
    experiment, results = load_experiment("table6"), Results(bench.store)
    (row,) = [
        row for row in make_table(experiment, results, others=True).rows
        if row["network"] == "resnet-20"
    ]  # fmt: skip
    assert "paper" not in row
    assert "others" not in row
    (line,) = tidy_csv(experiment, results).splitlines()[1:]
    assert ",31.0," in line
    assert "8.75" not in line


def test_tidy_csv_has_the_numbers_of_its_own_table(bench: Bench) -> None:
    add_depths(bench, "cifar100")
    text = tidy_csv(load_experiment("preact-table3"), Results(bench.store))
    header, *lines = (line.split(",") for line in text.splitlines())
    found = {line[1]: line[header.index("paper_error")] for line in lines}
    assert (found["preact-1001"], found["resnet-164"]) == ("22.68", "25.16")


def test_claims_are_confirmed_by_runs_of_its_own_protocol(bench: Bench) -> None:
    add_depths(bench, seeds=3)
    add_depths(bench, "cifar100", seeds=3)
    found = verdicts(bench)
    names = ["preact-regularised"]
    names += [f"preact-depth-{what}{on}" for what in ("test", "gain") for on in ("", "-cifar100")]
    for name in names:
        (verdict,) = found[name]
        assert (verdict.word, verdict.trend_only) == ("confirmed", False), name
        assert verdict.group is not None
        assert verdict.group.dataset == verdict.claim.dataset
    assert "pre-act ResNet-164 5.47" in found["preact-depth-test"][0].numbers
    assert "pre-act ResNet-164 24.34" in found["preact-depth-test-cifar100"][0].numbers


def test_runs_of_the_first_papers_protocol_show_a_trend_of_its_claims(bench: Bench) -> None:
    for network, error in (("preact-110", 6.0), ("resnet-110", 6.6), ("preact-20", 8.5)):
        bench.add(network, error)
    bench.add("resnet-20", 8.6)
    (verdict,) = verdicts(bench)["preact-depth-gain-110"]
    assert verdict.label == "undecided (trend)"
    assert "growth +0.50" in verdict.numbers


def test_the_demo_preset_is_unfit_for_what_is_hard_to_train(bench: Bench) -> None:
    for network in ("preact-56", "resnet-56", "preact-110", "resnet-110"):
        bench.add(network, 20.0, preset="demo", dataset="synthetic")
    (verdict,) = verdicts(bench)["preact-start-56"]
    assert verdict.label == "undecided (preset unfit)"


def test_a_question_about_few_iterations_is_not_put_to_all_of_them(bench: Bench) -> None:
    for preset, better in (("short", 12.0), ("paper", 0.3)):
        for network in ("56", "110"):
            bench.add(f"preact-{network}", 9.0, better, preset=preset, recipe=START)
            bench.add(f"resnet-{network}", 9.5, 15.0 if preset == "short" else 0.2, preset=preset,
                      recipe=START)  # fmt: skip
    full, short = verdicts(bench)["preact-short-train"]
    assert full.unfit
    assert "the opposite" in full.numbers
    assert short.label == "consistent (trend)"


def test_what_is_missing_is_said_of_the_part_on_one_data_set(bench: Bench) -> None:
    add_depths(bench, "cifar100")
    (group,) = groups(bench)
    part = at_group(load_experiment("preact-table3"), group)
    assert part is not None
    assert {run.dataset for run in part.resolve()} == {"cifar100"}
    assert len(part.resolve()) == 4
    assert run_command(part) == "resnet-repro run preact-table3 --dataset cifar100"
    bench.add("preact-110", recipe={**START, "gate_bias": -5.0})
    (other,) = [g for g in groups(bench) if g.dataset == "cifar10"]
    assert at_group(load_experiment("preact-table3"), other) is None


def test_one_data_set_of_several_can_be_chosen() -> None:
    experiment = load_experiment("preact-table3")
    both = experiment.choose(Choices(preset="short"))
    assert both.datasets == ("cifar10", "cifar100")
    assert len(both.resolve()) == 8
    assert run_command(both) == "resnet-repro run preact-table3 --preset short"
    ten = experiment.choose(Choices(preset="short", dataset="cifar10"))
    assert [run.dataset for run in ten.resolve()] == ["cifar10"] * 6
    assert run_command(ten) == "resnet-repro run preact-table3 --preset short --dataset cifar10"
    demo = experiment.choose(Choices(preset="demo"))
    assert {run.dataset for run in demo.resolve()} == {"synthetic"}
    assert run_command(demo) == "resnet-repro run preact-table3 --preset demo"


def test_a_table_of_one_data_set_shows_the_networks_of_every_preset(
    command: Any, bench: Bench
) -> None:
    bench.add("preact-20", 12.34, preset="short", recipe=START)  # of no other preset
    assert "12.34" in command("table", "preact-table3").out
    assert "12.34" in command("table", "preact-table3", "--dataset", "cifar10").out
    assert "12.34" not in command("table", "preact-table3", "--dataset", "cifar100").out
    assert "12.34" not in command("table", "preact-table3", "--preset", "paper").out


def test_an_empty_table_of_one_data_set_names_the_networks_of_its_preset(command: Any) -> None:
    whole = command("table", "preact-table1").out
    assert "ResNet-14" not in whole
    assert command("table", "preact-table1", "--dataset", "cifar10").out == whole
    half = command("table", "preact-table3", "--dataset", "cifar100").out
    assert half.endswith("resnet-repro run preact-table3 --dataset cifar100\n")


def test_a_network_that_the_part_lacks_is_refused(command: Any) -> None:
    answer = command(
        "run", "preact-table3", "--dataset", "cifar100", "--networks", "resnet-110", "--dry-run"
    )
    assert answer.code == 2
    assert "preact-table3 has no resnet-110 on cifar100" in answer.err


def test_what_show_prints_is_the_same_experiment(command: Any, tmp_path: Any) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(command("show", "preact-table3").out, encoding="utf-8")
    runs = [run.id for run in load_experiment("preact-table3").choose(Choices()).resolve()]
    assert [run.id for run in load_experiment(str(path)).resolve()] == runs


def test_a_panel_can_show_the_beginning_alone_and_same_depths_differ_in_colour(
    bench: Bench,
) -> None:
    for network in ("preact-110", "resnet-110"):
        bench.add(network, 20.0, 15.0, preset="short", recipe=START)
    experiment, results = load_experiment("preact-fig1"), Results(bench.store)
    whole, beginning = build(experiment, results, groups(bench)[0]).axes
    assert (whole.get_xlim(), beginning.get_xlim()) == ((0, 0.64), (0, 0.16))
    for axes, latest in ((whole, 0.64), (beginning, 0.16)):
        curves = [line for line in axes.get_lines() if len(line.get_xdata()) > 2]
        assert len(curves) == 4
        assert len({line.get_color() for line in curves}) == 2
        assert all(line.get_xdata()[-1] <= latest for line in curves)


def test_a_figure_of_a_reduced_preset_has_no_empty_panels(bench: Bench) -> None:
    for network in ("resnet-56", "resnet-56-half-both", "plain-56"):
        bench.add(network, 20.0, 15.0, preset="short", recipe=START)
    (group,) = groups(bench)
    figure = build(load_experiment("preact-table1"), Results(bench.store), group)
    assert [axes.get_title() for axes in figure.axes] == ["56 layers"]
    caption = " ".join(text.get_text() for text in figure.texts)
    assert "not run: ResNet-56 half-shortcut" in caption
    assert "110" not in caption


def test_runs_of_the_first_paper_alone_make_none_of_its_tables_or_figures(bench: Bench) -> None:
    """And where both are there, the later paper's own come first."""
    experiment = load_experiment("preact-table1")
    for network in ("resnet-56", "plain-56", "resnet-20", "plain-20", "resnet-110"):
        bench.add(network, 17.0, 16.0, preset="short")
    assert figure_names(experiment, Results(bench.store)) == {}
    assert "No results yet" in render_table(make_table(experiment, Results(bench.store)), "text")
    for network in ("resnet-20-half-both", "resnet-56"):
        bench.add(network, 18.0, preset="short", recipe=START)
    bench.add("resnet-20-half-both", 19.0, preset="short")
    names = figure_names(experiment, Results(bench.store))
    assert len(names) == 3
    main = names["preact-table1"]
    assert main is not None
    assert "of He et al. 2016" in main.caption
    bench.add("resnet-20-half-both", 50.0, preset="short", recipe=START, dataset="cifar100")
    assert figure_names(experiment, Results(bench.store)) == names


def test_what_is_made_on_another_data_set_stands_beside_what_is_there(
    command: Any, bench: Bench
) -> None:
    where = ("--results", bench.store.root)
    for dataset, more in (("cifar10", ()), ("cifar100", ("resnet-20-c", "plain-20"))):
        for network in ("resnet-20", "resnet-20-half-both", *more):
            bench.add(network, 18.0, preset="short", recipe=START, dataset=dataset)
    asked = ("--preset", "short", "--networks", "resnet-20,resnet-20-half-both")
    for dataset, count in (("cifar10", 1), ("cifar100", 2)):
        done = command("run", "preact-table1", *asked, "--dataset", dataset, *where)
        assert done.code == 0, done.err
        written = pd.read_csv(bench.store.csv_path("preact-table1"))
        assert written.dataset.nunique() == count
    assert command("plot", "preact-table1", *where).code == 0
    before = bench.store.read_figure("preact-table1.png")
    drawn = command("plot", "preact-table1", "--dataset", "cifar100", *where)
    assert "preact-table1.png" not in drawn.out
    assert drawn.out.count("wrote ") == 1
    assert bench.store.read_figure("preact-table1.png") == before


def test_commands_that_show_know_the_presets_of_the_experiment(
    command: Any, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its short preset has the paper's own start, so that its runs are custom ones by name."""
    for network in ("resnet-56", "resnet-56-half-both", "plain-56"):
        bench.add(network, 20.0, 15.0, preset="short", recipe=START)
    bench.add("resnet-56", 99.0, preset="short")
    where = ("--results", bench.store.root)
    for options in ((), ("--preset", "short")):
        answer = command("table", "preact-table1", *options, *where)
        (line,) = [row for row in answer.out.splitlines() if "half-both" in row and "56" in row]
        assert "20.00" in line
        assert "99.00" not in answer.out
    assert "Missing at the short preset, CIFAR-10: " in answer.out
    assert "--preset short --networks resnet-56-half-shortcut," in answer.out
    assert command("plot", "preact-table1", "--preset", "short", *where).code == 0
    assert "No results yet" in command("table", "preact-table1", "--preset", "demo", *where).out


def test_an_experiment_of_ones_own_is_known_at_all_presets_whatever_was_chosen(
    bench: Bench, tmp_path: Path
) -> None:
    for network in ("resnet-56", "plain-56"):
        bench.add(network, 20.0, 15.0, preset="short", recipe=START)
    (group,) = groups(bench)
    mine = tmp_path / "mine.yaml"
    shutil.copy(experiments_folder() / "preact-table1.yaml", mine)
    chosen = load_experiment(str(mine), choices=Choices(dataset="cifar10"))
    mine.unlink()  # it is read once
    there = at_group(chosen, group)
    assert there is not None
    assert (chosen.preset, there.preset) == ("paper", "short")
    assert there.networks == at_group(load_experiment("preact-table1"), group).networks  # type: ignore[union-attr]


def test_an_experiment_that_fixes_the_iterations_has_no_other_preset(
    bench: Bench, tmp_path: Path
) -> None:
    bench.add("resnet-56", 20.0, 15.0, preset="short")
    (group,) = groups(bench)
    mine = tmp_path / "mine.yaml"
    text = "name: mine\ntitle: mine\npreset: {}\nruns: [{{networks: [resnet-56]{}}}]\n"
    for preset, change, known in [
        ("paper", "", True),
        ("paper", ", recipe: {iterations: 64000}", False),
        ("short", ", recipe: {iterations: 64000}", True),
    ]:
        mine.write_text(text.format(preset, change), encoding="utf-8")
        assert (at_group(load_experiment(str(mine)), group) is not None) is known


def test_what_is_missing_names_the_presets_networks_and_their_data(bench: Bench) -> None:
    (gap,) = gaps_of(load_experiment("preact-table3"), Results(bench.store))
    assert gap.what.startswith("10 of 10 runs: ResNet-110 on CIFAR-10, ")
    assert "ResNet-164 on CIFAR-100" in gap.what
    assert "ResNet-20" not in gap.what
    assert gap.command == "resnet-repro run preact-table3"
