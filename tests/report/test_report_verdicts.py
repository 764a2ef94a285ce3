"""Verdicts on made-up results where the right one is known."""

import re
from typing import Any

import pytest
from made_up_results import BETWEEN, Bench

from resnet_repro.networks.outline import outline
from resnet_repro.paper.claims import Claim, load_claims
from resnet_repro.paper.quantities import ALL_ALONG, SIGNALS_ALL_ALONG
from resnet_repro.paper.rules import LimitRule
from resnet_repro.report.claims.judging import Verdict, judge, main_verdicts
from resnet_repro.report.claims.quantities import CLEARLY_MORE, SEVERAL
from resnet_repro.report.document.document import compose_report
from resnet_repro.report.figures.figures import figure_names
from resnet_repro.report.results import Results
from resnet_repro.spec.presets import PRESETS, Preset
from resnet_repro.store.models import CurveRow

START = {"warmup": {"learning_rate": 0.01, "until_train_error": 99.9, "window": 400}}


def claim(name: str) -> Claim:
    return next(c for c in load_claims() if c.id == name)


def verdicts(bench: Bench, name: str) -> list[Verdict]:
    return judge([claim(name)], Results(bench.store))


def add_seeds(bench: Bench, network: str, errors: list[float], **more: Any) -> None:
    for seed, error in enumerate(errors):
        bench.add(network, error, error, seed=seed, **more)


@pytest.mark.parametrize(
    ("shallow", "deep", "word"),
    [
        ([9.0, 9.1, 9.2], [12.0, 12.1, 12.2], "confirmed"),
        ([9.0, 9.1, 9.2], [12.0], "consistent"),
    ],
)
def test_the_seeds_of_both_networks_are_behind_a_verdict(
    bench: Bench, shallow: list[float], deep: list[float], word: str
) -> None:
    add_seeds(bench, "plain-20", shallow)
    add_seeds(bench, "plain-56", deep)
    (verdict,) = verdicts(bench, "plain-56-test")
    assert verdict.word == word
    assert len(verdict.runs) == len(shallow) + len(deep)


def test_numbers_stand_beside_the_verdict(bench: Bench) -> None:
    add_seeds(bench, "plain-20", [9.0, 9.2])
    add_seeds(bench, "plain-56", [12.0])
    (verdict,) = verdicts(bench, "plain-56-test")
    assert verdict.numbers == (
        "plain-20 9.10 ± 0.14 (2 seeds), plain-56 12.00 (1 seed): plain-56 minus plain-20 +2.90"
    )


def test_failed_seeds_are_mentioned_and_forbid_confirmation(bench: Bench) -> None:
    add_seeds(bench, "plain-20", [9.0, 9.1, 9.2])
    add_seeds(bench, "plain-56", [12.0, 12.1, 12.2])
    bench.add("plain-56", seed=7, state="failed")
    (verdict,) = verdicts(bench, "plain-56-test")
    assert verdict.word == "consistent"
    assert "failed seeds left out: plain-56 (1)" in verdict.numbers
    assert not any("-s7-" in run for run in verdict.runs)


def test_training_errors_over_more_iterations_than_the_presets_are_no_final_ones(
    bench: Bench,
) -> None:
    """Tested at its end alone, a run's is the mean over its whole training."""
    seldom = {"recipe": {"evaluate_every": 64_000}}
    bench.add("plain-20", 9.0, 6.5, seed=1, **seldom)
    bench.add("plain-56", 14.0, 5.5)
    (verdict,) = verdicts(bench, "plain-56-train")
    assert (verdict.word, verdict.missing) == ("not run", ("plain-20",))
    assert "1 trained, without a curve with points as close as its preset's" in verdict.numbers
    bench.add("plain-20", 9.1, 1.2)
    bench.add("plain-20", 9.1, 6.5, **seldom)  # the same seed, which counts once
    (verdict,) = verdicts(bench, "plain-56-train")
    assert verdict.word == "consistent"
    assert "plain-20 1.20 (1 seed)" in verdict.numbers
    assert verdicts(bench, "plain-56-test")[0].word != "not run", "the test errors are final ones"


def test_a_paper_recipe_cut_short_has_the_papers_points(bench: Bench) -> None:
    cut = {"recipe": {"iterations": 16_000, "milestones": [8_000, 12_000]}}
    for error, network in ((1.2, "plain-20"), (5.5, "plain-56")):
        bench.add(network, 9.0, error, **cut)
    (verdict,) = verdicts(bench, "plain-56-train")
    assert "plain-20 1.20 (1 seed)" in verdict.numbers


