"""Loss surfaces in the report: the numbers that sum them up, the claims, the pictures."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up_origin import ORIGIN
from made_up_results import Bench, section
from matplotlib.backends.backend_agg import FigureCanvasAgg

from resnet_repro.base.errors import ConfigError
from resnet_repro.paper.claims import load_claims
from resnet_repro.report.claims.judging import Verdict, judge
from resnet_repro.report.figures.figures import build, draw, figure_names, pictures
from resnet_repro.report.figures.surface import LEVELS, panels_of
from resnet_repro.report.gaps import gaps_of
from resnet_repro.report.results import Results
from resnet_repro.report.surfaces import Surface, eigenvalue_ratio, surfaces_of
from resnet_repro.report.tidy import tidy_csv
from resnet_repro.spec.loading import load_experiment
from resnet_repro.spec.measurements import CurvatureRow, PathRow, SurfaceRow
from resnet_repro.spec.surface import SurfaceSettings, axis
from resnet_repro.store import stored_run
from resnet_repro.store.measured import is_measured
from resnet_repro.store.run_folder import RunFolder

Loss = Callable[[float, float], float]
SHA256 = "0" * 64
NETWORKS = ("resnet-20", "plain-20", "resnet-56", "plain-56")


def bowl(a: float, b: float) -> float:
    """Reaches 0.1 above its centre at a radius of 0.2."""
    return 0.5 + 2.5 * (a * a + b * b)


def slope(a: float, b: float) -> float:
    """Not the same along both axes."""
    return 2 + a + 0.1 * b


def rough(a: float, b: float) -> float:
    return bowl(a, b) * (1 + 0.5 * math.sin(40 * a + 23 * b) ** 2)


def rows(loss: Loss, width: int = 21, height: int = 21, seed: int = 0) -> list[SurfaceRow]:
    points = [(a, b, 2_000, SHA256) for b in axis(1.0, height) for a in axis(1.0, width)]
    return [
        SurfaceRow(seed, a, b, loss(a, b), 30.0, images, 0, sample, stream="directions")
        for a, b, images, sample in [*points, (0.0, 0.0, 50_000, "1" * 64)]
    ]


def add(
    bench: Bench,
    network: str,
    loss: Loss,
    ratio: float = 0.01,
    seeds: int = 1,
    width: int = 21,
    seed: int = 0,
    height: int = 21,
) -> RunFolder:
    folder = bench.add(network, 8.0 if network.startswith("resnet") else 9.5, seed=seed)
    measured = [row for plane in range(seeds) for row in rows(loss, width, height, seed=plane)]
    folder.write_measured("surface", measured, ORIGIN)
    ends = [CurvatureRow(0, 0.0, 0.0, -ratio * 50, 50.0, 2_000, 0, SHA256)]
    folder.write_measured("curvature", ends, ORIGIN)
    return folder


@pytest.mark.parametrize("preset", ["paper", "quarter", "short"])
def test_their_recipe_divides_the_rate_three_times(bench: Bench, preset: Any) -> None:
    for run in bench.experiment("surface-recipe", preset).resolve():
        ends = [milestone / run.recipe.iterations for milestone in run.recipe.milestones]
        assert ends == pytest.approx([150 / 300, 225 / 300, 275 / 300], abs=1e-4)
        assert run.recipe.momentum_form == "torch"


def test_runs_by_another_recipe_are_not_an_experiments_own(bench: Bench) -> None:
    """`surface-recipe` changes the preset's recipe; `surface` measures runs that follow it."""
    add(bench, "plain-20", bowl)
    results = Results(bench.store)
    assert figure_names(bench.experiment("surface"), results)
    assert results.cells_of(bench.experiment("surface-recipe")) == []
    theirs = {"nesterov": True, "weight_decay": 0.0005, "iterations": 1_000, "milestones": [500]}
    bench.add("plain-20", 9.0, recipe=theirs)
    (cell,) = Results(bench.store).cells_of(bench.experiment("surface-recipe"))
    assert "nesterov=true" in cell.group.changes
    bench.add("plain-20", 9.0, recipe=theirs | {"weight_decay": 0.001})  # with --set
    bench.add("plain-20", 9.0, recipe={"batch_size": 64})
    cells = Results(bench.store).cells_of(bench.experiment("surface-recipe"))
    assert ["nesterov=true" in cell.group.changes for cell in cells] == [True, True]


