"""Average precision beside the paper's where a run follows its protocol, and the pictures."""

from __future__ import annotations

import io
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_up_origin import ORIGIN, provenance_of, summary_of
from made_up_results import Bench
from matplotlib.backends.backend_agg import FigureCanvasAgg

from resnet_repro.base.errors import ConfigError, ReproError
from resnet_repro.data.npz import write_npz
from resnet_repro.paper.claims import load_claims
from resnet_repro.report.cells import Cell
from resnet_repro.report.claims.judging import _concerns, judge
from resnet_repro.report.claims.quantities import TOGETHER
from resnet_repro.report.figures.detections import draw
from resnet_repro.report.gaps import gaps_of
from resnet_repro.report.groups import Group
from resnet_repro.report.rendering import render_table
from resnet_repro.report.results import Results
from resnet_repro.report.tables import make_table
from resnet_repro.spec.experiment import Choices
from resnet_repro.spec.loading import load_experiment
from resnet_repro.spec.measurements import PrecisionRow
from resnet_repro.spec.run import Run
from resnet_repro.store.models import BackboneRecord
from resnet_repro.store.store import Store

NETWORK = "faster-rcnn-resnet-101"
FAITHFUL = Group(
    family="detection",
    base="paper",
    changes=(),
    iterations=80_000,
    side=600,
    dataset="voc07+12",
    official=True,
    sha256="",
    precision="fp32",
    pretraining="imagenet-paper",
)


@pytest.fixture
def results(tmp_path: Path) -> Results:
    """A detector of the paper's protocol on VOC, and one on COCO, tested on two classes."""
    coco = replace(FAITHFUL, dataset="coco", iterations=320_000)
    found = Results(Store(tmp_path))
    found._cells = [_cell("a", FAITHFUL), _cell("b", coco)]
    found.backbone_errors = pd.Series({"a": 23.6, "b": 23.9})
    found._frames["average_precision"] = pd.DataFrame(
        {
            "run": ["a", "a", "b", "b"],
            "class_name": ["cat", "dog", "cat", "dog"],
            "ap_11point": [80.0, 70.0, 60.0, 50.0],
            "ap_area": [84.0, 72.0, 64.0, 52.0],
            "coco_ap50": [81.0, 71.0, 48.0, 46.0],
            "coco_ap": [51.0, 41.0, 28.0, 26.0],
            "objects": [358, 489, 200, 210],
            "images": [4_952, 4_952, 40_504, 40_504],
        }
    )
    return found


def _cell(run: str, group: Group) -> Cell:
    whole = SimpleNamespace(recipe=SimpleNamespace(micro_batch_size=None))
    summary = SimpleNamespace(parameters=47_000_000, seed=0)
    done: Any = SimpleNamespace(id=run, run=whole, summary=summary)
    return Cell(NETWORK, group, done=(done,), failed=(), unfinished=())


@pytest.mark.parametrize(
    ("table", "row", "first", "second"),
    [
        ("table7", "ResNet-101", 75.0, 78.0),
        ("table8", "ResNet-101", 47.0, 27.0),
        ("table10", "cat", 80.0, 84.0),
    ],
)
def test_both_forms_stand_beside_the_papers(
    results: Results, table: str, row: str, first: float, second: float
) -> None:
    """Those on the table's data alone: PASCAL VOC and COCO are compared with their own numbers."""
    data = csv_frame(results, table)
    (ours,) = (line for _, line in data.iterrows() if row in line.tolist())
    assert (ours.ours, ours.ours_too) == (first, second)


def csv_frame(results: Results, table: str, **choices: Any) -> pd.DataFrame:
    """A table of detectors as pandas reads it."""
    made = make_table(load_experiment(table, choices=Choices(**choices)), results)
    return pd.read_csv(io.StringIO(render_table(made, "csv")))


def test_chosen_by_hand_coco_has_columns_of_its_own(results: Results) -> None:
    """The numbers of Table 7 are PASCAL VOC's."""
    results._cells = results._cells[1:]
    data = csv_frame(results, "table7", dataset="coco")
    assert data.network.tolist() == [f"faster-rcnn-{n}" for n in ("vgg-16", *["resnet-101"] * 2)]
    assert data.paper_voc07.tolist()[:2] == [73.2, 76.4]
    assert data.ours.isna().all()
    assert data.reduced.isna().tolist() == [True, True, False]
    assert (data.reduced[2], data.dataset[2]) == (55.0, "coco")
    assert data.filter(like="paper_").iloc[2].isna().all()


