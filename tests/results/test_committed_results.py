"""What this repository shows comes from the runs that lie beside it."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from git_checkout import git

from resnet_repro.report.document.document import compose_report
from resnet_repro.report.figures.figures import figure_names
from resnet_repro.report.results import Results
from resnet_repro.report.tidy import tidy_csv
from resnet_repro.spec.loading import load_experiment, shipped_experiments
from resnet_repro.store.models import DetectionPoint
from resnet_repro.store.store import Store

RESULTS = Path(__file__).parents[2] / "results"

pytestmark = pytest.mark.skipif(
    not (RESULTS / "report.md").exists(), reason="no results are committed"
)


@pytest.fixture(scope="module")
def results() -> Results:
    """The committed results; each part is read once."""
    return Results(Store(RESULTS))


def test_the_report_is_what_the_results_give() -> None:
    assert compose_report(Store(RESULTS))[0] == (RESULTS / "report.md").read_text(encoding="utf-8")


def test_no_committed_picture_was_drawn_from_other_results() -> None:
    """The report is right to say so, but here it is to be drawn anew."""
    assert "drawn from other results" not in (RESULTS / "report.md").read_text(encoding="utf-8")


def test_every_run_is_whole_and_has_its_provenance(results: Results) -> None:
    assert results.stored
    for run in results.stored:
        assert run.problem is None, run.id
        assert run.summary is not None
        assert run.state in ("done", "failed"), run.id
        assert run.summary.provenance.dataset["sha256"]
        last = run.curve()[-1]
        if not isinstance(last, DetectionPoint):  # a detector is tested after its training
            assert last.test_error == run.summary.final_test_error


def test_every_number_of_the_csvs_names_a_run_that_is_here() -> None:
    known = {path.name for path in (RESULTS / "runs").iterdir()}
    for path in RESULTS.glob("*.csv"):
        with path.open(newline="", encoding="utf-8") as file:
            named = {row["run"] for row in csv.DictReader(file) if "run" in row}
        assert named <= known, path.name


@pytest.mark.parametrize("name", shipped_experiments())
def test_every_csv_is_what_the_results_give(name: str, results: Results) -> None:
    """A file that a `run` wrote before the last results came would lack them."""
    experiment, path = load_experiment(name), results.store.csv_path(name)
    if (experiment.table and experiment.table.kind == "cost") or not path.exists():
        pytest.skip("counted from the networks themselves, or nothing was measured")
    assert tidy_csv(experiment, results) == path.read_text(encoding="utf-8")


def test_every_figure_is_one_that_the_results_give(results: Results) -> None:
    """One that they no longer give would stay and be taken for theirs."""
    drawn = [load_experiment(name) for name in shipped_experiments()]
    names = {n for e in drawn if e.plot for n in figure_names(e, results)}
    assert {path.stem for path in (RESULTS / "figures").iterdir()} <= names


def test_no_checkpoints_and_under_20_megabytes() -> None:
    listed = git(RESULTS.parent, "ls-files", "results").stdout.split()
    if not listed:
        pytest.skip("the results are not git's here")
    assert not [name for name in listed if "checkpoint" in name]
    paths = [RESULTS.parent / name for name in listed]
    assert sum(path.stat().st_size for path in paths if path.exists()) < 20_000_000
