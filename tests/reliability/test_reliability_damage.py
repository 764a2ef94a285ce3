"""Damaged checkpoints and results: found, named, and worked around where anything good is left."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from short_runs import KeepGoing
from stoppable import Driver, the_run, write_experiment
from training_outcome import outcome

from resnet_repro.data.dataset import Dataset
from resnet_repro.spec.run import Run
from resnet_repro.store.run_folder import RunFolder
from resnet_repro.store.store import Store
from resnet_repro.training.checkpoint import (
    BEFORE_THE_END,
    MAGIC,
    OTHER_TRAINING,
    CheckpointError,
    final_state,
    pack,
    unpack,
)
from resnet_repro.training.device import choose_backend
from resnet_repro.training.feed import make_feed
from resnet_repro.training.trainer import Trainer

Damage = Callable[[Path], object]
HEADER = len(MAGIC) + 32


def trained(dataset: Dataset) -> Trainer:
    """A trainer that has made two iterations and has a point."""
    recipe = {"iterations": 2, "batch_size": 8, "milestones": [], "evaluate_every": 1}
    run = Run.model_validate(
        {"network": "resnet-8", "dataset": "synthetic", "seed": 0, "recipe": recipe}
    )
    backend = choose_backend("cpu", "fp32")
    trainer = Trainer(run, make_feed(run, dataset, backend), backend)
    trainer.train(KeepGoing())
    return trainer


@pytest.fixture(scope="module")
def checkpoint(small_dataset: Dataset) -> bytes:
    return pack(trained(small_dataset).state())


def test_a_truncated_checkpoint_is_refused(checkpoint: bytes) -> None:
    places = {*range(HEADER + 70), *random.Random(1).sample(range(len(checkpoint)), 60)}
    for length in places | {len(checkpoint) - n for n in range(1, 30)}:
        with pytest.raises(CheckpointError):
            unpack(checkpoint[:length])


def test_a_checkpoint_with_one_bit_changed_is_refused(checkpoint: bytes) -> None:
    moments = random.Random(2)
    places = {*range(HEADER), *moments.sample(range(len(checkpoint)), 100), len(checkpoint) - 1}
    for place in places:
        changed = bytearray(checkpoint)
        changed[place] ^= 1 << moments.randrange(8)
        with pytest.raises(CheckpointError):
            unpack(bytes(changed))


def test_a_checkpoint_with_something_appended_is_refused(checkpoint: bytes) -> None:
    for tail in (b"\0", checkpoint, checkpoint[HEADER:]):
        with pytest.raises(CheckpointError):
            unpack(checkpoint + tail)


@pytest.mark.usefixtures("one_thread")
def test_a_changed_payload_with_a_right_checksum_never_ends_in_a_traceback(
    small_dataset: Dataset, checkpoint: bytes
) -> None:
    """Somebody may compute the checksum; what is inside is not believed either."""
    trainer, moments = trained(small_dataset), random.Random(3)
    payload = checkpoint[HEADER:]
    interesting = range(len(payload) - 6_000, len(payload))  # the archive's directory
    for place in [*moments.sample(range(3_000), 30), *moments.sample(interesting, 30)]:
        changed = bytearray(payload)
        changed[place] ^= 1 << moments.randrange(8)
        content = MAGIC + hashlib.sha256(changed).digest() + changed
        with contextlib.suppress(CheckpointError):
            trainer.load_state(unpack(content))


WRONG = [None, "text", -1, 10**9, float("nan"), float("inf"), [], {}, [None], torch.zeros(3)]


@pytest.mark.usefixtures("one_thread")
def test_a_state_of_another_shape_is_refused(small_dataset: Dataset) -> None:
    trainer = trained(small_dataset)
    good = trainer.state()
    trainer.load_state(copy.deepcopy(good))
    for key in good.keys() - {"precision", "data"}:  # these two are the runner's to judge
        with pytest.raises(CheckpointError):
            trainer.load_state({k: v for k, v in good.items() if k != key})
        for wrong in WRONG:
            if key in ("warmup_end", "rate") and wrong is None:
                continue
            if key == "points" and isinstance(wrong, list | dict) and not wrong:
                continue  # a training that has no points yet
            if key in ("seconds", "training_seconds") and isinstance(wrong, int) and wrong > 0:
                continue
            with pytest.raises(CheckpointError):
                trainer.load_state({**copy.deepcopy(good), key: wrong})
    for wrong in ("text", -1, float("nan"), 3):
        bad = copy.deepcopy(good)
        bad["points"][0]["iteration"] = wrong
        with pytest.raises(CheckpointError):
            trainer.load_state(bad)


@pytest.fixture(scope="module")
def stopped(driver: Driver, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Any]:
    """An experiment, results with two checkpoints of it, and what it comes to in the end."""
    folder = tmp_path_factory.mktemp("stopped")
    experiment = write_experiment(folder, iterations=10, every=5)
    argv = ("run", experiment, "--device", "cpu", "--checkpoint-every", "0.000001s", "--results")
    assert driver.run(*argv, folder / "twin")[0] == 0
    driver.run(*argv, folder / "results", die_at=50)
    run = the_run(folder / "results")
    if run.fresh_checkpoint.exists():
        run.fresh_checkpoint.replace(run.checkpoint)
    assert run.checkpoint.exists()
    assert run.previous_checkpoint.exists()
    return experiment, folder / "results", outcome(the_run(folder / "twin"))


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


DAMAGES: dict[str, Damage] = {
    "empty": lambda p: p.write_bytes(b""),
    "truncated": lambda p: os.truncate(p, p.stat().st_size // 2),
    "flipped": lambda p: flip(p, p.stat().st_size // 2),
    "foreign": lambda p: p.write_bytes(b"PK\3\4 something else"),
    "a folder": lambda p: (p.unlink(), p.mkdir()),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_the_previous_checkpoint_is_used(
    driver: Driver, stopped: tuple[Path, Path, Any], tmp_path: Path, kind: str
) -> None:
    experiment, results, expected = stopped
    shutil.copytree(results, tmp_path / "results")
    run = the_run(tmp_path / "results")
    DAMAGES[kind](run.checkpoint)
    argv = ("run", experiment, "--device", "cpu", "--results", tmp_path / "results")
    code, job = driver.run(*argv)
    if kind == "a folder":  # it cannot be replaced either; somebody has to look
        assert (code, job.stderr.count("\n")) == (1, 3), job.stderr
        assert "checkpoint cannot be read (Is a directory), an older one is used" in job.stderr
        return
    assert code == 0
    assert job.stderr.count("checkpoint is not used: ") == 1
    # Aside, or the next save would have made it the previous one, in the good one's place.
    assert (run.path / "checkpoint.damaged").exists()
    assert "continues at" in job.stderr
    assert outcome(run) == expected


def test_without_a_good_checkpoint_it_starts_over_and_says_so(
    driver: Driver, stopped: tuple[Path, Path, Any], tmp_path: Path
) -> None:
    experiment, results, expected = stopped
    shutil.copytree(results, tmp_path / "results")
    run = the_run(tmp_path / "results")
    for path in run.checkpoints():
        DAMAGES["truncated"](path)
    code, job = driver.run("run", experiment, "--device", "cpu", "--results", tmp_path / "results")
    assert (code, "no usable checkpoint, starting over" in job.stderr) == (0, True)
    assert ": starts" in job.stderr
    assert outcome(run) == expected


def test_a_checkpoint_of_another_run_is_not_used(
    driver: Driver, stopped: tuple[Path, Path, Any], small_dataset: Dataset, tmp_path: Path
) -> None:
    experiment, results, expected = stopped
    shutil.copytree(results, tmp_path / "results")
    run = the_run(tmp_path / "results")
    run.checkpoint.write_bytes(pack(trained(small_dataset).state()))
    code, job = driver.run("run", experiment, "--device", "cpu", "--results", tmp_path / "results")
    assert (code, "checkpoint is not used: of another run" in job.stderr) == (0, True)
    assert outcome(run) == expected


@pytest.fixture(scope="module")
def finished(driver: Driver, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An experiment and the results of its two runs."""
    folder = tmp_path_factory.mktemp("finished")
    experiment = write_experiment(folder, iterations=4, every=2, seeds=2)
    assert driver.run("run", experiment, "--device", "cpu", "--results", folder / "results")[0] == 0
    return experiment, folder / "results"


