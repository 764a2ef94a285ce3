"""Tables 2 to 4: photographs seen from several views, the paper's numbers never beside others'."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from made_up_results import Bench

from resnet_repro.report.cells import Sample
from resnet_repro.report.figures.figures import draw
from resnet_repro.report.rendering import Row, Table, render_table
from resnet_repro.report.results import Results
from resnet_repro.report.tables import make_table
from resnet_repro.report.tidy import tidy_csv
from resnet_repro.spec.loading import load_experiment

SHORT: dict[str, Any] = {"preset": "short", "dataset": "imagenette"}


def table_of(bench: Bench, name: str) -> Table:
    return make_table(bench.experiment(name), Results(bench.store))


def rows_of(table: Table, network: str) -> list[Row]:
    return [row for row in table.rows if row.get("network") == network]


def test_the_papers_protocol_stands_beside_the_paper_with_mean_std_and_difference(
    bench: Bench,
) -> None:
    for seed, error in enumerate((25.0, 25.5)):
        bench.add(
            "resnet-34-a",
            27.0,
            20.0,
            seed=seed,
            dataset="imagenet",
            evaluations={"10-crop": (error, 7.9), "multi-scale": (1.0, 0.5)},
        )
    (row,) = rows_of(table_of(bench, "table3"), "resnet-34-a")
    assert (row["paper_top1"], row["paper_top5"]) == (25.03, 7.76)
    assert str(row["ours_top1"]) == "25.25 ± 0.35"
    assert str(row["ours_top5"]) == "7.90 ± 0.00"
    assert row["difference"] == pytest.approx(0.22)
    assert (row["centre_top1"], str(row["seeds"]), row["where"]) == (27.0, "2", "paper [1]")
    assert row.get("reduced_top1") is None


def test_reduced_scale_has_columns_of_its_own_and_no_difference_to_the_paper(bench: Bench) -> None:
    bench.add("plain-34", 33.0, 28.0, evaluations={"10-crop": (31.5, 4.2)}, **SHORT)
    table = table_of(bench, "table2")
    (row,) = rows_of(table, "plain-34")
    assert str(row["reduced_top1"]) == "31.50"
    assert row.get("ours_top1") is None
    assert row["difference"] is None
    assert row["where"] == "short [1]"
    assert table.title.endswith("; ours at reduced scale")
    text = render_table(table, "text")
    assert "reduced top-1" in text
    assert "ours top-1" not in text
    assert (
        "[1] REDUCED: short preset (6,000 of 600,000 iterations, crops of 64 instead of 224 "
        "pixels, rate 0.025 instead of 0.1), Imagenette, fp32"
    ) in " ".join(text.split())
    assert "not to be compared with the paper's numbers" in " ".join(text.split())
    assert "Parameters are those of the networks as trained" in " ".join(text.split())


def test_another_data_set_is_a_reduction_even_at_the_paper_preset(bench: Bench) -> None:
    bench.add("plain-34", 33.0, evaluations={"10-crop": (31.5, 4.2)}, dataset="folder:birds")
    table = table_of(bench, "table2")
    assert rows_of(table, "plain-34")[0]["reduced_top1"] == Sample((31.5,))
    assert table.notes[0] == "[1] REDUCED: paper preset, folder birds, fp32"


def test_both_scales_of_one_network_are_two_rows(bench: Bench) -> None:
    bench.add("plain-34", 30.0, dataset="imagenet", evaluations={"10-crop": (28.4, 10.0)})
    bench.add("plain-34", 33.0, evaluations={"10-crop": (31.5, 4.2)}, **SHORT)
    full, reduced = rows_of(table_of(bench, "table2"), "plain-34")
    assert (full["ours_top1"], reduced["reduced_top1"]) == (Sample((28.4,)), Sample((31.5,)))
    assert not table_of(bench, "table2").title.endswith("reduced scale")


def test_table_3_has_the_papers_rows_in_order_and_table_4_its_own_views(bench: Bench) -> None:
    evaluations: Any = {"10-crop": (24.5, 7.5), "multi-scale": (21.9, 5.8)}
    bench.add("resnet-34-b", 26.0, dataset="imagenet", evaluations=evaluations)
    third = [row["method"] for row in table_of(bench, "table3").rows]
    assert third[:5] == ["VGG-16", "GoogLeNet", "PReLU-net", "plain-34", "ResNet-34 A"]
    assert third[-1] == "ResNet-152"
    table4 = table_of(bench, "table4")
    assert rows_of(table4, "resnet-34-b")[0]["ours_top1"] == Sample((21.9,))
    assert "VGG (ILSVRC'14) (on the test set)" in [row["method"] for row in table4.rows]


def test_what_is_trained_but_not_measured_is_named_with_the_command(bench: Bench) -> None:
    bench.add("plain-18", 30.0, **SHORT, evaluations={"10-crop": (29.0, 4.0)})
    bench.add("resnet-18-a", 30.0, **SHORT)
    table = table_of(bench, "table2")
    (row,) = rows_of(table, "resnet-18-a")
    assert str(row["seeds"]) == "0 of 1"
    command = "To do so: resnet-repro run table2 --preset short --dataset imagenette --networks"
    assert table.notes[-2:] == [
        "Missing at the short preset, Imagenette: 2 of 4 runs: plain-34, ResNet-34 A. "
        f"{command} plain-34,resnet-34-a",
        "Missing at the short preset, Imagenette: 10-crop errors of ResNet-18 A. "
        f"{command} resnet-18-a",
    ]


def test_all_errors_of_a_row_are_of_the_seeds_that_were_tested_on_its_views(bench: Bench) -> None:
    bench.add("plain-18", 40.0, 30.0, evaluations={"10-crop": (38.0, 4.0)}, **SHORT)
    for seed, error in enumerate((60.0, 62.0), start=1):
        bench.add("plain-18", error, 50.0, seed=seed, **SHORT)
    (row,) = rows_of(table_of(bench, "table2"), "plain-18")
    assert (str(row["seeds"]), row["reduced_top1"]) == ("1 of 3", Sample((38.0,)))
    assert (row["centre_top1"], row["train_error"]) == (40.0, 30.0)


def test_an_evaluation_on_other_data_than_the_runs_own_does_not_count(bench: Bench) -> None:
    folder = bench.add("plain-18", 30.0, evaluations={"10-crop": (29.0, 4.0)}, **SHORT)
    text = folder.evaluations.read_text(encoding="utf-8")
    folder.evaluations.write_text(text.replace("0" * 64, "e" * 64), encoding="utf-8")
    assert rows_of(table_of(bench, "table2"), "plain-18")[0]["reduced_top1"] == Sample(())


def test_others_weights_have_their_own_columns(bench: Bench) -> None:
    bench.add_weights("vgg-16", {"10-crop": (28.1, 9.3), "centre": (29.0, 10.0)})
    bench.add_weights("resnet-50-v1.5", {"10-crop": (22.1, 6.3)}, weights_sha256="cd" * 32)
    bench.add_weights("resnet-101", {"centre": (22.1, 6.3)})
    table = table_of(bench, "table3")
    (vgg,) = rows_of(table, "vgg-16")
    assert (vgg["paper_top1"], vgg["weights_top1"], vgg["weights_top5"]) == (28.07, 28.1, 9.3)
    assert vgg["where"] == "weights abababab"
    assert [row["method"] for row in table.rows].index("ResNet-50 v1.5") == 8
    (other,) = rows_of(table, "resnet-50-v1.5")
    assert other["weights_top1"] == 22.1
    assert other.get("paper_top1") is None, "the paper's number is of another network"
    assert "weights abababab: weights.pth on ImageNet" in table.notes
    assert rows_of(table, "resnet-101")[0].get("weights_top1") is None, "only the centre crop"


def test_it_is_said_how_others_weights_were_used(bench: Bench) -> None:
    used = {"precision": "bf16", "input": "0 to 1; crop 288", "notes": ("which is easier",)}
    bench.add_weights("resnet-50-v1.5", {"10-crop": (22.1, 6.3)}, **used)
    said = "weights abababab: weights.pth on ImageNet; bf16; 0 to 1; crop 288; which is easier"
    assert said in table_of(bench, "table3").notes
    assert said in bench.report()
    text = tidy_csv(load_experiment("table3"), Results(bench.store))
    assert [row["precision"] for row in csv.DictReader(io.StringIO(text))] == ["bf16"]


def test_others_weights_tested_on_another_data_set_are_left_out(bench: Bench) -> None:
    bench.add_weights("vgg-16", {"10-crop": (28.1, 9.3)})
    bench.add_weights("vgg-16", {"10-crop": (11.1, 1.3)}, dataset="imagenette")
    for dataset, error in (("imagenet", 28.1), ("imagenette", 11.1)):
        only = Results(bench.store, None, dataset)
        (row,) = rows_of(make_table(load_experiment("table3"), only), "vgg-16")
        assert row["weights_top1"] == error


def test_without_results_the_paper_stands_alone_with_the_command(bench: Bench) -> None:
    text = render_table(table_of(bench, "table3"), "text", 80)
    assert "28.07" in text
    assert "resnet-repro run table3" in text
    assert "--dataset" not in text, "the experiment is on ImageNet already"
    assert "ours" not in text


@pytest.mark.parametrize("form", ["text", "md", "csv", "latex"])
def test_every_format_has_the_numbers(bench: Bench, form: Any) -> None:
    bench.add("plain-34", 33.0, evaluations={"10-crop": (31.53, 4.2)}, **SHORT)
    bench.add_weights("vgg-16", {"10-crop": (28.14, 9.3)})
    text = render_table(table_of(bench, "table3"), form)
    for number in ("28.07", "31.53", "28.14"):
        assert number in text
    if form == "csv":
        rows = {row["network"]: row for row in csv.DictReader(io.StringIO(text)) if row["network"]}
        assert rows["plain-34"]["reduced_top1"] == "31.53"
        assert rows["plain-34"]["views"] == "10-crop"
        assert rows["plain-34"]["ours_top1"] == ""


def test_a_runs_own_configuration_shows_its_centre_crop(bench: Bench) -> None:
    folder = bench.add("plain-34", 33.0, 28.0, **SHORT)
    experiment = load_experiment(str(folder.config))
    table = make_table(experiment, Results(bench.store))
    (row,) = table.rows
    assert (row["reduced_top1"], row["reduced_top5"]) == (Sample((33.0,)), Sample(()))
    assert [picture.name for picture in draw(experiment, Results(bench.store))]


def test_a_copy_with_a_recipe_of_its_own_shows_what_its_csv_has(
    bench: Bench, tmp_path: Path
) -> None:
    (tmp_path / "mine.yaml").write_text(
        "name: mine\ntitle: Mine\ndataset: imagenet\nrecipe: {weight_decay: 0.0005}\n"
        "runs: [{networks: [resnet-18-a]}]\nmeasure: [10-crop]\n"
        "table: {kind: views, views: 10-crop}\n",
        encoding="utf-8",
    )
    bench.add("resnet-18-a", 30.0, evaluations={"10-crop": (29.0, 4.0)}, **SHORT)
    own: Any = {"recipe": {"weight_decay": 0.0005}, **SHORT}
    bench.add("resnet-18-a", 30.0, evaluations={"10-crop": (28.0, 3.0)}, **own)
    experiment, results = load_experiment(str(tmp_path / "mine.yaml")), Results(bench.store)
    rows = rows_of(make_table(experiment, results), "resnet-18-a")
    lines = csv.DictReader(io.StringIO(tidy_csv(experiment, results)))
    assert [str(row["reduced_top1"]) for row in rows] == ["28.00"]
    assert [line["top1_error"] for line in lines if line["views"] == "10-crop"] == ["28.0"]


def test_tidy_has_every_number_with_run_seed_preset_data_and_views(bench: Bench) -> None:
    evaluations: Any = {"centre": (32.9, 5.0), "10-crop": (31.5, 4.2)}
    one = bench.add("plain-34", 33.0, 28.0, evaluations=evaluations, processes=2, **SHORT)
    bench.add("resnet-34-a", 30.0, 25.0, seed=3, **SHORT)
    bench.add("resnet-34-b", seed=1, state="failed", **SHORT)
    bench.add_weights("vgg-16", {"10-crop": (28.1, 9.3), "multi-scale": (1.0, 1.0)})
    text = tidy_csv(bench.experiment("table3"), Results(bench.store))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["network"], row["views"], row["top1_error"]) for row in rows] == [
        ("plain-34", "centre", "32.9"),
        ("plain-34", "10-crop", "31.5"),
        ("resnet-34-a", "centre", "30.0"),
        ("resnet-34-a", "10-crop", ""),
        ("resnet-34-b", "centre", ""),
        ("resnet-34-b", "10-crop", ""),
        ("vgg-16", "10-crop", "28.1"),
    ]
    ten = rows[1]
    assert ten["run"] == one.path.name
    assert (ten["seed"], ten["preset"], ten["dataset"]) == ("0", "short", "imagenette")
    assert (ten["crop"], ten["bn"], ten["processes"]) == ("64", "average", "2")
    assert ten["paper_top1_error"] == "28.54"
    assert rows[0]["paper_top1_error"] == "", "the paper's number is of ten crops"
    assert ten["protocol"].startswith("REDUCED: short preset (6,000 of 600,000")
    assert rows[-1]["weights"] == "ab" * 32


def test_a_batch_split_over_processes_is_another_group(bench: Bench) -> None:
    """BN saw other statistics, so the numbers are never averaged together."""
    bench.add("plain-34", 33.0, evaluations={"10-crop": (31.5, 4.2)}, **SHORT)
    bench.add("plain-34", 33.0, seed=1, bn_images=32, processes=2, **SHORT)
    notes = table_of(bench, "table2").notes
    assert "BN over 32 images" not in notes[0]
    assert "BN over 32 images" in notes[1]
