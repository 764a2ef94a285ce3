"""The shell completes commands, experiments, networks and presets, at once: without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# Completes one line after another as the shell asks for it; exits with 9 if that imports torch.
PROBE = """
import os, sys
from resnet_repro.cli import main
os.environ["_RESNET_REPRO_COMPLETE"] = "complete_bash"
for line in sys.argv[1:]:
    os.environ["COMP_WORDS"], os.environ["COMP_CWORD"] = line, str(line.count(" "))
    sys.argv = ["resnet-repro"]
    try:
        main()
    except SystemExit:
        print("END")
sys.exit(9 if {"torch", "torchvision"} & set(sys.modules) else 0)
"""
CASES: dict[str, set[str]] = {
    "re": {"report"},
    "data v": {"verify"},
    "run fig": {f"fig{n}" for n in range(1, 8)},
    "run fig1 fig": {f"fig{n}" for n in range(2, 8)},
    "status table": {f"table{n}" for n in (*range(1, 9), 10)},
    "run fig1 --preset ": {"paper", "quarter", "short", "demo"},
    "run fig1 --networks ": {"plain-20", "plain-56"},
    "run fig1 --networks plain-56,pl": {"plain-56,plain-20"},
    "run fig1 --dataset i": {"imagenet", "imagenette"},
    "table table6 --format l": {"latex"},
    "evaluate w.pth --network vg": {"vgg-16", "vgg-19"},
    "evaluate some": {"some-run"},
    "run --results ~nobody-is-called-so/x grad": {"gradients"},
}


def test_completes(tmp_path: Path) -> None:
    (tmp_path / "results" / "runs" / "some-run").mkdir(parents=True)
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *(f"resnet-repro {words}" for words in CASES)],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    *answers, rest = done.stdout.split("END\n")
    assert rest == ""
    found = [set(answer.split()) for answer in answers]
    assert dict(zip(CASES, found, strict=True)) == CASES


def test_it_can_be_installed(command) -> None:
    assert "--install-completion" in command("--help").out
