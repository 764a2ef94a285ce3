"""The paper's tables beside ours, in every format."""

import csv
import io
import re
from pathlib import Path
from typing import Any

import pytest
from made_up_results import Bench

from resnet_repro.paper.papers import THE_PAPER
from resnet_repro.report.commands import run_command
from resnet_repro.report.rendering import Column, Shown, Table, render_table
from resnet_repro.report.results import Results
from resnet_repro.report.table_parts import DIFFERENCE_NOTES, ERRORS_NOTE
from resnet_repro.report.tables import make_table, others_table
from resnet_repro.spec.experiment import Choices
from resnet_repro.spec.loading import load_experiment

DIFFERENCE_NOTE = DIFFERENCE_NOTES[THE_PAPER]


@pytest.fixture
def filled(bench: Bench) -> Bench:
    """Three seeds of ResNet-20, one of them failed; a reduced one; ResNet-110's unfinished."""
    bench.add("resnet-20", 9.0, 4.0, seed=0)
    bench.add("resnet-20", 8.0, 3.0, seed=1)
    bench.add("resnet-20", seed=2, state="failed")
    bench.add("resnet-20", 15.0, 9.0, preset="short", official=False)
    bench.add("resnet-110", state="stopped")
    return bench


def made(bench: Bench, name: str, others: bool = False) -> Table:
    return make_table(bench.experiment(name), Results(bench.store), others=others)


def table6(bench: Bench) -> Table:
    return made(bench, "table6")


def rows_of(table: Table, network: str) -> list[Any]:
    return [row for row in table.rows if row.get("network") == network]


def test_ours_is_mean_std_count_and_difference_to_the_paper(filled: Bench) -> None:
    row = rows_of(table6(filled), "resnet-20")[0]
    assert str(row["test_error"]) == "8.50 ± 0.71"
    assert row["difference"] == pytest.approx(-0.25)
    assert row["best_seed"] == 8.0
    assert row["train_error"].mean == 3.5
    assert row["parameters"] == 269_722
    assert row["paper_parameters"] == "0.27M"
    assert DIFFERENCE_NOTE in table6(filled).notes
    assert str(row["seeds"]) == "2 of 3"


def test_reduced_results_have_a_row_of_their_own_and_say_so(filled: Bench) -> None:
    table = table6(filled)
    full, reduced = rows_of(table, "resnet-20")
    assert (full["where"], reduced["where"]) == ("paper [1]", "short [2]")
    assert str(reduced["test_error"]) == "15.00", "one seed has no std"
    assert reduced["best_seed"] is None, "and no best"
    assert reduced["difference"] is None, "nothing to compare with the paper"
    assert table.notes[1].startswith("[2] REDUCED: short preset (6,400 of 64,000")


def test_a_table_is_not_headed_by_how_lines_are_drawn(filled: Bench) -> None:
    title = made(filled, "fig6").title
    assert title.startswith("Fig. 6: Training on CIFAR-10")
    assert "Dashed" not in title


def test_reduced_results_alone_have_no_note_on_a_difference(bench: Bench) -> None:
    bench.add("resnet-20", 15.0, 9.0, preset="short", official=False)
    assert DIFFERENCE_NOTE not in table6(bench).notes


def test_what_has_no_printed_number_needs_no_note_on_differences(bench: Bench) -> None:
    bench.add("plain-20", 9.0)
    table = make_table(bench.experiment("fig1"), Results(bench.store))
    assert ERRORS_NOTE in table.notes
    assert DIFFERENCE_NOTE not in table.notes


def test_failed_and_unfinished_runs_are_mentioned(filled: Bench) -> None:
    notes = table6(filled).notes
    assert "ResNet-20 [1]: 1 of 3 failed (seed 2)" in notes
    assert "ResNet-110 [1]: 1 unfinished (seed 0)" in notes


def test_difference_to_resnet_110_is_to_the_papers_mean(bench: Bench) -> None:
    bench.add("resnet-110", 6.61)
    assert rows_of(table6(bench), "resnet-110")[0]["difference"] == pytest.approx(0)


def test_without_results_the_paper_stands_alone_with_the_command(bench: Bench) -> None:
    text = render_table(table6(bench), "text", 80)
    assert "7.54 (7.72 ± 0.16)" in text
    assert "8.75" in text
    assert "resnet-repro run table6" in text
    assert "ours" not in text


def test_what_is_missing_names_the_preset_that_was_begun(bench: Bench) -> None:
    bench.add("plain-20", preset="short")
    table = made(bench, "fig1")
    assert table.notes[-1] == (
        "Missing at the short preset, CIFAR-10: 1 of 2 runs: plain-56. To do so: "
        "resnet-repro run fig1 --preset short --networks plain-56"
    )