def test_what_was_trained_in_another_precision_is_said(bench: Bench) -> None:
    bench.add("plain-20", 9.0)
    bench.add("plain-56", 14.0, resolved="bf16")
    (verdict,) = verdicts(bench, "plain-56-test")
    assert verdict.numbers in (
        "lacks plain-20 (trained in fp32)",
        "lacks plain-56 (trained in bf16)",
    )


def test_all_seeds_failed_is_not_run(bench: Bench) -> None:
    bench.add("plain-20", 9.0)
    bench.add("plain-56", state="failed")
    (verdict,) = verdicts(bench, "plain-56-test")
    assert verdict.word == "not run"
    assert verdict.numbers == "lacks plain-56 (1 failed)"
    assert verdict.missing == ("plain-56",)


@pytest.mark.parametrize(
    ("deep", "label"), [(20.0, "consistent (trend)"), (10.0, "undecided (other trend)")]
)
def test_reduced_runs_show_a_trend_and_neither_confirm_nor_contradict(
    bench: Bench, deep: float, label: str
) -> None:
    add_seeds(bench, "resnet-110", [15.0, 15.1, 15.2], preset="short")
    add_seeds(bench, "resnet-1202", [deep, deep + 0.1, deep + 0.2], preset="short")
    (verdict,) = verdicts(bench, "resnet-1202-overfits")
    assert verdict.trend_only
    assert verdict.label == label


def test_groups_are_judged_apart_and_the_faithful_one_leads(bench: Bench) -> None:
    differences: dict[Preset, float] = {"short": 5.0, "paper": -5.0}
    for preset, difference in differences.items():
        bench.add("resnet-110", 15.0, preset=preset)
        bench.add("resnet-1202", 15.0 + difference, preset=preset)
    found = verdicts(bench, "resnet-1202-overfits")
    assert [v.word for v in found] == ["contradicted", "consistent"]
    assert [v.word for v in main_verdicts(found)] == ["contradicted"]


def test_a_claim_about_short_trainings_is_led_by_one(bench: Bench) -> None:
    for preset in PRESETS[:3]:
        for network in ("preact-56", "resnet-56", "preact-110", "resnet-110"):
            bench.add(
                network, 15.0, 4.0 + network.startswith("resnet"), preset=preset, recipe=START
            )
    found = verdicts(bench, "preact-short-train")
    assert [v.unfit for v in found] == [True, True, False]
    assert [v.group.preset for v in main_verdicts(found) if v.group] == ["short"]


def test_runs_of_two_groups_are_never_compared(bench: Bench) -> None:
    bench.add("plain-20", 9.0)
    bench.add("plain-56", 20.0, preset="short")
    (verdict,) = verdicts(bench, "plain-56-test")
    assert verdict.word == "not run"


def test_a_chain_is_worth_its_weakest_link(bench: Bench) -> None:
    errors = {"resnet-20": 9.0, "plain-20": 10.0, "resnet-32": 8.0, "plain-32": 11.0}
    errors |= {"resnet-44": 7.0, "plain-44": 12.0, "resnet-56": 7.0}
    for network, error in errors.items():
        bench.add(network, error)
    assert verdicts(bench, "residual-beats-plain")[0].numbers == "lacks plain-56"
    bench.add("plain-56", 6.0)
    assert verdicts(bench, "residual-beats-plain")[0].word == "contradicted"


@pytest.mark.parametrize("reduced", ["quarter", "short"])
def test_reduced_presets_cannot_judge_what_the_first_steps_decide(
    bench: Bench, reduced: str
) -> None:
    for preset in (reduced, "paper"):
        bench.add("plain-20", 15.0, preset=preset)  # type: ignore[arg-type]
        bench.add("plain-56", 57.0, preset=preset)  # type: ignore[arg-type]
    full, short = verdicts(bench, "plain-56-test")
    assert (full.label, short.label) == ("consistent", "undecided (preset unfit)")
    assert "first twenty steps" in short.numbers
    assert "first twenty steps" not in full.numbers
    assert "plain-56 minus plain-20 +42.00" in short.numbers, "the numbers stay"


