"""The report on empty, partial and full folders."""

import json
import re
from collections import Counter
from typing import Any

import pytest
from made_up_origin import ORIGIN
from made_up_results import BETWEEN, Bench, section

from resnet_repro.paper.claims import load_claims
from resnet_repro.paper.exact import ExactRule
from resnet_repro.report.document.document import compose_report
from resnet_repro.report.figures.figures import draw
from resnet_repro.report.results import Results
from resnet_repro.spec.loading import load_experiment
from resnet_repro.spec.measurements import ResponseRow

LOSSES = {
    "plain-20": (9.4, 5.5),
    "plain-32": (9.9, 6.0),
    "plain-44": (11.2, 8.2),
    "plain-56": (12.6, 10.4),
    "resnet-20": (8.75, 4.1),
    "resnet-32": (7.51, 1.8),
    "resnet-44": (7.17, 0.9),
    "resnet-56": (6.97, 0.5),
    "resnet-110": (6.5, 0.15),
    "resnet-1202": (7.93, 0.05),
}


def test_an_empty_folder_says_what_to_do(bench: Bench) -> None:
    text = bench.report()
    assert "**No run has finished yet.**" in text
    trained = [claim for claim in load_claims() if not isinstance(claim.rule, ExactRule)]
    counts = Counter(claim.paper for claim in trained if not claim.own)
    assert set(counts) >= {"the paper", "Li et al. 2018"}
    for paper, count in counts.items():
        assert f"- **Claims of {paper}**: none of {count} judged yet." in text
    costs = "- **Claims of the paper about costs**, by counting: ✓✓ 8 confirmed, ✗ 1 contradicted."
    assert costs in text
    assert "| ✓✓ confirmed (counted) | The 152-layer network still needs fewer" in text
    assert "`resnet-repro run fig1`" in text
    assert "| resnet-152 | 60,192,808 |  | 11.282 | 11.3 | yes |" in text
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    assert headings == [
        "## What was found",
        "## Table 1, Fig. 3, Table 6 (`table1`)",
        "## What is missing",
        "## Protocol, assumptions and deviations",
        "## Changes of rules",
    ]
    assert "by their `id` in `resnet_repro/paper/claims_*.yaml`" in text.partition(headings[-1])[2]


def test_a_full_folder_judges_every_claim_it_can(bench: Bench) -> None:
    for network, (test, train) in LOSSES.items():
        depth = int(network.split("-")[1])
        std = 1.0 if network.startswith("plain") else 10 / (depth + 20)
        for seed in range(5 if network == "resnet-110" else 1):
            norms = {moment: [1.0, 2.0] for moment in (0, BETWEEN, -1)}
            bench.add(network, test, train, seed=seed, responses=[std, std], gradients=norms)
    text = bench.report()
    summary = text.partition("\n## ")[0]
    assert "**Runs**: 14 finished (14 at the full protocol)." in summary
    assert "7.00 training hours on NVIDIA H100" in summary
    total = sum(
        claim.paper == "the paper" and not (isinstance(claim.rule, ExactRule) or claim.own)
        for claim in load_claims()
    )
    assert (
        f"**Claims of the paper**: 18 of {total} judged: ✓✓ 1 confirmed, ✓ 17 consistent. "
        "Questions of our own: 4 of 8 judged: ✓ 4 consistent." in summary
    )
    assert "REDUCED" not in text
    assert "command that fills it" not in text
    assert "[listed below](#what-is-missing)" not in text


def test_sections_follow_the_argument_and_carry_rule_numbers_and_runs(bench: Bench) -> None:
    for network, (test, train) in LOSSES.items():
        bench.add(network, test, train)
    text = bench.report()
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings[:2] == ["What was found", "What was run"]
    assert headings[2:5] == ["Fig. 1 (`fig1`)", "Fig. 6 (`fig6`)", "Table 6 (`table6`)"]
    fig1 = section(text, "Fig. 1")
    assert "rule: final test error: plain-20 < plain-56 (margin 0.3)" in fig1
    assert "**✓ consistent** on [1]: plain-20 9.40 (1 seed), plain-56 12.60 (1 seed)" in fig1
    assert re.search(r"Runs: [0-9a-f]{8}, [0-9a-f]{8}\.", fig1)