def change_summary(folder: RunFolder, **changes: Any) -> None:
    content = json.loads(folder.summary.read_text(encoding="utf-8"))
    folder.summary.write_text(json.dumps({**content, **changes}), encoding="utf-8")


def cut(path: Path, by: int) -> None:
    os.truncate(path, path.stat().st_size - by)


def other_seed(folder: RunFolder) -> None:
    folder.config.write_text(
        folder.config.read_text(encoding="utf-8").replace("seed: 0", "seed: 5"), encoding="utf-8"
    )


def without_seed(folder: RunFolder) -> None:
    folder.config.write_text(
        folder.config.read_text(encoding="utf-8").replace("  seed: 0\n", ""), encoding="utf-8"
    )


def last_line_lost(folder: RunFolder) -> None:
    lines = folder.curve.read_text(encoding="utf-8").splitlines(keepends=True)
    folder.curve.write_text("".join(lines[:-1]), encoding="utf-8")


# What is done to a run's folder, what is said of it, whether its checkpoint makes up for it.
TROUBLES: list[tuple[Callable[[RunFolder], object], str, bool]] = [
    (lambda f: cut(f.curve, 3), "curve.csv is torn or unreadable", True),
    (lambda f: f.curve.unlink(), "curve.csv is missing or empty", True),
    (last_line_lost, "its curve ends at 2 of 4", True),
    (
        lambda f: f.curve.write_text("\0\0\0", encoding="utf-8"),
        "curve.csv is torn or unreadable",
        True,
    ),
    (
        lambda f: f.summary.write_text("", encoding="utf-8"),
        "summary.json is torn or unreadable",
        True,
    ),
    (lambda f: cut(f.summary, 40), "summary.json is torn or unreadable", True),
    (lambda f: f.summary.unlink(), "summary.json is missing", True),
    (
        lambda f: f.summary.write_text("[" * 100_000, encoding="utf-8"),
        "summary.json is torn or unreadable",
        True,
    ),
    (lambda f: change_summary(f, final_test_error=float("nan")), "summary.json is invalid", True),
    (lambda f: change_summary(f, iteration="many"), "summary.json is invalid", True),
    (lambda f: change_summary(f, format=2), "was written by a newer version", False),
    (lambda f: change_summary(f, id="another"), "summary.json is of another run", False),
    (other_seed, "config.yaml is of another run", False),
    (
        lambda f: f.config.write_text("name: x\ntitle: y\n", encoding="utf-8"),
        "config.yaml: not a run's configuration of format 1",
        False,
    ),
    (lambda f: f.config.unlink(), "config.yaml is missing", True),
    (without_seed, "config.yaml: line 2: run.seed: Field required", False),
    (
        lambda f: f.config.write_text("{", encoding="utf-8"),
        "config.yaml is torn or unreadable",
        True,
    ),
    (
        lambda f: (f.config.unlink(), f.config.mkdir()),
        "config.yaml cannot be read: Is a directory",
        False,
    ),
    (
        lambda f: (f.summary.unlink(), f.summary.mkdir()),
        "summary.json cannot be read: Is a directory",
        False,
    ),
    (
        lambda f: (f.path / "responses.csv").write_text("layer,std\n1,x\n", encoding="utf-8"),
        "responses.csv is torn",
        True,
    ),
    (lambda f: f.gradients.write_text("layer\n1\n", encoding="utf-8"), "gradients.csv", True),
    (lambda f: f.origins.write_text("{", encoding="utf-8"), "measurements.json is torn", True),
    (
        lambda f: (cut(f.summary, 40), f.curve.unlink(), f.curve.mkdir()),
        "curve.csv cannot be read: Is a directory",
        False,
    ),
]
# What is advised where a checkpoint does not make up for it; of config.yaml, with which `--force`
# begins, and of a file that may be whole, that the folder is moved away.
ADVICE = {
    "was written by a newer version": "; update resnet-repro\n",
    "summary.json is of another run": "; train it again: resnet-repro run ",
    "summary.json cannot be read": "; make it readable, or move its folder away",
    "curve.csv cannot be read": "; make it readable, or move its folder away",
}