def test_what_is_missing_is_to_be_measured_as_the_rest_was(bench: Bench) -> None:
    def missing() -> list[tuple[str, str]]:
        gaps = gaps_of(bench.experiment("surface"), Results(bench.store))
        return [(gap.what, gap.command) for gap in gaps]

    folders = [add(bench, network, bowl) for network in NETWORKS[:2]]
    for network in NETWORKS[2:]:
        bench.add(network)
    both = "loss surface and curvature of the loss of ResNet-56, plain-56"
    command = "resnet-repro run surface --networks resnet-56,plain-56"
    assert missing() == [(both, command)]
    chosen = "--set 'surface.points=[21,21]' --set surface.images=2000"
    for folder in folders:
        typed = f"resnet-repro run surface --time-budget 1h {chosen} --set recipe.iterations=9"
        origin = ORIGIN.model_copy(update={"command": typed})
        folder.write_measured("surface", rows(bowl), origin)
        folder.write_measured("curvature", [CurvatureRow(0, 0, 0, -1, 50, 9, 0, SHA256)], origin)
    assert missing() == [(both, f"{command} {chosen}")]
    later = typed.replace("1h", "2h") + " --set curvature.images=2000"
    for folder in folders:  # the two measurements by different commands
        origin = ORIGIN.model_copy(update={"command": later})
        folder.write_measured("curvature", [CurvatureRow(0, 0, 0, -1, 50, 9, 0, SHA256)], origin)
    assert missing() == [(both, f"{command} {chosen} --set curvature.images=2000")]
    folders[0].write_measured("surface", rows(bowl), ORIGIN)  # otherwise than the other
    assert missing() == [(both, f"{command} --set curvature.images=2000")]


def test_the_end_of_one_networks_path_is_not_that_of_others(bench: Bench) -> None:
    typed = "resnet-repro run path --set path.to=resnet-20-cifar10-custom --set path.points=5"
    origin = ORIGIN.model_copy(update={"command": typed})
    line = [PathRow("resnet-20", 0.0, 0.5, 30.0, 9, 0, SHA256, "interpolated")]
    for seed in (0, 1):
        bench.add("plain-20", seed=seed)
        bench.add("resnet-20", seed=seed).write_measured("path", line, origin)
    (gap,) = gaps_of(bench.experiment("path"), Results(bench.store))
    assert gap.command == "resnet-repro run path --networks plain-20 --set path.points=5"


def test_a_group_that_undoes_the_experiments_change_is_its_own(
    bench: Bench, tmp_path: Path
) -> None:
    (tmp_path / "mine.yaml").write_text(
        "name: mine\ntitle: A control\nrecipe: {weight_decay: 0.0005}\n"
        "runs:\n  - networks: [resnet-20]\n"
        "  - {networks: [plain-20], recipe: {weight_decay: 0.0001}}\ntable: {kind: errors}\n",
        encoding="utf-8",
    )
    for network in ("plain-20", "resnet-20"):
        bench.add(network, 9.0)
    cells = Results(bench.store).cells_of(load_experiment(str(tmp_path / "mine.yaml")))
    assert [cell.network for cell in cells] == ["plain-20"]


def surface(bench: Bench, loss: Loss, width: int = 21, height: int = 21) -> Surface:
    folder = bench.add("resnet-20")
    folder.write_measured("surface", rows(loss, width, height), ORIGIN)
    (found,) = surfaces_of(bench.store.all_runs()[0])
    return found


def test_a_grid_is_read_the_right_way_round(bench: Bench) -> None:
    found = surface(bench, slope, 5, 3)
    assert found.loss.shape == (3, 5)
    assert found.loss[0].tolist() == pytest.approx([0.9, 1.4, 1.9, 2.4, 2.9])
    assert found.centre == 2
    assert found.highest == pytest.approx(3.1)
    assert found.line.tolist() == pytest.approx([1, 1.5, 2, 2.5, 3])


def test_a_bowl_is_convex_and_as_wide_as_it_is(bench: Bench) -> None:
    found = surface(bench, bowl)
    assert found.violations == 0
    assert found.contour(0.6) == pytest.approx((0.2, 1), abs=0.01)
    assert found.contour(2.5) == pytest.approx((math.sqrt(0.8), 1), abs=0.01)
    corner = np.mean([min(1 / abs(math.cos(t)), 1 / abs(math.sin(t))) for t in ANGLES])
    assert found.contour(1e6) == pytest.approx((corner, 0), rel=0.01), "cut off where it ends"
    assert found.contour(bowl(1.1, 0)).reached == 0.5, "from 25 to 65 degrees"