@pytest.fixture(params=["table7", "table8", "table10"])
def reduced(request: pytest.FixtureRequest, results: Results) -> str:
    """A table whose only results are reduced ones."""
    dataset = "coco" if request.param == "table8" else "voc07+12"
    group = replace(FAITHFUL, base="short", iterations=4_000, dataset=dataset)
    results._cells = [_cell("a", group)]
    return str(request.param)


PRINTED = {"table7": "76.4", "table8": "48.4", "table10": "89.8"}
MEASURED = {"table7": "75.0", "table8": "76.0", "table10": "80.0"}


@pytest.mark.parametrize("form", ["text", "md", "latex"])
def test_reduced_results_never_share_a_table_with_the_papers(
    results: Results, reduced: str, form: Any
) -> None:
    text = render_table(make_table(load_experiment(reduced), results), form)
    start = text.index("reduced mAP" if reduced == "table7" else "reduced A")
    above, below = text[:start], text[start:]
    assert PRINTED[reduced] in above
    assert PRINTED[reduced] not in below
    assert MEASURED[reduced] in below
    assert MEASURED[reduced] not in above


def test_in_csv_reduced_results_are_rows_and_columns_of_the_same_table(
    results: Results, reduced: str
) -> None:
    """pandas reads it all, and no number of ours is below one of the paper's."""
    data = csv_frame(results, reduced)
    ours, papers = data[data.reduced.notna()], data[data.reduced.isna()]
    assert float(MEASURED[reduced]) in ours.reduced.tolist()
    assert ours.filter(like="paper_").isna().all(axis=None)
    assert float(PRINTED[reduced]) in papers.filter(like="paper_").to_numpy()
    assert papers.preset.isna().all()
    assert set(ours.preset) == {"short"}


@pytest.mark.parametrize("form", ["text", "md", "csv", "latex"])
@pytest.mark.parametrize("table", ["table7", "table10"])
def test_a_reduced_detector_that_has_only_begun_has_a_row(
    bench: Bench, table: str, form: Any
) -> None:
    bench.add("faster-rcnn-resnet-18-a", dataset="scenes", preset="demo", state="stopped")
    text = render_table(make_table(load_experiment(table), Results(bench.store)), form)
    rows = [line for line in text.splitlines() if "ResNet-18 A" in line and "demo" in line]
    assert len(rows) == 1


def test_only_the_items_data_are_missing(results: Results) -> None:
    """Table 8 is not wanted on PASCAL VOC, nor Table 7 on COCO."""
    results.numbers = {cell.group: n for n, cell in enumerate(results._cells, start=1)}
    for table, dataset in (("table7", "PASCAL VOC 07+12"), ("table8", "COCO 2014")):
        (gap,) = gaps_of(load_experiment(table), results)
        assert gap.where == f"paper preset, {dataset}"


def test_years_that_the_paper_has_not_are_in_the_tables_of_their_own_benchmark(
    bench: Bench,
) -> None:
    for number, dataset in enumerate(("voc07", "coco2017")):
        bench.add("faster-rcnn-resnet-18-a", seed=number, dataset=dataset, preset="demo")
    for name, shown in (("table7", {"voc07"}), ("table8", {"coco2017"}), ("table10", {"voc07"})):
        cells = Results(bench.store).cells_of(load_experiment(name))
        assert {cell.group.dataset for cell in cells} == shown
    demo = Results(bench.store).cells_of(bench.experiment("table8", "demo"))
    assert {cell.group.dataset for cell in demo} == {"coco2017"}
    assert "coco2017" not in {
        group.dataset
        for claim in load_claims()
        for group in Results(bench.store).numbers
        if claim.dataset == "voc07+12" and _concerns(claim, group)
    }


def test_a_folder_in_vocs_layout_is_not_cocos(bench: Bench) -> None:
    bench.add("faster-rcnn-resnet-18-a", dataset="voc:five", preset="demo")
    results = Results(bench.store)
    (gap,) = gaps_of(load_experiment("table8"), results)
    assert gap.where == "paper preset, COCO 2014"
    for table, rows in (("table7", 1), ("table10", 1), ("table8", 0)):
        text = render_table(make_table(load_experiment(table), Results(bench.store)), "csv")
        assert text.count("voc:five") == rows
    with pytest.raises(ConfigError, match="table8 is about COCO; a folder in VOC's layout goes"):
        load_experiment("table8").choose(Choices(preset="short", dataset="voc:five"))


