"""`--launcher ray`: runs on the nodes of a cluster, one of which may die."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from launch_helpers import (
    Silent,
    await_that,
    is_at_work,
    options,
    owner_of,
    runs_of,
    train_alone,
    write_experiment,
)
from training_outcome import outcome

from resnet_repro.base.errors import ConfigError
from resnet_repro.base.provenance import code_version
from resnet_repro.base.stop import StopFlag
from resnet_repro.launch.where import Where, parse_where
from resnet_repro.runner.runner import Runner
from resnet_repro.spec.run import Run
from resnet_repro.store.store import Store

pytest.importorskip("ray")

OBJECTS = 80_000_000  # bytes of each node's object store
# A dead node is noticed within two seconds instead of half a minute.
QUICK = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 2_000,
    "health_check_failure_threshold": 3,
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A Ray cluster of one node with one CPU; other nodes can be added."""
    import ray
    from ray.cluster_utils import Cluster

    from resnet_repro.launch.ray_connection import own_folder

    head = {"num_cpus": 1, "object_store_memory": OBJECTS, "include_dashboard": False}
    with own_folder() as folder, pytest.MonkeyPatch.context() as patch:
        Path(folder, "ray").mkdir()
        patch.setenv("RAY_TMPDIR", folder)  # where it writes the cluster's address
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_worker_niceness", "0")  # 15 on its own, which others here would starve
        made = Cluster(
            initialize_head=True,
            head_node_args={**head, "temp_dir": folder, "_system_config": QUICK},
        )
        yield made
        ray.shutdown()
        made.shutdown()


def _train(
    cluster: Any, folder: Path, runs: list[Run], stop: StopFlag, progress: Silent
) -> dict[str, str]:
    from resnet_repro.launch.ray_cluster import train_with_ray

    chosen = options(folder, checkpoint_every=0.2)
    runner = Runner(Store(folder / "results"), chosen, stop, progress)
    return dict(train_with_ray(Where("ray", address=cluster.address), runner, runs))


