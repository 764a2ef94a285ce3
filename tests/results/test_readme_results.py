"""The numbers of the README and of docs/measured.md are those of the results beside them."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from resnet_repro.plan.overview import list_experiments
from resnet_repro.report.rendering import Row
from resnet_repro.report.results import Results
from resnet_repro.report.surfaces import RISE, eigenvalue_ratio, surfaces_of
from resnet_repro.report.tables import make_table
from resnet_repro.spec.loading import load_experiment
from resnet_repro.spec.network_names import network_title
from resnet_repro.store.models import EnsembleResult
from resnet_repro.store.store import Store
from resnet_repro.store.stored_run import StoredRun

ROOT = Path(__file__).parents[2]
README, MEASURED, RESULTS = ROOT / "README.md", ROOT / "docs" / "measured.md", ROOT / "results"

HEADERS = ("network", "network, iterations", "backbone, shorter side, rate")

pytestmark = pytest.mark.skipif(
    not (README.exists() and RESULTS.exists()), reason="no README or no results here"
)


def printed_rows(page: Path, heading: str) -> dict[str, list[str]]:
    """First cell -> the other cells, of every row of the tables under a heading ("## Title")."""
    _, _, rest = page.read_text(encoding="utf-8").partition(f"\n{heading}\n")
    lines = [text for text in rest.partition("\n##")[0].splitlines() if text.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    rows = [(first, rest) for first, *rest in cells if first not in HEADERS]
    assert len(dict(rows)) == len(rows), "a row hides another"
    return dict(rows)


@functools.cache
def every_run() -> list[StoredRun]:
    """The committed runs, read once."""
    return Store(RESULTS).all_runs()


def all_results(preset: str | None = None) -> Results:
    """The committed results; of runs those at a preset, if one is named."""
    results = Results(Store(RESULTS))
    runs = every_run()
    results.stored = [s for s in runs if preset is None or (s.run and s.run.preset == preset)]
    return results


def measured_rows(name: str, preset: str = "short") -> dict[str, Row]:
    """Title of a network -> its row at a preset, for those that were measured; `..., fp32` too."""
    rows = make_table(load_experiment(name), all_results(preset), others=True).rows
    done = [row for row in rows if "seeds" in row and finished(row) != "0"]
    found = {f"{row['method']}{_precision(row)}": row for row in done}
    assert len(found) == len(done), "a row hides another"
    return found


def _precision(row: Any) -> str:
    """What is said of a row that is not in bf16, as most are."""
    return "" if row["precision"] == "bf16" else f", {row['precision']}"


def finished(row: Any) -> str:
    """The number of runs behind a row's errors."""
    return str(row["seeds"].values[0])


def cifar_cells(row: Any, *more: str) -> list[str]:
    """Test error, training error, further columns and seeds."""
    errors = [str(row["test_error"]), f"{row['train_error'].mean:.2f}"]
    return [*errors, *(str(row.get(name) or "") for name in more), finished(row)]


def full_protocol() -> dict[str, list[str]]:
    """The rows of CIFAR's networks at the paper's protocol."""
    rows = measured_rows("fig6", "paper")
    return {title: cifar_cells(row, "paper", "others") for title, row in rows.items()}


def quarter() -> dict[str, list[str]]:
    """The rows of CIFAR's networks with a quarter of the iterations."""
    return {title: cifar_cells(row) for title, row in measured_rows("fig6", "quarter").items()}


def warmed_up() -> dict[str, list[str]]:
    """The rows of a tenth of the iterations after the warm-up."""
    tables = ("preact-table1", "preact-table2", "preact-table3")
    rows = [measured_rows(table, "custom") for table in tables]
    return {title: cifar_cells(row) for each in rows for title, row in each.items()}


def surface_rows() -> dict[str, list[str]]:
    """What the table of loss surfaces says of each network."""
    found = {}
    networks = ["resnet-20", "plain-20", "resnet-56", "plain-56", "resnet-20-b"]
    for cell in all_results().cells(networks):
        for run in cell.done:
            if around := surfaces_of(run):
                convex = fmean(surface.violations for surface in around)
                contours = [surface.contour(surface.centre + RISE) for surface in around]
                radius = fmean(contour.radius for contour in contours)
                ratio = eigenvalue_ratio(run)
                told = "" if ratio is None else f"{ratio:.4f}"
                error = f"{run.summary.final_test_error:.2f}"
                cells = [str(len(around)), f"{convex:.1f}%", f"{radius:.2f}", told, error]
                title = network_title(cell.network)
                title += ", their recipe" if run.run.recipe.nesterov else ""
                title += "" if run.run.preset == "paper" else ", a tenth"
                found[title + (f", seed {run.run.seed}" if run.run.seed else "")] = cells
    return found


def photograph_rows() -> dict[str, list[str]]:
    """The rows of the networks that were trained on photographs."""
    found = {}
    for preset, iterations in (("short", "6,000"), ("custom", "1,500")):
        for title, row in (
            measured_rows("table2", preset) | measured_rows("table3", preset)
        ).items():
            cells = [str(row["reduced_top1"]), f"{row['centre_top1']:.2f}"]
            found[f"{title}, {iterations}"] = [*cells, f"{row['train_error']:.2f}", finished(row)]
    return found


