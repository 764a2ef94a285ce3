"""`bench` and `doctor` show how fast either precision is, and `bench` uses the faster one."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from resnet_repro.base.errors import ReproError
from resnet_repro.bench import measure as measure_module
from resnet_repro.bench.measure import Plan, TrainingMeasurement
from resnet_repro.training import device as device_module
from resnet_repro.training import precision_speed


@pytest.fixture
def intel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """A processor on which bf16 is the slower one; what comes back counts measurements."""
    times = [0]

    def measure() -> dict[str, float]:
        times[0] += 1
        return {"fp32": 1575.0, "bf16": 362.0}

    monkeypatch.setattr(precision_speed, "measure_rates", measure)
    monkeypatch.setattr(device_module, "cpu_features", lambda: frozenset({"avx512_bf16"}))
    monkeypatch.setenv("RESNET_REPRO_CACHE", str(tmp_path.parent / f"{tmp_path.name}-cache"))
    monkeypatch.setattr(precision_speed, "_known", {})
    return times


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """What would be measured, in place of a process that trains."""
    made: list[Plan] = []

    def note(plan: Plan, progress: object) -> TrainingMeasurement:
        made.append(plan)
        values = dict.fromkeys((field.name for field in fields(TrainingMeasurement)), 1.0)
        values |= {"network": plan.network, "precision": plan.precision}
        return TrainingMeasurement(**values)  # type: ignore[arg-type]

    monkeypatch.setattr(measure_module, "measure_network", note)
    return made


def test_what_was_measured_is_stored_when_the_next_network_fails(
    plans: list[Plan], intel: list[int], command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = measure_module.measure_network

    def second_fails(plan: Plan, progress: Any) -> TrainingMeasurement:
        if plans:
            raise ReproError("out of memory")
        return measure(plan, progress)

    monkeypatch.setattr(measure_module, "measure_network", second_fails)
    options = ("--device", "cpu", "--no-textbook", "--rounds", "1")
    answer = command("bench", *options, "--networks", "resnet-8,plain-8")
    assert (answer.code, "out of memory" in answer.err) == (1, True)
    stored = pd.read_csv(Path("results") / "bench.csv")
    assert stored.network.tolist() == ["resnet-8"]


def test_bench_measures_both_anew_and_shows_them(
    plans: list[Plan], intel: list[int], command: Any
) -> None:
    options = ("--device", "cpu", "--networks", "resnet-8", "--no-textbook", "--rounds", "1")
    answer = command("bench", *options, "--json")
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    assert [line["network"] for line in found["networks"]] == ["resnet-8"]
    assert found["loader"] is None
    auto = found["auto_precision"]
    assert auto["precision"] == "fp32"
    assert auto["images_per_second"] == {"fp32": 1575.0, "bf16": 362.0}
    answer = command("bench", *options)
    assert answer.out.startswith("precision auto is fp32: ")
    assert "362 images/s in bf16 and 1,575 in fp32" in answer.out
    assert intel == [2], "once in each call"
    assert [plan.precision for plan in plans] == ["fp32", "fp32"], "what was decided"
    answer = command("bench", *options, "--precision", "bf16")
    assert "362 images/s in bf16 and 1,575 in fp32" in answer.out
    assert plans[-1].precision == "bf16"


def test_doctor_shows_both(intel: list[int], command: Any) -> None:
    for _ in range(2):
        checks = {
            c["name"]: c for c in json.loads(command("doctor", "--device", "cpu", "--json").out)
        }
        assert "362 images/s in bf16 and 1,575 in fp32" in checks["precision"]["text"]
        assert checks["precision"]["text"].startswith("auto is fp32")
        assert "fp32 arithmetic" in checks["device"]["text"]
    assert intel == [1], "kept for the machine"
