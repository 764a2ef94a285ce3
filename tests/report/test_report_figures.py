"""The figures: their panels, labels and captions, looked up in matplotlib's own objects."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from made_up_results import Bench
from matplotlib.figure import Figure

from resnet_repro.base.errors import ReproError
from resnet_repro.report.figures.curves import _spread
from resnet_repro.report.figures.figures import build, draw, figure_names
from resnet_repro.report.figures.style import colours
from resnet_repro.report.results import Results
from resnet_repro.spec.loading import load_experiment
from resnet_repro.store.store import Store

SIGNATURES = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}


def figure_of(bench: Bench, name: str) -> Figure:
    experiment, results = bench.experiment(name), Results(bench.store)
    return build(experiment, results, figure_names(experiment, results)[name])


def texts(figure: Figure) -> str:
    """Everything that is written in a figure."""
    found: list[Any] = figure.findobj(lambda artist: hasattr(artist, "get_text"))
    return "\n".join(artist.get_text() for artist in found)


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_every_format_comes_and_comes_again_the_same(bench: Bench, suffix: Any) -> None:
    bench.add("plain-20", 9.4)
    first, again = (
        list(draw(bench.experiment("fig1"), Results(bench.store), suffix)) for _ in "ab"
    )
    assert first == again
    assert [picture.name for picture in first] == ["fig1"], "one group, one name"
    assert first[0].content.startswith(SIGNATURES[suffix])


@pytest.mark.parametrize("dashes", [False, True])
@pytest.mark.parametrize(
    "networks",
    [("resnet-8", "plain-8"), ("plain-14", "resnet-14", "resnet-1202"), ("resnet-26", "resnet-20")],
)
def test_networks_of_depths_without_a_colour_of_their_own_never_share_one(
    networks: tuple[str, ...], dashes: bool
) -> None:
    found = colours(networks, dashes)
    assert tuple(found) == networks
    assert len(set(found.values())) == len(networks)


def test_networks_of_the_paper_have_the_colour_of_their_depth() -> None:
    twins = colours(("plain-20", "resnet-20", "plain-56", "resnet-56"), dashes=True)
    assert twins["plain-20"] == twins["resnet-20"] != twins["plain-56"] == twins["resnet-56"]
    assert colours(("resnet-20", "resnet-56"))["resnet-20"] == twins["resnet-20"]


def test_one_picture_per_group(bench: Bench) -> None:
    for preset in ("paper", "short"):
        bench.add("plain-20", preset=preset)
        bench.add("plain-56", preset=preset)
    pictures = list(draw(bench.experiment("fig1"), Results(bench.store)))
    assert [p.name for p in pictures] == ["fig1", "fig1-paper-cifar10", "fig1-short-cifar10"]
    assert pictures[0].content == pictures[1].content != pictures[2].content
    for preset, its in (("paper", pictures[:2]), ("short", pictures[2:])):
        drawn = draw(bench.experiment("fig1"), Results(bench.store), preset=preset)
        assert list(drawn) == its, "under the same names"
    with pytest.raises(ReproError, match="run fig1 --preset quarter"):
        list(draw(bench.experiment("fig1"), Results(bench.store), preset="quarter"))
    with pytest.raises(ReproError, match="nothing to draw yet"):
        list(draw(bench.experiment("fig1"), Results(bench.store), dataset="cifar100"))


def test_a_group_that_cannot_be_drawn_does_not_keep_the_others(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build_reduced(experiment: Any, results: Any, group: Any, view: str) -> Any:
        if not group.reduced:
            raise ReproError("nothing to draw on")
        return build(experiment, results, group, view)

    for preset in ("paper", "short"):
        bench.add("plain-20", preset=preset)
    monkeypatch.setattr("resnet_repro.report.figures.figures.build", build_reduced)
    pictures = draw(bench.experiment("fig1"), Results(bench.store))
    assert next(pictures).name == "fig1-short-cifar10"
    with pytest.raises(ReproError, match="nothing to draw on"):
        next(pictures)


def test_fig1_has_the_papers_panels_axes_and_lines(bench: Bench) -> None:
    bench.add("plain-20", 9.4, 5.5)
    bench.add("plain-56", 12.6, 10.4)
    figure = figure_of(bench, "fig1")
    train, test = figure.axes
    assert (train.get_title(), test.get_title()) == ("training error", "test error")
    assert train.get_ylim() == test.get_ylim() == (0, 20)
    assert train.get_xlim() == (0, 6.4)
    assert train.get_xlabel() == "iter. (1e4)"
    dashed, bold = train.get_lines()[0], test.get_lines()[0]
    assert dashed.is_dashed()
    assert not bold.is_dashed()
    assert bold.get_linewidth() > dashed.get_linewidth()
    assert {"plain-20", "plain-56"} <= {t.get_text() for t in test.texts}
    assert bold.get_ydata()[-1] == 9.4  # type: ignore[index]


def test_where_images_are_held_out_the_error_over_these_is_drawn(bench: Bench) -> None:
    folder = bench.add("plain-20", 9.4, recipe={"validation_images": 5000})
    rows = Store(bench.store.root).all_runs()[0].curve()
    folder.write_curve([row._replace(validation_error=row.test_error + 2) for row in rows])
    figure = figure_of(bench, "fig1")
    assert figure.axes[1].get_title() == "error over held-out images"
    assert figure.axes[1].get_lines()[0].get_ydata()[-1] == pytest.approx(11.4)  # type: ignore[index]
    assert "not over the test set" in texts(figure).replace("\n", " ")


def test_a_curve_of_one_point_is_a_mark(bench: Bench) -> None:
    folders = [bench.add(network, preset="short") for network in ("plain-20", "plain-56")]
    by_id = {folder.path.name: folder for folder in folders}
    for stored in Store(bench.store.root).all_runs():
        by_id[stored.id].write_curve(stored.curve()[-1:])
    for axes in figure_of(bench, "fig1").axes:
        lines = axes.get_lines()[:2]
        assert [line.get_marker() for line in lines] == ["o", "D"]
        assert [line.get_markevery() for line in lines] == [(0, 1)] * 2, "none is left out"


def test_reduced_results_say_so_in_the_picture(bench: Bench) -> None:
    bench.add("plain-20", 40.0, 30.0, preset="demo", dataset="synthetic")
    figure = figure_of(bench, "fig1")
    written = texts(figure)
    assert (
        "REDUCED: demo preset (900 of 64,000 iterations, images of 16 instead of 32 pixels, "
        "rate 0.005 instead of 0.1), synthetic images"
    ) in written.replace("\n", " ")
    assert "not run: plain-56" in written
    assert "error axis extended" in written
    assert figure.axes[1].get_ylim()[1] > 40
    assert figure.axes[0].get_xlabel() == "iter."


def test_the_papers_axis_is_named_only_where_it_is_known(bench: Bench) -> None:
    """Table 1 of He et al. 2016 has no picture whose axis could have been extended."""
    start = {"warmup": {"learning_rate": 0.01, "until_train_error": 99.9, "window": 400}}
    bench.add("resnet-110-half-both", 40.0, 30.0, recipe=start)
    figure = figure_of(bench, "preact-table1")
    assert figure.axes[0].get_ylim()[1] > 40
    assert "error axis" not in texts(figure)


def test_single_seeds_that_are_not_the_same_are_said(bench: Bench) -> None:
    bench.add("plain-20", seed=1)
    bench.add("plain-56")
    figure = figure_of(bench, "fig1")
    assert "1 seed per network, not the same seed for all;" in texts(figure)


def test_runs_without_a_result_are_left_out_by_name(bench: Bench) -> None:
    bench.add("plain-20", 9.4)
    bench.add("plain-56", state="stopped")
    written = texts(figure_of(bench, "fig1"))
    assert "unfinished runs left out: plain-56 (1 run)" in written
    assert "not run" not in written


def test_the_full_protocol_is_not_called_reduced(bench: Bench) -> None:
    bench.add("plain-20", 9.4)
    assert "REDUCED" not in texts(figure_of(bench, "fig1"))


def test_several_seeds_are_a_mean_with_a_band(bench: Bench) -> None:
    for seed, error in enumerate([9.0, 10.0, 11.0]):
        bench.add("plain-20", error, seed=seed)
    bench.add("plain-20", seed=3, state="failed")
    figure = figure_of(bench, "fig1")
    assert figure.axes[1].get_lines()[0].get_ydata()[-1] == pytest.approx(10.0)  # type: ignore[index]
    assert len(figure.axes[1].collections) == 1
    written = texts(figure)
    assert "3 seeds" in written
    assert "lowest to highest of the seeds" in written
    assert "failed runs left out: plain-20 (1 run)" in written


def test_fig6_has_a_panel_for_what_was_run_and_says_what_was_not(bench: Bench) -> None:
    for network in ("plain-20", "plain-56", "resnet-20", "resnet-56"):
        bench.add(network)
    figure = figure_of(bench, "fig6")
    assert [axes.get_title() for axes in figure.axes] == ["plain", "ResNet"]
    assert "not run: plain-32, plain-44, ResNet-32, ResNet-44, ResNet-110, ResNet-1202" in texts(
        figure
    ).replace("\n", " ")
    bench.add("resnet-110")
    panels = [axes.get_title() for axes in figure_of(bench, "fig6").axes]
    assert panels == ["plain", "ResNet", "very deep"]


def test_curves_need_a_network_that_a_panel_names(
    command: Any, bench: Bench, tmp_path: Path
) -> None:
    experiment = tmp_path / "mine.yaml"
    experiment.write_text(
        "name: mine\ntitle: Mine\nruns: [{networks: [resnet-20, resnet-32]}]\n"
        "plot: {kind: curves, panels: [{networks: [resnet-20]}]}\n",
        encoding="utf-8",
    )
    bench.add("resnet-32")
    line = ("plot", experiment, "--results", bench.store.root)
    answer = command(*line)
    assert answer.code == 1
    assert "mine: nothing to draw yet" in answer.err
    bench.add("resnet-20")
    assert command(*line).code == 0


IMAGENET = ("plain-18", "plain-34", "resnet-18-a", "resnet-34-a")


def test_fig4_is_thin_and_bold_in_the_papers_range_with_each_networks_own_rate_changes(
    bench: Bench,
) -> None:
    for network in IMAGENET:
        divisions = [150_000, 300_000] if network == "plain-18" else [200_000]
        bench.add(network, 30.0, 25.0, dataset="imagenet", divisions=divisions)
    figure = figure_of(bench, "fig4")
    plain, residual = figure.axes
    assert (plain.get_title(), residual.get_title()) == ("plain", "ResNet")
    assert plain.get_ylim() == residual.get_ylim() == (20, 60)
    assert plain.get_xlim() == (0, 60)
    thin, bold = plain.get_lines()[:2]
    assert not thin.is_dashed()
    assert 2 * thin.get_linewidth() < bold.get_linewidth()
    assert thin.get_ydata()[-1] == 25.0  # type: ignore[index]
    assert bold.get_ydata()[-1] == 30.0  # type: ignore[index]
    assert "validation error, centre crop" in texts(figure)
    changes = [line.get_xdata()[0] for line in plain.get_lines()[4:]]  # type: ignore[index]
    assert sorted(changes) == [15, 20, 30]
    assert "REDUCED" not in texts(figure)


def test_fig4_at_reduced_scale_fits_its_axis_and_says_so(bench: Bench) -> None:
    for network in IMAGENET:
        bench.add(network, 18.0, 12.0, preset="short", dataset="imagenette")
    figure = figure_of(bench, "fig4")
    low, high = figure.axes[0].get_ylim()
    assert low == 10
    assert 30 <= high <= 50
    written = texts(figure).replace("\n", " ")
    assert "error axis fitted, the paper's is 20 to 60" in written
    assert "REDUCED: short preset (6,000 of 600,000 iterations, crops of 64 instead" in written
    assert "Imagenette" in written
    assert figure.axes[0].get_xlim() == (0, 0.6)


def test_fig7_has_layers_in_order_and_sorted(bench: Bench) -> None:
    bench.add("plain-20", responses=[1.0, 3.0, 2.0])
    bench.add("resnet-20", responses=[0.5, 0.25, 0.75])
    bench.add("resnet-56")  # trained, but not measured
    figure = figure_of(bench, "fig7")
    top, bottom = figure.axes
    assert list(top.get_lines()[0].get_ydata()) == [1.0, 3.0, 2.0]  # type: ignore[arg-type]
    assert list(bottom.get_lines()[0].get_ydata()) == [3.0, 2.0, 1.0]  # type: ignore[arg-type]
    assert top.get_lines()[0].is_dashed()  # plain
    assert not top.get_lines()[1].is_dashed()
    assert "not run: plain-56, ResNet-110" in texts(figure)
    assert "not measured: ResNet-56 (1 run)" in texts(figure)
    assert {axes.get_yscale() for axes in figure.axes} == {"linear"}, "as in the paper"


@pytest.mark.parametrize(
    ("name", "networks", "missing"),
    [
        ("fig7", ("plain-20", "resnet-20"), "plain-56, ResNet-56"),
        ("signals", ("plain-18",), "ResNet-18"),
    ],
)
def test_a_presets_picture_misses_only_what_the_preset_trains(
    bench: Bench, name: str, networks: tuple[str, ...], missing: str
) -> None:
    for network in networks:
        norms = {0: [1.0, 2.0], -1: [5.0, 6.0]}
        shown = {"gradients": norms} if name == "signals" else {"responses": [1.0, 2.0]}
        bench.add(network, preset="demo", dataset="synthetic", **shown)
    experiment, results = load_experiment(name), Results(bench.store)
    (group,) = figure_names(experiment, results).values()
    written = " ".join(texts(build(experiment, results, group)).split())
    assert written.partition("not run: ")[2].startswith(missing)
    assert not {"ResNet-110", "plain-34", "ResNet-34"} & set(re.findall(r"[\w-]+", written))


def test_networks_in_another_precision_are_named_apart_from_those_not_run(bench: Bench) -> None:
    bench.add("plain-20", 9.0)
    bench.add("plain-32", 9.5)
    before = bench.mark("fig6")
    bench.add("resnet-20", 8.0, resolved="bf16")
    written = texts(figure_of(bench, "fig6"))
    assert "in bf16, in a picture of its own: ResNet-20" in written
    assert "ResNet-20, " not in written.partition("not run: ")[2]
    assert bench.mark("fig6") != before, "to be drawn anew"


def test_each_kind_of_figure_tells_another_precision_from_not_run(bench: Bench) -> None:
    bench.add("plain-20", responses=[1.0, 3.0, 2.0])
    bench.add("plain-56", responses=[1.0, 3.0, 2.0])
    bench.add("resnet-20", responses=[0.5, 0.25, 0.75], resolved="bf16")
    bench.add("resnet-56", resolved="bf16")  # trained, but not measured
    written = texts(figure_of(bench, "fig7"))
    assert "in bf16, in a picture of its own: ResNet-20" in written
    assert "in bf16, not measured: ResNet-56" in written
    assert "not run: ResNet-110" in written
    before = bench.mark("fig7")
    bench.add("resnet-56", resolved="bf16", responses=[0.5, 0.25, 0.75])
    assert bench.mark("fig7") != before, "to be drawn anew"


def test_a_picture_is_another_one_where_its_caption_names_other_runs(bench: Bench) -> None:
    bench.add("resnet-20", responses=[0.5, 0.25, 0.75])
    marks = [bench.mark("fig7")]
    for changes in ({"network": "plain-20"}, {"network": "resnet-56", "state": "failed"}):
        bench.add(**changes)
        marks.append(bench.mark("fig7"))
    assert len(set(marks)) == 3


def test_only_what_is_drawn_is_explained(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "name: mine\ntitle: Responses\nruns: [{networks: [resnet-20, preact-20]}]\n"
        "measure: [responses]\nplot: {kind: responses}\n",
        encoding="utf-8",
    )
    bench.add("resnet-20", responses=[0.5, 0.25, 0.75])
    bench.add("preact-20")
    experiment, results = load_experiment(str(tmp_path / "mine.yaml")), Results(bench.store)
    group = figure_names(experiment, results)["mine"]
    written = texts(build(experiment, results, group))
    assert "not measured: pre-act ResNet-20 (1 run)" in written
    assert "pre-activation networks" not in written
    assert "1 seed;" in written


def test_fig7_has_a_log_axis_where_a_network_goes_far_beyond_the_papers(bench: Bench) -> None:
    bench.add("plain-20", responses=[14.0, 3.0, 1.0])
    bench.add("resnet-20", responses=[0.5, 0.25, 0.75])
    assert {axes.get_yscale() for axes in figure_of(bench, "fig7").axes} == {"log"}


def test_gradients_at_the_start_on_the_way_and_in_the_end(bench: Bench) -> None:
    norms = {0: [1.0, 2.0], 500: [10.0, 20.0], 1000: [30.0, 40.0], 1500: [20.0, 30.0], -1: [5, 6]}
    bench.add("plain-20", gradients=norms)
    bench.add("resnet-20", gradients={0: [1.0, 1.0], -1: [3.0, 3.0]}, measured="afterwards")
    figure = figure_of(bench, "gradients")
    titles = [axes.get_title() for axes in figure.axes[:3]]
    assert titles == ["at initialisation", "while training (median)", "in the end"]
    bottom = figure.axes[3:]
    assert [list(axes.get_lines()[0].get_ydata()) for axes in bottom] == [  # type: ignore[arg-type]
        [1.0, 2.0],
        [20.0, 30.0],
        [5.0, 6.0],
    ]
    assert [len(axes.get_lines()) for axes in bottom] == [2, 1, 2]
    assert bottom[0].get_yscale() == "log"
    assert "measured at the start and the end only: ResNet-20" in texts(figure)
    assert "not run: plain-56, ResNet-56" in texts(figure)
    bench.add("resnet-20", gradients=norms, seed=1)
    noted = texts(figure_of(bench, "gradients"))
    assert "start and the end only: ResNet-20 (1 of 2 seeds)" in " ".join(noted.split())


def test_signals_are_drawn_of_runs_that_have_them_throughout(bench: Bench) -> None:
    norms = {0: [1.0, 2.0], 500: [3.0, 4.0], -1: [5.0, 6.0]}
    bench.add("plain-20", gradients=norms, back={500: [7.0, 8.0], -1: [9.0, 9.0]})
    assert "output's gradient" not in texts(figure_of(bench, "gradients"))
    bench.add("resnet-20", gradients=norms, back=norms)
    figure = figure_of(bench, "gradients")
    assert "the outputs' gradients were not measured throughout: plain-20" in texts(figure)
    middle = figure.axes[3:6]
    drawn = [[list(line.get_ydata()) for line in axes.get_lines()] for axes in middle]  # type: ignore[arg-type]
    assert [residual for (residual,) in drawn] == list(norms.values())
    bench.add("plain-20", gradients=norms, back=norms, seed=1)  # the other seed has none
    middle = figure_of(bench, "gradients").axes[3:6]
    assert [len(axes.get_lines()) for axes in middle] == [2, 2, 2]


def test_a_panel_without_any_line_says_why(bench: Bench) -> None:
    ends = {0: [1.0, 2.0], -1: [5.0, 6.0]}
    bench.add("plain-20", gradients=ends | {500: [3.0, 4.0]})
    bench.add("resnet-20", gradients=ends, back=ends)
    figure = figure_of(bench, "gradients")
    says = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    assert [column for column in range(9) if "not measured" in says[column]] == [4]


def test_a_panel_of_one_kind_of_line_says_which(bench: Bench, tmp_path: Path) -> None:
    bench.add("resnet-20")
    text = "name: own\ntitle: Own\nruns: [{networks: [resnet-20]}]\n"
    text += "plot: {kind: curves, panels: [{networks: [resnet-20], curves: [train]}]}\n"
    (tmp_path / "own.yaml").write_text(text, encoding="utf-8")
    results = Results(bench.store)
    figure = build(load_experiment(str(tmp_path / "own.yaml")), results, *results.numbers)
    assert figure.axes[0].get_ylabel() == "training error (%)"


def test_a_picture_is_out_of_date_once_what_its_caption_names_has_ended(bench: Bench) -> None:
    bench.add("plain-20", responses=[1.0, 2.0])
    marks = []
    for state in ("stopped", "failed", "done"):
        bench.add("plain-56", state=state)
        marks.append(bench.mark("fig7"))
    assert len(set(marks)) == 3


def test_the_middle_of_a_training_is_not_its_end(bench: Bench) -> None:
    """It was watched until it stopped, and trained to its end by a command that does not watch."""
    bench.add("plain-20", gradients={0: [1.0, 2.0], 32_000: [3.0, 4.0]})
    bench.add("resnet-20", gradients={0: [1.0, 2.0], -1: [5.0, 6.0]})
    figure = figure_of(bench, "gradients")
    assert [len(axes.get_lines()) for axes in figure.axes[3:]] == [2, 1, 1]
    assert "not measured in the end: plain-20" in texts(figure)


def test_without_anything_on_the_way_gradients_have_two_columns(bench: Bench) -> None:
    bench.add("plain-20", gradients={0: [1.0, 2.0], -1: [5.0, 6.0]})
    assert len(figure_of(bench, "gradients").axes) == 4


def test_seeds_measured_at_different_points_meet_where_both_are(bench: Bench) -> None:
    bench.add("plain-20", 10.0)
    folder = bench.add("plain-20", 12.0, seed=1)
    lines = folder.curve.read_text(encoding="utf-8").splitlines()
    folder.curve.write_text("\n".join([lines[0], lines[-1]]) + "\n", encoding="utf-8")
    line = figure_of(bench, "fig1").axes[1].get_lines()[0]
    assert list(line.get_ydata()) == [11.0]  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["fig1", "fig7", "gradients"])
def test_nothing_to_draw_says_what_to_run(bench: Bench, name: str) -> None:
    bench.add("plain-20", state="failed")
    with pytest.raises(ReproError, match=f"resnet-repro run {name}"):
        list(draw(bench.experiment(name), Results(bench.store)))


def test_labels_are_spread_without_changing_their_order() -> None:
    placed = _spread([6.4, 6.9, 7.0, 7.4, 8.6], 1.2, 0, 20)
    assert placed == sorted(placed)
    assert all(b - a >= 1.2 - 1e-6 for a, b in pairwise(placed))
    assert _spread([], 1, 0, 20) == []
    assert min(_spread([0, 0, 0], 1, 0, 20)) >= 0