def detection_rows() -> dict[str, list[str]]:
    """The rows of detectors, by backbone, size of the images and learning rate."""
    results, found = all_results(), {}
    for cell in results.cells_of(load_experiment("table7")):
        for run in cell.done[:1]:
            assert run.run is not None
            columns = ("ap_11point", "ap_area")
            means = [
                results.frame("average_precision").groupby("run")[name].mean() for name in columns
            ]
            numbers = [str(cell.over_seeds(of)) for of in (*means, results.backbone_errors)]
            backbone = network_title(cell.network.removeprefix("faster-rcnn-"))
            recipe = run.run.recipe
            assert recipe.detection is not None
            side = recipe.detection.shorter_side
            found[f"{backbone}, {side}, {recipe.learning_rate:g}"] = [*numbers, str(len(cell.done))]
    return found


def test_every_number_is_that_of_the_results() -> None:
    tenth = {title: cifar_cells(row) for title, row in measured_rows("fig6").items()}
    assert printed_rows(MEASURED, "## At the paper's protocol") == full_protocol()
    assert printed_rows(MEASURED, "## A quarter of the iterations") == quarter()
    assert printed_rows(MEASURED, "## A tenth of the iterations") == tenth
    assert printed_rows(MEASURED, "## A tenth of the iterations, after a warm-up") == warmed_up()
    assert printed_rows(MEASURED, "## The loss around them") == surface_rows()
    assert printed_rows(MEASURED, "## Photographs") == photograph_rows()
    assert printed_rows(MEASURED, "## Detection") == detection_rows()


def test_the_readme_has_the_full_protocol_and_the_papers_message() -> None:
    assert printed_rows(README, "### At the paper's protocol") == full_protocol()
    text, rows = " ".join(README.read_text(encoding="utf-8").split()), quarter()
    for kind in ("plain-", "ResNet-"):
        *three, last = (rows[f"{kind}{depth}"][0] for depth in (20, 32, 44, 56))
        assert f"{kind}20, 32, 44 and 56 test at {', '.join(three)} and {last}" in text


def test_what_the_readme_says_of_shorter_runs_is_in_the_results() -> None:
    text = " ".join(README.read_text(encoding="utf-8").split())
    cold = {title: row["test_error"].mean for title, row in measured_rows("fig6").items()}
    warm = {title: float(cells[0].split()[0]) for title, cells in warmed_up().items()}
    worse = cold["ResNet-56"] - cold["ResNet-20"]
    better = warm["ResNet-20"] - warm["ResNet-56"]
    assert f"ResNet-56 tests {worse:.1f} points *worse* than ResNet-20" in text
    assert f"after 400 iterations at 0.01, {better:.2f} points better" in text
    crops = {
        title: row["reduced_top1"].mean
        for name in ("table2", "table3")
        for title, row in measured_rows(name).items()
        if "reduced_top1" in row
    }
    lead = crops["plain-34"] - crops["ResNet-34 A"]
    assert f"ResNet-34 A tests {lead:.0f} points better" in text
    b_leads, c_trails = (crops[f"ResNet-34 {o}"] - crops["ResNet-34 B"] for o in "AC")
    assert f"B tests {b_leads:.1f} points better than A and C {c_trails:.1f} worse than B" in text
    assert max(crops["plain-18"], crops["ResNet-18 A"]) < min(
        crops["plain-34"], crops["ResNet-34 A"]
    )
    detectors = detection_rows()
    residual, plain = (detectors[f"{name}, 128, 0.005"][0] for name in ("ResNet-18 A", "plain-18"))
    assert f"from ResNet-18 A has a mAP of {residual}, that from plain-18 {plain}" in text


def test_errors_at_several_scales_are_those_of_the_results() -> None:
    text = " ".join(MEASURED.read_text(encoding="utf-8").split())
    for preset, verb in (("short", "have"), ("custom", "had")):
        rows = measured_rows("table4", preset)
        b, c = (rows[f"ResNet-34 {option}"]["reduced_top1"] for option in "BC")
        assert f"B and C {verb} {b} and {c}" in text
    (ensemble,) = Store(RESULTS).records(EnsembleResult)
    assert f"together (`table5`) have {ensemble.top1_error:.2f}" in text


@pytest.mark.parametrize(
    "line",
    ["table table6 --preset paper", "status fig1 --preset short"],
)
def test_what_a_command_prints_is_what_it_prints(
    command: Any, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = README.read_text(encoding="utf-8").splitlines()
    start = lines.index(f"    $ resnet-repro {line}") + 1
    block = lines[start : lines.index("", start)]
    assert all(text.startswith("    ") for text in block)
    monkeypatch.chdir(ROOT)
    answer = command(*line.split())
    assert [text[4:] for text in block] == [text.rstrip() for text in answer.out.splitlines()]


def test_the_list_in_the_readme_counts_the_runs_that_are_there() -> None:
    page = README.read_text(encoding="utf-8")
    listed = page.partition("$ resnet-repro list\n")[2].partition("\n    Runs done")[0]
    rows = listed.splitlines()[1:]
    printed = {row.split()[0]: re.findall(r"\d+/\d+", row) for row in rows if row.strip() != "..."}
    lines = list_experiments(Store(RESULTS), [load_experiment(name) for name in printed])
    counted: dict[str, list[str]] = {name: [] for name in printed}
    for line in lines:
        if line.runs_needed:
            counted[line.experiment].append(f"{line.runs_done}/{line.runs_needed}")
    assert counted == printed
