"""Pipes, sockets, devices and files without end are refused at once, wherever they lie."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from stoppable import Driver, the_run, write_experiment

from resnet_repro.base.files import open_regular, read_regular

Put = Callable[[Path], object]
Command = Callable[..., Any]
PATIENCE = 60  # seconds; what hangs would hang for ever


def huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**40)


def listening(path: Path) -> None:
    """A socket; its name is relative, since few bytes are allowed."""
    before = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(before)


KINDS: dict[str, Put] = {
    "fifo": os.mkfifo,
    "zero": lambda path: path.symlink_to("/dev/zero"),
    "socket": listening,
    "huge": huge,
}


# Of a file that is none, and of one that is too large: each kind is refused for one of the two.
@pytest.fixture(params=["fifo", "huge"])
def put(request: pytest.FixtureRequest) -> Put:
    """Put something strange at a path, in place of what is there."""

    def replace(path: Path) -> None:
        path.unlink(missing_ok=True)
        KINDS[request.param](path)

    return replace


@pytest.fixture(autouse=True)
def not_for_ever() -> Iterator[None]:
    """End a test that waits for what never comes."""

    def end(*_: object) -> None:
        raise TimeoutError("it waits for ever")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(PATIENCE)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def one_line(answer: Any, code: int) -> None:
    assert answer.code == code, answer.err
    said = [line for line in answer.err.splitlines() if line.startswith("resnet-repro: ")]
    assert len(said) == 1, answer.err
    assert len(answer.err) < 2_000
    assert "Traceback" not in answer.err


@pytest.mark.parametrize("put", KINDS, indirect=True)
def test_regular_files_alone_are_opened(tmp_path: Path, put: Put) -> None:
    put(tmp_path / "x")
    for use in (read_regular, open_regular):
        with pytest.raises(OSError, match=r"not a regular file|larger than 1,000 bytes"):
            use(tmp_path / "x", 1_000)


def test_links_to_files_are_files(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("x")
    assert read_regular(tmp_path / "link", 3) == b"abc"
    with pytest.raises(OSError, match="larger than 2 bytes"):
        read_regular(tmp_path / "link", 2)
    with pytest.raises(IsADirectoryError):
        open_regular(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "missing")


@pytest.mark.parametrize("dataset", ["cifar10", "imagenette", "imagenet", "folder:x"])
def test_as_the_copy_of_a_data_set(
    command: Command, tmp_path: Path, put: Put, dataset: str
) -> None:
    put(tmp_path / "x")
    arguments = ("--from", tmp_path / "x", "--data-dir", tmp_path / "data")
    one_line(command("data", "prepare", dataset, *arguments), 3)


def test_as_a_file_of_cifar10(command: Command, tmp_path: Path, put: Put) -> None:
    for folder, name in (("cifar-10-batches-py", "data_batch_1"), ("x", "data_batch_1.bin")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_bytes(b"")
        for other in ("data_batch_2", "data_batch_2.bin", name):
            put(tmp_path / folder / other)
        arguments = ("--from", tmp_path / folder, "--data-dir", tmp_path / "data")
        one_line(command("data", "prepare", "cifar10", *arguments), 3)


def test_as_an_image(command: Command, tmp_path: Path, put: Put) -> None:
    for part in ("train", "test", "val"):
        for number in range(10):
            (tmp_path / "x" / part / f"c{number}").mkdir(parents=True)
            put(tmp_path / "x" / part / f"c{number}" / "x.png")
    for dataset in ("cifar10", "folder:x"):
        arguments = ("--from", tmp_path / "x", "--data-dir", tmp_path / "data")
        one_line(command("data", "prepare", dataset, *arguments), 3)


@pytest.mark.parametrize(
    "name", ["LOC_val_solution.csv", "ILSVRC2012_devkit_t12.tar.gz", "val/val_annotations.txt"]
)
def test_as_the_ground_truth(command: Command, tmp_path: Path, put: Put, name: str) -> None:
    for path in ("train/n01440764/a.jpg", "train/n01443537/b.jpg", "val/c.jpg"):
        (tmp_path / "x" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "x" / path).write_bytes(b"x")
    put(tmp_path / "x" / name)
    arguments = ("--from", tmp_path / "x", "--data-dir", tmp_path / "data")
    one_line(command("data", "prepare", "imagenet", *arguments), 3)


@pytest.mark.parametrize("name", ["x.yaml", "x"])
def test_as_an_experiment(command: Command, tmp_path: Path, put: Put, name: str) -> None:
    put(tmp_path / name)
    for some in ("show", "run", "status", "table", "plot"):
        answer = command(some, tmp_path / name)
        one_line(answer, 2)
        assert "not a regular file" in answer.err or "larger than" in answer.err


@pytest.mark.parametrize("name", ["x.pth", "x.safetensors"])
def test_as_weights(command: Command, tmp_path: Path, put: Put, name: str) -> None:
    put(tmp_path / name)
    arguments = ("--network", "resnet-18-b", "--dataset", "synthetic")
    answer = command("evaluate", tmp_path / name, *arguments)
    one_line(answer, 2)
    assert "not a regular file" in answer.err or "larger than" in answer.err


RUN_FILES = [
    *("config.yaml", "summary.json", "curve.csv", "responses.csv", "gradients.csv"),
    *("evaluations.csv", "measurements.json", ".owner.json", "checkpoint"),
]


@pytest.fixture(scope="module")
def trained(driver: Driver, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an experiment and the results of its one run."""
    folder = tmp_path_factory.mktemp("trained")
    experiment = write_experiment(folder, 2, 2)
    arguments = ("--device", "cpu", "--results", folder / "results")
    assert driver.run("run", experiment, *arguments)[0] == 0
    return folder


