"""What `--jobs`, `--launcher` and their companions mean, and which of them contradict."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from launch_helpers import write_experiment

from resnet_repro.base.errors import ConfigError
from resnet_repro.base.machine import allowed_threads
from resnet_repro.launch.side_by_side import split_cores
from resnet_repro.launch.where import parse_where


def test_one_run_after_another_is_the_default() -> None:
    assert parse_where().plain
    assert not parse_where("2").plain
    assert parse_where("auto").jobs == "auto"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"jobs": "0"}, "from 1 to"),
        ({"jobs": "many"}, "auto"),
        ({"jobs": "-1"}, "from 1 to"),
        ({"launcher": "condor"}, "ray"),
        ({"launcher": "ray:"}, "address"),
        ({"launcher": "slurm:x"}, "slurm"),
        ({"launcher": "slurm-local", "jobs": "2"}, "leave it out"),
        ({"cpus_per_run": 2}, "--launcher"),
        ({"gpus_per_run": 0.5}, "--launcher"),
        ({"slurm": ["partition=gpu"]}, "--launcher slurm"),
        ({"wait": True}, "--launcher slurm"),
        ({"launcher": "slurm-local", "fail_fast": True}, "--fail-fast"),
        ({"launcher": "slurm-local", "gpus_per_run": 0.5}, "one GPU"),
        ({"launcher": "slurm-local", "slurm": ["gpu"]}, "key=value"),
        ({"launcher": "slurm-local", "slurm": ["a b=c"]}, "key=value"),
        ({"launcher": "slurm-local", "slurm": ["comment=a\nscancel"]}, "key=value"),
        ({"launcher": "slurm-local", "slurm": ["array=0-3"]}, "itself"),
        ({"launcher": "slurm-local", "slurm": ["nodes=2"]}, "itself"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(given: dict[str, Any], told: str) -> None:
    pytest.importorskip("submitit")
    with pytest.raises(ConfigError) as refused:
        parse_where(**given)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("launcher", "extra"), [("ray", "ray"), ("slurm", "slurm")])
def test_a_missing_package_is_named_with_what_installs_it(
    command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, launcher: str, extra: str
) -> None:
    experiment = write_experiment(tmp_path, 4, 2, 1)
    find = importlib.util.find_spec
    missing = ("ray", "submitit")
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name in missing else find(name)
    )
    code, _, err = command("run", experiment, "--launcher", launcher)
    assert code == 2
    assert f"pip install 'resnet-repro[{extra}]'" in err
    assert len(err.splitlines()) == 1


def test_torchrun_trains_one_run_on_several_gpus_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert parse_where().plain
    with pytest.raises(ConfigError, match="torchrun"):
        parse_where("2")


def test_the_plan_says_where(command: Any, tmp_path: Path) -> None:
    experiment = write_experiment(tmp_path, 4, 2, 2)
    assert "side by side on this machine: 2" in command("run", experiment, "--dry-run", "-j", 2)[1]
    pytest.importorskip("submitit")
    options = ("partition=gpu", "exclusive", "setup=ml cuda", "setup=env")
    slurm = ("--launcher", "slurm", *(part for one in options for part in ("--slurm", one)))
    code, out, _ = command("run", experiment, "--dry-run", *slurm)
    assert code == 0
    assert "one array job, by Slurm (partition=gpu exclusive 'setup=ml cuda' setup=env)" in out
    assert set(tmp_path.iterdir()) == {experiment, tmp_path / "data"}


def test_cores_are_divided_without_overlap() -> None:
    parts = split_cores(3, {0, 1, 2, 3, 4, 5, 6, 7})
    assert [len(part) for part in parts] == [2, 2, 2]
    assert len({core for part in parts for core in part}) == 6
    assert split_cores(1, {3, 5}) == [(3, 5)]
    assert [len(part) for part in split_cores(5, {0, 1})] == [1] * 5, "more runs than cores"


def test_threads_are_a_workers_cores_unless_fewer_are_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert allowed_threads(4) == 4
    for asked, threads in (("1", 1), ("8", 4), ("2,1", 2), ("", 4), ("x", 4), ("0", 4)):
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
        assert allowed_threads(4) == threads