@pytest.mark.parametrize(("batch_norm", "stages", "told"), [("frozen", 2, 0), ("trained", 0, 1)])
def test_what_frozen_batch_normalisation_saw_is_not_told(
    bench: Bench, batch_norm: str, stages: int, told: int
) -> None:
    """Earlier versions recorded two images."""
    settings = {"batch_norm": batch_norm, "frozen_stages": stages, "backbone": {"run": "a-run"}}
    recipe = {"detection": settings}
    bench.add("faster-rcnn-plain-18", dataset="voc:five", recipe=recipe, bn_images=2)
    assert bench.report().count("batch normalisation over 2 images") == told


def test_what_frozen_batch_normalisation_saw_tells_no_seeds_apart(bench: Bench) -> None:
    recipe = {"batch_size": 16, "detection": {"backbone": {"run": "a-run"}}}
    for seed, recorded in enumerate((2, None)):
        made: Any = {"recipe": recipe, "seed": seed, "bn_images": recorded}
        bench.add("faster-rcnn-plain-18", dataset="voc:five", **made)
    assert len(Results(bench.store).numbers) == 1


def test_a_reduced_table_says_what_its_numbers_are_of(bench: Bench) -> None:
    folder = bench.add("faster-rcnn-plain-18", dataset="voc:five", preset="demo", official=False)
    rows = [PrecisionRow(name, 9.0, 8.0, 3, 5, 1_239, "0" * 64) for name in ("cat", "dog")]
    rows += [PrecisionRow("cow", None, None, 0, 5, 1_239, "0" * 64)]  # no test image has one
    folder.write_measured("average_precision", rows, ORIGIN)
    for table in ("table7", "table10"):
        text = render_table(make_table(load_experiment(table), Results(bench.store)), "md")
        _, below = text.split("at reduced scale")
        for said in ("an overlap of 0.5", "[1] is over 2 classes and 1,239 test images", "higher"):
            assert said in below
        assert "folder five in VOC's layout, " in below
        assert "unofficial" not in below


def test_a_detector_that_is_trained_but_not_measured_is_named_with_the_command(
    bench: Bench,
) -> None:
    networks = [f"faster-rcnn-{name}" for name in ("plain-18", "resnet-18-a")]
    made = {"dataset": "scenes", "preset": "demo"}
    measured, _ = (bench.add(network, **made) for network in networks)  # type: ignore[arg-type]
    rows = [PrecisionRow("cat", 9.0, 8.0, 3, 5, 100, "0" * 64)]
    measured.write_measured("average_precision", rows, ORIGIN)
    table = make_table(load_experiment("table7"), Results(bench.store))
    (note,) = (note for note in table.notes if "average precision" in note and "To do" in note)
    assert "of Faster R-CNN with ResNet-18 A. " in note
    assert "resnet-repro run table7 --preset demo" in note


def test_a_missing_backbone_is_trained_with_its_detector() -> None:
    """The backbones are not among the networks that `--networks` knows."""
    experiment = load_experiment("table8")
    first, detector, *others = experiment.choose(Choices()).resolve()
    assert detector.recipe.starts_from == first.id

    def gaps(*lacking: Run) -> list[tuple[str, str]]:
        done = {first, detector, *others} - set(lacking)
        summary = SimpleNamespace(state="done")
        bare: Any = {"finished": True, "summary": summary, "has": lambda _: False, "origins": {}}
        stored = [SimpleNamespace(run=run, **bare) for run in done]
        results: Any = SimpleNamespace(
            store=Store(Path("results")),
            option="",
            numbers={},
            ensembles=[],
            every_begun=stored,
            finished={s.run.id: s for s in stored},
        )
        return [(gap.what, gap.command) for gap in gaps_of(experiment, results)]

    both = "Faster R-CNN with VGG-16, Faster R-CNN with ResNet-101"
    assert gaps() == [(f"average precision and detections of {both}", "resnet-repro run table8")]
    alone = "resnet-repro run table8 --networks faster-rcnn-vgg-16"
    other = (
        "average precision and detections of Faster R-CNN with ResNet-101",
        "resnet-repro run table8 --networks faster-rcnn-resnet-101",
    )  # is finished and not measured, and the command for VGG-16 leaves it out
    assert gaps(first) == [("1 of 4 runs: VGG-16", alone), other]
    assert gaps(detector) == [("1 of 4 runs: Faster R-CNN with VGG-16", alone), other]
    assert gaps(first, detector, *others)[0][1] == "resnet-repro run table8"


