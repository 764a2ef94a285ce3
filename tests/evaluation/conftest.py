from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from evaluation_pictures import SIZES, photograph

from resnet_repro.cli import main


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Small tensors on busy cores: threads that wait for each other make a test far slower."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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


@dataclass(frozen=True)
class Answer:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str


Command = Callable[..., Answer]


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Command:
    """Run `resnet-repro ARGUMENTS` with an empty folder as the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RESNET_REPRO_WORKERS", "0")
    for name in ("RESNET_REPRO_RESULTS", "RESNET_REPRO_DATA"):
        monkeypatch.delenv(name, raising=False)

    def call(*arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["resnet-repro", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        code = ended.value.code
        return Answer(code if isinstance(code, int) else 0, printed.out, printed.err)

    return call