ANGLES = [2 * math.pi * (n + 0.25) / 720 for n in range(720)]


def test_a_line_has_a_width_and_a_curvature_as_well(bench: Bench) -> None:
    found = surface(bench, bowl, 21, 1)
    assert found.loss.shape == (1, 21)
    assert found.violations == 0
    assert found.contour(0.6) == pytest.approx((0.2, 1), abs=0.01)


def test_what_is_not_convex_is_counted_and_rounding_is_not(bench: Bench) -> None:
    def bump(a: float, b: float) -> float:
        return 5.0 if (a, b) == (0.5, 0.5) else 2.0 * (1 + 1e-3 * math.sin(100 * a))

    found = surface(bench, bump, 5, 5)
    assert found.violations == pytest.approx(100 * 2 / 30)  # on its row and on its column


def test_an_infinite_loss_is_a_violation_and_far_away(bench: Bench) -> None:
    found = surface(bench, lambda a, b: math.inf if a > 0.5 else bowl(a, b), 21, 21)
    assert 0 < found.violations < 30
    assert math.isfinite(found.contour(0.6).radius)


def test_the_claims_are_judged_by_what_was_measured(bench: Bench) -> None:
    for network in NETWORKS:
        loss, ratio = (rough, 0.3) if network == "plain-56" else (bowl, 0.01)
        add(bench, network, loss, ratio, seeds=2)
    verdicts = {v.claim.id: v for v in judge(load_claims(), Results(bench.store))}
    assert verdicts["surface-56-rougher"].word == "consistent"
    assert verdicts["surface-56-curvature"].word == "consistent"
    assert verdicts["surface-56-narrower"].word == "consistent"
    assert verdicts["surface-20-alike"].word == "consistent"
    assert verdicts["surface-20-as-wide"].word == "consistent"
    assert "ResNet-56 0.01" in verdicts["surface-56-curvature"].numbers
    text = bench.report()
    assert (
        "- **Claims of Li et al. 2018**: 4 of 4 judged: ✓ 4 consistent; all as a trend only. "
        "Questions of our own: 1 of 1 judged: ✓ 1 consistent; all as a trend only.\n"
    ) in text
    found = section(text, "What was found")
    ours, theirs = found.split("\nClaims of Li et al. 2018:\n")
    assert "Li et al." not in ours
    assert theirs.count("| ✓ consistent (trend) | Li et al.: ") == 4
    assert theirs.count("| ✓ consistent (trend) | Our own question: ") == 1


def test_only_surfaces_on_the_same_grid_are_compared(bench: Bench) -> None:
    def verdict() -> Verdict:
        return next(v for v in judge(load_claims(), Results(bench.store)) if v.claim.id == alike)

    alike, grid = (
        "surface-20-alike",
        "measured at 21 x 21 points from -1 to 1, over 2,000 training images",
    )
    add(bench, "resnet-20", bowl, seeds=2)
    add(bench, "plain-20", bowl, seeds=2, width=11)
    assert verdict().numbers == (
        f"lacks plain-20 (1 trained, without this measurement); the others are {grid}"
    )
    same = add(bench, "plain-20", bowl, seeds=2, seed=1)
    assert verdict().word == "consistent"
    assert f"; {grid}; seeds without this measurement: plain-20 (1)" in verdict().numbers
    assert len(verdict().runs) == 2
    assert same.path.name in verdict().runs


def steep(a: float, b: float) -> float:
    """Reaches 0.1 above its centre at a radius of 0.05."""
    return 1e-4 + 40 * (a * a + b * b)


def wider(a: float, b: float) -> float:
    """At twice that, and yet on 9 x 9 points it would measure less."""
    return 0.05 + 10 * (a * a + b * b)


def trough(a: float, b: float) -> float:
    """Is left along one of the axes alone."""
    return 0.5 + 2.5 * b * b


