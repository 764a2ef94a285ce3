"""Where a Ray cluster that is started here keeps its sockets: not in what others may own."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray")


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