@pytest.mark.parametrize(("trouble", "said", "repairable"), TROUBLES)
def test_a_damaged_run_is_named_and_the_rest_is_shown(
    driver: Driver,
    finished: tuple[Path, Path],
    tmp_path: Path,
    trouble: Callable[[RunFolder], object],
    said: str,
    repairable: bool,
) -> None:
    experiment, results = tmp_path / "e.yaml", tmp_path / "results"
    shutil.copy(finished[0], experiment)
    shutil.copytree(finished[1], results)
    bad, good = (stored.folder for stored in Store(results).all_runs())
    if "-s0-" not in bad.path.name:
        bad, good = good, bad
    expected = outcome(bad)
    trouble(bad)
    status = driver.run("status", "--results", results)[1].stdout
    assert said in status
    assert f"{good.path.name}  done" in status
    table = driver.run("table", experiment, "--results", results)[1]
    assert " 1 " in table.stdout
    assert said in table.stderr
    code, job = driver.run("run", experiment, "--device", "cpu", "--results", results)
    assert said in job.stderr
    if repairable:
        assert code == 0
        assert outcome(bad) == expected
        assert all(stored.finished for stored in Store(results).all_runs())
    else:
        known = (advice for start, advice in ADVICE.items() if said.startswith(start))
        advice = next(known, "move its folder away")
        assert (code, advice in job.stderr) == (1, True)
        assert ("--force" in job.stderr) == ("resnet-repro run " in advice)