@pytest.mark.parametrize(
    ("pair", "width", "judged"),
    [
        ((steep, wider), 9, False),
        ((steep, wider), 19, False),
        ((steep, wider), 21, True),
        ((trough, bowl), 21, False),
        ((lambda a, b: 1.0,) * 2, 21, False),
    ],
)
def test_a_valley_whose_width_the_grid_cannot_tell_judges_nothing(
    bench: Bench, pair: tuple[Loss, Loss], width: int, judged: bool
) -> None:
    for network, loss in zip(NETWORKS, pair, strict=False):
        add(bench, network, loss, seeds=2, width=width, height=width)
    found = {v.claim.id: v for v in judge(load_claims(), Results(bench.store))}
    assert found["surface-20-alike"].judged, "convexity is told"
    assert found["surface-20-as-wide"].judged == judged
    if not judged:
        reason = (
            "1 trained, without planes of 2 seeds of directions that hold the contour, in steps of "
            "at most 0.1"
        )
        assert f"ResNet-20 ({reason})" in found["surface-20-as-wide"].numbers


def test_a_run_without_a_surface_lacks_the_measurement_and_not_its_contour(bench: Bench) -> None:
    add(bench, "resnet-20", steep, seeds=2, width=9, height=9)
    bench.add("plain-20")
    found = {v.claim.id: v.numbers for v in judge(load_claims(), Results(bench.store))}
    assert found["surface-20-as-wide"] == (
        "lacks ResNet-20 (1 trained, without planes of 2 seeds of directions that hold the "
        "contour, in steps of at most 0.1), plain-20 (1 trained, without this measurement)"
    )


def test_eigenvalues_over_other_images_are_not_compared(bench: Bench) -> None:
    add(bench, "resnet-56", bowl)
    ends = [CurvatureRow(0, 0.0, 0.0, -0.5, 50.0, 500, 0, SHA256)]
    add(bench, "plain-56", bowl).write_measured("curvature", ends, ORIGIN)
    found = {v.claim.id: v.numbers for v in judge(load_claims(), Results(bench.store))}
    assert found["surface-56-curvature"] == (
        "lacks plain-56 (1 trained, without this measurement); the others are measured over "
        "2,000 training images"
    )


def test_the_opposite_is_another_trend(bench: Bench) -> None:
    for network in NETWORKS:
        loss, ratio = (rough, 0.3) if network.startswith("resnet") else (bowl, 0.01)
        add(bench, network, loss, ratio, seeds=2)
    verdicts = {v.claim.id: v for v in judge(load_claims(), Results(bench.store))}
    for claim in ("surface-56-rougher", "surface-20-alike"):
        assert (verdicts[claim].word, verdicts[claim].opposed) == ("undecided", True)


def test_lines_are_no_planes(bench: Bench) -> None:
    for network in ("resnet-20", "plain-20"):
        add(bench, network, bowl, seeds=2, height=1)
    claims = [claim for claim in load_claims() if claim.id.startswith("surface-20")]
    for verdict in judge(claims, Results(bench.store)):
        assert verdict.word == "not run", verdict.claim.id


def test_a_direction_has_one_colour_in_all_panels(bench: Bench) -> None:
    add(bench, "resnet-20", bowl, seeds=2)
    folder = add(bench, "plain-20", bowl)
    folder.write_measured("surface", rows(bowl, seed=1), ORIGIN)
    experiment, results = load_experiment("surface"), Results(bench.store)
    figure = build(experiment, results, next(iter(results.numbers)), "lines")
    named = {
        t.get_text(): h.get_color()
        for t, h in zip(figure.legends[0].get_texts(), figure.legends[0].get_lines(), strict=True)
    }
    colours = [[line.get_color() for line in axes.get_lines()] for axes in figure.axes[:2]]
    assert sorted(colours, key=len) == [
        [named["direction of seed 1"]],
        [named["direction of seed 0"], named["direction of seed 1"]],
    ]


def test_one_plane_judges_nothing(bench: Bench) -> None:
    add(bench, "resnet-20", bowl, seeds=2)
    add(bench, "plain-20", bowl)
    found = {v.claim.id: v.numbers for v in judge(load_claims(), Results(bench.store))}
    grid = "the others are measured at 21 x 21 points from -1 to 1, over 2,000 training images"
    lacks = "lacks plain-20 (1 trained, without planes of 2 seeds of directions"
    assert found["surface-20-alike"] == f"{lacks}); {grid}"
    assert found["surface-20-as-wide"].startswith(f"{lacks} that hold the contour")


