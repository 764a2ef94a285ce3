"""The results folder as data frames."""

from importlib import import_module

from made_up_results import POINTS, Bench

from resnet_repro.report.figures.figures import FIGURES
from resnet_repro.report.results import Results


def test_measurements_are_those_of_finished_runs_by_run(bench: Bench) -> None:
    views = {"centre": (31.0, 5.0), "10-crop": (30.0, 4.0)}
    bench.add("plain-20", responses=[0.5, 2.0], gradients={0: [1.0, 2.0], -1: [3.0, float("inf")]})
    folder = bench.add("plain-34", preset="short", dataset="imagenette", evaluations=views)
    bench.add("plain-20", seed=1, state="failed")
    results = Results(bench.store)
    assert results.frame("curve").groupby("run").size().tolist() == [POINTS, POINTS]
    assert list(results.frame("responses")["std"]) == [0.5, 2.0]
    assert list(results.gradients.gradient_norm) == [1.0, 2.0, 3.0, float("inf")]
    assert not results.gradients.has_signal.any()
    assert results.evaluated("10-crop").top1_error[folder.path.name] == 30.0


def test_of_a_preset_or_data_set_what_is_there_besides_is_still_known(bench: Bench) -> None:
    """A detector's backbone was trained on another one."""
    bench.add("plain-20")
    bench.add("plain-34", preset="short", dataset="imagenette")
    for choice in (("paper", None), (None, "cifar10")):
        results = Results(bench.store, *choice)
        assert [run.run.network for run in results.begun] == ["plain-20"]
        assert [run.run.network for run in results.every_begun] == ["plain-20", "plain-34"]


def test_a_mean_over_seeds_leaves_out_what_is_not_a_number(bench: Bench) -> None:
    for seed, error in enumerate((9.0, 10.0, 11.0)):
        bench.add("plain-20", error, seed=seed)
    results = Results(bench.store)
    (cell,) = results.cells(["plain-20"])
    errors = results.runs.final_test_error
    assert cell.over_seeds(errors).mean == 10.0
    assert cell.over_seeds(errors.where(errors < 11)).values == (9.0, 10.0)
    assert cell.over_seeds(errors[:0]).mean is None


def test_an_empty_folder_has_empty_frames(bench: Bench) -> None:
    results = Results(bench.store)
    frames = (results.runs, results.frame("curve"), results.frame("responses"), results.gradients)
    assert all(frame.empty for frame in frames)
    assert results.evaluated("centre").empty
    assert results.cells(["plain-20"]) == []


def test_every_kind_of_figure_has_its_frame_with_the_columns_of_its_tidy_file(bench: Bench) -> None:
    results = Results(bench.store)
    for kind, figure in FIGURES.items():
        if figure.table:
            assert set(figure.columns) <= set(results.frame(figure.table).columns), kind
        assert callable(import_module(f"resnet_repro.report.figures.{kind}").draw)