def _parents() -> dict[int, int]:
    """Every process's parent."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            number, _, rest = path.read_text(encoding="utf-8").partition(" (")
            found[int(number)] = int(rest.rpartition(") ")[2].split()[1])
    return found


def _descendants(ancestor: int) -> list[int]:
    parents = _parents()
    found = [ancestor]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]


def _cut_power(node: Any) -> None:
    """Kill a node with everything on it, at once."""
    raylet = node.all_processes["raylet"][0].process.pid
    for pid in [raylet, *_descendants(raylet)]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.usefixtures("one_thread")
def test_a_node_dies_and_all_runs_finish_as_at_home(cluster: Any, tmp_path: Path) -> None:
    runs = runs_of(write_experiment(tmp_path, 120, 120, 2))
    store, progress = Store(tmp_path / "results"), Silent()
    second = cluster.add_node(num_cpus=1, object_store_memory=OBJECTS)
    interrupted: list[Run] = []

    def strike() -> None:
        """Kill the second node in the middle of a run that it has saved something of."""
        raylet = second.all_processes["raylet"][0].process.pid

        def in_the_middle(run: Run) -> bool:
            folder = store.folder(run)
            if not (folder.checkpoint.exists() and is_at_work(folder)):
                return False
            with contextlib.suppress(OSError, ValueError):
                return owner_of(folder) in _descendants(raylet)
            return False

        await_that(lambda: any(map(in_the_middle, runs)))
        _cut_power(second)
        interrupted.extend(filter(lambda run: store.get(run).state != "done", runs))

    killer = threading.Thread(target=strike, daemon=True)
    killer.start()
    outcomes = _train(cluster, tmp_path, runs, StopFlag(), progress)
    killer.join(timeout=60)
    cluster.remove_node(second, allow_graceful=False)

    assert outcomes == {run.id: "done" for run in runs}
    assert progress.notes[0] == "Ray: 2 nodes, 1 CPU for each run, 2 at a time"
    fresh = [run_id for run_id, iteration in progress.starts if iteration == 0]
    assert sorted(fresh) == sorted(run.id for run in runs), "none is begun twice"
    (continued,) = [run_id for run_id, iteration in progress.starts if iteration > 0]
    assert continued in {run.id for run in interrupted}
    alone = train_alone(runs, tmp_path / "alone")
    for run in runs:
        assert outcome(store.folder(run)) == outcome(alone.folder(run))
        summary = store.get(run).summary
        assert summary is not None
        assert summary.provenance.sessions == (2 if run.id == continued else 1)
    assert not list(store.root.glob(".shared-*"))


@pytest.mark.usefixtures("one_thread")
def test_ctrl_c_has_what_is_trained_saved(
    cluster: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = runs_of(write_experiment(tmp_path, 100_000, 50, 2))
    store, stop = Store(tmp_path / "results"), StopFlag()

    class Interrupting(Silent):
        def advanced(self, run: Run, summary: Any) -> None:
            stop.signalled = "SIGINT"

    progress = Interrupting()
    outcomes = _train(cluster, tmp_path, runs, stop, progress)
    run, waiting = sorted(runs, key=lambda run: run.id not in outcomes)  # Ray decides which
    assert outcomes == {run.id: "stopped"}
    assert progress.ends == [(run.id, "stopped")]
    assert store.folder(run).checkpoint.exists()
    assert store.get(run).state == "stopped"
    assert store.get(waiting).state == "missing", "it had found no room"
    assert capsys.readouterr().out == "", "stdout is for results"


def test_a_node_that_cannot_train_says_why() -> None:
    from resnet_repro.launch.ray_cluster import train_on_node

    here = code_version()[0]
    ended, _ = train_on_node("", 1, "/not/here/.shared", here, "", 1, "")
    assert ended.code == 2
    assert "does not see the results folder /not/here: all nodes have to share it" in ended.error
    ended, _ = train_on_node("", 1, "/", "0.0.1", "", 1, "")
    assert ended.code == 2
    assert f"has resnet-repro {here}, this machine 0.0.1: install the same" in ended.error


def test_a_file_stops_a_node_that_rays_interrupt_does_not_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from resnet_repro.launch import ray_cluster

    class Process:
        def __init__(self, *_: Any, code: str, **__: Any) -> None:
            self.asked, self.stopped = 0, False
            assert code == "/checkout", "the command's, not that of its working directory"

        def poll(self) -> Any:
            self.asked += 1
            assert self.asked < 20, "it would go on for ever"
            return ray_cluster.Ended(130) if self.stopped else None

        def stop(self) -> None:
            self.stopped = True

        def close(self, patience: float) -> None: ...

    monkeypatch.setattr(ray_cluster, "RunProcess", Process)
    probe, stop = tmp_path / ".shared", tmp_path / ".shared-1"
    probe.touch()
    stop.touch()
    told = (str(probe), code_version()[0], str(stop), 1, "/checkout")
    ended, _ = ray_cluster.train_on_node("", 1, *told)
    assert ended.code == 130


def test_what_a_node_lacks_is_an_error_for_all(cluster: Any) -> None:
    from resnet_repro.launch.ray_cluster import Share, TaskOnNode
    from resnet_repro.launch.ray_connection import connected

    no_order: Any = None
    with connected(cluster.address):
        attempt = TaskOnNode(no_order, Share(1, 0), 1, Path("/"), code_version()[0], Silent())
        await_that(lambda: attempt.poll() is not None)
        ended = attempt.poll()
    assert ended is not None
    assert ended.code == 2
    assert "a node cannot train (TypeError" in ended.error


def test_nothing_answers_at_the_address(tmp_path: Path) -> None:
    nowhere = SimpleNamespace(address="127.0.0.1:1")
    runs = runs_of(write_experiment(tmp_path, 4, 2, 1))
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1:1.*ray start --head"):
        _train(nowhere, tmp_path, runs, StopFlag(), Silent())


@pytest.mark.usefixtures("one_thread")
def test_without_anything_to_train_no_cluster_is_needed(tmp_path: Path) -> None:
    nowhere = SimpleNamespace(address="127.0.0.1:1")
    runs = runs_of(write_experiment(tmp_path, 4, 2, 2))
    train_alone(runs, tmp_path / "results")
    outcomes = _train(nowhere, tmp_path, runs, StopFlag(), Silent())
    assert outcomes == {run.id: "done" for run in runs}


def test_what_a_run_gets_of_a_node() -> None:
    from resnet_repro.launch.ray_cluster import Share, share_of

    small, large = {"CPU": 4.0}, {"CPU": 16.0}
    gpus = {"CPU": 32.0, "GPU": 4.0}
    anything = parse_where(launcher="ray")

    def asked(**more: Any) -> Where:
        return parse_where(launcher="ray", **more)

    assert share_of(anything, "auto", [large], 1) == Share(16, 0)
    assert share_of(anything, "auto", [large], 3) == Share(5, 0), "all at once"
    assert share_of(anything, "auto", [large, large], 100) == Share(2, 0), "at least two"
    assert share_of(anything, "auto", [small, large], 2) == Share(4, 0), "the smallest holds one"
    assert share_of(anything, "auto", [{"CPU": 1.0}] * 2, 8) == Share(1, 0)
    assert share_of(anything, "auto", [gpus], 8) == Share(8, 1)
    assert share_of(anything, "cpu", [gpus], 4) == Share(8, 0)
    assert share_of(asked(gpus_per_run=0.25), "auto", [gpus], 99) == Share(2, 0.25)
    assert share_of(asked(cpus_per_run=3), "auto", [gpus], 1) == Share(3, 1)
    assert share_of(asked(gpus_per_run=0), "auto", [gpus], 1) == Share(32, 0)
    for where, device, node in ((anything, "cuda", large), (asked(gpus_per_run=1), "cpu", gpus)):
        with pytest.raises(ConfigError, match=f"--device {device}"):
            share_of(where, device, [node], 1)
    assert Share(8, 0.5).fits(gpus) == 4
    assert Share(2, 0.25).fits(gpus) == 16
    assert Share(8, 1).fits(large) == 0
