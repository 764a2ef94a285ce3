"""Networks drawn and tabulated from what they are: Fig. 2, 3, 5, depth, and `network:NAME`."""

from __future__ import annotations

import csv
import io
import shlex
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from made_up_results import Bench
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch
from typer.testing import CliRunner

from resnet_repro.base.errors import ReproError, StoreError
from resnet_repro.cli import app
from resnet_repro.networks.outline import folded, outline
from resnet_repro.paper.facts import load_competitions
from resnet_repro.report.figures.drawing import blocks_figure, columns_figure, details_figure
from resnet_repro.report.figures.figures import build
from resnet_repro.report.figures.shapes import HEIGHT, text_height
from resnet_repro.report.results import Results
from resnet_repro.spec.loading import load_experiment
from resnet_repro.store.store import Store


def boxed(figure: Figure) -> list[FancyBboxPatch]:
    return [patch for patch in figure.axes[0].patches if isinstance(patch, FancyBboxPatch)]


def boxes(figure: Figure) -> int:
    return len(boxed(figure))


def curves(figure: Figure) -> list[bool]:
    """Whether each shortcut is dotted, from top to bottom."""
    found = [patch for patch in figure.axes[0].patches if isinstance(patch, PathPatch)]
    return [patch.get_linestyle() != "solid" for patch in found]


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


@pytest.mark.parametrize(
    "argv",
    [
        ("run", "table1"),
        ("table", "table1"),
        ("table", "googlenet"),
        ("table", "network:preact-110"),
        ("plot", "fig2", "fig5", "preact-fig2", "network:resnet-20"),
    ],
)
def test_what_needs_no_run_reads_none(
    command: Any, monkeypatch: pytest.MonkeyPatch, argv: tuple[str, ...]
) -> None:
    def unread(store: Store) -> Any:
        raise StoreError("stored runs are read")

    monkeypatch.setattr(Store, "all_runs", unread)
    answer = command(*argv)
    assert (answer.code, answer.err) == (0, "")
    assert command("table", "table6").err == "resnet-repro: stored runs are read\n"


def test_what_needs_no_run_is_told_so_with_a_command_that_works(
    command: Any, tmp_path: Path
) -> None:
    mine = tmp_path / "my own.yaml"
    mine.write_text(command("show", "fig2").out.replace("name: fig2", "name: mine"), "utf-8")
    for name in ("fig2", "network:resnet-20", "my own.yaml"):
        told = command("run", name).out
        _, _, advice = told.strip().partition(" needs no run: resnet-repro ")
        assert command(*shlex.split(advice)).code == 0, told
        assert command("status", name).out == f"{name} needs no run\n"


def test_a_shortcut_leaves_below_where_the_one_before_it_is_added() -> None:
    figure = columns_figure(["resnet-20"])
    found = [patch for patch in figure.axes[0].patches if isinstance(patch, PathPatch)]
    ends = [[y for _, y in patch.get_path().vertices[[0, -1]]] for patch in found]
    assert len(ends) == 9
    assert all(before[1] > after[0] for before, after in pairwise(ends))


def test_neither_table_nor_figure_is_told_and_commands_quote_paths(
    command: Any, tmp_path: Path
) -> None:
    networks = "runs:\n  - networks: [resnet-8]\n"
    for name, more in {
        "runs": networks,
        "nothing": "",
        "a table": networks + "table: {kind: errors}\n",
        "a figure": networks + "plot: {kind: curves, panels: [{networks: [resnet-8]}]}\n",
    }.items():
        text = f"name: mine\ntitle: t\ndataset: cifar10\n{more}"
        (tmp_path / f"{name}.yaml").write_text(text, "utf-8")
    for name in ("runs.yaml", "nothing.yaml"):
        for verb in ("table", "plot"):
            code, _, err = command(verb, name)
            assert (code, err) == (2, "resnet-repro: mine has neither table nor figure\n")
    assert command("run", "nothing.yaml").out == "mine has no runs, no table and no figure\n"
    told = "mine is a table: resnet-repro table 'a table.yaml'"
    assert told in command("plot", "a table.yaml")[2]
    assert f"{told} --results r" in command("plot", "a table.yaml", "--results", "r")[2]
    told = "a figure: resnet-repro plot 'a figure.yaml'"
    assert told in command("table", "a figure.yaml")[2]
    assert f"{told} --results r" in command("table", "a figure.yaml", "--results", "r")[2]
    told = command("run", "fig2", "--results", "r").out
    assert told == "fig2 needs no run: resnet-repro plot fig2 --results r\n"


