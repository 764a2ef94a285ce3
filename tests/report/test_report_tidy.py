"""The tidy CSVs load in one line of pandas and hold every number with its run."""

import csv
import io
from pathlib import Path

import pandas as pd
from made_up_results import POINTS, Bench

from resnet_repro.report.results import Results
from resnet_repro.report.tidy import tidy_csv
from resnet_repro.spec.loading import load_experiment


def frame(bench: Bench, name: str) -> pd.DataFrame:
    text = tidy_csv(bench.experiment(name), Results(bench.store))
    return pd.read_csv(io.StringIO(text))


def test_results_one_line_per_run_with_state(bench: Bench) -> None:
    bench.add("resnet-20", 9.0, 4.0)
    bench.add("resnet-20", seed=1, state="failed")
    bench.add("resnet-110", 15.0, preset="short")
    bench.add("plain-20")  # not of table6
    data = frame(bench, "table6")
    assert list(data.state) == ["done", "failed", "done"]
    assert list(data.final_test_error)[::2] == [9.0, 15.0]
    assert list(data.preset) == ["paper", "paper", "short"]
    assert list(data.paper_error) == [8.75, 8.75, 6.61]
    assert data.run[0].startswith("resnet-20-cifar10-paper-s0-")


def test_errors_of_a_stopped_run_are_not_final(bench: Bench) -> None:
    bench.add("resnet-20", 8.7)
    folder = bench.add("resnet-20", 25.0, seed=1)
    summary = bench.store.all_runs()[1].summary
    assert summary is not None
    folder.write_summary(summary.model_copy(update={"state": "stopped"}))
    data = frame(bench, "table6")
    assert list(data.state) == ["done", "unfinished"]
    found = data.groupby(["network", "protocol"]).final_test_error.agg(["mean", "count"])
    assert found.to_numpy().tolist() == [[8.7, 1]]


def test_two_protocols_of_one_preset_are_told_apart_in_curves(bench: Bench) -> None:
    bench.add("resnet-20", 17.0, preset="short")
    start = {"learning_rate": 0.01, "until_train_error": 99.9, "window": 400}
    bench.add("resnet-20", 14.0, preset="short", recipe={"warmup": start})
    bench.add("preact-20", 15.0, preset="short", recipe={"warmup": start})
    data = frame(bench, "fig6")
    assert set(data.preset) == {"short"}
    last = data[data.iteration == 6_400].set_index("group").test_error
    assert last["short-cifar10"] == 17.0
    assert sorted(last) == [14.0, 17.0]


def test_curves_one_line_per_point(bench: Bench) -> None:
    bench.add("plain-20", 9.0)
    bench.add("plain-56", 12.0, seed=4, preset="short")
    bench.add("plain-56", seed=5, state="failed")
    data = frame(bench, "fig1")
    assert len(data) == 2 * POINTS
    assert {"iteration", "epoch", "lr", "train_error", "test_error", "seed"} <= set(data.columns)
    last = data.groupby("run").last()
    assert sorted(last.test_error) == [9.0, 12.0]


def test_responses_are_ranked_from_the_largest(bench: Bench) -> None:
    bench.add("plain-20", responses=[0.5, 2.0, 1.0])
    data = frame(bench, "fig7")
    assert list(data["layer"]) == [1, 2, 3]
    assert list(data["rank"]) == [3, 1, 2]


def test_gradients_one_line_per_layer_and_moment(bench: Bench) -> None:
    bench.add("plain-20", gradients={0: [1.0, 2.0], -1: [3.0, 4.0]})
    data = frame(bench, "gradients")
    assert list(data.iteration) == [0, 0, 64_000, 64_000]
    assert list(data.gradient_norm) == [1.0, 2.0, 3.0, 4.0]
    assert set(data.measured) == {"training"}


def test_norms_that_are_not_numbers_are_told_from_those_that_were_not_measured(
    bench: Bench,
) -> None:
    bench.add("plain-20", gradients={0: [float("nan"), 2.0], -1: [float("inf"), 4.0]})
    text = tidy_csv(bench.experiment("gradients"), Results(bench.store))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["gradient_norm"] for row in rows] == ["nan", "2.0", "inf", "4.0"]
    assert {row["signal_norm"] for row in rows} == {""}


def test_an_empty_folder_gives_the_header(bench: Bench) -> None:
    assert len(tidy_csv(bench.experiment("table6"), Results(bench.store)).splitlines()) == 1


def test_same_results_same_bytes(bench: Bench) -> None:
    bench.add("resnet-20", 1 / 3, 2 / 3)
    texts = {tidy_csv(bench.experiment("table6"), Results(bench.store)) for _ in range(2)}
    assert len(texts) == 1
    assert repr(1 / 3) in texts.pop()


def test_a_drawing_with_runs_has_a_line_per_run(bench: Bench, tmp_path: Path) -> None:
    bench.add("plain-20", 9.0)
    own = tmp_path / "own.yaml"
    own.write_text(
        "name: own\ntitle: Own\nreference: none\nruns: [{networks: [plain-20]}]\n"
        "plot: {kind: depth}\n",
        encoding="utf-8",
    )
    text = tidy_csv(load_experiment(str(own)), Results(bench.store))
    (row,) = csv.DictReader(io.StringIO(text))
    assert (row["network"], float(row["final_test_error"])) == ("plain-20", 9.0)
