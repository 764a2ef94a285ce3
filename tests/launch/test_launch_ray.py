"""`--launcher ray`: runs on the nodes of a cluster, one of which may die."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
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
from resnet_repro.base.stop import StopFlag
from resnet_repro.launch.copying import changed_files, put_files
from resnet_repro.launch.where import Where, parse_where
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
    from resnet_repro.launch.ray_cluster import RayLauncher

    runs = runs_of(write_experiment(tmp_path, 100, 100, 5))
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
    where = Where("ray", address=cluster.address)
    chosen = options(tmp_path, checkpoint_every=0.2)
    outcomes = RayLauncher(where, store, chosen, StopFlag(), progress).run_all(runs)
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
def test_files_are_carried_where_no_folder_is_shared(
    cluster: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from resnet_repro.launch.ray_cluster import RayLauncher

    (run,) = runs_of(write_experiment(tmp_path, 300, 100, 1))
    store, stop = Store(tmp_path / "results"), StopFlag()
    chosen = options(tmp_path, checkpoint_every=0.2)

    def train(progress: Silent) -> dict[str, str]:
        launcher = RayLauncher(Where("ray", address=cluster.address), store, chosen, stop, progress)
        launcher.carries_files = True
        return dict(launcher.run_all([run]))

    class Interrupting(Silent):
        def advanced(self, run: Run, summary: Any) -> None:
            stop.signalled = "SIGINT"

    first = Interrupting()
    assert train(first) == {run.id: "stopped"}
    folder = store.folder(run)
    assert first.ends == [(run.id, "stopped")]
    assert folder.checkpoint.exists(), "what was saved there is here"
    assert store.get(run).state == "stopped"
    stop.signalled = None
    second = Silent()
    assert train(second) == {run.id: "done"}
    assert second.starts[0][1] > 0, "continued from what was carried there"
    assert not any(".part" in path.name for path in folder.path.iterdir())
    alone = train_alone([run], tmp_path / "alone")
    assert outcome(folder) == outcome(alone.folder(run))
    assert capsys.readouterr().out == "", "stdout is for results"


def test_nothing_answers_at_the_address(tmp_path: Path) -> None:
    from resnet_repro.launch.ray_cluster import RayLauncher

    (run,) = runs_of(write_experiment(tmp_path, 4, 2, 1))
    where = Where("ray", address="127.0.0.1:1")
    launcher = RayLauncher(where, Store(tmp_path / "r"), options(tmp_path), StopFlag(), Silent())
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1:1.*ray start --head"):
        launcher.run_all([run])


def test_what_a_run_gets_of_a_node() -> None:
    from resnet_repro.launch.ray_cluster import share_of
    from resnet_repro.launch.ray_slot import Share

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
    assert Share(8, 0.5).fits(gpus) == 4
    assert Share(2, 0.25).fits(gpus) == 16
    assert Share(8, 1).fits(large) == 0


def test_only_what_changed_is_carried(
    tmp_path: Path, made_up_summary: Callable[[Run, str], Any]
) -> None:
    (run,) = runs_of(write_experiment(tmp_path, 4, 2, 1))
    there, here = Store(tmp_path / "there").folder(run), Store(tmp_path / "here").folder(run)
    seen: dict[str, Any] = {}
    there.write_config(run)
    there.write_checkpoint(b"first")
    there.write_summary(made_up_summary(run, "2026-01-01T00:00:00Z"))
    (there.path / ".lock").touch()
    (there.path / ".curve.csv.0.part").touch()
    (there.path / "tensorboard").mkdir()
    (there.path / "tensorboard" / "events").write_bytes(b"points")
    files = changed_files(there, seen)
    assert set(files) == {"config.yaml", "checkpoint", "summary.json", "tensorboard/events"}
    put_files(here, files)
    assert changed_files(there, seen) == {}
    there.write_checkpoint(b"second")
    assert changed_files(there, seen) == {"checkpoint": b"second"}
    put_files(here, {"checkpoint": b"second", "../outside": b"", "/etc/outside": b""})
    assert (here.checkpoint.read_bytes(), here.previous_checkpoint.read_bytes()) == (
        b"second",
        b"first",
    )
    assert json.loads(here.summary.read_text(encoding="utf-8")) == json.loads(
        there.summary.read_text(encoding="utf-8")
    )
    assert not (here.path.parent / "outside").exists()
