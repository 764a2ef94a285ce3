"""`doctor` says what a run would meet, and leaves nothing behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from resnet_repro.base import machine
from resnet_repro.base.plain_text import plural
from resnet_repro.data.datasets import READERS
from resnet_repro.data.generated import GeneratedReader


def checks(answer: Any) -> dict[str, list[tuple[str, str]]]:
    """What was looked at -> (verdict, text) of each finding."""
    found: dict[str, list[tuple[str, str]]] = {}
    for check in json.loads(answer.out):
        found.setdefault(check["name"], []).append((check["verdict"], check["text"]))
    return found


def test_an_empty_machine_is_ready(command: Any, tmp_path: Path) -> None:
    answer = command("doctor", "--device", "cpu", "--json", "--results", "new/one/results")
    found = checks(answer)
    assert answer.code == 0
    verdict, device = found["device"][0]
    assert verdict == "ok"
    assert device.endswith(plural(torch.get_num_threads(), "thread"))
    assert f"torch {torch.__version__}" in found["versions"][0][1]
    assert found["cifar10"][0][0] == "note"
    assert "resnet-repro data prepare cifar10 --download" in found["cifar10"][0][1]
    assert found["results"][0][0] == "ok"
    assert not list(tmp_path.iterdir()), "it leaves nothing behind"


def test_what_is_advised_about_data_can_be_done(command: Any, tmp_path: Path) -> None:
    """Data sets that `data prepare` refuses to download have to be brought."""
    found = checks(command("doctor", "--device", "cpu", "--json"))
    for name, reader in READERS.items():
        advice = found[name][0][1]
        if "--download" in advice:
            assert reader.downloadable, name
        elif not isinstance(reader, GeneratedReader):
            assert "--from PATH" in advice, name
            refused = command("data", "prepare", name, "--download")
            assert (refused.code, "cannot be downloaded" in refused.err) == (2, True), name


def test_what_is_in_the_way_is_a_problem(command: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    answer = command("doctor", "--device", "cuda:99", "--results", "file", "--json")
    found = checks(answer)
    assert answer.code == 1
    assert found["device"][0][0] == "problem"
    assert "--device cpu" in found["device"][0][1]
    assert found["results"] == [("problem", "file is a file, where a folder is needed")]


def test_the_table_has_a_line_for_each_check(command: Any) -> None:
    lines = command("doctor", "--device", "cpu").out.splitlines()
    for name in ("python", "device", "versions", "cifar10", "imagenet", "workers", "results"):
        assert any(line.startswith(name) for line in lines), name


def test_a_gpu_that_torch_cannot_use_is_pointed_out(
    command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where its driver is older than the CUDA that torch is built for."""
    (tmp_path / "gpus" / "0000:01:00.0").mkdir(parents=True)
    listed = tmp_path / "gpus" / "0000:01:00.0" / "information"
    listed.write_text("Model: \t\t NVIDIA A100\n", encoding="utf-8")
    monkeypatch.setattr(machine, "DRIVER", tmp_path / "gpus")
    monkeypatch.setattr(machine.metadata, "version", lambda _: "2.14.1+cu130")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    found = checks(command("doctor", "--json"))
    assert "NVIDIA A100 is not used: its driver is too old" in dict(found["device"])["note"]


def test_an_apple_gpu_is_pointed_out(command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    found = checks(command("doctor", "--device", "cpu", "--json"))
    assert "--device mps" in dict(found["device"])["note"]
