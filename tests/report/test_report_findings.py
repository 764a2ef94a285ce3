"""What the terminal says of each claim after `resnet-repro report`."""

from __future__ import annotations

from typing import Any

import pytest
from made_up_results import Bench

from resnet_repro.paper.claims import load_claims
from resnet_repro.report.claims.judging import judge, main_verdicts
from resnet_repro.report.document.opening import findings
from resnet_repro.report.results import Results

DEMO: Any = {"preset": "demo", "dataset": "synthetic"}
DEEPER_IS_WORSE = "The 56-layer plain network ends with a higher test error than the 20-layer one."


def lines_of(bench: Bench, width: int | None = 10_000) -> list[str]:
    return findings(main_verdicts(judge(load_claims(), Results(bench.store))), width)


def test_each_judged_claim_is_one_line_with_its_numbers(bench: Bench) -> None:
    bench.add("plain-20", 36.0, 38.0, **DEMO)
    bench.add("plain-56", 89.7, 90.1, **DEMO)
    lines = lines_of(bench)
    assert lines[1].startswith("REDUCED: demo preset (900 of 64,000 iterations, images of 16 inst")
    (line,) = [line for line in lines if DEEPER_IS_WORSE in line]
    assert line.startswith("  consistent (trend)  ")
    assert "plain-20 36.00 (1 seed), plain-56 89.70 (1 seed)" in line
    assert lines[-1].endswith("other claims not judged yet")


def test_the_opposite_of_a_claim_is_called_that(bench: Bench) -> None:
    bench.add("plain-20", 50.0, 50.0, **DEMO)
    bench.add("plain-56", 30.0, 30.0, **DEMO)
    (line,) = [line for line in lines_of(bench) if DEEPER_IS_WORSE in line]
    assert line.startswith("  undecided (other trend)  ")


def test_the_papers_own_protocol_is_no_trend(bench: Bench) -> None:
    for seed in range(3):
        bench.add("plain-20", 9.0 + seed / 10, seed=seed)
        bench.add("plain-56", 12.0 + seed / 10, seed=seed)
    lines = lines_of(bench)
    assert lines[1].startswith("paper preset, CIFAR-10, fp32")
    (line,) = [line for line in lines if DEEPER_IS_WORSE in line]
    assert line.startswith("  confirmed  ")


@pytest.mark.parametrize(("width", "fits"), [(90, 90), (None, 100)])
def test_lines_fit_the_terminal(bench: Bench, width: int | None, fits: int) -> None:
    bench.add("plain-20", 36.0, 38.0, **DEMO)
    bench.add("plain-56", 89.7, 90.1, **DEMO)
    lines = lines_of(bench, width)
    assert max(map(len, lines)) <= fits
    claims = [line for line in lines if line.startswith("  ")]
    assert " ".join(" ".join(claims).split()).count(DEEPER_IS_WORSE) == 1


def test_without_results_only_costs_are_judged(bench: Bench) -> None:
    lines = lines_of(bench)
    assert lines[1] == "Counted, not trained:"
    assert any(line.startswith("  confirmed (counted)     Plain networks") for line in lines)
    assert lines[-1] == f"{len(load_claims()) - 9} other claims not judged yet"


def test_the_report_command_prints_them(command: Any, bench: Bench) -> None:
    bench.add("plain-20", 36.0, 38.0, **DEMO)
    bench.add("plain-56", 89.7, 90.1, **DEMO)
    answer = command("report", "--results", bench.store.root)
    assert answer.code == 0
    assert "\n".join(lines_of(bench, None)) in answer.out
    assert answer.out.splitlines()[-1].startswith("wrote ")