def test_a_plane_along_the_initial_weights_is_left_out(bench: Bench) -> None:
    """As earlier versions measured around the run with the directions' seed."""
    folder = add(bench, "plain-20", bowl, seed=1)
    (run,) = bench.store.all_runs()
    assert run.run
    earlier = [row._replace(stream=None) for plane in (0, 1, 2) for row in rows(bowl, seed=plane)]
    folder.write_measured("surface", earlier, ORIGIN)
    around = [(1, 0.5, 0.5), (2, 0.5, 0.5), (1, 0.0, 0.0)]
    ends = [CurvatureRow(*at, -1, 50, 2_000, 0, SHA256) for at in around]
    folder.write_measured("curvature", ends, ORIGIN)
    (run,) = bench.store.all_runs()
    assert run.problem is None
    assert [surface.directions for surface in surfaces_of(run)] == [0, 2]
    assert [row.images for row in run.rows("surface") if row.directions == 1] == [2_000, 50_000]
    assert [row[:3] for row in run.rows("curvature")] == around[1:]
    assert eigenvalue_ratio(run) == 0.02
    settings = SurfaceSettings(points=(21, 21), images=2_000, directions=(0, 1, 2))
    assert not is_measured(bench.store, run, "surface", settings)
    folder.write_measured("surface", [row for row in earlier if row.directions == 1], ORIGIN)
    (run,) = bench.store.all_runs()
    assert (run.problem, run.has("surface")) == (None, False), "a centre is no surface"
    folder.write_measured("surface", [row._replace(stream="directions") for row in earlier], ORIGIN)
    (run,) = bench.store.all_runs()
    assert [surface.directions for surface in surfaces_of(run)] == [0, 1, 2]
    assert is_measured(bench.store, run, "surface", settings)


def test_a_plane_that_is_left_out_is_missing_and_pictures_with_it_are_out_of_date(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index, network in enumerate(NETWORKS):
        folder = add(bench, network, bowl, seeds=2)
        both = [row for seed in (0, 1) for row in rows(bowl, seed=seed)]
        old = [row._replace(loss=row.loss + index, stream=None) for row in both]
        folder.write_measured("surface", old, ORIGIN)
        ends = [CurvatureRow(1, 0.0, 0.0, -1, 50, 2_000, 0, SHA256)]
        folder.write_measured("curvature", ends, ORIGIN)

    now = bench.mark("surface")
    (gap,) = gaps_of(load_experiment("surface"), Results(bench.store))
    assert gap.what == "loss surface of ResNet-20, plain-20, ResNet-56, plain-56"
    assert gap.command == "resnet-repro run surface"
    monkeypatch.setattr(stored_run, "_without_initial_weights", lambda table, run: table)
    assert gaps_of(load_experiment("surface"), Results(bench.store)) == []
    assert bench.mark("surface") != now


def test_the_run_with_most_planes_is_drawn(bench: Bench) -> None:
    for seed, planes in ((0, 1), (1, 2), (2, 2)):
        add(bench, "resnet-20", bowl, seeds=planes, seed=seed)
    results = Results(bench.store)
    (cell,) = (c for c in results.cells_of(bench.experiment("surface")) if c.done)
    (panel,) = panels_of([cell])
    assert (panel.run.run.seed, len(panel.surfaces)) == (1, 2)


def test_without_a_measurement_there_is_no_number(bench: Bench) -> None:
    bench.add("resnet-20")
    (run,) = bench.store.all_runs()
    assert surfaces_of(run) == []
    assert eigenvalue_ratio(run) is None


def pictured(bench: Bench, kind: str) -> Any:
    experiment, results = bench.experiment("surface"), Results(bench.store)
    group = figure_names(experiment, results)["surface"]
    return build(experiment, results, group, kind)


def caption(figure: Any) -> str:
    return " ".join(text.get_text() for text in figure.texts).replace("\n", " ")


def test_contours_have_the_same_levels_and_name_the_errors(bench: Bench) -> None:
    for network in NETWORKS[:3]:
        add(bench, network, slope if network == "plain-20" else bowl, seeds=2)
    figure = pictured(bench, "draw")
    panels = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in panels] == [
        "ResNet-20\ntest error 8.00%",
        "plain-20\ntest error 9.50%",
        "ResNet-56\ntest error 8.00%",
    ]
    drawn = [c for axes in figure.axes for c in axes.collections if hasattr(c, "levels")]
    rows = [axes.get_ylabel() for axes in figure.axes]
    assert rows == ["plane of seed 0"] * 3 + ["plane of seed 1"] * 3, (
        "a row for each seed of directions"
    )
    assert {tuple(c.levels) for c in drawn if not c.filled} == {LEVELS}
    text = caption(figure)
    assert "at 21 x 21 points from -1 to 1, over 2,000 training images" in text
    assert "not run: plain-56" in text
    assert "λ: eigenvalues of the Hessian" in text
    lines = [line.get_text() for line in figure.texts]
    assert [line.partition(":")[0] for line in lines if ": loss" in line] == [
        "ResNet-20",
        "plain-20",
        "ResNet-56",
    ], "a line for each network"
    assert (
        "ResNet-20: loss 0.50 (of all 50,000 images 0.50) to 5.5, 0.0% not convex along lines, "
        "mean radius 0.20 where it is 0.1 higher, 0.89 where it is 2.5, "
        "|λmin/λmax| 0.01"
    ) in text


