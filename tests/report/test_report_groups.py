"""Results of different protocols, data or precision never meet."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_up_results import Bench

from resnet_repro.report.cells import main_group
from resnet_repro.report.groups import Group, _pretraining, slugs
from resnet_repro.report.results import Results
from resnet_repro.spec.detection import Backbone
from resnet_repro.spec.network_names import network_title
from resnet_repro.spec.presets import PRESETS, preset_recipe
from resnet_repro.spec.run import Precision, Run


def groups(bench: Bench) -> list[Group]:
    return list(Results(bench.store).numbers)


def test_preset_dataset_copy_precision_and_recipe_each_make_a_group(bench: Bench) -> None:
    bench.add("resnet-20")
    bench.add("resnet-32", preset="short")
    bench.add("resnet-32", dataset="synthetic")
    bench.add("resnet-44", official=False)
    bench.add("resnet-56", resolved="bf16")
    bench.add("resnet-20", recipe={"batch_size": 64})
    assert len(groups(bench)) == 6


def test_two_copies_of_a_data_set_are_told_apart_by_their_captions(bench: Bench) -> None:
    bench.add("resnet-20", official=False)
    (alone,) = groups(bench)
    assert alone.caption == "paper preset, CIFAR-10 (unofficial copy), fp32"
    other = bench.add("resnet-20", official=False, seed=1)
    text = (other.path / "summary.json").read_text(encoding="utf-8").replace("f" * 64, "e" * 64)
    (other.path / "summary.json").write_text(text, encoding="utf-8")
    bench.add("resnet-32")
    assert sorted(group.caption for group in groups(bench)) == [
        "paper preset, CIFAR-10 (unofficial copy), fp32, data eeeeeeee",
        "paper preset, CIFAR-10 (unofficial copy), fp32, data ffffffff",
        "paper preset, CIFAR-10, fp32",
    ]


def test_seeds_networks_and_how_often_is_measured_do_not(bench: Bench) -> None:
    bench.add("resnet-20")
    bench.add("resnet-20", seed=1, recipe={"evaluate_every": 100})
    bench.add("resnet-110")  # has a warm-up, by the same preset
    assert len(groups(bench)) == 1


def test_a_seed_counts_once_however_often_it_was_tested(bench: Bench) -> None:
    often = bench.add("resnet-20", 8.9, recipe={"evaluate_every": 100})
    seldom = bench.add("resnet-20", 9.0)
    bench.add("resnet-20", 9.5, seed=1)
    bench.add("resnet-20", state="stopped", recipe={"evaluate_every": 2_000})
    results = Results(bench.store)
    (cell,) = results.cells(["resnet-20"])
    assert [run.summary.final_test_error for run in cell.every if run.summary] == [9.0, 9.5]
    said = results.left_out(bench.experiment("table6"))
    assert len(said) == 2
    assert f"{often.path.name}: network, protocol and seed of {seldom.path.name}" in "".join(said)


def test_groups_that_differ_in_pretraining_alone_have_an_order(bench: Bench) -> None:
    bench.add("resnet-20")
    (group,) = groups(bench)
    one, other = replace(group, pretraining="imagenet-short"), replace(group, pretraining="a file")
    ordered = sorted([one, group, other], key=lambda one: one.order)
    assert ordered == [group, other, one]


def detector_from(**backbone: str) -> str:
    recipe = preset_recipe("short", "faster-rcnn-resnet-18-a", "voc07")
    assert recipe.detection
    detection = recipe.detection.model_copy(update={"backbone": Backbone(**backbone)})
    recipe = recipe.model_copy(update={"detection": detection})
    return _pretraining(
        Run(network="faster-rcnn-resnet-18-a", dataset="voc07", recipe=recipe, seed=0)
    )


def test_detectors_share_a_cell_only_if_what_they_started_from_was_trained_alike() -> None:
    today = preset_recipe("short", "resnet-18-a", "imagenette")
    ways: list[tuple[int, Precision]] = [(0, "auto"), (3, "bf16")]
    made = [
        Run(network="resnet-18-a", dataset="imagenette", recipe=today, seed=s, precision=p)
        for s, p in ways
    ]
    assert {detector_from(run=run.id) for run in made} == {"imagenette-short"}
    earlier = {detector_from(run=f"resnet-18-a-imagenette-short-s{s}-0123abcd") for s in (0, 1)}
    assert earlier == {"another imagenette-short than today's"}
    own = {detector_from(run=f"a-imagenette-custom-s0-{h}") for h in ("0123abcd", "4567abcd")}
    files = {detector_from(file="weights.pth", sha256=digit * 64) for digit in "01"}
    folders = {detector_from(run=f"resnet-18-a-{d}-short-s0-0123abcd") for d in ("my-x", "your-x")}
    assert len(own) == len(files) == len(folders) == 2
    assert detector_from(run="mine") == "mine"


def test_captions_say_what_is_reduced(bench: Bench) -> None:
    bench.add("resnet-20", preset="short", official=False)
    assert groups(bench)[0].caption == (
        "REDUCED: short preset (6,400 of 64,000 iterations), CIFAR-10 (unofficial copy), fp32"
    )
    bench.add("resnet-20")
    assert groups(bench)[0].caption == "paper preset, CIFAR-10, fp32"
    bench.add("resnet-20", dataset="synthetic", seed=3)
    assert groups(bench)[-1].caption == "REDUCED: paper preset, synthetic images, fp32"


PLAIN_34: Any = {"network": "plain-34", "dataset": "imagenet"}


@pytest.mark.parametrize(
    ("run", "seen", "says"),
    [
        ({"network": "resnet-20"}, 64, "paper preset, BN over 64 images, CIFAR-10"),
        ({"network": "resnet-20"}, 8, "paper preset, BN over 8 images instead of 64, CIFAR-10"),
        (PLAIN_34, 32, "paper preset, BN over 32 images, ImageNet"),
        (PLAIN_34, 16, "paper preset, BN over 16 images instead of 32, ImageNet"),
    ],
)
def test_fewer_images_in_bn_than_on_the_papers_gpus_are_not_its_protocol(
    bench: Bench, run: Any, seen: int, says: str
) -> None:
    bench.add(**run, bn_images=seen, processes=4)
    (group,) = groups(bench)
    assert group.faithful == (" instead of " not in says)
    mark = "" if group.faithful else "NOT THE PAPER’S PROTOCOL: "
    assert group.caption == f"{mark}{says}, fp32"


def test_parts_of_the_papers_share_are_its_protocol_as_processes_of_that_share_are(
    bench: Bench,
) -> None:
    bench.add("resnet-20", seed=0, recipe={"micro_batch_size": 64}, bn_images=64)
    bench.add("resnet-20", seed=1, bn_images=64, processes=2)
    bench.add("resnet-20", seed=2, recipe={"micro_batch_size": 8}, bn_images=8)
    papers, fewer = groups(bench)
    assert papers.faithful
    assert papers.caption.startswith("paper preset, BN over 64 images, CIFAR-10")
    assert fewer.caption.startswith(
        "NOT THE PAPER’S PROTOCOL: paper preset, BN over 8 images instead of 64, CIFAR-10"
    )
    (cell,) = (cell for cell in Results(bench.store)._cells if cell.group == papers)
    assert len(cell.done) == 2


@pytest.mark.parametrize(
    ("preset", "dataset", "says"),
    [
        ("paper", "imagenet", "NOT THE PAPER’S PROTOCOL: paper preset (rate 0.01 instead of 0.1, "),
        (
            *("short", "imagenette"),
            "REDUCED: short preset (6,000 of 600,000 iterations, crops of 64 instead of 224 "
            "pixels, rate 0.0025 instead of 0.1, ",
        ),
    ],
)
def test_vgg_16_has_a_rate_and_a_decay_of_its_own(
    bench: Bench, preset: Any, dataset: str, says: str
) -> None:
    for network in ("vgg-16", "resnet-34-a"):
        bench.add(network, preset=preset, dataset=dataset)
    ours, vgg = Results(bench.store).cells(["resnet-34-a", "vgg-16"])
    assert vgg.group.caption.startswith(f"{says}weight decay 0.0005 instead of 0.0001), Image")
    assert "weight_decay=0.0005" in vgg.group.preset_changes
    assert (vgg.group.papers, vgg.group.preset) == ((), preset)
    assert ours.group.faithful == (preset == "paper")
    assert "decay" not in ours.group.caption


def test_a_number_that_earlier_versions_recorded_of_vgg_16_tells_no_seeds_apart(
    bench: Bench,
) -> None:
    bench.add("vgg-16", dataset="imagenet", bn_images=16, processes=16)
    bench.add("vgg-16", dataset="imagenet", seed=1)
    (group,) = groups(bench)
    assert "BN over" not in group.caption


def test_detectors_on_vgg_16_are_trained_as_others(bench: Bench) -> None:
    for network in ("faster-rcnn-vgg-16", "faster-rcnn-resnet-18-a"):
        bench.add(network, preset="demo", dataset="scenes")
    assert len(groups(bench)) == 1


def test_a_changed_recipe_is_named_by_its_changes(bench: Bench) -> None:
    bench.add("resnet-110", recipe={"warmup": None, "augmentation": {"pad": 2}})
    group = groups(bench)[0]
    assert group.changes == ("augmentation.pad=2", "warmup=null")
    assert group.preset == "custom"
    assert group.caption.startswith("NOT THE PAPER’S PROTOCOL: paper preset changed to ")


@pytest.mark.parametrize(
    ("preset", "iterations", "scale"),
    [
        ("paper", 64_000, "paper"),
        ("paper", 63_999, "quarter"),
        ("paper", 300, "short"),
        ("demo", 64_000, "demo"),
    ],
)
def test_a_changed_run_counts_by_its_length(
    bench: Bench, preset: Any, iterations: int, scale: str
) -> None:
    milestones = [iterations // 2]
    bench.add(
        "resnet-20", preset=preset, recipe={"iterations": iterations, "milestones": milestones}
    )
    (group,) = groups(bench)
    assert (group.base, group.scale) == (preset, scale)


def test_a_trial_stands_behind_the_presets_that_last_longer(bench: Bench) -> None:
    bench.add("resnet-20", recipe={"iterations": 300, "milestones": []})
    for preset in PRESETS[:3]:
        bench.add("resnet-20", preset=preset)
    start = {"warmup": {"learning_rate": 0.01, "until_train_error": 99.9, "window": 400}}
    bench.add("resnet-20", preset="short", recipe=start)
    assert [group.preset for group in groups(bench)] == [*PRESETS[:3], "short", "custom"]
    assert groups(bench)[-1].digest == "22afa8", "as in the names of files that are there"


def test_slugs_are_good_for_files_and_differ(bench: Bench) -> None:
    bench.add("resnet-20", preset="short")
    bench.add("resnet-20", preset="short", official=False, seed=1)
    bench.add("resnet-20", recipe={"batch_size": 64})
    names = list(slugs(groups(bench)).values())
    assert "short-cifar10" in names
    assert len(set(names)) == 3
    assert all(set(n) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") for n in names)


def test_the_main_group_is_faithful_unless_half_of_it_is_missing(bench: Bench) -> None:
    experiment = bench.experiment("table6")
    networks = ["resnet-20", "resnet-32", "resnet-44", "resnet-56"]
    for network in networks:
        bench.add(network, preset="short")
    bench.add("resnet-20")
    bench.add("resnet-32")
    main = main_group(Results(bench.store).cells(networks), experiment)
    assert main is not None
    assert main.preset == "short"
    bench.add("resnet-44")
    main = main_group(Results(bench.store).cells(networks), experiment)
    assert main is not None
    assert main.preset == "paper"


def test_runs_are_told_apart_by_how_they_ended(bench: Bench) -> None:
    bench.add("resnet-20", seed=0)
    bench.add("resnet-20", seed=1, state="failed")
    bench.add("resnet-20", seed=2, state="running")  # nobody is at work on it
    bench.add("resnet-20", seed=3, state="stopped")
    bench.add("resnet-20", seed=4, test=None)  # done without a number cannot be used
    (cell,) = Results(bench.store).cells(["resnet-20"])
    assert [len(part) for part in (cell.done, cell.failed, cell.unfinished)] == [1, 2, 2]


def test_unreadable_runs_and_empty_folders_are_left_out(bench: Bench, tmp_path: Path) -> None:
    folder = bench.add("resnet-20")
    folder.summary.write_text("{", encoding="utf-8")
    (bench.store.runs_folder / "empty").mkdir()
    assert Results(bench.store).cells(["resnet-20"]) == []


def test_titles_are_the_papers() -> None:
    names = ["plain-20", "resnet-110", "resnet-34-b", "resnet-50", "resnet-50-cifar"]
    titles = ["plain-20", "ResNet-110", "ResNet-34 B", "ResNet-50", "ResNet-50 cifar"]
    assert [network_title(name) for name in names] == titles


def test_seeds_of_the_same_arithmetic_are_one_cell_whoever_chose_it(bench: Bench) -> None:
    bench.add("resnet-20", 8.0, resolved="bf16")
    bench.add("resnet-20", 9.0, seed=1, resolved="bf16", precision="bf16")
    bench.add("resnet-20", 9.5, seed=1, resolved="fp32", precision="fp32")
    cells = Results(bench.store).cells(["resnet-20"])
    assert [(cell.group.precision, len(cell.done)) for cell in cells] == [("bf16", 2), ("fp32", 1)]
    bench.add("resnet-20", 7.0, seed=1, resolved="bf16")  # the same again
    results = Results(bench.store)
    assert [len(cell.done) for cell in results.cells(["resnet-20"])] == [2, 1]
    (line,) = results.left_out(bench.experiment("table6"))
    assert line.endswith("which counts; left out")


@pytest.mark.parametrize(
    ("start", "says"),
    [
        (
            {},
            "quarter preset (16,000 of 64,000 iterations, 391 iterations at 0.01 first but for "
            "ResNet-110 and 1202)",
        ),
        (
            {"warmup": {"learning_rate": 0.01, "until_train_error": 99.9, "window": 400}},
            "quarter preset of He et al. 2016 (16,000 of 64,000 iterations, "
            "400 iterations at 0.01 first)",
        ),
    ],
)
def test_a_preset_says_how_it_starts(bench: Bench, start: dict[str, Any], says: str) -> None:
    bench.add("plain-20", preset="quarter", recipe=start)
    (group,) = Results(bench.store).numbers
    assert (group.protocol, group.reduced) == (says, True)
