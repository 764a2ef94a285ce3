"""The command line works wherever it is started: outputs, encodings, homes, clusters' variables."""

from __future__ import annotations

import io
import json
import logging
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from resnet_repro.base.machine import process_rank, usable_cores
from resnet_repro.cli.common import print_table, start_logging
from resnet_repro.launch.where import parse_where
from resnet_repro.plan.progress import LiveProgress
from resnet_repro.spec.experiment import Choices
from resnet_repro.spec.loading import load_experiment
from resnet_repro.training.processes import ALONE, process_group

RESULTS = Path(__file__).parents[2] / "results"
CODE = Path(__file__).parents[2]
CLUSTER = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "TORCHELASTIC_RESTART_COUNT")
TINY = (
    *("run", "fig1", "--preset", "demo", "--networks", "plain-20", "--set", "recipe.iterations=2"),
    *("--set", "recipe.milestones=[1]", "--set", "recipe.evaluate_every=2"),
)


def run(
    folder: Path, *arguments: str | bytes, env: dict[str, str] | None = None, **how: Any
) -> Any:
    """The command, in a process of its own; what it prints is bytes."""
    outside = ("RESNET_REPRO_RESULTS", "RESNET_REPRO_DATA", *CLUSTER)
    known = {name: value for name, value in os.environ.items() if name not in outside}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.run(
        [sys.executable, "-m", "resnet_repro", *arguments],
        cwd=folder,
        env={**known, "OMP_NUM_THREADS": "1", **(env or {})},
        check=False,
        **{**streams, **how},
    )


def closing(*descriptors: int) -> Callable[[], None]:
    def close() -> None:
        for descriptor in descriptors:
            os.close(descriptor)

    return close


def test_closed_outputs_lead_nowhere(tmp_path: Path) -> None:
    done = run(tmp_path, "list", stdout=None, preexec_fn=closing(1))
    assert (done.returncode, done.stderr) == (0, b"")
    done = run(tmp_path, "show", "nothing", stderr=None, preexec_fn=closing(2))
    assert (done.returncode, done.stdout) == (2, b"")
    how: Any = {"stdout": None, "stderr": None, "preexec_fn": closing(0, 1, 2)}
    assert run(tmp_path, "report", **how).returncode == 0
    written = (tmp_path / "results" / "report.md").read_text(encoding="utf-8")
    assert written.startswith("# ")
    assert "wrote results" not in written, "nothing that was printed is in it"


@pytest.mark.skipif(usable_cores() < 2, reason="one core is all there is")
def test_a_cluster_that_binds_threads_leaves_all_cores_to_a_run(tmp_path: Path) -> None:
    """Either variable would bind them."""
    done = run(tmp_path, "doctor", env={"OMP_PROC_BIND": "true", "OMP_PLACES": "cores"})
    assert f"({usable_cores()} cores)" in done.stdout.decode()


def test_fp32_is_fp32_where_the_environment_allows_bf16(tmp_path: Path) -> None:
    """By either of the names that its variable has."""
    env = {f"{library}_DEFAULT_FPMATH_MODE": "BF16" for library in ("ONEDNN", "DNNL")}
    done = run(tmp_path, *TINY, "--precision", "fp32", env=env | {"ONEDNN_VERBOSE": "1"})
    operations = done.stdout.decode()
    if "primitive,exec" not in operations:
        pytest.skip("this torch has no oneDNN that says what it does")
    assert "attr-fpmath" not in operations


INTERRUPTED_WHILE_IMPORTED = """
import os, signal, sys

class Interrupt:
    def find_spec(self, name, *_):
        if name == "typer":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's job in the background has none
from resnet_repro.__main__ import main
main()
"""


def test_a_ctrl_c_before_the_command_line_is_there_shows_no_traceback() -> None:
    command = [sys.executable, "-c", INTERRUPTED_WHILE_IMPORTED]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