def test_numbers_are_means_over_the_directions_that_are_drawn(bench: Bench) -> None:
    folder = add(bench, "resnet-20", bowl)
    wider = rows(lambda a, b: bowl(a / 2, b / 2), seed=1)
    folder.write_measured("surface", rows(bowl) + wider, ORIGIN)
    captions = {name: caption(pictured(bench, name)) for name in ("draw", "relief")}
    assert "means over the directions" in captions["draw"]
    assert "mean radius 0.30 where it is 0.1 higher" in captions["draw"]
    assert "mean radius 0.20 where it is 0.1 higher" in captions["relief"], "of the first alone"


@pytest.mark.parametrize(
    ("loss", "says"),
    [
        (lambda a, b: bowl(a / 2, b / 2), "radius 0.40 where it is 0.1 higher, 2.5 not reached"),
        (lambda a, b: 1.0, "along lines, 0.1 higher not reached, 2.5 not reached"),
        (trough, "mean radius over 0.42 where it is 0.1 higher, over 1.06 where"),
    ],
)
def test_a_caption_says_where_the_grid_ends_before_a_contour(
    bench: Bench, loss: Loss, says: str
) -> None:
    add(bench, "resnet-20", loss)
    assert says in caption(pictured(bench, "draw"))


@pytest.mark.parametrize("view", ["draw", "relief"])
def test_axes_are_as_long_as_the_grid(bench: Bench, view: str) -> None:
    folder = add(bench, "resnet-20", bowl)
    near = [row._replace(alpha=row.alpha / 4, beta=row.beta / 4) for row in rows(bowl)]
    folder.write_measured("surface", near, ORIGIN)
    axes = pictured(bench, view).axes[0]
    assert axes.get_xticks().tolist() == axes.get_yticks().tolist() == [-0.25, 0, 0.25]
    assert axes.get_xlim()[1] < 0.3


def test_reliefs_have_one_logarithmic_axis(bench: Bench) -> None:
    add(bench, "resnet-20", bowl)
    add(bench, "plain-20", lambda a, b: 100 * bowl(a, b))
    figure = pictured(bench, "relief")
    assert [axes.name for axes in figure.axes] == ["3d", "3d"]
    assert {axes.get_zlim() for axes in figure.axes} == {(-1, 3)}
    heights = [label.get_text() for label in figure.axes[0].get_zticklabels()]
    assert heights == ["0.1", "1", "10", "100", "1000"]


def test_lines_show_the_first_direction_of_each_seed(bench: Bench) -> None:
    add(bench, "resnet-20", slope, seeds=2)
    figure = pictured(bench, "lines")
    loss, error = figure.axes
    assert len(loss.get_lines()) == len(error.get_lines()) == 2
    assert loss.get_lines()[0].get_ydata().tolist() == pytest.approx([2 + a for a in axis(1, 21)])
    assert set(error.get_lines()[0].get_ydata()) == {30.0}
    assert "drawn at these ends" not in caption(figure)