def test_the_report_names_every_damaged_run_and_shows_the_rest(
    driver: Driver, finished: tuple[Path, Path], tmp_path: Path
) -> None:
    shutil.copytree(finished[1], tmp_path / "results")
    runs = tmp_path / "results" / "runs"
    source = next(runs.glob("*-s0-*"))
    for number, (trouble, _, _) in enumerate(TROUBLES):
        copied = runs / f"{source.name[:-8]}{number:08x}"
        shutil.copytree(source, copied)
        trouble(RunFolder(copied))
    (runs / "a folder\nwith \x1b[31m a name").mkdir()
    (runs / ".hidden").mkdir()
    for argv in (["report"], ["status"], ["list"], ["status", "--json"], ["table", "table6"]):
        code, job = driver.run(*argv, "--results", tmp_path / "results")
        assert (code, "\x1b" in job.stdout) == (0, False), job.stderr
    text = (tmp_path / "results" / "report.md").read_text(encoding="utf-8")
    assert source.name in text
    for number in range(len(TROUBLES)):
        assert f"{source.name[:-8]}{number:08x}" in text


@pytest.mark.parametrize(
    "trouble", [lambda f: f.summary.write_text("{", encoding="utf-8"), lambda f: cut(f.curve, 3)]
)
def test_a_finished_result_without_checkpoints_is_not_trained_over(
    driver: Driver,
    finished: tuple[Path, Path],
    tmp_path: Path,
    trouble: Callable[[RunFolder], object],
) -> None:
    shutil.copytree(finished[1], tmp_path / "results")
    argv = ("run", finished[0], "--device", "cpu", "--results", tmp_path / "results")
    folder = Store(tmp_path / "results").all_runs()[0].folder
    expected = outcome(folder)
    for path in folder.path.glob("checkpoint*"):
        path.unlink()
    trouble(folder)
    before = (folder.summary.read_bytes(), folder.curve.read_bytes())
    code, job = driver.run(*argv)
    assert (code, "; train it again: resnet-repro run " in job.stderr) == (1, True)
    assert (folder.summary.read_bytes(), folder.curve.read_bytes()) == before
    assert driver.run(*argv, "--force")[0] == 0
    assert outcome(folder) == expected


