"""What the ImageNet family costs, by arithmetic: `list`, `run --dry-run` and their parts."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from made_up_origin import ORIGIN
from torch.utils.flop_counter import FlopCounterMode

from resnet_repro.base.machine import cpu_name
from resnet_repro.networks.detector_cost import forward_cost
from resnet_repro.networks.network import build_network
from resnet_repro.networks.outline import outline
from resnet_repro.plan.estimator import Estimator
from resnet_repro.plan.overview import list_experiments, plan_measuring, plan_runs
from resnet_repro.spec.detection import Detection
from resnet_repro.spec.experiment import Choices, Experiment
from resnet_repro.spec.loading import load_experiment
from resnet_repro.spec.measurements import EvaluationRow, SurfaceRow
from resnet_repro.spec.run import Run
from resnet_repro.store.store import Store


def table2(preset: Any = "paper", dataset: str | None = None, **more: Any) -> Experiment:
    choices = Choices(preset=preset, dataset=dataset, **more)
    return load_experiment("table2", choices=choices)


def bench_file(store: Store, rows: list[dict[str, Any]]) -> None:
    """What `resnet-repro bench` writes, as far as estimates need it."""
    store.root.mkdir(parents=True, exist_ok=True)
    with store.csv_path("bench").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["hardware", "network", "images_per_second", "crop"])
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.parametrize("side", [32, 64, 73, 99])
@pytest.mark.parametrize("network", ["resnet-34-b", "resnet-50", "resnet-50-v1.5"])
def test_multiply_adds_at_other_crops(network: str, side: int) -> None:
    with torch.device("meta"):
        model, image = build_network(network).eval(), torch.empty(1, 3, side, side)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(image)
    assert outline(network, side).multiply_adds == counter.get_total_flops() // 2


def test_training_an_imagenet_network_scales_with_the_crop(tmp_path: Path) -> None:
    store = Store(tmp_path)
    rows = [{"hardware": cpu_name(), "network": "plain-18", "images_per_second": 50, "crop": 64}]
    bench_file(store, rows)
    estimator = Estimator(store, "cpu")
    (small, *_) = table2("short", "imagenette").resolve()
    tested = 20 * 3_925 + 100 * 64  # points of the curve, and averaging BN's statistics
    assert estimator.seconds(small) == pytest.approx((6_000 * 64 + tested / 3) / 50)
    larger = outline("plain-18", 224).multiply_adds / outline("plain-18", 64).multiply_adds
    assert estimator.images_per_second("plain-18") == pytest.approx(50 / larger)


def test_a_folders_test_images_count_where_they_are_known(tmp_path: Path) -> None:
    store = Store(tmp_path)
    rows = [{"hardware": cpu_name(), "network": "plain-18", "images_per_second": 50, "crop": 64}]
    bench_file(store, rows)
    (run, *_) = table2("short", "folder:birds").resolve()
    unknown, known = (Estimator(store, "cpu", test_images=i) for i in ({}, {"folder:birds": 70}))
    assert unknown.doubt(run) == "how many test images folder:birds has is not known yet"
    assert (unknown.basis(run), known.basis(run)) == ("guessed", "measured")
    assert unknown.seconds(run) - known.seconds(run) == pytest.approx(20 * (10_000 - 70) / 3 / 50)


def test_networks_of_the_family_go_before_others(tmp_path: Path) -> None:
    rows = [
        {"hardware": cpu_name(), "network": network, "images_per_second": speed, "crop": ""}
        for network, speed in (("resnet-20", 1_000.0), ("plain-18", 10.0))
    ]
    store = Store(tmp_path)
    bench_file(store, rows)
    estimator = Estimator(store, "cpu")
    ratio = outline("plain-18").multiply_adds / outline("resnet-50").multiply_adds
    assert estimator.images_per_second("resnet-50") == pytest.approx(10 * ratio)
    bench_file(store, rows[:1])
    kinds = {line.experiment: line.estimate for line in list_experiments(store, [table2()])}
    assert kinds == {"table2": "guessed"}, "CIFAR networks say little of ImageNet's"


def test_testing_from_many_views_is_part_of_the_cost(tmp_path: Path) -> None:
    store = Store(tmp_path)
    rows = [{"hardware": cpu_name(), "network": "resnet-34-b", "images_per_second": 9, "crop": 64}]
    bench_file(store, rows)
    estimator = Estimator(store, "cpu")
    choices = Choices(preset="short", dataset="imagenette", networks=["resnet-34-b"])
    experiment = load_experiment("table4", choices=choices)
    (run,) = experiment.resolve()
    ten = estimator.measuring_seconds(run, experiment, ["10-crop"])
    assert ten == pytest.approx(10 * 3_925 / 3 / 9)
    several = estimator.measuring_seconds(run, experiment, ["multi-scale"])
    areas = sum((side / 64) ** 2 for side in (64, 73, 110, 137, 183))
    assert several == pytest.approx(2 * 4 / 3 * areas * 3_925 / 3 / 9, rel=0.12)
    assert estimator.measuring_seconds(run, experiment, ["responses"]) == 0


def test_loss_surfaces_are_part_of_the_cost_until_they_are_measured(tmp_path: Path) -> None:
    store = Store(tmp_path)
    rows = [{"hardware": cpu_name(), "network": "plain-20", "images_per_second": 100, "crop": ""}]
    bench_file(store, rows)
    choices = Choices(preset="short", networks=["plain-20"])
    experiment = load_experiment("surface", ["surface.points=[5,3]"], choices)
    (run,) = experiment.resolve()
    (line,) = plan_measuring(store, [experiment], Estimator(store, "cpu"), force=False)
    assert line.measurements == ("surface", "curvature")
    forward = 2 * 15 * 2_000 + 50_000 + 60 * 6 * 2_000
    assert line.seconds == pytest.approx(forward / 3 / 100)
    changes = ["surface.points=[5,3]", "surface.images=null"]
    demo = load_experiment("surface", changes, Choices(preset="demo", networks=["plain-20"]))
    (small,) = demo.resolve()
    seconds = Estimator(store, "cpu").measuring_seconds(small, demo, ["surface"])
    forward = (15 * len(demo.settings_of("surface").directions) + 1) * 10_000  # of `synthetic`
    assert seconds == pytest.approx(forward / 3 / 100 / 4, rel=1e-3), "of 16 pixels"
    settings = experiment.settings_of("surface")
    points = [
        SurfaceRow(seed, alpha, beta, 1.0, 50.0, 2_000, 0, "a" * 64, stream="directions")
        for seed in settings.directions
        for beta in settings.betas
        for alpha in settings.alphas
    ]
    for rows, views in ((points[:-1], ("surface", "curvature")), (points, ("curvature",))):
        store.folder(run).write_config(run)
        store.folder(run).write_measured("surface", rows, ORIGIN)
        (line,) = plan_measuring(store, [experiment], Estimator(store, "cpu"), force=False)
        assert line.measurements == views


def test_the_plan_has_the_views_that_are_not_measured_yet(tmp_path: Path) -> None:
    store, experiment = Store(tmp_path), table2("short", "imagenette")
    runs = experiment.resolve()
    lines = plan_measuring(store, [experiment, experiment], Estimator(store, "cpu"), force=False)
    assert [line.run for line in lines] == [run.id for run in runs], "shared runs once"
    assert {line.measurements for line in lines} == {("10-crop",)}
    row = EvaluationRow("10-crop", 25.0, 5.0, 1.0, 3_925, "average", "0" * 64)
    store.folder(runs[0]).write_measured("evaluations", [row], ORIGIN)
    assert len(plan_measuring(store, [experiment], Estimator(store, "cpu"), force=False)) == 3
    assert len(plan_measuring(store, [experiment], Estimator(store, "cpu"), force=True)) == 4
    assert (
        plan_measuring(store, [load_experiment("fig1")], Estimator(store, "cpu"), force=False) == []
    )


def test_nothing_is_measured_on_what_detectors_start_from(tmp_path: Path) -> None:
    experiment = load_experiment("table8", choices=Choices(preset="short"))
    runs, estimator = experiment.resolve(), Estimator(Store(tmp_path), "cpu")
    lines = plan_measuring(Store(tmp_path), [experiment], estimator, force=False)
    assert [line.run for line in lines] == [runs[1].id, runs[3].id]
    training = sum(map(estimator.seconds, runs))
    _, line, _ = list_experiments(Store(tmp_path), [load_experiment("table8")])
    assert line.preset == "short"
    assert line.seconds_left == pytest.approx(training + sum(each.seconds for each in lines))


def test_a_run_is_planned_with_its_cost(tmp_path: Path) -> None:
    runs: tuple[Run, ...] = table2().resolve()
    lines = plan_runs(Store(tmp_path), runs, Estimator(Store(tmp_path), "cpu"), force=False)
    assert [line.iterations for line in lines] == [600_000] * 4
    eighteen, _, thirty_four, _ = (line.seconds_left for line in lines)
    assert eighteen is not None
    assert thirty_four is not None
    assert thirty_four / eighteen == pytest.approx(3.644 / 1.795, rel=1e-3)


@pytest.fixture
def printed(command: Callable[..., Any], tmp_path: Path) -> Callable[..., str]:
    """What a command prints that succeeds; its results would be in `tmp_path`."""

    def call(*words: str) -> str:
        answer = command(*words, "--results", tmp_path)
        assert answer.code == 0, answer.err
        return answer.out

    return call


def test_the_full_plan_on_imagenet_needs_no_photographs(
    printed: Callable[..., str], tmp_path: Path
) -> None:
    words = ("--dry-run", "--preset", "paper", "--dataset", "imagenet", "--device", "cpu")
    out = printed("run", "table2", *words)
    for network in ("plain-18", "plain-34", "resnet-18-a", "resnet-34-a"):
        assert f"{network}-imagenet-paper-s0-" in out
    assert out.count("0/600,000") == 4
    assert "4 of 4 runs to train, about " in out
    assert "then measure 10-crop on 4 trained networks, about " in out
    assert "table2.csv" in out
    assert not any(tmp_path.iterdir())


def test_reading_commands_know_the_experiments_on_photographs(
    command: Callable[..., Any], printed: Callable[..., str]
) -> None:
    listed = printed("list")
    for name in ("table2", "table3", "table4", "table5", "fig4"):
        assert f"\n{name} " in listed
    assert "resnet-34-b-imagenet-short-s0-" in printed("status", "table5", "--preset", "short")
    assert "28.07" in printed("table", "table3")
    shown = command("show", "table3", "--preset", "demo")
    assert shown.code == 0, shown.err
    assert "photographs:" in shown.out


def test_a_test_image_of_a_detector_has_more_regions_than_a_training_image(tmp_path: Path) -> None:
    choices = Choices(preset="short", dataset="voc:VOCdevkit", networks=["faster-rcnn-resnet-18-a"])
    experiment = load_experiment("table7", choices=choices)
    _, run = experiment.resolve()
    settings = run.recipe.detection
    assert settings is not None
    estimator = Estimator(Store(tmp_path), "cpu", test_images={"voc:VOCdevkit": 100})
    tested = estimator.measuring_seconds(run, experiment, ["average-precision"])
    side, more = settings.shorter_side, settings.model_copy(update={"rois_per_image": 100})
    assert settings.proposals[1] == 100
    shares = forward_cost(run.network, side, more) / forward_cost(run.network, side, settings)
    assert shares > 1.5
    speed = estimator.images_per_second(run.network, side, "auto", settings)
    assert tested == pytest.approx(100 * shares / 3 / speed)


def test_vgg_16s_head_costs_the_same_whatever_a_region_is_said_to_have() -> None:
    seven = Detection(roi_side=7)
    assert forward_cost("faster-rcnn-vgg-16", 600, seven) == forward_cost("faster-rcnn-vgg-16", 600)
    fewer, usual = (forward_cost("faster-rcnn-resnet-18-a", 600, d) for d in (seven, Detection()))
    assert fewer < usual