def test_a_detector_is_held_against_the_very_weights_that_it_started_from(tmp_path: Path) -> None:
    """Its first session recorded them; the run of that name here was trained again since."""
    four = [
        f"faster-rcnn-{name}" for name in ("plain-18", "resnet-18-a", "plain-34", "resnet-34-a")
    ]
    choices = Choices(preset="short", dataset="voc:five", networks=tuple(four))
    experiment, store = load_experiment("table7").choose(choices), Store(tmp_path)

    def store_run(run: Run, error: float | None, ap: float, started: BackboneRecord | None) -> None:
        folder = store.folder(run)
        folder.write_config(run)
        whole = {"iteration": run.recipe.iterations, "parameters": 1, "seconds": 9.0}
        origin = provenance_of("2026-01-01T00:00:00Z", backbone=started)
        errors = {"final_test_error": error, "final_train_error": error, "final_train_loss": 1.0}
        folder.write_summary(summary_of(run, state="done", provenance=origin, **whole, **errors))
        if run.recipe.detection:
            rows = [PrecisionRow("cat", ap, ap, 3, 5, 4, "0" * 64)]
            folder.write_measured("average_precision", rows, ORIGIN)

    def agreement() -> list[float]:
        results = Results(store)
        cells = [c for name in four for c in results.cells_of(experiment) if c.network == name]
        return TOGETHER["ap_follows_error"](results, cells)

    backbones = {run.network: run for run in experiment.resolve() if not run.recipe.detection}
    detectors = [run for run in experiment.resolve() if run.recipe.detection]
    for rank, detector in enumerate(detectors):
        store_run(backbones[detector.network.removeprefix("faster-rcnn-")], 60.0 - rank, 0, None)
        store_run(detector, None, 10.0 + rank, None)
        if rank == 1:
            (claim,) = (c for c in load_claims() if c.id == "detection-follows-classification")
            (verdict,) = judge([claim], Results(store))
            assert verdict.missing == ("faster-rcnn-plain-34", "faster-rcnn-resnet-34-a")
            assert "without this measurement" not in verdict.numbers
    assert agreement() == [pytest.approx(1)]
    for detector in detectors:
        store_run(detector, None, 0.0, None)
    assert agreement() == [], "of equal precisions there is no order"
    for rank, detector in enumerate(detectors):
        there = BackboneRecord(sha256="0" * 64, test_error=30.0 + rank)
        store_run(detector, None, 10.0 + rank, there)
    assert agreement() == [pytest.approx(-1)]
    data = pd.read_csv(io.StringIO(render_table(make_table(experiment, Results(store)), "csv")))
    shown = data.dropna(subset="reduced").set_index("network").backbone_error
    assert shown.to_dict() == {run.network: 30.0 + rank for rank, run in enumerate(detectors)}
    (own,) = (c for c in load_claims() if c.id == "detection-residual-over-plain-18")
    for plain, residual, label in (
        (4.0, 18.0, "undecided (preset unfit)"),
        (12.0, 18.0, "consistent (trend)"),
    ):
        for detector, precision in zip(detectors, (plain, residual), strict=False):
            store_run(detector, None, precision, None)
        (verdict,) = judge([own], Results(store))
        assert verdict.label == label
        assert ("with plain-18 (4.00); mAP below 10" in verdict.numbers) is (plain < 10)


def test_pictures_have_the_networks_whose_images_are_here(tmp_path: Path) -> None:
    experiment, group = load_experiment("table7"), replace(FAITHFUL, base="short")
    results, cells = Results(Store(tmp_path)), []
    rows = []
    for network in ("faster-rcnn-plain-18", "faster-rcnn-resnet-18-a"):
        file = tmp_path / f"{network}.npz"
        there = SimpleNamespace(photographs=file)
        run: Any = SimpleNamespace(id=network, folder=there, run=SimpleNamespace(seed=0))
        cells.append(Cell(network, group, done=(run,)))
        rows.append([network, "a", "cat", None, 2.0, 2.0, 20.0, 20.0])
        rows += [[network, "a", "cat", score, 3.0, 3.0, 18.0, 21.0] for score in (0.9, 0.8, 0.7)]
    columns = ["run", "image", "class_name", "score", "left", "top", "right", "bottom"]
    results._frames["detections"] = pd.DataFrame(rows, columns=columns)
    with pytest.raises(ReproError, match=r"plain-18, .*resnet-18-a: the images .* are not here"):
        draw(experiment, results, cells, group)
    write_npz(tmp_path / "faster-rcnn-plain-18.npz", {"0": np.zeros((3, 24, 32), np.uint8)})
    figure = draw(experiment, results, cells, group)
    assert [axes.get_ylabel() for axes in figure.axes] == ["plain-18"]
    FigureCanvasAgg(figure).draw()
    labels = [text.get_window_extent() for text in figure.axes[0].texts]
    assert [len(labels), *(a.overlaps(b) for a, b in combinations(labels, 2))] == [3] + 3 * [False]
    assert any("images not here: ResNet-18 A" in text.get_text() for text in figure.texts)
