"""The pilots of the reduced preset: their experiments load, and their rules decide as written."""

from __future__ import annotations

import importlib.util
import runpy
from itertools import product
from pathlib import Path

import pandas as pd
import pytest

from resnet_repro.spec.experiment import Choices
from resnet_repro.spec.loading import load_experiment
from resnet_repro.spec.presets import preset_recipe
from resnet_repro.store.store import Store

PILOTS = Path(__file__).parents[2] / "benchmarks" / "pilots"
_spec = importlib.util.spec_from_file_location("decide", PILOTS / "decide.py")
assert _spec is not None
assert _spec.loader is not None
decide = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(decide)


@pytest.mark.parametrize(
    ("name", "runs"),
    [
        ("cifar_short", 4),
        ("cifar", 8),
        ("classifier", 4),
        ("imagenette", 4),
        ("detection", 4),
        ("detection_backbone", 1),
        ("detection_size", 2),
    ],
)
def test_the_experiments_load(name: str, runs: int) -> None:
    resolved = load_experiment(str(PILOTS / f"{name}.yaml")).resolve()
    assert len({run.id for run in resolved}) == runs


@pytest.mark.parametrize(
    ("shallow", "deep", "decision"),
    [
        ((14.0, 14.5), (13.0, 14.4), "0.01 first"),
        ((14.0, 14.5), (12.0, 14.6), "16,000 iterations are to be tried"),  # in one seed only
    ],
)
def test_both_seeds_have_to_show_depth(
    shallow: tuple[float, float], deep: tuple[float, float], decision: str
) -> None:
    rows = [
        {"seed": seed, "network": network, "held out": error}
        for network, errors in (("resnet-20", shallow), ("resnet-56", deep))
        for seed, error in enumerate(errors)
    ]
    assert decide.decide_short(pd.DataFrame(rows)) == decision
    assert decide.decide_short(pd.DataFrame(rows[:-1])).startswith("undecided")


@pytest.mark.parametrize(
    ("own", "slow", "start"),
    [
        ((9.0, 8.5), (9.0, 8.4), "as the paper"),  # both show depth, too small a gain
        ((9.0, 8.5), (9.0, 8.1), "0.01 first"),
        ((9.0, 9.1), (9.5, 9.4), "0.01 first"),  # only one shows depth
        ((9.0, 8.9), (9.0, 9.1), "as the paper"),
        ((9.0, 9.1), (9.0, 9.1), "neither shows depth: 16,000 iterations are too few"),
    ],
)
def test_the_start_is_decided_by_depth(
    own: tuple[float, float], slow: tuple[float, float], start: str
) -> None:
    rows = [
        {"start": name, "network": network, "held out": error + seed * 0.1}
        for (name, errors), seed in product((("as the paper", own), ("0.01 first", slow)), (-1, 1))
        for network, error in zip(("resnet-20", "resnet-56"), errors, strict=True)
    ]
    assert decide.decide_start(pd.DataFrame(rows)) == start
    assert decide.decide_start(pd.DataFrame(rows[:-1])).startswith("undecided")


def test_the_shortest_length_at_which_depth_pays() -> None:
    rows = [
        {"iterations": length, "network": network, "train": error}
        for length, errors in ((3000, (30, 31)), (6000, (20, 19)))
        for network, error in zip(("resnet-18-a", "resnet-34-a"), errors, strict=True)
    ]
    assert decide.decide_length(pd.DataFrame(rows)) == "6,000 iterations"
    assert decide.decide_length(pd.DataFrame(rows[:3])) == "6,000 iterations are to be tried"
    never = pd.DataFrame(rows).assign(train=[30, 31] * 2)
    assert decide.decide_length(never).startswith("at none of these lengths: 6,000 iterations")
    assert decide.decide_length(pd.DataFrame(rows[:1])).startswith("undecided")