def test_fig_3_has_a_box_a_layer_and_dots_the_shortcuts_that_change_dimensions() -> None:
    networks = ("vgg-19", "plain-34", "resnet-34-a")
    figure = columns_figure(networks)
    assert boxes(figure) == sum(len(outline(network).layers) for network in networks)
    assert [number for number, dotted in enumerate(curves(figure)) if dotted] == [3, 7, 13]
    assert len(curves(figure)) == 16
    words = texts(figure)
    assert {"VGG-19", "34-layer plain", "34-layer residual", "19.6e9 multiply-adds"} <= set(words)
    assert words.count("3x3 conv, 256") == 4 + 11 + 11
    sizes = [word.removeprefix("output\nsize: ") for word in words if word.startswith("output")]
    assert sizes == ["224", "112", "56", "28", "14", "7", "1"]


def test_blocks_are_those_of_fig_5_and_fig_2() -> None:
    words = texts(blocks_figure(["resnet-34-a", "resnet-50"]))
    layers = [word for word in words if ", " in word]
    assert layers == ["3x3, 64", "3x3, 64", "1x1, 64", "3x3, 64", "1x1, 256"]
    assert {"64-d", "256-d"} <= set(words)
    assert words.count("relu") == 2 + 3
    idea = texts(blocks_figure(["resnet-34-a"], named=False))
    assert idea.count("weight layer") == 2
    assert {"x", "F(x)", "F(x) + x", "x\nidentity"} <= set(idea)
    with pytest.raises(ReproError, match="no block with an identity shortcut"):
        blocks_figure(["plain-34"])


@pytest.mark.parametrize(
    "network",
    ["resnet-50", "resnet-34-c", "resnet-20-b", "preact-164", "resnet-110-exclusive-gate"],
)
def test_the_rows_of_a_network_add_up_to_it(network: str) -> None:
    """Those of shortcuts too: a row counts as often as its block is repeated."""
    figure = details_figure(network)
    whole, rows = outline(network), folded(outline(network))
    times = {row: count for first, last, count in rows.repeats for row in range(first, last + 1)}
    heights = sorted({patch.get_bbox().y0 + HEIGHT / 2 for patch in boxed(figure)}, reverse=True)
    ends = {
        words.get_position()[0]: words.get_text()
        for words in figure.axes[0].texts
        if words.get_text() in ("parameters", "multiply-adds") and words.get_position()[1] == 0
    }
    sums = dict.fromkeys(ends.values(), 0)
    for words in figure.axes[0].texts:
        x, y = words.get_position()
        if x in ends and words.get_text() not in ("", ends[x]):
            (row,) = (n for n, at in enumerate(heights) if text_height(at) == pytest.approx(y))
            sums[ends[x]] += times.get(row, 1) * int(words.get_text().replace(",", ""))
    assert sums == {"parameters": whole.parameters, "multiply-adds": whole.multiply_adds}


def test_what_is_on_a_shortcut_is_written_beside_it() -> None:
    assert texts(columns_figure(["resnet-20-b"])).count("1x1 conv") == 2
    assert texts(columns_figure(["resnet-20-c"])).count("1x1 conv") == 9
    assert texts(columns_figure(["resnet-20-shortcut-gate"])).count("gate") == 9
    assert "1x1 conv" not in texts(columns_figure(["resnet-20"]))


def test_titles_tell_networks_apart() -> None:
    names = (
        *("plain-18", "resnet-18-a", "resnet-18-b", "resnet-18-c", "plain-50", "plain-50-cifar"),
        *("resnet-50", "resnet-50-a", "resnet-50-v1.5", "resnet-50-cifar"),
    )
    titles = [outline(network).title for network in names]
    assert titles[:2] == ["18-layer plain", "18-layer residual"]
    assert len(set(titles)) == len(names)


def test_a_projection_on_every_shortcut_is_drawn() -> None:
    """None of its blocks has an identity shortcut, as `idea` would write."""
    for named in (True, False):
        words = texts(blocks_figure(["resnet-34-c"], named=named))
        assert "1x1 conv" in words
        assert not {"x\nidentity", "F(x) + x"} & set(words)


def test_a_deep_network_is_folded_and_has_its_costs_beside_it() -> None:
    words = texts(details_figure("resnet-110"))
    assert [word for word in words if word.endswith("×")] == ["18×", "17×", "17×"]
    assert any("1,727,962 parameters" in word for word in words)