def test_an_experiment_without_runs_takes_a_line_not_a_table(bench: Bench) -> None:
    bench.add("plain-20", 14.0, 9.0, preset="short")
    text = bench.report()
    assert "## Table 6" not in text
    assert "| Maxout |" not in text
    fig6 = section(text, "Fig. 6")
    assert "| plain-20 |" in fig6
    assert "| plain-32 |" not in fig6
    missing = section(text, "What is missing")
    assert "6 of 6 runs: ResNet-20" in missing  # of table6, at the preset that is used here
    assert "paper preset, CIFAR-10" not in missing
    assert (
        "At the paper preset nothing was run on CIFAR-10: `resnet-repro run fig1 fig6 table6 "
        "fig7 gradients`" in missing
    )
    assert (
        "Of the experiments on ImageNet nothing was run: `resnet-repro run table2 fig4 signals "
        "table3 table4 table5`; at reduced scale with `--preset short --dataset imagenette`"
        in missing
    )


def test_others_are_shown_with_their_links(bench: Bench) -> None:
    bench.add("resnet-20", 8.7)
    text = bench.report()
    assert "## What others got" in text
    assert "[akamaster/pytorch_resnet_cifar10](https://github.com/akamaster/" in text


def test_a_claim_of_no_experiment_shows_its_numbers_too(bench: Bench) -> None:
    bench.add("plain-110", 70.0, 70.0)
    other = section(bench.report(), "Other claims")
    assert "plain-110 70.00 (1 seed), predicted at least 60" in other


def test_reduced_results_open_with_a_warning(bench: Bench) -> None:
    bench.add("plain-20", 14.0, 9.0, preset="short")
    bench.add("plain-56", 17.0, 14.0, preset="short")
    text = bench.report()
    assert "No run here follows the paper's full protocol" in text.partition("\n## ")[0]
    assert "consistent (trend)" in text
    assert "`resnet-repro run fig6 --preset short --networks" in text


def test_figures_are_linked_only_where_they_are(bench: Bench) -> None:
    bench.add("plain-20", 9.4)
    assert "](figures/" not in bench.report()
    assert "Not drawn yet: `resnet-repro plot fig1`" in bench.report()
    for suffix in ("png", "svg"):
        for picture in draw(bench.experiment("fig1"), Results(bench.store), suffix):
            bench.store.write_figure(picture.name, suffix, picture.content)
    links = re.compile(r"\]\((figures/[^)]+)\)")
    for suffix in ("png", "svg"):
        assert links.findall(bench.report()) == [f"figures/fig1.{suffix}"]
        (bench.store.figures_folder / f"fig1.{suffix}").unlink()


def test_a_figure_of_other_runs_is_not_shown(bench: Bench) -> None:
    bench.add("plain-20", 9.4)
    bench.picture("fig1")
    assert "](figures/fig1.png)" in bench.report()
    bench.add("plain-56", 12.9)
    assert "](figures/fig1.png)" not in bench.report()
    assert "drawn from other results: `resnet-repro plot fig1` draws it anew" in bench.report()
    bench.picture("fig1")
    assert "](figures/fig1.png)" in bench.report()
    assert "other results" not in bench.report()


def test_a_figure_of_other_measurements_is_not_shown(bench: Bench) -> None:
    bench.add("plain-20", responses=[1.0, 2.0])
    bench.picture("fig7")
    assert "](figures/fig7.png)" in bench.report()
    bench.add("plain-20", responses=[1.0, 3.0])
    assert "](figures/fig7.png)" not in bench.report()


