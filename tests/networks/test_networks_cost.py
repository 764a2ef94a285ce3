"""Parameters and multiply-adds against the paper's, and `table1.csv`.

They are an outline's: that torch counts the same is tested in `test_networks_outline.py`.
"""

from __future__ import annotations

import csv
import io
from itertools import pairwise
from pathlib import Path

import pytest

from resnet_repro.networks.outline import outline
from resnet_repro.report.cost_tables import agreement
from resnet_repro.report.results import Results
from resnet_repro.report.tidy import tidy_csv
from resnet_repro.spec.loading import load_experiment
from resnet_repro.spec.tables_figures import CostTable
from resnet_repro.store.store import Store

# Parameters and 1e9 multiply-adds (convolutions and classifier, one 224x224 image): paper.md.
IMAGENET_COSTS = {
    "plain-18": (11_515_688, 1.795),
    "plain-34": (21_623_848, 3.644),
    "resnet-18-a": (11_515_688, 1.795),
    "resnet-34-a": (21_623_848, 3.644),
    "resnet-34-b": (21_797_672, 3.664),
    "resnet-34-c": (22_716_840, 3.831),
    "resnet-50": (25_557_032, 3.858),
    "resnet-101": (44_549_160, 7.570),
    "resnet-152": (60_192_808, 11.282),
    "resnet-50-v1.5": (25_557_032, 4.089),
    "resnet-101-v1.5": (44_549_160, 7.801),
    "resnet-152-v1.5": (60_192_808, 11.514),
    "vgg-16": (138_357_544, 15.470),
}
CIFAR_PARAMETERS = {
    20: 269_722,
    32: 464_154,
    44: 658_586,
    56: 853_018,
    110: 1_727_962,
    1202: 19_421_274,
}


def cost(network: str) -> tuple[int, int]:
    """Trainable parameters, and multiply-adds for one image."""
    whole = outline(network)
    return whole.parameters, whole.multiply_adds


@pytest.mark.parametrize("network", IMAGENET_COSTS)
def test_imagenet_networks_cost_what_the_paper_says(network: str) -> None:
    parameters, multiply_adds = cost(network)
    assert (parameters, round(multiply_adds / 1e9, 3)) == IMAGENET_COSTS[network]


def test_vgg_16_layer_by_layer() -> None:
    """The 15.3e9 that the paper gives it (section 3.3) are its convolutions alone."""
    stages = ((224, (3, 64, 64)), (112, (64, 128, 128)), (56, (128, 256, 256, 256)))
    stages += ((28, (256, 512, 512, 512)), (14, (512, 512, 512, 512)))
    convolutions = sum(
        side * side * 9 * before * after
        for side, widths in stages
        for before, after in pairwise(widths)
    )
    classifier = 7 * 7 * 512 * 4096 + 4096 * 4096 + 4096 * 1000
    assert outline("vgg-16").multiply_adds == convolutions + classifier
    assert round(convolutions / 1e9, 1) == 15.3


@pytest.mark.parametrize("depth", CIFAR_PARAMETERS)
def test_cifar_networks_have_the_papers_parameters(depth: int) -> None:
    assert outline(f"resnet-{depth}").parameters == CIFAR_PARAMETERS[depth]


@pytest.mark.parametrize(
    ("plain", "twin"),
    [
        *((f"plain-{depth}", f"resnet-{depth}") for depth in (8, 20, 56)),
        ("plain-50", "resnet-50-a"),  # of bottlenecks
    ],
)
def test_a_plain_network_costs_what_its_option_a_twin_does(plain: str, twin: str) -> None:
    assert cost(plain) == cost(twin)


def test_resnet_20_layer_by_layer() -> None:
    first = 32 * 32 * (3 * 9) * 16
    stage1 = 6 * 32 * 32 * (16 * 9) * 16
    stage2 = 16 * 16 * (16 * 9) * 32 + 5 * 16 * 16 * (32 * 9) * 32
    stage3 = 8 * 8 * (32 * 9) * 64 + 5 * 8 * 8 * (64 * 9) * 64
    assert outline("resnet-20").multiply_adds == first + stage1 + stage2 + stage3 + 64 * 10


def test_options_of_a_cifar_network_cost_their_projections() -> None:
    """Option B would be 0.47M at 32 layers where the paper prints 0.46M: Table 6 is option A."""
    a, b, c = (outline(f"resnet-32{option}") for option in ("", "-b", "-c"))
    projections = 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64  # 1x1 convolutions and their BN
    assert b.parameters - a.parameters == projections
    assert round(b.parameters / 1e6, 2) == 0.47
    assert b.multiply_adds - a.multiply_adds == 16 * 16 * 16 * 32 + 8 * 8 * 32 * 64
    identities = 5 * (16 * 16 + 2 * 16) + 4 * (32 * 32 + 2 * 32 + 64 * 64 + 2 * 64)
    assert c.parameters - b.parameters == identities


def test_table1_csv(tmp_path: Path) -> None:
    experiment = load_experiment("table1")
    assert isinstance(experiment.table, CostTable)
    networks = ["plain-18", "resnet-34-a", "resnet-34-b", "resnet-50", "plain-20", "resnet-110"]
    table = experiment.table.model_copy(update={"networks": networks})
    chosen = experiment.model_copy(update={"table": table})
    text = tidy_csv(chosen, Results(Store(tmp_path)))
    assert text.splitlines()[0] == "network,parameters,multiply_adds,paper_flops,agrees"
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["network"] for row in rows] == networks
    counted = [(int(row["parameters"]), int(row["multiply_adds"])) for row in rows]
    assert counted == [cost(network) for network in networks]
    assert [row["paper_flops"] for row in rows] == ["1.8e9", "3.6e9", "", "3.8e9", "", ""]
    assert [row["agrees"] for row in rows] == ["yes", "yes", "", "yes", "", "yes"]


@pytest.mark.parametrize(
    ("network", "printed", "unit"),
    [
        ("resnet-20", 270_000, 10_000),
        ("resnet-32", 460_000, 10_000),
        ("resnet-44", 660_000, 10_000),
        ("resnet-56", 850_000, 10_000),
        ("resnet-110", 1_700_000, 100_000),
        ("resnet-1202", 19_400_000, 100_000),
    ],
)
def test_parameters_agree_when_they_round_to_what_is_printed(
    network: str, printed: int, unit: int
) -> None:
    offs = (0, 1 - unit // 2, unit // 2 - 1, -unit // 2 - 1, unit // 2 + 1)
    verdicts = [agreement(network, printed + off, 1) for off in offs]
    assert verdicts == ["yes", "yes", "yes", "no", "no"]


@pytest.mark.parametrize(("network", "option_b"), [("resnet-32", 466_906), ("resnet-56", 855_770)])
def test_the_parameters_tell_option_a_from_option_b(network: str, option_b: int) -> None:
    assert agreement(network, outline(network).parameters, 1) == "yes"
    assert agreement(network, option_b, 1) == "no"


@pytest.mark.parametrize(
    ("multiply_adds", "verdict"),
    [(3_750_000_001, "yes"), (3_899_999_999, "yes"), (3_749_999_999, "no"), (4_089_184_256, "no")],
)
def test_flops_agree_when_rounded_or_cut_off_to_what_is_printed(
    multiply_adds: int, verdict: str
) -> None:
    assert agreement("resnet-50", 1, multiply_adds) == verdict
    assert agreement("resnet-34-b", 1, multiply_adds) == "", "the paper prints nothing"
