"""Each session of a training is on record: what of a result it trained, with what and where."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from short_runs import Quiet, short_runner, small_synthetic
from stoppable import Driver, the_run, write_experiment
from torch import nn

from resnet_repro.networks import compared
from resnet_repro.paper.papers import FAMILIES
from resnet_repro.spec.presets import preset_recipe
from resnet_repro.spec.recipe import merge
from resnet_repro.spec.run import Run
from resnet_repro.store.models import FEWEST_FOR_PACE, Summary
from resnet_repro.store.run_folder import RunFolder
from resnet_repro.store.store import Store
from resnet_repro.training.checkpoint import pack, unpack

Begun = tuple[list[object], RunFolder]  # the command line, and the folder of its run


def summary_of(folder: RunFolder) -> Summary:
    return Summary.model_validate_json(folder.summary.read_text(encoding="utf-8"))


def begin(driver: Driver, folder: Path, iterations: int = 30) -> Begun:
    """Train until after the first point."""
    experiment, results = write_experiment(folder, iterations, 10), folder / "results"
    argv = ["run", experiment, "--device", "cpu", "--results", results]
    assert driver.run(*argv, terminated_at=14)[0] == 130
    return argv, the_run(results)


@pytest.fixture(scope="module")
def stopped(driver: Driver, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a training that was stopped, for copies."""
    folder = tmp_path_factory.mktemp("stopped")
    begin(driver, folder)
    return folder / "results"


@pytest.fixture
def begun(stopped: Path, tmp_path: Path) -> Begun:
    """A training that was stopped after its first point, in a folder of its own."""
    results = tmp_path / "results"
    shutil.copytree(stopped, results)
    argv = ["run", write_experiment(tmp_path, 30, 10), "--device", "cpu", "--results", results]
    return argv, the_run(results)


def test_every_session_is_named_with_what_it_trained(driver: Driver, begun: Begun) -> None:
    argv, folder = begun
    first = summary_of(folder)
    assert (first.provenance.earlier, first.provenance.first_iteration) == ((), 0)
    code, job = driver.run(*argv, "--checkpoint-every", "40s")
    assert code == 0, job.stderr
    whole = summary_of(folder)
    (session,) = whole.provenance.earlier
    assert session == first.provenance.trained_by[0]
    assert whole.provenance.first_iteration == first.iteration
    assert whole.provenance.first_second == first.seconds
    assert "40s" in whole.provenance.command
    assert "40s" not in session.command
    assert whole.provenance.started == first.provenance.started


@pytest.mark.parametrize(("norm", "seen"), [(nn.Identity, None), (nn.BatchNorm2d, 4)])
def test_what_bn_saw_is_recorded_of_networks_that_have_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, norm: type[nn.Module], seen: int | None
) -> None:
    """As VGG-16 has not; here it is a smaller network."""

    def build(label: str, classes: int) -> nn.Module:
        head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes))
        return nn.Sequential(nn.Conv2d(3, 4, 3), norm(4), *head)

    monkeypatch.setattr(compared, "build_compared", build)
    recipe = merge(
        preset_recipe("demo", "vgg-16", "synthetic").model_dump(mode="json"),
        {"iterations": 1, "batch_size": 4, "milestones": [], "photographs": {"crop": 16}},
    )
    run = Run.model_validate(
        {"network": "vgg-16", "dataset": "synthetic", "recipe": recipe, "seed": 0}
    )
    runner = short_runner(tmp_path, small_synthetic(8, 4))
    assert runner.run_all([run]) == {run.id: "done"}
    assert summary_of(runner.store.folder(run)).provenance.bn_images == seen


HE_2016S = {"learning_rate": 0.01, "until_train_error": 99.9, "window": 400}


@pytest.mark.parametrize(
    ("recipe", "papers", "sees"),
    [
        ({}, 129, 128),
        ({}, 128, None),
        ({"warmup": HE_2016S}, 129, 128),
        ({"warmup": HE_2016S | {"window": 200}}, 129, None),  # no paper's recipe
        ({"micro_batch_size": 32}, 64, 32),
        ({"micro_batch_size": 64}, 64, None),
    ],
)
def test_fewer_images_in_bn_than_the_papers_are_told_when_a_training_begins(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    recipe: dict[str, Any],
    papers: int,
    sees: int | None,
) -> None:
    """As of three processes; here even all 128 may be fewer than the paper's."""
    monkeypatch.setitem(FAMILIES, "cifar", FAMILIES["cifar"]._replace(bn_images=papers))
    base = preset_recipe("paper", "resnet-8", "synthetic").model_dump(mode="json")
    run = Run.model_validate(
        {"network": "resnet-8", "dataset": "synthetic", "recipe": base | recipe, "seed": 0}
    )
    quiet = Quiet(stop_after=3)
    runner = short_runner(tmp_path, small_synthetic(128, 4), quiet)
    assert runner.run_all([run]) == {run.id: "stopped"}
    told = [note for note in quiet.notes if "batch normalisation sees" in note]
    says = f"{run.id}: batch normalisation sees {sees} images at a time, the paper's saw {papers}: "
    assert [note.startswith(says) for note in told] == [True] * (sees is not None)
    assert not any("processes" in note for note in told), "fewer now give no result either"


def test_a_lost_summary_costs_no_provenance(driver: Driver, begun: Begun) -> None:
    """The checkpoint knows it too: a crash of the machine may empty the notes of progress."""
    argv, folder = begun
    first = summary_of(folder)
    folder.summary.write_bytes(b"")
    assert driver.run(*argv)[0] == 0
    whole = summary_of(folder).provenance
    assert whole.earlier == first.provenance.trained_by
    assert whole.sessions == 2