def test_what_an_experiment_with_a_recipe_of_its_own_lacks(bench: Bench, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text(
        "name: mine\ntitle: Mine\npreset: demo\ndataset: synthetic\n"
        "recipe: {iterations: 200, milestones: []}\n"
        "runs: [{networks: [resnet-8, plain-8]}]\ntable: {kind: errors}\n",
        encoding="utf-8",
    )
    changes = {"iterations": 200, "milestones": []}
    bench.add("resnet-8", preset="demo", dataset="synthetic", recipe=changes)
    notes = make_table(load_experiment(str(mine)), Results(bench.store)).notes
    lacks = "Missing at the demo preset, synthetic images: 1 of 2 runs: plain-8. To do so: "
    assert notes[-1].startswith(f"{lacks}resnet-repro run ")
    assert notes[-1].endswith("mine.yaml --networks plain-8")
    content = mine.read_text(encoding="utf-8").replace("preset: demo", "preset: short")
    content = content.replace("iterations: 200, milestones: []", "weight_decay: 0.0005")
    mine.write_text(content, encoding="utf-8")
    bench.add("resnet-8", preset="demo", dataset="synthetic", recipe={"weight_decay": 0.0005})
    notes = make_table(load_experiment(str(mine)), Results(bench.store)).notes
    assert notes[-1].startswith(lacks)
    assert notes[-1].endswith("mine.yaml --preset demo --networks plain-8")


def test_what_failed_is_missing_as_such(bench: Bench) -> None:
    """The plain command leaves it as it is."""
    bench.add("plain-20")
    failed = bench.add("plain-56", state="failed")
    results = Results(bench.store, option=" --results elsewhere")
    notes = make_table(bench.experiment("fig1"), results).notes
    assert "plain-56 [1]: 1 of 1 failed (seed 0)" in notes
    assert notes[-1] == (
        "Missing at the paper preset, CIFAR-10: plain-56, which failed. To do so: "
        f"resnet-repro run {failed.config} --force --results elsewhere"
    )


def test_of_chosen_networks_only_those_are_missed(bench: Bench) -> None:
    for network in ("resnet-20", "resnet-56"):
        bench.add(network, preset="short")
    choices = Choices(preset="short", networks=["resnet-20", "resnet-32"])
    notes = make_table(load_experiment("table6").choose(choices), Results(bench.store)).notes
    assert notes[-1] == (
        "Missing at the short preset, CIFAR-10: 1 of 2 runs: ResNet-32. To do so: "
        "resnet-repro run table6 --preset short --networks resnet-32"
    )


def test_plain_networks_have_no_paper_number(bench: Bench) -> None:
    bench.add("plain-20", 9.4)
    table = made(bench, "fig1")
    row = rows_of(table, "plain-20")[0]
    assert row.get("paper") is None
    assert row["difference"] is None
    assert not any(row["method"] == "Maxout" for row in table.rows)


@pytest.mark.parametrize("width", [200, 120, 100, 80, 60, 40])
def test_text_fits_and_keeps_what_matters(filled: Bench, width: int) -> None:
    text = render_table(table6(filled), "text", width)
    commands = [line for line in text.splitlines() if "resnet-repro run" in line]
    assert all(len(line) <= width for line in text.splitlines() if line not in commands)
    for needed in ("8.50 ± 0.71", "15.00", "6.43 (6.61 ± 0.16)", "2 of 3", "short [2]"):
        assert needed in text
    assert "REDUCED" in text
    assert "\x1b" not in text


def test_spare_columns_go_first(filled: Bench) -> None:
    wide, narrow = (render_table(table6(filled), "text", w) for w in (200, 90))
    assert "best of seeds" in wide
    assert "best of seeds" not in narrow
    assert "difference" in narrow


def test_best_on_test_is_in_the_csv_only(filled: Bench) -> None:
    table = table6(filled)
    assert "best_on_test" in render_table(table, "csv").splitlines()[0]
    assert "best on test" not in render_table(table, "text")


def test_csv_is_tidy(filled: Bench) -> None:
    rows = list(csv.DictReader(io.StringIO(render_table(table6(filled), "csv"))))
    ours = next(row for row in rows if row["network"] == "resnet-20")
    assert (ours["test_error"], ours["seeds"], ours["failed"]) == ("8.5", "2", "1")
    assert (ours["preset"], ours["dataset"], ours["official"]) == ("paper", "cifar10", "yes")
    assert ours["paper_error"] == "8.75"


def test_markdown_has_one_cell_per_column(filled: Bench) -> None:
    lines = [x for x in render_table(table6(filled), "md").splitlines() if x.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1
    assert "| 8.50 ± 0.71 |" in "\n".join(lines)


def test_chosen_networks_that_the_preset_leaves_out_lack_nothing(bench: Bench) -> None:
    bench.add("resnet-110", preset="demo", dataset="synthetic")
    chosen = load_experiment("table6").choose(Choices(networks=["resnet-110"]))
    assert not any("Missing" in note for note in make_table(chosen, Results(bench.store)).notes)


def test_beside_a_changed_run_what_is_missing_is_of_the_files_preset(bench: Bench) -> None:
    bench.add("preact-110", 6.4, recipe={"weight_decay": 0.0005})
    experiment = load_experiment("preact-table3")
    usual = experiment.choose(Choices())
    assert len(usual.resolve()) < len(experiment.resolve())
    note = make_table(experiment, Results(bench.store)).notes[-1]
    assert f"{len(usual.resolve())} of {len(usual.resolve())} runs: " in note


def test_runs_in_a_named_precision_are_not_missed(bench: Bench) -> None:
    bench.add("plain-20", preset="short", precision="fp32")
    assert made(bench, "fig1").notes[-1] == (
        "Missing at the short preset, CIFAR-10: 1 of 2 runs: plain-56. To do so: "
        "resnet-repro run fig1 --preset short --networks plain-56 --precision fp32"
    )
    bench.add("plain-56", preset="short", precision="fp32")
    assert not any("Missing" in note for note in made(bench, "fig1").notes)


def test_latex_is_plain_ascii_with_balanced_braces(filled: Bench) -> None:
    """Whatever TeX engine and input encoding a paper uses."""
    table = made(filled, "table6", others=True)
    sources = others_table(["resnet-20", "resnet-110"])
    assert "8.50 $\\pm$ 0.71" in render_table(table, "latex")
    assert "$-$0.25" in render_table(table, "latex")
    printed = [x for x in render_table(table, "latex").splitlines() if not x.startswith("%")]
    assert any("Missing at the" in line for line in printed)
    assert "resnet-repro" not in "".join(printed), "a paper has no use for it"
    assert "% resnet-repro run table6" in render_table(table, "latex")
    for text in (render_table(table, "latex"), render_table(sources, "latex")):
        assert text.isascii()
        bare = text.replace("\\{", "").replace("\\}", "")
        assert bare.count("{") == bare.count("}")
        rules = [text.index(f"\\{rule}rule") for rule in ("top", "mid", "bottom")]
        assert rules == sorted(rules)
        columns = len(re.findall(r"p\{|[lr]", _alignment(text)))
        body = text.split("\\toprule")[1].split("\\bottomrule")[0]
        rows = [line for line in body.splitlines() if line.endswith("\\\\")]
        assert {line.replace("\\&", "").count("&") for line in rows} == {columns - 1}
        assert all(s not in line.replace(f"\\{s}", "") for line in rows for s in "_#%")


def _alignment(text: str) -> str:
    """A tabular's columns, as `lrr` or as `p{p{p{` where they are folded."""
    line = next(line for line in text.splitlines() if line.startswith("\\begin{tabular}{"))
    spec = line.removeprefix("\\begin{tabular}{").removesuffix("}")
    return "".join(re.findall(r"p\{", spec)) or spec


@pytest.mark.parametrize(
    ("form", "shown"),
    [
        ("text", "Errors\n\nNot run.\n"),
        ("md", "**Errors**\n\n- Not run.\n"),
        ("latex", "\\caption{Errors}\n\\par\\footnotesize Not run.\n\\end{table}\n"),
    ],
)
def test_a_table_without_rows_is_its_title_and_notes(form: Any, shown: str) -> None:
    text = render_table(Table("Errors", (Column("a", "a"),), (), ["Not run."]), form)
    assert text.endswith(shown)
    assert "tabular" not in text


def test_wide_tables_for_latex_fold_into_the_line(filled: Bench) -> None:
    """Addresses and protocols would run off the page."""
    text = render_table(others_table(["resnet-20", "resnet-56", "resnet-110"]), "latex")
    shares = [float(share) for share in re.findall(r"p\{([0-9.]+)\\linewidth\}", text)]
    between = float(re.findall(r"tabcolsep\}\{([0-9.]+)\\linewidth", text)[0])
    assert sum(shares) + 2 * between * len(shares) <= 1 + 1e-9
    assert "\\usepackage{array,booktabs}" in text
    words = re.split(r"\s|\\allowbreak\{\}|&", text.split("\\midrule")[1].split("\\bottomrule")[0])
    assert max(map(len, words)) <= 25
    assert "linewidth" not in render_table(Table("t", (Column("a", "a"),), ({"a": 1},)), "latex")


def test_others_stand_beside_the_paper_if_asked_for(filled: Bench) -> None:
    table = made(filled, "table6", others=True)
    row = rows_of(table, "resnet-20")[0]
    assert row["others"] == Shown("7.84 to 8.74 (7)", (7.84, 8.74, 7))
    assert rows_of(table, "resnet-1202")[0].get("others") is None
    assert "others_lowest" in render_table(table, "csv").splitlines()[0]
    assert "others" not in render_table(table6(filled), "csv").splitlines()[0]


def test_sources_say_what_they_report_and_where() -> None:
    text = render_table(others_table(["resnet-20", "resnet-110"]), "text")
    assert "8.51 ± 0.22" in text
    assert "https://github.com/nabla0001/resnet" in text
    assert "best on test" in text
    assert "chenyaofo" not in render_table(others_table(["resnet-110"]), "text")


def test_costs_are_counted_without_results(bench: Bench) -> None:
    table = made(bench, "table1")
    row = next(row for row in table.rows if row["network"] == "resnet-18-a")
    assert row["parameters"] == 11_515_688
    assert row["paper_flops"] == 1.8e9
    assert row["agrees"] == "yes"
    text = render_table(table, "text", 100)
    assert "11,515,688" in text
    assert "1.795" in text


def test_of_a_preset_are_runs_with_changes_to_it_as_well(command: Any, bench: Bench) -> None:
    bench.add("resnet-20", 15.0, preset="short", recipe={"batch_size": 64})
    where = ("--results", bench.store.root)
    assert "custom [1]" in command("table", "table6", "--preset", "short", *where).out
    assert "custom" not in command("table", "table6", "--preset", "paper", *where).out
    assert command("plot", "fig6", "--preset", "short", "--format", "svg", *where).code == 0


def test_what_is_run_at_another_preset_alone_is_missing_at_this_one(bench: Bench) -> None:
    for network in ("resnet-20", "resnet-32", "resnet-56"):
        bench.add(network)
    bench.add("resnet-44", preset="short")
    assert made(bench, "table6").notes[-1] == (
        "Missing at the paper preset, CIFAR-10: 7 of 10 runs: "
        "ResNet-44, ResNet-110 (seeds 0, 1, 2, 3, 4), ResNet-1202. To do so: "
        "resnet-repro run table6 --networks resnet-44,resnet-110,resnet-1202"
    )


def test_what_is_missing_is_of_a_preset_where_most_runs_are_of_another_recipe(bench: Bench) -> None:
    for network in ("resnet-20", "resnet-32", "resnet-44", "resnet-56"):
        bench.add(network, preset="short", recipe={"batch_size": 64})
    bench.add("resnet-20", preset="short")
    assert (
        made(bench, "table6")
        .notes[-1]
        .startswith("Missing at the short preset, CIFAR-10: 5 of 6 runs: ResNet-32, ResNet-44, ")
    )


def test_a_command_names_the_networks_that_were_chosen(bench: Bench) -> None:
    chosen = bench.experiment("table6").choose(Choices(networks=["resnet-110"]))
    notes = make_table(chosen, Results(bench.store)).notes
    assert notes[-1].endswith(": resnet-repro run table6 --networks resnet-110")
    others = bench.experiment("fig6").choose(Choices(preset="demo", networks=["resnet-110"]))
    assert run_command(others) == "resnet-repro run fig6 --preset demo --networks resnet-110"
    assert run_command(bench.experiment("fig6", "demo")) == "resnet-repro run fig6 --preset demo"
    own = load_experiment("fig4").choose(Choices(preset="short", dataset="folder:birds"))
    assert run_command(own) == "resnet-repro run fig4 --preset short --dataset folder:PATH/birds"
    for name in ("table7", "preact-table1", "preact-fig1"):  # have more than any preset trains
        assert run_command(load_experiment(name)) == f"resnet-repro run {name}"


def test_columns_that_are_left_out_are_named_and_go_by_their_rank() -> None:
    columns = (
        *(Column("a", "first"), Column("b", "paper top-5", spare=2)),
        *(Column("c", "ours top-5", spare=2), Column("d", "last", spare=1)),
    )
    table = Table("T", columns, [dict.fromkeys("abcd", "12345678")])
    lines = render_table(table, "text", 40).splitlines()
    assert lines[1].split() == ["first", "last"], "no paper's number without ours beside it"
    assert " ".join(line.strip() for line in lines[4:]) == (
        "Left out for want of room (--format md has all): paper top-5, ours top-5."
    )
    assert "Left out" not in render_table(table, "text", 60)