def test_a_summary_that_somebody_changed_is_written_anew_from_the_checkpoint(
    driver: Driver, finished: tuple[Path, Path], tmp_path: Path
) -> None:
    shutil.copytree(finished[1], tmp_path / "results")
    folder = Store(tmp_path / "results").all_runs()[0].folder
    text = folder.summary.read_text(encoding="utf-8")
    folder.summary.write_text(text.replace('"threads": ', '"threads": 9'), encoding="utf-8")
    code, job = driver.run(
        *("run", finished[0], "--device", "cpu", "--results", tmp_path / "results")
    )
    assert (code, "written anew" in job.stderr) == (0, True), job.stderr
    (made, again) = (json.loads(t) for t in (text, folder.summary.read_text(encoding="utf-8")))
    assert again["provenance"] == made["provenance"], "with its dates"
    assert Store(tmp_path / "results").all_runs()[0].problem is None


def of_another_training(folder: RunFolder) -> None:
    """Put the final checkpoint of the same run on another machine, with other weights, there."""
    state = unpack(folder.checkpoint.read_bytes())
    state["network"] = {n: v * 1.3 for n, v in state["network"].items()}
    state["points"][-1]["train_loss"] *= 1.01
    folder.checkpoint.write_bytes(pack(state))


def of_an_earlier_iteration(folder: RunFolder) -> None:
    state = unpack(folder.checkpoint.read_bytes())
    state["points"].pop()
    folder.checkpoint.write_bytes(pack(state))


@pytest.mark.parametrize("replace", [of_another_training, of_an_earlier_iteration])
def test_a_whole_result_is_not_replaced_since_a_measurement_is_torn(
    driver: Driver,
    finished: tuple[Path, Path],
    tmp_path: Path,
    replace: Callable[[RunFolder], None],
) -> None:
    shutil.copytree(finished[1], tmp_path / "results")
    store = Store(tmp_path / "results")
    folder = store.all_runs()[0].folder
    replace(folder)
    responses = folder.path / "responses.csv"
    responses.write_text("run", encoding="utf-8")
    before = (folder.summary.read_bytes(), folder.curve.read_bytes())
    argv = ("run", finished[0], "--device", "cpu", "--results", tmp_path / "results")
    code, job = driver.run(*argv)
    assert (code, "; train it again: resnet-repro run " in job.stderr) == (1, True)
    assert (folder.summary.read_bytes(), folder.curve.read_bytes()) == before
    responses.unlink()
    assert driver.run(*argv)[0] == 0
    assert (folder.summary.read_bytes(), folder.curve.read_bytes()) == before


def test_nothing_is_measured_on_the_weights_of_another_training(
    finished: tuple[Path, Path], tmp_path: Path
) -> None:
    shutil.copytree(finished[1], tmp_path / "results")
    (stored, *_) = Store(tmp_path / "results").all_runs()
    assert stored.run is not None
    state, _ = final_state(stored.run, stored)
    assert state is not None
    of_another_training(stored.folder)
    assert final_state(stored.run, stored) == (None, [OTHER_TRAINING])
    of_an_earlier_iteration(stored.folder)
    assert final_state(stored.run, stored) == (None, [BEFORE_THE_END])


def test_an_empty_summary_after_power_loss_costs_nothing(
    driver: Driver, stopped: tuple[Path, Path, Any], tmp_path: Path
) -> None:
    """The frequent notes of progress are not flushed, so a crash of the machine may empty them."""
    experiment, results, expected = stopped
    shutil.copytree(results, tmp_path / "results")
    run = the_run(tmp_path / "results")
    run.summary.write_bytes(b"")
    run.owner.write_bytes(b"")
    code, job = driver.run("run", experiment, "--device", "cpu", "--results", tmp_path / "results")
    assert (code, "continues at" in job.stderr) == (0, True)
    assert outcome(run) == expected
