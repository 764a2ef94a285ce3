"""The shell completes commands, experiments, networks and presets, at once: without torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# Exits with 9 if completing has imported torch.
PROBE = """
import sys
from resnet_repro.cli import main
sys.argv = ["resnet-repro"]
try:
    main()
except SystemExit:
    sys.exit(9 if {"torch", "torchvision"} & set(sys.modules) else 0)
"""


def complete(folder: Path, *words: str) -> list[str]:
    told = {
        "_RESNET_REPRO_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(("resnet-repro", *words)),
        "COMP_CWORD": str(len(words)),
    }
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        cwd=folder,
        env={**os.environ, **told},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["re"], {"report"}),
        (["data", "v"], {"verify"}),
        (["run", "fig"], {f"fig{n}" for n in range(1, 8)}),
        (["run", "fig1", "fig"], {f"fig{n}" for n in range(2, 8)}),
        (["status", "table"], {f"table{n}" for n in (*range(1, 9), 10)}),
        (["run", "fig1", "--preset", ""], {"paper", "quarter", "short", "demo"}),
        (["run", "fig1", "--networks", ""], {"plain-20", "plain-56"}),
        (["run", "fig1", "--networks", "plain-56,pl"], {"plain-56,plain-20"}),
        (["run", "fig1", "--dataset", "i"], {"imagenet", "imagenette"}),
        (["table", "table6", "--format", "l"], {"latex"}),
        (["evaluate", "w.pth", "--network", "vg"], {"vgg-16", "vgg-19"}),
        (["evaluate", "some"], {"some-run"}),
        (["run", "--results", "~nobody-is-called-so/x", "grad"], {"gradients"}),
    ],
)
def test_completes(words: list[str], expected: set[str], tmp_path: Path) -> None:
    (tmp_path / "results" / "runs" / "some-run").mkdir(parents=True)
    assert set(complete(tmp_path, *words)) == expected


def test_it_can_be_installed(command) -> None:
    assert "--install-completion" in command("--help").out
