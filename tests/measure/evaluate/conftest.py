from __future__ import annotations

from pathlib import Path

import pytest
from evaluation_pictures import SIZES, photograph


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of photographs, `train` and `val`, of three classes."""
    root = tmp_path_factory.mktemp("data") / "pictures"
    for part, offset in (("train", 0), ("val", 100)):
        for index, (width, height, kind) in enumerate(SIZES):
            path = root / part / f"class-{index % 3}" / f"{index}.{kind}"
            path.parent.mkdir(parents=True, exist_ok=True)
            photograph(width, height, offset + index).save(path)
    return root


@pytest.fixture(autouse=True)
def _no_worker_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNET_REPRO_WORKERS", "0")