def test_a_trial_is_judged_as_a_short_training_and_leads_none(bench: Bench) -> None:
    for error, network in ((40.0, "plain-20"), (88.0, "plain-56")):
        bench.add(network, error, error, recipe={"iterations": 2_000, "milestones": []})
    (trial,) = verdicts(bench, "plain-56-train")
    assert trial.label == "undecided (preset unfit)"
    for error, network in ((60.0, "resnet-110"), (85.0, "resnet-1202")):
        bench.add(network, error, error, recipe={"iterations": 2_000, "milestones": []})
    (guessing,) = verdicts(bench, "resnet-1202-overfits")
    assert "hardly learned: ResNet-1202 (85.00)" in guessing.numbers
    for error, network in ((9.0, "resnet-110"), (12.0, "resnet-1202"), (15.0, "plain-20")):
        bench.add(network, error, error, preset="short")
    (main,) = main_verdicts(verdicts(bench, "resnet-1202-overfits"))
    assert main.group
    assert (main.label, main.group.preset) == ("consistent (trend)", "short")
    shown = figure_names(bench.experiment("fig6"), Results(bench.store))
    assert shown["fig6"] == main.group


@pytest.mark.parametrize(("crossing", "word"), [(0.0, "consistent"), (0.5, "contradicted")])
def test_worse_throughout_is_a_share_of_the_curve(bench: Bench, crossing: float, word: str) -> None:
    def deep(part: float) -> tuple[float, float]:
        return (49.0 if part < crossing else 51.0, 50.0)

    bench.add("plain-18", dataset="imagenet", points=lambda part: (50.0, 50.0))
    bench.add("plain-34", dataset="imagenet", points=deep)
    (verdict,) = verdicts(bench, "imagenet-plain-throughout")
    assert verdict.word == word
    assert len(verdict.runs) == 2


def test_throughout_is_judged_seed_by_seed(bench: Bench) -> None:
    bench.add("plain-18", dataset="imagenet", seed=0)
    bench.add("plain-34", dataset="imagenet", seed=1)
    assert verdicts(bench, "imagenet-plain-throughout")[0].word == "not run"


@pytest.mark.parametrize("beside_the_usual_run", [True, False])
@pytest.mark.parametrize(
    ("epochs", "word"),
    [(6.4, "consistent"), (9.6, "undecided"), (10.9, "undecided"), (14.0, "contradicted")],
)
def test_the_start_without_warmup(
    bench: Bench, epochs: float, word: str, beside_the_usual_run: bool
) -> None:
    name = "resnet-110-starts-without-warmup"
    if beside_the_usual_run:
        bench.add("resnet-110", 6.5)
        (verdict,) = verdicts(bench, name)
        assert (verdict.word, verdict.numbers) == ("not run", "needs ResNet-110 with warmup=null")
    folder = bench.add("resnet-110", 6.5, recipe={"warmup": None})
    rows = [
        CurveRow(round(at / 163.84 * 64_000), at, 0.1, 2.3, error, error, at)
        for at, error in ((epochs - 1.28, 91.0), (epochs, 89.0), (163.84, 6.5))
    ]
    folder.write_curve(rows)
    (verdict,) = verdicts(bench, name)
    assert verdict.label == word, "the change is the claim's own, not a reduced protocol"
    assert verdict.runs == (folder.path.name,), "only the run without a warm-up is behind it"
    assert "converging after several epochs" in compose_report(bench.store, [])[0]


@pytest.mark.parametrize("earlier", [None, 6.8])
def test_points_too_far_apart_do_not_tell_when_a_training_started(
    bench: Bench, earlier: float | None
) -> None:
    """At 13.65 epochs it had: within ten or not."""
    folder = bench.add("resnet-110", 6.5, recipe={"warmup": None})
    curve = [(earlier, 91.0)] if earlier else []
    curve += [(13.65, 40.0), (163.84, 6.5)]
    rows = [CurveRow(round(at * 390), at, 0.1, 2.3, error, error, at) for at, error in curve]
    folder.write_curve(rows)
    (verdict,) = verdicts(bench, "resnet-110-starts-without-warmup")
    assert verdict.numbers == (
        "needs ResNet-110 with warmup=null (1 trained, without points of the curve close enough "
        "to tell)"
    )


def test_the_limit_of_the_start_is_that_of_its_claim() -> None:
    rule = claim("resnet-110-starts-without-warmup").rule
    assert isinstance(rule, LimitRule)
    assert (rule.limit, rule.limit + rule.margin) == (SEVERAL, CLEARLY_MORE)


def test_a_training_that_never_starts_is_said_and_contradicts(bench: Bench) -> None:
    late: Any = [lambda part: (90.1, 90.1), lambda part: (90.1 if part < 0.2 else 50.0, 90.1)]
    for seed, points in enumerate(late):
        bench.add("resnet-110", 90.0, 90.0, seed=seed, recipe={"warmup": None}, points=points)
    (verdict,) = verdicts(bench, "resnet-110-starts-without-warmup")
    assert verdict.word == "contradicted"
    assert verdict.numbers == "ResNet-110 never, 40.96 (2 seeds), predicted at most 10 epochs"