def test_the_installed_command_is_that() -> None:
    project = tomllib.loads((CODE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["scripts"] == {"resnet-repro": "resnet_repro.__main__:main"}


def test_no_word_is_broken_in_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    name = "plain-18-imagenette-short-s0-8853b9da"
    header = ["run", "state", "iteration", "train %", "test %", "left", "views"]
    row = [name, "done", "1,500/1,500", "62.45", "60.25", "", "centre, 10-crop"]
    words = {name, "1,500/1,500", "62.45", "centre,", "10-crop"}
    for width in range(40, 131):
        monkeypatch.setenv("COLUMNS", str(width))
        print_table(header, [row])
        shown = re.sub(r"\x1b\[\d*m", "", capsys.readouterr().out)
        assert words <= set(shown.replace(";", "").split()), width
        assert max(map(len, shown.splitlines())) <= width


@pytest.mark.parametrize("terminal", [False, True])
def test_characters_of_two_places_are_in_columns_and_not_folded(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], terminal: bool
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    print_table(["picture", "class"], [["三只 猫.jpg", "cat"], ["plain.jpg", "dog"]])
    shown = re.sub(r"\x1b\[\d*m", "", capsys.readouterr().out).splitlines()
    assert shown == ["picture      class", "三只 猫.jpg  cat", "plain.jpg    dog"]


def test_the_log_stands_above_a_live_view(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log, drawn = logging.getLogger("resnet_repro.test"), io.StringIO()
    with monkeypatch.context() as patched:
        patched.setattr(logging.root, "handlers", [])  # pytest's
        start_logging(verbose=False, quiet=False)
        with LiveProgress(Console(file=drawn, force_terminal=True, width=100)):
            log.info("a file cannot be read")
        assert "a file cannot be read\n" in drawn.getvalue()
        log.info("it is read again")
    assert capsys.readouterr().err == "it is read again\n"


def test_a_reader_that_has_ended_is_no_error(tmp_path: Path) -> None:
    for name in ("stdout", "stderr"):
        reading, writing = os.pipe()
        os.close(reading)
        done = run(tmp_path, "show", "fig6" if name == "stdout" else "x", **{name: writing})
        os.close(writing)
        assert done.returncode == (0 if name == "stdout" else 2)
        assert not done.stdout
        assert not done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_an_output_that_is_full_is_one_on_stdout_only(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = run(tmp_path, "show", "fig6", stdout=full)
        assert done.returncode == 1
        assert done.stderr.splitlines() == [b"resnet-repro: output: No space left on device"]
        assert run(tmp_path, "show", "nothing", stderr=full).returncode == 2


def test_a_training_outlives_the_terminal_it_was_started_from(tmp_path: Path) -> None:
    """EIO on both outputs; SIGHUP is ignored, as after nohup or disown."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "resnet_repro", *TINY],
        cwd=tmp_path,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    os.close(slave)
    os.close(master)
    assert process.wait(300) == 0
    summaries = list((tmp_path / "results" / "runs").glob("*/summary.json"))
    states = [json.loads(path.read_text(encoding="utf-8"))["state"] for path in summaries]
    assert states == ["done"]
    assert (tmp_path / "results" / "fig1.csv").is_file()


@pytest.mark.parametrize("encoding", ["latin-1", "cp1251:strict"])
def test_what_an_encoding_lacks_is_replaced(encoding: str, tmp_path: Path) -> None:
    arguments = ("table", "table6", "--others", "--results", str(RESULTS))
    done = run(tmp_path, *arguments, env={"PYTHONIOENCODING": encoding})
    assert (done.returncode, done.stderr) == (0, b"")
    text = done.stdout.decode(encoding.partition(":")[0])
    assert "ResNet-110" in text
    assert "????????" in text, "the line below the header"


def test_a_results_folder_whose_name_is_not_utf_8(command, tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("the file system has UTF-8 names only")
    run_folder = next((RESULTS / "runs").glob("plain-20-cifar10-short-s0-*"))
    copy = folder / "runs" / run_folder.name
    shutil.copytree(run_folder, copy)
    summary = json.loads((copy / "summary.json").read_text(encoding="utf-8"))
    del summary["sums"]  # which would tell of the change
    summary["provenance"]["command"] = f"resnet-repro run --results={folder.name}"
    (copy / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    for arguments in (["report"], ["report", "--check"], ["status"], ["plot", "fig1"]):
        answer = command(*arguments, "--results", folder)
        assert (answer.code, answer.err) == (0, "")
    assert "plain-20" in (folder / "report.md").read_bytes().decode("utf-8")


def test_a_process_is_told_of_a_folder_whose_name_is_not_utf_8() -> None:
    from resnet_repro.launch.worker import Order
    from resnet_repro.runner.options import Options

    (run,) = load_experiment("fig1", (), Choices(networks=["plain-20"])).resolve()
    folder = Path(os.fsdecode(b"caf\xe9"))
    order = Order(run=run, results=folder, options=Options(data_dir=folder))
    assert order.to_json().isascii()
    assert Order.from_json(order.to_json()) == order


def test_a_tilde_is_the_home_folder_wherever_a_path_is_given(
    command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir(), here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    (home / "mine.yaml").write_text(command("show", "fig1").out, encoding="utf-8")
    assert command("show", "~/mine.yaml").code == 0
    assert command("report", "--results=~/results").code == 0
    assert (home / "results" / "report.md").is_file()
    monkeypatch.setenv("RESNET_REPRO_RESULTS", "~/others")
    assert command("report").code == 0
    assert (home / "others" / "report.md").is_file()
    monkeypatch.setenv("RESNET_REPRO_DATA", "~/data")
    answer = command("data", "verify", "folder:nothing")
    assert (answer.code, str(home / "data") in answer.err) == (3, True)
    answer = command("data", "prepare", "cifar10", "--from=~/copy", "--data-dir=~/d")
    assert (answer.code, str(home / "copy") in answer.err) == (3, True)
    assert not list(here.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [
        ["evaluate", "~nobody-is-so-called/w.pth", "--network", "resnet-18-b"],
        ["data", "verify", "folder:~nobody-is-so-called/x"],
        ["run", "table2", "--dataset", "folder:~nobody-is-so-called/x", "--dry-run"],
        ["run", "~nobody-is-so-called/mine.yaml"],
        ["list", "--results", "~nobody-is-so-called/x"],
        ["data", "list", "--data-dir", "~nobody-is-so-called/x"],
        ["data", "prepare", "cifar10", "--from", "~nobody-is-so-called/x"],
    ],
)
def test_a_home_that_nobody_knows(command, tmp_path: Path, arguments: list[str]) -> None:
    answer = command(*arguments)
    assert (answer.code, answer.out) == (2, "")
    assert "~nobody-is-so-called" in answer.err
    assert "write the whole path" in answer.err
    assert len(answer.err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_user_without_a_name_or_a_home() -> None:
    how: Any = {"user": 54321, "group": 54321, "extra_groups": []}
    for arguments in (["list"], ["table", "table6", "--results", str(RESULTS)]):
        command = [sys.executable, "-m", "resnet_repro", *arguments]
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(CODE)}
        try:
            done = subprocess.run(
                command, cwd="/", env=env, capture_output=True, check=False, **how
            )
        except PermissionError:
            pytest.skip("others may not run this Python")
        if b"Permission" in done.stderr or b"No module named" in done.stderr:
            pytest.skip("others may not read the code here")
        assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["status", "nosuch"], 2, "unknown experiment"),
        (["data", "verify", "cifar10"], 3, "no CIFAR-10"),
        (["evaluate", "gone.pth", "--network", "resnet-18-b"], 2, "no such file"),
        (["run", "nosuch"], 2, "unknown experiment"),
        (["run", "fig1", "--dry-run"], 0, "2 of 2 runs to train"),
        (["run", "fig1", "--dry-run", "--jobs", "2"], 2, "WORLD_SIZE=2"),
    ],
)
def test_variables_of_a_cluster_silence_nothing(
    command, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, says: str
) -> None:
    """A shell in a container of Kubeflow's has them; nobody trains together there."""
    monkeypatch.delenv("TORCHELASTIC_RESTART_COUNT", raising=False)
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    answer = command(*arguments)
    assert answer.code == code
    assert says in answer.out + answer.err


def test_only_what_torchrun_started_to_train_is_silent(
    command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "TORCHELASTIC_RESTART_COUNT": "0"}.items():
        monkeypatch.setenv(name, value)
    assert process_rank() == 1
    assert command("run", "nosuch") == (2, "", "")
    assert command("run", "fig1", "--dry-run") == (0, "", "")
    assert "unknown experiment" in command("status", "nosuch").err


@pytest.mark.parametrize("world", ["", "0", "1"])
def test_a_world_of_no_others_trains_alone(monkeypatch: pytest.MonkeyPatch, world: str) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": world, "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    assert parse_where("2").jobs == 2
    with process_group() as processes:
        assert processes is ALONE


def test_a_number_of_processes_that_is_none(command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "many")
    answer = command("run", "fig1", "--jobs", "2", "--dry-run")
    assert (answer.code, "WORLD_SIZE=many" in answer.err) == (2, True)


@pytest.mark.parametrize(
    "changes", [["recipe.batch_size=1"], ["recipe.micro_batch_size=1", "recipe.batch_size=8"]]
)
def test_batch_norm_over_one_value_is_refused_before_anything_begins(
    command, tmp_path: Path, changes: list[str]
) -> None:
    options = [word for change in changes for word in ("--set", change)]
    for more in ([], ["--dry-run"]):
        answer = command("run", "table2", "--preset", "demo", *options, *more)
        assert (answer.code, answer.out) == (2, "")
        assert "batch normalisation needs more than one value" in answer.err
        assert len(answer.err.splitlines()) == 1
    assert not (tmp_path / "results").exists()
    larger = ["--set", "recipe.photographs.crop=64"]
    assert command("run", "table2", "--preset", "demo", *options, *larger, "--dry-run").code == 0


def test_a_file_where_a_folder_is_needed(command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    (tmp_path / "link").symlink_to("nowhere")
    for arguments in (
        ["status", "--results"],
        ["report", "--results"],
        ["data", "list", "--data-dir"],
    ):
        answer = command(*arguments, "file")
        assert (answer.code, answer.out) == (2, "")
        assert answer.err == "resnet-repro: file is a file, where a folder is needed\n"
        assert "leads nowhere" in command(*arguments, "link").err


def test_figures_are_not_written_through_a_link(command, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "runs").symlink_to(RESULTS / "runs")
    (tmp_path / "results" / "figures").symlink_to(tmp_path / "elsewhere")
    answer = command("plot", "fig1")
    assert (answer.code, answer.out) == (1, "")
    assert "figures is a link; nothing is written through it" in answer.err
    assert not list((tmp_path / "elsewhere").iterdir())


def test_commands_name_the_file_that_was_given(command, tmp_path: Path) -> None:
    shown = command("show", "table6", "--preset", "short").out
    (tmp_path / "my own.yaml").write_text(shown, encoding="utf-8")
    assert "    resnet-repro run 'my own.yaml'\n" in command("table", "my own.yaml").out
    answer = command("table", "my own.yaml", "--dataset", "synthetic")
    assert "    resnet-repro run 'my own.yaml' --dataset synthetic\n" in answer.out