def test_a_figure_of_all_tests_is_not_shown_without_newer_ones(bench: Bench) -> None:
    def shown() -> bool:
        text, _ = compose_report(bench.store, [load_experiment("depth")])
        return "](figures/depth.png)" in text

    def changed() -> bool:
        before = shown()
        bench.picture("depth")
        return not before and shown()

    bench.add("plain-20")
    assert changed()
    bench.add("plain-56")
    assert shown(), "nothing of it is in the picture"
    tests: Any = {"evaluations": {"10-crop": (22.0, 6.0)}, "dataset": "imagenet"}
    folder = bench.add("resnet-50", **tests)
    assert changed()
    bench.add_ensemble([folder], 20.0, 5.1)
    assert changed()
    folder.curve.write_text("torn", encoding="utf-8")
    assert changed(), "the run is left out now"


def test_problems_and_failures_are_told(bench: Bench) -> None:
    bench.add("plain-20", state="failed")
    bench.add("plain-32").summary.write_text("{", encoding="utf-8")
    bench.add("plain-44").curve.write_text("iteration\nx\n", encoding="utf-8")
    bench.add("plain-56", seed=3, state="stopped")
    text = bench.report()
    problems = text.partition("## Problems")[2]
    assert "failed: the loss became nan" in problems
    assert "summary.json is torn or unreadable" in problems
    assert "curve.csv is torn or unreadable" in problems
    assert "**Runs**: 0 finished, 1 failed, 1 unfinished, 2 unusable." in text


def test_what_failed_is_filled_by_force_and_the_rest_without(bench: Bench) -> None:
    failed = bench.add("plain-20", state="failed")
    config = failed.config.relative_to(bench.store.root.parent)
    missing = bench.report().partition("## What is missing")[2].partition("##")[0]
    own = [line for line in missing.splitlines() if line.startswith("| fig1")]
    assert [line.split(" | ")[2:] for line in own] == [
        ["1 of 2 runs: plain-56", "`resnet-repro run fig1 --networks plain-56` |"],
        ["plain-20, which failed", f"`resnet-repro run {config} --force` |"],
    ]


def test_no_paths_of_this_machine(bench: Bench) -> None:
    folder = bench.add("plain-20")
    folder.config.unlink()
    folder.config.mkdir()  # reading it fails with the path in the message
    bench.add("plain-56")
    text = bench.report()
    assert str(bench.store.root) not in text
    assert "/home/" not in text


def test_provenance_assumptions_and_cost(bench: Bench) -> None:
    bench.add("plain-20", official=False)
    bench.add("plain-56", official=False)
    text = bench.report()
    assert "SHA-256 `" + "f" * 64 + "`" in text
    assert "unofficial copy: checksums differ" in text
    assert "0.1.0 (abc1234) (2 runs)" in text
    assert "| NVIDIA H100 | 1.00 |" in text
    assert "`weight_decay_scope`" in text
    assert "`micro_batch_size` | deviation" in text


def test_of_generated_images_there_is_no_official_copy(bench: Bench) -> None:
    bench.add("faster-rcnn-resnet-18-a", dataset="scenes", preset="demo")
    bench.add("resnet-20", dataset="synthetic", preset="demo")
    text = bench.report()
    assert "scenes, binary version, SHA-256" in text
    assert "synthetic, binary version, SHA-256" in text
    assert "official copy" not in text.partition("## Provenance")[2]


def test_a_changed_recipe_is_listed_as_differing(bench: Bench) -> None:
    bench.add("resnet-20", recipe={"validation_images": 5000})
    protocol = section(bench.report(), "Protocol")
    assert "validation_images=5000" in protocol


@pytest.mark.parametrize("filled", [False, True])
def test_tables_are_well_formed_and_blank_lines_single(bench: Bench, filled: bool) -> None:
    if filled:
        bench.add("resnet-20")
    text = bench.report()
    assert "\n\n\n" not in text
    for block in text.split("\n\n"):
        rows = [line for line in block.splitlines() if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) <= 1


IMAGENETTE: dict[str, Any] = {"preset": "short", "dataset": "imagenette", "official": False}


def imagenette(bench: Bench) -> str:
    """The report on Table 2's networks at reduced scale."""
    for network, error in (
        ("plain-18", 30.0),
        ("plain-34", 33.0),
        ("resnet-18-a", 29.5),
        ("resnet-34-a", 28.0),
    ):
        bench.add(
            network, error, error - 5, evaluations={"10-crop": (error - 1, 4.0)}, **IMAGENETTE
        )
    return bench.report()