def test_writing_a_torn_file_again_is_no_session(driver: Driver, begun: Begun) -> None:
    argv, folder = begun
    assert driver.run(*argv, "--checkpoint-every", "40s")[0] == 0
    before, stored = summary_of(folder), folder.summary.read_bytes()
    (folder.path / "responses.csv").write_text("torn", encoding="utf-8")
    code, job = driver.run(*argv, "--checkpoint-every", "50s")
    assert (code, "responses.csv is torn" in job.stderr) == (0, True)
    assert folder.summary.read_bytes() == stored
    killed = {"state": "running", "sums": None}  # right before it said that it was done
    stopped = json.loads(stored) | killed
    for content in (b"", json.dumps(stopped).encode()):
        folder.summary.write_bytes(content)
        assert driver.run(*argv, "--checkpoint-every", "50s")[0] == 0
        after = summary_of(folder)
        assert after.provenance.trained_by == before.provenance.trained_by
        assert (after.state, after.provenance.sessions) == ("done", 2)
        assert after.images_per_second


SOMEBODY: dict[str, Any] = {
    "code": "0",
    "dirty": False,
    "command": "resnet-repro run",
    "device": "cpu",
    "hardware": "none",
    "precision": "fp32",
    "threads": 1,
    "versions": {},
}


@pytest.mark.parametrize(
    "sessions",
    [
        None,
        "nobody",
        [],
        [{"code": 1}],
        [{**SOMEBODY, "first_iteration": 1}],
        [SOMEBODY, {**SOMEBODY, "first_iteration": 1, "first_second": 1e9}],
    ],
)
def test_what_a_checkpoint_does_not_say_is_unknown(
    driver: Driver, begun: Begun, sessions: Any
) -> None:
    argv, folder = begun
    state = unpack(folder.checkpoint.read_bytes())
    folder.checkpoint.write_bytes(pack({**state, "sittings": sessions}))
    assert driver.run(*argv)[0] == 0
    (session,) = summary_of(folder).provenance.earlier
    assert (session.code, session.hardware, session.first_iteration) == ("unknown", "unknown", 0)


def test_what_a_summary_says_is_kept_where_the_checkpoint_says_less(
    driver: Driver, begun: Begun
) -> None:
    argv, folder = begun
    assert driver.run(*argv)[0] == 0
    whole = summary_of(folder).provenance
    nothing = pack({**unpack(folder.checkpoint.read_bytes()), "sittings": None})
    folder.checkpoint.write_bytes(nothing)
    folder.curve.write_text("torn", encoding="utf-8")
    assert driver.run(*argv)[0] == 0
    assert summary_of(folder).provenance == whole
    folder.checkpoint.write_bytes(nothing)
    folder.summary.write_text("torn", encoding="utf-8")
    assert driver.run(*argv)[0] == 0
    lost = summary_of(folder).provenance
    assert (lost.code, lost.precision) == ("unknown", whole.precision)


def test_iterations_that_were_lost_have_no_session(driver: Driver, begun: Begun) -> None:
    argv, folder = begun
    start = folder.checkpoint.read_bytes()
    assert driver.run(*argv, "--checkpoint-every", "40s", terminated_at=24)[0] == 130
    folder.checkpoint.write_bytes(start)  # as if the later one had been damaged
    assert driver.run(*argv)[0] == 0
    whole = summary_of(folder).provenance
    assert len(whole.earlier) == 1
    assert "40s" not in whole.earlier[0].command
    assert whole.sessions == 3


def test_a_session_that_only_tested_is_on_record(driver: Driver, begun: Begun) -> None:
    argv, folder = begun
    state = unpack(folder.checkpoint.read_bytes())
    spent = {"first_iteration": state["iteration"], "first_second": state["seconds"]}
    tested = {**state["sittings"][-1], **spent, "command": "resnet-repro run elsewhere"}
    longer = {"seconds": state["seconds"] + 5, "sittings": [*state["sittings"], tested]}
    folder.checkpoint.write_bytes(pack({**state, **longer}))
    assert driver.run(*argv)[0] == 0
    session, second = summary_of(folder).provenance.earlier
    assert second.command == "resnet-repro run elsewhere"
    assert session.first_iteration < second.first_iteration == state["iteration"]


def test_speed_is_that_of_the_last_session(driver: Driver, tmp_path: Path) -> None:
    argv, folder = begin(driver, tmp_path, FEWEST_FOR_PACE + 20)
    state = unpack(folder.checkpoint.read_bytes())
    for row in state["points"]:
        row["seconds"] = 1e6
    slow = {**state, "seconds": 1e6, "training_seconds": 1e6}  # as on a slower machine
    folder.checkpoint.write_bytes(pack(slow))
    assert driver.run(*argv)[0] == 0
    whole = summary_of(folder)
    assert whole.seconds > 1e6
    assert (whole.images_per_second or 0) > 10


def test_sessions_out_of_order_are_damage(begun: Begun) -> None:
    _, folder = begun
    content = json.loads(folder.summary.read_text(encoding="utf-8"))
    content["provenance"]["first_second"] = content["seconds"] + 1
    folder.summary.write_text(json.dumps(content), encoding="utf-8")
    (stored,) = Store(folder.path.parent.parent).all_runs()
    assert "summary.json is invalid" in (stored.problem or "")