@pytest.mark.parametrize(
    ("name", "form"),
    [
        *((name, "svg") for name in ("fig2", "fig3", "fig5", "depth", "network:resnet-50-v1.5")),
        *(("fig3", "png"), ("fig5", "pdf")),
    ],
)
def test_they_are_drawn_without_results(name: str, form: str, tmp_path: Path) -> None:
    command = ["plot", name, "--format", form, "--results", str(tmp_path)]
    assert CliRunner().invoke(app, command).exit_code == 0
    (figure,) = (tmp_path / "figures").iterdir()
    assert figure.name == f"{name.replace(':', '-').replace('.', '-')}.{form}"
    assert figure.stat().st_size > 5_000


def test_googlenet_beside_its_own_paper(tmp_path: Path) -> None:
    """Printed sums are 6.8M and 1.5e9; three rows have slips in print."""
    command = ["table", "googlenet", "--format", "csv", "--results", str(tmp_path)]
    rows = list(csv.DictReader(io.StringIO(CliRunner().invoke(app, command).stdout)))
    assert {row["layer"]: row["slip"] for row in rows if row["slip"]} == {
        "7x7 convolution": "both",
        "inception 4c": "parameters",
        "inception 5a": "multiply-adds",
    }
    assert list(rows[-1].values())[1:-1] == [
        *("6998552", "6797700.0"),
        *("1582671872", "1502000000.0"),
    ]
    for row in rows[:-1]:
        off = int(row["parameters"]) / float(row["printed_parameters"]) - 1
        assert abs(off) < 0.05 or row["slip"] in ("both", "parameters")
    seven = 2 * 7 * 3 * 64  # what explains the first row
    assert (round(seven, -2), round(seven * 112**2, -6)) == (2_700, 34_000_000)


def test_layers_as_a_table(tmp_path: Path) -> None:
    command = ["table", "network:resnet-20-b", "--format", "csv", "--results", str(tmp_path)]
    header, *lines = CliRunner().invoke(app, command).stdout.splitlines()
    assert header == "layer,kind,output,parameters,multiply_adds,share"
    assert len(lines) == 20 + 2  # the projections of option B come last
    assert lines[-1].startswith('layer3.0.downsample.0,"1x1 conv, 64, /2",64x8x8,2176,131072,')
    assert round(sum(float(line.rpartition(",")[2]) for line in lines), 3) == 100


@pytest.mark.parametrize("network", ["resnet-21", "nonsense", "densenet-121"])
def test_what_cannot_be_drawn_is_said_in_a_line(network: str, tmp_path: Path) -> None:
    with pytest.raises(ReproError, match=network):
        CliRunner().invoke(
            app,
            ["plot", f"network:{network}", "--results", str(tmp_path)],
            catch_exceptions=False,
        )


def test_what_was_trained_here_stands_apart_from_the_competitions(bench: Bench) -> None:
    """Each protocol has an axis of its own; a reduced one is marked, and has top-1 errors."""
    for seed, top5 in enumerate((6.0, 7.0)):
        folder = bench.add(
            "resnet-50", 23.0, seed=seed, dataset="imagenet", evaluations={"10-crop": (22.0, top5)}
        )
    bench.add("plain-18", dataset="imagenet", evaluations={"centre": (30.0, 12.0)})
    bench.add(
        *("resnet-18-a", 41.0),
        preset="short",
        dataset="imagenette",
        evaluations={"10-crop": (40.0, 4.0)},
    )
    bench.add_ensemble([folder], 20.0, 5.1)
    figure = build(load_experiment("depth"), Results(bench.store), None)
    ours, reduced = figure.axes[len(load_competitions()) :]
    assert ours.get_title("left") == "Trained here: top-5 error on ImageNet"
    heights = [bar.get_height() for bar in ours.patches]
    assert heights == [6.5, 5.1], "the mean over seeds, then the ensemble"
    assert "6.50 ± 0.71\n50 layers" in [text.get_text() for text in ours.texts]
    title = reduced.get_title("left")
    assert title == "Trained here, REDUCED: top-1 error on Imagenette"
    assert [bar.get_height() for bar in reduced.patches] == [40.0]
    words = " ".join(text.get_text() for text in figure.texts)
    assert "REDUCED: short preset (6,000 of 600,000 iterations" in words
    assert "Not to be compared with the numbers above" in words


def test_competitions_have_their_sources_and_caveats() -> None:
    for competition in load_competitions():
        assert competition.source
        assert competition.caveats
    assert [entry.depth for entry in load_competitions()[0].entries][-3:] == [19, 22, 152]
