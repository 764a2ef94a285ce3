"""The paper's numbers, compared with one another and with the networks' names."""

import pytest

from resnet_repro.base.errors import ConfigError
from resnet_repro.data.boxes.voc import CLASSES
from resnet_repro.paper.facts import Facts, load_facts
from resnet_repro.paper.reading import read_package_file
from resnet_repro.spec.experiment import Choices
from resnet_repro.spec.loading import load_experiment


def test_flops_are_those_of_table_1_and_nothing_is_invented_for_b_and_c() -> None:
    facts = load_facts()
    printed = {
        "plain-18": 1.8e9,
        "plain-34": 3.6e9,
        "resnet-18-a": 1.8e9,
        "resnet-34-a": 3.6e9,
        "resnet-50": 3.8e9,
        "resnet-101": 7.6e9,
        "resnet-152": 11.3e9,
    }
    assert {network: facts.flops_of(network) for network in printed} == printed
    assert facts.flops_of("resnet-34-b") is None
    assert facts.flops_of("resnet-20") is None


def test_table_6_has_every_row_in_the_papers_order() -> None:
    rows = load_facts().table6
    assert [row.method for row in rows[:6]] == [
        "Maxout",
        "NIN",
        "DSN",
        "FitNet",
        "Highway",
        "Highway",
    ]
    assert [row.layers for row in rows[6:]] == [20, 32, 44, 56, 110, 1202]
    assert [row.error.printed for row in rows[6:]] == [8.75, 7.51, 7.17, 6.97, 6.43, 7.93]


def test_resnet_110_is_compared_by_its_mean_and_shows_its_best() -> None:
    row = load_facts().cifar_result("resnet-110")
    assert row is not None
    assert row.error.comparable == 6.61
    assert row.error.runs == 5
    assert str(row.error) == "6.43 (6.61 ± 0.16)"


def test_plain_networks_are_not_tabulated() -> None:
    assert load_facts().cifar_result("plain-20") is None


def test_tables_2_and_3_agree_on_what_both_print() -> None:
    facts = load_facts()
    second, third = (
        {row.network: row.top1 for row in table if row.network}
        for table in (facts.table2, facts.table3)
    )
    both = second.keys() & third.keys()
    assert len(both) >= 2
    assert {n: second[n] for n in both} == {n: third[n] for n in both}


def test_classes_of_table_10_have_the_mean_that_is_printed_and_table_7_repeats() -> None:
    facts = load_facts()
    assert facts.voc_classes == CLASSES
    for row in facts.table10:
        assert sum(row.classes) / len(row.classes) == pytest.approx(row.mean, abs=0.0501)
    means = {row.network: row.mean for row in facts.table10 if row.network}
    assert means == {row.network: row.voc07 for row in facts.table7}
    assert facts.class_precisions("faster-rcnn-resnet-101")["cat"] == 89.8
    assert facts.class_precisions("faster-rcnn-vgg-16")["tvmonitor"] == 72.6
    assert facts.class_precisions("faster-rcnn-resnet-18-a") == {}


def test_the_gain_on_coco_is_the_28_percent_of_the_abstract() -> None:
    facts = load_facts()
    vgg, resnet = (row.ap for row in facts.table8)
    assert 100 * (resnet / vgg - 1) == pytest.approx(28, abs=0.5)


def test_a_missing_file_is_an_error_for_users() -> None:
    with pytest.raises(ConfigError, match=r"no-such\.yaml"):
        read_package_file("no-such.yaml", Facts)


def test_a_wrong_file_is_an_error_that_names_the_field() -> None:
    with pytest.raises(ConfigError, match="flops"):
        read_package_file("claims_imagenet.yaml", Facts)


@pytest.mark.parametrize("name", ["preact-table1", "preact-table2", "preact-table3"])
def test_experiments_on_preactivation_have_the_papers_rows(name: str) -> None:
    rows = load_facts().cifar_results(name)
    experiment = load_experiment(name, choices=Choices(preset="paper"))
    assert set(experiment.networks) == {row.network for row in rows if row.network}
    assert all(
        run.recipe.warmup and run.recipe.warmup.window == 400 for run in experiment.resolve()
    )
    fails = [row.network for row in rows if row.network and row.error.comparable is None]
    assert len(fails) == (3 if name == "preact-table1" else 0)
    assert all(str(load_facts().cifar_result(n, name).error) == "fail (above 20)" for n in fails)  # type: ignore[union-attr]