@pytest.mark.parametrize(("networks", "seeds"), [(1, 2), (1, 7), (2, 3)])
def test_the_key_of_all_directions_is_in_the_picture(
    bench: Bench, networks: int, seeds: int
) -> None:
    for network in NETWORKS[:networks]:
        add(bench, network, slope, seeds=seeds)
    figure = pictured(bench, "lines")
    FigureCanvasAgg(figure).draw()
    (key,) = figure.legends
    box, whole = key.get_window_extent(), figure.bbox
    assert len(key.get_texts()) == seeds
    assert whole.x0 <= box.x0 < box.x1 <= whole.x1
    assert figure.axes[0].title.get_window_extent().y1 <= box.y0


@pytest.mark.parametrize("far", [1e5, math.inf, math.nan])
@pytest.mark.parametrize("view", ["lines", "relief"])
def test_losses_that_are_drawn_at_the_end_of_the_axis_are_said(
    bench: Bench, view: str, far: float
) -> None:
    add(bench, "resnet-20", lambda a, b: far if a == 1 else bowl(a, b))
    assert "losses outside 0.001 to 10,000 are drawn at these ends" in caption(
        pictured(bench, view)
    )


def test_a_path_is_drawn_beside_runs_that_have_none(bench: Bench) -> None:
    folder = bench.add("resnet-20")
    there = [
        PathRow("resnet-20-s1", x, 0.5 + x, 30.0, 2_000, 0, SHA256, "interpolated")
        for x in (0.0, 1.0)
    ]
    folder.write_measured("path", there, ORIGIN)
    bench.add("plain-20", state="failed")
    bench.add("plain-20", seed=1)
    experiment, results = bench.experiment("path"), Results(bench.store)
    figure = build(experiment, results, figure_names(experiment, results)["path"])
    assert figure.axes[0].get_title().startswith("ResNet-20")
    assert "not measured: plain-20 (1 run)" in caption(figure)
    assert "failed runs left out: plain-20 (1 run)" in caption(figure)
    assert "1 seed;" in caption(figure), "not per network: one is drawn"
    assert "beyond 0 and 1 BN's variances are extrapolated" in caption(figure)


def test_a_page_without_plotly_says_how_to_get_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(bench, "resnet-20", bowl)
    monkeypatch.setitem(sys.modules, "plotly.graph_objects", None)
    with pytest.raises(ConfigError, match=r"pip install 'resnet-repro\[html\]'"):
        pictured(bench, "html")


def test_a_page_can_be_turned(bench: Bench) -> None:
    pytest.importorskip("plotly")
    add(bench, "resnet-20", bowl)
    text = pictured(bench, "html")
    assert "<html>" in text[:100]
    assert "ResNet-20, test error 8.00%" in text
    assert text == pictured(bench, "html")


def test_a_surface_has_three_pictures_and_other_figures_no_page(bench: Bench) -> None:
    add(bench, "resnet-20", bowl)
    results = Results(bench.store)
    drawn = list(draw(bench.experiment("surface"), results))
    assert [picture.name for picture in drawn] == ["surface", "surface-relief", "surface-lines"]
    assert drawn == list(draw(bench.experiment("surface"), results))
    with pytest.raises(ConfigError, match="cannot be drawn as html"):
        list(draw(bench.experiment("fig1"), results, "html"))


def test_the_tidy_file_has_every_point(bench: Bench) -> None:
    folder = add(bench, "resnet-20", slope)
    lines = tidy_csv(bench.experiment("surface"), Results(bench.store)).splitlines()
    assert len(lines) == 1 + 21 * 21 + 1
    assert folder.path.name in lines[1]
    first = f",0,-1.0,-1.0,{slope(-1, -1)!r},30.0,2000,0,{SHA256},directions,"
    assert lines[1].endswith(f"{first}paper-cifar10")


def test_a_line_alone_can_be_drawn(bench: Bench) -> None:
    folder = bench.add("resnet-20")
    folder.write_measured("surface", rows(bowl, 21, 1), ORIGIN)
    experiment, results = bench.experiment("surface"), Results(bench.store)
    (drawn,) = draw(experiment, results)
    assert (drawn.name, drawn.content[:4]) == ("surface", b"\x89PNG")
    assert [view for _, view in pictures(experiment, results).values()] == ["lines"]
    with pytest.raises(ConfigError, match="a line here, no surface"):
        list(draw(experiment, results, "html"))
    add(bench, "plain-20", bowl)
    names = list(pictures(experiment, Results(bench.store)))
    assert names == ["surface", "surface-relief", "surface-lines"], "one of two is a grid"