@pytest.mark.parametrize(
    ("precisions", "size"),
    [((5.0, 6.1), "128"), ((5.0, 5.9), "224"), ((5.0, None), "undecided: both sizes are needed")],
)
def test_smaller_images_have_to_be_better(precisions: tuple[float | None, ...], size: str) -> None:
    rows = pd.DataFrame({"side": (224, 128), "precision": precisions})
    assert decide.decide_size(rows) == size


@pytest.mark.parametrize(
    ("precisions", "rate"),
    [
        ((5.0, 9.0, 9.5, 8.0), "0.005"),
        ((5.0, 7.0, 9.5, 9.9), "0.01"),
        ((5.0, 7.0, 8.5, 9.9), "0.04 is to be tried"),
        ((9.0, 7.0, 8.5, 9.9), "0.002"),
        ((5.0, 7.0, None, 9.9), "undecided: 4 rates are needed"),
    ],
)
def test_the_lowest_rate_that_is_as_good_as_the_best(
    precisions: tuple[float | None, ...], rate: str
) -> None:
    rates = (0.002, 0.005, 0.01, 0.02)
    assert decide.decide_rate(pd.DataFrame({"rate": rates, "precision": precisions})) == rate


@pytest.mark.skipif(not (PILOTS / "results").exists(), reason="no results of pilots")
def test_the_committed_pilot_decides_what_the_preset_has() -> None:
    runs = decide.finished(PILOTS / "results")
    rate = preset_recipe("short", decide.RATED, "voc:VOC-held-out").learning_rate
    assert decide.decide_rate(runs[runs["network"] == decide.RATED]) == f"{rate:g}"
    detection = preset_recipe("short", "faster-rcnn-resnet-18-a", "voc:VOC-held-out").detection
    assert detection is not None
    sized = runs[runs["from"] == decide.SIZED_FROM]
    assert decide.decide_size(sized) == str(detection.shorter_side)
    quarter = preset_recipe("quarter", "resnet-56", "cifar10")
    alike = runs["dataset"].eq("cifar10") & runs["iterations"].eq(quarter.iterations)
    start = "0.01 first" if quarter.warmup else "as the paper"
    assert decide.decide_start(runs[alike & runs["classifier"].eq("he-fan-in")]) == start


@pytest.mark.skipif(not (PILOTS / "results").exists(), reason="no results of pilots")
def test_the_experiments_are_those_of_the_committed_pilots() -> None:
    """Whatever the presets have become since: a file states all that it was decided with.

    But for `--precision fp32`, where `auto` would have been another one than for the other runs.
    """
    files = [load_experiment(str(path)) for path in PILOTS.glob("*.yaml")]
    asked = [e.choose(Choices(precision=p)) for e in files for p in (None, "fp32")]
    ids = {run.id for experiment in asked for run in experiment.resolve()}
    stored = [stored.run for stored in Store(PILOTS / "results").all_runs()]
    assert stored
    assert {run and run.id for run in stored} <= ids


def test_every_tenth_image_with_boxes_is_held_out(tmp_path: Path) -> None:
    year = tmp_path / "VOCdevkit" / "VOC2012"
    names = [f"2012_{number:03}" for number in range(20)]
    for folder, suffix in (("JPEGImages", "jpg"), ("Annotations", "xml")):
        (year / folder).mkdir(parents=True)
        for name in names:
            (year / folder / f"{name}.{suffix}").write_text(name, encoding="utf-8")
    (year / "ImageSets" / "Main").mkdir(parents=True)
    trainval = year / "ImageSets" / "Main" / "trainval.txt"
    trainval.write_text("\n".join(reversed(names)), encoding="utf-8")
    hold_out = runpy.run_path(str(PILOTS / "hold_out.py"))["hold_out_boxes"]
    hold_out(tmp_path / "VOCdevkit", tmp_path / "made")
    made = tmp_path / "made" / "VOC2012"
    lists = {path.stem: path.read_text("utf-8").split() for path in made.rglob("*.txt")}
    assert lists["val"] == ["2012_009", "2012_019"]
    assert sorted(lists["train"] + lists["val"]) == names
    assert {path.stem for path in (made / "Annotations").iterdir()} == set(names)
