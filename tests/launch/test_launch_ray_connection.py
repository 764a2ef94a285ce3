"""A Ray cluster that we start ourselves: who can reach it, and where it keeps its sockets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from resnet_repro.base.errors import ConfigError

pytest.importorskip("ray")

# In a process of its own: what Ray keeps of the environment stays for a process's life.
LOOK = """
import json, os
from pathlib import Path
import ray
from resnet_repro.launch.ray_connection import connected

def parents():
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            yield int(path.parent.name), int(path.read_text().rpartition(") ")[2].split()[1])
        except OSError:
            pass

def sockets(pid):
    try:
        return {os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()}
    except OSError:
        return set()

@ray.remote
def mode():
    return os.environ.get("RAY_AUTH_MODE"), len(os.environ.get("RAY_AUTH_TOKEN", ""))

with connected("local"):
    told = ray.get(mode.remote())
    family, known = [os.getpid()], list(parents())
    for one in family:
        family += [child for child, parent in known if parent == one]
    own = set().union(*map(sockets, family))
    lines = [l.split() for n in ("tcp", "tcp6")
             for l in Path(f"/proc/net/{n}").read_text().splitlines()[1:]]
    listening = [l[1].rpartition(":")[0] for l in lines if l[3] == "0A" and f"socket:[{l[9]}]" in own]
    print(json.dumps({"told": told, "listening": listening}))
"""  # noqa: E501
LOOPBACK = ("0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000")


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="looks into /proc")
def test_it_listens_on_this_machine_only_and_wants_a_token(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as folder:  # short, for sockets
        hidden = {k: v for k, v in os.environ.items() if not k.startswith("RAY_AUTH")}
        done = subprocess.run(
            [sys.executable, "-c", LOOK],
            env={**hidden, "HOME": str(tmp_path), "RAY_TMPDIR": folder},
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=200,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found["listening"]) >= 3, "the store, the node and its workers"
    assert set(found["listening"]) <= set(LOOPBACK)
    assert found["told"] == ["token", 64]
    assert not list(tmp_path.rglob("*token*")), "a token for this cluster, in no file"


def test_a_cluster_that_wants_a_token_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray
    from ray.exceptions import AuthenticationError

    from resnet_repro.launch import ray_connection

    def refuse(**_: Any) -> None:
        raise ConnectionError("Failed to connect") from AuthenticationError("token is missing")

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "init", refuse)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    with (
        pytest.raises(ConfigError, match="asks for its token: export RAY_AUTH_MODE=token"),
        ray_connection.connected(None),
    ):
        pass


def test_a_ray_without_tokens_starts_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    from resnet_repro.launch import ray_connection

    started: list[object] = []
    monkeypatch.setattr(ray, "init", lambda **how: started.append(how))
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.setattr(ray, "_raylet", object())
    monkeypatch.setattr(ray, "__version__", "2.40.0")
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
        monkeypatch.setenv(name, "x")  # so that it is put back
        monkeypatch.delenv(name)
    with (
        pytest.raises(ConfigError, match=r"^Ray 2\.40\.0 cannot start .*'resnet-repro\[ray\]'"),
        ray_connection.connected("local"),
    ):
        pass
    assert not started


@pytest.mark.parametrize("long", [False, True])
def test_a_cluster_started_here_has_a_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, long: bool
) -> None:
    import ray

    from resnet_repro.launch.ray_connection import connected

    used: list[Path] = []

    def init(address: str, _temp_dir: str | None = None, **_: Any) -> None:
        if address == "auto":
            raise ConnectionError("no cluster runs on this machine")
        assert _temp_dir is not None
        used.append(Path(_temp_dir))
        assert not list(used[0].iterdir())

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    if long:  # more than the 107 bytes that a socket's path may have
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("x" * 100)))
    with connected(None):
        assert len(f"{used[0]}/session_2026-01-01_00-00-00_000000_4000000/sockets/raylet.10") < 103
    assert not used[0].exists()
