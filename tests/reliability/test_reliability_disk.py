"""A disk that is full or that may not be written: one clear line, exit code 1, nothing lost."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from stoppable import Driver, assert_whole, the_run, write_experiment
from training_outcome import outcome

import resnet_repro

NOBODY = 65534
SAVING = ("--device", "cpu", "--checkpoint-every", "0.01s")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system on which two checkpoints fit, but not three."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1500k", "none", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small file system is not permitted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def twin(driver: Driver, experiment: Path, folder: Path) -> object:
    """What the experiment's run comes to where nothing goes wrong."""
    assert driver.run("run", experiment, "--device", "cpu", "--results", folder / "twin")[0] == 0
    return outcome(the_run(folder / "twin"))


def assert_one_line(stderr: str, reason: str) -> None:
    lines = [line for line in stderr.splitlines() if line.startswith("resnet-repro: ")]
    assert len(lines) == 1
    assert reason in lines[0]


def test_a_full_disk_stops_cleanly_and_continues(
    driver: Driver, small_disk: Path, tmp_path: Path
) -> None:
    experiment = write_experiment(tmp_path, iterations=16, every=8)
    expected = twin(driver, experiment, tmp_path)
    results = small_disk / "results"
    argv = ("run", experiment, "--results", results, *SAVING)
    for _ in range(2):  # it does not get any further the second time, nor does it lose anything
        code, job = driver.run(*argv)
        assert code == 1
        assert_one_line(
            job.stderr,
            "No space left on device; free some and run again, it continues from the last "
            "checkpoint",
        )
        assert_whole(results)
        assert the_run(results).checkpoints()
        assert not list(results.rglob("*.part"))
    assert "stopped" in driver.run("status", "--results", results)[1].stdout
    subprocess.run(["mount", "-o", "remount,size=9m", str(small_disk)], check=True)
    code, job = driver.run(*argv)
    assert (code, "continues at" in job.stderr) == (0, True)
    assert outcome(the_run(results)) == expected


def test_a_disk_that_is_full_from_the_start(
    driver: Driver, small_disk: Path, tmp_path: Path
) -> None:
    experiment = write_experiment(tmp_path, iterations=4)
    expected = twin(driver, experiment, tmp_path)
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space"):
        filler.write_bytes(b"\1" * 2_000_000)
    argv = ("run", experiment, "--results", small_disk / "results", "--device", "cpu")
    code, job = driver.run(*argv)
    assert code == 1
    assert_one_line(job.stderr, "No space left on device")
    filler.unlink()
    assert driver.run(*argv)[0] == 0
    assert outcome(the_run(small_disk / "results")) == expected


def test_a_quota_stops_cleanly_and_continues(driver: Driver, tmp_path: Path) -> None:
    """The same without the right to mount: no file may grow larger than half a checkpoint."""
    experiment, results = write_experiment(tmp_path, iterations=12), tmp_path / "results"
    expected = twin(driver, experiment, tmp_path)
    argv = ("run", experiment, "--results", results, *SAVING)
    code, job = driver.run(*argv, largest_file=300_000)
    assert code == 1
    assert_one_line(job.stderr, "File too large")
    assert_whole(results)
    assert driver.run(*argv)[0] == 0
    assert outcome(the_run(results)) == expected


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root; see the next test")
def test_a_read_only_folder_as_its_owner(driver: Driver, tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    code, job = driver.run("run", "fig6", "--preset", "demo", "--results", tmp_path / "results")
    tmp_path.chmod(0o755)
    assert code == 1
    assert_one_line(job.stderr, "Permission denied")


def others_may_read(path: Path) -> bool:
    """Whether somebody else can read a file; what a checkout in root's home holds, nobody can."""
    folders = path.resolve().parents
    return bool(path.stat().st_mode & 0o4) and all(p.stat().st_mode & 0o1 for p in folders)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.skipif(
    not all(map(others_may_read, (Path(resnet_repro.__file__), Path(torch.__file__)))),
    reason="somebody else could not read the code here",
)
def test_a_permission_lost_in_the_middle(driver: Driver, tmp_path: Path) -> None:
    experiment = write_experiment(tmp_path, iterations=20, every=5)
    expected = twin(driver, experiment, tmp_path)
    home = Path(tempfile.mkdtemp(dir="/tmp"))
    try:
        home.chmod(0o755)
        shutil.copy(experiment, home)
        results = home / "results"
        results.mkdir()
        os.chown(results, NOBODY, -1)
        argv = ("run", home / experiment.name, "--results", results, *SAVING)
        job = driver.start(*argv, uid=NOBODY)
        job.await_point(results)
        job.kill(signal.SIGSTOP)
        the_run(results).path.chmod(0o555)
        job.kill(signal.SIGCONT)
        assert job.wait() == 1
        assert_one_line(job.stderr, "Permission denied")
        assert_whole(results)
        code, job = driver.run(*argv, uid=NOBODY)  # still
        assert code == 1
        assert_one_line(job.stderr, "Permission denied")
        the_run(results).path.chmod(0o755)
        code, job = driver.run(*argv, uid=NOBODY)
        assert (code, "continues at" in job.stderr) == (0, True)
        assert outcome(the_run(results)) == expected
    finally:
        shutil.rmtree(home)


def test_a_read_only_file_system(driver: Driver, small_disk: Path, tmp_path: Path) -> None:
    experiment = write_experiment(tmp_path, iterations=4)
    results = small_disk / "results"
    assert driver.run("run", experiment, "--results", results, "--device", "cpu")[0] == 0
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for more in ((), ("--seeds", "2"), ("--force",)):
        argv = ("run", experiment, "--results", results, "--device", "cpu", *more)
        code, job = driver.run(*argv)
        assert code == 1
        assert_one_line(job.stderr, "Read-only file system")
    assert "done" in driver.run("status", "--results", results)[1].stdout
    assert driver.run("table", experiment, "--results", results)[0] == 0