@pytest.mark.parametrize("name", RUN_FILES)
def test_as_a_file_of_a_run(
    driver: Driver, command: Command, tmp_path: Path, trained: Path, name: str
) -> None:
    shutil.copytree(trained, tmp_path / "x")
    results = tmp_path / "x" / "results"
    (experiment,) = (tmp_path / "x").glob("*.yaml")
    training = ("run", experiment, "--device", "cpu", "--results", results)
    folder = the_run(results)
    (folder.path / name).unlink(missing_ok=True)
    os.mkfifo(folder.path / name)
    for some in (("status",), ("report",), ("table", experiment), ("list",)):
        answer = command(*some, "--results", results)
        assert "Traceback" not in answer.err
        assert answer.code in (0, 1), answer.err
    for some in (training, ("evaluate", folder.path, "--device", "cpu")):
        code, job = driver.run(*some)  # a traceback is never right
        assert code in (0, 1, 2), job.stderr


@pytest.mark.parametrize(
    "name", ["bench.csv", "table1.csv", "report.md", "figures/fig1.png", "ensembles/x.json"]
)
def test_as_a_file_of_the_results(command: Command, tmp_path: Path, put: Put, name: str) -> None:
    path = tmp_path / "results" / name
    path.parent.mkdir(parents=True)
    put(path)
    for some in (("list",), ("status",), ("table", "table1"), ("report", "--check"), ("report",)):
        answer = command(*some, "--results", tmp_path / "results")
        assert answer.code in (0, 1), answer.err


def test_as_a_folder(command: Command, tmp_path: Path, put: Put) -> None:
    for number, option in enumerate(("--data-dir", "--results")):
        put(tmp_path / f"x{number}")
        for some in (("data", "list"), ("data", "verify", "cifar10"), ("status",), ("report",)):
            if (some[0] == "data") == (option == "--data-dir"):
                answer = command(*some, option, tmp_path / f"x{number}")
                assert answer.code in (0, 1, 2, 3), answer.err


def test_a_copy_of_a_data_set_by_its_path(command: Command, tmp_path: Path, put: Put) -> None:
    put(tmp_path / "x")
    arguments = ("--device", "cpu", "--results", tmp_path / "results")
    one_line(command("run", "table2", "--dataset", f"folder:{tmp_path}/x", *arguments), 3)


def test_links_in_a_circle(command: Command, tmp_path: Path) -> None:
    for part in ("train", "val"):
        for name in ("a", "b"):
            (tmp_path / "x" / part / name).mkdir(parents=True)
            (tmp_path / "x" / part / name / "again").symlink_to(tmp_path / "x")
    (tmp_path / "x" / "train" / "a" / "x.png").symlink_to("x.png")
    arguments = ("--from", tmp_path / "x", "--data-dir", tmp_path / "data")
    one_line(command("data", "prepare", "folder:x", *arguments), 3)
    shutil.rmtree(tmp_path / "x")