def test_reduced_imagenet_results_are_marked_wherever_they_stand(bench: Bench) -> None:
    text = imagenette(bench)
    summary = text.partition("\n## ")[0]
    assert "No run here follows the paper's full protocol" in summary
    assert (
        "[1] | REDUCED: short preset (6,000 of 600,000 iterations, crops of 64 instead of 224 "
        "pixels, rate 0.025 instead of 0.1), Imagenette (unofficial copy), fp32"
        in section(text, "What was run")
    )
    table2 = section(text, "Table 2")
    header = next(line for line in table2.splitlines() if line.startswith("| method"))
    assert "| reduced top-1 |" in header
    assert "ours top-1" not in header
    assert "difference" not in header
    assert "**? undecided (preset unfit)** on [1]: ResNet-34 A 27.00" in table2
    assert "Not drawn yet: `resnet-repro plot fig4`" in text


def test_what_imagenet_lacks_is_told_at_the_presets_in_use(bench: Bench) -> None:
    text = imagenette(bench)
    missing = section(text, "What is missing")
    assert "`resnet-repro run table3 --preset short --dataset imagenette --networks" in missing
    assert "| table2 |" not in missing
    assert "At the paper preset nothing was run on ImageNet: `resnet-repro run table2" in missing
    assert "Of the experiments on CIFAR-10 nothing was run: `resnet-repro run fig1" in missing
    assert "this tool has no experiments on" in missing
    assert "## What others got" not in text, "they report on CIFAR-10"


def test_assumptions_are_those_of_the_networks_at_hand(bench: Bench) -> None:
    protocol = section(imagenette(bench), "Protocol")
    assert "`plateau.patience` | assumption | `6`" in protocol
    assert "`evaluate_every` | assumption | `5000`" in protocol
    assert "| orientation | EXIF's is undone" in protocol
    assert "| mean at other sizes |" in protocol
    assert "| signals and gradients of photographs | of one forward pass" in protocol
    assert "`warmup.window`" not in protocol
    assert "the short preset has batch_size=64" in protocol
    assert "plateau=null" in protocol, "reduced scale divides the rate at fixed iterations"


def test_assumptions_of_both_families_stand_side_by_side(bench: Bench) -> None:
    bench.add("resnet-20", 8.7)
    protocol = section(imagenette(bench), "Protocol")
    assert "`500` on CIFAR-10, `5000` on ImageNet" in protocol
    for what in ("layer responses", "signals and gradients", "Li et al. 2018: beyond two runs"):
        assert f"| {what} |" in protocol
    assert "`warmup.window`" in protocol
    assert "`plateau.patience` | assumption | `6`" in protocol


def test_processes_weights_and_ensembles_have_their_provenance(bench: Bench) -> None:
    run = bench.add("resnet-50", 25.0, dataset="imagenet", processes=8, bn_images=32)
    bench.add_weights("vgg-16", {"10-crop": (28.1, 9.3)})
    bench.add_ensemble([run], 20.0, 5.0)
    text = bench.report()
    assert "8 together, batch normalisation over 32 images each, imagenet (1 run)" in text
    assert "paper preset, BN over 32 images, ImageNet, fp32" in text
    other = text.partition("## Other weights and ensembles")[2]
    assert "`" + "ab" * 32 + "`: 10-crop top-1 28.10, top-5 9.30" in other
    assert f"members `{run.path.name}`" in other
    assert "/home/" not in text


