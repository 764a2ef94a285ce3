"""Whatever stands in a YAML file: a valid experiment, or one short message that says where."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resnet_repro.base.errors import ConfigError
from resnet_repro.spec.experiment import Experiment
from resnet_repro.spec.loading import load_experiment, parse_experiment, shipped_experiments
from resnet_repro.spec.yaml_io import parse_yaml

FUZZ = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example],
)
VALID: dict[str, Any] = {
    "name": "mine",
    "title": "Mine",
    "dataset": "synthetic",
    "preset": "demo",
    "precision": "fp32",
    "recipe": {
        "iterations": 40,
        "batch_size": 16,
        "milestones": [10, 20],
        "learning_rate": 0.1,
        "warmup": {"learning_rate": 0.01, "window": 10},
        "augmentation": {"pad": 4, "mirror": True},
    },
    "runs": [{"networks": ["resnet-8", "plain-20"], "seeds": [0, 4]}, {"networks": ["resnet-14"]}],
    "presets": {"short": {"networks": ["resnet-8"], "seeds": 2}},
    "measure": ["responses"],
    "table": {"kind": "errors"},
    "plot": {"kind": "curves", "panels": [{"networks": ["resnet-8"]}], "error_axis": [0, 50]},
}
PHOTOS: dict[str, Any] = {"runs": [{"networks": ["resnet-50"]}], "presets": {}}
NASTY = [
    None, True, -1, 0, 3, 10**200, -(10**200), 1e308, float("nan"), float("inf"), -0.0, 0.5, "",
    "../x", "resnet-21", "resnet-1202", "plain-20\n", "\x1b[31m", "٣", "n" * 5_000, "1" * 5_000,
    [], [[]], {}, {"": {}}, {"kind": "curves"}, {"recipe": {}}, list(range(2_000)), b"bytes",
]  # fmt: skip
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(NASTY),
    st.dates(),
)
keys = st.one_of(st.sampled_from([*VALID, *VALID["recipe"], "networks", "seeds"]), st.text())
structures = st.recursive(
    scalars,
    lambda below: st.one_of(st.lists(below, max_size=4), st.dictionaries(keys, below, max_size=5)),
    max_leaves=15,
)


def check(text: str) -> Experiment | None:
    """Parse a file: an experiment that can be written and read again, or None for a message."""
    try:
        experiment = parse_experiment(parse_yaml(text, "file.yaml"))
    except ConfigError as error:
        message = str(error)
        assert message.startswith("file.yaml")
        assert len(message) < 600
        assert message.count("\n") < 2
        assert message.replace("\n", "").isprintable()
        return None
    again = parse_experiment(parse_yaml(experiment.to_yaml(), "again.yaml"))
    assert [run.id for run in again.resolve()] == [run.id for run in experiment.resolve()]
    for run in experiment.resolve():
        assert Path(run.id).name == run.id
        assert run.id.isprintable()
    assert Path(experiment.name).name == experiment.name
    return experiment


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of everything inside a structure."""
    below = node.items() if isinstance(node, dict) else enumerate(node)
    found = []
    for key, value in below:
        found.append((*path, key))
        if isinstance(value, dict | list):
            found += places(value, (*path, key))
    return found


def test_the_valid_file_and_the_shipped_ones_are_valid() -> None:
    assert check(yaml.safe_dump(VALID)) is not None
    for name in shipped_experiments():
        assert check(load_experiment(name).to_yaml().replace("again", "file")) is not None


@FUZZ
@given(st.text())
def test_any_text(text: str) -> None:
    check(text)


@FUZZ
@given(structures)
def test_any_structure(data: Any) -> None:
    check(yaml.dump(data, allow_unicode=True))


@FUZZ
@given(
    st.lists(st.tuples(st.sampled_from(places(VALID)), structures), min_size=1, max_size=3),
    st.booleans(),
)
def test_a_valid_file_with_fields_replaced(changes: list[tuple[Any, Any]], remove: bool) -> None:
    data: Any = copy.deepcopy(VALID)
    for path, value in changes:
        node = data
        try:
            for key in path[:-1]:
                node = node[key]
            if remove:
                del node[path[-1]]
            else:
                node[path[-1]] = value
        except (LookupError, TypeError, AttributeError):
            continue  # an earlier change took it away
    check(yaml.dump(data, allow_unicode=True))


@FUZZ
@given(st.data())
def test_a_valid_file_with_characters_changed(data: st.DataObject) -> None:
    text = yaml.safe_dump(VALID)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(text) - 1))
        piece = data.draw(st.sampled_from([*"-:[]{}&*!|>'\"%@`#,?\t\n 09aZ\0é", "&a ", "*a", "<<"]))
        text = text[:place] + piece + text[place + data.draw(st.integers(0, 3)) :]
    check(text)


@pytest.mark.parametrize("path", places(VALID), ids=lambda path: ".".join(map(str, path)))
def test_a_field_with_every_nasty_value(path: tuple[Any, ...]) -> None:
    for value in NASTY:
        data: Any = copy.deepcopy(VALID)
        node = data
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = value
        check(yaml.dump(data, allow_unicode=True))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"recipe": {"iterations": 0}}, "recipe.iterations: "),
        ({"recipe": {"iterations": 5, "milestones": [7]}}, "milestones: 7 is not before the end"),
        ({"recipe": {"milestones": [int("9" * 200)]}}, "recipe.milestones.0: "),
        ({"recipe": {"learning_rate": -0.1}}, "recipe.learning_rate: "),
        ({"recipe": {"learning_rate": float("nan")}}, "recipe.learning_rate: "),
        ({"recipe": {"warmup": {"window": 0}}}, "recipe.warmup.window: "),
        ({"recipe": {"lerning_rate": 0.1}}, "recipe.lerning_rate: unknown key"),
        ({"runs": [{"networks": ["resnet-21"]}]}, "runs.0.networks: "),
        ({"runs": [{"networks": ["resnet-20"], "seeds": [-1]}]}, "runs.0.seeds.0: "),
        ({"runs": [{"networks": ["resnet-20"], "seeds": [2**31]}]}, "runs.0.seeds.0: "),
        ({"runs": [{"networks": ["resnet-20"], "seeds": 10**9}]}, "runs.0.seeds: "),
        ({"dataset": "cifar10", **PHOTOS, "measure": []}, "runs.0"),
        (PHOTOS, "measure: responses is of CIFAR networks"),
        ({"runs": [{"networks": ["resnet-20"]}]}, "presets.short.networks: resnet-8 is not among"),
        ({"dataset": "../cifar10"}, "dataset: "),
        ({"name": "../x"}, "name: "),
        ({"plot": {**VALID["plot"], "error_axis": [50, 0]}}, "plot.error_axis: "),
        ({"plot": {**VALID["plot"], "error_axis": [0, float("inf")]}}, "plot.error_axis.1: "),
        ({"extra": 1}, "extra: unknown key"),
    ],
)
def test_a_message_names_the_field(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_experiment(parse_yaml(yaml.dump({**VALID, **change}), "file.yaml"))
    assert said in str(caught.value)