@pytest.mark.parametrize(
    ("every", "error", "word"),  # of 64,000 and 12,800 images: 89.53 and 88.94
    [
        (500, 89.6, "contradicted"),
        (500, 89.5, "consistent"),
        (100, 89.0, "contradicted"),
        (100, 88.9, "consistent"),
    ],
)
def test_a_network_that_guesses_has_not_started(
    bench: Bench, every: int, error: float, word: str
) -> None:
    """By chance alone some point of its curve is below 90, the more so the fewer images it has."""
    recipe = {"warmup": None, "evaluate_every": every}
    folder = bench.add("resnet-110", 90.0, 90.0, recipe=recipe)
    errors = [90.1, error, *[90.1] * (64_000 // every - 2)]
    rows = [
        CurveRow(n * every, n * every / 390.6, 0.1, 2.3, error, 90.0, n)
        for n, error in enumerate(errors, start=1)
    ]
    folder.write_curve(rows)
    (verdict,) = verdicts(bench, "resnet-110-starts-without-warmup")
    assert verdict.word == word


def test_a_training_that_failed_before_its_first_point_tells_no_start(bench: Bench) -> None:
    bench.add("resnet-110", state="failed", recipe={"warmup": None})
    (verdict,) = verdicts(bench, "resnet-110-starts-without-warmup")
    assert verdict.numbers == "needs ResNet-110 with warmup=null (1 failed)"


def test_a_gradient_of_zero_is_said_and_contradicts(bench: Bench) -> None:
    for seed, first in enumerate((0.001, 0.0)):
        for network in ("plain-20", "plain-56"):
            bench.add(network, seed=seed, gradients={0: [first, 1.0], -1: [1.0, 1.0]})
    (verdict,) = verdicts(bench, "plain-gradients-healthy-initially")
    assert verdict.word == "contradicted"
    said = "3.00, a layer's norm is zero or not finite (2 seeds), predicted at most 2 powers of ten"
    assert verdict.numbers == f"plain-20 {said}; plain-56 {said}"


def test_what_a_network_costs_is_exact_and_needs_no_run(bench: Bench) -> None:
    (found,) = verdicts(bench, "resnet-110-fewer-parameters")
    assert found.label == "contradicted (counted)"
    assert "below Highway-19's 2,300,000, not below Highway-32's 1,250,000" in found.numbers
    assert not found.runs
    (found,) = verdicts(bench, "costs-baseline-of-vgg")
    assert found.label == "confirmed (counted)"


@pytest.mark.parametrize(("top5", "word"), [(3.6, "consistent"), (4.6, "contradicted")])
def test_an_ensemble_of_full_runs_is_held_against_table_5(
    bench: Bench, top5: float, word: str
) -> None:
    networks = claim("table5-ensemble").networks
    full = [bench.add(n, dataset="imagenet") for n in networks]
    second, third = (bench.add("resnet-152", dataset="imagenet", seed=seed) for seed in (1, 2))
    reduced = [bench.add(n, **SHORT) for n in ("resnet-34-b", "resnet-34-c")]
    bench.add_ensemble(reduced, 50.0, 10.0, preset="short", dataset="imagenette")

    def judged() -> Verdict:
        return verdicts(bench, "table5-ensemble")[0]

    assert judged().word == "not run", "a reduced ensemble is not compared with the paper"
    bench.add_ensemble(full[:1], 19.0, top5)
    assert judged().word == "not run", "nor one of some of its networks"
    for others in ([], [second, third]):
        bench.add_ensemble([*full, *others], 19.0, top5)
        assert judged().word == "not run", "nor one of five or seven"
    bench.add_ensemble([*full, second], 19.0, top5)
    assert judged().word == word


def test_a_number_of_the_paper_is_not_judged_by_reduced_runs(bench: Bench) -> None:
    bench.add("resnet-20", 8.75, preset="short")
    (verdict,) = verdicts(bench, "table6-resnet-20")
    assert verdict.word == "not run"
    assert verdict.numbers == "only the full protocol of the paper on CIFAR-10 can judge it"
    bench.add("resnet-20", 8.75)
    (verdict,) = verdicts(bench, "table6-resnet-20")
    assert verdict.label == "consistent"


def test_a_claim_of_the_later_paper_needs_that_papers_start(bench: Bench) -> None:
    for network in ("resnet-110", "resnet-164", "preact-110", "preact-164"):
        bench.add(network, 6.0, 0.1)
    (verdict,) = verdicts(bench, "preact-regularised")
    assert verdict.numbers == "only the full protocol of He et al. 2016 on CIFAR-10 can judge it"


def test_an_unofficial_copy_can_be_held_against_the_paper(bench: Bench) -> None:
    bench.add("resnet-20", 8.75, official=False)
    (verdict,) = verdicts(bench, "table6-resnet-20")
    assert verdict.word == "consistent"
    assert verdict.group is not None
    assert "unofficial" in verdict.group.caption


def test_responses_need_to_be_measured(bench: Bench) -> None:
    for network, std in {"resnet-20": 0.6, "resnet-56": 0.4}.items():
        bench.add(network, responses=[std, std])
    bench.add("resnet-110")
    (verdict,) = verdicts(bench, "responses-depth")
    assert verdict.numbers == "lacks ResNet-110 (1 trained, without this measurement)"
    bench.add("resnet-110", responses=[0.2, 0.3], seed=1)
    (verdict,) = verdicts(bench, "responses-depth")
    assert verdict.word == "consistent"
    assert len(verdict.runs) == 3  # the unmeasured one is not behind it


HEALTHY = {0: [1.0, 3.0, 2.0], BETWEEN: [2.0, 2.0, 2.0], -1: [0.5, 0.2, 0.4]}
GRADIENT_CLAIMS = {
    "plain-signals-alive",
    "plain-gradients-alive",
    "plain-gradients-healthy",
    "plain-gradients-healthy-initially",
}


@pytest.mark.parametrize(
    ("change", "failing"),
    [
        ({}, set()),
        ({0: [900.0, 9.0, 1.0]}, {"plain-gradients-healthy-initially"}),  # grows backward
        ({0: [0.001, 1.0, 1.0]}, {"plain-gradients-alive", "plain-gradients-healthy-initially"}),
        ({-1: [0.001, 1.0, 1.0]}, {"plain-gradients-alive"}),  # one moment: the median is fine
        (
            {BETWEEN: [900.0, 1.0, 1.0], -1: [900.0, 1.0, 1.0]},
            {"plain-gradients-healthy"},
        ),
        ({-1: [float("inf"), 1.0, 1.0]}, {"plain-gradients-alive"}),
        ({BETWEEN: [float("inf"), 1, 1]}, {"plain-gradients-alive", "plain-gradients-healthy"}),
        ({BETWEEN: [0.0, 1.0, 1.0]}, {"plain-gradients-alive", "plain-gradients-healthy"}),
    ],
)
def test_gradients(bench: Bench, change: dict[int, list[float]], failing: set[str]) -> None:
    bench.add("plain-20", gradients=HEALTHY)
    bench.add("plain-56", gradients=HEALTHY | change)
    found = {name: verdicts(bench, name)[0].word for name in GRADIENT_CLAIMS}
    assert {name for name, word in found.items() if word == "contradicted"} == failing
    assert set(found.values()) <= {"consistent", "contradicted"}


def test_back_propagated_signals_are_judged_beside_the_weights_gradients(bench: Bench) -> None:
    """On ImageNet's plain networks, of which section 4.1 speaks."""
    vanishing = HEALTHY | {BETWEEN: [0.001, 1.0, 1.0]}
    bench.add("plain-18", dataset="imagenet", gradients=HEALTHY, back=HEALTHY)
    bench.add("plain-34", dataset="imagenet", gradients=HEALTHY, back=vanishing)
    names = ("plain-backward-alive", "plain-backward-healthy", "plain-gradients-alive")
    found = [verdicts(bench, f"imagenet-{name}")[0].word for name in names]
    assert found == ["contradicted", "contradicted", "consistent"]
    initially = verdicts(bench, "imagenet-plain-backward-healthy-initially")
    assert initially[0].word == "consistent"


def test_files_of_before_signals_were_measured_lack_them(bench: Bench) -> None:
    bench.add("plain-18", dataset="imagenet", gradients=HEALTHY, back=HEALTHY)
    bench.add("plain-34", dataset="imagenet", gradients=HEALTHY)
    (verdict,) = verdicts(bench, "imagenet-plain-backward-alive")
    assert verdict.numbers == f"lacks plain-34 (1 trained, without {SIGNALS_ALL_ALONG})"
    (initially,) = verdicts(bench, "imagenet-plain-backward-healthy-initially")
    assert initially.numbers == "lacks plain-34 (1 trained, without the outputs' gradients)"
    assert verdicts(bench, "imagenet-plain-gradients-alive")[0].word == "consistent"


def test_a_silent_layer_is_a_vanished_signal(bench: Bench) -> None:
    bench.add("plain-20", gradients=HEALTHY)
    bench.add("plain-56", gradients=HEALTHY, signal=0.0)
    (verdict,) = verdicts(bench, "plain-signals-alive")
    assert verdict.word == "contradicted"
    assert "plain-56 0.00 (1 seed), predicted at least 0.01" in verdict.numbers


@pytest.mark.parametrize("measured", [{0: [1.0, 1.0]}, {0: [900.0, 1.0], -1: [1.0, 1.0]}])
def test_gradients_that_were_not_measured_all_along_are_judged_at_initialisation_only(
    bench: Bench, measured: dict[int, list[float]]
) -> None:
    bench.add("plain-20", gradients=HEALTHY)
    bench.add("plain-56", gradients=measured)
    for name in GRADIENT_CLAIMS - {"plain-gradients-healthy-initially"}:
        (verdict,) = verdicts(bench, name)
        lacking = f"1 trained, without {ALL_ALONG}"
        assert verdict.numbers == f"lacks plain-56 ({lacking})"
    (verdict,) = verdicts(bench, "plain-gradients-healthy-initially")
    assert verdict.word in ("consistent", "contradicted")
    watched = bench.add("plain-56", gradients=HEALTHY, seed=1)
    (verdict,) = verdicts(bench, "plain-gradients-healthy")
    assert verdict.word == "consistent"
    assert watched.path.name in verdict.runs
    assert len(verdict.runs) == 2  # not the other seed of plain-56
    assert verdict.numbers.endswith(f"; seeds without {ALL_ALONG}: plain-56 (1)")


def test_a_changed_recipe_is_compared_with_the_unchanged(bench: Bench) -> None:
    bench.add("resnet-110", 6.6)
    assert "with warmup=null" in verdicts(bench, "resnet-110-without-warmup")[0].numbers
    bench.add("resnet-110", 6.8, recipe={"warmup": None})
    (verdict,) = verdicts(bench, "resnet-110-without-warmup")
    assert verdict.word == "consistent"
    assert "difference +0.20" in verdict.numbers
    bench.add("resnet-110", seed=1, state="failed")
    (verdict,) = verdicts(bench, "resnet-110-without-warmup")
    assert "failed seeds left out: ResNet-110 (1)" in verdict.numbers


def test_nothing_run_and_imagenet(bench: Bench) -> None:
    found = judge(load_claims(), Results(bench.store))
    assert {v.word for v in found if not v.counted} == {"not run"}
    assert len(found) == len(load_claims())
    assert verdicts(bench, "imagenet-options-order")[0].numbers == (
        "needs ResNet-34 C, ResNet-34 B, ResNet-34 A"
    )


SHORT: dict[str, Any] = {"preset": "short", "dataset": "imagenet"}
IMAGENETTE = SHORT | {"dataset": "imagenette"}


def test_imagenet_claims_are_judged_by_ten_crops_and_at_reduced_scale_as_trends(
    bench: Bench,
) -> None:
    for network, error in (("resnet-34-a", 29.0), ("plain-34", 31.5)):
        bench.add(network, 10.0, evaluations={"10-crop": (error, 4.0)}, **SHORT)
    (reduced,) = verdicts(bench, "imagenet-residual-34")
    assert reduced.label == "consistent (trend)"
    assert "plain-34 minus ResNet-34 A +2.50" in reduced.numbers
    for network, error in (("resnet-34-a", 28.0), ("plain-34", 27.0)):
        bench.add(network, 10.0, dataset="imagenet", evaluations={"10-crop": (error, 9.0)})
    faithful, _ = verdicts(bench, "imagenet-residual-34")
    assert faithful.label == "contradicted"


def test_an_opposite_trend_at_reduced_scale_leaves_a_claim_undecided(bench: Bench) -> None:
    for network, error, train in (("resnet-34-a", 35.0, 30.0), ("plain-34", 31.5, 31.0)):
        bench.add(network, 10.0, train, evaluations={"10-crop": (error, 4.0)}, **SHORT)
    (verdict,) = verdicts(bench, "imagenet-residual-34")
    assert verdict.label == "undecided (other trend)"
    text, _ = compose_report(bench.store, [bench.experiment("table2")])
    assert re.search(r"✗\? 1 undecided \(other trend\).*; all as a trend only\.", text)


@pytest.mark.parametrize(
    ("plain", "learned"),
    [((86.9, 88.1), False), ((79.0, 88.1), True)],  # of ten classes, guessing has 90
)
def test_networks_that_still_guess_judge_nothing(
    bench: Bench, plain: tuple[float, float], learned: bool
) -> None:
    for network, error in zip(("plain-20", "plain-56"), plain, strict=True):
        bench.add(network, error, error, preset="demo", dataset="synthetic")
    (verdict,) = verdicts(bench, "plain-56-train")
    assert verdict.label == ("consistent (trend)" if learned else "undecided (preset unfit)")
    assert ("right in less than 20% of training images" in verdict.numbers) is not learned


@pytest.mark.parametrize("preset", ["quarter", "short", "paper"])
def test_at_reduced_presets_one_network_that_has_hardly_learned_is_enough(
    bench: Bench, preset: str
) -> None:
    for network, error in (("resnet-110", 7.0), ("resnet-1202", 85.0)):
        bench.add(network, error, error, preset=preset)  # type: ignore[arg-type]
    (verdict,) = verdicts(bench, "resnet-1202-overfits")
    assert verdict.unfit is (preset != "paper")
    assert verdict.word == ("consistent" if preset == "paper" else "undecided")


@pytest.mark.parametrize(("train", "judged"), [(86.7, False), (79.0, True)])
def test_one_network_that_has_hardly_learned_leaves_a_claim_undecided(
    bench: Bench, train: float, judged: bool
) -> None:
    for name, error in (("c", 65.0), ("b", 65.6), ("a", train)):
        crops = {"10-crop": (min(error, 66.2), 4.0)}
        bench.add(f"resnet-34-{name}", 10.0, error, evaluations=crops, **IMAGENETTE)
    (verdict,) = verdicts(bench, "imagenet-options-order")
    assert verdict.label == ("consistent (trend)" if judged else "undecided (preset unfit)")
    assert ("hardly learned: ResNet-34 A (86.70)" in verdict.numbers) is not judged
    text, _ = compose_report(bench.store, [bench.experiment("table3")])
    alone = r"none of \d+ judged yet; 1 measured at a preset that cannot judge them"
    assert bool(re.search(alone, text)) is not judged


@pytest.mark.parametrize(
    ("classes", "train", "judged"),
    [(10, 86.7, False), (10, 79.0, True), (2, 30.0, False), (2, 20.0, True)],
)
def test_photographs_of_the_users_own_have_the_classes_of_the_classifier(
    bench: Bench, classes: int, train: float, judged: bool
) -> None:
    for network, error in (("resnet-34-a", 10.0), ("plain-34", train)):
        bench.add(
            network,
            10.0,
            error,
            preset="short",
            dataset="folder:birds",
            evaluations={"10-crop": (error, 4.0)},
            parameters=outline(network, classes=classes).parameters,
        )
    (verdict,) = verdicts(bench, "imagenet-residual-34")
    assert verdict.label == ("consistent (trend)" if judged else "undecided (preset unfit)")
    assert ("right in less than" in verdict.numbers) is not judged


def test_first_steps_that_decide_what_a_network_reaches_leave_claims_undecided(
    bench: Bench,
) -> None:
    """plain-34's on Imagenette, like plain-56's on CIFAR-10."""
    for network, error in (("resnet-34-a", 24.0), ("plain-34", 71.0)):
        bench.add(network, 10.0, error, evaluations={"10-crop": (error, 4.0)}, **IMAGENETTE)
    for name in ("imagenet-residual-34", "imagenet-residual-34-train"):
        (verdict,) = verdicts(bench, name)
        assert verdict.label == "undecided (preset unfit)"


def test_what_nearer_protocols_have_stands_beside_a_verdict(bench: Bench) -> None:
    depths = (20, 32, 44, 56, 110)
    for depth in depths[:3]:
        bench.add(f"resnet-{depth}", 9 - depth / 50, 1.0)
    bench.add("resnet-20", 11.0, 6.0, preset="quarter")
    for depth in depths:
        bench.add(f"resnet-{depth}", 13 + depth / 20, 10.0, preset="short")
    (verdict,) = verdicts(bench, "residual-depth-test")
    assert verdict.label == "undecided (other trend)"
    assert verdict.numbers.endswith(
        "; preset paper, nearer to the paper's, lacks ResNet-110, ResNet-56 and has "
        "ResNet-20 8.60 (1 seed), ResNet-32 8.36 (1 seed), ResNet-44 8.12 (1 seed)"
    )
    assert "quarter" not in verdict.numbers, "of one network there is nothing to compare"


def test_a_failure_that_is_the_claim_is_judged(bench: Bench) -> None:
    """At the paper's protocol; of networks that are compared, one that fails is a finding too."""
    bench.add("plain-110", 85.0, 85.0)
    assert verdicts(bench, "plain-110-fails")[0].label == "consistent"
    bench.add("resnet-110", 6.6, 0.1)
    bench.add("resnet-110", 90.0, 90.0, recipe={"warmup": None})
    assert verdicts(bench, "resnet-110-without-warmup")[0].label == "contradicted"


def test_small_steps_may_be_smaller_than_seeds_differ(bench: Bench) -> None:
    """What the paper calls slight and marginal is judged by its own margin at reduced presets."""
    for name, error in (("c", 40.0), ("b", 40.6), ("a", 41.2)):
        bench.add(f"resnet-34-{name}", 10.0, evaluations={"10-crop": (error, 4.0)}, **SHORT)
    (verdict,) = verdicts(bench, "imagenet-options-order")
    assert verdict.label == "consistent (trend)"


def test_depth_is_not_judged_where_a_pilot_found_the_training_too_short(bench: Bench) -> None:
    for dataset in ("imagenette", "imagenet"):
        for network, error in (("plain-18", 35.0), ("plain-34", 39.0)):
            run = {"preset": "short", "dataset": dataset}
            bench.add(network, 10.0, evaluations={"10-crop": (error, 4.0)}, **run)
    whole, part = verdicts(bench, "imagenet-plain-depth")
    assert (whole.label, part.label) == ("consistent (trend)", "undecided (preset unfit)")


@pytest.mark.parametrize(("lead", "word"), [(1.4, "undecided"), (1.6, "consistent")])
def test_seeds_of_reduced_presets_may_differ_more(bench: Bench, lead: float, word: str) -> None:
    for network, error in (("resnet-34-a", 35.0), ("plain-34", 35.0 + lead)):
        bench.add(network, 10.0, evaluations={"10-crop": (error, 4.0)}, **SHORT)
    (verdict,) = verdicts(bench, "imagenet-residual-34")
    assert verdict.label == f"{word} (trend)"
    assert "margin 1.5 at this protocol" in verdict.numbers


def test_no_clear_trend_at_reduced_scale_is_not_an_opposite_one(bench: Bench) -> None:
    for network, error in (("resnet-34-a", 31.6), ("plain-34", 31.5)):
        bench.add(network, 10.0, evaluations={"10-crop": (error, 4.0)}, **SHORT)
    (verdict,) = verdicts(bench, "imagenet-residual-34")
    assert verdict.label == "undecided (trend)"


def test_without_ten_crops_a_claim_about_them_is_not_judged(bench: Bench) -> None:
    for network in ("plain-18", "plain-34"):
        bench.add(network, 10.0, evaluations={"centre": (10.0, 1.0)}, **SHORT)
    assert verdicts(bench, "imagenet-plain-depth")[0].word == "not run"
    assert verdicts(bench, "imagenet-plain-train")[0].word != "not run"


def test_early_error_is_the_mean_over_the_first_quarter(bench: Bench) -> None:
    """The end, where the plain network is better here, does not count."""

    def falling(early: float, late: float) -> Any:
        return lambda part: (early if part <= 0.25 else late, 50.0)

    bench.add("plain-18", 30.0, 10.0, points=falling(80.0, 10.0), **SHORT)
    bench.add("resnet-18-a", 30.0, 20.0, points=falling(70.0, 20.0), **SHORT)
    (verdict,) = verdicts(bench, "imagenet-18-early")
    assert verdict.word == "consistent"
    assert "ResNet-18 A 70.00 (1 seed), plain-18 80.00 (1 seed)" in verdict.numbers


def test_a_claim_of_the_later_paper_names_what_lacks_of_its_own_preset(bench: Bench) -> None:
    for preset_alone in ("resnet-56", "resnet-110"):
        bench.add(preset_alone, preset="short")
    for network in ("resnet-56", "preact-56"):
        bench.add(network, preset="short", recipe=START)
    found = [v for v in judge(load_claims(), Results(bench.store)) if "preact-110" in v.missing]
    (verdict,) = [v for v in found if v.claim.id == "preact-depth-test-56"]
    assert verdict.numbers == "lacks pre-act ResNet-110, ResNet-110"


def test_a_band_says_beyond_what_a_single_seed_misses_it(bench: Bench) -> None:
    bench.add("resnet-56", 7.60)
    (one,) = verdicts(bench, "table6-resnet-56")
    assert one.word == "undecided"
    assert one.numbers.endswith("difference +0.63, band ±0.5, clearly missed beyond ±0.8")
    bench.add("resnet-56", 7.70, seed=1)
    (two,) = verdicts(bench, "table6-resnet-56")
    assert two.word == "undecided", "together by less"
