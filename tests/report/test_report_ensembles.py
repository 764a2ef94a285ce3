"""Table 5: ensembles of our runs below the paper's."""

from __future__ import annotations

import csv
import io

import pytest
from made_up_results import Bench

from resnet_repro.report.rendering import Row, Table, render_table
from resnet_repro.report.results import Results
from resnet_repro.report.tables import make_table
from resnet_repro.report.tidy import tidy_csv
from resnet_repro.store.run_folder import RunFolder


def table_of(bench: Bench) -> Table:
    return make_table(bench.experiment("table5"), Results(bench.store))


def members(bench: Bench, dataset: str = "imagenet", preset: str = "paper") -> list[RunFolder]:
    return [
        bench.add(
            network,
            25.0,
            seed=seed,
            dataset=dataset,
            preset=preset,  # type: ignore[arg-type]
            evaluations={"multi-scale": (20.0, top5)},
        )
        for network, seed, top5 in (
            ("resnet-50", 0, 5.0),
            ("resnet-152", 0, 4.5),
            ("resnet-152", 1, 4.6),
        )
    ]


def ours(table: Table) -> Row:
    return next(row for row in table.rows if str(row["method"]).startswith("ours"))


def test_an_ensemble_stands_below_the_papers_with_its_members(bench: Bench) -> None:
    bench.add_ensemble(members(bench), 19.0, 4.1)
    table = table_of(bench)
    row = ours(table)
    assert row["method"] == "ours, 3 models"
    assert row["members"] == "ResNet-50, 2 ResNet-152"
    assert (row["ours_top1"], row["ours_top5"]) == (19.0, 4.1)
    assert row["member_top5"] == pytest.approx(4.7)
    assert row["where"] == "paper [1]"
    assert row.get("paper_top5") is None, "the paper's is of the test set"
    assert table.rows[5]["paper_top5"] == 3.57
    assert any("ours are of the validation set" in note for note in table.notes)


def test_a_reduced_ensemble_has_its_own_columns(bench: Bench) -> None:
    found = members(bench, "imagenette", "short")
    bench.add_ensemble(found, 19.0, 4.1, preset="short", dataset="imagenette")
    table = table_of(bench)
    assert ours(table)["reduced_top5"] == 4.1
    assert ours(table).get("ours_top5") is None
    assert table.title.endswith("; ours at reduced scale")
    assert any(note.startswith("[1] REDUCED: short preset") for note in table.notes)


def test_an_ensemble_of_members_that_departed_from_the_protocol_is_not_ours(bench: Bench) -> None:
    run = bench.add("resnet-50", 25.0, dataset="imagenet", processes=16, bn_images=16)
    bench.add_ensemble([run], 20.0, 5.0)
    row = ours(table_of(bench))
    assert (row.get("ours_top5"), row["reduced_top5"]) == (None, 5.0)


def test_an_ensemble_of_another_preset_or_data_set_is_left_out(bench: Bench) -> None:
    reduced = members(bench, "imagenette", "short")
    bench.add_ensemble(reduced, 19.0, 4.1, preset="short", dataset="imagenette")
    store, experiment = bench.store, bench.experiment("table5")
    for choice in (("short", None), (None, "imagenette")):
        assert ours(make_table(experiment, Results(store, *choice)))["reduced_top5"] == 4.1
    for choice in (("paper", None), (None, "imagenet")):
        table = make_table(experiment, Results(store, *choice))
        assert not [row for row in table.rows if str(row["method"]).startswith("ours")]
        assert not [note for note in table.notes if "not in this results folder" in note]
        assert [note for note in table.notes if note.startswith("No results yet")]


def test_an_ensemble_of_weights_that_were_trained_anew_is_none(bench: Bench) -> None:
    found = members(bench)
    bench.add_ensemble(found, 19.0, 4.1, measured="2025-01-02T03:00:00Z")  # they end at 04:04:05
    assert Results(bench.store).ensembles == []
    bench.add_ensemble(found, 19.0, 4.1, measured="2025-01-02T05:00:00Z")
    assert len(Results(bench.store).ensembles) == 1


def test_members_that_are_not_here_are_named(bench: Bench) -> None:
    folder = bench.store.runs_folder / "resnet-50-imagenet-paper-s0-00000000"
    bench.add_ensemble([RunFolder(folder)], 19.0, 4.1)
    table = table_of(bench)
    assert ours(table)["where"] == "paper, ImageNet"
    assert any(folder.name in note for note in table.notes)
    for choice in ((None, "imagenette"), ("short", None)):
        elsewhere = Results(bench.store, *choice)
        assert elsewhere.ensembles == [], "of ImageNet's paper preset, though no run is left out"
    assert len(Results(bench.store, "paper", "imagenet").ensembles) == 1


def test_without_an_ensemble_the_paper_stands_alone_with_the_command(bench: Bench) -> None:
    text = render_table(table_of(bench), "text", 100)
    assert "six models, two of them with 152 layers" in text
    assert "resnet-repro run table5" in text
    assert "ours top-5" not in text


def test_the_tidy_file_names_every_member(bench: Bench) -> None:
    found = members(bench)
    bench.add_ensemble(found, 19.0, 4.1)
    bench.add_ensemble(found[:1], 21.0, 5.1, experiment="mine")
    text = tidy_csv(bench.experiment("table5"), Results(bench.store))
    (row,) = csv.DictReader(io.StringIO(text))
    assert row["runs"].split() == [folder.path.name for folder in found]
    assert (row["models"], row["views"], row["preset"], row["dataset"]) == (
        "3",
        "multi-scale",
        "paper",
        "imagenet",
    )
    assert (row["top1_error"], row["top5_error"], row["images"]) == ("19.0", "4.1", "50000")
