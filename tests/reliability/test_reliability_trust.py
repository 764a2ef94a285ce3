"""Nothing foreign is executed, and nothing is written outside the results and data folders."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import signal
import tarfile
import time
from pathlib import Path

import pytest
import torch
from stoppable import Driver, the_run, write_experiment
from training_outcome import outcome

from resnet_repro.store.store import Store
from resnet_repro.training.checkpoint import MAGIC

BATCHES = [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]


class Evil:
    """An object whose pickle makes a file when it is loaded."""

    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def __reduce__(self) -> object:
        return os.mkdir, (str(self.sentinel),)


def test_a_malicious_pickle_in_a_data_set_is_not_executed(driver: Driver, tmp_path: Path) -> None:
    sentinel, folder = tmp_path / "executed", tmp_path / "data" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for name in BATCHES:
        (folder / name).write_bytes(pickle.dumps({b"data": Evil(sentinel), b"labels": []}))
    data = tmp_path / "data"
    for argv in (
        ("data", "prepare", "cifar10", "--from", folder, "--data-dir", tmp_path / "cache"),
        ("data", "prepare", "cifar10", "--data-dir", data),
        ("run", "fig6", "--preset", "short", "--data-dir", data, "--results", tmp_path / "r"),
    ):
        code, job = driver.run(*argv)
        assert code == 3, job.stderr
        last = job.stderr.splitlines()[-1]
        assert "data_batch_1" in last
        assert "mkdir" in last
    assert not sentinel.exists()
    pickle.loads((folder / "test_batch").read_bytes())
    assert sentinel.exists()  # so it would have been


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    info.size = 4 if kind == tarfile.REGTYPE else 0
    return info


@pytest.mark.parametrize(
    "info",
    [
        member("../outside"),
        member("cifar-10-batches-py/../../outside"),
        member("/tmp/outside-of-resnet-repro"),
        member("cifar-10-batches-py/data_batch_1", tarfile.SYMTYPE, "/etc/passwd"),
        member("cifar-10-batches-py/data_batch_1", tarfile.LNKTYPE, "../../outside"),
        member("cifar-10-batches-py/data_batch_1", tarfile.FIFOTYPE),
        member("../" + "x" * 100_000),
    ],
    ids=["up", "down-and-up", "absolute", "symlink", "hardlink", "fifo", "long"],
)
def test_an_archive_that_leads_out_is_refused(
    driver: Driver, tmp_path: Path, info: tarfile.TarInfo
) -> None:
    archive, data = tmp_path / "cifar.tar", tmp_path / "in" / "data"
    with tarfile.open(archive, "w") as tar:
        tar.addfile(info, io.BytesIO(b"evil") if info.size else None)
    argv = ("data", "prepare", "cifar10", "--from", archive, "--data-dir", data)
    code, job = driver.run(*argv)
    assert (code, "refusing to unpack" in job.stderr) == (3, True)
    assert len(job.stderr) < 2_000
    assert {path.name for path in tmp_path.rglob("*")} == {"cifar.tar", "in", "data"}
    assert not Path("/tmp/outside-of-resnet-repro").exists()


@pytest.mark.parametrize("with_checksum", [True, False])
def test_a_malicious_checkpoint_is_not_executed(
    driver: Driver, tmp_path: Path, with_checksum: bool
) -> None:
    experiment, results = write_experiment(tmp_path, 4, 2), tmp_path / "results"
    argv = ("run", experiment, "--device", "cpu", "--results", results)
    assert driver.run(*argv)[0] == 0
    run = the_run(results)
    expected = outcome(run)
    buffer = io.BytesIO()
    torch.save({"run": run.path.name, "network": Evil(tmp_path / "executed")}, buffer)
    payload = buffer.getvalue()
    header = MAGIC + hashlib.sha256(payload).digest() if with_checksum else b""
    run.checkpoint.write_bytes(header + payload)
    run.summary.unlink()
    run.curve.unlink()  # or else there is a result that is not trained over
    code, job = driver.run(*argv)
    assert (code, "checkpoint is not used: " in job.stderr) == (0, True)
    assert not (tmp_path / "executed").exists()
    assert outcome(run) == expected


def test_links_in_the_results_are_not_written_through(driver: Driver, tmp_path: Path) -> None:
    experiment, results = write_experiment(tmp_path, 4, 2), tmp_path / "results"
    argv = ("run", experiment, "--device", "cpu", "--results", results)
    assert driver.run(*argv)[0] == 0
    run = the_run(results)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for number, name in enumerate(("summary.json", "curve.csv", ".lock", "checkpoint")):
        target = elsewhere / name
        target.write_text("precious", encoding="utf-8")
        (run.path / name).unlink()
        (run.path / name).symlink_to(target)
        code, job = driver.run(*argv, "--force")
        assert code == (1 if name == ".lock" else 0), (number, job.stderr)
        assert target.read_text(encoding="utf-8") == "precious"
        if name == ".lock":
            (run.path / name).unlink()
    for path in sorted(elsewhere.iterdir()):
        path.unlink()
    run.path.rename(tmp_path / "moved")
    run.path.symlink_to(elsewhere, target_is_directory=True)
    for more in ((), ("--force",)):
        code, job = driver.run(*argv, *more)
        assert (code, "link" in job.stderr, "--force" in job.stderr) == (1, True, False)
    assert not list(elsewhere.iterdir())
    assert "its folder is a link" in driver.run("status", "--results", results)[1].stdout


@pytest.mark.parametrize("name", ["../escaped", "/tmp/escaped", "a/b", "..", "a\nb", "x" * 65, ""])
def test_a_name_from_yaml_cannot_leave_the_results(
    driver: Driver, tmp_path: Path, name: str
) -> None:
    experiment = write_experiment(tmp_path, 4, 2)
    text = experiment.read_text(encoding="utf-8").replace("name: tiny", f"name: {name!r}")
    experiment.write_text(text, encoding="utf-8")
    code, job = driver.run("run", experiment, "--results", tmp_path / "in" / "results")
    assert (code, "line 1: name: " in job.stderr, len(job.stderr) < 400) == (2, True, True)
    assert [path.name for path in tmp_path.iterdir()] == [experiment.name]


def test_merged_mappings_cannot_fill_the_memory(driver: Driver, tmp_path: Path) -> None:
    lines = ["a0: &a0 {k: 1}"]
    lines += [f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}" for n in range(1, 25)]
    path = tmp_path / "bomb.yaml"
    path.write_text("\n".join(lines), encoding="utf-8")
    begun = time.monotonic()
    code, job = driver.run("run", path, "--results", tmp_path / "results")
    assert (code, "<< is not supported" in job.stderr) == (2, True)
    assert time.monotonic() - begun < 10


def test_an_owner_file_cannot_make_a_dead_run_live(driver: Driver, tmp_path: Path) -> None:
    experiment, results = write_experiment(tmp_path, 200, 2), tmp_path / "results"
    job = driver.start("run", experiment, "--device", "cpu", "--results", results)
    job.await_point(results)
    job.kill(signal.SIGSTOP)
    (stored,) = Store(results).all_runs()
    assert stored.state == "running"
    job.kill()
    job.wait()
    for owner in ("{}", "[]", '{"host": 1, "pid": "x", "time": null}', '{"pid": 1e400}', "\0"):
        stored.folder.owner.write_text(owner, encoding="utf-8")
        assert Store(results).all_runs()[0].state == "stopped"
