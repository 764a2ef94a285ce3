"""`make demo` installs what running needs; tests and checks bring the tools they need."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    not (shutil.which("make") and (ROOT / "Makefile").exists()), reason="no make or no Makefile"
)


def commands(target: str, venv: Path) -> str:
    """What `make` would do where nothing is installed yet."""
    argv = ["make", "--dry-run", "--no-print-directory", target, f"VENV={venv}"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_demo_needs_no_tools_for_development(tmp_path: Path) -> None:
    text = commands("demo", tmp_path / "venv")
    assert "-e ." in text
    assert "[dev]" not in text
    assert "run table1 fig1 fig6 fig7 table6 --preset demo" in text
    assert "table fig6 --preset demo" in text


@pytest.mark.parametrize("target", ["test", "lint", "format"])
def test_tests_and_checks_need_them(target: str, tmp_path: Path) -> None:
    assert "-e '.[dev]'" in commands(target, tmp_path / "venv")


def test_what_is_installed_is_not_installed_again(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    venv.mkdir()
    (venv / ".installed").touch()
    assert "pip install" not in commands("demo", venv)
    assert "-e '.[dev]'" in commands("test", venv)


def test_a_half_made_environment_is_completed(tmp_path: Path) -> None:
    """As Debian leaves one where python3-venv is missing: with a Python, without pip."""
    pytest.importorskip("ensurepip")
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    names = [f"PYTHON={sys.executable}", f"VENV={venv}", "INSTALL=true"]
    subprocess.run(["make", f"{venv}/.installed", *names], cwd=ROOT, check=True)
    subprocess.run([venv / "bin" / "python", "-m", "pip", "--version"], check=True)