def test_a_run_of_two_machines_counts_with_both(bench: Bench) -> None:
    folder = bench.add("resnet-20", 8.75)
    content = json.loads(folder.summary.read_text(encoding="utf-8"))
    origin = content["provenance"]
    laptop = {"hardware": "A laptop", "device": "cpu", "threads": 1, "dirty": True}
    shared = ("code", "command", "precision", "versions")
    origin["earlier"] = [{key: origin[key] for key in shared} | laptop]
    origin |= {"first_iteration": 100, "first_second": 450.0, "sessions": 2}
    folder.summary.write_text(json.dumps(content), encoding="utf-8")
    text = bench.report()
    assert "Hardware: A laptop, cpu, fp32, 1 thread (1 run)" in text
    assert "Hardware: NVIDIA H100, cuda, fp32, 4 threads (1 run)" in text
    assert "with uncommitted changes (1 run)" in text
    assert "**Uncommitted code** trained 1 finished run: [1] ResNet-20 (A laptop)." in text
    assert "0.50 training hours on A laptop; NVIDIA H100" in text
    cost = section(text, "Cost")
    for row in ("| A laptop | 0.12 |", "| NVIDIA H100 | 0.38 |", "| all | 0.50 |"):
        assert row in re.sub(" +", " ", cost)


def test_what_is_trained_but_not_tested_by_ten_crops_is_missing(bench: Bench) -> None:
    for network in ("plain-18", "plain-34", "resnet-18-a", "resnet-34-a"):
        bench.add(network, 30.0, **IMAGENETTE)
    missing = section(bench.report(), "What is missing")
    assert "10-crop errors of plain-18, ResNet-18 A, plain-34, ResNet-34 A" in missing
    assert "`resnet-repro run table2 --preset short --dataset imagenette`" in missing


def test_an_ensemble_is_missing_until_all_of_its_members_are_in_it(bench: Bench) -> None:
    members = [
        bench.add(network, 30.0, evaluations={"multi-scale": (25.0, 4.0)}, **IMAGENETTE)
        for network in ("resnet-34-b", "resnet-34-c")
    ]
    assert "| table5 | short preset, Imagenette | the ensemble |" in bench.report()
    reduced: dict[str, Any] = {"preset": "short", "dataset": "imagenette"}
    bench.add_ensemble(members[:1], 24.0, 3.5, **reduced)
    assert "| the ensemble |" in bench.report()
    bench.add_ensemble(members, 24.0, 3.5, **reduced)
    assert "| the ensemble |" not in bench.report()


def test_what_made_each_measurement_is_told_with_its_number_of_runs(bench: Bench) -> None:
    for seed in (0, 1):
        bench.add("plain-20", responses=[0.5], seed=seed)
    older = bench.add("plain-20", responses=[0.5], gradients={0: [1.0]}, seed=2)
    older.origins.unlink()
    cloud = ORIGIN.model_copy(update={"hardware": "a cloud"})
    parted = bench.add("resnet-32", seed=0)
    parted.write_measured("responses", [ResponseRow(1, "conv1", 0.5)], ORIGIN, [cloud])
    bench.add("resnet-20", gradients={0: [1.0]}, measured="afterwards")
    bench.add("resnet-18-a", 30.0, evaluations={"10-crop": (29.0, 4.0)}, **IMAGENETTE)
    made = "by 0.1.0 (abc1234), NVIDIA H100, cuda, fp32, 4 threads"
    of_both = "- Measured after training: layer responses by 0.1.0"
    told = [line for line in bench.report().splitlines() if "Measured after training" in line]
    assert told == [
        f"- Measured after training: 10-crop errors {made} (1 run)",
        f"- Measured after training: layer responses {made} (2 runs)",
        f"{of_both}, a cloud, cpu, fp32, 2 threads (1 run)",
        f"{of_both}, a machine, cpu, fp32, 2 threads (1 run)",
        "- Measured after training: layer responses by unrecorded code (1 run)",
        f"- Measured after training: signals and gradients {made} (1 run)",
    ]
    assert "The commands are in the runs' `summary.json` and `measurements.json`." in bench.report()


def test_torn_evaluations_set_a_run_aside(bench: Bench) -> None:
    folder = bench.add("plain-18", 30.0, evaluations={"10-crop": (29.0, 4.0)}, **IMAGENETTE)
    folder.evaluations.write_text("views,top1_error\nten,x\n", encoding="utf-8")
    problem = "evaluations.csv is torn or unreadable (line 2, views: Input should be 'centre', "
    told = next(line for line in bench.report().splitlines() if problem in line)
    assert told.endswith("); left out")
