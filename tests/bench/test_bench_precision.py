"""`bench` and `doctor` show how fast either precision is, and `bench` uses the faster one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from resnet_repro.bench import measure as measure_module
from resnet_repro.bench.measure import measure_network
from resnet_repro.training import device as device_module
from resnet_repro.training import rates


@pytest.fixture
def intel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """A processor on which bf16 is the slower one; what comes back counts measurements."""
    times = [0]

    def measure() -> dict[str, float]:
        times[0] += 1
        return {"fp32": 1575.0, "bf16": 362.0}

    monkeypatch.setattr(rates, "measure_rates", measure)
    monkeypatch.setattr(device_module, "cpu_features", lambda: frozenset({"avx512_bf16"}))
    monkeypatch.setenv("RESNET_REPRO_CACHE", str(tmp_path.parent / f"{tmp_path.name}-cache"))
    monkeypatch.setattr(rates, "_known", {})
    return times


class Contender:
    """In place of a process that trains."""

    choices: list[Any]

    def __init__(self, choice: Any) -> None:
        self.choices.append(choice)

    def __enter__(self) -> Contender:
        return self

    def __exit__(self, *_: object) -> None: ...

    def speed(self, seconds: float) -> float:
        return 100.0

    def peak_memory(self) -> float | None:
        return None


@pytest.fixture
def contender(monkeypatch: pytest.MonkeyPatch) -> type[Contender]:
    Contender.choices = []
    monkeypatch.setattr(measure_module, "Contender", Contender)
    monkeypatch.setattr(measure_module.MatrixProduct, "rate", lambda *_: 1e12)
    monkeypatch.setattr(measure_module, "memory_bandwidth", lambda *_: 1e9)
    return Contender


@pytest.mark.usefixtures("intel")
def test_the_contenders_train_in_what_was_decided(
    contender: type[Contender], tmp_path: Path
) -> None:
    found = measure_network("resnet-8", "synthetic", tmp_path, "cpu", "auto", rounds=1)
    assert found.precision == "fp32"
    assert [choice.precision for choice in contender.choices] == ["fp32", "fp32"]


def test_bench_measures_both_anew_and_shows_them(
    contender: type[Contender], intel: list[int], command: Any
) -> None:
    options = ("--device", "cpu", "--networks", "resnet-8", "--no-textbook", "--rounds", "1")
    answer = command("bench", *options, "--json")
    assert answer.code == 0, answer.err
    auto = json.loads(answer.out)["auto_precision"]
    assert auto["precision"] == "fp32"
    assert auto["images_per_second"] == {"fp32": 1575.0, "bf16": 362.0}
    answer = command("bench", *options)
    assert "\nprecision auto is fp32: " in answer.out
    assert "362 images/s in bf16 and 1,575 in fp32" in answer.out
    assert intel == [2], "once in each call"
    answer = command("bench", *options, "--precision", "bf16")
    assert "362 images/s in bf16 and 1,575 in fp32" in answer.out
    assert contender.choices[-1].precision == "bf16"


def test_doctor_shows_both(intel: list[int], command: Any) -> None:
    for _ in range(2):
        checks = {
            c["name"]: c for c in json.loads(command("doctor", "--device", "cpu", "--json").out)
        }
        assert "362 images/s in bf16 and 1,575 in fp32" in checks["precision"]["text"]
        assert checks["precision"]["text"].startswith("auto is fp32")
        assert "fp32 arithmetic" in checks["device"]["text"]
    assert intel == [1], "kept for the machine"
